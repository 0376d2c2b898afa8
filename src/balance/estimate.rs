//! What is known of one member: how long it takes, and how often it fails.
//!
//! Everything here is read by picks and written by releases without a lock and without a
//! read-modify-write: of two samples that come at the same moment one may be lost, which
//! harms no average.

use super::settings::Ejection;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Whether a member is one of those that picks choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It is not healthy, or was removed.
    Out,
    /// It is healthy, and the levels before its own suffice.
    Spare,
    /// It is.
    Chosen,
}

/// What picks compare. Floats lie as bits; latencies are in nanoseconds.
#[derive(Default)]
pub(super) struct Pulse {
    latency: AtomicU32,
    /// One over the weight, ramp included, so that a pick multiplies.
    scale: AtomicU32,
    /// The share of late requests that succeeded.
    success: AtomicU32,
    /// How many of them the share stands for, up to a limit; and how many failed in a row.
    seen: AtomicU32,
    failed_in_a_row: AtomicU32,
    /// Not zero if it failed lately, or little is known of it: successes are counted.
    troubled: AtomicU32,
    /// A [`Standing`], for picks that do not go by the table.
    standing: AtomicU32,
    /// How many requests it had, when it last said so, that are not ours.
    others: AtomicU32,
    /// When the latency was last written: for the peak-EWMA alone, which decays between samples.
    touched: AtomicU64,
}

impl Pulse {
    /// Forgets what was known of the member that lay here before.
    pub(super) fn reset(&self, latency: f32) {
        store(&self.latency, latency);
        store(&self.others, 0.0);
        self.forgive();
        self.touched.store(0, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn latency(&self) -> f32 {
        load(&self.latency)
    }

    pub(super) fn set_latency(&self, latency: f32) {
        store(&self.latency, latency);
    }

    #[inline]
    pub(super) fn scale(&self) -> f32 {
        load(&self.scale)
    }

    pub(super) fn set_weight(&self, weight: f32) {
        store(&self.scale, 1.0 / weight);
    }

    pub(super) fn success(&self) -> f32 {
        load(&self.success)
    }

    #[inline]
    pub(super) fn is_chosen(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == CHOSEN
    }

    pub(super) fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Relaxed) {
            CHOSEN => Standing::Chosen,
            SPARE => Standing::Spare,
            _ => Standing::Out,
        }
    }

    pub(super) fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u32, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn others(&self) -> f32 {
        load(&self.others)
    }

    pub(super) fn set_others(&self, requests: f32) {
        store(&self.others, requests);
    }

    /// Whether successes are to be counted: one look is enough for a member that has not failed for long.
    #[inline]
    pub(super) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed) != 0
    }

    /// A success.
    pub(super) fn succeeded(&self) {
        if self.is_troubled() {
            self.recovers();
        }
    }

    /// The row of failures is over, and the rate goes up. A failure at the same moment that is
    /// overlooked here shows itself with the next one.
    fn recovers(&self) {
        self.failed_in_a_row.store(0, Ordering::Relaxed);
        self.note(self.success(), 1.0);
        if self.success() > NEAR_ONE {
            store(&self.success, 1.0);
            let known = self.seen.load(Ordering::Relaxed) >= MEMORY;
            self.troubled.store(u32::from(!known), Ordering::Relaxed);
        }
    }

    /// A failure. Answers whether the member has failed often enough to be ejected.
    pub(super) fn failed(&self, ejection: Option<&Ejection>) -> bool {
        let row = self
            .failed_in_a_row
            .load(Ordering::Relaxed)
            .saturating_add(1);
        self.failed_in_a_row.store(row, Ordering::Relaxed);
        self.note(self.success(), 0.0);
        self.troubled.store(1, Ordering::Relaxed);
        ejection.is_some_and(|ejection| {
            let known = self.seen.load(Ordering::Relaxed) >= MEMORY;
            row >= ejection.consecutive || (known && self.success() < ejection.success_rate)
        })
    }

    /// After an ejection the member has one chance: its first failure ejects it again.
    pub(super) fn put_on_probation(&self, ejection: &Ejection) {
        self.forgive();
        let row = ejection.consecutive.saturating_sub(1);
        self.failed_in_a_row.store(row, Ordering::Relaxed);
    }

    /// The failures so far shall not count any more.
    pub(super) fn forgive(&self) {
        self.failed_in_a_row.store(0, Ordering::Relaxed);
        store(&self.success, 1.0);
        self.seen.store(0, Ordering::Relaxed);
        self.troubled.store(1, Ordering::Relaxed);
    }

    fn note(&self, success: f32, outcome: f32) {
        let seen = (self.seen.load(Ordering::Relaxed) + 1).min(MEMORY);
        self.seen.store(seen, Ordering::Relaxed);
        store(&self.success, success + (outcome - success) / seen as f32);
    }

    /// One more latency, for the adaptive policy: a spike counts half, anything else a little.
    #[inline]
    pub(super) fn took(&self, nanos: f32) {
        let latency = self.latency();
        let share = if nanos > SPIKE * latency { UP } else { DOWN };
        store(&self.latency, latency + (nanos - latency) * share);
    }

    /// The request took at least this long; nobody knows how long it would have.
    pub(super) fn took_at_least(&self, nanos: f32) {
        if nanos > self.latency() {
            self.took(nanos);
        }
    }

    /// Without news the estimate goes back to a little less than what the pool takes, so that a
    /// member that was slow is tried again, and one that was quick is not trusted for ever.
    pub(super) fn fade(&self, pool: f32, nanos: f32) {
        let latency = self.latency();
        let share = nanos / (nanos + FORGET);
        store(&self.latency, latency + (HOPE * pool - latency) * share);
        let others = self.others();
        if others > 0.0 {
            let kept = others * LAPSE / (nanos + LAPSE);
            store(&self.others, if kept < 0.5 { 0.0 } else { kept });
        }
    }

    /// The peak-EWMA's estimate at a moment: it decays to nothing while there is no news.
    #[inline]
    pub(super) fn peak(&self, now: u64) -> f32 {
        let idle = now.saturating_sub(self.touched.load(Ordering::Relaxed)) as f32;
        self.latency() * (-idle / PEAK_DECAY).exp()
    }

    /// One more latency, for the peak-EWMA: a peak is taken whole.
    pub(super) fn took_peak(&self, nanos: f32, now: u64) {
        let touched = self.touched.swap(now, Ordering::Relaxed);
        let latency = self.latency();
        let latency = if nanos > latency {
            nanos
        } else {
            let kept = (-(now.saturating_sub(touched) as f32) / PEAK_DECAY).exp();
            nanos + (latency - nanos) * kept
        };
        store(&self.latency, latency);
    }
}

#[inline]
fn load(bits: &AtomicU32) -> f32 {
    f32::from_bits(bits.load(Ordering::Relaxed))
}

#[inline]
fn store(bits: &AtomicU32, value: f32) {
    bits.store(value.to_bits(), Ordering::Relaxed);
}

const SPARE: u32 = Standing::Spare as u32;
const CHOSEN: u32 = Standing::Chosen as u32;
/// What a member is taken for of which nothing is known, in a pool of which nothing is known.
pub(super) const PRIOR: f32 = 1e6;
/// A failure counts as so many times what the pool takes.
pub(super) const PENALTY: f32 = 50.0;
/// So much above the estimate is a spike.
const SPIKE: f32 = 2.0;
const UP: f32 = 0.5;
const DOWN: f32 = 0.1;
/// How long the adaptive estimate remembers without news.
const FORGET: f32 = 3e9;
/// How long what a member said of its load is remembered.
const LAPSE: f32 = 1e9;
/// What a member of which there is no news is taken for, compared with the pool. At one, a client
/// that sends one request after the other would never try again who was slow once.
const HOPE: f32 = 0.8;
/// The time constant of the peak-EWMA, which is Finagle's and tower's.
const PEAK_DECAY: f32 = 10e9;
/// A rate above this is taken for one, which it would come closer and closer to.
const NEAR_ONE: f32 = 0.999;
/// How many requests the success rate looks back.
const MEMORY: u32 = 32;
