use std::time::Duration;

use tenfold::router::{NodeId, Policy, Router, Topology};

use super::server::Server;
use super::traffic::Traffic;
use super::waits::Waits;
use super::{SEED, handover::Handover};
use crate::progress::Progress;
use crate::study::parallel;

/// Four shards become five under traffic: what moves, how long copying it
/// takes, and what callers see meanwhile.
#[derive(Debug)]
pub(crate) struct Growth {
    /// `user_id % 4`, and then `% 5`.
    pub(crate) modulo: Grown,
    pub(crate) balanced: Grown,
}

/// What it was like under one policy.
#[derive(Debug, PartialEq)]
pub(crate) struct Grown {
    pub(crate) shards: Vec<Rows>,
    /// The least that could have moved, as a share of all rows.
    pub(crate) least: f64,
    /// How long the copying took.
    pub(crate) copying: Duration,
    pub(crate) reads: u64,
    /// Reads that looked for their row where it was not yet.
    pub(crate) lost_reads: u64,
    pub(crate) writes: u64,
    pub(crate) lost_writes: u64,
    /// The share of the requests that did not find their row, in each [`Growth::STEP`].
    pub(crate) lost_over_time: Vec<f64>,
    pub(crate) p99: Duration,
    /// How busy the busiest shard was.
    pub(crate) utilisation: f64,
}

/// The rows of one shard.
#[derive(Debug, PartialEq)]
pub(crate) struct Rows {
    pub(crate) shard: String,
    pub(crate) before: u64,
    /// Those that it keeps.
    pub(crate) stayed: u64,
    /// Those that come from elsewhere.
    pub(crate) came: u64,
}

impl Grown {
    /// Rows that moved.
    pub(crate) fn moved(&self) -> u64 {
        self.shards.iter().map(|rows| rows.came).sum()
    }

    pub(crate) fn moved_share(&self) -> f64 {
        self.moved() as f64 / Growth::USERS as f64
    }

    /// The fullest shard over the mean, once all is done.
    pub(crate) fn max_over_mean(&self) -> f64 {
        let rows = self.shards.iter().map(|rows| rows.stayed + rows.came);
        let fullest = rows.max().unwrap_or(0);
        fullest as f64 * self.shards.len() as f64 / Growth::USERS as f64
    }
}

impl Growth {
    pub(crate) const USERS: u64 = 1_000_000;
    pub(crate) const REQUESTS_A_SECOND: u64 = 5_000;
    pub(crate) const ROWS_A_SECOND: u64 = 2_000;
    pub(crate) const READS: f64 = 0.7;
    pub(crate) const STEP: Duration = Duration::from_secs(5);

    pub(super) fn measure(progress: &Progress, broken: &mut Vec<String>) -> Self {
        let policies = [Policy::Modulo, Policy::Balanced];
        let mut grown = parallel::each(&policies, progress, run).into_iter();
        let mut next = || grown.next().expect("there is one for each policy");
        let (modulo, balanced) = (next(), next());
        let mut take = |grown: Result<Grown, String>, policy: &str| {
            grown.unwrap_or_else(|mistake| {
                broken.push(format!("growing by {policy}: {mistake}"));
                Grown::nothing()
            })
        };
        let growth = Self {
            modulo: take(modulo, "modulo"),
            balanced: take(balanced, "balanced"),
        };
        growth.check(broken);
        growth
    }

    fn check(&self, broken: &mut Vec<String>) {
        let (modulo, balanced) = (&self.modulo, &self.balanced);
        let mut must = |holds: bool, what: String| {
            if !holds {
                broken.push(what);
            }
        };
        let moved = modulo.moved_share();
        must(
            (0.79..=0.81).contains(&moved),
            format!("modulo moved {moved:.4} of the rows, expected four fifths"),
        );
        let (moved, least) = (balanced.moved_share(), balanced.least);
        must(
            // Slots are dealt out evenly, and users fall onto them at random.
            (0.195..=0.205).contains(&moved) && (moved - least).abs() < 0.003,
            format!("balanced moved {moved:.4} of the rows, of hashes {least:.4} must"),
        );
        let onto_old: u64 = balanced
            .shards
            .iter()
            .rev()
            .skip(1)
            .map(|rows| rows.came)
            .sum();
        must(
            onto_old == 0,
            format!("balanced moved {onto_old} rows between old shards"),
        );
        for grown in [modulo, balanced] {
            let fullest = grown.max_over_mean();
            must(
                fullest < 1.02,
                format!("a shard of five has {fullest:.3} times the mean, expected less than 1.02"),
            );
        }
        let (worse, better) = (modulo.lost_reads, balanced.lost_reads);
        must(
            better * 8 <= worse,
            format!("balanced lost {better} reads, modulo {worse}: expected an eighth at most"),
        );
    }
}

fn run(policy: &Policy) -> Result<Grown, String> {
    let show = |error: &dyn std::error::Error| error.to_string();
    let old = Topology::builder()
        .nodes(["pg-1", "pg-2", "pg-3", "pg-4"])
        .policy(policy.clone())
        .build()
        .map_err(|error| show(&error))?;
    let new = old
        .edit()
        .node("pg-5")
        .build()
        .map_err(|error| show(&error))?;
    let least = old.plan(&new).map_err(|error| show(&error))?.lower_bound();
    let mut grown = Grown {
        shards: rows(&old, &new),
        least: least.ok_or("a plan of hashes knows how little could move")?,
        ..Grown::nothing()
    };
    let mut servers = vec![Server::new(WORKERS); new.node_bound()];
    let mut handover = Handover::swap_first(Router::new(old), new, Growth::USERS)?;
    let mut traffic = Traffic::new(Growth::REQUESTS_A_SECOND, Growth::USERS, SEED);
    let mut waits = Waits::default();
    let mut steps: Vec<(u64, u64)> = Vec::new();
    'copying: loop {
        let now = traffic.arrival();
        while grown.copying <= now {
            let Some((from, to)) = handover.copy_next() else {
                break 'copying;
            };
            for shard in [from, to] {
                servers[shard.index()].serve(grown.copying, COPY);
            }
            grown.copying += Duration::from_secs(1) / Growth::ROWS_A_SECOND as u32;
        }
        let (shard, found) = handover.find(traffic.user());
        if let Some(wait) = servers[shard.index()].serve(now, QUERY) {
            waits.push(wait);
        }
        let lost = u64::from(!found);
        let (all, missed) = if traffic.chance(Growth::READS) {
            (&mut grown.reads, &mut grown.lost_reads)
        } else {
            (&mut grown.writes, &mut grown.lost_writes)
        };
        (*all, *missed) = (*all + 1, *missed + lost);
        let step = (now.as_secs() / Growth::STEP.as_secs()) as usize;
        steps.resize(steps.len().max(step + 1), (0, 0));
        steps[step].0 += 1;
        steps[step].1 += lost;
    }
    if let Some(user) = (0..Growth::USERS).find(|&user| !handover.find(user).1) {
        return Err(format!("user {user} is not found after the copying"));
    }
    let share = |(requests, lost): (u64, u64)| lost as f64 / requests.max(1) as f64;
    grown.lost_over_time = steps.into_iter().map(share).collect();
    grown.p99 = waits.p99();
    let used = |server: &Server| server.utilisation(grown.copying);
    grown.utilisation = servers.iter().map(used).fold(0.0, f64::max);
    Ok(grown)
}

/// Whose rows are where, before and after.
fn rows(old: &Topology, new: &Topology) -> Vec<Rows> {
    let mut all: Vec<(NodeId, Rows)> = new
        .nodes()
        .map(|(id, node)| {
            let rows = Rows {
                shard: node.name().to_owned(),
                before: 0,
                stayed: 0,
                came: 0,
            };
            (id, rows)
        })
        .collect();
    let mut places = vec![0; new.node_bound()];
    for (place, (id, _)) in all.iter().enumerate() {
        places[id.index()] = place;
    }
    for user in 0..Growth::USERS {
        let (before, after) = (old.route(user), new.route(user));
        all[places[before.index()]].1.before += 1;
        let rows = &mut all[places[after.index()]].1;
        if before == after {
            rows.stayed += 1;
        } else {
            rows.came += 1;
        }
    }
    all.into_iter().map(|(_, rows)| rows).collect()
}

impl Grown {
    fn nothing() -> Self {
        Self {
            shards: Vec::new(),
            least: 0.0,
            copying: Duration::ZERO,
            reads: 0,
            lost_reads: 0,
            writes: 0,
            lost_writes: 0,
            lost_over_time: Vec::new(),
            p99: Duration::ZERO,
            utilisation: 0.0,
        }
    }
}

/// Eight connections of 4 ms a query: 2 000 queries a second.
const WORKERS: usize = 8;
const QUERY: Duration = Duration::from_millis(4);
/// A row of a batch, where it is read and where it is written.
const COPY: Duration = Duration::from_micros(400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_little_moves_as_can_be() {
        let mut broken = Vec::new();
        let growth = Growth::measure(&Progress::silent(), &mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        assert!(growth.modulo.copying > 3 * growth.balanced.copying);
        let before = growth.balanced.shards.iter().map(|rows| rows.before);
        assert_eq!(before.sum::<u64>(), Growth::USERS);
    }

    #[test]
    fn moving_more_than_is_needed_is_told() {
        // Each of five shards keeps a quarter of what it had, as under modulo.
        let rows = |shard| Rows {
            shard: String::new(),
            before: if shard < 4 { 250_000 } else { 0 },
            stayed: if shard < 4 { 50_000 } else { 0 },
            came: if shard < 4 { 150_000 } else { 200_000 },
        };
        let modulo = || Grown {
            shards: (0..5).map(rows).collect(),
            least: 0.2,
            lost_reads: 1,
            ..Grown::nothing()
        };
        let growth = Growth {
            modulo: modulo(),
            balanced: modulo(),
        };
        let mut broken = Vec::new();
        growth.check(&mut broken);
        assert_eq!(broken.len(), 3, "{broken:?}");
    }
}
