//! Nodes for the tests of the router.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use tenfold::router::{NodeId, Policy, Topology};

pub const HISTORY_FREE: [Policy; 4] = [
    Policy::Rendezvous,
    Policy::Ring { vnodes: 160 },
    Policy::Maglev,
    Policy::Modulo,
];

pub fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("node-{number}"))
}

pub fn of(policy: Policy, count: usize) -> Topology {
    Topology::builder()
        .nodes(names(count))
        .policy(policy)
        .build()
        .unwrap()
}

pub fn name(topology: &Topology, id: NodeId) -> String {
    topology.name(id).unwrap().to_owned()
}

pub fn owners(topology: &Topology) -> Vec<String> {
    (0..topology.slots())
        .map(|slot| name(topology, topology.owner_of_slot(slot).unwrap()))
        .collect()
}
