use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenfold::cache::Cache;
use tenfold::cache::read_through::{ReadThrough, Request};
use tenfold::rng::Rng;
use tenfold::time::{Clock, Instant, Timer};

use super::SEED;
use super::world::World;

/// A store that becomes slow, then dies, then comes back, under a steady
/// stream of requests: how long callers wait, and how many get an error.
#[derive(Debug, PartialEq)]
pub(crate) struct Outage {
    /// A cache with a time to live, whose loads are shared.
    pub(crate) plain: [Spell; 3],
    /// The same with stale values kept, a soft and a hard timeout.
    pub(crate) resilient: [Spell; 3],
}

/// What callers saw while the store was in one state.
#[derive(Debug, PartialEq)]
pub(crate) struct Spell {
    pub(crate) store: Store,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    /// The wait that one caller in a hundred exceeded.
    pub(crate) p99: Duration,
    /// Queries that reached the store.
    pub(crate) queries: u64,
}

impl Spell {
    pub(crate) fn error_rate(&self) -> f64 {
        self.errors as f64 / self.requests as f64
    }
}

/// The state of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Well,
    Slow,
    Dead,
}

impl Store {
    const ALL: [Self; 3] = [Self::Well, Self::Slow, Self::Dead];

    /// A minute each, and the last minute well again.
    fn at(since: Duration) -> Self {
        match since.as_secs() / SPELL.as_secs() {
            1 => Self::Slow,
            2 => Self::Dead,
            _ => Self::Well,
        }
    }

    /// How long a query takes.
    pub(crate) fn takes(self) -> Duration {
        match self {
            Self::Well => Duration::from_millis(20),
            Self::Slow => Duration::from_secs(3),
            Self::Dead => Duration::from_secs(1),
        }
    }
}

impl Outage {
    pub(crate) const REQUESTS_A_SECOND: u64 = 200;
    pub(crate) const TIME_TO_LIVE: Duration = Duration::from_secs(10);
    pub(crate) const SOFT_TIMEOUT: Duration = Duration::from_millis(50);
    pub(crate) const HARD_TIMEOUT: Duration = Duration::from_secs(1);

    pub(super) fn measure(broken: &mut Vec<String>) -> Self {
        let plain = run(|world, source| {
            let cache: Cache<u32, u32> = Cache::builder()
                .max_entries(KEYS)
                .time_to_live(Self::TIME_TO_LIVE)
                .clock(world.clock())
                .seed(SEED)
                .build()
                .expect("a size and a time-to-live are valid");
            Box::new(move |key| {
                let (cache, source) = (cache.clone(), source.clone());
                Box::pin(async move {
                    let load = || source.query(key);
                    cache.try_get_with_async(key, load).await.is_ok()
                })
            })
        });
        let resilient = run(|world, source| {
            let builder = Cache::builder()
                .max_entries(KEYS)
                .clock(world.clock())
                .seed(SEED);
            let cache: ReadThrough<u32, u32, Down> = ReadThrough::builder(builder)
                .time_to_live(Self::TIME_TO_LIVE)
                .stale_on_error(Duration::from_secs(600))
                .soft_timeout(Self::SOFT_TIMEOUT)
                .hard_timeout(Self::HARD_TIMEOUT)
                .executor(world.executor())
                .timer(world.timer())
                .async_loader(move |request: Request<u32, u32>| {
                    let source = source.clone();
                    async move { source.query(request.into_key()).await }
                })
                .build()
                .expect("times that fit together, and an executor");
            Box::new(move |key| {
                let cache = cache.clone();
                Box::pin(async move { cache.get_async(&key).await.is_ok() })
            })
        });
        for spell in &resilient {
            if spell.errors > 0 || spell.p99 > Self::SOFT_TIMEOUT {
                broken.push(format!(
                    "a warm cache that keeps stale values gave {} errors and a p99 of {:?} \
                     while its store was {:?}",
                    spell.errors, spell.p99, spell.store
                ));
            }
        }
        Self { plain, resilient }
    }
}

type Read = Box<dyn Fn(u32) -> Pin<Box<dyn Future<Output = bool> + Send>>>;

/// Four minutes of requests to a warm cache; `cache` makes what answers them.
fn run(cache: impl FnOnce(&World, Source) -> Read) -> [Spell; 3] {
    let mut world = World::new();
    let source = Source {
        clock: world.clock(),
        timer: world.timer(),
        began: world.clock().now(),
        queries: Arc::default(),
    };
    let read = cache(&world, source.clone());
    // A key that was never loaded has no stale value: everybody starts warm.
    for key in 0..KEYS as u32 {
        let answer = read(key);
        world.spawn(async move {
            answer.await;
        });
    }
    world.advance(Store::Well.takes());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut rng = Rng::with_seed(SEED);
    let between = Duration::from_secs(1) / Outage::REQUESTS_A_SECOND as u32;
    for _ in 0..4 * SPELL.as_secs() * Outage::REQUESTS_A_SECOND {
        let answer = read(popular(&mut rng));
        let (clock, seen) = (world.clock(), Arc::clone(&seen));
        let (asked, store) = (clock.now(), source.state());
        world.spawn(async move {
            let answered = answer.await;
            let waited = clock.now().saturating_since(asked);
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push((store, waited, answered));
        });
        world.advance(between);
    }
    // Whoever still waits gets an answer.
    while world.waiting() > 0 {
        world.advance(between);
    }
    let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    let queries = source.counts();
    Store::ALL.map(|store| {
        let mut waits: Vec<Duration> = Vec::new();
        let mut errors = 0;
        for &(state, waited, answered) in &seen {
            if state == store {
                waits.push(waited);
                errors += u64::from(!answered);
            }
        }
        waits.sort_unstable();
        Spell {
            store,
            requests: waits.len() as u64,
            errors,
            p99: waits[waits.len() * 99 / 100],
            queries: queries[store as usize],
        }
    })
}

/// Some keys are asked for far more often than others: the n-th with a weight
/// of about 1/n.
fn popular(rng: &mut Rng) -> u32 {
    let keys = KEYS as f64;
    let chance = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    (keys.powf(chance) as u32).min(KEYS as u32 - 1)
}

/// The store behind the cache.
#[derive(Clone)]
struct Source {
    clock: Clock,
    timer: Timer,
    began: Instant,
    queries: Arc<Mutex<[u64; 3]>>,
}

impl Source {
    fn state(&self) -> Store {
        Store::at(self.clock.now().saturating_since(self.began))
    }

    async fn query(&self, key: u32) -> Result<u32, Down> {
        let state = self.state();
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)[state as usize] += 1;
        self.timer.sleep(state.takes()).await;
        if state == Store::Dead {
            return Err(Down);
        }
        Ok(key)
    }

    fn counts(&self) -> [u64; 3] {
        *self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Down;

const SPELL: Duration = Duration::from_secs(60);
const KEYS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_values_bridge_a_slow_and_a_dead_store() {
        let mut broken = Vec::new();
        let outage = Outage::measure(&mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        let [_, slow, dead] = &outage.plain;
        assert!(slow.p99 > Duration::from_secs(2), "{slow:?}");
        assert!(dead.error_rate() > 0.05, "{dead:?}");
    }
}
