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

use super::age::{Age, GHOST_SHIFT, Scale};
use super::ghosts::{Ghosts, Past, print};
use super::learner::{Learner, Lessons, NO_RANK, Ranks};
use super::table::{self, Bucket, Table, WAYS};
use super::tags::lowest;

/// The studying shard looks at one bucket per so many insertions.
const STUDY_EVERY: u32 = 8;

/// An order for one shard. Marks and stamps of entries lie in the table's
/// buckets; here is what is kept beside it.
pub(super) struct Adaptive {
    /// Per bucket: its entries' ranks.
    notes: Box<[Notes]>,
    /// Per bucket: what is remembered of keys that were evicted from it.
    ghosts: Box<[Ghosts]>,
    /// Insertions so far.
    insertions: u32,
    /// The same as stamps count it.
    now: u16,
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
            notes: Box::default(),
            ghosts: Box::default(),
            insertions: 0,
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
    #[inline]
    pub(super) fn arriving<K, V>(&mut self, table: &Table<K, V>, hash: u64) {
        self.insertions = self.insertions.wrapping_add(1);
        self.now = self.scale.stamp(self.insertions);
        self.arriving = Mark::NEW;
        if self.ghosts.is_empty() {
            return;
        }
        let home = table.home(hash);
        let Some((place, past)) = self.ghosts[home].take(print(hash)) else {
            return;
        };
        self.notes[home].expendable |= 1 << place;
        let now = self.scale.ghost_time(self.insertions);
        let (class, age) = (past.class(), past.age(now, &self.scale));
        if let Some(learner) = &mut self.learner {
            learner.used(class, age.bin());
        }
        self.arriving = Mark::returned(class, age);
    }

    /// The entry that was announced as arriving lies in this slot.
    #[inline]
    pub(super) fn inserted<K, V>(&mut self, table: &mut Table<K, V>, slot: usize) {
        let (at, way) = (slot / WAYS, slot % WAYS);
        let bucket = &mut table.buckets[at];
        bucket.marks[way] = self.arriving.0;
        bucket.stamps[way] = self.now;
        let notes = &mut self.notes[at];
        notes.arrivals = notes.arrivals.wrapping_add(1);
        if notes.arrivals.is_multiple_of(FRESH) {
            notes.ranks = rank_all(bucket, self.now, &self.scale, &self.ranks);
        } else {
            let age = self.scale.age(0);
            notes.ranks[way] = self
                .ranks
                .of(Ranks::place(self.arriving.class(), age.bin()));
        }
        if self.learner.is_some() {
            self.study(table, at);
        }
    }

    /// The entry in this slot leaves.
    #[inline]
    pub(super) fn removed(&mut self, slot: usize) {
        self.notes[slot / WAYS].ranks[slot % WAYS] = NO_RANK;
    }

    /// The entry in this slot was used.
    #[inline]
    pub(super) fn used<K, V>(&mut self, table: &mut Table<K, V>, slot: usize) {
        let (bucket, way) = (&mut table.buckets[slot / WAYS], slot % WAYS);
        let age = self.now.wrapping_sub(bucket.stamps[way]);
        if age == 0 {
            // Uses that follow each other at once are one use; and a hit that
            // writes nothing leaves the cache lines to other readers.
            return;
        }
        let age = self.scale.age(age);
        bucket.stamps[way] = self.now;
        let before = Mark(bucket.marks[way]);
        bucket.marks[way] = before.used_again(age).0;
        if let Some(learner) = &mut self.learner {
            learner.used(before.class(), age.bin());
        }
    }

    /// Who goes to make room for a key of this home.
    #[inline]
    pub(super) fn victim<K, V>(&mut self, table: &Table<K, V>, home: usize) -> Option<usize> {
        if let Some((taught, ranks)) = self.lessons.read_newer(self.taught) {
            (self.taught, self.ranks) = (taught, ranks);
        }
        let at = self.lowest_in_window(table, home);
        let slot = at?;
        if let Some(learner) = &mut self.learner {
            let (bucket, way) = (&table.buckets[slot / WAYS], slot % WAYS);
            let age = self.scale.age(self.now.wrapping_sub(bucket.stamps[way]));
            learner.evicted(Mark(bucket.marks[way]).class(), age.bin());
        }
        Some(slot)
    }

    /// The entry in this slot, whose key has this hash and home, is being evicted.
    #[inline]
    pub(super) fn evicted<K, V>(
        &mut self,
        table: &Table<K, V>,
        hash: u64,
        home: usize,
        slot: usize,
    ) {
        let (bucket, way) = (&table.buckets[slot / WAYS], slot % WAYS);
        let class = Mark(bucket.marks[way]).class();
        let age = self.now.wrapping_sub(bucket.stamps[way]) >> GHOST_SHIFT;
        let now = self.scale.ghost_time(self.insertions);
        let past = Past::new(class, now.wrapping_sub(age.min(Past::STAMPS)));
        let (notes, ghosts) = (&mut self.notes[home], &mut self.ghosts[home]);
        if notes.expendable == 0 {
            notes.expendable = ghosts.least(&self.ranks, now, &self.scale);
        }
        let place = notes.expendable.trailing_zeros() as usize % WAYS;
        notes.expendable &= !(1 << place);
        ghosts.prints[place] = print(hash);
        ghosts.pasts[place] = past;
        self.removed(slot);
    }

    /// Follows a table that has been rebuilt. The ghosts are left behind: their
    /// homes are not known.
    pub(super) fn follow<K, V>(&mut self, table: &mut Table<K, V>) {
        let entries = table::room(table.buckets.len());
        let scale = Scale::for_entries(entries);
        let now = scale.stamp(self.insertions);
        for stamp in table.buckets.iter_mut().flat_map(|b| &mut b.stamps) {
            let age = u32::from(self.now.wrapping_sub(*stamp));
            let age = age << self.scale.unit_shift >> scale.unit_shift;
            *stamp = now.wrapping_sub(age.min(u32::from(OLDEST)) as u16);
        }
        self.now = now;
        self.scale = scale;
        self.notes = (table.buckets.iter())
            .map(|bucket| Notes {
                ranks: rank_all(bucket, now, &scale, &self.ranks),
                expendable: u32::MAX,
                arrivals: 0,
            })
            .collect();
        self.ghosts = vec![Ghosts::NONE; table.buckets.len()].into();
        if let Some(learner) = &mut self.learner {
            learner.serve(entries);
        }
    }

    /// The slot of lowest rank in a window of two buckets. What is noted beside
    /// a bucket may be out of date for entries that were used since, so the
    /// lowest is looked at before it is believed.
    #[inline]
    fn lowest_in_window<K, V>(&mut self, table: &Table<K, V>, home: usize) -> Option<usize> {
        let next = table.after(home);
        for _ in 0..TRIES {
            let (at, known, way) = self.lowest_noted(home, next);
            if known == NO_RANK {
                return self.lowest_further_on(table, next);
            }
            let bucket = &table.buckets[at];
            let age = self.scale.age(self.now.wrapping_sub(bucket.stamps[way]));
            let rank = self.ranks.of(Ranks::place(bucket.marks[way], age.bin()));
            if rank <= known.saturating_add(TOLERANCE) {
                return Some(at * WAYS + way);
            }
            self.notes[at].ranks[way] = rank;
        }
        for at in [home, next] {
            self.notes[at].ranks = rank_all(&table.buckets[at], self.now, &self.scale, &self.ranks);
        }
        let (at, _, way) = self.lowest_noted(home, next);
        Some(at * WAYS + way)
    }

    /// The bucket, rank and place of the lowest rank that is noted for two.
    #[inline]
    fn lowest_noted(&self, home: usize, next: usize) -> (usize, u8, usize) {
        let (first, first_way) = lowest(&self.notes[home].ranks);
        let (second, second_way) = lowest(&self.notes[next].ranks);
        if second < first {
            (next, second, second_way)
        } else {
            (home, first, first_way)
        }
    }

    /// Where a window has no entry: the lowest noted in the next bucket that
    /// has one.
    #[cold]
    fn lowest_further_on<K, V>(&self, table: &Table<K, V>, from: usize) -> Option<usize> {
        let mut at = from;
        for _ in 0..table.buckets.len() {
            at = table.after(at);
            let (rank, way) = lowest(&self.notes[at].ranks);
            if rank != NO_RANK {
                return Some(at * WAYS + way);
            }
        }
        None
    }

    /// Looks at one bucket now and then: what is there, and how old it is.
    fn study<K, V>(&mut self, table: &mut Table<K, V>, at: usize) {
        let Some(learner) = &mut self.learner else {
            return;
        };
        if self.insertions.is_multiple_of(STUDY_EVERY) {
            let ghost_now = self.scale.ghost_time(self.insertions);
            let waiting = STUDY_EVERY as f32 * table.buckets.len() as f32 / self.scale.entries;
            let bucket = &mut table.buckets[at];
            for (way, empty) in bucket.empties().into_iter().enumerate() {
                if empty != 0 {
                    continue;
                }
                let age = self.now.wrapping_sub(bucket.stamps[way]);
                let class = Mark(bucket.marks[way]).class();
                learner.saw(class, self.scale.age(age).bin(), waiting);
                if age > OLDEST {
                    // Keeps the age from wrapping round to zero.
                    bucket.stamps[way] = self.now.wrapping_sub(OLDEST);
                }
            }
            for past in self.ghosts[at].iter() {
                let age = past.age(ghost_now, &self.scale);
                learner.saw(past.class(), age.bin(), waiting);
            }
        }
        if let Some(ranks) = learner.inserted() {
            self.lessons.teach(ranks);
        }
    }
}

/// No entry is taken to be older than this many stamps, half their range and
/// at least 16 turnovers of the shard.
const OLDEST: u16 = 1 << 15;

/// What evictions need to know of a bucket, on a cache line where hits do not
/// come.
#[repr(align(64))]
struct Notes {
    /// The rank of each entry as it was when last looked at. Uses since then
    /// have only raised it, since time alone changes ranks little within
    /// [`FRESH`] arrivals.
    ranks: [u8; WAYS],
    /// Places whose ghosts are worth least, to be taken next.
    expendable: u32,
    arrivals: u8,
}

/// So many ranks may prove out of date before all are noted anew.
const TRIES: usize = 4;

/// A rank is believed if it has not risen by more than this, a quarter of an
/// octave.
const TOLERANCE: u8 = 2;

/// Ranks are noted anew after so many arrivals in a bucket.
const FRESH: u8 = 2;

/// The rank of every slot of a bucket. Written as loops over whole arrays, which
/// the compiler turns into arithmetic on several slots at once; only the
/// look-up of the ranks is one by one.
fn rank_all(bucket: &Bucket, now: u16, scale: &Scale, ranks: &Ranks) -> [u8; WAYS] {
    let mut places = [0u16; WAYS];
    let empties = bucket.empties();
    for (way, place) in places.iter_mut().enumerate() {
        let age = scale.age(now.wrapping_sub(bucket.stamps[way]));
        let nobody = u16::from(empties[way]) & Ranks::NOBODY;
        *place = Ranks::place(bucket.marks[way], age.bin()) | nobody;
    }
    ranks.at(&places)
}

/// What is remembered of an entry's past: uses in the upper half of a byte,
/// class in the lower. The class is the frequency in four steps and, in four
/// steps too, how long the last use took to come.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark(u8);

impl Mark {
    /// Never used before, as far as anyone remembers.
    const NEW: Self = Self(3);

    /// The mark of an entry with this many uses, without the last step.
    const WITH_USES: [u8; 5] = [
        0,
        1 << 4 | 1 << 2,
        2 << 4 | 2 << 2,
        3 << 4 | 2 << 2,
        4 << 4 | 3 << 2,
    ];

    /// One more use, at this age; uses are counted to four.
    #[inline]
    fn used_again(self, age: Age) -> Self {
        const AFTER: [u8; 8] = {
            let with = Mark::WITH_USES;
            [
                with[1], with[2], with[3], with[4], with[4], with[4], with[4], with[4],
            ]
        };
        Self(AFTER[usize::from(self.0 >> 4 & 7)] | age.step())
    }

    /// A key that had been evicted from this class is back: the uses before
    /// count half, this one whole.
    fn returned(class: u8, age: Age) -> Self {
        let uses = [1, 1, 2, 3][usize::from(class >> 2 & 3)];
        Self(Self::WITH_USES[uses] | age.step())
    }

    #[inline]
    fn class(self) -> u8 {
        self.0 & 15
    }
}
