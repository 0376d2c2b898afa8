//! Any sequence of edits, plans, roll-backs, swaps and look-ups against the naive
//! model of the property tests.
//!
//! Bytes are decoded by hand, so that a byte means the same operation in every
//! run and the corpus stays valid while operations are added at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/router/mod.rs"]
mod model;

use model::Op;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.iter().copied();
    let mut ops = Vec::new();
    while let Some(op) = op(&mut bytes) {
        ops.push(op);
    }
    model::run(&ops);
});

fn op(bytes: &mut impl Iterator<Item = u8>) -> Option<Op> {
    let (kind, mut next) = (bytes.next()?, || bytes.next());
    Some(match kind % 20 {
        0..=2 => Op::Add(next()?, next()?, next()?),
        3 => Op::Update(next()?, next()?, next()?),
        4 | 5 => Op::Remove(next()?),
        6 => Op::Policy(next()?),
        7 => Op::Double,
        8 => Op::Copies(next()?),
        9 => Op::Spread(next()?),
        10..=12 => Op::Build,
        13 | 14 => Op::Swap(next()?),
        15 => Op::RollBack(next()?),
        16 => Op::Look(next()?, u16::from_le_bytes([next()?, next()?])),
        17 => Op::Many(next()?),
        18 => Op::Bounded(next()?, next()?),
        _ => Op::Plan(next()?, next()?),
    })
}
