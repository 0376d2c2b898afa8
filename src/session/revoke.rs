//! The end of sessions: of one, or of all of a user's.

use super::entry::Entry;
use super::error::LogError;
use super::id::{SessionKey, SessionToken};
use super::loaded::SessionInfo;
use super::revocations::Record;
use super::stats::Count;
use super::store::MemoryStore;
use super::user_id::UserId;
use crate::sync::atomic::Ordering;

impl MemoryStore {
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
            removed.map(|entry| {
                self.note(|scan| scan.revoked(Record::Session { key }));
                let was_live = self.is_live(&entry, now);
                (entry, was_live)
            })
        };
        let Some((entry, was_live)) = removed else {
            return logged.map(|()| false);
        };
        self.retire([entry]);
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
        let owner = self.owners.hash(user);
        let mut row = self.owners.lock(owner);
        if row.len() > 0 {
            // Whoever loads the one that is spared sees it spared.
            let mut spared = except.map(|key| (key, self.shard(key)));
            let under_way = self.generations.revoke(user, owner, generation);
            if let Some((key, shard)) = &mut spared
                && let Some(entry) = shard.get_mut(*key)
                && entry.user.as_ref() == Some(user)
            {
                entry.stamp = entry.stamp.max(generation);
            }
            drop(spared);
            // Whoever began a snapshot before this waits for nothing: the note says it.
            if let Some(scan) = &mut *self.scan.lock() {
                scan.revoked(record);
            }
            row.retain(|key| {
                let mut shard = self.shard(key);
                let stays =
                    |entry: &Entry| entry.user.as_ref() != Some(user) || entry.stamp >= generation;
                if shard.get(key).is_some_and(stays) {
                    return true;
                }
                if let Some(entry) = shard.remove(key) {
                    ended += usize::from(!self.settings.lifetime.is_over(&entry, now));
                    out.push(entry);
                }
                false
            });
            drop(under_way);
        }
        drop(row);
        self.counts.add(Count::Revoked as usize, out.len() as u64);
        self.release(out.len());
        logged.map(|()| ended)
    }

    /// The sessions of a user, the oldest first.
    pub fn sessions_of(&self, user: impl Into<UserId>) -> Vec<SessionInfo> {
        let user = user.into();
        let keys = self.owners.lock(self.owners.hash(&user)).keys();
        let now = self.now();
        let lifetime = self.settings.lifetime;
        let mut all: Vec<_> = keys
            .into_iter()
            .filter_map(|key| {
                let shard = self.shard(key);
                let entry = shard.get(key)?;
                let is_theirs = entry.user.as_ref() == Some(&user);
                (is_theirs && self.is_live(entry, now)).then(|| SessionInfo {
                    key: SessionKey(key),
                    created: u64::from(entry.created),
                    seen: u64::from(entry.seen),
                    ends: u64::from(lifetime.end(entry)),
                    data: entry.data.clone(),
                })
            })
            .collect();
        all.sort_by_key(|info| (info.created, info.key));
        all
    }
}
