use std::fmt;
use std::marker::PhantomData;

use super::{Change, Failure, Writer};

/// Makes a writer of a closure that writes one record and blocks meanwhile.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_through::WriteThrough;
/// use tenfold::cache::writer::{self, Change, Failure};
///
/// let print = writer::from_fn(|key: &u32, change: &Change<u32>| {
///     println!("{key}: {change:?}");
///     Ok::<(), Failure<std::io::Error>>(())
/// });
/// let squares = WriteThrough::new(Cache::new(100), print);
/// assert!(squares.put(7, 49).is_ok());
/// ```
pub fn from_fn<K, V, E, F>(write: F) -> FromFn<F, E>
where
    F: Fn(&K, &Change<V>) -> Result<(), Failure<E>> + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    FromFn {
        write,
        error: PhantomData,
    }
}

/// Makes a writer of a closure that returns a future.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_through::WriteThrough;
/// use tenfold::cache::writer::{self, Change, Failure};
///
/// let print = writer::from_async_fn(|key: u32, change: Change<u32>| async move {
///     println!("{key}: {change:?}");
///     Ok::<(), Failure<std::io::Error>>(())
/// });
/// let squares = WriteThrough::new(Cache::new(100), print);
/// assert!(tenfold::task::block_on(squares.put_async(7, 49)).is_ok());
/// ```
pub fn from_async_fn<K, V, E, F, A>(write: F) -> FromAsyncFn<F, E>
where
    F: Fn(K, Change<V>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Failure<E>>> + Send,
    E: Send + Sync + 'static,
{
    FromAsyncFn {
        write,
        error: PhantomData,
    }
}

/// A closure as a [`Writer`]; made by [`from_fn`].
pub struct FromFn<F, E> {
    write: F,
    error: PhantomData<fn() -> E>,
}

impl<K, V, E, F> Writer<K, V> for FromFn<F, E>
where
    K: Sync,
    V: Sync,
    E: Send + Sync + 'static,
    F: Fn(&K, &Change<V>) -> Result<(), Failure<E>> + Send + Sync + 'static,
{
    type Error = E;

    async fn write(&self, key: &K, change: &Change<V>) -> Result<(), Failure<E>> {
        (self.write)(key, change)
    }
}

impl<F, E> fmt::Debug for FromFn<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn(..)")
    }
}

/// A closure that returns a future, as a [`Writer`]; made by [`from_async_fn`].
pub struct FromAsyncFn<F, E> {
    write: F,
    error: PhantomData<fn() -> E>,
}

impl<K, V, E, F, A> Writer<K, V> for FromAsyncFn<F, E>
where
    K: Clone,
    V: Clone,
    E: Send + Sync + 'static,
    F: Fn(K, Change<V>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Failure<E>>> + Send,
{
    type Error = E;

    fn write(
        &self,
        key: &K,
        change: &Change<V>,
    ) -> impl Future<Output = Result<(), Failure<E>>> + Send {
        (self.write)(key.clone(), change.clone())
    }
}

impl<F, E> fmt::Debug for FromAsyncFn<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromAsyncFn(..)")
    }
}
