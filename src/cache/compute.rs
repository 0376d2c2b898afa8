//! Changing an entry by its present value, atomically and without a lock held.

use std::convert::Infallible;
use std::hash::Hash;

use super::Cache;
use super::core::Core;
use super::load_key::LoadKey;
use super::removal::{RemovalCause, Removed};
use crate::sync::Mutex;
use crate::sync::flight::{
    Caller, Expects, Flights, LoadError, Outcome, Owner, Start, Ticket, load_async, load_sync,
};

/// What [`Cache::compute`] shall do with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compute<V> {
    /// Store this value.
    Put(V),
    /// Remove the entry, if there is one.
    Remove,
    /// Leave everything as it is.
    Keep,
}

/// What [`Cache::compute`] did with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Computed<V> {
    /// It stored a new value, in the place of this one if there was one. A value
    /// that alone exceeds the cache's bounds went to the eviction listener as
    /// [`RemovalCause::Refused`](super::RemovalCause::Refused) instead.
    Stored {
        /// The value now.
        new: V,
        /// The value before.
        old: Option<V>,
    },
    /// It removed this value.
    Removed(V),
    /// It left things as they are: this value, or none.
    Unchanged(Option<V>),
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// Changes the entry of a key depending on its present value, as one step.
    ///
    /// The closure runs without a lock and may call back into the cache. Other
    /// computations of the key, and loads, wait for their turn. If the key is
    /// inserted, removed or invalidated meanwhile, the closure is run again with
    /// what is there then.
    ///
    /// ```
    /// use tenfold::cache::{Cache, Compute, Computed};
    ///
    /// let visits: Cache<&str, u32> = Cache::new(100);
    /// for expected in 1..=3 {
    ///     let computed = visits.compute("home", |count| Compute::Put(count.unwrap_or(0) + 1))?;
    ///     assert!(matches!(computed, Computed::Stored { new, .. } if new == expected));
    /// }
    /// # Ok::<(), tenfold::cache::LoadError<std::convert::Infallible>>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError::Reentrant`] or [`LoadError::Cycle`] if the closure asks,
    /// through itself or another, for its own result.
    pub fn compute(
        &self,
        mut key: K,
        mut change: impl FnMut(Option<V>) -> Compute<V>,
    ) -> Result<Computed<V>, LoadError<Infallible>> {
        let hash = self.core.hash(&key);
        loop {
            let turn = Turn::new(&self.core);
            load_sync(&turn, hash, LoadKey::Own(key), Expects::Turn, || {
                Ok(turn.decide(change(turn.current())))
            })?;
            match turn.finish() {
                Ok(computed) => return Ok(computed),
                Err(back) => key = back,
            }
        }
    }

    /// The twin of [`compute`](Self::compute) for tasks.
    ///
    /// # Errors
    /// As [`compute`](Self::compute).
    pub async fn compute_async<F: Future<Output = Compute<V>>>(
        &self,
        mut key: K,
        mut change: impl FnMut(Option<V>) -> F,
    ) -> Result<Computed<V>, LoadError<Infallible>> {
        let hash = self.core.hash(&key);
        loop {
            let turn = Turn::new(&self.core);
            load_async(&turn, hash, LoadKey::Own(key), Expects::Turn, || async {
                Ok(turn.decide(change(turn.current()).await))
            })
            .await?;
            match turn.finish() {
                Ok(computed) => return Ok(computed),
                Err(back) => key = back,
            }
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// Removes every entry of which the predicate says so; the listener is told
    /// of each. Loads under way are not stored.
    ///
    /// The predicate sees copies and runs without a lock, possibly more than
    /// once for an entry. Entries that others store meanwhile may or may not be
    /// seen. Costs a copy of the cache, a shard at a time.
    pub fn invalidate_if(&self, mut predicate: impl FnMut(&K, &V) -> bool) {
        for shard in 0..self.core.shard_count() {
            self.core.lock_nth(shard).flights.detach_all();
            for entry in self.core.copy_shard(shard) {
                if predicate(&entry.key, &entry.value) {
                    let key = entry.key.clone();
                    // An error means that this very thread is computing the
                    // entry, whose result will be newer than this call.
                    let _ = self.compute(entry.key, |value| match value {
                        Some(value) if predicate(&key, &value) => Compute::Remove,
                        _ => Compute::Keep,
                    });
                }
            }
        }
    }

    /// Keeps only the entries of which the predicate says so; as
    /// [`invalidate_if`](Self::invalidate_if) in all else.
    pub fn retain(&self, mut predicate: impl FnMut(&K, &V) -> bool) {
        self.invalidate_if(|key, value| !predicate(key, value));
    }
}

/// One turn at an entry: a flight that starts whether or not there is a value,
/// and lands by storing, removing or leaving it.
struct Turn<'a, K, V> {
    core: &'a Core<K, V>,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    current: Option<V>,
    decision: Option<Compute<V>>,
    /// Set when the turn has landed: what it did, or the key to try again with.
    done: Option<Result<Computed<V>, K>>,
}

impl<'a, K: Hash + Eq, V: Clone> Turn<'a, K, V> {
    fn new(core: &'a Core<K, V>) -> Self {
        Self {
            core,
            state: Mutex::new(State {
                current: None,
                decision: None,
                done: None,
            }),
        }
    }

    fn current(&self) -> Option<V> {
        let current = self.state.lock().current.take();
        let copy = current.clone();
        self.state.lock().current = current;
        copy
    }

    /// Notes the decision, and says what others who wait for a value get.
    fn decide(&self, decision: Compute<V>) -> Option<V> {
        let value = match &decision {
            Compute::Put(value) => Some(value.clone()),
            Compute::Remove | Compute::Keep => None,
        };
        self.state.lock().decision = Some(decision);
        value
    }

    fn finish(self) -> Result<Computed<V>, K> {
        match self.state.into_inner().done {
            Some(done) => done,
            None => unreachable!("a turn that ran without an error has landed"),
        }
    }
}

impl<K: Hash + Eq, V: Clone> Owner for Turn<'_, K, V> {
    type Key = LoadKey<K>;
    type Value = V;

    fn start(&self, hash: u64, key: LoadKey<K>, caller: Caller) -> Start<LoadKey<K>, V> {
        let key = self.core.load_key(key);
        let mut shard = self.core.lock(hash);
        let mut removed = Removed::new();
        let current = self
            .core
            .find_live(&mut shard, hash, key.get(), &mut removed)
            .and_then(|slot| shard.table.entry(slot))
            .map(|entry| entry.value.get().clone());
        let start = shard.flights.start(hash, key, caller);
        self.core.release(shard, removed);
        let old = std::mem::replace(&mut self.state.lock().current, current);
        drop(old);
        start
    }

    fn land(&self, hash: u64, ticket: &Ticket, outcome: &Outcome<V>) {
        let (decision, old) = {
            let mut state = self.state.lock();
            (state.decision.take(), state.current.take())
        };
        let done = match decision {
            Some(Compute::Put(new)) => {
                let value = Some(new.clone());
                self.core
                    .land_value(hash, ticket, outcome, value)
                    .map(|()| Computed::Stored { new, old })
            }
            decision => {
                let mut shard = self.core.lock(hash);
                let mut landing = shard.flights.land(hash, ticket);
                let mut removed = Removed::new();
                let key = landing.take_key();
                let attached = key.is_some();
                if let Some(key) = &key
                    && matches!(decision, Some(Compute::Remove))
                    && let Some(slot) = shard.find(hash, key.get())
                {
                    let hasher = &self.core.hasher;
                    shard.remove(slot, RemovalCause::Explicit, hasher, &mut removed);
                }
                let was_removed = !removed.is_empty();
                self.core.release(shard, removed);
                let leftover = landing.leftover_key();
                landing.deliver(outcome);
                match (attached, was_removed, old) {
                    (true, true, Some(old)) => Ok(Computed::Removed(old)),
                    (true, _, old) => Ok(Computed::Unchanged(old)),
                    (false, ..) => Err(leftover),
                }
            }
        };
        let done = match done {
            Ok(computed) => Some(Ok(computed)),
            Err(key) => key.and_then(LoadKey::into_key).map(Err),
        };
        self.state.lock().done = done;
    }

    fn with_flights<R>(&self, hash: u64, act: impl FnOnce(&mut Flights<LoadKey<K>, V>) -> R) -> R {
        self.core.with_flights(hash, act)
    }
}
