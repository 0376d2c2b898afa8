//! Which messages of a group are lent, and until when.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, btree_map};
use std::ops::Range;

use super::group::Taken;
use crate::hash::TableHasher;
use crate::time::Instant;

/// Leases by message, with a list of when they end: what one call lends ends at the same
/// moment, and is one entry of that list.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_id: HashMap<u64, Lease, TableHasher>,
    ends: BTreeMap<Instant, Ending>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub(super) token: u64,
    pub(super) deadline: Instant,
    pub(super) attempts: u32,
    pub(super) level: u8,
}

/// Leases that end at some moment.
#[derive(Debug, Default)]
struct Ending {
    /// Messages among which those are; of others the lease was given back, or goes on.
    /// Most calls lend one run.
    first: Range<u64>,
    more: Vec<Range<u64>>,
    /// How many there are. With the last one the entry goes.
    live: usize,
}

impl Leases {
    pub(super) fn get(&self, id: u64) -> Option<&Lease> {
        self.by_id.get(&id)
    }

    /// Lends a message that is not lent.
    pub(super) fn insert(&mut self, id: u64, lease: Lease) {
        self.by_id.insert(id, lease);
        self.ends.entry(lease.deadline).or_default().add(id);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Lease> {
        let lease = self.by_id.remove(&id)?;
        self.ends_no_more(lease.deadline);
        Some(lease)
    }

    /// Takes a lease out if this is its token.
    pub(super) fn settle(&mut self, id: u64, token: u64) -> bool {
        let Entry::Occupied(entry) = self.by_id.entry(id) else {
            return false;
        };
        if entry.get().token != token {
            return false;
        }
        let lease = entry.remove();
        self.ends_no_more(lease.deadline);
        true
    }

    /// Whether the lease with this token still holds.
    pub(super) fn holds(&self, id: u64, token: u64) -> bool {
        self.get(id).is_some_and(|lease| lease.token == token)
    }

    pub(super) fn extend(&mut self, id: u64, deadline: Instant) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            let before = std::mem::replace(&mut lease.deadline, deadline);
            self.ends.entry(deadline).or_default().add(id);
            self.ends_no_more(before);
        }
    }

    fn ends_no_more(&mut self, deadline: Instant) {
        if let btree_map::Entry::Occupied(mut entry) = self.ends.entry(deadline) {
            entry.get_mut().live -= 1;
            if entry.get().live == 0 {
                entry.remove();
            }
        }
    }

    /// Those that have ended by now, the earliest first.
    pub(super) fn expired(&self, now: Instant) -> Vec<Taken> {
        let mut expired = Vec::new();
        for (deadline, ending) in self.ends.range(..=now) {
            let mut ids: Vec<u64> = ending.runs().flatten().collect();
            // The same message may have been lent twice until then.
            ids.sort_unstable();
            ids.dedup();
            for id in ids {
                if let Some(lease) = self.get(id).filter(|lease| lease.deadline == *deadline) {
                    expired.push(Taken {
                        id,
                        token: lease.token,
                        attempts: lease.attempts,
                    });
                }
            }
        }
        expired
    }

    /// When the first one ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first_key_value().map(|(deadline, _)| *deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Lease)> {
        self.by_id.iter().map(|(id, lease)| (*id, lease))
    }

    /// Bytes it takes, about.
    pub(super) fn memory(&self) -> usize {
        72 * self.by_id.len()
    }
}

impl Ending {
    fn add(&mut self, id: u64) {
        self.live += 1;
        let last = self.more.last_mut().unwrap_or(&mut self.first);
        if last.is_empty() {
            *last = id..id + 1;
        } else if last.end == id {
            last.end += 1;
        } else {
            self.more.push(id..id + 1);
        }
    }

    fn runs(&self) -> impl Iterator<Item = Range<u64>> {
        [&self.first].into_iter().chain(&self.more).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn leases_end_when_they_should_whatever_became_of_others() {
        for seed in 0..20 {
            let mut rng = Rng::with_seed(seed);
            let (mut leases, mut model) = (Leases::default(), BTreeSet::new());
            for token in 0..2000 {
                let (id, at) = (rng.below(60), Instant::from_nanos(rng.below(12)));
                let lent = leases
                    .get(id)
                    .map(|lease| (lease.deadline, id, lease.token));
                match (rng.below(4), lent) {
                    (0..2, None) => {
                        let lease = Lease {
                            token,
                            deadline: at,
                            attempts: 1,
                            level: 3,
                        };
                        leases.insert(id, lease);
                        model.insert((at, id, token));
                    }
                    (2, Some(lease)) => {
                        leases.extend(id, at);
                        assert!(model.remove(&lease) && model.insert((at, id, lease.2)));
                    }
                    (3, Some(lease)) => {
                        assert!(!leases.settle(id, token) && leases.settle(id, lease.2));
                        assert!(model.remove(&lease));
                    }
                    _ => assert!(!leases.settle(id, token)),
                }
                let expired = leases.expired(at);
                let expired = expired.iter().map(|taken| (taken.id, taken.token));
                let ended = model.iter().take_while(|(deadline, ..)| *deadline <= at);
                assert!(
                    expired.eq(ended.map(|(_, id, token)| (*id, *token))),
                    "seed {seed}"
                );
                assert_eq!(leases.next_end(), model.first().map(|first| first.0));
                assert_eq!(leases.len(), model.len());
            }
            let removed = model.iter().filter_map(|(_, id, _)| leases.remove(*id));
            assert_eq!(removed.count(), model.len());
            assert!(leases.ends.is_empty() && leases.iter().next().is_none());
        }
    }
}
