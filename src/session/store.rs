use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use super::builder::{MemoryStoreBuilder, OnFull, PerUser, Settings};
use super::error::{CreateError, CycleError, LogError, SaveError};
use super::id::{SessionKey, SessionToken};
use super::revocations::Record;
use super::session_map::SessionMap;
use super::shard::{Entry, Shard};
use super::snapshot::Scan;
use super::stats::{COUNTS, Count, StoreStats};
use super::users::{LockedRow, User, UserId, Users};
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
    /// Locks are taken in this order: a row of users, shards by rising number, the scan.
    pub(super) shards: Vec<Mutex<Shard>>,
    users: Users,
    /// Sessions held, and those about to be.
    held: AtomicU64,
    /// Counts revocations of users. New sessions are stamped with it.
    pub(super) epoch: AtomicU64,
    /// The first version of a new session: higher than any of an earlier process.
    pub(super) first_version: u64,
    /// Which shard is swept next.
    sweep_at: AtomicU64,
    /// Held while sessions come from another store, so that none comes twice. Locked before
    /// all others.
    pub(super) importing: Mutex<()>,
    /// What happens while a snapshot is being written.
    pub(super) scan: Mutex<Option<Scan>>,
    /// Whether there is a scan. Read under the lock of a shard: who sees none there has
    /// done with the shard before the snapshot comes to it.
    pub(super) is_scanned: AtomicU64,
    counts: Counters<COUNTS>,
}

/// Counts the saves of one session; never repeats, not even after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub(super) u64);

impl Version {
    /// The number, to send it along with a form.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The version of this number.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {:#x}", self.0)
    }
}

/// A session as it was when it was loaded: its data, which it derefs to, and what
/// belongs to that.
#[derive(Clone)]
pub struct Loaded {
    data: Arc<[u8]>,
    user: Option<Arc<User>>,
    version: Version,
    created: u64,
    ends: u64,
    /// Whether this load moved the idle deadline: the copy of a sticky session is told.
    #[cfg_attr(not(feature = "sticky"), allow(dead_code, reason = "no copies"))]
    pub(super) moved: bool,
}

impl Loaded {
    /// A session as a store elsewhere holds it. `created` and `ends` are seconds since 1970.
    pub fn new(
        data: impl Into<Arc<[u8]>>,
        user: Option<UserId>,
        version: Version,
        created: u64,
        ends: u64,
    ) -> Self {
        Self {
            data: data.into(),
            user: user.map(|id| Arc::new(User::new(id))),
            version,
            created,
            ends,
            moved: false,
        }
    }

    /// The data; not copied.
    pub fn data(&self) -> &Arc<[u8]> {
        &self.data
    }

    /// Which version it is, for [`MemoryStore::save`].
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whose session it is, if they have logged in.
    pub fn user(&self) -> Option<&UserId> {
        self.user.as_ref().map(|user| &user.id)
    }

    /// When it was begun, or its user logged in: seconds since 1970.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// When it ends, if nobody loads it any more: seconds since 1970.
    pub fn ends(&self) -> u64 {
        self.ends
    }
}

impl Deref for Loaded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.data
    }
}

impl fmt::Debug for Loaded {
    /// Keeps the data to itself, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("bytes", &self.data.len())
            .field("user", &self.user())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// One of a user's sessions, for a list of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Which; opens nothing.
    pub key: SessionKey,
    /// When it was begun: seconds since 1970.
    pub created: u64,
    /// When it was last used, as far as its idle deadline goes: seconds since 1970.
    pub seen: u64,
    /// When it ends, if it is not used again: seconds since 1970.
    pub ends: u64,
    /// Its data: where it was begun, with what browser.
    pub data: Arc<[u8]>,
}

impl SessionInfo {
    /// One of the sessions that a store elsewhere holds, by its key, last seen when it was begun.
    pub fn new(key: SessionKey, created: u64, ends: u64, data: impl Into<Arc<[u8]>>) -> Self {
        Self {
            key,
            created,
            seen: created,
            ends,
            data: data.into(),
        }
    }

    /// Says when it was last used.
    #[must_use]
    pub fn seen(mut self, seen: u64) -> Self {
        self.seen = seen;
        self
    }
}

/// What a [`sweep`](MemoryStore::sweep) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Slots it looked at.
    pub looked: usize,
    /// Sessions it took out.
    pub removed: usize,
}

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
            users: Users::new(shards),
            held: AtomicU64::new(0),
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
        data: impl Into<Arc<[u8]>>,
    ) -> Result<(SessionToken, Version), CreateError> {
        let data = data.into();
        let max = self.settings.max_data;
        if data.len() > max {
            let len = data.len();
            return Err(CreateError::TooLarge { len, max });
        }
        let token = SessionToken::draw().map_err(CreateError::Entropy)?;
        self.reserve()?;
        let now = self.now();
        let entry = Entry {
            key: token.key().0,
            data,
            user: None,
            version: self.first_version,
            stamp: 0,
            created: now,
            seen: now,
        };
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
        if !lifetime.is_live(entry, now) {
            drop(shard);
            self.count(Count::Over);
            return None;
        }
        let moved = touches && now.saturating_sub(entry.seen) > self.settings.touch_every;
        if moved {
            entry.seen = now;
        }
        let loaded = Loaded {
            data: Arc::clone(&entry.data),
            user: entry.user.clone(),
            version: Version(entry.version),
            created: u64::from(entry.created),
            ends: u64::from(lifetime.end(entry)),
            moved,
        };
        drop(shard);
        self.count(Count::Hits);
        Some(loaded)
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
        data: impl Into<Arc<[u8]>>,
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
                Some(entry) if !self.settings.lifetime.is_live(entry, now) => Err(SaveError::Gone),
                None => Err(SaveError::Gone),
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

    /// Gives the session a new token, in one step: before it only the old one is good,
    /// after it only the new one. Do so whenever what its user may do changes.
    ///
    /// # Errors
    /// [`CycleError`]: the session is gone, or stays as it was.
    pub fn cycle(&self, token: &SessionToken) -> Result<SessionToken, CycleError> {
        let key = token.key().0;
        let user = self.shard(key).get(key).and_then(|e| e.user.clone());
        self.replace(token, user.map(|user| user.id.clone()).as_ref(), false)
    }

    /// Makes the session a user's, who has just proved who they are, under a new token:
    /// what an attacker planted in the browser before (fixation) is good for nothing. Its absolute
    /// deadline begins anew; its data stays.
    ///
    /// # Errors
    /// As [`cycle`](Self::cycle), and [`CycleError::UserFull`].
    pub fn log_in(
        &self,
        token: &SessionToken,
        user: impl Into<UserId>,
    ) -> Result<SessionToken, CycleError> {
        self.replace(token, Some(&user.into()), true)
    }

    fn replace(
        &self,
        token: &SessionToken,
        user: Option<&UserId>,
        is_log_in: bool,
    ) -> Result<SessionToken, CycleError> {
        let (old, now) = (token.key().0, self.now());
        let lifetime = self.settings.lifetime;
        let is_live = self
            .shard(old)
            .get(old)
            .is_some_and(|entry| lifetime.is_live(entry, now));
        if !is_live {
            self.count(Count::Gone);
            return Err(CycleError::Gone);
        }
        let fresh = SessionToken::draw().map_err(CycleError::Entropy)?;
        // First, so that what counts is written. Nobody loses but who is cycled twice at
        // once, and that session goes on under the winner's token.
        self.log(Record::Session { key: old })
            .map_err(CycleError::Log)?;
        let new = fresh.key().0;
        let mut out = Vec::new();
        let moved = self.replace_logged(old, new, user, is_log_in, now, &mut out);
        self.retire(out);
        match moved {
            Ok(leaver) => {
                // The row was locked for the session's new user only.
                if let Some(user) = leaver {
                    self.users.unlink(&user.id, old);
                }
                self.count(Count::Cycled);
                Ok(fresh)
            }
            Err(error) => {
                self.count(Count::Gone);
                Err(error)
            }
        }
    }

    /// The step itself. Answers whose list has the old key in it still.
    fn replace_logged(
        &self,
        old: u128,
        new: u128,
        user: Option<&UserId>,
        is_log_in: bool,
        now: u32,
        out: &mut Vec<Entry>,
    ) -> Result<Option<Arc<User>>, CycleError> {
        let mut locked = user.map(|user| self.users.lock(user));
        if is_log_in && let Some(locked) = &mut locked {
            let room = self.make_room(locked, now, Some(old), out);
            if let Err(max) = room {
                locked.tidy();
                return Err(CycleError::UserFull { max });
            }
        }
        let (mut one, mut two) = self.shard_pair(old, new);
        let lifetime = self.settings.lifetime;
        let is_live = one
            .get(old)
            .is_some_and(|entry| lifetime.is_live(entry, now));
        let entry = if is_live { one.remove(old) } else { None };
        let Some(mut entry) = entry else {
            drop((one, two));
            if let Some(locked) = &mut locked {
                locked.tidy();
            }
            return Err(CycleError::Gone);
        };
        let leaver = entry.user.clone();
        let leaver = leaver.filter(|leaver| user != Some(&leaver.id));
        entry.key = new;
        entry.version += 1;
        entry.seen = now;
        if let Some(locked) = &mut locked {
            let row = locked.row_or_new();
            row.keys.retain(|&key| key != old);
            row.keys.push(new);
            if is_log_in {
                entry.created = now;
                entry.stamp = self.epoch.load(Ordering::SeqCst);
                entry.user = Some(Arc::clone(&row.user));
            }
        }
        self.note(|scan| scan.moved(old, &entry));
        two.as_mut().unwrap_or(&mut one).insert(entry);
        Ok(leaver)
    }

    /// Ends a session. Says whether there was one to end; either way there is none now.
    /// One that was cycled meanwhile goes on under its new token: who has to be sure of a
    /// user, not a token, uses [`revoke_user`](Self::revoke_user).
    ///
    /// # Errors
    /// [`LogError`]: a restart may bring it back; try again.
    pub fn revoke(&self, token: &SessionToken) -> Result<bool, LogError> {
        self.revoke_key(token.key())
    }

    /// Ends the session of this key: one of [`sessions_of`](Self::sessions_of).
    ///
    /// # Errors
    /// [`LogError`]: a restart may bring it back; try again.
    pub fn revoke_key(&self, key: SessionKey) -> Result<bool, LogError> {
        let key = key.0;
        let logged = self.log(Record::Session { key }).map_err(LogError);
        let now = self.now();
        let removed = {
            let mut shard = self.shard(key);
            let removed = shard.remove(key);
            if removed.is_some() {
                self.note(|scan| scan.revoked(Record::Session { key }));
            }
            removed
        };
        let Some(entry) = removed else {
            return logged.map(|()| false);
        };
        let was_live = self.settings.lifetime.is_live(&entry, now);
        self.retire(vec![entry]);
        self.count(Count::Revoked);
        logged.map(|()| was_live)
    }

    /// Ends all sessions of a user, those being begun or cycled meanwhile too, except
    /// one, if you like: that of who asks. Says how many.
    ///
    /// When it returns, no load of theirs succeeds any more, on any thread. What is
    /// logged in after that is a new session and lives.
    ///
    /// # Errors
    /// [`LogError`]: they are over, but a restart may bring them back; try again.
    pub fn revoke_user(
        &self,
        user: impl Into<UserId>,
        except: Option<&SessionToken>,
    ) -> Result<usize, LogError> {
        let except = except.map(|token| token.key().0);
        let generation = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        self.revoke_before(&user.into(), generation, except)
    }

    /// Ends all sessions of a user with a lower stamp than this generation, except one.
    pub(super) fn revoke_before(
        &self,
        user: &UserId,
        generation: u64,
        except: Option<u128>,
    ) -> Result<usize, LogError> {
        let record = Record::of_user(user, generation, except);
        let logged = self.log(record).map_err(LogError);
        let now = self.now();
        let mut out = Vec::new();
        let mut ended = 0;
        let mut locked = self.users.lock(user);
        if let Some(row) = locked.row() {
            // Whoever loads the one that is spared sees it spared.
            let mut spared = except.map(|key| (key, self.shard(key)));
            row.user.raise(generation);
            if let Some((key, shard)) = &mut spared
                && let Some(entry) = shard.get_mut(*key)
            {
                let was = entry.user.as_ref().is_some_and(|u| u.id == *user);
                entry.stamp = if was { generation } else { entry.stamp };
            }
            drop(spared);
            // Whoever began a snapshot before this waits for nothing: the note says it.
            if let Some(scan) = &mut *self.scan.lock() {
                scan.revoked(record);
            }
            row.keys.retain(|&key| {
                let mut shard = self.shard(key);
                let over = shard.get(key).is_none_or(Entry::is_revoked);
                if over && let Some(entry) = shard.remove(key) {
                    ended += usize::from(now < self.settings.lifetime.end(&entry));
                    out.push(entry);
                }
                !over
            });
            locked.tidy();
        }
        drop(locked);
        self.counts.add(Count::Revoked as usize, out.len() as u64);
        self.release(out.len());
        logged.map(|()| ended)
    }

    /// The sessions of a user, the oldest first.
    pub fn sessions_of(&self, user: impl Into<UserId>) -> Vec<SessionInfo> {
        let user = user.into();
        let keys = {
            let mut locked = self.users.lock(&user);
            locked.row().map_or_else(Vec::new, |row| row.keys.clone())
        };
        let now = self.now();
        let lifetime = self.settings.lifetime;
        let mut all: Vec<_> = keys
            .into_iter()
            .filter_map(|key| {
                let shard = self.shard(key);
                let entry = shard.get(key)?;
                lifetime.is_live(entry, now).then(|| SessionInfo {
                    key: SessionKey(key),
                    created: u64::from(entry.created),
                    seen: u64::from(entry.seen),
                    ends: u64::from(lifetime.end(entry)),
                    data: Arc::clone(&entry.data),
                })
            })
            .collect();
        all.sort_by_key(|info| (info.created, info.key));
        all
    }

    /// Looks at the next `budget` slots and frees what is over: from any thread, as often as
    /// you like; a round is as many slots as the store ever had sessions at once. A lock
    /// is held for 64 slots at a time. Every new session sweeps a few slots too, so that
    /// the store stays bounded without this; calling it keeps memory lower.
    pub fn sweep(&self, budget: usize) -> Swept {
        let mut swept = Swept::default();
        let mut out = Vec::new();
        let mut rounds = 0;
        while swept.looked < budget && rounds <= self.shards.len() {
            let at = self.sweep_at.load(Ordering::Relaxed);
            let hold = HOLD.min(budget - swept.looked);
            let mut shard = self.shards[at as usize % self.shards.len()].lock();
            let (looked, is_round) = self.sweep_shard(&mut shard, hold, &mut out);
            drop(shard);
            swept.looked += looked;
            swept.removed += out.len();
            self.counts.add(Count::Swept as usize, out.len() as u64);
            self.retire(std::mem::take(&mut out));
            if is_round {
                rounds += 1;
                // Another sweep may have gone on already.
                let next = at.wrapping_add(1);
                let relaxed = Ordering::Relaxed;
                let _ = self.sweep_at.compare_exchange(at, next, relaxed, relaxed);
            }
        }
        swept
    }

    /// How many sessions are held, those that are over and not yet swept included.
    pub fn len(&self) -> usize {
        self.held.load(Ordering::Relaxed) as usize
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

    pub(super) fn now(&self) -> u32 {
        u32::try_from(self.settings.wall.now()).unwrap_or(u32::MAX)
    }

    /// Counts a session that is about to be, if there is room.
    pub(super) fn reserve(&self) -> Result<(), CreateError> {
        let max = self.settings.max_sessions;
        let try_once = || {
            let held = self.held.fetch_add(1, Ordering::Relaxed);
            if held < max as u64 {
                return true;
            }
            self.release(1);
            false
        };
        if try_once() {
            return Ok(());
        }
        self.sweep(SWEEP_IF_FULL);
        for _ in 0..ATTEMPTS {
            if try_once() {
                return Ok(());
            }
            if self.settings.on_full == OnFull::Refuse || !self.evict_idle() {
                break;
            }
        }
        self.count(Count::Refused);
        Err(CreateError::Full { max })
    }

    /// Ends the session that was idle the longest among a few.
    fn evict_idle(&self) -> bool {
        let first = self.sweep_at.fetch_add(1, Ordering::Relaxed) as usize;
        for at in 0..self.shards.len() {
            let mut shard = self.shards[first.wrapping_add(at) % self.shards.len()].lock();
            let key = shard.idlest(SAMPLE);
            if let Some(entry) = key.and_then(|key| shard.remove(key)) {
                self.note(|scan| scan.revoked(Record::Session { key: entry.key }));
                drop(shard);
                self.retire(vec![entry]);
                self.count(Count::Evicted);
                return true;
            }
        }
        false
    }

    /// Puts a session into the store, with its user's, if there is room for it there:
    /// else says how many there may be.
    pub(super) fn place(
        &self,
        mut entry: Entry,
        user: Option<&UserId>,
        now: u32,
        out: &mut Vec<Entry>,
    ) -> Result<(), usize> {
        let mut locked = user.map(|user| self.users.lock(user));
        if let Some(locked) = &mut locked {
            let room = self.make_room(locked, now, None, out);
            if let Err(max) = room {
                locked.tidy();
                return Err(max);
            }
            let row = locked.row_or_new();
            row.keys.push(entry.key);
            entry.user = Some(Arc::clone(&row.user));
        }
        // Under the row's lock: a revocation either sees this session there or
        // counts as before it.
        entry.stamp = self.epoch.load(Ordering::SeqCst);
        let mut shard = self.shard(entry.key);
        shard.insert(entry);
        let before = out.len();
        self.sweep_shard(&mut shard, SWEEP_PER_CREATE, out);
        drop(shard);
        let swept = out.len() - before;
        self.counts.add(Count::Swept as usize, swept as u64);
        Ok(())
    }

    /// Makes room for one more session of a user, not counting `except`.
    fn make_room(
        &self,
        locked: &mut LockedRow<'_>,
        now: u32,
        except: Option<u128>,
        out: &mut Vec<Entry>,
    ) -> Result<(), usize> {
        let max = self.settings.max_per_user;
        let Some(row) = locked.row() else {
            return Ok(());
        };
        if row.keys.len() < max {
            return Ok(());
        }
        let lifetime = self.settings.lifetime;
        let mut live = Vec::new();
        row.keys.retain(|&key| {
            let shard = self.shard(key);
            let entry = shard.get(key);
            let entry = entry.filter(|entry| lifetime.is_live(entry, now));
            if let Some(entry) = entry
                && Some(key) != except
            {
                live.push((entry.created, entry.seen, key));
            }
            entry.is_some()
        });
        if live.len() < max {
            return Ok(());
        }
        if self.settings.per_user == PerUser::Refuse {
            return Err(max);
        }
        live.sort_unstable();
        let too_many = live.len() + 1 - max;
        for &(_, _, key) in &live[..too_many] {
            row.keys.retain(|&other| other != key);
            let mut shard = self.shard(key);
            if let Some(entry) = shard.remove(key) {
                self.note(|scan| scan.revoked(Record::Session { key }));
                out.push(entry);
                self.count(Count::Evicted);
            }
        }
        Ok(())
    }

    fn sweep_shard(&self, shard: &mut Shard, slots: usize, out: &mut Vec<Entry>) -> (usize, bool) {
        let (lifetime, now) = (self.settings.lifetime, self.now());
        shard.sweep(slots, |entry| !lifetime.is_live(entry, now), out)
    }

    /// Counts sessions out that were removed, and takes them from their users' lists.
    /// Called without any lock.
    pub(super) fn retire(&self, out: Vec<Entry>) {
        self.release(out.len());
        for entry in out {
            if let Some(user) = &entry.user {
                self.users.unlink(&user.id, entry.key);
            }
        }
    }

    pub(super) fn hold(&self, sessions: usize) {
        self.held.fetch_add(sessions as u64, Ordering::Relaxed);
    }

    pub(super) fn release(&self, sessions: usize) {
        self.held.fetch_sub(sessions as u64, Ordering::Relaxed);
    }

    fn log(&self, record: Record) -> io::Result<()> {
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

    fn count(&self, count: Count) {
        self.counts.add(count as usize, 1);
    }

    pub(super) fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        self.shards[self.shard_of(key)].lock()
    }

    /// The shards of two keys, locked in the order of their numbers; one if both lie there.
    fn shard_pair(
        &self,
        one: u128,
        two: u128,
    ) -> (MutexGuard<'_, Shard>, Option<MutexGuard<'_, Shard>>) {
        let (first, second) = (self.shard_of(one), self.shard_of(two));
        if first == second {
            return (self.shards[first].lock(), None);
        }
        if first < second {
            let first = self.shards[first].lock();
            return (first, Some(self.shards[second].lock()));
        }
        let second = self.shards[second].lock();
        (self.shards[first].lock(), Some(second))
    }

    fn shard_of(&self, key: u128) -> usize {
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
/// Slots that are looked at under one lock.
const HOLD: usize = 64;
/// Slots that a new session looks at: a round takes a quarter as many new sessions as
/// there are slots.
const SWEEP_PER_CREATE: usize = 4;
/// Slots that are looked at before a new session is refused.
const SWEEP_IF_FULL: usize = 1024;
/// Sessions among which the one to evict is chosen.
const SAMPLE: usize = 16;
/// How often a compare-and-swap is tried.
const ATTEMPTS: usize = 100;
