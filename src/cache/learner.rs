//! What the default policy learns, and how.
//!
//! Kept per class of entries and age: how many entries were seen there (their
//! *exposure*, in entries times time) and how many were used there. Their
//! quotient is the rate at which such entries are used. Both are forgotten
//! slowly, so that a change of the traffic shows.
//!
//! The *worth* of an entry of class c and age a is the best ratio of hits to
//! room that keeping it can bring: over all ages b beyond a, the probability of
//! a use before b, divided by the time spent waiting until then,
//!
//! ```text
//! worth(c, a) = max over b of  P(used between a and b) / E(time kept until used or b)
//! ```
//!
//! the Gittins index of the waiting entry. A use is worth more than one hit: it
//! leaves an entry in a better class. That surplus, over what the room would
//! have brought otherwise (the worth of what is being evicted), is added to
//! each use.
//!
//! While little has been seen of a class, it is taken to be like all classes
//! together, better the more often it was used; while little has been seen at
//! all, rates fall with age, which is LRU.

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, Ordering};

/// Classes of entries: four steps of frequency times four of the last age.
pub(super) const CLASSES: usize = 16;
/// Bins of age, half octaves of a 128th of the cache's turnover.
pub(super) const AGES: usize = 26;
/// Rows of ranks are padded, so that an index is a shift.
const ROW: usize = 32;

/// Above every rank: nobody is there.
pub(super) const NO_RANK: u8 = u8::MAX;

/// How much weight the guess has against what was seen.
const PRIOR: f32 = 20.0;
/// The part of the guess for a class that comes from all classes together.
const POOLED: f32 = 0.2;
/// Each step of frequency is guessed to be used twice as often.
const PER_FREQUENCY: [f32; 4] = [0.5, 1.0, 2.0, 4.0];
/// What was seen is forgotten at the rate of one part in e per so many
/// turnovers of the cache …
const MEMORY: f32 = 5.0;
/// … but not faster than per so many insertions.
const LEAST_MEMORY: f32 = 5000.0;
/// The ranks are drawn up anew after this part of a turnover …
const LESSON: f32 = 0.125;
/// … but not more often than after so many insertions.
const LEAST_LESSON: f32 = 256.0;

type Lanes = [f32; CLASSES];

/// How soon each kind of entry should go: the logarithm of its worth, so that a
/// byte is enough. Lower goes first.
#[derive(Clone)]
pub(super) struct Ranks(Box<[u8; CLASSES * ROW]>);

impl Ranks {
    /// Added to a place, gives one of [`NO_RANK`]: the last of a row.
    pub(super) const NOBODY: u16 = ROW as u16 - 1;

    /// Where the rank of a class (the lower half of a byte) and a bin of age
    /// stands.
    #[inline]
    pub(super) fn place(class: u8, age: u16) -> u16 {
        u16::from(class & 15) << 5 | age
    }

    #[inline]
    pub(super) fn of(&self, place: u16) -> u8 {
        // The mask tells the compiler that the place is in range.
        self.0[usize::from(place) & (CLASSES * ROW - 1)]
    }

    /// The ranks at these places.
    #[inline]
    pub(super) fn at<const N: usize>(&self, places: &[u16; N]) -> [u8; N] {
        let mut ranks = [0; N];
        for (rank, &place) in ranks.iter_mut().zip(places) {
            *rank = self.of(place);
        }
        ranks
    }
}

/// The ranks that the studying shard has drawn up, for all shards to copy.
pub(super) struct Lessons {
    /// Bumped after each change.
    taught: AtomicU32,
    ranks: Mutex<Ranks>,
}

impl Lessons {
    pub(super) fn new() -> Self {
        Self {
            taught: AtomicU32::new(0),
            ranks: Mutex::new(Learner::new().ranks()),
        }
    }

    pub(super) fn teach(&self, ranks: Ranks) {
        *self.ranks.lock() = ranks;
        self.taught.fetch_add(1, Ordering::Release);
    }

    pub(super) fn read(&self) -> (u32, Ranks) {
        let taught = self.taught.load(Ordering::Acquire);
        (taught, self.ranks.lock().clone())
    }

    /// The ranks, if they have changed since they were read as number `known`.
    #[inline]
    pub(super) fn read_newer(&self, known: u32) -> Option<(u32, Ranks)> {
        (self.taught.load(Ordering::Relaxed) != known).then(|| self.read())
    }
}

/// Counts what happens in one shard and draws conclusions.
pub(super) struct Learner {
    /// Uses per age and class.
    uses: [Lanes; AGES],
    /// Entries seen, times the time until they are looked at again, in
    /// turnovers of the shard.
    exposure: [Lanes; AGES],
    /// Worth per age and class, as last computed.
    worth: [Lanes; AGES],
    /// The worth of what is being evicted: the price of room.
    price: f32,
    /// Entries the shard holds when full.
    entries: f32,
    since_lesson: f32,
}

impl Learner {
    pub(super) fn new() -> Self {
        Self {
            uses: [[0.0; CLASSES]; AGES],
            exposure: [[0.0; CLASSES]; AGES],
            worth: [[0.0; CLASSES]; AGES],
            price: 0.0,
            entries: 1.0,
            since_lesson: 0.0,
        }
    }

    /// The shard now holds so many entries.
    pub(super) fn serve(&mut self, entries: usize) {
        self.entries = entries as f32;
    }

    /// An entry of this class was used at this age.
    #[inline]
    pub(super) fn used(&mut self, class: u8, age: u16) {
        self.uses[usize::from(age)][usize::from(class)] += 1.0;
    }

    /// An entry of this class and age was seen, which stands for so much
    /// waiting.
    #[inline]
    pub(super) fn saw(&mut self, class: u8, age: u16, waiting: f32) {
        self.exposure[usize::from(age)][usize::from(class)] += waiting;
    }

    /// An entry of this class and age was evicted.
    #[inline]
    pub(super) fn evicted(&mut self, class: u8, age: u16) {
        let worth = self.worth[usize::from(age)][usize::from(class)];
        self.price += (worth - self.price) * 0.01;
    }

    /// An entry was inserted; gives new ranks when it is time for them.
    pub(super) fn inserted(&mut self) -> Option<Ranks> {
        self.since_lesson += 1.0;
        if self.since_lesson < (LESSON * self.entries).max(LEAST_LESSON) {
            return None;
        }
        let ranks = self.ranks();
        let keep = (-self.since_lesson / (MEMORY * self.entries).max(LEAST_MEMORY)).exp();
        for lane in self.uses.iter_mut().chain(&mut self.exposure).flatten() {
            *lane *= keep;
        }
        self.since_lesson = 0.0;
        Some(ranks)
    }

    /// Computes worth and ranks from what was seen. Classes are side by side in
    /// the innermost loops, so that the compiler can work on several at once.
    fn ranks(&mut self) -> Ranks {
        let stages = self.stages();
        let surplus = self.surplus(&stages);
        let gains: [Lanes; AGES] = std::array::from_fn(|age| stages[age].gain(&surplus));
        let mut ranks = Box::new([NO_RANK; CLASSES * ROW]);
        for from in 0..AGES {
            let (mut hits, mut time) = ([0.0; CLASSES], [0.0; CLASSES]);
            let (mut alive, mut best) = ([1.0f32; CLASSES], [0.0f32; CLASSES]);
            for (stage, gain) in stages[from..].iter().zip(&gains[from..]) {
                for c in 0..CLASSES {
                    hits[c] += alive[c] * gain[c];
                    time[c] += alive[c] * stage.time[c];
                    alive[c] *= 1.0 - stage.used[c];
                    best[c] = best[c].max(hits[c] / time[c]);
                }
            }
            self.worth[from] = best;
            for c in 0..CLASSES {
                // An eighth of an octave a step, a worth of one in the middle;
                // the highest byte means that nobody is there.
                let rank = best[c].max(1e-9).log2() * 8.0 + 128.0;
                ranks[c * ROW + from] = rank.clamp(0.0, 254.0) as u8;
            }
        }
        Ranks(ranks)
    }

    /// What happens to entries in each bin of age.
    fn stages(&self) -> [Stage; AGES] {
        std::array::from_fn(|age| {
            let (uses, exposure) = (&self.uses[age], &self.exposure[age]);
            let guess = 0.1 / (start_of(age) + 0.01);
            let pooled = (uses.iter().sum::<f32>() + PRIOR * guess)
                / (exposure.iter().sum::<f32>() + PRIOR * 0.1);
            let mut stage = Stage {
                used: [0.0; CLASSES],
                time: [0.0; CLASSES],
                next: [0; CLASSES],
            };
            let width = width_of(age);
            for c in 0..CLASSES {
                let frequency = c / 4;
                let like_all = pooled * PER_FREQUENCY[frequency];
                let rate = (uses[c] + PRIOR * POOLED * like_all) / (exposure[c] + PRIOR * POOLED);
                stage.used[c] = 1.0 - (-rate * width).exp();
                stage.time[c] = if rate * width > 1e-3 {
                    stage.used[c] / rate
                } else {
                    width
                };
                stage.next[c] = (frequency + 1).min(3) * 4 + quarter_of(age);
            }
            stage
        })
    }

    /// What a use that leads to each class is worth beyond the hit itself.
    fn surplus(&self, stages: &[Stage; AGES]) -> Lanes {
        let mut surplus = [0.0; CLASSES];
        if self.price <= 0.0 {
            return surplus;
        }
        // Three uses ahead.
        for _ in 0..3 {
            let after = surplus;
            let (mut gain, mut best) = ([0.0f32; CLASSES], [0.0f32; CLASSES]);
            let mut alive = [1.0f32; CLASSES];
            for stage in &stages[..AGES - 1] {
                let hits = stage.gain(&after);
                for c in 0..CLASSES {
                    gain[c] += alive[c] * (hits[c] - stage.time[c] * self.price);
                    alive[c] *= 1.0 - stage.used[c];
                    best[c] = best[c].max(gain[c]);
                }
            }
            surplus = best.map(|best| best.min(4.0));
        }
        surplus
    }
}

/// One bin of age, per class: the chance of a use in it, the time an entry
/// spends in it on average, and the class that a use leads to.
struct Stage {
    used: Lanes,
    time: Lanes,
    next: [usize; CLASSES],
}

impl Stage {
    /// Hits expected in it, those counted in that the use leads to.
    fn gain(&self, surplus: &Lanes) -> Lanes {
        std::array::from_fn(|c| self.used[c] * (1.0 + surplus[self.next[c]]))
    }
}

/// Where a bin of age begins, in turnovers of the shard.
fn start_of(age: usize) -> f32 {
    let octave = (1u32 << (age / 2)) as f32;
    let start = if age % 2 == 1 { octave * 1.5 } else { octave };
    (start - 1.0).max(0.0) / 128.0
}

fn width_of(age: usize) -> f32 {
    if age == AGES - 1 {
        // It has no end.
        1e6
    } else {
        start_of(age + 1) - start_of(age)
    }
}

/// The part of the class that an age gives.
fn quarter_of(age: usize) -> usize {
    let start = start_of(age);
    usize::from(start >= 0.125) + usize::from(start >= 0.5) + usize::from(start >= 1.5)
}
