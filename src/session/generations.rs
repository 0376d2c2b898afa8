//! Which users are being logged out everywhere, right now.
//!
//! A session must not be loaded once a revocation of its user has begun, though it may take a while to find
//! all of them. To look at a row of its user with every load would be to fetch one more line of memory. So the
//! numbers that loads compare are kept together, in a table that stays in the processor's
//! cache: each user has a generation there, the count of revocations begun in their stripe,
//! which they share with others. A session knows what the count was when it was last looked
//! into. While that has not changed, nobody in the stripe was revoked since; when it has, the list of
//! revocations under way says whether it was this user. What is not in the list any more has
//! taken all its sessions out of the store, and whoever still finds one has found another user's.
//!
//! The order is what makes it right. A revocation comes into the list and is counted in one step, under the lock of the
//! list: else one session of a user would be found in it while another still agrees with the count.
//! It leaves the list after the last session has left the store. A load reads the count before the list,
//! and remembers what it has read.

use super::entry::Entry;
use super::user_id::UserId;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub(super) struct Generations {
    /// Revocations begun, by the hash of users.
    counts: Vec<AtomicU32>,
    /// Locked after everything else.
    under_way: Mutex<Vec<Revoking>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Revoking {
    user: UserId,
    /// Sessions with a lower stamp are over.
    generation: u64,
}

/// A revocation under way; over when it is dropped.
pub(super) struct UnderWay<'a> {
    generations: &'a Generations,
    revoking: Revoking,
}

impl Generations {
    pub(super) fn new() -> Self {
        Self {
            counts: (0..STRIPES).map(|_| AtomicU32::new(0)).collect(),
            under_way: Mutex::default(),
        }
    }

    /// What a session knows that is put into the store under the lock of its user's row, where no
    /// revocation of theirs is under way.
    pub(super) fn of(&self, owner: u32) -> u32 {
        self.counts[owner as usize % STRIPES].load(Ordering::Acquire)
    }

    /// Whether a session that was found in the store is over, because all of its user's
    /// are. The one comparison that no reader may leave out.
    pub(super) fn is_revoked(&self, entry: &Entry) -> bool {
        entry.user.is_some() && self.of(entry.owner) != entry.generation && self.is_listed(entry)
    }

    /// The same, and remembers that it was looked into.
    pub(super) fn look_into(&self, entry: &mut Entry) -> bool {
        if entry.user.is_none() {
            return false;
        }
        let generation = self.of(entry.owner);
        if generation == entry.generation {
            return false;
        }
        let is_revoked = self.is_listed(entry);
        if !is_revoked {
            entry.generation = generation;
        }
        is_revoked
    }

    fn is_listed(&self, entry: &Entry) -> bool {
        let under_way = self.under_way.lock();
        under_way.iter().any(|revoking| {
            entry.stamp < revoking.generation && entry.user.as_ref() == Some(&revoking.user)
        })
    }

    /// From here on no load finds a session of this user with a lower stamp. Called under the lock of
    /// their row, and dropped under it.
    pub(super) fn revoke(&self, user: &UserId, owner: u32, generation: u64) -> UnderWay<'_> {
        let revoking = || Revoking {
            user: user.clone(),
            generation,
        };
        let mut under_way = self.under_way.lock();
        under_way.push(revoking());
        self.counts[owner as usize % STRIPES].fetch_add(1, Ordering::AcqRel);
        drop(under_way);
        UnderWay {
            generations: self,
            revoking: revoking(),
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut under_way = self.generations.under_way.lock();
        let at = under_way.iter().position(|other| *other == self.revoking);
        if let Some(at) = at {
            under_way.swap_remove(at);
        }
    }
}

/// 64 KiB of counts. With a million sessions, sixty are looked into once more after a revocation.
#[cfg(not(tenfold_shuttle))]
const STRIPES: usize = 1 << 14;
/// Few, so that users meet.
#[cfg(tenfold_shuttle)]
const STRIPES: usize = 1;

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;

    fn session(user: &str, stamp: u64) -> Entry {
        let mut entry = Entry::new(1, Vec::new(), 1, 0);
        entry.user = Some(user.into());
        entry.stamp = stamp;
        entry
    }

    #[test]
    fn who_shares_a_stripe_is_looked_into_and_lives() {
        let generations = Generations::new();
        let (mut ada, mut bob) = (session("ada", 4), session("bob", 4));
        let under_way = generations.revoke(&"ada".into(), 0, 5);
        assert!(generations.is_revoked(&ada) && generations.look_into(&mut ada));
        assert!(!generations.is_revoked(&bob) && !generations.look_into(&mut bob));
        assert_eq!((ada.generation, bob.generation), (0, 1));
        assert!(!generations.look_into(&mut session("ada", 5)), "spared");
        drop(under_way);
        let _second = generations.revoke(&"bob".into(), 0, 6);
        assert!(generations.look_into(&mut bob), "looked into before");
        assert!(!generations.look_into(&mut ada));
    }

    #[test]
    fn a_session_of_nobody_is_nobodys_to_revoke() {
        let generations = Generations::new();
        let mut nobody = Entry::new(1, Vec::new(), 1, 0);
        let _under_way = generations.revoke(&"".into(), 0, 5);
        assert!(!generations.is_revoked(&nobody) && !generations.look_into(&mut nobody));
    }
}
