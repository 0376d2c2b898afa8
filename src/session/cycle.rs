//! A new token for a session: in one step, under the locks of both.

use super::entry::Entry;
use super::error::CycleError;
use super::id::SessionToken;
use super::revocations::Record;
use super::shard::Shard;
use super::stats::Count;
use super::store::MemoryStore;
use super::user_id::UserId;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;

impl MemoryStore {
    /// Gives the session a new token, in one step: before it only the old one is good,
    /// after it only the new one. Do so whenever what its user may do changes.
    ///
    /// # Errors
    /// [`CycleError`]: the session is gone, or stays as it was.
    pub fn cycle(&self, token: &SessionToken) -> Result<SessionToken, CycleError> {
        let key = token.key().0;
        let user = self.shard(key).get(key).and_then(|e| e.user.clone());
        self.replace(token, user.as_ref(), false)
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
        let shard = self.shard(old);
        let is_live = shard.get(old).is_some_and(|entry| self.is_live(entry, now));
        drop(shard);
        if !is_live {
            self.count(Count::Gone);
            return Err(CycleError::Gone);
        }
        let fresh = SessionToken::draw_from(self.settings.entropy).map_err(CycleError::Entropy)?;
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
                if let Some(owner) = leaver {
                    self.owners.lock(owner).remove(old);
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
    ) -> Result<Option<u32>, CycleError> {
        let mut row = user.map(|user| self.lock_row(user));
        if is_log_in && let (Some(user), Some(row)) = (user, &mut row) {
            let room = self.make_room(row, user, now, Some(old), out);
            room.map_err(|max| CycleError::UserFull { max })?;
        }
        let (mut one, mut two) = self.shard_pair(old, new);
        let is_it = one.get(old).is_some_and(|entry| {
            // Whose it was a moment ago, whose row is locked.
            self.is_live(entry, now) && (is_log_in || entry.user.as_ref() == user)
        });
        let entry = if is_it { one.remove(old) } else { None };
        let mut entry = entry.ok_or(CycleError::Gone)?;
        let is_theirs = entry.user.as_ref() == user;
        let leaver = entry.user.as_ref().filter(|_| !is_theirs);
        let leaver = leaver.map(|_| entry.owner);
        entry.key = new;
        entry.version += 1;
        entry.seen = now;
        if let (Some(user), Some(row)) = (user, &mut row) {
            if is_theirs {
                row.remove(old);
            }
            self.own(&mut entry, user, row);
            if is_log_in {
                entry.created = now;
                entry.stamp = self.epoch.load(Ordering::SeqCst);
            }
        }
        self.note(|scan| scan.moved(old, &entry));
        let due = self.settings.lifetime.end(&entry);
        two.as_mut().unwrap_or(&mut one).insert(entry, due);
        Ok(leaver)
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
}
