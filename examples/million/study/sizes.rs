use tenfold::cache::{Cache, Policy};

use super::{POLICIES, SEED, parallel};
use crate::input::Requests;
use crate::model::{Belady, LruCurve, fifo_hits};
use crate::progress::Progress;

/// Hits by cache size, and cache sizes by hits.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// From about 0.1 % of the keys to all of them, in even steps of the
    /// logarithm.
    pub(crate) rows: Vec<Row>,
    pub(crate) targets: Vec<Target>,
    /// The smallest cache that has nearly all there is to be had.
    pub(crate) suggested: Row,
}

/// Hits at one size.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) capacity: usize,
    pub(crate) optimum: u64,
    /// In the order of [`POLICIES`].
    pub(crate) hits: [u64; 4],
}

impl Row {
    /// Hits of the default policy.
    pub(crate) fn adaptive(&self) -> u64 {
        self.hits[0]
    }
}

/// The smallest caches that answer a share of all requests.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) share: f64,
    /// `None` if even a cache of everything answers fewer: the first request
    /// for each key is always a miss.
    pub(crate) smallest: Option<Smallest>,
}

#[derive(Debug)]
pub(crate) struct Smallest {
    pub(crate) optimum: usize,
    /// In the order of [`POLICIES`].
    pub(crate) capacity: [usize; 4],
}

/// The share of the hits of an unlimited cache that the suggested one has.
pub(crate) const NEARLY_ALL: f64 = 0.95;

impl Sizes {
    pub(crate) fn measure(
        requests: &Requests,
        belady: &Belady<'_>,
        lru: &LruCurve,
        progress: &Progress,
        broken: &mut Vec<String>,
    ) -> Self {
        let unique = requests.unique();
        let lab = Lab {
            keys: &requests.keys,
            unique,
            belady,
            lru,
        };
        let capacities = capacities(unique);
        progress.stage("hit ratio by cache size", capacities.len() * WHO.len());
        let rows = lab.rows(&capacities, progress, broken);

        let ceiling = (requests.len() - unique) as u64;
        let wanted = |share: f64| (share * requests.len() as f64).ceil() as u64;
        let reachable: Vec<f64> = TARGETS
            .into_iter()
            .filter(|&share| wanted(share) <= ceiling)
            .collect();
        let nearly_all = (NEARLY_ALL * ceiling as f64).ceil() as u64;
        let mut jobs = vec![(Who::Policy(Policy::Adaptive), nearly_all)];
        for &share in &reachable {
            jobs.extend(WHO.map(|who| (who, wanted(share))));
        }
        progress.stage("smallest cache that saves 80, 90, 95 %", jobs.len());
        let found = parallel::each(&jobs, progress, |&(who, hits)| {
            lab.smallest(who, hits, &rows)
        });
        let mut searched = found[1..].chunks_exact(WHO.len());
        let targets = TARGETS
            .into_iter()
            .map(|share| Target {
                share,
                smallest: (wanted(share) <= ceiling)
                    .then(|| searched.next())
                    .flatten()
                    .map(|found| Smallest {
                        optimum: found[0],
                        capacity: [found[1], found[2], found[3], found[4]],
                    }),
            })
            .collect();
        progress.stage("the suggested size", WHO.len());
        let mut suggested = lab.rows(&found[..1], progress, broken);
        let suggested = suggested.remove(0);
        Self {
            rows,
            targets,
            suggested,
        }
    }
}

/// Whose hits are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Optimum,
    Policy(Policy),
}

/// The optimum, then the policies in the order of [`POLICIES`].
const WHO: [Who; 5] = [
    Who::Optimum,
    Who::Policy(POLICIES[0]),
    Who::Policy(POLICIES[1]),
    Who::Policy(POLICIES[2]),
    Who::Policy(POLICIES[3]),
];

const TARGETS: [f64; 3] = [0.80, 0.90, 0.95];

/// The requests and what the cache is held against.
struct Lab<'a> {
    keys: &'a [u32],
    unique: usize,
    belady: &'a Belady<'a>,
    lru: &'a LruCurve,
}

impl Lab<'_> {
    fn rows(
        &self,
        capacities: &[usize],
        progress: &Progress,
        broken: &mut Vec<String>,
    ) -> Vec<Row> {
        let jobs: Vec<(usize, Who)> = capacities
            .iter()
            .flat_map(|&capacity| WHO.map(|who| (capacity, who)))
            .collect();
        let hits = parallel::each(&jobs, progress, |&(capacity, who)| self.hits(who, capacity));
        let rows: Vec<Row> = capacities
            .iter()
            .zip(hits.chunks_exact(WHO.len()))
            .map(|(&capacity, hits)| Row {
                capacity,
                optimum: hits[0],
                hits: [hits[1], hits[2], hits[3], hits[4]],
            })
            .collect();
        for row in &rows {
            self.check(row, broken);
        }
        rows
    }

    fn hits(&self, who: Who, capacity: usize) -> u64 {
        match who {
            Who::Optimum => self.belady.hits(capacity),
            Who::Policy(policy) => policy_hits(self.keys, policy, capacity),
        }
    }

    /// Holds the cache to what must be true whatever the requests are.
    fn check(&self, row: &Row, broken: &mut Vec<String>) {
        let capacity = row.capacity;
        let everything = (self.keys.len() - self.unique) as u64;
        for (policy, hits) in POLICIES.into_iter().zip(row.hits) {
            let exact = match policy {
                _ if capacity >= self.unique => Some(everything),
                Policy::Lru => Some(self.lru.hits(capacity)),
                Policy::Fifo => Some(fifo_hits(self.keys, self.unique, capacity)),
                _ => None,
            };
            if hits > row.optimum {
                broken.push(format!(
                    "{policy} with {capacity} entries has {hits} hits, and the optimum {}",
                    row.optimum
                ));
            }
            if let Some(exact) = exact.filter(|&exact| exact != hits) {
                broken.push(format!(
                    "{policy} with {capacity} entries has {hits} hits, and its model {exact}"
                ));
            }
        }
    }

    /// The smallest capacity at which `who` has at least `wanted` hits, to
    /// within half a per cent. An unlimited cache must have that many.
    fn smallest(&self, who: Who, wanted: u64, known: &[Row]) -> usize {
        if who == Who::Policy(Policy::Lru)
            && let Some(capacity) = self.lru.smallest(wanted)
        {
            // Exact, and `check` holds the cache to the same curve.
            return capacity.max(1);
        }
        let hits_of = |row: &Row| match who {
            Who::Optimum => row.optimum,
            Who::Policy(policy) => {
                let place = POLICIES.iter().position(|&other| other == policy);
                place.map_or(0, |place| row.hits[place])
            }
        };
        let enough = known.iter().position(|row| hits_of(row) >= wanted);
        let mut high = enough.map_or(self.unique, |at| known[at].capacity);
        let mut low = match enough.unwrap_or(known.len()).checked_sub(1) {
            Some(at) => known[at].capacity,
            None => 0,
        };
        while high - low > (high / 200).max(1) {
            let middle = low + (high - low) / 2;
            if self.hits(who, middle) >= wanted {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }
}

/// Replays the requests through the real cache: what is not found is inserted.
fn policy_hits(keys: &[u32], policy: Policy, capacity: usize) -> u64 {
    let cache = Cache::builder()
        .max_entries(capacity)
        .policy(policy)
        // One shard: the order of eviction is exactly the policy's.
        .shards(1)
        .seed(SEED)
        .build()
        .expect("a size and a policy are all it needs");
    let mut hits = 0;
    for &key in keys {
        if cache.get(&key).is_some() {
            hits += 1;
        } else {
            cache.insert(key, ());
        }
    }
    hits
}

/// A dozen sizes from a thousandth of the keys to all of them.
fn capacities(unique: usize) -> Vec<usize> {
    const STEPS: i32 = 12;
    let mut capacities: Vec<usize> = (0..=STEPS)
        .map(|step| {
            let share = 10f64.powf(-3.0 * f64::from(STEPS - step) / f64::from(STEPS));
            ((unique as f64 * share).round() as usize).clamp(1, unique.max(1))
        })
        .collect();
    capacities.dedup();
    capacities
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Synthetic;

    #[test]
    fn sizes_rise_from_a_thousandth_to_everything() {
        let sizes = capacities(100_000);
        assert_eq!(sizes.len(), 13);
        assert_eq!((sizes[0], sizes[12]), (100, 100_000));
        assert!(sizes.is_sorted_by(|a, b| a < b));
        assert_eq!(capacities(1), [1]);
        assert_eq!(capacities(3), [1, 2, 3]);
    }

    #[test]
    fn a_cache_that_breaks_its_word_is_found_out() {
        let keys = [0, 1, 0, 1, 2, 0];
        let lru = LruCurve::new(&keys, 3);
        let belady = Belady::new(&keys, 3);
        let lab = Lab {
            keys: &keys,
            unique: 3,
            belady: &belady,
            lru: &lru,
        };
        let found = |hits| {
            let mut broken = Vec::new();
            lab.check(
                &Row {
                    capacity: 2,
                    optimum: 3,
                    hits,
                },
                &mut broken,
            );
            broken.len()
        };
        assert_eq!(found([3, 2, 3, 2]), 0, "as it should be");
        assert_eq!(found([4, 2, 3, 2]), 1, "better than the optimum");
        assert_eq!(found([3, 3, 3, 2]), 1, "lru is not lru");
        assert_eq!(found([3, 2, 3, 3]), 1, "fifo is not fifo");
    }

    #[test]
    fn a_small_day_holds_every_invariant() {
        let requests = Synthetic {
            requests: 5_000,
            core: 400,
            ..Synthetic::default()
        }
        .generate();
        let lru = LruCurve::new(&requests.keys, requests.unique());
        let belady = Belady::new(&requests.keys, requests.unique());
        let mut broken = Vec::new();
        let sizes = Sizes::measure(&requests, &belady, &lru, &Progress::silent(), &mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        let wanted = NEARLY_ALL * (requests.len() - requests.unique()) as f64;
        assert!(sizes.suggested.adaptive() as f64 >= wanted.floor());
        for target in &sizes.targets {
            if let Some(smallest) = &target.smallest {
                assert!(
                    smallest
                        .capacity
                        .iter()
                        .all(|&capacity| capacity >= smallest.optimum)
                );
            }
        }
    }
}
