use std::time::Duration;

use tenfold::router::placement::Ranges;
use tenfold::router::{Policy, Topology, TopologyError};

use super::SEED;
use super::server::Server;
use super::traffic::Traffic;
use super::waits::Waits;

/// Orders that are kept by the day they were placed on, a year to a shard: what
/// is written today all goes to the newest.
#[derive(Debug, PartialEq)]
pub(crate) struct Dates {
    /// By day.
    pub(crate) ranges: Written,
    /// By day, after the newest range was split and half of it has a shard of its own.
    pub(crate) split: Written,
    /// By the number of the order.
    pub(crate) hashed: Written,
}

/// What a minute of writing was like.
#[derive(Debug, PartialEq)]
pub(crate) struct Written {
    pub(crate) shards: Vec<(String, u64)>,
    /// Orders that were not taken in time.
    pub(crate) errors: u64,
    pub(crate) p99: Duration,
}

impl Written {
    pub(crate) fn orders(&self) -> u64 {
        self.shards.iter().map(|(_, orders)| orders).sum()
    }

    /// The share of all orders that the busiest shard has to write.
    pub(crate) fn busiest(&self) -> f64 {
        let most = self.shards.iter().map(|(_, orders)| *orders).max();
        most.unwrap_or(0) as f64 / self.orders() as f64
    }

    pub(crate) fn error_rate(&self) -> f64 {
        self.errors as f64 / self.orders() as f64
    }
}

impl Dates {
    pub(crate) const ORDERS_A_SECOND: u64 = 3_000;
    /// What a shard can write: eight connections of 4 ms a write.
    pub(crate) const CAPACITY: f64 = 2_000.0;

    pub(super) fn measure(broken: &mut Vec<String>) -> Self {
        match topologies() {
            Ok([ranges, split, hashed]) => {
                let dates = Self {
                    ranges: run(&ranges, |_| TODAY),
                    split: run(&split, |_| TODAY),
                    hashed: run(&hashed, |order| order),
                };
                dates.check(broken);
                dates
            }
            Err(error) => {
                broken.push(format!("shards by date: {error}"));
                let nothing = || Written {
                    shards: Vec::new(),
                    errors: 0,
                    p99: Duration::ZERO,
                };
                Self {
                    ranges: nothing(),
                    split: nothing(),
                    hashed: nothing(),
                }
            }
        }
    }

    fn check(&self, broken: &mut Vec<String>) {
        for (written, shards) in [(&self.ranges, 4), (&self.split, 5)] {
            if written.busiest() < 1.0 {
                broken.push(format!(
                    "of {shards} shards by date the newest got {:.3} of today's orders",
                    written.busiest()
                ));
            }
        }
        let busiest = self.hashed.busiest();
        if busiest > 0.26 || self.hashed.errors > 0 {
            broken.push(format!(
                "by number of the order a shard of four got {busiest:.3} of the orders and {} were lost",
                self.hashed.errors
            ));
        }
    }
}

/// Four shards by year; five, the fifth for the second half of this year; four by
/// hash.
fn topologies() -> Result<[Topology; 3], TopologyError> {
    let years = Ranges::all("pg-1")
        .split(20_240_101_u64, "pg-2")
        .split(20_250_101_u64, "pg-3")
        .split(20_260_101_u64, "pg-4");
    let halved = years.clone().split(20_260_701_u64, "pg-5");
    let four = ["pg-1", "pg-2", "pg-3", "pg-4"];
    let by_year = Topology::builder()
        .nodes(four)
        .policy(Policy::Range(years))
        .build()?;
    let by_half_year = by_year
        .edit()
        .node("pg-5")
        .policy(Policy::Range(halved))
        .build()?;
    Ok([
        by_year,
        by_half_year,
        Topology::builder().nodes(four).build()?,
    ])
}

/// A minute of orders, each written to the shard of its key.
fn run(topology: &Topology, key: impl Fn(u64) -> u64) -> Written {
    let mut servers = vec![Server::new(WORKERS); topology.node_bound()];
    let mut orders = vec![0; topology.node_bound()];
    let mut traffic = Traffic::new(Dates::ORDERS_A_SECOND, 1, SEED);
    let mut waits = Waits::default();
    let mut errors = 0;
    for order in 0..Dates::ORDERS_A_SECOND * 60 {
        let now = traffic.arrival();
        let shard = topology.route(key(order)).index();
        orders[shard] += 1;
        match servers[shard].serve(now, WRITE) {
            Some(wait) => waits.push(wait),
            None => errors += 1,
        }
    }
    Written {
        shards: topology
            .nodes()
            .map(|(id, node)| (node.name().to_owned(), orders[id.index()]))
            .collect(),
        errors,
        p99: waits.p99(),
    }
}

const TODAY: u64 = 20_261_121;
const WORKERS: usize = 8;
const WRITE: Duration = Duration::from_millis(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_range_takes_all_writes_however_many_shards_there_are() {
        let mut broken = Vec::new();
        let dates = Dates::measure(&mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        // Of 3 000 a second it can write 2 000.
        assert!(dates.ranges.error_rate() > 0.3, "{dates:?}");
        assert_eq!(dates.split.shards[4], ("pg-5".into(), 180_000));
    }
}
