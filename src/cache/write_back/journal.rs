use crate::cache::writer::{BoxFuture, Change};

use super::error::{Cause, cause};

/// A change as a journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<K, V> {
    /// The number of the change. Numbers rise in the order in which changes are
    /// appended, and are not used twice while a record of that number is kept.
    pub sequence: u64,
    /// Whose change it is.
    pub key: K,
    /// What shall become of the record in the store.
    pub change: Change<V>,
}

/// Keeps accepted changes until they are in the store, so that they outlive the
/// process.
///
/// [`WriteBack`](super::WriteBack) calls [`append`](Self::append) and
/// [`ack`](Self::ack) one at a time, never both at once, and
/// [`replay`](Self::replay) before anything else. Changes that come while an
/// append is under way go together into the next: a journal that syncs once per
/// call has group commit for nothing.
///
/// What a journal promises:
///
/// * When `append` has returned `Ok`, the records survive whatever the journal
///   is there to survive.
/// * `replay` gives every record that was appended and not acked, in the order of
///   their appends. Giving one that *was* acked does no harm as long as
///   acks are lost from the end only: if an ack was kept, all before it were.
///   So acks need not be synced.
/// * An append that failed may have kept some of its records, so they are acked
///   at once, before any later record is. A journal that cannot undo them by that
///   must fail every later append until it is opened anew.
///
/// How records become bytes is the journal's own affair. A durable queue makes
/// one by publishing each batch as messages that carry the number, by keeping in
/// memory which number became which message, and by acknowledging those: that is
/// `tenfold::queue_journal::QueueJournal`.
pub trait Journal<K, V>: Send + Sync + 'static {
    /// What the journal says when it fails.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Keeps records, in this order.
    ///
    /// # Errors
    /// The journal's own; the caller's change is not accepted then.
    fn append(
        &self,
        records: &[Record<K, V>],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Lets go of the records of these numbers, in this order. Numbers that it
    /// does not know it ignores.
    ///
    /// # Errors
    /// The journal's own; the same numbers come again later.
    fn ack(&self, sequences: &[u64]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Shows every record that was not acked, the oldest first.
    ///
    /// # Errors
    /// The journal's own; nothing is opened then.
    fn replay(
        &self,
        show: &mut (dyn FnMut(Record<K, V>) + Send),
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A journal of which nothing is known but that it is one.
pub(super) trait ErasedJournal<K, V>: Send + Sync {
    fn append<'a>(&'a self, records: &'a [Record<K, V>]) -> BoxFuture<'a, Result<(), Cause>>;

    fn ack<'a>(&'a self, sequences: &'a [u64]) -> BoxFuture<'a, Result<(), Cause>>;

    fn replay<'a>(
        &'a self,
        show: &'a mut (dyn FnMut(Record<K, V>) + Send),
    ) -> BoxFuture<'a, Result<(), Cause>>;
}

impl<K: Sync, V: Sync, J: Journal<K, V>> ErasedJournal<K, V> for J {
    fn append<'a>(&'a self, records: &'a [Record<K, V>]) -> BoxFuture<'a, Result<(), Cause>> {
        Box::pin(async { Journal::append(self, records).await.map_err(cause) })
    }

    fn ack<'a>(&'a self, sequences: &'a [u64]) -> BoxFuture<'a, Result<(), Cause>> {
        Box::pin(async { Journal::<K, V>::ack(self, sequences).await.map_err(cause) })
    }

    fn replay<'a>(
        &'a self,
        show: &'a mut (dyn FnMut(Record<K, V>) + Send),
    ) -> BoxFuture<'a, Result<(), Cause>> {
        Box::pin(async { Journal::replay(self, show).await.map_err(cause) })
    }
}
