//! Sessions: who is logged in, for how long, and out for good.
//!
//! # The bad day
//!
//! Ada logs out at the airport. A request of hers was still under way: it had loaded the
//! session, a slow database held it up, and now it saves what it had loaded. The store
//! writes what it is told to, the session is back, and the next one at that computer is
//! Ada.
//!
//! ```
//! use std::collections::HashMap;
//! use std::time::Duration;
//! use tenfold::session::{MemoryStore, SaveError, WallClock};
//! use tenfold::time::ManualClock;
//!
//! // Without the block: a map from tokens to data, as most stores are.
//! let mut map = HashMap::from([("token", "1 lamp")]);
//! let slow = map["token"];
//! map.remove("token"); // She logs out,
//! map.insert("token", slow); // and the slow request saves.
//! assert!(map.contains_key("token"), "logged in again");
//!
//! // With it.
//! let clock = ManualClock::new();
//! let store = MemoryStore::builder()
//!     .clock(WallClock::manual(&clock, 1_700_000_000))
//!     .idle(Duration::from_secs(900))
//!     .build()?;
//! let (token, _) = store.create(Some("ada".into()), b"1 lamp".as_slice())?;
//! let slow = store.load(&token).ok_or("gone")?;
//! store.revoke(&token)?;
//! let saved = store.save(&token, slow.version(), slow.data().clone());
//! assert_eq!(saved, Err(SaveError::Gone));
//! assert!(store.load(&token).is_none());
//!
//! // Whoever leaves without logging out is out a quarter of an hour later, or as soon as
//! // Ada, at home, says "log out all other devices".
//! let (airport, _) = store.create(Some("ada".into()), b"".as_slice())?;
//! let (home, _) = store.create(Some("ada".into()), b"".as_slice())?;
//! assert_eq!(store.revoke_user("ada", Some(&home))?, 1);
//! assert!(store.load(&airport).is_none() && store.load(&home).is_some());
//! clock.advance(Duration::from_secs(900));
//! assert!(store.load(&home).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! A browser holds a [`SessionToken`], 256 random bits; the store keeps the session under a
//! hash of it, in one of many shards behind a lock each. Three things make it safe to
//! share a session between requests, tabs and threads:
//!
//! * **Versions.** A save names the version it is based on. It replaces what is there, or
//!   is refused; it never creates. [`MemoryStore::modify`] tries again with what is there now, and
//!   [`MemoryStore::merge`] brings single keys ([`SessionMap`]) together.
//! * **Generations.** Each user has one, a count of revocations that every load compares with
//!   what the session has seen: all sessions of a user end in one step, however many there are
//!   and whatever happens to them meanwhile. Users share these counts, by a hash, so that all lie in the
//!   processor's cache; when one has changed, a list says whether it was this user.
//! * **One step per change.** A session gets a new token ([`MemoryStore::cycle`],
//!   [`MemoryStore::log_in`]) under both shards' locks: there is no moment with two tokens, or none.
//!
//! # What you can rely on
//!
//! * **Gone is gone.** What was revoked, cycled or has expired is never loaded or saved
//!   again by a running store. After a restart, what the [log of revocations](RevocationLog) says
//!   stays out too; without one, [`Restored::log`] says that nobody knows.
//! * **Nobody escapes [`MemoryStore::revoke_user`]**: when it returns, no session that
//!   was begun before it can be loaded, on any thread, under any token.
//! * **Two deadlines at once**: idle, moved by loads and saves, and absolute, moved by
//!   nothing but a log-in.
//! * **No secret at rest.** Memory, snapshots and logs know hashes of tokens. `Debug`, errors
//!   and statistics show neither tokens nor data. A token that the store did not draw is
//!   never taken; without random bits there is an error and no weak token.
//! * **Bounded**: sessions, sessions per user, bytes per session. What has expired is swept in
//!   pieces of 32 slots, a few with every new session.
//! * **No user code runs under a lock**: neither the closures that change data nor the writers
//!   of snapshots and logs.
//! * **A snapshot that is not whole is an error**, with the frame in which it is damaged,
//!   and not half a store.
//!
//! # What it costs
//!
//! A token is hashed (SHA-256) once, when it is read from its cookie. A load takes one lock, and waits for memory twice: for a place in an
//! index, and for the slot it names. A slot is three cache lines, 192 bytes, with up to 118 bytes of data and
//! 22 of its user's name in it; what is longer has an allocation of its own, and is another wait. A load
//! copies data that is that short and shares what is longer ([`SessionData`]), so it allocates nothing. To begin or end a session of a user
//! is another lock and another wait. Besides its slot a session takes 9 to
//! 20 bytes in the index and, with a user, 32 to 64 in a table of users. Slots are never moved; growing the index of a
//! shard looks at each of its slots, some thousand, under its lock. `revoke_user` takes time in proportion
//! to the user's sessions, which have a limit. Times are whole seconds.
//!
//! # What it is not
//!
//! Not shared between processes: another one knows nothing of these sessions, unless they go there as
//! [`Frame`]s, which is what `sticky` (feature `sticky`) is about; `redis::RedisStore` and `postgres::sessions::PostgresStore` keep the same promises
//! for many, behind the same calls ([`AsyncSessionStore`]). Not a place
//! for secrets: data is kept, and written to snapshots, as it is given. Nor does it authenticate
//! anybody; it remembers that somebody else did. Its snapshots have checksums against accidents,
//! and no seal: who can write the file can log in.
//!
//! # References
//!
//! * OWASP, *Session Management Cheat Sheet*; ASVS 5.0, chapter V7: entropy, renewal,
//!   both time-outs, logging out everywhere.
//! * M. Kolšek, *Session Fixation Vulnerability in Web-based Applications*, 2002.
//! * What users of such stores reported: each is a test in `tests/session.rs`.

mod async_store;
mod base64url;
mod builder;
mod cookie;
mod cycle;
mod data;
mod entry;
mod error;
mod frame;
mod generations;
mod id;
mod index;
#[cfg(any(feature = "redis", feature = "postgres-sessions"))]
pub(crate) mod limits;
mod loaded;
mod not_replicated;
mod owners;
mod reading;
mod restore;
mod revocations;
mod revoke;
mod room;
#[cfg(feature = "cache")]
pub mod serve_stale;
mod session_map;
mod shard;
mod slots;
mod snapshot;
mod stale;
mod stats;
#[cfg(feature = "sticky")]
pub mod sticky;
mod store;
pub mod token;
#[cfg(feature = "tower-sessions")]
mod tower_sessions;
mod transfer;
mod unavailable;
mod user_id;
mod users;
mod wall;
#[cfg(feature = "tower")]
pub mod web;

pub use async_store::AsyncSessionStore;
pub use builder::{MemoryStoreBuilder, OnFull, PerUser};
pub use cookie::{CookieError, HostCookie, SameSite};
pub use data::SessionData;
pub use error::{
    BuildError, CreateError, CycleError, LogError, RestoreError, RevokeError, SaveError,
    SnapshotError,
};
pub use frame::{Frame, FrameError};
pub use id::{SessionKey, SessionToken};
pub use loaded::{Loaded, SessionInfo, Version};
pub use not_replicated::{Made, NotReplicated};
pub use restore::{LogRead, Restored};
pub use revocations::{RevocationFile, RevocationLog, Revocations};
pub use room::Swept;
pub use session_map::SessionMap;
pub use snapshot::Snapshot;
pub use stale::Stale;
pub use stats::StoreStats;
pub use store::MemoryStore;
#[cfg(feature = "tower-sessions")]
pub use tower_sessions::{Conflicts, TowerSessions};
pub use transfer::Imported;
pub use unavailable::{Cause, Unavailable};
pub use user_id::UserId;
pub use wall::WallClock;

#[cfg(all(test, tenfold_shuttle))]
mod models;
