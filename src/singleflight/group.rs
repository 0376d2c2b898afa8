use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use super::builder::GroupBuilder;
use super::core::Core;
use super::{GroupStats, Waiter};

/// Lets one caller of a key work and gives its value to all who asked meanwhile.
///
/// Cheap to clone; clones are handles of one group. See the
/// [module](crate::singleflight) for the story.
///
/// ```
/// use tenfold::singleflight::{Group, Role};
///
/// let group: Group<&str, u32> = Group::new();
/// let outcome = group.work("answer", || 42)?;
/// assert_eq!((outcome.value, outcome.role, outcome.shared), (42, Role::Leader, false));
/// # Ok::<(), tenfold::singleflight::FlightError<std::convert::Infallible>>(())
/// ```
pub struct Group<K, V> {
    pub(super) core: Arc<Core<K, V>>,
}

impl<K: Hash + Eq, V: Clone> Group<K, V> {
    /// A group with the default settings: one promotion after a leader that is
    /// lost, no limits, and nothing kept.
    pub fn new() -> Self {
        let built = GroupBuilder::new().build();
        built.unwrap_or_else(|_| unreachable!("the defaults do not contradict each other"))
    }

    /// Starts to build a group with settings of its own.
    pub fn builder() -> GroupBuilder<K, V> {
        GroupBuilder::new()
    }

    /// Stands in the line of a key without bringing any work: this caller never
    /// leads. `None` if nobody works for the key.
    ///
    /// ```
    /// use tenfold::singleflight::Group;
    ///
    /// let group: Group<String, u32> = Group::new();
    /// assert!(group.join("quiet").is_none());
    /// ```
    pub fn join<Q>(&self, key: &Q) -> Option<Waiter<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        Waiter::new(&self.core, key)
    }

    /// Makes the group forget what is under way for a key, and what lingers of
    /// it: who waits already gets the outcome, the next caller starts afresh.
    /// Returns whether there was anything to forget.
    ///
    /// ```
    /// use tenfold::singleflight::Group;
    ///
    /// let group: Group<u64, u32> = Group::new();
    /// let value = group.work(7, || {
    ///     // What is being computed here is already out of date.
    ///     assert!(group.forget(&7));
    ///     group.work(7, || 2).unwrap().value
    /// });
    /// assert_eq!(value.unwrap().value, 2);
    /// ```
    pub fn forget<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.core.hash(key);
        let mut shard = self.core.lock(hash);
        let detached = shard.flights.detach(hash, |known| known.borrow() == key);
        let gone = shard.lingering.forget(hash, |known| known.borrow() == key);
        drop(shard);
        detached | !gone.is_empty()
    }

    /// Counts the flights under way, forgotten ones included. Takes every lock
    /// in turn.
    pub fn in_flight(&self) -> usize {
        self.core.in_flight()
    }

    /// What the group has done so far. Takes every lock in turn.
    pub fn stats(&self) -> GroupStats {
        self.core.stats()
    }
}

impl<K, V> Group<K, V> {
    pub(super) fn of(core: Arc<Core<K, V>>) -> Self {
        Self { core }
    }
}

impl<K, V> Clone for Group<K, V> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.core))
    }
}

impl<K: Hash + Eq, V: Clone> Default for Group<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> fmt::Debug for Group<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Group(..)")
    }
}
