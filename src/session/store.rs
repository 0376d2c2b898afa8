use std::fmt;
use std::io;

use super::builder::{MemoryStoreBuilder, Settings};
use super::data::SessionData;
use super::entry::Entry;
use super::error::{CreateError, SaveError};
use super::generations::Generations;
use super::id::SessionToken;
use super::loaded::{Loaded, Version};
use super::owners::Owners;
use super::revocations::Record;
use super::session_map::SessionMap;
use super::shard::Shard;
use super::snapshot::Scan;
use super::stats::{COUNTS, Count, StoreStats};
use super::user_id::UserId;
use crate::stats::Counters;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Sessions in the memory of this process, many million of them.
///
/// Shared by reference between threads. No call waits for anything but locks that are
/// held for a few dozen memory accesses, and the log of revocations if there is one. See the
/// [module](super) for what it promises.
///
/// ```
/// use tenfold::session::{MemoryStore, SaveError};
///
/// let store = MemoryStore::builder().build()?;
/// let (token, version) = store.create(Some("ada".into()), b"1 lamp".as_slice())?;
/// let loaded = store.load(&token).ok_or("gone")?;
/// assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
///
/// // A save that is based on what is there, and one that is not.
/// let newer = store.save(&token, version, b"2 lamps".as_slice())?;
/// let late = store.save(&token, version, b"no lamp".as_slice());
/// assert_eq!(late, Err(SaveError::Conflict { current: newer }));
///
/// // What is revoked does not come back.
/// store.revoke(&token)?;
/// assert_eq!(store.save(&token, newer, b"3 lamps".as_slice()), Err(SaveError::Gone));
/// assert!(store.load(&token).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MemoryStore {
    pub(super) settings: Settings,
    /// Locks are taken in this order: a row of owners, shards by rising number, the scan.
    pub(super) shards: Vec<Mutex<Shard>>,
    pub(super) owners: Owners,
    pub(super) generations: Generations,
    pub(super) held: Held,
    /// Counts revocations of users. New sessions are stamped with it.
    pub(super) epoch: AtomicU64,
    /// The first version of a new session: higher than any of an earlier process.
    pub(super) first_version: u64,
    /// Which shard is swept next.
    pub(super) sweep_at: AtomicU64,
    /// Held while sessions come from another store, so that none comes twice. Locked before
    /// all others.
    pub(super) importing: Mutex<()>,
    /// What happens while a snapshot is being written.
    pub(super) scan: Mutex<Option<Scan>>,
    /// Whether there is a scan. Read under the lock of a shard: who sees none there has
    /// done with the shard before the snapshot comes to it.
    pub(super) is_scanned: AtomicU64,
    pub(super) counts: Counters<COUNTS>,
}

/// Sessions held, and those about to be. Whoever begins or ends one writes here, and everybody reads what would lie
/// beside it: it has two lines to itself, since processors fetch them by pairs.
#[repr(align(128))]
pub(super) struct Held(pub(super) AtomicU64);

impl MemoryStore {
    /// Begins to describe a store.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::new()
    }

    pub(super) fn new(settings: Settings) -> Self {
        // Few enough sessions per lock that a table grows in little time.
        let shards = (settings.max_sessions / PER_SHARD).next_power_of_two();
        let shards = shards.clamp(MIN_SHARDS, MAX_SHARDS);
        let begun = settings.wall.now() << 32;
        Self {
            shards: (0..shards).map(|_| Mutex::new(Shard::default())).collect(),
            owners: Owners::new(shards + shards / 2),
            generations: Generations::new(),
            held: Held(AtomicU64::new(0)),
            epoch: AtomicU64::new(begun),
            first_version: begun | 1,
            sweep_at: AtomicU64::new(0),
            importing: Mutex::new(()),
            scan: Mutex::new(None),
            is_scanned: AtomicU64::new(0),
            counts: Counters::new(),
            settings,
        }
    }

    /// Begins a session, of nobody or of a user who has logged in just now, under a token
    /// drawn by the store: one that a client brings is never taken.
    ///
    /// # Errors
    /// [`CreateError`]: too much data, too many sessions, or no random bits.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a caller writes `Some(name.into())`"
    )]
    pub fn create(
        &self,
        user: Option<UserId>,
        data: impl Into<SessionData>,
    ) -> Result<(SessionToken, Version), CreateError> {
        let data = data.into();
        let max = self.settings.max_data;
        if data.len() > max {
            let len = data.len();
            return Err(CreateError::TooLarge { len, max });
        }
        let token = SessionToken::draw_from(self.settings.entropy).map_err(CreateError::Entropy)?;
        self.reserve()?;
        let now = self.now();
        let entry = Entry::new(token.key().0, data, self.first_version, now);
        let mut out = Vec::new();
        let placed = self.place(entry, user.as_ref(), now, &mut out);
        self.retire(out);
        if let Err(max) = placed {
            self.release(1);
            self.count(Count::Refused);
            return Err(CreateError::UserFull { max });
        }
        self.count(Count::Created);
        Ok((token, Version(self.first_version)))
    }

    /// Loads a session and moves its idle deadline; none if there is none, it has
    /// expired, or it was revoked.
    pub fn load(&self, token: &SessionToken) -> Option<Loaded> {
        self.look_up(token, true)
    }

    /// Loads a session without prolonging it.
    pub fn peek(&self, token: &SessionToken) -> Option<Loaded> {
        self.look_up(token, false)
    }

    fn look_up(&self, token: &SessionToken, touches: bool) -> Option<Loaded> {
        let key = token.key().0;
        let now = self.now();
        let lifetime = self.settings.lifetime;
        let mut shard = self.shard(key);
        let Some(entry) = shard.get_mut(key) else {
            drop(shard);
            self.count(Count::Misses);
            return None;
        };
        if lifetime.is_over(entry, now) || self.generations.look_into(entry) {
            drop(shard);
            self.count(Count::Over);
            return None;
        }
        let moved = touches && now.saturating_sub(entry.seen) > self.settings.touch_every;
        if moved {
            entry.seen = now;
        }
        let (data, user) = (entry.data.clone(), entry.user.clone());
        let (version, created) = (Version(entry.version), entry.created);
        let ends = lifetime.end(entry);
        drop(shard);
        self.count(Count::Hits);
        Some(Loaded {
            data,
            user,
            version,
            created: u64::from(created),
            ends: u64::from(ends),
            moved,
            stale: None,
        })
    }

    /// Saves data, if the session is still there and still at the version that was
    /// loaded. Answers its new version.
    ///
    /// # Errors
    /// [`SaveError::Conflict`]: somebody else has saved; [`modify`](Self::modify) takes
    /// care of that. [`SaveError::Gone`], [`SaveError::TooLarge`]. Nothing was written.
    pub fn save(
        &self,
        token: &SessionToken,
        expected: Version,
        data: impl Into<SessionData>,
    ) -> Result<Version, SaveError> {
        let data = data.into();
        let max = self.settings.max_data;
        if data.len() > max {
            let len = data.len();
            return Err(SaveError::TooLarge { len, max });
        }
        let key = token.key().0;
        let now = self.now();
        let saved = {
            let mut shard = self.shard(key);
            match shard.get_mut(key) {
                None => Err(SaveError::Gone),
                Some(entry) if !self.is_live(entry, now) => Err(SaveError::Gone),
                Some(entry) if entry.version != expected.0 => Err(SaveError::Conflict {
                    current: Version(entry.version),
                }),
                Some(entry) => {
                    entry.version += 1;
                    entry.seen = now;
                    let old = std::mem::replace(&mut entry.data, data);
                    Ok((Version(entry.version), old))
                }
            }
        };
        self.count(match &saved {
            Ok(_) => Count::Saved,
            Err(SaveError::Conflict { .. }) => Count::Conflicts,
            Err(_) => Count::Gone,
        });
        // What was there before is dropped here, without the lock.
        saved.map(|(version, _)| version)
    }

    /// Changes data: `change` is given what is there, and answers what shall be (none:
    /// leave it) and whatever else the caller wants. If somebody else saves meanwhile it
    /// is asked again, so it has to do nothing but look and answer. No lock is held while it runs.
    ///
    /// # Errors
    /// As [`save`](Self::save); [`SaveError::Conflict`] only after a hundred attempts.
    ///
    /// ```
    /// # use tenfold::session::MemoryStore;
    /// # let store = MemoryStore::builder().build()?;
    /// let (token, _) = store.create(None, [0_u8].as_slice())?;
    /// let count = |data: &[u8]| (Some(vec![data[0] + 1]), data[0] + 1);
    /// assert_eq!(store.modify(&token, count)?, 1);
    /// assert_eq!(store.modify(&token, count)?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn modify<R>(
        &self,
        token: &SessionToken,
        mut change: impl FnMut(&[u8]) -> (Option<Vec<u8>>, R),
    ) -> Result<R, SaveError> {
        let mut last = SaveError::Gone;
        for _ in 0..ATTEMPTS {
            let loaded = self.load(token).ok_or(SaveError::Gone)?;
            let (data, result) = change(&loaded);
            let Some(data) = data else { return Ok(result) };
            match self.save(token, loaded.version, data) {
                Ok(_) => return Ok(result),
                Err(conflict @ SaveError::Conflict { .. }) => last = conflict,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Makes the changes of a map in the session, whatever else was changed since it
    /// was read: of two who change different keys neither is lost, of two who change the same
    /// the later wins.
    ///
    /// # Errors
    /// As [`modify`](Self::modify); [`SaveError::NotAMap`] if the data is none.
    pub fn merge(&self, token: &SessionToken, changes: &SessionMap) -> Result<(), SaveError> {
        let merged = self.modify(token, |data| changes.merged_into(data));
        merged.and_then(|merged| merged)
    }

    /// How many sessions are held, those that are over and not yet swept included.
    pub fn len(&self) -> usize {
        self.held.0.load(Ordering::Relaxed) as usize
    }

    /// Whether no session is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the store holds and has done so far.
    pub fn stats(&self) -> StoreStats {
        let get = |count: Count| self.counts.get(count as usize);
        StoreStats {
            held: self.len() as u64,
            created: get(Count::Created),
            hits: get(Count::Hits),
            misses: get(Count::Misses),
            over: get(Count::Over),
            saved: get(Count::Saved),
            conflicts: get(Count::Conflicts),
            gone: get(Count::Gone),
            cycled: get(Count::Cycled),
            revoked: get(Count::Revoked),
            evicted: get(Count::Evicted),
            refused: get(Count::Refused),
            swept: get(Count::Swept),
            setbacks: self.settings.wall.setbacks(),
        }
    }

    /// Whether a session found in a shard, which is locked, may be loaded.
    pub(super) fn is_live(&self, entry: &Entry, now: u32) -> bool {
        !self.settings.lifetime.is_over(entry, now) && !self.generations.is_revoked(entry)
    }

    pub(super) fn now(&self) -> u32 {
        u32::try_from(self.settings.wall.now()).unwrap_or(u32::MAX)
    }

    pub(super) fn log(&self, record: Record) -> io::Result<()> {
        match &self.settings.log {
            Some(log) => log.append(&record.encode()),
            None => Ok(()),
        }
    }

    /// Tells a snapshot under way. Called under the locks of the shards concerned.
    pub(super) fn note(&self, note: impl FnOnce(&mut Scan)) {
        if self.is_scanned.load(Ordering::SeqCst) > 0
            && let Some(scan) = &mut *self.scan.lock()
        {
            note(scan);
        }
    }

    pub(super) fn count(&self, count: Count) {
        self.counts.add(count as usize, 1);
    }

    pub(super) fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        self.shards[self.shard_of(key)].lock()
    }

    pub(super) fn shard_of(&self, key: u128) -> usize {
        // The table within takes the low half of the key.
        (key >> 64) as usize & (self.shards.len() - 1)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("held", &self.len())
            .field("max_sessions", &self.settings.max_sessions)
            .finish_non_exhaustive()
    }
}

/// Sessions per shard when the store is full.
const PER_SHARD: usize = 4096;
const MIN_SHARDS: usize = 64;
const MAX_SHARDS: usize = 1 << 14;
/// How often a compare-and-swap is tried.
pub(super) const ATTEMPTS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::CycleError;

    #[test]
    fn without_random_bits_there_are_no_new_tokens_and_the_old_ones_stay() {
        let mut store = MemoryStore::builder().build().unwrap();
        let (token, _) = store.create(None, b"cart".as_slice()).unwrap();
        store.settings.entropy = |_| Err(getrandom::Error::UNSUPPORTED);
        let refused = store.create(Some("ada".into()), b"".as_slice());
        assert!(matches!(refused, Err(CreateError::Entropy(_))));
        assert!(matches!(store.cycle(&token), Err(CycleError::Entropy(_))));
        let refused = store.log_in(&token, "ada");
        assert!(matches!(refused, Err(CycleError::Entropy(_))));
        assert_eq!(store.load(&token).as_deref(), Some(&b"cart"[..]));
        assert!(store.sessions_of("ada").is_empty());
        assert_eq!((store.len(), store.stats().cycled), (1, 0));
    }
}
