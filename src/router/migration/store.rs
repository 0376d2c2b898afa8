use std::error::Error;

use super::part::Part;

/// A row as a migration sees it: of which key, how new, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The bytes that placement goes by: [canonical](crate::hash::StableKey::write_canonical),
    /// or [ordered](crate::hash::StableKey::write_ordered) under
    /// [`Policy::Range`](crate::router::Policy::Range). Those of a text are the text.
    pub key: Box<[u8]>,
    /// Of two rows of a key the one with the higher version counts. A key's versions
    /// are the caller's: each acknowledged write has a higher one than those before.
    ///
    /// No two writes of a key may have the same: count them by a sequence or a clock, not by
    /// what the row says. Two writers that begin on different nodes read the same version
    /// there, and `version + 1` would be the same for both.
    pub version: u64,
    /// What it says; nothing if it is a tombstone.
    pub value: Option<Box<[u8]>>,
}

/// The nodes, as far as a [`Driver`](super::Driver) needs them.
///
/// One shape for threads and tasks: a store that blocks does its work in an `async`
/// block without awaiting, and the driver runs under
/// [`block_on`](crate::task::block_on).
///
/// A part's rows are those whose keys [lie in it](Part::contains_key), tombstones
/// included. A call that has returned, or whose future was dropped, must not take
/// effect later.
pub trait Store: Send + Sync {
    /// What goes wrong.
    type Error: Error + Send + Sync + 'static;

    /// Up to `limit` of the part's rows on a node, in the order of their keys' bytes, of
    /// those whose key is above `after`. Fewer than `limit` are the last.
    fn scan(
        &self,
        node: &str,
        part: &Part,
        after: Option<&[u8]>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Row>, Self::Error>> + Send;

    /// The row of a key on a node.
    fn get(
        &self,
        node: &str,
        key: &[u8],
    ) -> impl Future<Output = Result<Option<Row>, Self::Error>> + Send;

    /// Writes rows to a node, each only if the node has none of its key, or one with a
    /// lower version. That decision and the write are one step for each row. A row
    /// without a value leaves a tombstone.
    fn apply(
        &self,
        node: &str,
        rows: &[Row],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Removes up to `limit` of the part's rows from a node, tombstones too, and
    /// answers how many. Fewer than `limit` were the last.
    fn remove(
        &self,
        node: &str,
        part: &Part,
        limit: usize,
    ) -> impl Future<Output = Result<usize, Self::Error>> + Send;

    /// Removes up to `limit` of the part's tombstones from a node, and answers how many.
    /// Fewer than `limit` were the last.
    ///
    /// A write that is older than a tombstone and is still on its way would win once that is
    /// gone, as it would where deletions never leave one. A store that cannot rule such
    /// writes out keeps tombstones for as long as a write may take, and answers 0.
    fn purge(
        &self,
        node: &str,
        part: &Part,
        limit: usize,
    ) -> impl Future<Output = Result<usize, Self::Error>> + Send;
}

/// Whoever shares a store with a driver keeps one of these.
macro_rules! store_behind {
    ($pointer:ty) => {
        impl<S: Store> Store for $pointer {
            type Error = S::Error;

            fn scan(
                &self,
                node: &str,
                part: &Part,
                after: Option<&[u8]>,
                limit: usize,
            ) -> impl Future<Output = Result<Vec<Row>, Self::Error>> + Send {
                (**self).scan(node, part, after, limit)
            }

            fn get(
                &self,
                node: &str,
                key: &[u8],
            ) -> impl Future<Output = Result<Option<Row>, Self::Error>> + Send {
                (**self).get(node, key)
            }

            fn apply(
                &self,
                node: &str,
                rows: &[Row],
            ) -> impl Future<Output = Result<(), Self::Error>> + Send {
                (**self).apply(node, rows)
            }

            fn remove(
                &self,
                node: &str,
                part: &Part,
                limit: usize,
            ) -> impl Future<Output = Result<usize, Self::Error>> + Send {
                (**self).remove(node, part, limit)
            }

            fn purge(
                &self,
                node: &str,
                part: &Part,
                limit: usize,
            ) -> impl Future<Output = Result<usize, Self::Error>> + Send {
                (**self).purge(node, part, limit)
            }
        }
    };
}

store_behind!(&S);
store_behind!(std::sync::Arc<S>);

impl Row {
    /// How much of a limit on bytes it counts.
    pub(super) fn size(&self) -> u64 {
        let value = self.value.as_ref().map_or(0, |value| value.len());
        (self.key.len() + value) as u64
    }
}
