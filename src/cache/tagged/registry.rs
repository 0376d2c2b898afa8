use std::fmt;
use std::hash::BuildHasher;
use std::sync::OnceLock;

use super::bucket::Bucket;
use crate::hash::TableHasher;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Remembers when each tag was last invalidated.
///
/// Time here is a *generation*: a number that every invalidation raises by one.
/// An entry keeps the hashes of its tags and the generation in which its load
/// began, and is good as long as none of its tags was invalidated since. So an
/// invalidation costs the same however many entries carry the tag, and nobody
/// keeps a list of them.
///
/// [`Tagged`](super::Tagged) asks it for you. By itself it serves who stores
/// tagged values elsewhere, or wants several caches to share one set of tags.
///
/// ```
/// use tenfold::cache::tagged::Tags;
///
/// let tags = Tags::new();
/// let (born, of) = (tags.generation(), [tags.hash_of("user:7"), tags.hash_of("pages")]);
/// assert!(tags.is_valid(born, &of));
/// tags.invalidate_tag("user:8");
/// assert!(tags.is_valid(born, &of));
/// tags.invalidate_tag("pages");
/// assert!(!tags.is_valid(born, &of));
/// assert!(tags.is_valid(tags.generation(), &of)); // what is loaded from now on
/// ```
///
/// # Memory
///
/// None before the first tag is invalidated; from then on 16 bytes for each
/// tag of the [capacity](Self::with_capacity), 1 MiB by default. Tags that were
/// never invalidated take nothing. Past the capacity the oldest invalidations
/// are forgotten, in the safe direction: entries older than a forgotten one
/// count as invalid if they carry a tag of its neighbourhood (seven tags of
/// `capacity / 4`).
///
/// # What is not exact
///
/// Tags are told apart by a keyed 64-bit hash. Two that collide are invalidated
/// together: a load too many, never a stale answer.
pub struct Tags {
    /// How many invalidations and clears there were.
    generation: AtomicU64,
    expired_before: AtomicU64,
    removed_before: AtomicU64,
    /// A power of two of them, laid out by the first invalidation.
    buckets: OnceLock<Box<[Bucket]>>,
    bucket_count: usize,
    hasher: TableHasher,
    /// Held by whoever raises the generation or writes a bucket.
    writing: Mutex<TagsStats>,
}

/// What [`Tags::clear`] shall do with the entries that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Clear {
    /// They are too old to be given out, and stay where they are: for who
    /// prefers an old value to none, and for a clear in constant time.
    Expire,
    /// They go.
    Remove,
}

/// What a registry of tags has done; see [`Tags::stats`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagsStats {
    /// Invalidations of a tag.
    pub invalidations: u64,
    /// Clears of either kind.
    pub clears: u64,
    /// Invalidations forgotten for want of room: a capacity that is too small
    /// shows here, and costs loads.
    pub forgotten: u64,
}

impl Tags {
    /// A registry that remembers the last 65 536 tags that were invalidated.
    pub fn new() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }

    /// A registry that remembers about this many tags: rounded up to a power of
    /// two, at least 4 and at most 2²⁶.
    pub fn with_capacity(tags: usize) -> Self {
        Self::with_hasher(tags, TableHasher::random())
    }

    /// A registry whose hashes are the same in every run: for tests and
    /// simulations. Others cannot be made to collide by who chooses the tags.
    pub fn with_seed(seed: u64) -> Self {
        Self::with_hasher(DEFAULT_CAPACITY, TableHasher::with_seed(seed))
    }

    pub(in crate::cache) fn with_hasher(tags: usize, hasher: TableHasher) -> Self {
        let tags = tags.min(MAX_CAPACITY);
        Self {
            generation: AtomicU64::new(0),
            expired_before: AtomicU64::new(0),
            removed_before: AtomicU64::new(0),
            buckets: OnceLock::new(),
            bucket_count: tags.div_ceil(TAGS_PER_BUCKET).next_power_of_two(),
            hasher,
            writing: Mutex::new(TagsStats::default()),
        }
    }

    /// The present generation. Read it *before* a load begins: the value is then
    /// no newer than the entry says.
    #[inline]
    pub fn generation(&self) -> u64 {
        // Once the last generation is reached nothing may be as young as it.
        self.generation.load(Ordering::Acquire).min(LAST - 1)
    }

    /// The hash under which this registry knows a tag.
    pub fn hash_of(&self, tag: impl AsRef<str>) -> u64 {
        self.hasher.hash_one(tag.as_ref())
    }

    /// The hash of a namespace, which no tag of the same name has.
    pub(super) fn hash_of_namespace(&self, name: &str) -> u64 {
        self.hasher.hash_one(("namespace", name))
    }

    /// Whether none of these tags was invalidated after the generation `born`.
    ///
    /// Says nothing of [`clear`](Self::clear): compare `born` with
    /// [`expired_before`](Self::expired_before) and
    /// [`removed_before`](Self::removed_before).
    ///
    /// One atomic load if there was no invalidation at all since then, or
    /// without tags; else a cache line per tag. Never a lock.
    #[inline]
    pub fn is_valid(&self, born: u64, tags: &[u64]) -> bool {
        let now = self.generation.load(Ordering::Acquire);
        born == now || tags.is_empty() || self.are_older(born, now, tags)
    }

    fn are_older(&self, born: u64, now: u64, tags: &[u64]) -> bool {
        if now >= LAST {
            return false;
        }
        let Some(buckets) = self.buckets.get() else {
            return true;
        };
        tags.iter()
            .all(|&tag| bucket_of(buckets, tag).invalidated(tag) <= born)
    }

    /// Invalidates a tag: once this has returned, no entry that carries it and
    /// whose load began before is valid.
    ///
    /// Constant time, under a lock of the registry that no reader takes.
    pub fn invalidate_tag(&self, tag: impl AsRef<str>) {
        self.invalidate_hash(self.hash_of(tag));
    }

    /// [`invalidate_tag`](Self::invalidate_tag) by what
    /// [`hash_of`](Self::hash_of) gave.
    pub fn invalidate_hash(&self, tag: u64) {
        let mut writing = self.writing.lock();
        let generation = self.next_generation();
        let buckets = self
            .buckets
            .get_or_init(|| (0..self.bucket_count).map(|_| Bucket::new()).collect());
        writing.invalidations += 1;
        if bucket_of(buckets, tag).record(tag, generation) {
            writing.forgotten += 1;
        }
    }

    /// Makes everything there is too old, whatever its tags: once this has
    /// returned, [`expired_before`](Self::expired_before) or
    /// [`removed_before`](Self::removed_before) is above the generation of
    /// every load that began before. Constant time.
    ///
    /// ```
    /// use tenfold::cache::tagged::{Clear, Tags};
    ///
    /// let tags = Tags::new();
    /// let born = tags.generation();
    /// tags.clear(Clear::Expire);
    /// assert!(born < tags.expired_before());
    /// assert!(born >= tags.removed_before());
    /// ```
    pub fn clear(&self, how: Clear) {
        let mut writing = self.writing.lock();
        let generation = self.next_generation();
        writing.clears += 1;
        // What is removed must not be given out as merely old either.
        self.expired_before.store(generation, Ordering::Release);
        if how == Clear::Remove {
            self.removed_before.store(generation, Ordering::Release);
        }
    }

    /// Notes in `cleared` that everything one cache holds is too old.
    pub(super) fn advance_into(&self, cleared: &AtomicU64) {
        let mut writing = self.writing.lock();
        let generation = self.next_generation();
        writing.clears += 1;
        cleared.store(generation, Ordering::Release);
    }

    /// Entries born before this generation are too old to be given out.
    #[inline]
    pub fn expired_before(&self) -> u64 {
        self.expired_before.load(Ordering::Acquire)
    }

    /// Entries born before this generation are gone.
    #[inline]
    pub fn removed_before(&self) -> u64 {
        self.removed_before.load(Ordering::Acquire)
    }

    /// What the registry has done.
    pub fn stats(&self) -> TagsStats {
        *self.writing.lock()
    }

    /// Raises the generation; the lock is held, so nobody else does.
    fn next_generation(&self) -> u64 {
        let next = (self.generation.load(Ordering::Relaxed) + 1).min(LAST);
        self.generation.store(next, Ordering::Release);
        next
    }
}

#[inline]
fn bucket_of(buckets: &[Bucket], tag: u64) -> &Bucket {
    // A power of two of them, and at least one.
    &buckets[tag as usize & (buckets.len() - 1)]
}

impl Default for Tags {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tags")
            .field("generation", &self.generation())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TagsStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            invalidations,
            clears,
            forgotten,
        } = self;
        write!(
            f,
            "{invalidations} invalidations of tags ({forgotten} forgotten), {clears} clears"
        )
    }
}

pub(super) const DEFAULT_CAPACITY: usize = 1 << 16;
pub(super) const MAX_CAPACITY: usize = 1 << 26;

/// A bucket has room for seven: tags do not spread evenly.
const TAGS_PER_BUCKET: usize = 4;

/// The last generation that fits in a record: reached after nine years of a
/// million invalidations per second. From then on every tag counts as invalid.
const LAST: u64 = (1 << super::bucket::GENERATION_BITS) - 1;

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn after_the_last_generation_nothing_tagged_is_valid() {
        let tags = Tags::with_seed(1);
        let of = [tags.hash_of("a")];
        tags.generation.store(LAST - 2, Ordering::Relaxed);
        let born = tags.generation();
        assert!(tags.is_valid(born, &of));
        for _ in 0..3 {
            tags.invalidate_tag("b");
            assert!(tags.generation() < LAST);
        }
        assert!(!tags.is_valid(tags.generation(), &of));
        assert!(tags.is_valid(tags.generation(), &[]));
    }

    #[test]
    fn memory_is_laid_out_by_the_first_invalidation_only() {
        let tags = Tags::with_capacity(1000);
        tags.clear(Clear::Expire);
        assert!(tags.is_valid(0, &[7]) && tags.buckets.get().is_none());
        tags.invalidate_tag("a");
        let bytes = tags.buckets.get().map_or(0, |b| size_of_val(&**b));
        assert_eq!(bytes, 1024 * 16);
    }
}
