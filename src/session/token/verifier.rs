use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::claims::ClaimsRef;
use super::denylist::Denylist;
use super::error::{Part, TokenBuildError, TokenError};
use super::json::{self, Value};
use super::keys::{Algorithm, Key, KeyRing};
use super::verified::VerifiedCache;
use crate::session::{WallClock, base64url};

/// Verifies tokens: compact JWS (RFC 7515) with the claims of RFC 7519, under the rules of RFC 8725 and,
/// with the default type, RFC 9068.
///
/// ```
/// use tenfold::session::WallClock;
/// use tenfold::session::token::{KeyRing, TokenError, TokenIssuer, TokenVerifier};
/// use tenfold::time::ManualClock;
///
/// let ring = || KeyRing::builder().hs256("a", &[7; 32]).active("a").build();
/// let wall = WallClock::manual(&ManualClock::new(), 1_700_000_000);
/// let issuer = TokenIssuer::builder(ring()?)
///     .issuer("https://login.example")
///     .audience("api")
///     .clock(wall.clone())
///     .build()?;
/// let verifier = TokenVerifier::builder(ring()?)
///     .issuer("https://login.example")
///     .audience("api")
///     .clock(wall)
///     .build()?;
/// let pair = issuer.log_in("ada", "")?;
/// let user = verifier.verify(pair.access(), |claims| claims.subject().map(String::from))?;
/// assert_eq!(user.as_deref(), Some("ada"));
/// assert_eq!(verifier.verify("a.b", |_| ()), Err(TokenError::Malformed(
///     tenfold::session::token::Part::Parts
/// )));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TokenVerifier {
    ring: KeyRing,
    /// Headers as our issuer writes them, and the key of each: most tokens have one of these.
    known: Vec<(String, usize)>,
    settings: Settings,
    cache: Option<VerifiedCache>,
}

struct Settings {
    issuer: String,
    /// None: any.
    audiences: Option<Vec<String>>,
    typ: String,
    leeway: u64,
    max_age: Option<u64>,
    refuses_embedded: bool,
    denylist: Option<Arc<Denylist>>,
    wall: WallClock,
}

impl TokenVerifier {
    /// Begins to describe what is accepted.
    pub fn builder(ring: KeyRing) -> TokenVerifierBuilder {
        TokenVerifierBuilder {
            ring,
            issuer: None,
            audiences: None,
            typ: ACCESS.to_owned(),
            leeway: Duration::from_secs(30),
            max_age: None,
            refuses_embedded: false,
            denylist: None,
            cache: 0,
            wall: WallClock::default(),
        }
    }

    /// Verifies a token and shows its claims to `read`. Allocates nothing itself, but to remember a token.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with it, to the log: a client should be told no more than "no".
    pub fn verify<R>(
        &self,
        token: &str,
        read: impl FnOnce(&ClaimsRef<'_>) -> R,
    ) -> Result<R, TokenError> {
        if token.len() > MAX_TOKEN {
            let len = token.len();
            return Err(TokenError::TooLong {
                len,
                max: MAX_TOKEN,
            });
        }
        // To clear all of the larger one would take longer than to hash most tokens.
        if token.len() <= SMALL {
            self.verify_in(token, &mut [0; SMALL], read)
        } else {
            self.verify_in(token, &mut [0; MAX_TOKEN], read)
        }
    }

    fn verify_in<R>(
        &self,
        token: &str,
        buffer: &mut [u8],
        read: impl FnOnce(&ClaimsRef<'_>) -> R,
    ) -> Result<R, TokenError> {
        let now = self.settings.wall.now();
        let parts = Parts::of(token)?;
        let known = self.known.iter().find(|(header, _)| header == parts.header);
        let key = match known {
            Some((_, place)) => {
                let key = &self.ring.keys[*place];
                if now >= key.ends {
                    return Err(TokenError::KeyRetired);
                }
                key
            }
            None => self.read_header(parts.header, buffer, now)?,
        };
        let cache = self.cache.as_ref();
        if let Some(kept) = cache.and_then(|cache| cache.get(token)) {
            let claims = kept.get();
            self.check(&claims, now)?;
            return Ok(read(&claims));
        }
        parts.verify_signature(key)?;
        let payload = base64url::decode(parts.payload.as_bytes(), buffer)
            .ok_or(TokenError::Malformed(Part::Base64))?;
        let claims = ClaimsRef::read(payload)?;
        self.check(&claims, now)?;
        // One that is not good now is not worth a place.
        if let Some(cache) = cache {
            cache.insert(token, &claims);
        }
        Ok(read(&claims))
    }

    fn read_header(&self, header: &str, buffer: &mut [u8], now: u64) -> Result<&Key, TokenError> {
        let bytes = base64url::decode(header.as_bytes(), buffer)
            .ok_or(TokenError::Malformed(Part::Base64))?;
        let header = Header::read(bytes)?;
        if header.is_critical {
            return Err(TokenError::CriticalHeader);
        }
        if header.has_key && self.settings.refuses_embedded {
            return Err(TokenError::EmbeddedKey);
        }
        let key = header.key(&self.ring, now)?;
        if !header.is_of_type(&self.settings.typ) {
            return Err(TokenError::WrongType);
        }
        Ok(key)
    }

    fn check(&self, claims: &ClaimsRef<'_>, now: u64) -> Result<(), TokenError> {
        let settings = &self.settings;
        let leeway = settings.leeway;
        let ends = claims.expires.saturating_add(leeway);
        if now >= ends {
            let by = now - claims.expires;
            return Err(TokenError::Expired { by });
        }
        if claims
            .not_before
            .is_some_and(|begins| now + leeway < begins)
        {
            return Err(TokenError::NotYetValid);
        }
        // After a log-out everywhere tokens are dated the next second.
        let issued = claims.issued;
        if issued.is_some_and(|issued| issued > now + leeway.max(1)) {
            return Err(TokenError::IssuedInFuture);
        }
        if let Some(max_age) = settings.max_age {
            let issued = issued.ok_or(TokenError::MissingClaim("iat"))?;
            if now > issued.saturating_add(max_age).saturating_add(leeway) {
                return Err(TokenError::TooOld);
            }
        }
        let by = claims.issuer.ok_or(TokenError::MissingClaim("iss"))?;
        if !by.is(&settings.issuer) {
            return Err(TokenError::WrongIssuer);
        }
        if let Some(audiences) = &settings.audiences
            && !claims.is_for(audiences)?
        {
            return Err(TokenError::WrongAudience);
        }
        let revoked = settings.denylist.as_ref();
        match revoked.and_then(|denylist| denylist.scope(claims)) {
            Some(scope) => Err(TokenError::Revoked(scope)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVerifier")
            .field("ring", &self.ring)
            .field("issuer", &self.settings.issuer)
            .field("audiences", &self.settings.audiences)
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    /// Verifies the signature of a compact JWS whatever its payload is, and gives that. No claim is
    /// looked at: for what is not a token.
    ///
    /// # Errors
    /// [`TokenError`], those of header and signature.
    pub fn verify_jws(&self, jws: &str, now: u64) -> Result<Vec<u8>, TokenError> {
        let len = jws.len();
        if len > MAX_TOKEN {
            let max = MAX_TOKEN;
            return Err(TokenError::TooLong { len, max });
        }
        let parts = Parts::of(jws)?;
        let mut buffer = vec![0; len];
        let malformed = TokenError::Malformed(Part::Base64);
        let header = base64url::decode(parts.header.as_bytes(), &mut buffer);
        let header = Header::read(header.ok_or(malformed.clone())?)?;
        if header.is_critical {
            return Err(TokenError::CriticalHeader);
        }
        parts.verify_signature(header.key(self, now)?)?;
        let payload = base64url::decode(parts.payload.as_bytes(), &mut buffer);
        payload.map(<[u8]>::to_vec).ok_or(malformed)
    }
}

/// The three parts of a compact JWS.
struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// What is signed.
    message: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, TokenError> {
        let split = || {
            let (message, signature) = token.rsplit_once('.')?;
            let (header, payload) = message.split_once('.')?;
            let parts = [header, payload, signature];
            let is_whole = !payload.contains('.') && parts.iter().all(|part| !part.is_empty());
            is_whole.then_some(Self {
                header,
                payload,
                signature,
                message,
            })
        };
        split().ok_or(TokenError::Malformed(Part::Parts))
    }

    fn verify_signature(&self, key: &Key) -> Result<(), TokenError> {
        let mut signature = [0; MAX_SIGNATURE];
        let letters = self.signature.as_bytes();
        let is_long = base64url::decoded_len(letters.len()).is_some_and(|l| l > MAX_SIGNATURE);
        if is_long {
            return Err(TokenError::BadSignature);
        }
        let signature = base64url::decode(letters, &mut signature)
            .ok_or(TokenError::Malformed(Part::Base64))?;
        if key.verify(self.message.as_bytes(), signature) {
            Ok(())
        } else {
            Err(TokenError::BadSignature)
        }
    }
}

/// What matters of a header.
struct Header<'a> {
    algorithm: json::Text<'a>,
    kid: Option<json::Text<'a>>,
    typ: Option<json::Text<'a>>,
    is_critical: bool,
    has_key: bool,
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, TokenError> {
        let read = || {
            let text = std::str::from_utf8(bytes).ok()?;
            let (mut algorithm, mut kid, mut typ) = (None, None, None);
            let (mut is_critical, mut has_key) = (false, false);
            json::object(text, MAX_MEMBERS, |name, value| {
                let place = match name {
                    "alg" => &mut algorithm,
                    "kid" => &mut kid,
                    "typ" => &mut typ,
                    "crit" => {
                        is_critical = true;
                        return Some(());
                    }
                    "jwk" | "jku" | "x5u" | "x5c" => {
                        has_key = true;
                        return Some(());
                    }
                    _ => return Some(()),
                };
                let Value::Text(said) = value else {
                    return None;
                };
                *place = Some(said);
                Some(())
            })?;
            Some(Self {
                algorithm: algorithm?,
                kid,
                typ,
                is_critical,
                has_key,
            })
        };
        read().ok_or(TokenError::Malformed(Part::Header))
    }

    /// The key that the ring has for it, if that is used as the header says.
    fn key<'r>(&self, ring: &'r KeyRing, now: u64) -> Result<&'r Key, TokenError> {
        let all = [Algorithm::Hs256, Algorithm::EdDsa, Algorithm::Es256];
        if !all.iter().any(|one| self.algorithm.is(one.name())) {
            return Err(TokenError::AlgorithmMismatch);
        }
        let kid = self.kid.map(|kid| kid.get());
        let key = ring.key(kid.as_deref(), now)?;
        if !self.algorithm.is(key.algorithm.name()) {
            return Err(TokenError::AlgorithmMismatch);
        }
        Ok(key)
    }

    /// Types are media types: in any case, with or without the prefix.
    fn is_of_type(&self, typ: &str) -> bool {
        let said = self.typ.map(|typ| typ.get());
        said.is_some_and(|said| {
            let prefix = said.get(..PREFIX.len());
            let has_prefix = prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX));
            let plain = if has_prefix {
                &said[PREFIX.len()..]
            } else {
                &said
            };
            plain.eq_ignore_ascii_case(typ)
        })
    }
}

/// Builds a [`TokenVerifier`]; made by [`TokenVerifier::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct TokenVerifierBuilder {
    ring: KeyRing,
    issuer: Option<String>,
    audiences: Option<Vec<String>>,
    typ: String,
    leeway: Duration,
    max_age: Option<Duration>,
    refuses_embedded: bool,
    denylist: Option<Arc<Denylist>>,
    cache: usize,
    wall: WallClock,
}

impl TokenVerifierBuilder {
    /// Who has to have issued a token (`iss`). Has to be said.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// For whom a token has to be (`aud`): this, or another that is said too. One has to be, or
    /// [`any_audience`](Self::any_audience).
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        let audiences = self.audiences.get_or_insert_default();
        audiences.push(audience.into());
        self
    }

    /// Accepts tokens for anybody, those that somebody else was given for somebody else too.
    pub fn any_audience(mut self) -> Self {
        self.audiences = Some(Vec::new());
        self
    }

    /// The type of tokens that are accepted; `at+jwt` by default, so that an id token or a
    /// refresh token is no access token.
    pub fn typ(mut self, typ: impl Into<String>) -> Self {
        self.typ = typ.into();
        self
    }

    /// How far other machines' clocks may be off; 30 seconds by default, 5 minutes at most.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// How old a token may be, whatever it says; then it has to say when it was issued.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Refuses tokens that bring a key along (`jwk`, `jku`, `x5u`, `x5c`). By default it is
    /// ignored: it never counts.
    pub fn refuse_embedded_keys(mut self) -> Self {
        self.refuses_embedded = true;
        self
    }

    /// What was revoked: the issuer's, [`TokenIssuer::denylist`](super::TokenIssuer::denylist).
    pub fn denylist(mut self, denylist: Arc<Denylist>) -> Self {
        self.denylist = Some(denylist);
        self
    }

    /// Remembers that the signature of so many tokens was right, and what they say; not at all by default. Worth it
    /// where tokens come again, most of all with `EdDSA` and ES256; whether a token is still good is looked at each
    /// time. At most 4 KiB for each.
    pub fn cache(mut self, tokens: usize) -> Self {
        self.cache = tokens;
        self
    }

    /// The clock; the system's by default.
    pub fn clock(mut self, wall: WallClock) -> Self {
        self.wall = wall;
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    /// [`TokenBuildError`]: nobody said from whom or for whom tokens have to be, or the leeway is
    /// too long.
    pub fn build(self) -> Result<TokenVerifier, TokenBuildError> {
        let issuer = self.issuer.ok_or(TokenBuildError::Missing("issuer"))?;
        let audiences = self.audiences.ok_or(TokenBuildError::Missing("audience"))?;
        if self.leeway > Duration::from_secs(300) {
            return Err(TokenBuildError::Setting {
                setting: "leeway",
                expected: "5 minutes at most",
            });
        }
        let keys = self.ring.keys.iter().enumerate();
        let known = keys.map(|(place, key)| (header(key, &self.typ), place));
        let known = known.collect();
        Ok(TokenVerifier {
            known,
            cache: (self.cache > 0).then(|| VerifiedCache::new(self.cache)),
            settings: Settings {
                issuer,
                audiences: Some(audiences).filter(|audiences| !audiences.is_empty()),
                typ: self.typ,
                leeway: self.leeway.as_secs(),
                max_age: self.max_age.map(|age| age.as_secs()),
                refuses_embedded: self.refuses_embedded,
                denylist: self.denylist,
                wall: self.wall,
            },
            ring: self.ring,
        })
    }
}

/// The header that our issuer writes for this key, encoded.
pub(super) fn header(key: &Key, typ: &str) -> String {
    let mut text = String::from("{\"alg\":");
    json::write_text(key.algorithm.name(), &mut text);
    text.push_str(",\"typ\":");
    json::write_text(typ, &mut text);
    text.push_str(",\"kid\":");
    json::write_text(&key.kid, &mut text);
    text.push('}');
    base64url::encode(text.as_bytes())
}

/// Access tokens (RFC 9068).
pub(super) const ACCESS: &str = "at+jwt";
const PREFIX: &str = "application/";
/// Bytes of a token.
pub(super) const MAX_TOKEN: usize = 8192;
const SMALL: usize = 1024;
/// Members of a header.
const MAX_MEMBERS: usize = 16;
const MAX_SIGNATURE: usize = 64;
