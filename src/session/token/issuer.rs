use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::access::{Access, check_extra};
use super::denylist::Denylist;
use super::error::{Deadline, LogInError, RefreshError};
use super::issuer_builder::TokenIssuerBuilder;
use super::keys::KeyRing;
use super::pair::{Refreshed, TokenPair};
use super::refresh::{Current, Family, Secrets, name};
use super::signing::Signing;
use crate::session::UserId;
use crate::session::WallClock;
use crate::session::id::Entropy;
use crate::session::users::Users;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Issues access tokens that everybody can verify, and refresh tokens that only it can:
/// each is good once, and is exchanged for the next.
///
/// See the [module](super) for what it promises.
pub struct TokenIssuer {
    pub(super) ring: KeyRing,
    pub(super) signing: Signing,
    pub(super) secrets: Secrets,
    pub(super) settings: Settings,
    /// By family. Locked after a row of users.
    pub(super) families: Vec<Mutex<HashMap<u128, Family>>>,
    pub(super) users: Users,
    pub(super) held: AtomicU64,
    pub(super) sweep_at: AtomicU64,
    /// What tokens without a log-in are numbered from, and how many there were.
    pub(super) first_id: u128,
    pub(super) issued: AtomicU64,
    pub(super) denylist: Arc<Denylist>,
}

pub(super) struct Settings {
    pub(super) issuer: String,
    pub(super) access: u64,
    pub(super) idle: u64,
    pub(super) absolute: u64,
    pub(super) grace: u64,
    pub(super) max_families: u64,
    pub(super) wall: WallClock,
    pub(super) entropy: Entropy,
}

impl TokenIssuer {
    /// Begins to describe an issuer that signs with the active key of this ring.
    pub fn builder(ring: KeyRing) -> TokenIssuerBuilder {
        TokenIssuerBuilder::new(ring)
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
        (self.settings.entropy)(&mut random).map_err(|_| LogInError::Entropy)?;
        let (mut id, mut salt) = ([0; 16], [0; 32]);
        id.copy_from_slice(&random[..16]);
        salt.copy_from_slice(&random[16..]);
        let id = u128::from_le_bytes(id);
        let now = self.settings.wall.now();
        self.reserve()?;
        let extra: Arc<str> = extra.into();
        let current = {
            let mut locked = self.users.lock(&user);
            // A log-out everywhere holds that lock too: it ends this log-in, or has dated its tokens.
            let current = Current {
                number: 0,
                since: now,
                issued: self.denylist.first_date(user.as_str(), now),
            };
            let row = locked.row_or_new();
            row.keys.push(id);
            let family = Family {
                user: user.clone(),
                salt,
                extra: Arc::clone(&extra),
                created: now,
                is_dead: false,
                current,
                before: Vec::new(),
            };
            self.shard(id).lock().insert(id, family);
            current
        };
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
        let now = self.settings.wall.now();
        let issued = self.denylist.first_date(user.as_str(), now);
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
                issued,
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
        let access = self.sign(&Access {
            subject: user.as_str(),
            family: Some(&family),
            id: self.secrets.access_id(id, salt, current.number),
            issued: current.issued,
            expires,
            extra,
        })?;
        Some(TokenPair {
            access,
            refresh: self.secrets.token(id, salt, current.number),
            family,
            expires,
        })
    }

    pub(super) fn shard(&self, id: u128) -> &Mutex<HashMap<u128, Family>> {
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

/// Shards that are looked at before a log-in is refused.
const SWEEP_IF_FULL: usize = 4;
/// Tokens that may have been used within the grace.
const MOST_IN_GRACE: usize = 16;
