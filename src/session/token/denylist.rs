use std::fmt;

use hashbrown::HashTable;
use sha2::{Digest, Sha256};

use super::claims::ClaimsRef;
use super::error::Scope;
use crate::session::{WallClock, base64url};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Tokens, log-ins and users whose tokens are good no more, though they have not expired.
///
/// Exact: nothing is revoked that was not, and nothing forgotten before its token would have
/// expired. Bounded: when there are too many tokens, their users' are revoked
/// instead, and when there are too many of those, everybody's. Empty, it costs one
/// atomic load per token.
///
/// ```
/// use std::time::Duration;
/// use tenfold::session::WallClock;
/// use tenfold::session::token::Denylist;
///
/// let list = Denylist::new(100_000, Duration::from_secs(900), WallClock::system());
/// assert!(list.is_empty());
/// list.deny_user("ada");
/// assert_eq!(list.len(), 1);
/// ```
pub struct Denylist {
    /// By what was revoked: tokens and families until they would have expired, users from when
    /// they may have tokens again.
    shards: Vec<Mutex<Shard>>,
    len: AtomicU64,
    /// How many of them are users: none is looked for where there are none.
    users: AtomicU64,
    /// How many are tokens and log-ins.
    named: AtomicU64,
    max: u64,
    /// The longest life of a token, leeway included.
    longest: u64,
    /// Tokens dated earlier are revoked, whosever they are.
    all: AtomicU64,
    /// When all of it was last looked through.
    swept: AtomicU64,
    wall: WallClock,
}

#[derive(Default)]
struct Shard {
    /// Hashes of what was revoked are their own hashes: nobody chooses them.
    rows: HashTable<Row>,
    /// When it is worth looking for rows that are over.
    next_sweep: u64,
}

struct Row {
    what: u128,
    /// For users: tokens dated earlier are revoked.
    before: u64,
    /// From when on nothing is left to revoke.
    ends: u64,
}

impl Denylist {
    /// A list of at most so many entries, for tokens that live no longer than `longest`, a verifier's leeway
    /// included.
    pub fn new(max: usize, longest: std::time::Duration, wall: WallClock) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
            len: AtomicU64::new(0),
            users: AtomicU64::new(0),
            named: AtomicU64::new(0),
            max: max as u64,
            longest: crate::session::wall::seconds(longest),
            all: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            wall,
        }
    }

    /// Revokes one token. One without a name (`jti`) cannot be revoked alone: then all of
    /// its user until now are, and without a user everybody's.
    pub fn deny(&self, claims: &ClaimsRef<'_>) {
        let user = claims.subject();
        let Some(id) = claims.id() else {
            return match user {
                Some(user) => self.deny_user(&user),
                None => self.deny_all(),
            };
        };
        let ends = claims.expires.saturating_add(self.longest);
        if !self.put(hash(TOKEN, &id), 0, ends) {
            match user {
                Some(user) => self.deny_user(&user),
                None => self.deny_all(),
            }
        }
    }

    /// Revokes all tokens of a log-in (`sid`); `user` is whose it is.
    pub fn deny_family(&self, family: &str, user: &str) {
        let ends = self.wall.now().saturating_add(self.longest + 1);
        if !self.put(hash(FAMILY, family), 0, ends) {
            self.deny_user(user);
        }
    }

    /// Revokes all tokens of a user that were issued until now, this second included.
    pub fn deny_user(&self, user: &str) {
        let before = self.wall.now() + 1;
        if !self.put(hash(USER, user), before, before + self.longest) {
            self.deny_all();
        }
    }

    /// Revokes all tokens that were issued until now, this second included.
    pub fn deny_all(&self) {
        self.all.fetch_max(self.wall.now() + 1, Ordering::SeqCst);
    }

    /// Whether this log-in (`sid`) was revoked by itself: for a connection that lives longer than the token it was
    /// opened with.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tenfold::session::WallClock;
    /// # use tenfold::session::token::Denylist;
    /// let list = Denylist::new(100_000, Duration::from_secs(900), WallClock::system());
    /// list.deny_family("c3VjaC1hLWZhbWlseS1pcw", "ada");
    /// assert!(list.has_family("c3VjaC1hLWZhbWlseS1pcw") && !list.has_family("another"));
    /// ```
    pub fn has_family(&self, family: &str) -> bool {
        self.named.load(Ordering::SeqCst) > 0 && self.holds(hash(FAMILY, family), 0)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }

    /// Whether nothing is revoked but, maybe, everything until a moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first second that a new token of this user may be dated: later than all that
    /// was revoked.
    pub(super) fn first_date(&self, user: &str) -> u64 {
        let all = self.all.load(Ordering::SeqCst);
        if self.users.load(Ordering::SeqCst) == 0 {
            return all;
        }
        let key = hash(USER, user);
        let shard = self.shard(key).lock();
        let row = shard.rows.find(key as u64, |row| row.what == key);
        row.map_or(all, |row| row.before.max(all))
    }

    /// What of this token was revoked, if anything. One without a date is older than
    /// every revocation.
    pub(super) fn scope(&self, claims: &ClaimsRef<'_>) -> Option<Scope> {
        let issued = claims.issued.unwrap_or(0);
        if issued < self.all.load(Ordering::SeqCst) {
            return Some(Scope::All);
        }
        if self.named.load(Ordering::SeqCst) > 0 {
            for (scope, kind, text) in [
                (Scope::Token, TOKEN, &claims.id),
                (Scope::Family, FAMILY, &claims.family),
            ] {
                if let Some(text) = text
                    && self.holds(hash(kind, &text.get()), 0)
                {
                    return Some(scope);
                }
            }
        }
        let user = claims.subject.as_ref()?;
        if self.users.load(Ordering::SeqCst) == 0 {
            return None;
        }
        self.holds(hash(USER, &user.get()), issued)
            .then_some(Scope::User)
    }

    /// Whether it is on the list, for a token of that date.
    fn holds(&self, key: u128, issued: u64) -> bool {
        let shard = self.shard(key).lock();
        let row = shard.rows.find(key as u64, |row| row.what == key);
        row.is_some_and(|row| issued < row.before || row.before == 0)
    }

    /// Notes it, unless there are too many already.
    fn put(&self, what: u128, before: u64, ends: u64) -> bool {
        let now = self.wall.now();
        if self.try_put(what, before, ends, now) {
            return true;
        }
        // Full, unless much of it is over: worth a look once a second.
        if self.swept.fetch_max(now, Ordering::Relaxed) >= now {
            return false;
        }
        for shard in &self.shards {
            self.sweep(&mut shard.lock(), now);
        }
        self.try_put(what, before, ends, now)
    }

    fn try_put(&self, what: u128, before: u64, ends: u64, now: u64) -> bool {
        let mut guard = self.shard(what).lock();
        let shard = &mut *guard;
        if let Some(row) = shard.rows.find_mut(what as u64, |row| row.what == what) {
            row.before = row.before.max(before);
            row.ends = row.ends.max(ends);
            return true;
        }
        if now >= shard.next_sweep {
            self.sweep(shard, now);
        }
        if self.len.fetch_add(1, Ordering::SeqCst) >= self.max {
            self.len.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        // Before it can be found: who then sees none has come before it.
        self.kind(before).fetch_add(1, Ordering::SeqCst);
        let row = Row { what, before, ends };
        shard
            .rows
            .insert_unique(what as u64, row, |row| row.what as u64);
        true
    }

    /// Takes out what is over.
    fn sweep(&self, shard: &mut Shard, now: u64) {
        let held = shard.rows.len();
        shard.rows.retain(|row| {
            let stays = now < row.ends;
            if !stays {
                self.kind(row.before).fetch_sub(1, Ordering::SeqCst);
            }
            stays
        });
        let left = held - shard.rows.len();
        self.len.fetch_sub(left as u64, Ordering::SeqCst);
        shard.next_sweep = now + SWEEP_EVERY;
    }

    /// Only users have a date.
    fn kind(&self, before: u64) -> &AtomicU64 {
        if before > 0 { &self.users } else { &self.named }
    }

    fn shard(&self, key: u128) -> &Mutex<Shard> {
        &self.shards[(key >> 64) as usize % SHARDS]
    }
}

impl fmt::Debug for Denylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denylist")
            .field("len", &self.len())
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// A name that we made ourselves is random bits already; others are hashed.
fn hash(kind: u8, name: &str) -> u128 {
    let mut bytes = [0; 16];
    if kind != USER && name.len() == 22 && base64url::decode(name.as_bytes(), &mut bytes).is_some()
    {
        return u128::from_le_bytes(bytes) ^ u128::from(kind);
    }
    let mut hasher = Sha256::new();
    hasher.update([kind]);
    hasher.update(name.as_bytes());
    bytes.copy_from_slice(&hasher.finalize()[..16]);
    u128::from_le_bytes(bytes)
}

const TOKEN: u8 = 1;
const FAMILY: u8 = 2;
const USER: u8 = 3;
const SHARDS: usize = 64;
/// Seconds between looks for what is over, per shard.
const SWEEP_EVERY: u64 = 60;
