use std::cell::Cell;
use std::time::Duration;

use super::top_keys::{HotKey, TopKeys};
use crate::hash::{CanonicalBytes, StableKey, xxh3_64};
use crate::rng::mix;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread::thread_local;
use crate::time::{Clock, Instant};

/// Finds celebrities in live traffic: [`TopKeys`] behind a sampler, for all threads.
///
/// *How finely it counts.* At first every key is counted. After 65,536 of them one in two is,
/// after as many again one in four, up to one in 1024, each then counting for as many. So a
/// quiet hour is counted to the last request, and busy traffic costs a random number
/// and a comparison per key.
///
/// *How it forgets.* Each half-life, a minute unless said otherwise, all counts are halved:
/// yesterday's celebrity is nobody today. Sampling then begins anew as finely as what came
/// during the last half-life calls for: traffic that became quiet is counted finely again.
/// Time is looked at when a key is sampled and when somebody asks, never per key.
///
/// *How sure it is.* Each estimate says its errors: [`HotKey::error`] for what was counted
/// together, [`HotKey::deviation`] for the sampling. Of a Zipf distribution (exponent 1), whoever
/// comes 1.2 times as often as the eleventh is among the first ten.
///
/// ```
/// use tenfold::router::HotKeys;
///
/// let hot = HotKeys::new();
/// for request in 0..100_000_u64 {
///     hot.note(if request % 10 == 0 { 42 } else { request });
/// }
/// let top = &hot.top(1)[0];
/// assert_eq!(top.key(), Some(&42_u64.to_le_bytes()[..]));
/// assert!((top.share() - 0.1).abs() < 0.01);
/// assert!((top.at_least()..=top.at_most()).contains(&10_000));
/// ```
///
/// Memory: at most 64 KiB, whatever comes, all of it at the beginning.
///
/// Threads meet only where keys are sampled, and there they do not wait: a thread that finds
/// another at the counters for long lets its sample go, and the next one to be counted
/// counts for both.
#[derive(Debug)]
pub struct HotKeys {
    /// One key in this many plus one is counted; all ones below.
    mask: AtomicU64,
    /// What samples stand for that were let go.
    owed: AtomicU64,
    draws: Box<[Draws; STRIPES]>,
    clock: Clock,
    half_life: Duration,
    /// What was sampled so far. Held for one count, or one look.
    sampled: Mutex<Sampled>,
}

#[derive(Debug)]
struct Sampled {
    keys: TopKeys,
    /// Since the last time that fewer were to be counted.
    samples: u64,
    /// When counts were halved the last time.
    halved: Instant,
    /// How many keys came since.
    since: u64,
}

impl HotKeys {
    /// Nothing was noted so far. Time is the system's.
    pub fn new() -> Self {
        Self::with_clock(Clock::coarse())
    }

    /// The same by another clock.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tenfold::router::HotKeys;
    /// use tenfold::time::ManualClock;
    ///
    /// let clock = ManualClock::new();
    /// let hot = HotKeys::with_clock(clock.clock()).half_life(Duration::from_secs(60));
    /// (0..1000).for_each(|_| hot.note("yesterday"));
    /// clock.advance(Duration::from_secs(3600));
    /// hot.note("today");
    /// assert_eq!(hot.top(10)[0].bytes(), b"today");
    /// assert_eq!(hot.top(10).len(), 1);
    /// ```
    pub fn with_clock(clock: Clock) -> Self {
        let hot = Self {
            mask: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            draws: Box::new(std::array::from_fn(|_| Draws::default())),
            half_life: HALF_LIFE,
            sampled: Mutex::new(Sampled {
                keys: TopKeys::new(COUNTERS),
                samples: 0,
                halved: clock.now(),
                since: 0,
            }),
            clock,
        };
        hot.seed(1)
    }

    /// Forgets half of what it knows in so much time, a millisecond at least.
    #[must_use]
    pub fn half_life(mut self, half_life: Duration) -> Self {
        self.half_life = half_life.max(Duration::from_millis(1));
        self
    }

    /// Chooses other keys to sample. With the same seed, and from one thread, the same
    /// keys are counted again.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        for draws in &*self.draws {
            draws.0.store(mix(seed), Ordering::Relaxed);
        }
        self
    }

    /// Notes that a key was asked for.
    #[inline]
    pub fn note(&self, key: impl StableKey) {
        let mask = self.mask.load(Ordering::Relaxed);
        if self.draw() & mask == 0 {
            self.sample(&key, mask + 1);
        }
    }

    /// The keys that came most often, first the first.
    pub fn top(&self, keys: usize) -> Vec<HotKey> {
        let now = self.clock.now();
        let mut sampled = self.sampled.lock();
        self.age(&mut sampled, now);
        sampled.keys.top(keys)
    }

    /// About how many keys were noted, those of earlier half-lives counted half, a
    /// quarter, and so on.
    pub fn total(&self) -> u64 {
        let now = self.clock.now();
        let mut sampled = self.sampled.lock();
        self.age(&mut sampled, now);
        let owed = self.owed.load(Ordering::Relaxed);
        sampled.keys.total().saturating_add(owed)
    }

    /// One key in so many is counted at present.
    pub fn one_in(&self) -> u64 {
        self.mask.load(Ordering::Relaxed) + 1
    }

    /// The bytes that it takes.
    pub fn memory(&self) -> usize {
        let draws = self.draws.len() * size_of::<Draws>();
        size_of::<Self>() + draws + self.sampled.lock().keys.memory()
    }

    /// What was counted so far, to be merged with others', and begins anew.
    pub fn take(&self) -> TopKeys {
        let now = self.clock.now();
        let fresh = TopKeys::new(COUNTERS);
        let mut sampled = self.sampled.lock();
        self.age(&mut sampled, now);
        (sampled.samples, sampled.since) = (0, 0);
        self.mask.store(0, Ordering::Relaxed);
        let mut taken = std::mem::replace(&mut sampled.keys, fresh);
        taken.note_unknown(self.owed.swap(0, Ordering::Relaxed));
        taken
    }

    #[cold]
    #[inline(never)]
    fn sample(&self, key: &impl StableKey, times: u64) {
        choose_sequence();
        // Before the lock is taken: this is the key's own code.
        let mut bytes = CanonicalBytes::new();
        key.write_canonical(&mut bytes);
        let bytes = bytes.as_slice();
        let (hash, now) = (xxh3_64(bytes, 0), self.clock.now());
        let tries = (0..TRIES).find_map(|attempt| {
            if attempt > 0 {
                std::hint::spin_loop();
            }
            self.sampled.try_lock()
        });
        let Some(mut sampled) = tries else {
            self.owed.fetch_add(times, Ordering::Relaxed);
            return;
        };
        self.age(&mut sampled, now);
        let mut times = times;
        if self.owed.load(Ordering::Relaxed) > 0 {
            times = times.saturating_add(self.owed.swap(0, Ordering::Relaxed));
        }
        // A sample that stands for `n` keys has this estimated variance.
        let variance = times.saturating_mul(times - 1);
        sampled.keys.note(bytes, hash, times, variance);
        sampled.since = sampled.since.saturating_add(times);
        sampled.samples += 1;
        let mask = self.mask.load(Ordering::Relaxed);
        if sampled.samples >= ENOUGH && mask < FEWEST {
            sampled.samples = 0;
            self.mask.store(2 * mask + 1, Ordering::Relaxed);
        }
    }

    /// Halves what was counted once for every half-life that has gone by, and counts as
    /// finely as the last of them allows.
    fn age(&self, sampled: &mut Sampled, now: Instant) {
        let gone = now.saturating_since(sampled.halved).as_nanos() / self.half_life.as_nanos();
        if gone == 0 {
            return;
        }
        let gone = u32::try_from(gone).unwrap_or(u32::MAX);
        sampled.keys.halve(gone);
        sampled.halved = sampled.halved + self.half_life.saturating_mul(gone);
        let usual = std::mem::take(&mut sampled.since) / u64::from(gone);
        sampled.samples = 0;
        let mask = (usual / (2 * ENOUGH)).next_power_of_two() - 1;
        self.mask.store(mask.min(FEWEST), Ordering::Relaxed);
    }

    /// Bits that say whether to sample, from this thread's own sequence.
    #[inline]
    fn draw(&self) -> u64 {
        let state = &self.draws[SEQUENCE.with(Cell::get) % STRIPES].0;
        // No addition that others cannot come between: two threads that share a sequence
        // may then draw the same, which is as good.
        let next = state.load(Ordering::Relaxed).wrapping_add(STEP);
        state.store(next, Ordering::Relaxed);
        (next ^ (next >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 40
    }
}

impl Default for HotKeys {
    fn default() -> Self {
        Self::new()
    }
}

/// The state of a sequence of random numbers, on a line of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Draws(AtomicU64);

impl Default for Draws {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

thread_local! {
    /// Which sequence this thread draws from: the first, until it was sampled once.
    static SEQUENCE: Cell<usize> = const { Cell::new(0) };
}

/// Gives this thread a sequence of its own, as far as there are enough.
fn choose_sequence() {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    SEQUENCE.with(|own| {
        if own.get() == 0 {
            let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            own.set(1 + number % (STRIPES - 1));
        }
    });
}

/// Counters: with 512, whoever has more than a fifth of a percent of all keys is found.
const COUNTERS: usize = 512;
/// Sequences: so many threads draw without touching each other's line.
const STRIPES: usize = 32;
/// Samples after which half as many are taken: the eleventh key of a Zipf distribution over a
/// million has about 400 of them, of all rates together more than a thousand, so that a fifth
/// more is four standard deviations and more.
const ENOUGH: u64 = 1 << 16;
/// The mask of the rarest sampling.
const FEWEST: u64 = 1023;
/// How often to try for the lock: for about as long as a count takes.
const TRIES: usize = 16;
const HALF_LIFE: Duration = Duration::from_secs(60);
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
