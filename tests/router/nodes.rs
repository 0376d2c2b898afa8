//! Nodes for the tests of the router.

use tenfold::router::{NodeId, Policy, Topology};

pub(crate) const HISTORY_FREE: [Policy; 4] = [
    Policy::Rendezvous,
    Policy::Ring { vnodes: 160 },
    Policy::Maglev,
    Policy::Modulo,
];

pub(crate) fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("node-{number}"))
}

pub(crate) fn of(policy: Policy, count: usize) -> Topology {
    Topology::builder()
        .nodes(names(count))
        .policy(policy)
        .build()
        .unwrap()
}

pub(crate) fn name(topology: &Topology, id: NodeId) -> String {
    topology.name(id).unwrap().to_owned()
}

pub(crate) fn owners(topology: &Topology) -> Vec<String> {
    (0..topology.slots())
        .map(|slot| name(topology, topology.owner_of_slot(slot).unwrap()))
        .collect()
}

/// Zipf's law with exponent 1 over ranks 0, 1, …, by inversion.
pub(crate) struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    pub(crate) fn new(keys: u64) -> Self {
        let shares = (1..=keys).map(|rank| 1.0 / rank as f64);
        let sums = shares.scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        });
        Self {
            sums: sums.collect(),
        }
    }

    pub(crate) fn stream(&self, seed: u64) -> impl Iterator<Item = u64> {
        let mut rng = tenfold::rng::Rng::with_seed(seed);
        std::iter::repeat_with(move || {
            let draw = rng.next_u64() as f64 / 2_f64.powi(64) * self.sums[self.sums.len() - 1];
            self.sums.partition_point(|&sum| sum < draw) as u64
        })
    }
}
