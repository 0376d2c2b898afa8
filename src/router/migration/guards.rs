//! Who is writing where: every write route that has not been dropped, by the point of its
//! key and the stamp of the phase it was given in.
//!
//! A phase is complete for a part once no route to one of its keys is left that is
//! older. Whoever takes a route reads the phase while it holds the lock of its
//! point's shard, and is counted before it lets go; whoever changes a phase does so first
//! and looks into the shards then. So a route is either seen by the one who looks or
//! has the new phase.

use std::collections::BTreeMap;
use std::task::Waker;

use super::part::Part;
use super::point::Point;
use crate::hash::xxh3_64;
use crate::router::plan::Span;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// A number that is given once: to a phase of a part, to what is in force.
pub(in crate::router) type Stamp = u64;

/// How many live routes there are, by point and stamp.
pub(super) type Shard = BTreeMap<(Point, Stamp), u32>;

pub(in crate::router) struct Guards {
    shards: Box<[Mutex<Shard>]>,
    last_stamp: AtomicU64,
    /// Those who wait for a phase to be complete.
    waiting: Mutex<Vec<Waker>>,
    /// Whether there are any: raised before one looks for guards.
    awaited: AtomicU64,
}

impl Guards {
    pub(in crate::router) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect(),
            last_stamp: AtomicU64::new(0),
            waiting: Mutex::new(Vec::new()),
            awaited: AtomicU64::new(0),
        }
    }

    /// A stamp that is above all before it.
    pub(in crate::router) fn stamp(&self) -> Stamp {
        self.last_stamp.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Where routes to this point are counted.
    pub(in crate::router) fn shard(&self, point: &Point) -> MutexGuard<'_, Shard> {
        self.shards[shard_of(point)].lock()
    }

    /// Takes back what was counted in [`shard`](Self::shard).
    pub(super) fn leave(&self, point: Point, stamp: Stamp) {
        let mut shard = self.shard(&point);
        let key = (point, stamp);
        if let Some(count) = shard.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                shard.remove(&key);
            }
        }
        drop(shard);
        self.wake();
    }

    /// Wakes all who wait for guards to go, or for news of other processes.
    pub(super) fn wake(&self) {
        if self.awaited.load(Ordering::SeqCst) > 0 {
            let mut waiting = self.waiting.lock();
            self.awaited.store(0, Ordering::SeqCst);
            let woken = std::mem::take(&mut *waiting);
            drop(waiting);
            woken.into_iter().for_each(Waker::wake);
        }
    }

    /// Notes that someone waits. To be called before looking.
    pub(super) fn wait(&self, waker: &Waker) {
        // Cloning a waker is user code, and happens under no lock; so does dropping it.
        let mut fresh = Some(waker.clone());
        let mut waiting = self.waiting.lock();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.extend(fresh.take());
        }
        self.awaited.store(1, Ordering::SeqCst);
        drop(waiting);
    }

    /// How many routes to keys of a part are older than this.
    pub(super) fn older(&self, part: &Part, since: Stamp) -> u64 {
        let (first, last) = match &part.span() {
            Span::Keys { .. } | Span::Key(_) => (0, SHARDS - 1),
            Span::Hashes(range) => (
                shard_of(&Point::Hash(*range.start())),
                shard_of(&Point::Hash(*range.end())),
            ),
            Span::RedisSlots(range) => (
                shard_of(&Point::Redis(*range.start())),
                shard_of(&Point::Redis(*range.end())),
            ),
            Span::RingHashes(range) => (
                shard_of(&Point::Ring(*range.start())),
                shard_of(&Point::Ring(*range.end())),
            ),
        };
        let start = (part.first(), 0);
        let mut found = 0;
        for shard in &self.shards[first..=last] {
            let shard = shard.lock();
            found += shard
                .range(start.clone()..)
                .take_while(|((point, _), _)| part.contains(point))
                .filter(|((_, stamp), _)| *stamp < since)
                .map(|(_, count)| u64::from(*count))
                .sum::<u64>();
        }
        found
    }
}

/// Points of numbers in order, so that a part is in few shards; keys by hash.
fn shard_of(point: &Point) -> usize {
    match point {
        Point::Hash(hash) => (hash >> (64 - SHARDS.ilog2())) as usize,
        Point::Redis(slot) => (slot >> (14 - SHARDS.ilog2())) as usize % SHARDS,
        Point::Ring(hash) => (hash >> (32 - SHARDS.ilog2())) as usize % SHARDS,
        Point::Key(key) => xxh3_64(key, 0) as usize % SHARDS,
    }
}

const SHARDS: usize = 64;
