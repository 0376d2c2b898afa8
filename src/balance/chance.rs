//! Turns and dice, without a locked instruction.
//!
//! Every thread counts its picks in a stripe that it shares with few others. The count is the
//! turn of a round robin, and hashed it is a random number. Two threads that count at the same
//! moment may get the same number: both picks are as good as any.

use std::array;

use crate::rng::mix;
use crate::stats::{STRIPES, stripe};
use crate::sync::atomic::{AtomicU64, Ordering};

pub(super) struct Chance {
    seed: u64,
    stripes: [Stripe; STRIPES],
    /// One less than how many stripes are used: one only, if the order shall be foretold.
    mask: usize,
}

#[repr(align(64))]
struct Stripe {
    turn: AtomicU64,
    /// Where this stripe began, so that threads do not go round in step.
    first: u64,
}

impl Chance {
    /// Foretold if there is a seed: then all threads share one stripe.
    pub(super) fn new(seed: Option<u64>) -> Self {
        let start = |stripe: usize| match (seed, stripe) {
            (Some(_), 0) => 0,
            _ => mix(stripe as u64 + 1) >> 40,
        };
        Self {
            seed: mix(seed.unwrap_or(DEFAULT_SEED)),
            stripes: array::from_fn(|stripe| Stripe {
                turn: AtomicU64::new(start(stripe)),
                first: start(stripe),
            }),
            mask: if seed.is_some() { 0 } else { STRIPES - 1 },
        }
    }

    /// This thread's next turn.
    #[inline]
    pub(super) fn turn(&self) -> u64 {
        let turn = &self.stripes[stripe() & self.mask].turn;
        let now = turn.load(Ordering::Relaxed);
        turn.store(now.wrapping_add(1), Ordering::Relaxed);
        now
    }

    /// The random number of a turn.
    #[inline]
    pub(super) fn random(&self, turn: u64) -> u64 {
        mix(turn.wrapping_mul(GOLDEN).wrapping_add(self.seed))
    }

    /// How many turns were taken, but for those taken at the same moment by threads that share
    /// a stripe.
    pub(super) fn turns(&self) -> u64 {
        let taken = |stripe: &Stripe| {
            let turn = stripe.turn.load(Ordering::Relaxed);
            turn.wrapping_sub(stripe.first)
        };
        self.stripes.iter().map(taken).fold(0, u64::wrapping_add)
    }
}

/// Two to the 64th over the golden ratio, made odd: multiples of it, cut to any number of high bits,
/// fall evenly into whatever they are divided into.
pub(super) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const DEFAULT_SEED: u64 = 0x7465_6e66_6f6c_6421;
