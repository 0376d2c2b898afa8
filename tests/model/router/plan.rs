use std::collections::{BTreeMap, BTreeSet};

use tenfold::router::{Move, Policy, Span};

use super::version::Version;
use super::{first_hash, hash_of};

/// Makes the plan again, by looking at every slot.
pub(super) fn check(old: &Version, new: &Version) {
    let kind = |version: &Version| match version.model.policy {
        Policy::RedisCluster(_) => "redis",
        Policy::Ketama(tenfold::router::placement::Ketama::Nginx) => "crc",
        Policy::Ketama(_) => "md5",
        Policy::Range(_) => "ranges",
        _ => "slots",
    };
    let plan = old.topology.plan(&new.topology);
    let Ok(plan) = plan else {
        assert_ne!(kind(old), kind(new), "{plan:?}");
        return;
    };
    assert_eq!(kind(old), kind(new));
    assert_eq!(plan.from_epoch(), old.topology.epoch());
    assert_eq!(plan.to_epoch(), new.topology.epoch());
    match kind(old) {
        "slots" => assert_eq!(found(plan.moves(), false), expected(old, new, first_hash)),
        "redis" => assert_eq!(
            found(plan.moves(), true),
            expected(old, new, |slot, _| slot as u64)
        ),
        _ => {}
    }
    for key in 0..64 {
        check_key(plan.moves(), key, old, new);
    }
    let Some((moved, least)) = plan.moved_share().zip(plan.lower_bound()) else {
        return assert_eq!(kind(old), "ranges");
    };
    let shares: f64 = plan.moves().iter().filter_map(Move::share).sum();
    assert!((moved - shares).abs() < 1e-9, "{moved}, {shares}");
    // What a node has less than it had, or more, it must at least give or take.
    let mut balance: BTreeMap<&str, f64> = BTreeMap::new();
    for part in plan.moves() {
        *balance.entry(part.from()).or_default() += part.share().unwrap();
        *balance.entry(part.to()).or_default() -= part.share().unwrap();
    }
    let given: f64 = balance.values().map(|share| share.max(0.0)).sum();
    assert!((least - given).abs() < 1e-9, "{least}, {given}");
    assert!(least <= moved);
}

type Part = (u64, Option<u64>, String, String);

/// The moves of a plan: where each begins and where it ends, if not with the last.
fn found(moves: &[Move], of_redis: bool) -> Vec<Part> {
    let part = |part: &Move| {
        let (range, end) = match part.span() {
            Span::Hashes(range) if !of_redis => (range, range.end().checked_add(1)),
            Span::RedisSlots(range) if of_redis => {
                (range, Some(range.end() + 1).filter(|end| *end < 16_384))
            }
            other => panic!("{other} has no place here"),
        };
        let names = (part.from().to_owned(), part.to().to_owned());
        (*range.start(), end, names.0, names.1)
    };
    moves.iter().map(part).collect()
}

/// The moves as they should be: between any two places where a slot begins, the
/// owner before and the owner after.
fn expected(old: &Version, new: &Version, first: fn(usize, usize) -> u64) -> Vec<Part> {
    let starts = |version: &Version| -> Vec<u64> {
        let slots = version.owners.len();
        (0..slots).map(|slot| first(slot, slots)).collect()
    };
    let (old_starts, new_starts) = (starts(old), starts(new));
    let all: BTreeSet<u64> = old_starts.iter().chain(&new_starts).copied().collect();
    let owner = |version: &Version, starts: &[u64], at: u64| {
        let slot = starts.partition_point(|start| *start <= at) - 1;
        version
            .topology
            .name(version.owners[slot])
            .unwrap()
            .to_owned()
    };
    let mut parts: Vec<Part> = Vec::new();
    let ends = all.iter().skip(1).map(|end| Some(*end)).chain([None]);
    for (&start, end) in all.iter().zip(ends) {
        let (from, to) = (
            owner(old, &old_starts, start),
            owner(new, &new_starts, start),
        );
        if from == to {
            continue;
        }
        match parts.last_mut() {
            Some(last) if last.1 == Some(start) && last.2 == from && last.3 == to => last.1 = end,
            _ => parts.push((start, end, from, to)),
        }
    }
    parts
}

/// One key moves as the plan says.
fn check_key(moves: &[Move], key: u64, old: &Version, new: &Version) {
    let name = |version: &Version| {
        let id = version.topology.route(key);
        version.topology.name(id).unwrap().to_owned()
    };
    let (before, after) = (name(old), name(new));
    let within = |part: &&Move| match part.span() {
        Span::Hashes(range) => range.contains(&hash_of(key)),
        Span::RedisSlots(range) => range.contains(&u64::from(new.topology.slot_of(key).unwrap())),
        Span::RingHashes(range) => {
            let Policy::Ketama(flavour) = new.topology.policy() else {
                panic!("only a ring has points");
            };
            range.contains(&u64::from(flavour.hash(&key.to_le_bytes())))
        }
        Span::Keys { from, to } => {
            let key = key.to_be_bytes();
            **from <= key[..] && to.as_ref().is_none_or(|to| key[..] < **to)
        }
        other => panic!("the model does not know {other}"),
    };
    let parts: Vec<_> = moves.iter().filter(within).collect();
    match parts[..] {
        [] => assert_eq!(before, after),
        [part] => {
            assert_ne!(before, after);
            assert_eq!((part.from(), part.to()), (&*before, &*after));
        }
        _ => panic!("two moves of one key"),
    }
}
