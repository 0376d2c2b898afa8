use crate::sync::atomic::{AtomicU64, Ordering};

/// One cache line of the registry: when the tags that hash here were last
/// invalidated. Read by anyone at any time, written under the registry's lock.
///
/// A record is a generation with 16 bits of the tag's hash below it; 0 is an
/// empty place. A record that gives way to another leaves its generation in
/// the floor.
#[repr(align(64))]
pub(super) struct Bucket {
    /// No record that was here and is gone is younger than this.
    floor: AtomicU64,
    records: [AtomicU64; 7],
}

impl Bucket {
    pub(super) fn new() -> Self {
        Self {
            floor: AtomicU64::new(0),
            records: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// The generation of the last invalidation of this tag, or a later one if
    /// that is forgotten; 0 if there was none.
    pub(super) fn invalidated(&self, tag: u64) -> u64 {
        let mut generation = 0;
        for record in &self.records {
            let record = record.load(Ordering::Acquire);
            if record as u16 == mark(tag) {
                generation = generation.max(record >> MARK_BITS);
            }
        }
        // Last: who finds another tag in the place of this one finds the floor
        // that was raised before.
        generation.max(self.floor.load(Ordering::Acquire))
    }

    /// Records an invalidation. Returns whether another one was forgotten.
    pub(super) fn record(&self, tag: u64, generation: u64) -> bool {
        let mut oldest = (u64::MAX, 0);
        for (place, record) in self.records.iter().enumerate() {
            let found = record.load(Ordering::Relaxed);
            if found != 0 && found as u16 == mark(tag) {
                oldest = (0, place);
                break;
            }
            oldest = oldest.min((found >> MARK_BITS, place));
        }
        let (forgotten, place) = oldest;
        if forgotten != 0 {
            // It is above the floor: generations only rise.
            self.floor.store(forgotten, Ordering::Release);
        }
        let record = generation << MARK_BITS | u64::from(mark(tag));
        self.records[place].store(record, Ordering::Release);
        forgotten != 0
    }
}

/// The bits of a tag's hash that tell it from its neighbours; the lowest ones
/// chose the bucket.
fn mark(tag: u64) -> u16 {
    (tag >> GENERATION_BITS) as u16
}

const MARK_BITS: u32 = 16;
pub(super) const GENERATION_BITS: u32 = u64::BITS - MARK_BITS;

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_stays_below_the_floor() {
        let bucket = Bucket::new();
        let tag = |n: u64| n << GENERATION_BITS;
        for n in 0..20 {
            assert_eq!(bucket.record(tag(n), n + 1), n >= 7);
            for past in 0..=n {
                assert!(bucket.invalidated(tag(past)) > past);
            }
        }
        assert_eq!(bucket.invalidated(tag(19)), 20);
        assert_eq!(bucket.invalidated(tag(0)), 13);
        assert_eq!(bucket.invalidated(tag(99)), 13);
    }

    #[test]
    fn a_tag_has_one_record() {
        let bucket = Bucket::new();
        for generation in 1..20 {
            assert!(!bucket.record(0, generation));
            assert_eq!(bucket.invalidated(0), generation);
        }
        assert_eq!(bucket.invalidated(1 << GENERATION_BITS), 0);
    }

    /// An empty place must not be taken for the record of a tag whose mark is 0.
    #[test]
    fn a_mark_of_zero_is_no_empty_place() {
        let bucket = Bucket::new();
        bucket.record(1 << GENERATION_BITS, 1);
        assert_eq!(bucket.invalidated(0), 0);
        bucket.record(0, 2);
        assert_eq!(bucket.invalidated(0), 2);
        assert_eq!(bucket.invalidated(1 << GENERATION_BITS), 1);
    }
}
