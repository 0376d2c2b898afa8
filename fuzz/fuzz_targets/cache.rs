//! Any sequence of operations, under any configuration, against the naive model
//! of the property tests.
//!
//! Bytes are decoded by hand, so that a byte means the same operation in every
//! run and the corpus stays valid while operations are added at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenfold::cache::Policy;

#[path = "../../tests/model/mod.rs"]
mod model;

use model::{Config, Op};

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Bytes(bytes);
    let Some(config) = config(&mut bytes) else {
        return;
    };
    let mut ops = Vec::new();
    while let Some(op) = op(&mut bytes) {
        ops.push(op);
    }
    model::run(&config, &ops);
});

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }
}

fn config(bytes: &mut Bytes<'_>) -> Option<Config> {
    let policy = Policy::ALL[usize::from(bytes.next()?) % Policy::ALL.len()];
    let bounds = bytes.next()?;
    let entries = usize::from(bytes.next()?);
    let weight = u64::from(bytes.next()?);
    let (max_entries, max_weight) = match bounds % 3 {
        0 => (Some(entries), None),
        1 => (None, Some(weight)),
        _ => (Some(entries), Some(weight)),
    };
    let seconds = |byte: u8| (byte != 0).then_some(byte % 16 + 1);
    let (time_to_live, time_to_idle) = (seconds(bytes.next()?), seconds(bytes.next()?));
    // The exact policies are exact over one shard.
    let shards = match policy {
        Policy::Adaptive => 1 << (bytes.next()? % 4),
        _ => 1,
    };
    Some(Config {
        policy,
        max_entries,
        max_weight,
        time_to_live,
        time_to_idle,
        shards,
    })
}

fn op(bytes: &mut Bytes<'_>) -> Option<Op> {
    let kind = bytes.next()?;
    let argument = bytes.next()?;
    // A value's weight and divisors are what matters of it.
    let mut value = || bytes.next().map(|byte| u16::from(byte) * 257 % 1009);
    Some(match kind % 28 {
        0 | 1 => Op::Get(argument),
        2 => Op::GetRef(argument),
        3 => Op::Peek(argument),
        4 => Op::Contains(argument),
        5 | 6 => Op::Insert(argument, value()?),
        7 => Op::TryInsert(argument, value()?),
        8 => Op::InsertFor(argument, value()?, bytes.next()?),
        9 => Op::InsertUntil(argument, value()?, bytes.next()?),
        10 => Op::InsertIfAbsent(argument, value()?),
        11 => Op::Load(argument, value()?),
        12 => Op::FailToLoad(argument),
        13 => Op::Upsert(argument, value()?),
        14 => Op::ComputeRemoval(argument),
        15 => Op::ComputeNothing(argument),
        16 => Op::Remove(argument),
        17 => Op::RemoveEntry(argument),
        18 => Op::Invalidate(argument),
        19 => Op::InvalidateAll,
        20 => Op::Drain,
        21 => Op::RetainMultiplesOf(argument.into()),
        22 => Op::InvalidateMultiplesOf(argument.into()),
        23 => Op::Advance(argument),
        24 => Op::PurgeExpired,
        25 => Op::Lease(argument, value()?),
        26 => Op::LeaseTooLate(argument, value()?),
        _ if argument < 128 => Op::Resize(argument),
        _ => Op::ResizeWeight(argument - 128),
    })
}
