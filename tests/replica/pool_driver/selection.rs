//! That a server which is lent for a read is one that the selection allows at that moment, whatever has happened to the cluster.

use tenfold::replica::CausalToken;
use tenfold::replica::topology::{NodeSet, Selection, select};
use tenfold::rng::Rng;

use super::*;

fn world(policy: Policy, seed: u64) -> World {
    let (cluster, clock) = (Cluster::new(4), ManualClock::new());
    let builder = ReplicaPool::builder(cluster.clone(), settings(4));
    let builder = builder.pools(options()).clock(clock.clock());
    let pool = builder.policy(policy).seed(seed).build().unwrap();
    let monitor = pool.monitor();
    monitor.turn();
    World {
        cluster,
        clock,
        pool,
        monitor,
    }
}

fn happen(world: &World, chance: &mut Rng, tokens: &mut Vec<CausalToken>) {
    let replica = format!("r{}", 1 + chance.below(4));
    match chance.below(9) {
        0 => world.cluster.kill(&replica),
        1 | 2 => world.cluster.start(&replica),
        3 => {
            let written = world.pool.write().and_then(|mut lent| {
                let position = lent.write(1).map_err(ReplicaError::Failed)?;
                lent.commit_token(position)
                    .map_err(ReplicaError::RoleChanged)
            });
            tokens.extend(written);
        }
        4 => world.cluster.replicate(),
        // Some have it and some have not.
        5 => world.cluster.with(&replica, |server| server.position += 1),
        6 if chance.below(4) == 0 => {
            world.cluster.start(&replica);
            world.cluster.promote(&replica);
        }
        7 => {
            // Its number, and its place in the balancer, are another's from then on.
            let _ = world.pool.remove(&replica);
        }
        8 => {
            let _ = world.pool.add_replica(endpoint(&replica));
        }
        _ => {}
    }
    world.pass(SECOND / 4 * u32::try_from(chance.below(8)).unwrap());
}

fn check(world: &World, preference: &ReadPreference) -> bool {
    let topology = world.pool.topology();
    let Ok(lent) = world.pool.read(preference) else {
        return false;
    };
    let node = lent.node();
    let nodes = match select(&topology, preference, NodeSet::default()) {
        Ok(Selection::Nodes(nodes)) => nodes,
        Ok(Selection::Primary(node) | Selection::Fallback(node)) => [node].into_iter().collect(),
        other => panic!("{preference:?} was lent {node:?}: {other:?}"),
    };
    assert!(
        nodes.contains(node),
        "{preference:?}: {node:?}: {topology:#?}"
    );
    let found = topology.node(node).unwrap();
    assert_eq!(found.endpoint().name(), name(&lent));
    true
}

#[test]
fn whoever_is_lent_is_one_that_the_selection_allows() {
    let factor = std::env::var("TENFOLD_SEEDS").ok();
    let factor: u64 = factor.map_or(1, |factor| factor.parse().unwrap());
    let (mut lent, mut by_token) = (0, 0);
    for seed in 0..20 * factor {
        let policy = if seed % 2 == 0 {
            Policy::Adaptive
        } else {
            Policy::RoundRobin
        };
        let (world, mut chance) = (world(policy, seed), Rng::with_seed(seed));
        let mut tokens = Vec::new();
        for _ in 0..60 {
            happen(&world, &mut chance, &mut tokens);
            // A fault that a read meets with changes the topology.
            for preference in [
                ReadPreference::Replica,
                ReadPreference::ReplicaOnly,
                ReadPreference::Any,
                ReadPreference::MaxLag(SECOND),
            ] {
                lent += u32::from(check(&world, &preference));
            }
            for token in tokens.iter().rev().take(3) {
                let at_least = ReadPreference::AtLeast(*token, Duration::ZERO);
                by_token += u32::from(check(&world, &at_least));
            }
        }
    }
    assert!(lent > 1000 && by_token > 300, "{lent}, {by_token}");
}
