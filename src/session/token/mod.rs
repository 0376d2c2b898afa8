//! Access tokens that any machine can verify by itself, the refresh tokens they come from, and
//! a log-out that they heed.
//!
//! # The bad day
//!
//! A phone wakes up with two tabs. Both find that the access token is over, both send the same
//! refresh token. A server that takes every second use for a theft ends the log-in: the user is
//! thrown out, once a day, and in the end reuse detection is turned off in production. Then a token
//! really is stolen, and nobody notices.
//!
//! ```
//! use std::collections::HashSet;
//! use std::time::Duration;
//! use tenfold::session::WallClock;
//! use tenfold::session::token::{KeyRing, Refreshed, RefreshError, Scope, TokenError};
//! use tenfold::session::token::{TokenIssuer, TokenVerifier};
//! use tenfold::time::ManualClock;
//!
//! // Without the block: what was used once is refused, whoever asks.
//! let mut used = HashSet::new();
//! assert!(used.insert("token"));
//! assert!(!used.insert("token"), "the second tab is logged out");
//!
//! // With it.
//! let time = ManualClock::new();
//! let wall = WallClock::manual(&time, 1_700_000_000);
//! let ring = || KeyRing::builder().hs256("a", &[7; 32]).active("a").build();
//! let issuer = TokenIssuer::builder(ring()?)
//!     .issuer("https://login.example")
//!     .audience("api")
//!     .clock(wall.clone())
//!     .build()?;
//! let verifier = TokenVerifier::builder(ring()?)
//!     .issuer("https://login.example")
//!     .audience("api")
//!     .denylist(issuer.denylist())
//!     .clock(wall)
//!     .build()?;
//! let first = issuer.log_in("ada", "\"scope\":\"read\"")?;
//! let Refreshed::Rotated(one) = issuer.refresh(first.refresh())? else { panic!() };
//! let Refreshed::Replayed(two) = issuer.refresh(first.refresh())? else { panic!() };
//! assert_eq!(one, two, "both tabs go on, with the same tokens");
//!
//! // An hour later the same token comes once more: two have it, and one is a thief.
//! time.advance(Duration::from_secs(3600));
//! let three = issuer.refresh(two.refresh())?.into_pair();
//! assert!(verifier.verify(three.access(), |_| ()).is_ok());
//! let stolen = issuer.refresh(first.refresh());
//! assert!(matches!(stolen, Err(RefreshError::Reused { .. })));
//! assert_eq!(issuer.refresh(three.refresh()), Err(RefreshError::Revoked));
//! let access = verifier.verify(three.access(), |_| ());
//! assert_eq!(access, Err(TokenError::Revoked(Scope::Family)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! An access token carries its claims and a signature, and lives for minutes: whoever has the key verifies it
//! without asking anybody. A refresh token lives for weeks, is good once, and is known to the
//! issuer alone. All refresh tokens of one log-in are a *family*, with numbers. The issuer keeps one
//! record per family: which number is current, and which were a moment ago. It keeps no token: each
//! is computed from a secret, the family's random salt and the number, and so the current one can be
//! given once more to a client whose answer was lost.
//!
//! What must not wait for minutes goes on a [`Denylist`] that the verifiers of the process look at:
//! single tokens, families (`sid`), and, per user or for all, a moment up to which tokens are revoked. Moments
//! are whole seconds, as in tokens: the second of the log-out is revoked whole, and whoever logs in within it
//! gets tokens that are dated the next.
//!
//! # What you can rely on
//!
//! * **The key decides.** Algorithm, life and secret belong to a key in the [`KeyRing`]; the header's
//!   `alg` is compared. Keys that a token brings along are never used; short secrets are not taken.
//! * **Nothing is optional that protects**: `exp`, `iss`, `aud` and the type have to be there and right;
//!   `nbf` and `iat` are heeded; critical headers are refused. JSON is read strictly:
//!   no member twice, no second spelling of a name, no more than 32 levels.
//! * **Little work for bad input**: length first, then the shape, then the signature, and only then the claims.
//!   Nothing is allocated while a token is verified.
//! * **Concurrent refreshes log nobody out**: one rotates, the others get the same pair, within the
//!   [grace](TokenIssuerBuilder::grace). After it, any number that was used ends the family and its
//!   access tokens. A guessed token ends nothing.
//! * **[`TokenIssuer::log_out_everywhere`]** ends refreshes under way too, and never a log-in of after it.
//! * **The denylist is exact and bounded.** When it is full it revokes more than asked, never less.
//!
//! # What it costs
//!
//! Verifying HS256 takes a pass over the token for the MAC, one for base64 and one for the claims;
//! the asymmetric algorithms take 30 to 55 microseconds more. Signing allocates the token, and nothing else.
//! [`cache`](TokenVerifierBuilder::cache) saves all of that for tokens that come again. A family is about 250 bytes; an entry
//! of the denylist 40 to 80. An empty denylist is two atomic loads per token; a long one is a word from memory for each of
//! the token, its log-in and its user, and a lock only for what is on it and one in a hundred that is not.
//!
//! # What it is not
//!
//! Not an OAuth server. Families and denylist are in this process: a restart ends the log-ins
//! (access tokens live on until they expire), and other processes hear of revocations when
//! tokens expire. Nothing is encrypted: whoever has a token can read it. Signatures are
//! [ring](https://crates.io/crates/ring)'s, those of Ed25519
//! [ed25519-dalek](https://crates.io/crates/ed25519-dalek)'s.
//!
//! # References
//!
//! * RFC 7515 (JWS), 7517 (JWK), 7519 (JWT), 8037 (Ed25519), 8725 (best practices), 9068 (access tokens).
//! * RFC 9700, section 4.14.2: rotation, and ending what was reused.
//! * OWASP ASVS 5.0, *Self-contained Tokens*.

mod access;
mod claims;
mod denied;
mod denylist;
mod ed25519;
mod error;
mod issuer;
mod issuer_builder;
mod json;
mod jwk;
mod keys;
mod log_out;
mod pair;
mod refresh;
mod sieve;
mod signing;
mod verified;
mod verifier;

pub use claims::ClaimsRef;
pub use denylist::Denylist;
pub use error::{
    Deadline, KeyError, LogInError, Part, RefreshError, Scope, TokenBuildError, TokenError,
};
pub use issuer::TokenIssuer;
pub use issuer_builder::TokenIssuerBuilder;
pub use keys::{Algorithm, KeyRing, KeyRingBuilder};
pub use pair::{Refreshed, TokenPair};
pub use verifier::{TokenVerifier, TokenVerifierBuilder};

#[cfg(test)]
mod key_tests;
#[cfg(all(test, tenfold_shuttle))]
mod models;
#[cfg(all(test, tenfold_shuttle))]
mod revoked_models;
