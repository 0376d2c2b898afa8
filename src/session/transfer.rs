//! Sessions on their way from a store to another.

use std::fmt;

use super::entry::Entry;
use super::frame::Frame;
#[cfg(feature = "sticky")]
use super::revocations::Record;
use super::revocations::Revocations;
use super::store::MemoryStore;

/// What became of sessions that came from another store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Imported {
    /// Sessions that are here now, as they came.
    pub taken: u64,
    /// Sessions that were here already, at the same version or a newer one.
    pub older: u64,
    /// Sessions that had expired.
    pub expired: u64,
    /// Sessions that were revoked or cycled, as the revocations say.
    pub revoked: u64,
    /// Sessions for which there was no room.
    pub dropped: u64,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} taken; {} were older, {} had expired, {} were revoked, {} had no room",
            self.taken, self.older, self.expired, self.revoked, self.dropped
        )
    }
}

impl MemoryStore {
    /// Gives the live sessions that a filter accepts, while the store is in use; they
    /// stay in it. 64 slots are copied under a lock at a time, and the filter runs without one.
    ///
    /// Sessions are not all of one moment: one that is cycled or begun meanwhile may be left
    /// out, and one that is saved has the data of before or after.
    ///
    /// ```
    /// use tenfold::session::MemoryStore;
    ///
    /// let (one, two) = (MemoryStore::builder().build()?, MemoryStore::builder().build()?);
    /// let (token, _) = one.create(Some("ada".into()), b"cart".as_slice())?;
    /// one.create(None, b"".as_slice())?;
    /// let imported = two.import(one.export(|frame| frame.user().is_some()), None);
    /// assert_eq!(imported.taken, 1);
    /// assert_eq!(two.load(&token).as_deref(), Some(&b"cart"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(&self, mut filter: impl FnMut(&Frame) -> bool) -> impl Iterator<Item = Frame> {
        let (mut at, mut from) = (0, 0);
        let mut copied = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(frame) = copied.find(&mut filter) {
                    return Some(frame);
                }
                let shard = self.shards.get(at)?.lock();
                let now = self.now();
                let live = shard.range(from, HOLD);
                let live = live.filter(|entry| self.is_live(entry, now));
                let frames: Vec<_> = live.map(Frame::of).collect();
                from += HOLD;
                if from >= shard.slots() {
                    (at, from) = (at + 1, 0);
                }
                drop(shard);
                copied = frames.into_iter();
            }
        })
    }

    /// Takes sessions that another store exported. One that is here already is
    /// replaced by a newer version, and by no other. Deadlines are this store's, and go on counting
    /// from where they were.
    ///
    /// What was revoked here is not remembered, so an old frame would bring it back: give
    /// the [`Revocations`] of the time since it may have been exported, if there may
    /// be any.
    pub fn import(
        &self,
        frames: impl IntoIterator<Item = Frame>,
        revocations: Option<&Revocations>,
    ) -> Imported {
        let mut imported = Imported::default();
        for frame in frames {
            let Frame { entry, user } = &frame;
            let is_over = |log: &Revocations| log.revoke(entry.key, user.as_ref(), entry.stamp);
            let count = if revocations.is_some_and(is_over) {
                &mut imported.revoked
            } else if self.now() >= self.settings.lifetime.end(entry) {
                &mut imported.expired
            } else {
                match self.import_one(frame) {
                    Outcome::Taken => &mut imported.taken,
                    Outcome::Older => &mut imported.older,
                    Outcome::NoRoom => &mut imported.dropped,
                }
            };
            *count += 1;
        }
        imported
    }

    /// The session of this key, if it is live.
    #[cfg(feature = "sticky")]
    pub(super) fn frame(&self, key: u128) -> Option<Frame> {
        let now = self.now();
        let shard = self.shard(key);
        let entry = shard.get(key)?;
        self.is_live(entry, now).then(|| Frame::of(entry))
    }

    /// Takes the session of this key out of the store, to go on elsewhere.
    #[cfg(feature = "sticky")]
    pub(super) fn take(&self, key: u128) -> Option<Frame> {
        let now = self.now();
        let (entry, is_live) = {
            let mut shard = self.shard(key);
            let entry = shard.remove(key)?;
            self.note(|scan| scan.revoked(Record::Session { key }));
            let is_live = self.is_live(&entry, now);
            (entry, is_live)
        };
        let frame = is_live.then(|| Frame::of(&entry));
        self.retire(vec![entry]);
        frame
    }

    /// Takes a session, unless one that is as new is here.
    pub(super) fn import_one(&self, Frame { entry, user }: Frame) -> Outcome {
        let _alone = self.importing.lock();
        let key = entry.key;
        let mut replaced: Option<Entry> = None;
        {
            let mut shard = self.shard(key);
            if let Some(here) = shard.get_mut(key) {
                let is_revoked = self.generations.is_revoked(here);
                if here.version >= entry.version && !is_revoked {
                    return Outcome::Older;
                }
                if here.user == user && !is_revoked {
                    // Its own stamp: a revocation under way still finds it. Should it end sooner than
                    // it was due, a sweep takes it out a little later.
                    let Entry { data, version, .. } = entry;
                    let old = std::mem::replace(&mut here.data, data);
                    here.version = version;
                    (here.created, here.seen) = (entry.created, entry.seen);
                    drop(shard);
                    drop(old);
                    return Outcome::Taken;
                }
                replaced = shard.remove(key);
            }
        }
        self.retire(replaced);
        if self.reserve().is_err() {
            return Outcome::NoRoom;
        }
        let mut out = Vec::new();
        let placed = self.place(entry, user.as_ref(), self.now(), &mut out);
        self.retire(out);
        if placed.is_err() {
            self.release(1);
            return Outcome::NoRoom;
        }
        Outcome::Taken
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    Older,
    NoRoom,
}

/// Slots that are copied under one lock.
const HOLD: usize = 64;
