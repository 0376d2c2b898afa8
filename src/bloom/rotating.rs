use std::fmt;
use std::time::Duration;

use super::cell::{AtomicU64, Mutex, MutexGuard, Ordering::Acquire, Ordering::Release};
use super::{AtomicBloomFilter, BloomFilter, BuildError, Layout};
use crate::hash::StableKey;
use crate::time::Clock;

/// A filter whose keys age out: deletes by time, which no other filter can do
/// without losing keys.
///
/// It is a ring of generations. Keys go into the newest, are looked for in
/// all, and every so often the oldest is emptied and becomes the newest. A key
/// is found for at least its lifetime after its last insertion, and for at most
/// `generations / (generations - 1)` times as long.
///
/// Any number of threads use it together, without locks: a look-up is one in each
/// generation. Who finds that a generation is over empties it; the others go on
/// meanwhile.
///
/// ```
/// use std::time::Duration;
/// use tenfold::bloom::RotatingBloomFilter;
/// use tenfold::time::ManualClock;
///
/// let time = ManualClock::new();
/// let seen = RotatingBloomFilter::builder()
///     .items(10_000)
///     .rate(0.01)
///     .lifetime(Duration::from_secs(60))
///     .clock(time.clock())
///     .build()?;
///
/// assert!(seen.insert("ada"));
/// time.advance(Duration::from_secs(60));
/// assert!(seen.contains("ada"));
/// time.advance(Duration::from_secs(30));
/// assert!(!seen.contains("ada")); // forgotten, without anybody deleting it
/// # Ok::<(), tenfold::bloom::BuildError>(())
/// ```
pub struct RotatingBloomFilter {
    /// The newest is that of the epoch modulo their number. At least two.
    generations: Vec<AtomicBloomFilter>,
    /// Rotations so far. Stored only by who holds `turning`, after the
    /// generation that becomes the newest was emptied.
    epoch: AtomicU64,
    /// When the newest generation ends, in nanoseconds of the clock; never
    /// without a lifetime. Stored only by who holds `turning`.
    due: AtomicU64,
    /// Held by who rotates.
    turning: Mutex<()>,
    /// Nanoseconds that a generation is the newest, and the clock that tells.
    schedule: Option<(u64, Clock)>,
}

impl RotatingBloomFilter {
    /// A builder: set [`items`](RotatingBuilder::items) and [`rate`](RotatingBuilder::rate).
    pub fn builder() -> RotatingBuilder {
        RotatingBuilder::default()
    }

    /// Inserts a key, or makes it new again. Returns whether it was not found
    /// before.
    pub fn insert<K: StableKey + ?Sized>(&self, key: &K) -> bool {
        self.insert_hash(key.stable_hash(self.seed()))
    }

    /// Whether the key was inserted within its lifetime: surely not if `false`.
    pub fn contains<K: StableKey + ?Sized>(&self, key: &K) -> bool {
        self.contains_hash(key.stable_hash(self.seed()))
    }

    /// [`insert`](Self::insert) for callers who have a 64-bit hash, every bit of
    /// which must be random. A filter must see hashes of one kind only.
    pub fn insert_hash(&self, hash: u64) -> bool {
        self.turn_if_due();
        let mut epoch = self.epoch.load(Acquire);
        let mut new = self.newest(epoch).insert_hash(hash);
        if new {
            let mut older = (1..self.generations.len()).map(|age| self.aged(epoch, age));
            new = !older.any(|generation| generation.contains_hash(hash));
        }
        // If the ring turned meanwhile the key went into an older generation, or
        // into one that is being emptied.
        loop {
            let now = self.epoch.load(Acquire);
            if now == epoch {
                return new;
            }
            epoch = now;
            self.newest(epoch).insert_hash(hash);
        }
    }

    /// [`contains`](Self::contains) for callers who have a hash.
    pub fn contains_hash(&self, hash: u64) -> bool {
        self.turn_if_due();
        let epoch = self.epoch.load(Acquire);
        let mut newest_first = (0..self.generations.len()).map(|age| self.aged(epoch, age));
        newest_first.any(|generation| generation.contains_hash(hash))
    }

    /// Empties the oldest generation and makes it the newest, now: by itself
    /// this happens only with a [`lifetime`](RotatingBuilder::lifetime), whose
    /// schedule does not change.
    pub fn rotate(&self) {
        let turning = lock(&self.turning);
        self.turn(&turning);
    }

    /// The number of generations.
    pub fn generations(&self) -> usize {
        self.generations.len()
    }

    /// How often the ring has turned.
    pub fn rotations(&self) -> u64 {
        self.epoch.load(Acquire)
    }

    /// The size in bits of all generations together.
    pub fn bits(&self) -> u64 {
        self.generations.iter().map(AtomicBloomFilter::bits).sum()
    }

    /// About how many keys were inserted within their lifetime; one that was
    /// inserted in several generations counts in each.
    pub fn len_estimate(&self) -> u64 {
        let lens = self.generations.iter().map(AtomicBloomFilter::len_estimate);
        lens.sum()
    }

    /// The rate of false positives now, computed from every bit.
    pub fn current_rate(&self) -> f64 {
        let right = self.generations.iter().map(|g| 1.0 - g.current_rate());
        1.0 - right.product::<f64>()
    }

    fn seed(&self) -> u64 {
        self.generations[0].seed()
    }

    #[inline]
    fn newest(&self, epoch: u64) -> &AtomicBloomFilter {
        self.aged(epoch, 0)
    }

    /// The generation that was the newest so many rotations ago.
    #[inline]
    fn aged(&self, epoch: u64, age: usize) -> &AtomicBloomFilter {
        let ring = self.generations.len();
        let place = (epoch % ring as u64) as usize + ring - age;
        &self.generations[place % ring]
    }

    #[inline]
    fn turn_if_due(&self) {
        if let Some((period, clock)) = &self.schedule {
            let now = clock.now().as_nanos();
            if now >= self.due.load(Acquire) {
                self.catch_up(*period, now);
            }
        }
    }

    /// Turns the ring to where the clock says, unless somebody else is at it.
    #[cold]
    fn catch_up(&self, period: u64, now: u64) {
        let Some(turning) = try_lock(&self.turning) else {
            return;
        };
        let due = self.due.load(Acquire);
        if now < due {
            return;
        }
        let missed = (now - due) / period + 1;
        // A whole turn empties everything.
        for _ in 0..missed.min(self.generations.len() as u64) {
            self.turn(&turning);
        }
        let due = due.saturating_add(missed.saturating_mul(period));
        self.due.store(due, Release);
    }

    fn turn(&self, _turning: &MutexGuard<'_, ()>) {
        let next = self.epoch.load(Acquire).wrapping_add(1);
        // First emptied, then the newest: who inserts into the newest inserts
        // into one that nobody will empty for all its life.
        self.newest(next).clear();
        self.epoch.store(next, Release);
    }
}

impl fmt::Debug for RotatingBloomFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotatingBloomFilter")
            .field("generations", &self.generations)
            .field("rotations", &self.rotations())
            .finish_non_exhaustive()
    }
}

/// The knobs of a [`RotatingBloomFilter`].
///
/// ```
/// use std::time::Duration;
/// use tenfold::bloom::{BuildError, RotatingBloomFilter};
///
/// let builder = RotatingBloomFilter::builder().items(1000).rate(0.01);
/// let error = builder.clone().lifetime(Duration::ZERO).build().unwrap_err();
/// assert_eq!(error, BuildError::ZeroLifetime);
/// // Without a lifetime it turns when it is told to.
/// let seen = builder.generations(2).build()?;
/// seen.insert("ada");
/// seen.rotate();
/// assert!(seen.contains("ada"));
/// seen.rotate();
/// assert!(!seen.contains("ada"));
/// # Ok::<(), BuildError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct RotatingBuilder {
    items: Option<u64>,
    rate: Option<f64>,
    lifetime: Option<Duration>,
    generations: usize,
    layout: Option<Layout>,
    seed: u64,
    clock: Clock,
}

impl RotatingBuilder {
    /// The different keys inserted within one lifetime.
    pub const fn items(mut self, items: u64) -> Self {
        self.items = Some(items);
        self
    }

    /// The highest rate of false positives of all generations together.
    pub const fn rate(mut self, rate: f64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// How long a key is found at least. Without it keys age only by
    /// [`rotate`](RotatingBloomFilter::rotate), after as many rotations as there
    /// are generations.
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// The number of generations, 3 unless set. With more, keys outlive their
    /// lifetime by less, and a look-up asks more of them.
    pub const fn generations(mut self, generations: usize) -> Self {
        self.generations = generations;
        self
    }

    /// How the bits lie, as in [`BloomBuilder::layout`](super::BloomBuilder::layout).
    pub const fn layout(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// The seed of the hash, zero unless set.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The clock that tells when a generation is over; [`Clock::coarse`] unless set.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the filter.
    ///
    /// # Errors
    ///
    /// If items or rate are missing, or cannot be met; if there are fewer than two
    /// generations or more than 64; if the lifetime is zero.
    pub fn build(self) -> Result<RotatingBloomFilter, BuildError> {
        let (Some(items), Some(rate)) = (self.items, self.rate) else {
            return Err(BuildError::Unsized);
        };
        if !(2..=MOST_GENERATIONS).contains(&self.generations) {
            return Err(BuildError::Generations {
                found: self.generations,
                max: MOST_GENERATIONS,
            });
        }
        if self.lifetime == Some(Duration::ZERO) {
            return Err(BuildError::ZeroLifetime);
        }
        super::builder::check_rate(items.max(1), rate)?;
        // The oldest generation is on its way out for all of the newest's time.
        let full = self.generations as u64 - 1;
        let mut builder = BloomFilter::builder()
            .items(items.div_ceil(full))
            // At most: the rates of the generations add up.
            .rate(rate / self.generations as f64)
            .seed(self.seed);
        if let Some(layout) = self.layout {
            builder = builder.layout(layout);
        }
        let generations: Result<Vec<_>, _> = (0..self.generations)
            .map(|_| builder.clone().build_atomic())
            .collect();
        let schedule = self.lifetime.map(|lifetime| {
            let nanos = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
            (nanos.div_ceil(full), self.clock)
        });
        let due = schedule.as_ref().map_or(u64::MAX, |(period, clock)| {
            clock.now().as_nanos().saturating_add(*period)
        });
        Ok(RotatingBloomFilter {
            generations: generations?,
            epoch: AtomicU64::new(0),
            due: AtomicU64::new(due),
            turning: Mutex::new(()),
            schedule,
        })
    }
}

impl Default for RotatingBuilder {
    fn default() -> Self {
        Self {
            items: None,
            rate: None,
            lifetime: None,
            generations: 3,
            layout: None,
            seed: 0,
            clock: Clock::default(),
        }
    }
}

/// What lies behind cannot be left half done, so a panic elsewhere is no matter.
fn lock(turning: &Mutex<()>) -> MutexGuard<'_, ()> {
    turning
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn try_lock(turning: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
    match turning.try_lock() {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

/// A look-up asks every generation; more would be no filter but a list.
const MOST_GENERATIONS: usize = 64;
