//! Any sequence of loads, failures, timeouts and changes through the
//! read-through layer, under any configuration, against the naive model of the
//! property tests.
//!
//! Bytes are decoded by hand, so that a byte means the same operation in every
//! run and the corpus stays valid while operations are added at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/read_through.rs"]
mod model;

use model::{Config, KEYS, Op, Reply, Script, TAGS};

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
    let flags = bytes.next()?;
    let mut seconds = |longest: u8| Some(bytes.next()? % longest);
    let some = |seconds: u8| (seconds != 0).then_some(seconds);
    Some(Config {
        time_to_live: some(seconds(20)?),
        negative_ttl: some(seconds(10)?),
        max_stale: some(seconds(30)?),
        throttle: seconds(10)? + 1,
        keep_stale: some(seconds(30)?),
        refreshes_ahead: flags & 1 != 0,
        soft_timeout: flags & 2 != 0,
        hard_timeout: flags & 4 != 0,
        loads_many: flags & 8 != 0,
    })
}

fn op(bytes: &mut Bytes<'_>) -> Option<Op> {
    let kind = bytes.next()?;
    let argument = bytes.next()?;
    let key = argument % KEYS;
    Some(match kind % 20 {
        0..=4 => {
            let script = match argument / KEYS % 4 {
                0 => Script::Slow,
                _ => Script::Now(reply(bytes)?),
            };
            Op::Get(key, script)
        }
        5 | 6 => Op::GetWhileFinishing(key, reply(bytes)?),
        7 => Op::GetMany(argument, reply(bytes)?),
        8 | 9 => Op::Finish(key, reply(bytes)?),
        10 => {
            let details = bytes.next()?;
            Op::Insert(key, time_to_live(details), tag(details))
        }
        11 => Op::InsertAbsent(key),
        12 => Op::Invalidate(key),
        13 => Op::Expire(key),
        14 => Op::InvalidateTag(argument % TAGS),
        15 => match argument % 3 {
            0 => Op::ClearExpire,
            1 => Op::ClearRemove,
            _ => Op::DropTasks,
        },
        _ => Op::Advance(argument % 15),
    })
}

fn reply(bytes: &mut Bytes<'_>) -> Option<Reply> {
    let byte = bytes.next()?;
    Some(match byte % 8 {
        0..=3 => {
            let details = byte / 8;
            Reply::Value {
                ttl: time_to_live(details),
                tag: tag(details),
            }
        }
        4 => Reply::Absent,
        5 => Reply::NotModified,
        _ => Reply::Fail,
    })
}

/// The low bits say which tag, the others how long.
fn tag(details: u8) -> Option<u8> {
    let tag = details % (TAGS + 1);
    (tag < TAGS).then_some(tag)
}

fn time_to_live(details: u8) -> Option<u8> {
    let seconds = details / (TAGS + 1) % 16;
    (seconds < 8).then_some(seconds * 2)
}
