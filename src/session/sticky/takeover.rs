//! How the session of a node that is gone goes on at another.

use super::book::Book;
use super::error::StickyError;
use super::store::StickyStore;
use super::view::View;
use crate::session::SessionKey;

impl StickyStore {
    /// Whether a session is here, or goes on here from its copy; if not, whether it is known where it is.
    pub(crate) fn locate_key(&self, key: SessionKey) -> Result<(), StickyError> {
        let view = self.kept()?;
        self.locate(key.0, &view)
    }

    /// Lets the session of a node that is gone go on here, if there is a copy, or says
    /// where it is.
    pub(super) fn locate(&self, key: u128, view: &View) -> Result<(), StickyError> {
        let now = self.store.settings.wall.now();
        let mut book = self.book.lock();
        if self.store.frame(key).is_some() {
            return Ok(());
        }
        let moved = book.moved(key);
        let moved = moved.filter(|gone| view.is_kept(gone.to, gone.incarnation, now));
        if let Some(gone) = moved {
            return Err(StickyError::Moved { to: gone.to });
        }
        let copy = book.copies.get(&key).ok_or(StickyError::Gone)?;
        if view.is_kept(copy.owner, copy.incarnation, now) {
            return Err(StickyError::Moved { to: copy.owner });
        }
        self.promote(&mut book, key);
        Ok(())
    }

    /// Makes the session of a copy one of ours: a version that its owner, should it live after
    /// all, has not reached.
    pub(super) fn promote(&self, book: &mut Book, key: u128) {
        let Some(mut copy) = book.copies.remove(&key) else {
            return;
        };
        let version = &mut copy.frame.entry.version;
        *version = version.saturating_add(1 << 32);
        book.is_back(key);
        if !self.is_expired(&copy.frame.entry) {
            self.store.import_one(copy.frame);
            book.note_unprotected(key);
        }
    }
}
