//! Revocations of which nobody knows whether they will still reach the store.

use std::collections::HashMap;
use std::time::Duration;

use super::copies::Who;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::Instant;

/// Remembers each for as long as it may matter; if there are too many, all sessions are in doubt.
pub(super) struct Doubts {
    /// How long a revocation may be on its way.
    lasts: Duration,
    /// As many as `noted` has, or more: nearly always none, so that nobody need lock to know.
    count: AtomicU64,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Until when no copies are kept of these.
    until: HashMap<Who, Instant>,
    /// Until when none are kept at all.
    all_until: Option<Instant>,
}

impl Doubts {
    pub(super) fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            count: AtomicU64::new(0),
            noted: Mutex::new(Noted::default()),
        }
    }

    pub(super) fn add(&self, who: Who, now: Instant) {
        let until = now + self.lasts;
        let mut noted = self.noted.lock();
        // A load that began within may end as long after; later it has nothing to keep.
        let lasts = self.lasts;
        noted.until.retain(|_, &mut until| now < until + lasts);
        if noted.until.len() < MAX {
            noted.until.insert(who, until);
        } else {
            noted.all_until = Some(until);
        }
        self.count
            .store(noted.until.len() as u64, Ordering::Release);
    }

    /// Whether a load that was begun then may have been overtaken.
    pub(super) fn cover(&self, whose: impl IntoIterator<Item = Who>, begun: Instant) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let noted = self.noted.lock();
        let is_within = |until: Instant| begun < until;
        noted.all_until.is_some_and(is_within)
            || whose
                .into_iter()
                .any(|who| noted.until.get(&who).copied().is_some_and(is_within))
    }
}

const MAX: usize = 4096;

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;
    use crate::time::ManualClock;

    #[test]
    fn a_doubt_covers_what_began_before_its_end() {
        let (clock, lasts) = (ManualClock::new(), Duration::from_secs(30));
        let doubts = Doubts::new(lasts);
        assert!(!doubts.cover([Who::Session(1)], clock.now()));
        doubts.add(Who::Session(1), clock.now());
        doubts.add(Who::User(2), clock.now());
        assert!(doubts.cover([Who::Session(1)], clock.now()));
        assert!(doubts.cover([Who::Session(3), Who::User(2)], clock.now()));
        assert!(!doubts.cover([Who::Session(2), Who::User(1)], clock.now()));
        let begun = clock.now();
        clock.advance(lasts);
        assert!(!doubts.cover([Who::Session(1)], clock.now()));
        doubts.add(Who::Session(9), clock.now());
        assert!(doubts.cover([Who::Session(1)], begun), "it ends late");
    }

    #[test]
    fn too_many_cover_everybody_and_no_more_are_noted() {
        let (clock, lasts) = (ManualClock::new(), Duration::from_secs(30));
        let doubts = Doubts::new(lasts);
        for key in 0..MAX as u128 {
            doubts.add(Who::Session(key), clock.now());
        }
        assert!(!doubts.cover([Who::User(1)], clock.now()));
        doubts.add(Who::Session(u128::MAX), clock.now());
        assert!(doubts.cover([Who::User(1)], clock.now()));
        assert_eq!(doubts.noted.lock().until.len(), MAX);
        clock.advance(lasts * 2);
        assert!(!doubts.cover([Who::User(1)], clock.now()));
        doubts.add(Who::Session(1), clock.now());
        assert_eq!(doubts.noted.lock().until.len(), 1);
    }
}
