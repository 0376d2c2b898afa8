//! The end of sessions that need not be this node's.

use super::book;
use super::change::Change;
use super::error::StickyError;
use super::question::Ended;
use super::store::StickyStore;
use crate::session::reading::MAX_COUNT;
use crate::session::revocations::Record;
use crate::session::{LogError, SessionInfo, SessionKey, UserId};
use crate::sync::atomic::Ordering;

impl StickyStore {
    /// Ends all sessions of a user on this node, except one, and the copies of those it keeps
    /// for others. Answers a number.
    ///
    /// To end them everywhere, ask every node that is not down with the number 0, then once more with the
    /// highest of the answers. When the second round is through, no session that was begun before the
    /// first one is left, nor can a copy or a message under way bring one back; those begun after the
    /// second live. A node that does not answer has to be asked again, or be down.
    ///
    /// # Errors
    /// [`StickyError::Log`]: they are over, but a restart may bring them back.
    pub fn revoke_user(
        &self,
        user: &UserId,
        except: Option<SessionKey>,
        number: u64,
    ) -> Result<u64, StickyError> {
        Ok(self.end_all(user, except, number)?.number)
    }

    /// The same, and how many they were.
    pub(super) fn end_all(
        &self,
        user: &UserId,
        except: Option<SessionKey>,
        number: u64,
    ) -> Result<Ended, LogError> {
        let except = except.map(|key| key.0);
        let epoch = &self.store.epoch;
        let generation = {
            // With the lock, so that what comes from elsewhere is either here, and ends, or meets
            // the record.
            let mut book = self.book.lock();
            let generation = if number == 0 {
                epoch.fetch_add(1, Ordering::SeqCst) + 1
            } else {
                let number = number.min(MAX_COUNT);
                epoch.fetch_max(number, Ordering::SeqCst);
                number
            };
            book.end(Record::of_user(user, generation, except));
            generation
        };
        let sessions = self.store.revoke_before(user, generation, except)?;
        Ok(Ended {
            number: generation,
            sessions: sessions as u64,
        })
    }

    /// Ends a session, if it is here, and its copy, if that is. Says whether there was one of both, and what
    /// has to be told to others. Neither comes back by a late message.
    pub(super) fn end(&self, key: SessionKey) -> Result<(bool, Option<Change<()>>), LogError> {
        let key = key.0;
        if let Some(frame) = self.store.frame(key) {
            self.store.revoke_key(SessionKey(key))?;
            let routing = book::routing_of(&frame);
            return Ok((true, Some(self.changed((), routing, key, Some(key)))));
        }
        let mut book = self.book.lock();
        let copy = book.copies.get(&key).map(|copy| &copy.frame);
        let frame = copy.or_else(|| book.departing.get(&key));
        let had = frame.is_some_and(|frame| !self.is_expired(&frame.entry));
        book.end(Record::Session { key });
        // If it came between the two.
        let came = self.store.take(key).is_some();
        Ok((had || came, None))
    }

    /// The sessions of a user on this node, without what their data begins with here.
    pub(super) fn sessions_of(&self, user: &UserId) -> Vec<SessionInfo> {
        let mut list = self.store.sessions_of(user.clone());
        for info in &mut list {
            info.data = book::split(&info.data).1.into();
        }
        list
    }
}
