//! Any sequence of answers, faults, outcomes, leases and edits, in any order and at any time, to the core of a replica pool, against
//! what must hold after each.
//!
//! Bytes are decoded by hand, so that a byte means the same in every run and the corpus stays valid while more is added at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenfold::replica::RecoveryOrder;
use tenfold::replica::topology::{Authority, Promotion};

#[path = "../../tests/model/replica.rs"]
mod model;

use model::{Answer, Move, Run};

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.iter().copied();
    let Some(settings) = bytes.next() else {
        return;
    };
    let promotion = [
        Promotion::Observe,
        Promotion::Active(Authority::Lease),
        Promotion::Active(Authority::SoleController),
        Promotion::Active(Authority::SoleController),
    ][usize::from(settings % 4)];
    let order = if settings & 4 == 0 {
        RecoveryOrder::DataFirst
    } else {
        RecoveryOrder::AvailabilityFirst
    };
    let mut run = Run::new(promotion, order, settings & 8 != 0);
    while let Some(what) = next(&mut bytes) {
        run.make(what);
    }
});

fn next(bytes: &mut impl Iterator<Item = u8>) -> Option<Move> {
    let kind = bytes.next()?;
    let mut byte = || bytes.next();
    // One of five servers, and what is left of the byte.
    let server = |byte: u8| (byte % 5, byte / 5);
    Some(match kind % 24 {
        0..=4 => Move::Wait([1, 20, 100, 200, 500, 1000, 3000, 60_000][usize::from(byte()? % 8)]),
        5..=12 => {
            let (node, how) = server(byte()?);
            let (epoch, position) = (byte()?, byte()?);
            let answer = Answer {
                primary: how & 1 != 0,
                alien: how & 0b1111 == 0b1110,
                // Now and then far ahead.
                timeline: u64::from(epoch & 7) << if epoch >= 0xf0 { 40 } else { 0 },
                term: u64::from(epoch >> 3 & 3),
                position: u64::from(position),
                receiving: [None, Some(false), Some(true), Some(false)][usize::from(how >> 2 & 3)],
                fork: (epoch & 0x20 != 0).then_some(u64::from(position / 2)),
            };
            Move::Answer(node, how & 0b11_0000 != 0b11_0000, answer)
        }
        13 => Move::Miss(server(byte()?).0),
        14 => {
            let (node, how) = server(byte()?);
            Move::Fault(node, [0, 0, 0, 1, -1][usize::from(how % 5)], byte()? % 6)
        }
        15 => Move::Hurry(server(byte()?).0),
        16 => Move::Add(server(byte()?).0),
        17 => Move::Drain(server(byte()?).0),
        18 => Move::Remove(server(byte()?).0),
        19 => Move::Lease(u64::from(byte()? % 20), u64::from(byte()?) * 100),
        20 => Move::LeaseLost,
        _ => {
            let how = byte()?;
            let outcome = [None, Some(0), Some(1), Some(2), Some(3)][usize::from(how / 6 % 5)];
            Move::End(how % 6, outcome, u64::from(byte()?))
        }
    })
}
