use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The keys that one call asks one node for: a slice.
///
/// A handle to the keys of the whole read, which lie in one piece, sorted by node. So
/// no key is cloned, a clone is cheap, and it can be moved into a task.
///
/// ```
/// use tenfold::router::{Router, Topology};
/// use tenfold::task::block_on;
///
/// let router = Router::new(Topology::builder().nodes(["a", "b"]).build()?);
/// let read = router.scatter(["x", "y", "z"]).run(|_, keys| async move {
///     let sql = format!("id IN ({})", keys.join(", ")); // as of any slice
///     Ok::<_, std::fmt::Error>(vec![sql.len(); keys.len()])
/// });
/// assert_eq!(block_on(read)?.answers().len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ShardKeys<K> {
    all: Arc<Vec<K>>,
    range: Range<usize>,
}

impl<K> ShardKeys<K> {
    pub(super) fn new(all: &Arc<Vec<K>>, range: Range<usize>) -> Self {
        Self {
            all: Arc::clone(all),
            range,
        }
    }
}

impl<K> Deref for ShardKeys<K> {
    type Target = [K];

    fn deref(&self) -> &[K] {
        &self.all[self.range.clone()]
    }
}

impl<'a, K> IntoIterator for &'a ShardKeys<K> {
    type Item = &'a K;
    type IntoIter = std::slice::Iter<'a, K>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

// By hand: the keys themselves are not cloned.
impl<K> Clone for ShardKeys<K> {
    fn clone(&self) -> Self {
        Self::new(&self.all, self.range.clone())
    }
}

impl<K: fmt::Debug> fmt::Debug for ShardKeys<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
