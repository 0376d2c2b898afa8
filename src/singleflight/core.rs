//! What all handles of a group share: flights in shards behind their locks.
//!
//! One lock is held at a time, a shard's, and no user code runs under it
//! (`Hash`, `Eq` and `Clone` excepted).

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use super::builder::Settings;
use super::lingering::Lingering;
use super::{FlightError, GroupStats};
use crate::hash::TableHasher;
use crate::sync::flight::{self, Begun, Caller, Flights, Owner, Start, Terms, Ticket, Until};
use crate::sync::{Mutex, MutexGuard};
use crate::time::Instant;

pub(super) struct Core<K, V> {
    shards: Box<[Locked<K, V>]>,
    /// The number of shards is two to the power of this.
    shard_bits: u32,
    pub(super) hasher: TableHasher,
    pub(super) settings: Settings,
}

/// A shard behind its lock.
type Locked<K, V> = Padded<Mutex<Shard<K, V>>>;

/// Keeps neighbours off one another's cache lines, which are fetched in pairs.
#[repr(align(128))]
struct Padded<T>(T);

pub(super) struct Shard<K, V> {
    pub(super) flights: Flights<K, V>,
    /// What this shard's calls have done; `in_flight` is not kept here.
    pub(super) counts: GroupStats,
    pub(super) lingering: Lingering<K, V>,
}

impl<K: Hash + Eq, V: Clone> Core<K, V> {
    pub(super) fn new(settings: Settings, hasher: TableHasher, shards: usize) -> Self {
        let shard = || Shard {
            flights: Flights::new(),
            counts: GroupStats::default(),
            lingering: Lingering::new(),
        };
        Self {
            shards: (0..shards).map(|_| Padded(Mutex::new(shard()))).collect(),
            shard_bits: shards.ilog2(),
            hasher,
            settings,
        }
    }

    #[inline]
    pub(super) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The shard of a key; the top bits of its hash choose.
    #[inline]
    pub(super) fn lock(&self, hash: u64) -> MutexGuard<'_, Shard<K, V>> {
        // Two shifts, since one by 64 is undefined.
        self.shards[(hash >> 32 >> (32 - self.shard_bits)) as usize]
            .0
            .lock()
    }

    /// Begins a call: an outcome that lingers, or a flight to lead or follow.
    #[inline]
    pub(super) fn begin(&self, hash: u64, key: K, caller: Caller) -> Beginning<K, V> {
        let terms = self.terms();
        let mut shard = self.lock(hash);
        if self.settings.linger.is_some()
            && let Some(kept) = shard.lingering.get(hash, &key, terms.now)
        {
            shard.counts.lingered += 1;
            drop(shard);
            return Beginning::Kept(kept);
        }
        let start = shard.flights.start_on(hash, key, caller, &terms);
        let counts = &mut shard.counts;
        match &start {
            // Whose key comes back has taken another's place.
            Start::Lead(_, None) => counts.led += 1,
            Start::Lead(_, Some(_)) => {
                counts.joined += 1;
                counts.promoted += 1;
            }
            Start::Follow(..) => counts.joined += 1,
            Start::Full(_) => counts.refused += 1,
            Start::Found(_) | Start::Alone(..) | Start::Reentrant(_) => {}
        }
        drop(shard);
        Beginning::Start(start)
    }

    #[inline]
    fn terms(&self) -> Terms {
        let settings = &self.settings;
        let max_waiters = settings.max_waiters;
        if settings.lease.is_none() && settings.linger.is_none() {
            return Terms {
                max_waiters,
                ..Terms::NONE
            };
        }
        let now = settings.clock.now();
        Terms {
            now,
            lease_ends: settings.lease.map_or(Instant::NEVER, |lease| now + lease),
            max_waiters,
        }
    }

    /// How long this call may wait, if there is a limit.
    pub(super) fn until(&self) -> Option<Until<'_>> {
        let settings = &self.settings;
        if settings.wait_timeout.is_none() && settings.lease.is_none() {
            return None;
        }
        let clock = &settings.clock;
        Some(Until {
            clock,
            deadline: settings
                .wait_timeout
                .map_or(Instant::NEVER, |timeout| clock.now() + timeout),
            lease: settings.lease,
        })
    }

    /// Ends a flight with what its work brought, and returns how many have it.
    #[inline]
    pub(super) fn land(&self, hash: u64, ticket: &Ticket, outcome: &flight::Outcome<V>) -> usize {
        if self.settings.linger.is_some() {
            return self.land_and_keep(hash, ticket, outcome);
        }
        let landing = self.lock(hash).flights.land(hash, ticket);
        landing.deliver(outcome)
    }

    fn land_and_keep(&self, hash: u64, ticket: &Ticket, outcome: &flight::Outcome<V>) -> usize {
        let keep = outcome.clone();
        let now = self.settings.clock.now();
        let until = now + self.settings.linger.unwrap_or_default();
        let mut shard = self.lock(hash);
        let mut landing = shard.flights.land(hash, ticket);
        // A forgotten flight keeps its key, and its outcome does not linger.
        let gone = landing
            .take_key()
            .map(|key| shard.lingering.keep(hash, key, keep, now, until));
        drop(shard);
        drop(gone);
        landing.deliver(outcome)
    }

    /// Ends a flight that came to nothing.
    pub(super) fn land_end(&self, hash: u64, ticket: &Ticket, end: End) {
        let landing = self.lock(hash).flights.land(hash, ticket);
        landing.deliver(&flight::Outcome::Failed(Arc::new(end)));
    }

    pub(super) fn count(&self, hash: u64, count: impl FnOnce(&mut GroupStats)) {
        count(&mut self.lock(hash).counts);
    }

    pub(super) fn stats(&self) -> GroupStats {
        let mut sum = GroupStats::default();
        for shard in &self.shards {
            let shard = shard.0.lock();
            let counts = &shard.counts;
            sum.led += counts.led;
            sum.joined += counts.joined;
            sum.lingered += counts.lingered;
            sum.promoted += counts.promoted;
            sum.dropped += counts.dropped;
            sum.panicked += counts.panicked;
            sum.timed_out += counts.timed_out;
            sum.refused += counts.refused;
            sum.in_flight += shard.flights.len() as u64;
        }
        sum
    }

    pub(super) fn in_flight(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.0.lock().flights.len()).sum()
    }
}

impl<K: Hash + Eq, V: Clone> Owner for Core<K, V> {
    type Key = K;
    type Value = V;

    fn start(&self, hash: u64, key: K, caller: Caller) -> Start<K, V> {
        let terms = self.terms();
        self.lock(hash).flights.start_on(hash, key, caller, &terms)
    }

    fn land(&self, hash: u64, ticket: &Ticket, outcome: &flight::Outcome<V>) {
        Core::land(self, hash, ticket, outcome);
    }

    fn with_flights<R>(&self, hash: u64, act: impl FnOnce(&mut Flights<K, V>) -> R) -> R {
        act(&mut self.lock(hash).flights)
    }
}

/// How a call begins.
pub(super) enum Beginning<K, V> {
    Kept(flight::Outcome<V>),
    Start(Start<K, V>),
}

impl<K: Hash + Eq, V: Clone> Beginning<K, V> {
    /// Puts a guard around what came back, or answers the call.
    #[inline]
    pub(super) fn guard<P, E>(self, owner: P, hash: u64) -> Result<Begins<P>, FlightError<E>>
    where
        P: std::ops::Deref<Target = Core<K, V>>,
    {
        match self {
            Self::Kept(outcome) => Ok(Begins::Kept(outcome)),
            Self::Start(start) => match Begun::guard(owner, hash, start) {
                Ok(begun) => Ok(Begins::Begun(begun)),
                Err(refusal) => Err(refusal.into()),
            },
        }
    }
}

/// How a call begins, guarded.
pub(super) enum Begins<P>
where
    P: std::ops::Deref,
    P::Target: Owner,
{
    Kept(flight::Outcome<<P::Target as Owner>::Value>),
    Begun(Begun<P>),
}

/// Why a flight came to nothing, as its waiters are told.
#[derive(Debug)]
pub(super) enum End {
    /// Its leader was dropped.
    Dropped,
    /// The work of so many callers panicked.
    Failed { attempts: u32 },
    /// The work panicked, with this message.
    Panicked(String),
}
