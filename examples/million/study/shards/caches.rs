use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tenfold::cache::Cache;
use tenfold::router::{Loads, NodeId, Topology};

use super::server::Server;
use super::traffic::Traffic;
use super::waits::Waits;
use super::{Celebrity, SEED};
use crate::progress::Progress;
use crate::study::parallel;

/// The same celebrity in front of a tier of caches, which need not agree who
/// has it: each request goes to its key's own cache, or to the next one if that has
/// more than its share to do.
#[derive(Debug, PartialEq)]
pub(crate) struct Caches {
    pub(crate) plain: Tier,
    pub(crate) bounded: Tier,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Tier {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    /// Requests for the busiest cache in the crowd, over the mean.
    pub(crate) max_over_mean: f64,
    /// The wait of the slowest 1 % in the crowd's last seconds.
    pub(crate) p99: Duration,
    /// Requests that no cache could answer.
    pub(crate) queries: u64,
    /// How often a cache was given more than its bound.
    over: u64,
}

impl Tier {
    pub(crate) fn error_rate(&self) -> f64 {
        self.errors as f64 / self.requests as f64
    }
}

impl Caches {
    pub(crate) const NODES: usize = 8;
    pub(crate) const REQUESTS_A_SECOND: u64 = 64_000;
    pub(crate) const FACTOR: f64 = 1.25;

    pub(super) fn measure(progress: &Progress, broken: &mut Vec<String>) -> Self {
        let topology = Topology::builder()
            .nodes((1..=Self::NODES).map(|number| format!("cache-{number}")))
            .build()
            .expect("eight distinct names are a topology");
        let mut tiers =
            parallel::each(&[false, true], progress, |&bounded| run(&topology, bounded))
                .into_iter();
        let mut next = || tiers.next().expect("there is one each");
        let caches = Self {
            plain: next(),
            bounded: next(),
        };
        let bounded = &caches.bounded;
        let mut must = |holds: bool, what: String| {
            if !holds {
                broken.push(format!("bounded loads: {what}"));
            }
        };
        must(
            bounded.over == 0,
            format!("{} times a cache got more than its bound", bounded.over),
        );
        must(
            // The bound is on what is under way, and that is a whole number.
            bounded.max_over_mean <= 1.3,
            format!(
                "the fullest cache had {:.3} times the mean",
                bounded.max_over_mean
            ),
        );
        must(
            bounded.errors == 0,
            format!("{} requests were not answered", bounded.errors),
        );
        caches
    }
}

fn run(topology: &Topology, bounded: bool) -> Tier {
    let loads = Loads::new(topology);
    let mut servers = vec![Server::new(WORKERS); topology.node_bound()];
    let caches: Vec<Cache<u64, ()>> = (0..topology.node_bound())
        .map(|_| {
            let builder = Cache::builder().max_entries(ENTRIES).shards(1).seed(SEED);
            builder.build().expect("a size is valid")
        })
        .collect();
    let mut traffic = Traffic::new(Caches::REQUESTS_A_SECOND, USERS, SEED);
    let mut under_way: BinaryHeap<Reverse<(Duration, NodeId)>> = BinaryHeap::new();
    let mut asked = vec![0_u64; topology.node_bound()];
    let mut waits = Waits::default();
    let (mut errors, mut queries, mut over) = (0, 0, 0);
    loop {
        let now = traffic.arrival();
        if now >= END {
            break;
        }
        while let Some(Reverse((end, node))) = under_way.peek().copied()
            && end <= now
        {
            under_way.pop();
            loads.end(node);
        }
        let in_crowd = now >= CALM;
        let famous = in_crowd && traffic.chance(Celebrity::SHARE);
        let key = if famous { USERS } else { traffic.user() };
        let node = if bounded {
            topology.route_bounded(key, &loads, Caches::FACTOR)
        } else {
            topology.route(key)
        };
        asked[node.index()] += u64::from(in_crowd);
        let Some(wait) = servers[node.index()].serve(now, LOOK_UP) else {
            errors += 1;
            continue;
        };
        loads.begin(node);
        under_way.push(Reverse((now + wait, node)));
        let bound = Caches::FACTOR * loads.total() as f64 / Caches::NODES as f64;
        over += u64::from(loads.of(node) as f64 > bound.ceil());
        let cache = &caches[node.index()];
        if cache.get(&key).is_none() {
            cache.insert(key, ());
            queries += u64::from(in_crowd);
        }
        if now >= SETTLED {
            waits.push(wait);
        }
    }
    let requests: u64 = asked.iter().sum();
    let most = asked.iter().max().copied().unwrap_or(0);
    Tier {
        requests,
        errors,
        max_over_mean: most as f64 * Caches::NODES as f64 / requests as f64,
        p99: waits.p99(),
        queries,
        over,
    }
}

const USERS: u64 = 200_000;
/// Of each cache.
const ENTRIES: usize = 10_000;
/// Sixteen workers of 1 ms a look-up: 16 000 a second.
const WORKERS: usize = 16;
const LOOK_UP: Duration = Duration::from_millis(1);
const CALM: Duration = Duration::from_secs(3);
const SETTLED: Duration = Duration::from_secs(7);
const END: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cache_has_more_than_its_bound() {
        let mut broken = Vec::new();
        let caches = Caches::measure(&Progress::silent(), &mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        assert!(caches.plain.max_over_mean > 2.5, "{caches:?}");
        assert!(caches.plain.errors > 0, "{caches:?}");
    }
}
