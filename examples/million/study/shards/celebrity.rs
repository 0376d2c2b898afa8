use std::time::Duration;

use tenfold::router::{NodeId, Topology};

use super::SEED;
use super::server::Server;
use super::traffic::Traffic;
use super::waits::Waits;
use super::watch::{WINDOW, Watch};
use crate::progress::Progress;
use crate::study::parallel;

/// One key suddenly has a quarter of all requests, more than its shard can
/// answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Celebrity {
    /// Its shard alone.
    pub(crate) whole: Crowd,
    /// Read, from copies on several shards, once it was found.
    pub(crate) copied: Crowd,
    /// Written, as likes are counted, in parts on several shards, once it was
    /// found.
    pub(crate) split: Crowd,
}

/// What a flash crowd was like.
#[derive(Debug, PartialEq)]
pub(crate) struct Crowd {
    /// Requests a second for each shard in the last seconds of the crowd.
    pub(crate) loads: Vec<(String, f64)>,
    pub(crate) requests: u64,
    /// Requests that were not answered in time.
    pub(crate) errors: u64,
    /// Reads of the celebrity that did not see all that was written.
    pub(crate) wrong: u64,
    /// The wait of the slowest 1 % before the crowd came.
    pub(crate) calm: Duration,
    /// The same in the last seconds of the crowd.
    pub(crate) p99: Duration,
    /// The same in each second, calm and crowd.
    pub(crate) p99_over_time: Vec<Duration>,
    /// How many requests of the crowd had come when the celebrity was known for
    /// what it is, and over how many shards it was then spread.
    pub(crate) found: Option<(u64, usize)>,
    /// How often another key was taken for one.
    mistaken: u64,
}

impl Crowd {
    pub(crate) fn max_over_mean(&self) -> f64 {
        let all: f64 = self.loads.iter().map(|(_, load)| load).sum();
        self.busiest() * self.loads.len() as f64 / all
    }

    /// Requests a second for the busiest shard.
    pub(crate) fn busiest(&self) -> f64 {
        self.loads.iter().map(|(_, load)| *load).fold(0.0, f64::max)
    }

    pub(crate) fn error_rate(&self) -> f64 {
        self.errors as f64 / self.requests as f64
    }
}

impl Celebrity {
    pub(crate) const SHARDS: usize = 8;
    pub(crate) const REQUESTS_A_SECOND: u64 = 8_000;
    /// What a shard can answer: eight connections of 4 ms a query.
    pub(crate) const CAPACITY: f64 = 2_000.0;
    pub(crate) const SHARE: f64 = 0.25;
    pub(crate) const CALM: Duration = Duration::from_secs(5);
    pub(crate) const END: Duration = Duration::from_secs(30);
    /// The last seconds of the crowd: whoever was to be helped has been.
    pub(crate) const SETTLED: Duration = Duration::from_secs(15);
    /// Requests within which the celebrity must be found.
    pub(crate) const FOUND_WITHIN: u64 = 2 * WINDOW as u64;

    pub(super) fn measure(progress: &Progress, broken: &mut Vec<String>) -> Self {
        let topology = Topology::builder()
            .nodes((1..=Self::SHARDS).map(|number| format!("pg-{number}")))
            .build()
            .expect("eight distinct names are a topology");
        let kinds = [
            (Kind::Read, false),
            (Kind::Read, true),
            (Kind::Written, true),
        ];
        let run = |&(kind, watched): &(Kind, bool)| run(&topology, kind, watched);
        let mut crowds = parallel::each(&kinds, progress, run).into_iter();
        let mut next = || crowds.next().expect("there is one for each kind");
        let celebrity = Self {
            whole: next(),
            copied: next(),
            split: next(),
        };
        celebrity.check(broken);
        celebrity
    }

    fn check(&self, broken: &mut Vec<String>) {
        for (means, crowd) in [("copies", &self.copied), ("parts", &self.split)] {
            let mut must = |holds: bool, what: String| {
                if !holds {
                    broken.push(format!("a celebrity in {means}: {what}"));
                }
            };
            let found = crowd.found.map(|(after, _)| after);
            must(
                found.is_some_and(|after| after <= Self::FOUND_WITHIN),
                format!(
                    "found after {found:?} requests, expected {}",
                    Self::FOUND_WITHIN
                ),
            );
            must(
                crowd.mistaken == 0,
                format!("{} others were taken for one", crowd.mistaken),
            );
            let fullest = crowd.max_over_mean();
            must(
                fullest <= 1.3,
                format!("the fullest shard has {fullest:.3} times the mean, expected 1.3 at most"),
            );
            must(
                crowd.errors == 0,
                format!("{} requests were not answered", crowd.errors),
            );
            must(
                crowd.p99 <= 2 * crowd.calm,
                format!("p99 is {:?}, it was {:?} before", crowd.p99, crowd.calm),
            );
            must(
                crowd.wrong == 0,
                format!("{} reads did not see all that was written", crowd.wrong),
            );
        }
    }
}

/// How a celebrity is spread, and what one in a hundred requests for it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Read from any copy; one in a hundred writes, to all copies.
    Read,
    /// Written to any part, as likes are counted; one in a hundred reads, and gathers
    /// all parts.
    Written,
}

fn run(topology: &Topology, kind: Kind, watched: bool) -> Crowd {
    let mut servers = vec![Server::new(WORKERS); topology.node_bound()];
    let mut traffic = Traffic::new(Celebrity::REQUESTS_A_SECOND, USERS, SEED);
    let mut watch = Some(Watch::new()).filter(|_| watched);
    // Where the celebrity lies, its home first.
    let mut homes = vec![topology.route(STAR)];
    let mut star = Star::new(kind, topology);
    let settled = Celebrity::END.saturating_sub(Celebrity::SETTLED);
    let mut loads = vec![0_u64; topology.node_bound()];
    let (mut calm, mut crowded) = (Waits::default(), Waits::default());
    let mut seconds = vec![Waits::default(); Celebrity::END.as_secs() as usize];
    let mut crowd = Crowd::of(topology);
    loop {
        let now = traffic.arrival();
        if now >= Celebrity::END {
            break;
        }
        let in_crowd = now >= Celebrity::CALM;
        let famous = in_crowd && traffic.chance(Celebrity::SHARE);
        let key = if famous { STAR } else { traffic.user() };
        crowd.requests += u64::from(in_crowd);

        let concerns_all = famous && traffic.chance(0.01);
        let one;
        let shards: &[NodeId] = if !famous {
            one = [topology.route(key)];
            &one
        } else if concerns_all {
            &homes
        } else {
            one = [homes[traffic.one_of(homes.len())]];
            &one
        };
        // Of several, the slowest is waited for.
        let mut wait = Some(Duration::ZERO);
        for shard in shards {
            let answer = servers[shard.index()].serve(now, QUERY);
            wait = wait.zip(answer).map(|(a, b)| a.max(b));
            loads[shard.index()] += u64::from(now >= settled);
        }
        if let Some(wait) = wait {
            seconds[now.as_secs() as usize].push(wait);
            if !in_crowd {
                calm.push(wait);
            } else if now >= settled {
                crowded.push(wait);
            }
            if famous {
                let right = star.answer(shards, concerns_all);
                crowd.wrong += u64::from(!right);
            }
        } else {
            crowd.errors += 1;
        }
        // The first window of a crowd holds only some of it: the next one may ask for
        // more shards.
        if let Some(found) = watch.as_mut().and_then(|watch| watch.note(key, topology))
            && (found.key != STAR || found.shards.len() > homes.len())
        {
            crowd.mistaken += u64::from(found.key != STAR);
            crowd.found = Some((crowd.requests, found.shards.len()));
            star.spread(&found.shards);
            homes = found.shards;
        }
    }
    for ((_, load), (id, _)) in crowd.loads.iter_mut().zip(topology.nodes()) {
        *load = loads[id.index()] as f64 / Celebrity::SETTLED.as_secs_f64();
    }
    crowd.calm = calm.p99();
    crowd.p99 = crowded.p99();
    crowd.p99_over_time = seconds.iter_mut().map(Waits::p99).collect();
    crowd
}

impl Crowd {
    /// Nothing has happened yet.
    fn of(topology: &Topology) -> Self {
        let names = topology.nodes().map(|(_, node)| node.name().to_owned());
        Self {
            loads: names.map(|name| (name, 0.0)).collect(),
            requests: 0,
            errors: 0,
            wrong: 0,
            calm: Duration::ZERO,
            p99: Duration::ZERO,
            p99_over_time: Vec::new(),
            found: None,
            mistaken: 0,
        }
    }
}

/// What the shards hold of the celebrity, to see that nothing is lost by
/// spreading it.
#[derive(Debug)]
struct Star {
    kind: Kind,
    /// By shard: the version of a copy, or the likes of a part.
    held: Vec<u64>,
    /// The version that was written last, or all likes that were given.
    last: u64,
}

impl Star {
    fn new(kind: Kind, topology: &Topology) -> Self {
        Self {
            kind,
            held: vec![0; topology.node_bound()],
            last: 0,
        }
    }

    /// Spreads it from the first of these shards over all.
    fn spread(&mut self, shards: &[NodeId]) {
        if self.kind == Kind::Read {
            let home = self.held[shards[0].index()];
            for shard in shards {
                self.held[shard.index()] = home;
            }
        }
    }

    /// Answers a request, of the kind that concerns one shard or of the one that
    /// concerns all: whether the answer is right.
    fn answer(&mut self, of: &[NodeId], concerns_all: bool) -> bool {
        match (self.kind, concerns_all) {
            (Kind::Read, false) => of.iter().all(|shard| self.held[shard.index()] == self.last),
            (Kind::Read, true) => {
                self.last += 1;
                for shard in of {
                    self.held[shard.index()] = self.last;
                }
                true
            }
            (Kind::Written, false) => {
                self.last += 1;
                for shard in of {
                    self.held[shard.index()] += 1;
                }
                true
            }
            (Kind::Written, true) => {
                let parts = of.iter().map(|shard| self.held[shard.index()]);
                parts.sum::<u64>() == self.last
            }
        }
    }
}

const USERS: u64 = 1_000_000;
/// Nobody asked for it before.
const STAR: u64 = USERS;
const WORKERS: usize = 8;
const QUERY: Duration = Duration::from_millis(4);

#[cfg(test)]
mod tests {
    use super::super::server::PATIENCE;
    use super::*;

    #[test]
    fn a_celebrity_melts_its_shard_unless_it_is_spread() {
        let mut broken = Vec::new();
        let celebrity = Celebrity::measure(&Progress::silent(), &mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        let whole = &celebrity.whole;
        assert!(whole.busiest() > Celebrity::CAPACITY, "{whole:?}");
        assert!(whole.p99 >= PATIENCE && whole.errors > 0, "{whole:?}");
        assert_eq!(whole.found, None);
    }

    #[test]
    fn a_copy_that_a_write_misses_is_told() {
        let topology = Topology::builder().nodes(["a", "b", "c"]).build().unwrap();
        for kind in [Kind::Read, Kind::Written] {
            let mut star = Star::new(kind, &topology);
            let shards = topology.spread_over(STAR, 2);
            assert!(star.answer(&shards[..1], kind == Kind::Read));
            star.spread(&shards);
            for _ in 0..3 {
                assert!(star.answer(&shards[1..], false));
                assert!(star.answer(&shards, true));
            }
            // A write that reaches one copy of two, a read of one part of two.
            let first = star.answer(&shards[..1], true);
            let second = star.answer(&shards[1..], false);
            assert!(!first || !second, "{kind:?}");
        }
    }
}
