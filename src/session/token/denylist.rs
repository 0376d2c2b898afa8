use std::fmt;

use super::claims::ClaimsRef;
use super::denied::{Denied, Held, Kind};
use super::error::Scope;
use crate::session::WallClock;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Tokens, log-ins and users whose tokens are good no more, though they have not expired.
///
/// Exact: nothing is revoked that was not, and nothing forgotten before its token would have
/// expired. Bounded: when there are too many tokens, their users' are revoked
/// instead, and when there are too many of those, everybody's. Empty, it costs two
/// atomic loads per token; who is not on a long one is told so without a lock.
///
/// Tokens are dated with whole seconds. Who is revoked, let in and revoked again within one second gets tokens that are dated
/// ahead, the next one, and so on up to 30 seconds, so that each revocation has a date of its own.
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
    /// Tokens dated earlier are revoked, whosever they are.
    all: AtomicU64,
    held: Held,
    /// Tokens and families, dated with when they would have expired.
    named: Denied,
    /// Users, dated with when they may have tokens again.
    users: Denied,
    /// The latest date that a token was given because of `all`.
    given: AtomicU64,
    /// The longest life of a token, leeway included.
    longest: u64,
    /// When all of it was last looked through.
    swept: AtomicU64,
    wall: WallClock,
}

impl Denylist {
    /// A list of at most so many entries, for tokens that live no longer than `longest`, a verifier's leeway
    /// included.
    pub fn new(max: usize, longest: std::time::Duration, wall: WallClock) -> Self {
        let longest = crate::session::wall::seconds(longest);
        Self {
            all: AtomicU64::new(0),
            held: Held::new(max),
            named: Denied::new(Kind::Named, 0),
            users: Denied::new(Kind::Users, longest),
            given: AtomicU64::new(0),
            longest,
            swept: AtomicU64::new(0),
            wall,
        }
    }

    /// Revokes one token. One without a name (`jti`) cannot be revoked alone: then all of
    /// its user until now are, and without a user everybody's.
    pub fn deny(&self, claims: &ClaimsRef<'_>) {
        let ends = claims.expires.saturating_add(self.longest);
        if claims.id().is_some_and(|id| self.name(TOKEN, &id, ends)) {
            return;
        }
        match claims.subject() {
            Some(user) => self.deny_user(&user),
            None => self.deny_all(),
        }
    }

    /// Revokes all tokens of a log-in (`sid`); `user` is whose it is.
    pub fn deny_family(&self, family: &str, user: &str) {
        // Its last token may be dated that far ahead.
        let ends = (self.wall.now() + AHEAD).saturating_add(self.longest);
        if !self.name(FAMILY, family, ends) {
            self.deny_user(user);
        }
    }

    /// Revokes all tokens of a user that were issued until now, this second included.
    pub fn deny_user(&self, user: &str) {
        let now = self.wall.now();
        let put = || {
            let again = |date| next(date, now);
            self.users
                .put((USER, user), now + 1, again, now, &self.held)
        };
        if !self.put(now, put) {
            self.deny_all();
        }
    }

    /// Revokes all tokens that were issued until now, this second included.
    pub fn deny_all(&self) {
        let now = self.wall.now();
        let later = |all: u64| {
            let is_given = self.given.load(Ordering::SeqCst) >= all;
            let date = if is_given { next(all, now) } else { now + 1 };
            (date > all).then_some(date)
        };
        // Fails if it is so late already.
        let _ = self
            .all
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
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
    #[inline]
    pub fn has_family(&self, family: &str) -> bool {
        self.held.has(Kind::Named) && self.has_named(FAMILY, family)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.held.len() as usize
    }

    /// Whether nothing is revoked but, maybe, everything until a moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a new token of this user is to be dated: now, or later than all that was revoked.
    pub(super) fn first_date(&self, user: &str, now: u64) -> u64 {
        let all = self.all.load(Ordering::SeqCst);
        if all > now {
            self.given.fetch_max(all, Ordering::SeqCst);
        }
        let has_users = self.held.has(Kind::Users);
        let date = has_users.then(|| self.users.date(USER, user)).flatten();
        now.max(all).max(date.unwrap_or(0))
    }

    /// What of this token was revoked, if anything. One without a date is older than
    /// every revocation.
    pub(super) fn scope(&self, claims: &ClaimsRef<'_>) -> Option<Scope> {
        let issued = claims.issued.unwrap_or(0);
        if issued < self.all.load(Ordering::SeqCst) {
            return Some(Scope::All);
        }
        if self.held.has(Kind::Named) {
            for (scope, of, text) in [
                (Scope::Token, TOKEN, &claims.id),
                (Scope::Family, FAMILY, &claims.family),
            ] {
                if text.is_some_and(|text| self.has_named(of, &text.get())) {
                    return Some(scope);
                }
            }
        }
        let user = claims.subject.filter(|_| self.held.has(Kind::Users))?;
        let date = self.users.date(USER, &user.get())?;
        (issued < date).then_some(Scope::User)
    }

    fn has_named(&self, of: u8, name: &str) -> bool {
        self.named.date(of, name).is_some()
    }

    /// Revokes by a name, unless there are too many already.
    fn name(&self, of: u8, name: &str, ends: u64) -> bool {
        let now = self.wall.now();
        self.put(now, || {
            self.named.put((of, name), ends, |_| ends, now, &self.held)
        })
    }

    /// Tries to, and once more if it was full and much of it may be over: worth a look once a second.
    fn put(&self, now: u64, put: impl Fn() -> bool) -> bool {
        if put() {
            return true;
        }
        if self.swept.fetch_max(now, Ordering::Relaxed) >= now {
            return false;
        }
        self.named.sweep(now, &self.held);
        self.users.sweep(now, &self.held);
        put()
    }
}

impl fmt::Debug for Denylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denylist")
            .field("len", &self.len())
            .field("max", &self.held.max())
            .finish_non_exhaustive()
    }
}

/// What is revoked until a date is revoked once more, now. If that date is still to come, tokens may have been given
/// it since: then until a second later, but never so far ahead that verifiers take new tokens for forged.
fn next(date: u64, now: u64) -> u64 {
    if date > now {
        (date + 1).min(now + AHEAD)
    } else {
        now + 1
    }
}

const TOKEN: u8 = 1;
const FAMILY: u8 = 2;
const USER: u8 = 3;
/// Seconds, as verifiers allow by default.
const AHEAD: u64 = 30;
