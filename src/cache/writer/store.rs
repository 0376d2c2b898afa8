use std::pin::Pin;

use super::{Change, Failure};

/// Puts and deletes records in the store behind a cache.
///
/// One trait for stores that block and for those that are awaited: where the
/// call blocks, write `async move { the blocking call }`, and use the methods of
/// the strategies that block. [`from_fn`](super::from_fn) does just that.
///
/// ```
/// use tenfold::cache::writer::{Change, Failure, Writer};
///
/// struct Printer;
///
/// impl Writer<u32, String> for Printer {
///     type Error = std::io::Error;
///
///     async fn write(&self, key: &u32, change: &Change<String>) -> Result<(), Failure<Self::Error>> {
///         println!("{key}: {change:?}");
///         Ok(())
///     }
/// }
///
/// let wrote = tenfold::task::block_on(Printer.write(&1, &Change::Put("one".to_owned())));
/// assert!(wrote.is_ok());
/// ```
pub trait Writer<K, V>: Send + Sync + 'static {
    /// What the store says when it fails.
    type Error: Send + Sync + 'static;

    /// Writes one record. `Ok` means that the store has it, as durably as the
    /// store ever has anything.
    ///
    /// A future that is dropped before it ended counts as uncertain.
    ///
    /// # Errors
    /// [`Failure`], which says what may have happened to the record.
    fn write(
        &self,
        key: &K,
        change: &Change<V>,
    ) -> impl Future<Output = Result<(), Failure<Self::Error>>> + Send;

    /// Writes a batch, in which no key occurs twice, and answers for each of
    /// its records in its order. Records without an answer count as uncertain.
    ///
    /// As given it writes one record after the other; a store that takes many
    /// at once, in whatever order, saves the round trips.
    fn write_many(
        &self,
        batch: &[(K, Change<V>)],
    ) -> impl Future<Output = Vec<Result<(), Failure<Self::Error>>>> + Send
    where
        K: Sync,
        V: Sync,
    {
        async move {
            let mut answers = Vec::with_capacity(batch.len());
            for (key, change) in batch {
                answers.push(self.write(key, change).await);
            }
            answers
        }
    }
}

pub(in crate::cache) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The answers to a batch.
pub(in crate::cache) type Answers<E> = Vec<Result<(), Failure<E>>>;

/// A writer of which only the error's type is known.
pub(in crate::cache) trait ErasedWriter<K, V, E>: Send + Sync {
    fn write<'a>(
        &'a self,
        key: &'a K,
        change: &'a Change<V>,
    ) -> BoxFuture<'a, Result<(), Failure<E>>>;

    fn write_many<'a>(&'a self, batch: &'a [(K, Change<V>)]) -> BoxFuture<'a, Answers<E>>;
}

/// Erases a writer, and turns its errors into those that are wanted.
pub(in crate::cache) struct Erased<W, F>(pub(in crate::cache) W, pub(in crate::cache) F);

impl<K, V, E, W, F> ErasedWriter<K, V, E> for Erased<W, F>
where
    K: Sync,
    V: Sync,
    W: Writer<K, V>,
    F: Fn(W::Error) -> E + Send + Sync,
{
    fn write<'a>(
        &'a self,
        key: &'a K,
        change: &'a Change<V>,
    ) -> BoxFuture<'a, Result<(), Failure<E>>> {
        Box::pin(async move {
            let written = self.0.write(key, change).await;
            written.map_err(|failure| failure.map(&self.1))
        })
    }

    fn write_many<'a>(&'a self, batch: &'a [(K, Change<V>)]) -> BoxFuture<'a, Answers<E>> {
        Box::pin(async move {
            let answers = self.0.write_many(batch).await;
            let failed = |failure: Failure<W::Error>| failure.map(&self.1);
            answers
                .into_iter()
                .map(|answer| answer.map_err(failed))
                .collect()
        })
    }
}
