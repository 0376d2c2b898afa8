//! What a cache tells its estimate, and how often: at most so much that it
//! stays below a nanosecond per look-up.

use super::MissRatioCurve;
use super::pace::Pace;
use super::sample::{Sample, Use};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The estimate of one cache, behind a lock of its own that is taken for
/// sampled keys only and never together with a shard's.
pub(in crate::cache) struct Watch {
    /// Marks below it are to be noted. Written under the lock.
    below: AtomicU64,
    state: Mutex<State>,
}

struct State {
    sample: Sample,
    pace: Pace,
    /// Per shard, what it had counted when it was last heard of.
    shards: Box<[Heard]>,
    /// Look-ups of all shards, as far as heard of.
    lookups: u64,
    /// Keys that were stored unasked, as far as the sample tells.
    stored: f64,
    /// Those look-ups since the last pause that could have been sampled.
    watched: u64,
    /// How long the last pause was, in look-ups, when it ended, and when the
    /// present one began.
    pause: u64,
    resumed: u64,
    paused: u64,
    /// While paused: the marks that still beat, to find out when it is over.
    beat: Option<u64>,
    /// How often they did since when, in look-ups.
    beats: u64,
    beating: u64,
}

#[derive(Clone, Copy, Default)]
struct Heard {
    lookups: u64,
    /// It has not been heard of since the last pause, so what it has counted
    /// meanwhile was not watched.
    silent: bool,
}

impl Watch {
    pub(in crate::cache) fn new(shards: usize) -> Self {
        let sample = Sample::new(SAMPLED_KEYS);
        Self {
            below: AtomicU64::new(sample.threshold()),
            state: Mutex::new(State {
                sample,
                pace: Pace::new(),
                shards: vec![Heard::default(); shards].into(),
                lookups: 0,
                stored: 0.0,
                watched: 0,
                pause: 0,
                resumed: 0,
                paused: 0,
                beat: None,
                beats: 0,
                beating: 0,
            }),
        }
    }

    /// Marks below it are to be noted.
    #[inline]
    pub(in crate::cache) fn below(&self) -> u64 {
        self.below.load(Ordering::Relaxed)
    }

    /// Notes what happened to a key in this shard, which has counted so many
    /// look-ups.
    pub(in crate::cache) fn note(&self, mark: u64, what: Use, shard: usize, lookups: u64) {
        let mut state = self.state.lock();
        state.hear(shard, lookups);
        if state.beat.is_some() {
            state.beat();
        }
        if state.beat.is_none() && mark < state.sample.threshold() {
            if state.sample.note(mark, what) && what == Use::Insert {
                state.stored += 1.0 / state.sample.rate();
            }
            state.keep_pace();
        }
        self.below.store(state.below(), Ordering::Relaxed);
    }

    /// Every key has left the cache.
    pub(in crate::cache) fn forget_keys(&self) {
        self.state.lock().sample.forget_keys();
    }

    /// The curve, after each shard has told what it has counted.
    pub(in crate::cache) fn curve(&self, lookups: impl Iterator<Item = u64>) -> MissRatioCurve {
        let lookups: Vec<u64> = lookups.collect();
        let mut state = self.state.lock();
        for (shard, &lookups) in lookups.iter().enumerate() {
            state.hear(shard, lookups);
        }
        if state.beat.is_some() {
            state.beat();
        }
        self.below.store(state.below(), Ordering::Relaxed);
        // What the sample stands for is an estimate; how many there were is known.
        state
            .sample
            .curve(state.watched as f64, state.times())
            .with_references(state.references())
    }
}

impl State {
    fn below(&self) -> u64 {
        self.beat.unwrap_or(self.sample.threshold())
    }

    fn hear(&mut self, shard: usize, lookups: u64) {
        let heard = &mut self.shards[shard];
        // Those that come late tell of less than is known.
        let more = lookups.saturating_sub(heard.lookups);
        heard.lookups += more;
        self.lookups += more;
        if self.beat.is_none() && !heard.silent {
            self.watched += more;
        }
        heard.silent = self.beat.is_some();
    }

    fn references(&self) -> u64 {
        self.lookups + self.stored as u64
    }

    /// Samples less if it costs too much: fewer keys, or if there are few
    /// already, nothing for a while.
    fn keep_pace(&mut self) {
        let recorded = self.sample.recorded();
        if !self.pace.is_due(recorded) || Pace::allows(recorded, self.references()) {
            return;
        }
        if self.sample.keys() > FEW_KEYS {
            self.sample.thin();
            return;
        }
        self.pace.pause(recorded, self.sample.keys());
        self.paused = self.lookups;
        for shard in &mut self.shards {
            shard.silent = true;
        }
        // A few of the keys, at least one.
        let lowest = self.sample.lowest().map_or(0, |mark| mark + 1);
        self.beat = Some((self.sample.threshold() / BEATING).max(lowest));
        self.beats = 0;
        self.beating = self.lookups;
    }

    /// For how many look-ups each stands that was made since the last pause: for
    /// half of the pause before and half of the one after, too.
    fn times(&self) -> f64 {
        let (end, after) = match self.beat {
            Some(_) => (self.paused, self.lookups - self.paused),
            None => (self.lookups, 0),
        };
        let seen = (end - self.resumed).max(1) as f64;
        (seen + (self.pause + after) as f64 / 2.0) / seen
    }

    /// During a pause: looks whether it is over.
    fn beat(&mut self) {
        if self.pace.is_over(self.references()) {
            let times = self.times();
            self.sample.leave_gap(self.watched as f64, times);
            self.beat = None;
            self.watched = 0;
            self.pause = self.lookups - self.paused;
            self.resumed = self.lookups;
            return;
        }
        // Popular keys are no good for it.
        self.beats += 1;
        if self.beats == BEATS {
            if self.lookups - self.beating < BEATS * RARELY {
                self.beat = self.beat.map(|beat| beat / 2);
            }
            self.beats = 0;
            self.beating = self.lookups;
        }
    }
}

/// At most this many keys are followed.
const SAMPLED_KEYS: usize = 14_336;

/// With fewer keys, chance would decide.
const FEW_KEYS: usize = 1024;

/// During a pause one sampled key in so many is listened to …
const BEATING: u64 = 8;

/// … and fewer, if of so many times …
const BEATS: u64 = 16;

/// … more than one came per so many look-ups.
const RARELY: u64 = 64;
