//! Who is compared, each in the form its documentation shows.

use std::sync::Arc;

use dashmap::DashMap;
use tenfold::hash::TableHasher;
use tokio::sync::OnceCell;

/// One who lets one of many callers work.
pub(super) trait Rival: Clone + Send + Sync + 'static {
    const NAME: &'static str;

    fn new() -> Self;

    fn work<F>(&self, key: u64, work: F) -> impl Future<Output = u64> + Send
    where
        F: Future<Output = u64> + Send;
}

#[derive(Clone)]
pub(super) struct Ours(pub(super) tenfold::singleflight::Group<u64, u64>);

impl Rival for Ours {
    const NAME: &'static str = "tenfold";

    fn new() -> Self {
        Self(tenfold::singleflight::Group::new())
    }

    async fn work<F: Future<Output = u64> + Send>(&self, key: u64, work: F) -> u64 {
        let outcome = self.0.work_async(key, || work).await;
        outcome.expect("no caller is lost").value
    }
}

#[derive(Clone)]
pub(super) struct SingleflightAsync(Arc<singleflight_async::SingleFlight<u64, u64>>);

impl Rival for SingleflightAsync {
    const NAME: &'static str = "singleflight-async";

    fn new() -> Self {
        Self(Arc::new(singleflight_async::SingleFlight::new()))
    }

    async fn work<F: Future<Output = u64> + Send>(&self, key: u64, work: F) -> u64 {
        self.0.work(key, || work).await
    }
}

#[derive(Clone)]
pub(super) struct AsyncSingleflight(Arc<async_singleflight::Group<u64, u64, ()>>);

impl Rival for AsyncSingleflight {
    const NAME: &'static str = "async_singleflight Group";

    fn new() -> Self {
        Self(Arc::new(async_singleflight::Group::new()))
    }

    async fn work<F: Future<Output = u64> + Send>(&self, key: u64, work: F) -> u64 {
        let work = async { Ok(work.await) };
        self.0.work(&key, work).await.expect("it does not fail")
    }
}

#[derive(Clone)]
pub(super) struct AsyncSingleflightUnary(Arc<async_singleflight::UnaryGroup<u64, u64>>);

impl Rival for AsyncSingleflightUnary {
    const NAME: &'static str = "async_singleflight UnaryGroup";

    fn new() -> Self {
        Self(Arc::new(async_singleflight::UnaryGroup::new()))
    }

    async fn work<F: Future<Output = u64> + Send>(&self, key: u64, work: F) -> u64 {
        self.0.work(&key, work).await
    }
}

/// What people write for themselves.
#[derive(Clone)]
pub(super) struct OwnMake(Arc<DashMap<u64, Arc<OnceCell<u64>>, TableHasher>>);

impl Rival for OwnMake {
    const NAME: &'static str = "DashMap of OnceCell";

    fn new() -> Self {
        Self(Arc::new(DashMap::with_hasher(TableHasher::random())))
    }

    async fn work<F: Future<Output = u64> + Send>(&self, key: u64, work: F) -> u64 {
        let cell = Arc::clone(&self.0.entry(key).or_default());
        let value = *cell.get_or_init(|| work).await;
        self.0.remove_if(&key, |_, known| Arc::ptr_eq(known, &cell));
        value
    }
}

/// A cache that loads once; the value is stored, which is what it is for.
#[derive(Clone)]
pub(super) struct Moka(moka::future::Cache<u64, u64, TableHasher>);

impl Rival for Moka {
    const NAME: &'static str = "moka get_with";

    fn new() -> Self {
        let cache = moka::future::Cache::builder().max_capacity(10_000);
        Self(cache.build_with_hasher(TableHasher::random()))
    }

    async fn work<F: Future<Output = u64> + Send>(&self, key: u64, work: F) -> u64 {
        self.0.get_with(key, work).await
    }
}

/// The least that anyone can do: one lock to say so, and one to take it back.
pub(super) struct Floor {
    map: parking_lot::Mutex<std::collections::HashMap<u64, (), TableHasher>>,
}

impl Floor {
    pub(super) fn new() -> Self {
        let map = std::collections::HashMap::with_hasher(TableHasher::random());
        Self {
            map: parking_lot::Mutex::new(map),
        }
    }

    pub(super) fn work(&self, key: u64, work: impl FnOnce() -> u64) -> u64 {
        self.map.lock().insert(key, ());
        let value = work();
        self.map.lock().remove(&key);
        value
    }
}
