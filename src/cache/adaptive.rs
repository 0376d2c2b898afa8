//! The default policy: evict what the traffic so far says is worth least.
//!
//! # The idea
//!
//! An entry is worth the hits it will bring for the room it takes until then.
//! How soon entries are used again, and how surely, differs from workload to
//! workload, but within a workload entries with the same past behave alike. So
//! entries are grouped into 16 *classes* by their past (how often used, how
//! long between the last two uses), and for each class the cache counts how
//! many entries reach an age and how many are used at it. From these counts
//! follows the worth of an entry of any class at any age (see
//! [`learner`](super::learner)). A scan shows as a class that is hardly ever
//! used again, a loop larger than the cache as one that is used again only at
//! ages that are not worth waiting for, a recency-bound workload as worth that
//! falls with age: no case is written down, all are learned.
//!
//! # The mechanism
//!
//! ```text
//! use:      age = now - stamp; stamp = now; class from (uses, age)
//! evict:    of the 64 slots from the newcomer's home bucket on, the entry with
//!           the lowest worth[class][age]; among equals the oldest
//!           leave a ghost: 16 bits of hash, class, stamp
//! insert:   now += 1; a key with a ghost takes its past up again
//! ```
//!
//! There are no lists and no queues. A use writes three bytes beside the entry;
//! a victim is found by a scan of two buckets' metadata. Time is counted in
//! insertions, so that an idle cache does not age. A ghost is four bytes in the
//! bucket it would return to; of 32 ghosts the one worth least makes way.
//!
//! One shard studies and all shards use what it learned: a sample of the keys
//! is as good as all of them, and the others pay nothing for it.
//!
//! # Where it comes from
//!
//! Ranking by expected hits per room and time is LHD's (Beckmann, Chen, Cidon:
//! *LHD: Improving Cache Hit Rate by Maximizing Hit Density*, NSDI 2018). Taking
//! the best stopping age rather than the whole future makes it a Gittins index
//! (Gittins 1979; Aalto, Ayesta, Righter 2009). The ghosts are ARC's idea
//! (Megiddo, Modha, FAST 2003), with 2 bytes of fingerprint for a key.

use std::sync::Arc;

use super::learner::{AGES, Learner, Lessons, Ranks};
use super::table::{Table, WAYS};
use crate::rng;

/// How many buckets a victim is looked for in.
const WINDOW: usize = 2;

/// The studying shard looks at one bucket per so many insertions.
const STUDY_EVERY: u32 = 4;

/// Uses are counted up to here.
const MOST_USES: u8 = 4;

/// An order for one shard.
pub(super) struct Adaptive {
    /// Per slot: when it was last used, in units of `1 << unit_shift`
    /// insertions, modulo 2^16.
    stamps: Box<[[u16; WAYS]]>,
    ghosts: Box<[[Ghost; WAYS]]>,
    /// Insertions so far.
    now: u32,
    scale: Scale,
    /// A copy of what was last taught, to read without a lock.
    ranks: Ranks,
    taught: u32,
    lessons: Arc<Lessons>,
    /// Only in the shard that studies.
    learner: Option<Box<Learner>>,
    /// The past of the key that is being inserted.
    arriving: Mark,
}

impl Adaptive {
    pub(super) fn new(lessons: Arc<Lessons>, studies: bool) -> Self {
        let (taught, ranks) = lessons.read();
        Self {
            stamps: Box::default(),
            ghosts: Box::default(),
            now: 0,
            scale: Scale::for_entries(1),
            ranks,
            taught,
            lessons,
            learner: studies.then(|| Box::new(Learner::new())),
            arriving: Mark::NEW,
        }
    }

    /// A key that is not in the shard is about to be inserted.
    pub(super) fn arriving<K, V>(&mut self, table: &Table<K, V>, hash: u64) {
        self.now = self.now.wrapping_add(1);
        self.arriving = Mark::NEW;
        if self.ghosts.is_empty() {
            return;
        }
        let now = self.now_for_ghosts();
        let ghosts = &mut self.ghosts[table.home(hash)];
        let print = Ghost::print(hash);
        let Some(ghost) = ghosts.iter_mut().find(|ghost| ghost.is(print)) else {
            return;
        };
        let gone = std::mem::take(ghost);
        let age = self.scale.ghost_age(gone.stamp(), now);
        if let Some(learner) = &mut self.learner {
            learner.used(gone.class(), age.bin());
        }
        // The uses before the eviction count half, this one whole.
        let uses = match gone.class() / 4 {
            0 | 1 => 1,
            2 => 2,
            _ => 3,
        };
        self.arriving = Mark::after_use(uses, age);
    }

    /// The entry that was announced as arriving lies in this slot.
    pub(super) fn inserted<K, V>(&mut self, table: &mut Table<K, V>, slot: usize) {
        let (bucket, way) = (slot / WAYS, slot % WAYS);
        table.buckets[bucket].marks[way] = self.arriving.0;
        self.stamps[bucket][way] = self.stamp_now();
        if self.learner.is_some() {
            self.study(table, bucket);
        }
    }

    /// The entry in this slot was used.
    #[inline]
    pub(super) fn used<K, V>(&mut self, table: &mut Table<K, V>, slot: usize) {
        let (bucket, way) = (slot / WAYS, slot % WAYS);
        let now = self.stamp_now();
        let stamp = &mut self.stamps[bucket][way];
        let age = self.scale.age(*stamp, now);
        *stamp = now;
        let mark = &mut table.buckets[bucket].marks[way];
        let before = Mark(*mark);
        *mark = Mark::after_use((before.uses() + 1).min(MOST_USES), age).0;
        if let Some(learner) = &mut self.learner {
            learner.used(before.class(), age.bin());
        }
    }

    /// Who goes to make room for a key of this home.
    pub(super) fn victim<K, V>(&mut self, table: &Table<K, V>, home: usize) -> Option<usize> {
        if let Some((taught, ranks)) = self.lessons.read_newer(self.taught) {
            (self.taught, self.ranks) = (taught, ranks);
        }
        let now = self.stamp_now();
        let mut least = Candidate::NONE;
        let mut bucket = home;
        // A window without an entry is moved along.
        for looked_at in 0..table.buckets.len() {
            if looked_at >= WINDOW && least != Candidate::NONE {
                break;
            }
            let taken = table.taken(bucket);
            let (bins, ages) = self.scale.ages(&self.stamps[bucket], now);
            let marks = &table.buckets[bucket].marks;
            for way in 0..WAYS {
                let rank = self.ranks.of(Mark(marks[way]).class(), bins[way]);
                let candidate = Candidate::new(rank, ages[way], bucket, way);
                if candidate < least && taken >> way & 1 == 1 {
                    least = candidate;
                }
            }
            bucket = table.after(bucket);
        }
        let slot = least.slot()?;
        if let Some(learner) = &mut self.learner {
            let (bucket, way) = (slot / WAYS, slot % WAYS);
            let age = self.scale.age(self.stamps[bucket][way], now);
            learner.evicted(Mark(table.buckets[bucket].marks[way]).class(), age.bin());
        }
        Some(slot)
    }

    /// The entry in this slot, whose key has this hash, is being evicted.
    pub(super) fn evicted<K, V>(&mut self, table: &Table<K, V>, hash: u64, slot: usize) {
        let (bucket, way) = (slot / WAYS, slot % WAYS);
        let age = self.scale.age(self.stamps[bucket][way], self.stamp_now());
        let class = Mark(table.buckets[bucket].marks[way]).class();
        let now = self.now_for_ghosts();
        let ghost = Ghost::new(hash, class, self.scale.ghost_stamp(age, now));
        let ghosts = &mut self.ghosts[table.home(hash)];
        let place = match ghosts.iter().position(|ghost| *ghost == Ghost::NONE) {
            Some(free) => free,
            None => least_ghost(ghosts, &self.scale, &self.ranks, now),
        };
        ghosts[place] = ghost;
    }

    /// Follows a rebuilt table, in which `moved[old]` is an entry's new slot.
    /// The ghosts are left behind: their homes are not known.
    pub(super) fn follow<K, V>(&mut self, moved: &[u32], table: &Table<K, V>) {
        let scale = Scale::for_entries(super::table::room(table.buckets.len()));
        let now = self.stamp_now();
        let now_then = scale.stamp(self.now);
        let mut stamps = vec![[now_then; WAYS]; table.buckets.len()].into_boxed_slice();
        for (old, &new) in moved.iter().enumerate() {
            if new != u32::MAX {
                let age = now.wrapping_sub(self.stamps[old / WAYS][old % WAYS]);
                let age = u32::from(age) << self.scale.unit_shift >> scale.unit_shift;
                // Less than half the range, so that it stays an age.
                let age = age.min(1 << 15) as u16;
                stamps[new as usize / WAYS][new as usize % WAYS] = now_then.wrapping_sub(age);
            }
        }
        self.stamps = stamps;
        self.ghosts = vec![[Ghost::NONE; WAYS]; table.buckets.len()].into();
        self.scale = scale;
        if let Some(learner) = &mut self.learner {
            learner.serve(super::table::room(table.buckets.len()));
        }
    }

    /// Looks at one bucket now and then: what is there, and how old it is.
    fn study<K, V>(&mut self, table: &Table<K, V>, bucket: usize) {
        let Some(learner) = &mut self.learner else {
            return;
        };
        if self.now.is_multiple_of(STUDY_EVERY) {
            let now = self.scale.stamp(self.now);
            let ghost_now = self.scale.ghost_time(self.now);
            let weight = STUDY_EVERY as f32 * table.buckets.len() as f32 / self.scale.entries;
            let taken = table.taken(bucket);
            let (bins, ages) = self.scale.ages(&self.stamps[bucket], now);
            for way in 0..WAYS {
                if taken >> way & 1 == 1 {
                    let class = Mark(table.buckets[bucket].marks[way]).class();
                    learner.saw(class, bins[way], weight);
                    if ages[way] > 1 << 15 {
                        // Keeps an age from wrapping round to zero.
                        self.stamps[bucket][way] = now.wrapping_sub(1 << 15);
                    }
                }
            }
            for ghost in &self.ghosts[bucket] {
                if *ghost != Ghost::NONE {
                    let age = self.scale.ghost_age(ghost.stamp(), ghost_now);
                    learner.saw(ghost.class(), age.bin(), weight);
                }
            }
        }
        if let Some(ranks) = learner.inserted() {
            self.lessons.teach(ranks);
        }
    }

    #[inline]
    fn stamp_now(&self) -> u16 {
        self.scale.stamp(self.now)
    }

    fn now_for_ghosts(&self) -> u16 {
        self.scale.ghost_time(self.now)
    }
}

/// The ghost that is worth least; among equals the oldest.
fn least_ghost(ghosts: &[Ghost; WAYS], scale: &Scale, ranks: &Ranks, now: u16) -> usize {
    let mut least = (u8::MAX, 0, 0);
    for (place, ghost) in ghosts.iter().enumerate() {
        let age = now.wrapping_sub(ghost.stamp()) & Ghost::STAMPS;
        let rank = ranks.of(ghost.class(), scale.ghost_age(ghost.stamp(), now).bin());
        if (rank, u16::MAX - age, place) <= (least.0, least.1, place) {
            least = (rank, u16::MAX - age, place);
        }
    }
    least.2
}

/// What is remembered of an entry's past: uses in the upper half of a byte,
/// class in the lower.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark(u8);

impl Mark {
    /// Never used before, as far as anyone remembers.
    const NEW: Self = Self(3);

    /// The past of an entry used so often, the last time at this age.
    #[inline]
    fn after_use(uses: u8, age: Age) -> Self {
        let frequency = match uses {
            0 | 1 => uses,
            2 | 3 => 2,
            _ => 3,
        };
        Self(uses << 4 | frequency << 2 | age.quarter())
    }

    #[inline]
    fn uses(self) -> u8 {
        self.0 >> 4
    }

    /// Frequency in two steps of bits, and how long the last use took to come.
    #[inline]
    fn class(self) -> u8 {
        self.0 & 15
    }
}

/// An age in 128ths of the time in which the shard's whole content is inserted
/// anew, plus one.
#[derive(Clone, Copy)]
struct Age(u32);

impl Age {
    /// Half octaves: 0, 1, 2, 3, 4–5, 6–7, 8–11, …
    #[inline]
    fn bin(self) -> u8 {
        bin(self.0)
    }

    /// Short, medium, long, or longer than anyone waits.
    #[inline]
    fn quarter(self) -> u8 {
        let age = self.0 - 1;
        u8::from(age >= 16) + u8::from(age >= 64) + u8::from(age >= 192)
    }
}

/// The exponent and the first bit of the fraction, as a float has them.
#[inline]
fn bin(age: u32) -> u8 {
    // Ages are below 2^23, so the conversion is exact; bins are few.
    let bin = ((age as f32).to_bits() >> 22) - (127 << 1);
    bin.min(AGES as u32 - 1) as u8
}

/// How ages of a shard of this size are counted.
#[derive(Clone, Copy)]
struct Scale {
    /// Entries the shard holds when full.
    entries: f32,
    /// A stamp counts `1 << unit_shift` insertions: between a 1024th and a
    /// 2048th of the entries.
    unit_shift: u32,
    /// 128 / entries, in units of stamps and 2^-16.
    factor: u32,
    /// The same for ghosts, whose unit is 8 times as large.
    ghost_factor: u32,
}

/// A ghost's unit of time is `1 << GHOST_SHIFT` stamps.
const GHOST_SHIFT: u32 = 3;

impl Scale {
    fn for_entries(entries: usize) -> Self {
        let entries = entries.clamp(1, 1 << 31) as u64;
        let unit_shift = (entries / 1024).max(1).ilog2();
        let factor = ((128 << 16) << unit_shift) / entries;
        Self {
            entries: entries as f32,
            unit_shift,
            // At most 128 << 16.
            factor: factor as u32,
            ghost_factor: (factor as u32) << GHOST_SHIFT,
        }
    }

    #[inline]
    fn stamp(&self, now: u32) -> u16 {
        (now >> self.unit_shift) as u16
    }

    #[inline]
    fn age(&self, stamp: u16, now: u16) -> Age {
        let age = u64::from(now.wrapping_sub(stamp)) * u64::from(self.factor);
        Age((age >> 16) as u32 + 1)
    }

    /// The bins and the ages of a whole bucket: arithmetic that a compiler can
    /// do for several slots at once.
    #[inline]
    fn ages(&self, stamps: &[u16; WAYS], now: u16) -> ([u8; WAYS], [u16; WAYS]) {
        let ages = stamps.map(|stamp| now.wrapping_sub(stamp));
        // A float holds the product to 24 bits, which is more than a bin needs.
        let factor = self.factor as f32 / 65536.0;
        let bins = ages.map(|age| {
            let age = f32::from(age) * factor + 1.0;
            (age.to_bits() >> 22)
                .wrapping_sub(127 << 1)
                .min(AGES as u32 - 1) as u8
        });
        (bins, ages)
    }

    #[inline]
    fn ghost_time(&self, now: u32) -> u16 {
        (now >> (self.unit_shift + GHOST_SHIFT)) as u16 & Ghost::STAMPS
    }

    /// The stamp of a ghost whose entry was last used so long ago.
    fn ghost_stamp(&self, age: Age, now: u16) -> u16 {
        let units = u64::from(age.0 - 1) * (1 << 16) / u64::from(self.ghost_factor.max(1));
        now.wrapping_sub(units.min(Ghost::STAMPS.into()) as u16) & Ghost::STAMPS
    }

    fn ghost_age(&self, stamp: u16, now: u16) -> Age {
        let age = now.wrapping_sub(stamp) & Ghost::STAMPS;
        let age = u64::from(age) * u64::from(self.ghost_factor);
        Age((age >> 16) as u32 + 1)
    }
}

/// What is kept of an evicted entry: 16 bits of its key's hash, 4 of class, 12
/// of stamp.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Ghost(u32);

impl Ghost {
    const NONE: Self = Self(0);

    /// The range of stamps; a mask too.
    const STAMPS: u16 = 0xfff;

    fn new(hash: u64, class: u8, stamp: u16) -> Self {
        Self(u32::from(Self::print(hash)) | u32::from(class) << 16 | u32::from(stamp) << 20)
    }

    /// Never zero, so that no ghost equals `NONE`; mixed, since the bits of the
    /// hash have chosen shard and bucket already.
    fn print(hash: u64) -> u16 {
        (rng::mix(hash) >> 48) as u16 | 1
    }

    fn is(self, print: u16) -> bool {
        self.0 as u16 == print
    }

    fn class(self) -> u8 {
        (self.0 >> 16) as u8 & 15
    }

    fn stamp(self) -> u16 {
        (self.0 >> 20) as u16
    }
}

/// A slot in the order of eviction: rank, then age (older first), then place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate(u64);

impl Candidate {
    const NONE: Self = Self(u64::MAX);

    #[inline]
    fn new(rank: u8, age: u16, bucket: usize, way: usize) -> Self {
        let place = (bucket * WAYS + way) as u32;
        Self(u64::from(rank) << 48 | u64::from(u16::MAX - age) << 32 | u64::from(place))
    }

    fn slot(self) -> Option<usize> {
        (self != Self::NONE).then_some(self.0 as u32 as usize)
    }
}
