//! One session as a store holds it, and how long it lives.

use std::fmt;

use super::data::SessionData;
use super::user_id::UserId;

/// One session: three cache lines, the first of which says all but its data and its user's name.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct Entry {
    pub(super) key: u128,
    pub(super) version: u64,
    /// The store's count of revocations when the session was made, or spared by
    /// one: it outlives those up to this number.
    pub(super) stamp: u64,
    /// When its absolute deadline began to run.
    pub(super) created: u32,
    /// When its idle deadline began to run.
    pub(super) seen: u32,
    /// The hash of its user, whose row its key is in.
    pub(super) owner: u32,
    /// The generation of its user at which it was last found not to be revoked.
    pub(super) generation: u32,
    pub(super) data: SessionData,
    pub(super) user: Option<UserId>,
}

impl Entry {
    /// A session of nobody, which is yet to be placed.
    pub(super) fn new(key: u128, data: impl Into<SessionData>, version: u64, now: u32) -> Self {
        Self {
            key,
            version,
            stamp: 0,
            created: now,
            seen: now,
            owner: 0,
            generation: 0,
            data: data.into(),
            user: None,
        }
    }
}

impl fmt::Debug for Entry {
    /// Keeps the data to itself, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("user", &self.user)
            .field("version", &self.version)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// How long sessions live, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    pub(super) idle: u32,
    pub(super) absolute: u32,
}

impl Lifetime {
    /// The second from which on the session is over.
    pub(super) fn end(self, entry: &Entry) -> u32 {
        let idle = entry.seen.saturating_add(self.idle);
        idle.min(entry.created.saturating_add(self.absolute))
    }

    pub(super) fn is_over(self, entry: &Entry, now: u32) -> bool {
        now >= self.end(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_three_cache_lines() {
        assert_eq!(size_of::<Option<Entry>>(), 192);
        assert!(std::mem::offset_of!(Entry, data) < 64);
    }
}
