//! Look-aside with a lease: the caller loads in its own code, and what it
//! brings too late is refused.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::Cache;
use super::core::Core;
use super::expiry::Lifetime;
use super::load_key::LoadKey;
use super::removal::Removed;
use super::stats::{LOAD_FAILURES, LOAD_NANOS, LOADS};
use crate::sync::flight::{Lead, Outcome, OwnedLead, Terms};
use crate::time::Instant;

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// Reads a value, or borrows the right to store one: for look-aside, where
    /// your own code goes to the store, not a loader.
    ///
    /// `get`, then a query, then `insert` has a hole: if the row is changed and
    /// its entry invalidated while the query runs, the insertion stores the old
    /// row for good. A [`Lease`] is the memory that nothing has happened since:
    /// whatever changes the key ([`insert`](Self::insert),
    /// [`remove`](Self::remove), [`invalidate`](Self::invalidate), …) ends it, and
    /// its insertion is refused.
    ///
    /// One caller at a time holds the lease of a key; the others are told
    /// [`Lookup::Leased`] and may ask the store without storing the answer, or
    /// come again. After ten seconds a lease may go to the next who asks, see
    /// [`get_or_lease_for`](Self::get_or_lease_for). Calls that load, like
    /// [`get_with`](Self::get_with), do not wait for a lease: they end it and load.
    ///
    /// Costs one lock, and one more when the lease ends; no allocation, unless
    /// there is a weigher or an [`Expiry`](super::Expiry).
    ///
    /// ```
    /// use tenfold::cache::{Cache, Lookup};
    ///
    /// let users = Cache::new(100);
    /// let Lookup::Lease(lease) = users.get_or_lease(7) else { unreachable!("it is empty") };
    /// let row = "Ann"; // as the store has it now
    /// users.invalidate(&7); // somebody renames Ann, and says so
    /// assert_eq!(lease.insert(row), Err("Ann")); // too late
    /// assert_eq!(users.get(&7), None);
    ///
    /// if let Lookup::Lease(lease) = users.get_or_lease(7) {
    ///     assert_eq!(lease.insert("Anna"), Ok(()));
    /// }
    /// assert!(matches!(users.get_or_lease(7), Lookup::Found("Anna")));
    /// ```
    pub fn get_or_lease(&self, key: K) -> Lookup<K, V> {
        self.get_or_lease_for(key, LEASE)
    }

    /// As [`get_or_lease`](Self::get_or_lease), with a lease that after this
    /// long goes to the next who asks, if its holder has not come back by then.
    pub fn get_or_lease_for(&self, key: K, lasts: Duration) -> Lookup<K, V> {
        let core = &self.core;
        if let Some(value) = core.get_value(&key) {
            return Lookup::Found(value);
        }
        let hash = core.hash(&key);
        let key = core.load_key(LoadKey::Own(key));
        let now = core.clock.now();
        let terms = Terms {
            now,
            lease_ends: now + lasts,
            ..Terms::NONE
        };
        let mut shard = core.lock(hash);
        let mut removed = Removed::new();
        let found = core.find_live(&mut shard, hash, key.get(), &mut removed);
        if let Some(slot) = found
            && let Some(entry) = shard.table.entry(slot)
        {
            // It came since the look-up.
            let value = entry.value.get().clone();
            core.release(shard, removed);
            drop(key);
            return Lookup::Found(value);
        }
        let lent = shard.flights.lend(hash, key, &terms);
        core.release(shard, removed);
        match lent {
            Ok(ticket) => Lookup::Lease(Lease {
                lead: Some(Lead::new(Arc::clone(core), hash, ticket)),
                core: Arc::clone(core),
                began: now,
            }),
            Err(key) => {
                drop(key);
                Lookup::Leased
            }
        }
    }
}

/// What [`Cache::get_or_lease`] found.
#[derive(Debug)]
#[must_use = "a lease that is dropped goes to the next who asks"]
pub enum Lookup<K: Hash + Eq, V: Clone> {
    /// The value.
    Found(V),
    /// Nothing: this caller may store a value.
    Lease(Lease<K, V>),
    /// Nothing yet: another caller has the lease, or is loading.
    Leased,
}

/// The right to store a value, as long as nothing has happened to its key.
///
/// Dropped unused, it goes to the next who asks.
#[must_use = "a lease that is dropped goes to the next who asks"]
pub struct Lease<K: Hash + Eq, V: Clone> {
    /// `None` once used.
    lead: Option<OwnedLead<Core<K, V>>>,
    core: Arc<Core<K, V>>,
    began: Instant,
}

impl<K: Hash + Eq, V: Clone> Lease<K, V> {
    /// Stores a value, as a load would.
    ///
    /// # Errors
    /// The value itself, not stored, if the key was written, removed or
    /// invalidated since the lease was given, or the lease went to another.
    pub fn insert(self, value: V) -> Result<(), V> {
        self.insert_for(value, Lifetime::Loaded)
    }

    /// Stores a value that lives this long, whatever the cache's time to live.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_with_ttl(self, value: V, time_to_live: Duration) -> Result<(), V> {
        self.insert_for(value, Lifetime::LoadedFor(time_to_live))
    }

    fn insert_for(mut self, value: V, lifetime: Lifetime) -> Result<(), V> {
        let Some(mut lead) = self.lead.take() else {
            return Err(value);
        };
        let landed = lead.land_by(|core, hash, ticket| {
            // Nobody waits for it.
            let value = Some(value.clone());
            core.land_value_for(hash, ticket, &Outcome::Absent, value, lifetime)
        });
        let stored = matches!(landed, Some(Ok(())));
        self.count(stored);
        if stored { Ok(()) } else { Err(value) }
    }

    /// Whether an insertion would be stored now.
    pub fn is_valid(&self) -> bool {
        self.lead.as_ref().is_some_and(Lead::is_attached)
    }

    fn count(&self, stored: bool) {
        let took = self.core.clock.now().saturating_since(self.began);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let loads = &self.core.loads;
        loads.add(LOAD_NANOS, nanos);
        loads.add(if stored { LOADS } else { LOAD_FAILURES }, 1);
    }
}

impl<K: Hash + Eq, V: Clone> Drop for Lease<K, V> {
    fn drop(&mut self) {
        if let Some(lead) = self.lead.take() {
            drop(lead);
            self.count(false);
        }
    }
}

impl<K: Hash + Eq, V: Clone> fmt::Debug for Lease<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("is_valid", &self.is_valid())
            .finish_non_exhaustive()
    }
}

/// As long as memcached's users give theirs.
const LEASE: Duration = Duration::from_secs(10);
