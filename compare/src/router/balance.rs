//! Who gets how many keys, and how many change hands.

use tenfold::hash::StableKey;

use super::rivals::{self, OURS};
use super::{Built, everyone, missing, row};
use crate::report::Row;

/// Keys of the fullest node over the mean, keys that moved to a new node over its share,
/// and keys that moved when a node went over those that it held.
pub(super) fn shares_and_moves(
    nodes: usize,
    built: &[Built],
    times: &[(String, f64)],
    quick: bool,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    // With a few hundred keys a node, chance is a few percent of what moves.
    let (base, per_node) = if quick {
        (300_000, 400)
    } else {
        (1_000_000, 2000)
    };
    let keys = base.max(per_node * nodes as u64);
    let most = if quick { 7e8 } else { 5e9 };
    let (mut fullest, mut came, mut went) = (Vec::new(), Vec::new(), Vec::new());
    let mut context = missing(nodes);
    let mut unmoved = Vec::new();
    for (one, (_, each)) in built.iter().zip(times) {
        let name = one.contender.name;
        let affordable = (most / (3.0 * each)) as u64;
        if affordable < 10 * nodes as u64 {
            let why = format!("not run: {:.0} us for each key", each / 1000.0);
            context.push((name.to_owned(), why));
            continue;
        }
        let counted = keys.min(affordable);
        if counted < keys {
            let chance = noise(nodes, counted);
            let why = format!("of {counted} keys only, where chance alone makes {chance:.3}");
            context.push((name.to_owned(), why));
        }
        let (mut counts, mut homes) = (vec![0_u64; nodes], Vec::new());
        for key in 0..counted {
            let node = one.placer.node(key);
            let wrong = || format!("{name} placed a key on node {node} of {nodes}");
            *counts.get_mut(node).ok_or_else(wrong)? += 1;
            homes.push(node as u32);
        }
        let most = counts.iter().max().copied().unwrap_or(0);
        let mean = counted as f64 / nodes as f64;
        fullest.push((name.to_owned(), most as f64 / mean));
        if quick && one.millis > 1000.0 {
            let why = "not run with --quick: takes seconds to build again";
            unmoved.push((name.to_owned(), why.to_owned()));
            continue;
        }
        let differ = |after: &dyn rivals::Placer| {
            let homes = (0..).zip(&homes);
            let moved = homes.filter(|(key, home)| after.node(*key) != **home as usize);
            moved.count() as f64
        };
        let share = counted as f64 / (nodes + 1) as f64;
        let moved = differ(&*(one.contender.grow)(nodes + 1));
        let moved = if name == OURS {
            exactly(nodes, moved, share)?
        } else {
            moved / share
        };
        came.push((name.to_owned(), moved));
        let held = counts[nodes - 1];
        let moved = differ(&*(one.contender.shrink)(nodes));
        if name == OURS && (moved - held as f64).abs() > 0.5 {
            return Err(format!("{moved} keys moved with a node that held {held}"));
        }
        went.push((name.to_owned(), moved / held as f64));
    }
    let (_, ours) = fullest.remove(0);
    let noise = noise(nodes, keys);
    rows.push(Row {
        floor: Some(noise),
        goal: Some(noise * 1.01),
        context: context.clone(),
        ..row(
            format!("{nodes} nodes"),
            "max_over_mean",
            "x",
            ours,
            fullest,
        )
    });
    context.extend(unmoved);
    for (what, metric, mut moved) in [
        ("one more", "moved_over_ideal", came),
        ("one less", "moved_over_held", went),
    ] {
        let (_, ours) = moved.remove(0);
        rows.push(Row {
            goal: Some(1.03),
            context: context.clone(),
            ..row(format!("{nodes} nodes, {what}"), metric, "x", ours, moved)
        });
    }
    Ok(())
}

/// What our plan says of a new node, in its share of all hashes: without the chance
/// that is in any number of keys, but it has to agree with those that moved.
fn exactly(nodes: usize, moved: f64, share: f64) -> Result<f64, String> {
    let before = rivals::topology(nodes, 1);
    let after = before.edit().node("the new one").build();
    let plan = after.map(|after| before.plan(&after));
    let Ok(Ok(plan)) = plan else {
        return Err("a node more cannot be planned".to_owned());
    };
    let exact = plan.moved_share().unwrap_or(0.0) * (nodes + 1) as f64;
    if (moved - exact * share).abs() > 6.0 * (exact * share).sqrt() {
        return Err(format!(
            "{moved} keys moved, and the plan says {}",
            exact * share
        ));
    }
    Ok(exact)
}

/// How far off three nodes' keys are that should be as 1 to 2 to 7, in percent of what
/// they should be. Ours by its slots, without the chance that is in any number of keys.
pub(super) fn weights(rows: &mut Vec<Row>) -> Result<(), String> {
    let worst = |counts: [u64; 3]| {
        let all = counts.iter().sum::<u64>() as f64 / 10.0;
        let errors = counts.iter().zip(rivals::WEIGHTS);
        let errors = errors.map(|(&count, weight)| count as f64 / (all * weight as f64) - 1.0);
        errors.fold(0.0, |worst, error| error.abs().max(worst)) * 100.0
    };
    let of_keys = |node_of: &dyn Fn(u64) -> usize| {
        let mut counts = [0; 3];
        (0..WEIGHED).for_each(|key| counts[node_of(key)] += 1);
        worst(counts)
    };
    let chance = of_keys(&|key| {
        let tenth = (u128::from(key.stable_hash(0)) * 10) >> 64;
        usize::from(tenth > 0) + usize::from(tenth > 2)
    });
    let all = rivals::weighted().into_iter();
    let mut found: Vec<_> = all
        .map(|(name, placer)| (name.to_owned(), of_keys(&|key| placer.node(key))))
        .collect();
    let topology = rivals::weighted_topology();
    let mut slots = [0; 3];
    for (id, _) in topology.nodes() {
        slots[id.index()] = topology.slots_of(id) as u64;
    }
    let (ours, (_, by_keys)) = (worst(slots), found.remove(0));
    if by_keys > ours + 1.0 {
        return Err(format!("{by_keys} % off by keys, and {ours} % by slots"));
    }
    let mut context = everyone("not run: has no weights");
    context.retain(|(name, _)| !found.iter().any(|(peer, _)| peer == name));
    rows.push(Row {
        floor: Some(chance),
        goal: Some(1.0),
        context,
        ..row("weights 1:2:7".into(), "weight_error", "%", ours, found)
    });
    Ok(())
}

/// What chance alone makes of keys that are placed evenly.
fn noise(nodes: usize, keys: u64) -> f64 {
    let mut counts = vec![0_u64; nodes];
    for key in 0..keys {
        let node = (u128::from(key.stable_hash(0)) * nodes as u128) >> 64;
        counts[node as usize] += 1;
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    (most * nodes as u64) as f64 / keys as f64
}

/// So many keys that chance is a fifth of a percent of the lightest node.
const WEIGHED: u64 = 3_000_000;
