//! Any sequence of what callers do with a queue, of openings, kills and power cuts,
//! against the naive model of the property tests.
//!
//! Bytes are decoded by hand, so that a byte means the same operation in every run and
//! the corpus stays valid while operations are added at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/queue/mod.rs"]
mod model;

use model::Op;

/// What a run takes grows with the square of its length, as all is compared after each
/// operation.
const MOST: usize = 300;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.iter().copied();
    let (Some(seed), Some(keeps)) = (bytes.next(), bytes.next()) else {
        return;
    };
    let mut ops = Vec::new();
    while ops.len() < MOST
        && let Some(op) = op(&mut bytes)
    {
        ops.push(op);
    }
    model::run(u64::from(seed), keeps & 1 == 1, &ops);
});

fn op(bytes: &mut impl Iterator<Item = u8>) -> Option<Op> {
    let (kind, mut next) = (bytes.next()?, || bytes.next());
    Some(match kind % 32 {
        0..=4 => Op::Publish(next()?, next()?, next()?),
        5..=8 => Op::Recv(next()?, next()?),
        9 | 10 => Op::Ack(next()?),
        11 => Op::AckDurable(next()?),
        12 => Op::AckAll(next()?),
        13 => Op::Nack(next()?),
        14 => Op::NackIn(next()?, next()? % 5),
        15 => Op::Reject(next()?),
        16 => Op::Extend(next()?, next()? % 30),
        17 => Op::Drop(next()?),
        18 => Op::Group(next()?, next()?),
        19 => Op::Replay(next()?, next()?),
        20 => Op::RemoveGroup(next()?),
        21 => Op::Redrive(next()?),
        22 => Op::RemoveDead(next()?),
        23 => Op::Checkpoint,
        24 => Op::Flush,
        25 => Op::Close,
        26 | 27 => Op::Kill,
        28 => Op::PowerCut,
        _ => Op::Advance(next()? % 12),
    })
}
