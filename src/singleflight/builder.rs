use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::core::Core;
use super::{BuildError, Group, LeaderDrop, OnPanic};
use crate::hash::TableHasher;
use crate::time::{Clock, Timer};

/// Builds a [`Group`]; made by [`Group::builder`].
///
/// ```
/// use std::time::Duration;
/// use tenfold::singleflight::{Group, OnPanic};
///
/// let group: Group<u64, String> = Group::builder()
///     .wait_timeout(Duration::from_secs(2))
///     .max_waiters(10_000)
///     .on_panic(OnPanic::Error)
///     .build()?;
/// let nothing = Group::<u64, String>::builder().max_waiters(0).build();
/// assert!(nothing.is_err());
/// # drop(group);
/// # Ok::<(), tenfold::singleflight::BuildError>(())
/// ```
#[must_use = "a builder does nothing until it builds"]
pub struct GroupBuilder<K, V> {
    settings: Settings,
    timer: Option<Timer>,
    hasher: TableHasher,
    shards: usize,
    group: PhantomData<fn() -> (K, V)>,
}

/// The knobs, as the group reads them.
pub(super) struct Settings {
    pub(super) leader_drop: LeaderDrop,
    pub(super) on_panic: OnPanic,
    pub(super) wait_timeout: Option<Duration>,
    pub(super) max_waiters: usize,
    pub(super) lease: Option<Duration>,
    pub(super) linger: Option<Duration>,
    pub(super) clock: Clock,
    /// Made when a task first waits with a limit, unless it was given.
    timer: OnceLock<Timer>,
}

impl Settings {
    /// What wakes tasks whose time is up.
    pub(super) fn timer(&self) -> &Timer {
        self.timer.get_or_init(|| match self.clock.as_manual() {
            Some(clock) => clock.timer(),
            None => Timer::thread(),
        })
    }
}

impl<K, V> GroupBuilder<K, V> {
    pub(super) fn new() -> Self {
        Self {
            settings: Settings {
                leader_drop: LeaderDrop::default(),
                on_panic: OnPanic::default(),
                wait_timeout: None,
                max_waiters: usize::MAX,
                lease: None,
                linger: None,
                clock: Clock::default(),
                timer: OnceLock::new(),
            },
            timer: None,
            hasher: TableHasher::random(),
            shards: SHARDS,
            group: PhantomData,
        }
    }

    /// What becomes of a flight whose leader is dropped; promotion by default.
    pub fn on_leader_drop(mut self, leader_drop: LeaderDrop) -> Self {
        self.settings.leader_drop = leader_drop;
        self
    }

    /// What becomes of a flight whose leader's work panics; one promotion by
    /// default.
    pub fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.settings.on_panic = on_panic;
        self
    }

    /// How long a caller waits for another's work; for ever by default. The
    /// caller that does the work is not hurried: give its work a limit of its
    /// own, or the flight a [`lease`](Self::lease).
    ///
    /// Threads sleep with a time-out; tasks need a [`timer`](Self::timer).
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.settings.wait_timeout = Some(timeout);
        self
    }

    /// How many callers may wait for one key; those beyond get
    /// [`TooManyWaiters`](super::FlightError::TooManyWaiters) at once, which
    /// bounds the memory a stuck backend can tie up. No limit by default.
    pub fn max_waiters(mut self, max: usize) -> Self {
        self.settings.max_waiters = max;
        self
    }

    /// How long a leader may take before one of those who wait, or the next to
    /// come, runs its own work in its place: a task that nobody polls any more
    /// holds nobody up for longer. The others follow the new leader; what the
    /// old one brings, late, goes to its own caller alone. No limit by default.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = Some(lease);
        self
    }

    /// How long an outcome, an error just as well, is kept and given to callers
    /// who come after it: for work that fails at once, so that a crowd does not
    /// become a queue of failures. Not at all by default, and never longer than
    /// the last 8192 outcomes: a group is no cache.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger = Some(linger);
        self
    }

    /// The clock of all these; [`Clock::coarse`] by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// What wakes tasks whose time is up. By default that is the clock itself
    /// if it is turned by hand, and otherwise a [`Timer::thread`] of the group's
    /// own, started when a task first waits with a limit and joined when the
    /// group is dropped. With tokio: `Timer::from_sleep(tokio::time::sleep)`.
    pub fn timer(mut self, timer: Timer) -> Self {
        self.timer = Some(timer);
        self
    }

    /// The hasher of the table; one with a secret of its own by default.
    pub fn hasher(mut self, hasher: TableHasher) -> Self {
        self.hasher = hasher;
        self
    }

    /// How many locks the keys are spread over, rounded up to a power of two; 64
    /// by default.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }
}

impl<K: Hash + Eq, V: Clone> GroupBuilder<K, V> {
    /// Builds the group.
    ///
    /// # Errors
    /// [`BuildError`] says which settings contradict themselves or each other.
    pub fn build(self) -> Result<Group<K, V>, BuildError> {
        let settings = &self.settings;
        let is_timed = settings.wait_timeout.is_some() || settings.lease.is_some();
        let mistakes = [
            (settings.max_waiters == 0, BuildError::NoWaiters),
            (is_zero(settings.wait_timeout), BuildError::NoWait),
            (is_zero(settings.lease), BuildError::NoLease),
            (is_zero(settings.linger), BuildError::NoLinger),
            (self.shards == 0, BuildError::NoShards),
            (self.timer.is_some() && !is_timed, BuildError::IdleTimer),
        ];
        if let Some((_, mistake)) = mistakes.iter().find(|(made, _)| *made) {
            return Err(*mistake);
        }
        let mut settings = self.settings;
        if let Some(timer) = self.timer {
            settings.timer = OnceLock::from(timer);
        }
        let shards = self.shards.min(MAX_SHARDS).next_power_of_two();
        let core = Core::new(settings, self.hasher, shards);
        Ok(Group::of(Arc::new(core)))
    }
}

impl<K, V> fmt::Debug for GroupBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupBuilder")
            .field("on_leader_drop", &self.settings.leader_drop)
            .field("on_panic", &self.settings.on_panic)
            .field("wait_timeout", &self.settings.wait_timeout)
            .field("max_waiters", &self.settings.max_waiters)
            .field("lease", &self.settings.lease)
            .field("linger", &self.settings.linger)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

fn is_zero(duration: Option<Duration>) -> bool {
    duration == Some(Duration::ZERO)
}

pub(super) const SHARDS: usize = 64;
const MAX_SHARDS: usize = 1 << 16;
