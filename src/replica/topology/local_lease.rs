use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{AsyncLease, Grant, Lease, OldPrimary};
use crate::sync::Mutex;
use crate::time::{Clock, Instant};

/// A [`Lease`] within one process: for tests, and where several pools of this process watch the same cluster and
/// nobody else promotes.
///
/// Each clone is one more that asks for the same lease: every monitor gets one of its own. Whoever holds it may extend it; it is free when it
/// was given back, or has run out. A clone that is dropped does not give it back: what it
/// ordered may be under way still. Nothing of it outlives the process, so that it is no lease between processes.
///
/// ```
/// use std::time::Duration;
/// use tenfold::replica::topology::{Lease, LocalLease};
/// use tenfold::time::ManualClock;
///
/// let clock = ManualClock::new();
/// let one = LocalLease::new(Duration::from_secs(10), clock.clock());
/// let other = one.clone();
///
/// let grant = one.acquire(clock.now())?;
/// assert_eq!(grant.term, 1);
/// assert!(other.acquire(clock.now()).is_err());
/// clock.advance(Duration::from_secs(9));
/// assert_eq!(one.acquire(clock.now())?.term, 1); // extended
///
/// clock.advance(Duration::from_secs(10));
/// assert_eq!(other.acquire(clock.now())?.term, 2);
/// one.release(1)?; // not its own any more: nothing happens
/// assert!(one.acquire(clock.now()).is_err());
/// # Ok::<(), tenfold::replica::topology::LeaseTaken>(())
/// ```
pub struct LocalLease {
    shared: Arc<Shared>,
    /// Which of those who ask this is.
    holder: u64,
}

struct Shared {
    clock: Clock,
    length: Duration,
    held: Mutex<Held>,
}

struct Held {
    /// Of the last grant; larger with each.
    term: u64,
    by: u64,
    until: Option<Instant>,
    holders: u64,
}

impl LocalLease {
    /// A lease that nobody has; each grant is for this long by this clock.
    ///
    /// A failover extends it at half of its time, so that it need not be as long as a failover. It should be longer than
    /// [`clock_skew`](super::SettingsBuilder::clock_skew), by which it counts as over before it is, and a promotion together.
    pub fn new(length: Duration, clock: Clock) -> Self {
        let held = Held {
            term: 0,
            by: 0,
            until: None,
            holders: 0,
        };
        Self {
            shared: Arc::new(Shared {
                clock,
                length,
                held: Mutex::new(held),
            }),
            holder: 0,
        }
    }

    fn grant(&self, asked: Instant) -> Result<Grant, LeaseTaken> {
        let Shared {
            clock,
            length,
            held,
        } = &*self.shared;
        let now = clock.now();
        let mut held = held.lock();
        match held.until {
            Some(until) if now < until && held.by != self.holder => {
                return Err(LeaseTaken {
                    left: until.saturating_since(now),
                });
            }
            Some(until) if now < until => {}
            _ => held.term += 1,
        }
        held.by = self.holder;
        held.until = Some(now + *length);
        Ok(Grant {
            term: held.term,
            until: asked + *length,
            old_primary: OldPrimary::Unknown,
        })
    }

    fn give_back(&self, term: u64) {
        let mut held = self.shared.held.lock();
        if held.term == term {
            held.until = None;
        }
    }
}

impl Lease for LocalLease {
    type Error = LeaseTaken;

    fn acquire(&self, now: Instant) -> Result<Grant, LeaseTaken> {
        self.grant(now)
    }

    fn release(&self, term: u64) -> Result<(), LeaseTaken> {
        self.give_back(term);
        Ok(())
    }
}

impl AsyncLease for LocalLease {
    type Error = LeaseTaken;

    async fn acquire(&self, now: Instant) -> Result<Grant, LeaseTaken> {
        self.grant(now)
    }

    async fn release(&self, term: u64) -> Result<(), LeaseTaken> {
        self.give_back(term);
        Ok(())
    }
}

impl Clone for LocalLease {
    fn clone(&self) -> Self {
        let mut held = self.shared.held.lock();
        held.holders += 1;
        Self {
            shared: Arc::clone(&self.shared),
            holder: held.holders,
        }
    }
}

impl fmt::Debug for LocalLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.shared.held.lock();
        let (term, until) = (held.term, held.until);
        drop(held);
        f.debug_struct("LocalLease")
            .field("term", &term)
            .field("until", &until)
            .finish_non_exhaustive()
    }
}

/// Somebody else has the lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("somebody else has the lease, for {left:?} more unless it is given back")]
pub struct LeaseTaken {
    /// For how long at most.
    pub left: Duration,
}
