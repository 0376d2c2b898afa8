use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use super::entry::Lifetime;
use super::error::BuildError;
use super::id::Entropy;
use super::restore::{self, Restored};
use super::revocations::{RevocationLog, Revocations};
use super::store::MemoryStore;
use super::wall::seconds;
use super::{RestoreError, WallClock};

/// Builds a [`MemoryStore`]; made by [`MemoryStore::builder`].
///
/// ```
/// use std::time::Duration;
/// use tenfold::session::{MemoryStore, OnFull, PerUser};
///
/// let store = MemoryStore::builder()
///     .idle(Duration::from_secs(15 * 60))
///     .absolute(Duration::from_secs(4 * 3600))
///     .max_per_user(5, PerUser::EvictOldest)
///     .max_sessions(2_000_000, OnFull::Refuse)
///     .build()?;
/// assert_eq!(store.len(), 0);
/// assert!(MemoryStore::builder().idle(Duration::ZERO).build().is_err());
/// # Ok::<(), tenfold::session::BuildError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct MemoryStoreBuilder {
    pub(super) settings: Settings,
    pub(super) idle: Duration,
    pub(super) absolute: Duration,
    pub(super) touch_every: Option<Duration>,
}

/// The knobs, as the store reads them.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) lifetime: Lifetime,
    pub(super) touch_every: u32,
    pub(super) max_sessions: usize,
    pub(super) on_full: OnFull,
    pub(super) max_per_user: usize,
    pub(super) per_user: PerUser,
    pub(super) max_data: usize,
    pub(super) wall: WallClock,
    pub(super) entropy: Entropy,
    pub(super) log: Option<Arc<dyn RevocationLog>>,
}

/// What becomes of a new session when the store is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// It is refused: a flood of new sessions logs nobody out.
    #[default]
    Refuse,
    /// It takes the place of the one that was idle the longest among a few.
    EvictIdle,
}

/// What becomes of a user's new session when they have as many as they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PerUser {
    /// It takes the place of the oldest.
    #[default]
    EvictOldest,
    /// It is refused.
    Refuse,
}

impl MemoryStoreBuilder {
    pub(super) fn new() -> Self {
        Self {
            settings: Settings {
                lifetime: Lifetime {
                    idle: 0,
                    absolute: 0,
                },
                touch_every: 0,
                max_sessions: 1_000_000,
                on_full: OnFull::default(),
                max_per_user: 1000,
                per_user: PerUser::default(),
                max_data: 64 << 10,
                wall: WallClock::default(),
                entropy: getrandom::fill,
                log: None,
            },
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(8 * 3600),
            touch_every: None,
        }
    }

    /// How long a session lives after it was last loaded or saved; 30 minutes by
    /// default. In whole seconds, as all times here; rounded up.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long a session lives after its user logged in, however busy it is; 8 hours by
    /// default.
    pub fn absolute(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// How often, at most, a load moves the idle deadline: a session may end so much
    /// sooner than [`idle`](Self::idle) says. By default a sixteenth of that, and no
    /// more than a minute.
    pub fn touch_every(mut self, interval: Duration) -> Self {
        self.touch_every = Some(interval);
        self
    }

    /// How many sessions there may be, a million by default, and what becomes of one
    /// more. With [`max_data`](Self::max_data) it bounds the store's memory.
    pub fn max_sessions(mut self, max: usize, on_full: OnFull) -> Self {
        self.settings.max_sessions = max;
        self.settings.on_full = on_full;
        self
    }

    /// How many sessions a user may have, and what becomes of one more. By default
    /// 1000, of which the oldest leaves: a limit, because lists of them are looked through under a lock.
    pub fn max_per_user(mut self, max: usize, per_user: PerUser) -> Self {
        self.settings.max_per_user = max;
        self.settings.per_user = per_user;
        self
    }

    /// How many bytes of data a session may have; 64 KiB by default.
    pub fn max_data(mut self, max: usize) -> Self {
        self.settings.max_data = max;
        self
    }

    /// The clock of all deadlines; the system's by default.
    pub fn clock(mut self, wall: WallClock) -> Self {
        self.settings.wall = wall;
        self
    }

    /// Where the end of every session that is revoked or cycled is written down before
    /// it counts, so that [`restore`](Self::restore) brings none of them back. None by
    /// default.
    pub fn revocation_log(mut self, log: impl RevocationLog + 'static) -> Self {
        self.settings.log = Some(Arc::new(log));
        self
    }

    /// Builds an empty store.
    ///
    /// # Errors
    /// [`BuildError`] says which setting makes no sense.
    pub fn build(mut self) -> Result<MemoryStore, BuildError> {
        let lifetime = Lifetime {
            idle: whole("idle", self.idle)?,
            absolute: whole("absolute", self.absolute)?,
        };
        if lifetime.idle > lifetime.absolute {
            return Err(BuildError::Setting {
                setting: "idle",
                expected: "no longer than absolute, in seconds",
                found: u64::from(lifetime.idle),
            });
        }
        let touch_every = self.touch_every.map_or_else(
            || u64::from(lifetime.idle / 16).min(60),
            |interval| interval.as_secs(),
        );
        if touch_every >= u64::from(lifetime.idle) {
            return Err(BuildError::Setting {
                setting: "touch_every",
                expected: "shorter than idle, in seconds",
                found: touch_every,
            });
        }
        let settings = &self.settings;
        // Slots have 32-bit numbers.
        for (setting, found) in [
            ("max_sessions", settings.max_sessions),
            ("max_per_user", settings.max_per_user),
        ] {
            if found == 0 || setting == "max_sessions" && found > MAX_SESSIONS {
                return Err(BuildError::Setting {
                    setting,
                    expected: "at least 1, and max_sessions at most 2^30",
                    found: found as u64,
                });
            }
        }
        self.settings.lifetime = lifetime;
        self.settings.touch_every = touch_every as u32;
        Ok(MemoryStore::new(self.settings))
    }

    /// Builds a store of what lives on of a snapshot that
    /// [`MemoryStore::snapshot`] wrote. Deadlines are this builder's, and go on
    /// counting from where they were.
    ///
    /// A snapshot knows nothing of what was revoked after it. Give the
    /// [`Revocations`] read from the log to keep those sessions out; without,
    /// [`Restored::log`] says so. Whoever can write to the file can log in as anybody:
    /// its checksums find accidents, not forgeries.
    ///
    /// # Errors
    /// [`RestoreError`]: the settings make no sense, or the snapshot is not whole. There
    /// is no store of half a snapshot.
    pub fn restore(
        self,
        snapshot: impl Read,
        revocations: Option<Revocations>,
    ) -> Result<(MemoryStore, Restored), RestoreError> {
        let store = self.build()?;
        let restored = restore::restore(&store, snapshot, revocations)?;
        Ok((store, restored))
    }
}

fn whole(setting: &'static str, duration: Duration) -> Result<u32, BuildError> {
    let found = seconds(duration);
    match u32::try_from(found) {
        Ok(seconds) if seconds > 0 => Ok(seconds),
        _ => Err(BuildError::Setting {
            setting,
            expected: "1 to 2^32 - 1 seconds",
            found,
        }),
    }
}

const MAX_SESSIONS: usize = 1 << 30;
