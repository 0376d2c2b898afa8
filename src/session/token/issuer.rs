use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::denylist::Denylist;
use super::error::TokenBuildError;
use super::json::{self, MOST_MEMBERS};
use super::keys::KeyRing;
use super::refresh::{Current, Family, Secrets, name};
use super::verifier::{ACCESS, MAX_TOKEN, header};
use crate::session::users::{UserId, Users};
use crate::session::wall::seconds;
use crate::session::{WallClock, base64url};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Issues access tokens that everybody can verify, and refresh tokens that only it can:
/// each is good once, and is exchanged for the next.
///
/// See the [module](super) for what it promises.
pub struct TokenIssuer {
    ring: KeyRing,
    header: String,
    secrets: Secrets,
    settings: Settings,
    /// By family. Locked after a row of users.
    families: Vec<Mutex<HashMap<u128, Family>>>,
    users: Users,
    /// Counts revocations of users; log-ins are stamped with it.
    epoch: AtomicU64,
    held: AtomicU64,
    sweep_at: AtomicU64,
    denylist: Arc<Denylist>,
}

struct Settings {
    issuer: String,
    audience: String,
    access: u64,
    idle: u64,
    absolute: u64,
    grace: u64,
    max_families: u64,
    wall: WallClock,
}

/// What a client gets: an access token and the refresh token for the next.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenPair {
    access: String,
    refresh: String,
    family: String,
    expires: u64,
}

impl TokenPair {
    /// The access token.
    pub fn access(&self) -> &str {
        &self.access
    }

    /// The refresh token: a secret, for a cookie that scripts cannot read.
    pub fn refresh(&self) -> &str {
        &self.refresh
    }

    /// The name of the log-in, which is in the access tokens as `sid`. Opens nothing.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// When the access token ends: seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.expires
    }
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair")
            .field("family", &self.family)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// What a refresh token was exchanged for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the client needs the new tokens"]
pub enum Refreshed {
    /// The next pair; the token that was presented is used up.
    Rotated(TokenPair),
    /// It was used up a moment ago, by another request of the same client or by one whose answer was
    /// lost: the pair that is current, once more.
    Replayed(TokenPair),
}

impl Refreshed {
    /// The pair, either way.
    pub fn into_pair(self) -> TokenPair {
        match self {
            Self::Rotated(pair) | Self::Replayed(pair) => pair,
        }
    }
}

/// Which deadline was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// It was not refreshed for too long.
    Idle,
    /// The log-in was too long ago.
    Absolute,
}

/// A refresh token that was not exchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// Not a token of this issuer. No log-in was touched.
    #[error("not a refresh token of this issuer")]
    Malformed,
    /// Its log-in is not known any more.
    #[error("the log-in is not known")]
    Unknown,
    /// Its log-in is over.
    #[error("the log-in is over: {0:?}")]
    Expired(Deadline),
    /// Its log-in was revoked.
    #[error("the log-in was revoked")]
    Revoked,
    /// It was used up long ago, so two have it, and one of them has stolen it. The
    /// log-in was ended, its access tokens too.
    #[error("the token was used before: the log-in {family} of {user} was ended")]
    Reused {
        /// Whose it was.
        user: UserId,
        /// Which.
        family: String,
    },
    /// The access token could not be signed.
    #[error("the access token could not be signed")]
    Unsigned,
}

/// A log-in that was not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogInError {
    /// The extra claims are no members of an object, or take one that the issuer sets.
    #[error("extra claims must be {expected}")]
    Extra {
        /// What would be right.
        expected: &'static str,
    },
    /// As many log-ins as there may be.
    #[error("there are {max} log-ins, as many as there may be")]
    Full {
        /// How many there may be.
        max: u64,
    },
    /// The system gave no random bits.
    #[error("the system gave no random bits")]
    Entropy,
    /// The access token could not be signed.
    #[error("the access token could not be signed")]
    Unsigned,
}

impl TokenIssuer {
    /// Begins to describe an issuer that signs with the active key of this ring.
    pub fn builder(ring: KeyRing) -> TokenIssuerBuilder {
        TokenIssuerBuilder {
            ring,
            issuer: None,
            audience: None,
            access: Duration::from_secs(15 * 60),
            idle: Duration::from_secs(14 * 24 * 3600),
            absolute: Duration::from_secs(30 * 24 * 3600),
            grace: Duration::from_secs(10),
            max_families: 1_000_000,
            max_denied: 1_000_000,
            wall: WallClock::default(),
        }
    }

    /// What was revoked, for the verifiers in this process.
    pub fn denylist(&self) -> Arc<Denylist> {
        Arc::clone(&self.denylist)
    }

    /// Begins a log-in of a user who has proved who they are. `extra` are further claims for
    /// their access tokens, as members of a JSON object without its braces:
    /// `"scope":"read"`, or nothing.
    ///
    /// # Errors
    /// [`LogInError`]: bad claims, too many log-ins, no random bits.
    pub fn log_in(&self, user: impl Into<UserId>, extra: &str) -> Result<TokenPair, LogInError> {
        let user = user.into();
        check_extra(extra)?;
        let mut random = [0; 48];
        getrandom::fill(&mut random).map_err(|_| LogInError::Entropy)?;
        let (mut id, mut salt) = ([0; 16], [0; 32]);
        id.copy_from_slice(&random[..16]);
        salt.copy_from_slice(&random[16..]);
        let id = u128::from_le_bytes(id);
        let now = self.settings.wall.now();
        self.reserve()?;
        let current = Current {
            number: 0,
            since: now,
            issued: now.max(self.denylist.first_date(user.as_str())),
        };
        let extra: Arc<str> = extra.into();
        {
            let mut locked = self.users.lock(&user);
            let row = locked.row_or_new();
            row.keys.push(id);
            let family = Family {
                user: user.clone(),
                salt,
                extra: Arc::clone(&extra),
                stamp: self.epoch.load(Ordering::SeqCst),
                created: now,
                is_dead: false,
                current,
                before: Vec::new(),
            };
            self.shard(id).lock().insert(id, family);
        }
        self.pair(id, &salt, &user, &extra, current)
            .ok_or(LogInError::Unsigned)
    }

    /// Exchanges a refresh token for the next pair.
    ///
    /// Requests that ask with one token at once, or once more because the answer was lost, get one
    /// and the same pair, for as long as the grace lasts. After that a token that was used
    /// is taken for stolen. On an error leave the client's cookie alone unless the
    /// error is the log-in's end: it may hold a newer token by now.
    ///
    /// # Errors
    /// [`RefreshError`].
    pub fn refresh(&self, token: &str) -> Result<Refreshed, RefreshError> {
        let presented = self.secrets.read(token).ok_or(RefreshError::Malformed)?;
        let id = presented.family;
        let user = {
            let families = self.shard(id).lock();
            let family = families.get(&id).ok_or(RefreshError::Unknown)?;
            family.user.clone()
        };
        // Before the log-in is found good: whoever has ended it everywhere has dated that after.
        let first = self.denylist.first_date(user.as_str());
        let now = self.settings.wall.now();
        let settings = &self.settings;
        let mut families = self.shard(id).lock();
        let family = families.get_mut(&id).ok_or(RefreshError::Unknown)?;
        if !self.secrets.is_of(&presented, &family.salt) {
            return Err(RefreshError::Malformed);
        }
        if family.is_dead {
            return Err(RefreshError::Revoked);
        }
        if now >= family.created.saturating_add(settings.absolute) {
            return Err(RefreshError::Expired(Deadline::Absolute));
        }
        if now >= family.current.since.saturating_add(settings.idle) {
            return Err(RefreshError::Expired(Deadline::Idle));
        }
        let number = family.current.number;
        let in_grace = |since: u64| now < since.saturating_add(settings.grace);
        let is_current = presented.number == number;
        family.before.retain(|&(_, since)| in_grace(since));
        if !is_current {
            let mut before = family.before.iter();
            if !before.any(|&(used, _)| used == presented.number) {
                family.is_dead = true;
                family.before = Vec::new();
                drop(families);
                let family = name(id);
                self.denylist.deny_family(&family, user.as_str());
                return Err(RefreshError::Reused { user, family });
            }
        }
        // Who rotates faster than that is answered, and gets nothing new.
        let rotates = is_current && family.before.len() < MOST_IN_GRACE && number < u32::MAX;
        if rotates {
            if settings.grace > 0 {
                family.before.push((number, now));
            }
            family.current = Current {
                number: number + 1,
                since: now,
                issued: now.max(first),
            };
        }
        let (salt, current) = (family.salt, family.current);
        let extra = Arc::clone(&family.extra);
        drop(families);
        let pair = self.pair(id, &salt, &user, &extra, current);
        let pair = pair.ok_or(RefreshError::Unsigned)?;
        Ok(if rotates {
            Refreshed::Rotated(pair)
        } else {
            Refreshed::Replayed(pair)
        })
    }

    /// Ends the log-in of a refresh token, whichever of its tokens that is; its access tokens
    /// too. Says whether it had not ended before.
    ///
    /// # Errors
    /// [`RefreshError::Malformed`]: that is no token of this issuer's.
    pub fn log_out(&self, token: &str) -> Result<bool, RefreshError> {
        let presented = self.secrets.read(token).ok_or(RefreshError::Malformed)?;
        let id = presented.family;
        let user = {
            let mut families = self.shard(id).lock();
            let Some(family) = families.get_mut(&id) else {
                return Ok(false);
            };
            if !self.secrets.is_of(&presented, &family.salt) {
                return Err(RefreshError::Malformed);
            }
            if std::mem::replace(&mut family.is_dead, true) {
                return Ok(false);
            }
            family.user.clone()
        };
        self.denylist.deny_family(&name(id), user.as_str());
        Ok(true)
    }

    /// Ends all log-ins of a user and all their access tokens, those that are being refreshed
    /// too. Who logs in afterwards is not caught by it. Says how many log-ins it were.
    pub fn log_out_everywhere(&self, user: impl Into<UserId>) -> usize {
        let user = user.into();
        let generation = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        let mut ended = 0;
        let mut locked = self.users.lock(&user);
        if let Some(row) = locked.row() {
            for id in &row.keys {
                let mut families = self.shard(*id).lock();
                if let Some(family) = families.get_mut(id)
                    && family.stamp < generation
                    && !std::mem::replace(&mut family.is_dead, true)
                {
                    ended += 1;
                }
            }
        }
        drop(locked);
        // After the families: a refresh that is dated after this finds its family dead.
        self.denylist.deny_user(user.as_str());
        ended
    }

    /// Frees log-ins that are over, of the next so many shards: each has at most some thousand,
    /// and a lock of its own. Call it now and then; a log-in does so too before it is refused.
    pub fn sweep(&self, shards: usize) -> usize {
        let now = self.settings.wall.now();
        let mut gone = Vec::new();
        for _ in 0..shards {
            let at = self.sweep_at.fetch_add(1, Ordering::Relaxed) as usize % self.families.len();
            let (idle, absolute) = (self.settings.idle, self.settings.absolute);
            self.families[at].lock().retain(|id, family| {
                // The dead stay until their time: so their tokens are said to be revoked.
                let stays = now < family.created.saturating_add(absolute)
                    && now < family.current.since.saturating_add(idle);
                if !stays {
                    gone.push((*id, family.user.clone()));
                }
                stays
            });
        }
        self.held.fetch_sub(gone.len() as u64, Ordering::Relaxed);
        for (id, user) in &gone {
            self.users.unlink(user, *id);
        }
        gone.len()
    }

    /// How many log-ins are held, those that are over and not yet swept included.
    pub fn len(&self) -> usize {
        self.held.load(Ordering::Relaxed) as usize
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts a log-in that is about to be, if there is room.
    fn reserve(&self) -> Result<(), LogInError> {
        let max = self.settings.max_families;
        for is_last in [false, true] {
            if self.held.fetch_add(1, Ordering::Relaxed) < max {
                return Ok(());
            }
            self.held.fetch_sub(1, Ordering::Relaxed);
            if !is_last {
                self.sweep(SWEEP_IF_FULL);
            }
        }
        Err(LogInError::Full { max })
    }

    /// The pair of this number. The same each time, but for the randomness of ES256.
    fn pair(
        &self,
        id: u128,
        salt: &[u8; 32],
        user: &UserId,
        extra: &str,
        current: Current,
    ) -> Option<TokenPair> {
        let family = name(id);
        let expires = current.issued.saturating_add(self.settings.access);
        let mut claims = String::with_capacity(256 + extra.len());
        let texts = [
            ("{\"iss\":", &*self.settings.issuer),
            (",\"aud\":", &*self.settings.audience),
            (",\"sub\":", user.as_str()),
            (",\"sid\":", &family),
            (
                ",\"jti\":",
                &self.secrets.access_id(id, salt, current.number),
            ),
        ];
        for (member, text) in texts {
            claims.push_str(member);
            json::write_text(text, &mut claims);
        }
        for (member, moment) in [(",\"iat\":", current.issued), (",\"exp\":", expires)] {
            claims.push_str(member);
            claims.push_str(&moment.to_string());
        }
        if !extra.is_empty() {
            claims.push(',');
            claims.push_str(extra);
        }
        claims.push('}');
        let mut access = String::with_capacity(self.header.len() + claims.len() * 4 / 3 + 96);
        access.push_str(&self.header);
        access.push('.');
        base64url::encode_to(claims.as_bytes(), &mut access);
        let (signature, len) = self.ring.active()?.sign(access.as_bytes())?;
        access.push('.');
        base64url::encode_to(&signature[..len], &mut access);
        Some(TokenPair {
            access,
            refresh: self.secrets.token(id, salt, current.number),
            family,
            expires,
        })
    }

    fn shard(&self, id: u128) -> &Mutex<HashMap<u128, Family>> {
        &self.families[id as usize & (self.families.len() - 1)]
    }
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer")
            .field("ring", &self.ring)
            .field("issuer", &self.settings.issuer)
            .field("log_ins", &self.len())
            .finish_non_exhaustive()
    }
}

/// Extra claims stand in the same object as ours, where none may come twice.
fn check_extra(extra: &str) -> Result<(), LogInError> {
    let wrong = |expected| Err(LogInError::Extra { expected });
    if extra.len() > MOST_EXTRA {
        return wrong("4096 bytes at most");
    }
    let object = format!("{{{extra}}}");
    let mut takes_ours = false;
    let read = json::object(&object, MOST_MEMBERS - OURS.len(), |name, _| {
        takes_ours |= OURS.contains(&name);
        Some(())
    });
    match read {
        Some(()) if takes_ours => wrong("others than those the issuer sets"),
        Some(()) => Ok(()),
        None => wrong("members of a JSON object, without its braces"),
    }
}

/// Builds a [`TokenIssuer`]; made by [`TokenIssuer::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct TokenIssuerBuilder {
    ring: KeyRing,
    issuer: Option<String>,
    audience: Option<String>,
    access: Duration,
    idle: Duration,
    absolute: Duration,
    grace: Duration,
    max_families: u64,
    max_denied: usize,
    wall: WallClock,
}

impl TokenIssuerBuilder {
    /// What tokens say of who issued them (`iss`). Has to be said.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// For whom they are (`aud`). Has to be said.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// How long an access token lives; 15 minutes by default. Verifiers elsewhere, who do not see the
    /// denylist, learn of a log-out after so long.
    pub fn access_ttl(mut self, ttl: Duration) -> Self {
        self.access = ttl;
        self
    }

    /// How long a log-in lives without being refreshed; 14 days by default.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long a log-in lives at all; 30 days by default.
    pub fn absolute(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// For how long a token that was used is answered with the current pair instead of being
    /// taken for stolen; 10 seconds by default, a minute at most. A thief who is as quick as that is not
    /// noticed before one of the two tokens is used again.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How many log-ins there may be; a million by default.
    pub fn max_log_ins(mut self, max: u64) -> Self {
        self.max_families = max;
        self
    }

    /// How many entries the denylist may have before it revokes more than it was asked to;
    /// a million by default.
    pub fn max_denied(mut self, max: usize) -> Self {
        self.max_denied = max;
        self
    }

    /// The clock; the system's by default.
    pub fn clock(mut self, wall: WallClock) -> Self {
        self.wall = wall;
        self
    }

    /// Builds the issuer.
    ///
    /// # Errors
    /// [`TokenBuildError`] says what is missing or makes no sense.
    pub fn build(self) -> Result<TokenIssuer, TokenBuildError> {
        let issuer = self.issuer.ok_or(TokenBuildError::Missing("issuer"))?;
        let audience = self.audience.ok_or(TokenBuildError::Missing("audience"))?;
        let key = self.ring.active();
        let header = header(
            key.ok_or(TokenBuildError::Missing("an active key"))?,
            ACCESS,
        );
        let wrong = |setting, expected| Err(TokenBuildError::Setting { setting, expected });
        let (idle, absolute) = (seconds(self.idle), seconds(self.absolute));
        if self.access.as_secs() == 0 || self.access > Duration::from_secs(24 * 3600) {
            return wrong("access_ttl", "1 second to 24 hours");
        }
        if idle == 0 || idle > absolute {
            return wrong("idle", "at least a second, and no longer than absolute");
        }
        if self.grace > Duration::from_secs(60) {
            return wrong("grace", "a minute at most");
        }
        if issuer.len() + audience.len() > MAX_TOKEN / 8 {
            return wrong("issuer and audience", "1024 bytes together at most");
        }
        let secrets = Secrets::draw().map_err(|_| TokenBuildError::Entropy)?;
        let shards = (self.max_families / PER_SHARD).next_power_of_two();
        let shards = shards.clamp(MIN_SHARDS, MAX_SHARDS) as usize;
        // Verifiers accept a token for up to five minutes after its end.
        let longest = self.access + Duration::from_secs(300);
        Ok(TokenIssuer {
            header,
            secrets,
            families: (0..shards).map(|_| Mutex::new(HashMap::new())).collect(),
            users: Users::new(shards),
            epoch: AtomicU64::new(0),
            held: AtomicU64::new(0),
            sweep_at: AtomicU64::new(0),
            denylist: Arc::new(Denylist::new(self.max_denied, longest, self.wall.clone())),
            settings: Settings {
                issuer,
                audience,
                access: self.access.as_secs(),
                idle,
                absolute,
                grace: self.grace.as_secs(),
                max_families: self.max_families,
                wall: self.wall,
            },
            ring: self.ring,
        })
    }
}

/// Log-ins per shard when there are as many as there may be.
const PER_SHARD: u64 = 4096;
const MIN_SHARDS: u64 = 64;
const MAX_SHARDS: u64 = 1 << 14;
/// Shards that are looked at before a log-in is refused.
const SWEEP_IF_FULL: usize = 4;
/// Tokens that may have been used within the grace.
const MOST_IN_GRACE: usize = 16;
const MOST_EXTRA: usize = 4096;
const OURS: [&str; 9] = [
    "iss", "aud", "sub", "sid", "jti", "iat", "exp", "nbf", "typ",
];
