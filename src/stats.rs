//! Counters that many threads may bump without slowing each other.
//!
//! A counter is striped: each thread adds to a stripe of its own choosing, a
//! cache line apart from the others, and reading sums the stripes up.

use std::cell::Cell;

use crate::sync::atomic::{AtomicU64, Ordering};

/// Enough that two threads rarely meet, few enough that a sum is quick.
pub(crate) const STRIPES: usize = 8;

/// A group of `N` counters that are usually bumped together.
#[derive(Debug)]
#[allow(dead_code, reason = "not every block counts on every call")]
pub(crate) struct Counters<const N: usize>([Stripe<N>; STRIPES]);

#[derive(Debug)]
#[repr(align(128))]
struct Stripe<const N: usize>([AtomicU64; N]);

#[allow(dead_code, reason = "as above")]
impl<const N: usize> Counters<N> {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| {
            Stripe(std::array::from_fn(|_| AtomicU64::new(0)))
        }))
    }

    pub(crate) fn add(&self, counter: usize, amount: u64) {
        self.0[stripe()].0[counter].fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, counter: usize) -> u64 {
        self.0
            .iter()
            .map(|stripe| stripe.0[counter].load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

/// This thread's stripe, below [`STRIPES`]; threads take turns.
#[inline]
pub(crate) fn stripe() -> usize {
    thread_local! {
        static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    STRIPE.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % STRIPES);
        }
        own.get()
    })
}

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_threads() {
        let counters = Counters::<2>::new();
        std::thread::scope(|scope| {
            for _ in 0..STRIPES + 2 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counters.add(0, 1);
                        counters.add(1, 2);
                    }
                });
            }
        });
        assert_eq!(counters.get(0), 10_000);
        assert_eq!(counters.get(1), 20_000);
    }
}
