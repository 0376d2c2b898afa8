use std::pin::Pin;
use std::sync::Arc;

use super::{Loaded, Request};

/// The source that a [`ReadThrough`](super::ReadThrough) reads through to, as a
/// type: for what loads many keys in one query, or decorates another loader.
///
/// A closure is enough for the rest: see
/// [`loader`](super::ReadThroughBuilder::loader) and
/// [`async_loader`](super::ReadThroughBuilder::async_loader). A source that
/// blocks implements the methods without an `await`, and blocks whoever polls.
///
/// ```
/// use std::collections::HashMap;
/// use std::convert::Infallible;
/// use tenfold::cache::Cache;
/// use tenfold::cache::read_through::{Loaded, Loader, ReadThrough, Request};
///
/// struct Users(HashMap<u32, &'static str>);
///
/// impl Loader<u32, &'static str> for Users {
///     type Error = Infallible;
///
///     async fn load(&self, asked: Request<u32, &'static str>) -> Result<Loaded<&'static str>, Infallible> {
///         Ok(self.0.get(asked.key()).copied().into())
///     }
///
///     async fn load_many(&self, ids: Vec<u32>) -> Result<Vec<(u32, Loaded<&'static str>)>, Infallible> {
///         // SELECT … WHERE id IN (…): what is not in the answer does not exist.
///         let found = ids.into_iter().filter_map(|id| Some((id, (*self.0.get(&id)?).into())));
///         Ok(found.collect())
///     }
/// }
///
/// let users = ReadThrough::builder(Cache::builder().max_entries(100))
///     .load_from(Users(HashMap::from([(1, "Ada"), (2, "Bob")])))
///     .build()?;
/// let names = users.get_many(&[1, 3, 2]).into_iter().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(names, [Some("Ada"), None, Some("Bob")]);
/// assert_eq!(users.stats().batches, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Loader<K, V>: Send + Sync {
    /// Why a load fails.
    type Error;

    /// Loads one key.
    fn load(
        &self,
        request: Request<K, V>,
    ) -> impl Future<Output = Result<Loaded<V>, Self::Error>> + Send;

    /// Loads several keys, none of which occurs twice. A key that is not in
    /// the answer has no value; one that was not asked for is passed over.
    ///
    /// Unless implemented, it loads one after the other.
    fn load_many(
        &self,
        keys: Vec<K>,
    ) -> impl Future<Output = Result<Vec<(K, Loaded<V>)>, Self::Error>> + Send
    where
        K: Clone + Send,
        V: Send,
    {
        async move {
            let mut loaded = Vec::with_capacity(keys.len());
            for key in keys {
                let news = self.load(Request::unknown(key.clone())).await?;
                loaded.push((key, news));
            }
            Ok(loaded)
        }
    }
}

/// A loader whose type is forgotten. A blocking one is ready at its first poll,
/// so that there is one kind.
pub(super) struct Source<K, V, E> {
    pub(super) one: One<K, V, E>,
    /// Without it, several keys are loaded one by one.
    pub(super) many: Option<Many<K, V, E>>,
}

pub(in crate::cache) type One<K, V, E> =
    Arc<dyn Fn(Request<K, V>) -> BoxFuture<Result<Loaded<V>, E>> + Send + Sync>;

pub(super) type Many<K, V, E> =
    Arc<dyn Fn(Vec<K>) -> BoxFuture<Result<Vec<(K, Loaded<V>)>, E>> + Send + Sync>;

pub(in crate::cache) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
