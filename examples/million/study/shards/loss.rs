use tenfold::router::{Node, NodeId, Router, Spread, Topology, TopologyError};

/// A shard dies, or a whole zone does: how many reads find nobody who has
/// their row.
#[derive(Debug, PartialEq)]
pub(crate) struct Loss {
    pub(crate) shard: Died,
    pub(crate) zone: Died,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Died {
    /// Reads without an answer, of one for each user.
    pub(crate) without: u64,
    pub(crate) with: u64,
    /// What the busiest survivor has to do, over what it had before.
    pub(crate) more: f64,
}

impl Loss {
    pub(crate) const USERS: u64 = 1_000_000;
    pub(crate) const SHARDS: usize = 6;
    pub(crate) const ZONES: usize = 3;

    pub(super) fn measure(broken: &mut Vec<String>) -> Self {
        let loss = Self::of_routers().unwrap_or_else(|error| {
            broken.push(format!("shards in zones: {error}"));
            let nothing = || Died {
                without: 0,
                with: 0,
                more: 0.0,
            };
            Self {
                shard: nothing(),
                zone: nothing(),
            }
        });
        for (dead, died, most) in [("shard", &loss.shard, 1.35), ("zone", &loss.zone, 1.6)] {
            if died.with > 0 {
                broken.push(format!(
                    "with copies in distinct zones {} reads were lost with a {dead}",
                    died.with
                ));
            }
            if died.more > most {
                broken.push(format!(
                    "after a {dead} died, a survivor had {:.2} times its load, expected at most {most}",
                    died.more
                ));
            }
        }
        loss
    }

    fn of_routers() -> Result<Self, TopologyError> {
        let single = router(1, Spread::Nodes)?;
        let anywhere = router(2, Spread::Nodes)?;
        let zones = router(2, Spread::Require)?;
        let died = |without: &Router, dead: fn(&Node) -> bool| {
            let (with, more) = lost(&zones, dead);
            Died {
                without: lost(without, dead).0,
                with,
                more,
            }
        };
        Ok(Self {
            shard: died(&single, |node| node.name() == "pg-1"),
            zone: died(&anywhere, |node| node.zone_name() == Some("zone-0")),
        })
    }
}

fn router(copies: usize, spread: Spread) -> Result<Router, TopologyError> {
    let shard = |number: usize| {
        Node::new(format!("pg-{}", number + 1)).zone(format!("zone-{}", number % Loss::ZONES))
    };
    let topology = Topology::builder()
        .nodes((0..Loss::SHARDS).map(shard))
        .replicas(copies)
        .distinct_zones(spread)
        .build()?;
    Ok(Router::new(topology))
}

/// Reads every user's row once, from the first node that is alive: how many find no
/// row there, and the load of the busiest survivor over its load of before.
fn lost(router: &Router, dead: fn(&Node) -> bool) -> (u64, f64) {
    let topology = router.topology();
    let alive = |id: NodeId| topology.node(id).is_some_and(|node| !dead(node));
    let mut before = vec![0_u64; topology.node_bound()];
    let mut after = before.clone();
    let mut lost = 0;
    for user in 0..Loss::USERS {
        before[router.route(user).index()] += 1;
        match router.route_where(user, alive) {
            Some(node) if router.replicas(user).contains(&node) => after[node.index()] += 1,
            _ => lost += 1,
        }
    }
    let more = before.iter().zip(&after);
    let more = more.map(|(&before, &after)| after as f64 / before.max(1) as f64);
    (lost, more.fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_in_distinct_zones_survive_a_shard_and_a_zone() {
        let mut broken = Vec::new();
        let loss = Loss::measure(&mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        assert!(loss.shard.without > Loss::USERS / 7, "{loss:?}");
        assert!(loss.zone.without > 0, "{loss:?}");
    }
}
