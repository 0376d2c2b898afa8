use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::division::Division;
use super::error::ShardError;
use super::partial::coverage;
use crate::router::NodeId;

/// What a scattered read brought: answers in the order of the keys, and who failed.
///
/// ```
/// use tenfold::router::scatter::{Partial, ShardError};
/// use tenfold::router::{Router, Topology};
/// use tenfold::task::block_on;
///
/// let router = Router::new(Topology::builder().nodes(["a", "b", "c"]).build()?);
/// let down = router.route(0_u64);
/// let read = router.scatter(0..100_u64).policy(Partial::Best).run(|node, keys| async move {
///     if node == down { Err("down") } else { Ok(keys.iter().map(|key| key * key).collect()) }
/// });
/// let Ok(gathered) = block_on(read) else { panic!("the best there is, is always enough") };
///
/// assert_eq!(gathered.answers()[0], None);
/// for (key, answer) in gathered.iter() {
///     assert_eq!(answer.copied(), (router.route(key) != down).then_some(key * key));
/// }
/// let failure = &gathered.failed()[0];
/// assert_eq!((failure.node(), failure.error()), (down, &ShardError::Failed("down")));
/// assert_eq!(failure.keys().count(), 100 - gathered.answered());
/// println!("{gathered}"); // 67 of 100 keys answered by 3 calls, 1 shards failed, 0 hedged
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Gathered<K, A, E> {
    pub(super) division: Division<K>,
    pub(super) answers: Vec<Option<A>>,
    pub(super) failed: Vec<Failure<K, E>>,
    pub(super) answered: usize,
    pub(super) calls: usize,
    pub(super) hedged: usize,
}

impl<K, A, E> Gathered<K, A, E> {
    /// An answer for each key, in the order of the keys; `None` where its shard failed.
    pub fn answers(&self) -> &[Option<A>] {
        &self.answers
    }

    /// The same, to keep.
    pub fn into_answers(self) -> Vec<Option<A>> {
        self.answers
    }

    /// All keys with their answers, in the order of the keys. Makes a table of 4 bytes a
    /// key first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, Option<&A>)> {
        let places = self.division.places();
        let keys = places
            .into_iter()
            .map(|place| &self.division.keys[place as usize]);
        keys.zip(self.answers.iter().map(Option::as_ref))
    }

    /// One value of all answers that there are, in the order of the keys.
    ///
    /// ```
    /// use tenfold::router::{Router, Topology};
    /// use tenfold::task::block_on;
    ///
    /// let router = Router::new(Topology::builder().nodes(["a", "b", "c"]).build()?);
    /// let rows = router.scatter_all().run(|_| async { Ok::<_, std::fmt::Error>(7) });
    /// assert_eq!(block_on(rows)?.fold(0, |sum, rows| sum + rows), 21);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fold<B>(self, first: B, join: impl FnMut(B, A) -> B) -> B {
        self.answers.into_iter().flatten().fold(first, join)
    }

    /// The shards that did not answer all of their keys, in the order of their ids.
    pub fn failed(&self) -> &[Failure<K, E>] {
        &self.failed
    }

    /// The share of keys that were answered, from 0 to 1; 1 if there were none.
    pub fn coverage(&self) -> f64 {
        coverage(self.answered, self.answers.len())
    }

    /// How many keys were answered.
    pub fn answered(&self) -> usize {
        self.answered
    }

    /// Whether every key was.
    pub fn is_complete(&self) -> bool {
        self.answered == self.answers.len()
    }

    /// The epoch of the one topology that all of it was routed by.
    pub fn epoch(&self) -> u64 {
        self.division.epoch
    }

    /// How many calls were begun, second ones included.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// How many shards other replicas were asked in place of.
    pub fn hedged(&self) -> usize {
        self.hedged
    }
}

impl<K, A, E> fmt::Display for Gathered<K, A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} keys answered by {} calls, {} shards failed, {} hedged",
            self.answered,
            self.answers.len(),
            self.calls,
            self.failed.len(),
            self.hedged
        )
    }
}

impl<K: fmt::Debug, A: fmt::Debug, E: fmt::Debug> fmt::Debug for Gathered<K, A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gathered")
            .field("answers", &self.answers)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// A shard that did not answer all of its keys.
pub struct Failure<K, E> {
    pub(super) node: NodeId,
    pub(super) error: ShardError<E>,
    /// Of the read, sorted by node.
    pub(super) keys: Arc<Vec<K>>,
    /// Where those are that have no answer. More than one if replicas answered some.
    pub(super) places: Vec<Range<usize>>,
}

impl<K, E> Failure<K, E> {
    /// The shard: the node whose keys they are.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What went wrong there. If replicas were asked too, what was wrong with the first
    /// call.
    pub fn error(&self) -> &ShardError<E> {
        &self.error
    }

    /// The keys that have no answer.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        let places = self.places.iter();
        places.flat_map(|range| &self.keys[range.clone()])
    }
}

impl<K: fmt::Debug, E: fmt::Debug> fmt::Debug for Failure<K, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("node", &self.node)
            .field("error", &self.error)
            .field("keys", &self.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
