use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tenfold::cache::Cache;

use super::SEED;
use super::world::World;

/// Many callers ask at once for a hot key that has just expired, and loading
/// it takes longer than they take to arrive.
#[derive(Debug, PartialEq)]
pub(crate) struct Stampede {
    pub(crate) callers: u64,
    /// Loads when each caller does `get`, and on a miss loads and inserts.
    pub(crate) plain: u64,
    /// Loads when each caller does `get_with_async`.
    pub(crate) coalesced: u64,
}

impl Stampede {
    pub(super) fn measure(broken: &mut Vec<String>) -> Self {
        let plain = run(false);
        let coalesced = run(true);
        let wrong = plain.wrong + coalesced.wrong;
        if wrong > 0 {
            broken.push(format!(
                "{wrong} callers in the stampede got no fresh value"
            ));
        }
        if coalesced.loads != 1 {
            broken.push(format!(
                "{CALLERS} callers of get_with_async made {} loads, expected one",
                coalesced.loads
            ));
        }
        Self {
            callers: CALLERS,
            plain: plain.loads,
            coalesced: coalesced.loads,
        }
    }
}

struct Outcome {
    loads: u64,
    wrong: u64,
}

fn run(together: bool) -> Outcome {
    let mut world = World::new();
    let cache: Cache<u32, u64> = Cache::builder()
        .max_entries(100)
        .time_to_live(Duration::from_secs(60))
        .clock(world.clock())
        .seed(SEED)
        .build()
        .expect("a size and a time-to-live are valid");
    cache.insert(HOT, STALE);
    world.advance(Duration::from_secs(61));

    let loads = Arc::new(AtomicU64::new(0));
    let right = Arc::new(AtomicU64::new(0));
    for _ in 0..CALLERS {
        let (cache, loads, right) = (cache.clone(), Arc::clone(&loads), Arc::clone(&right));
        let timer = world.timer();
        world.spawn(async move {
            let load = || async {
                loads.fetch_add(1, Ordering::Relaxed);
                timer.sleep(QUERY).await;
                FRESH
            };
            let value = if together {
                // A loader that gives a value cannot fail; 0 would be found wrong.
                cache.get_with_async(HOT, load).await.unwrap_or(0)
            } else if let Some(value) = cache.get(&HOT) {
                value
            } else {
                let value = load().await;
                cache.insert(HOT, value);
                value
            };
            right.fetch_add(u64::from(value == FRESH), Ordering::Relaxed);
        });
    }
    world.advance(QUERY);
    Outcome {
        loads: loads.load(Ordering::Relaxed),
        wrong: CALLERS - right.load(Ordering::Relaxed),
    }
}

const CALLERS: u64 = 10_000;
const QUERY: Duration = Duration::from_millis(20);
const HOT: u32 = 1;
const STALE: u64 = 1;
const FRESH: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_loads_unless_they_share() {
        let mut broken = Vec::new();
        let stampede = Stampede::measure(&mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        assert_eq!(
            stampede,
            Stampede {
                callers: 10_000,
                plain: 10_000,
                coalesced: 1
            }
        );
    }
}
