//! Telling a cache in front what it can no longer believe, where it does not hold
//! its entries against what is known here, as a tier's own cache does.

use std::sync::Arc;

use super::Version;
use super::remote::Remote;
use super::tag_records::Noted;
use crate::time::Instant;

/// A cache that is told. It is called under no lock, and after the change was
/// noted: a load that begins once it has returned does not believe the L2 if
/// that has not heard of the change.
pub(super) trait Front: Send + Sync {
    /// A key has changed.
    fn forget(&self, key: &[u8]);

    /// A tag was invalidated; the one without a name is on everything.
    fn forget_tag(&self, tag: &[u8]);

    /// Messages were missed: whatever it holds may be old.
    fn suspect_all(&self);
}

impl Remote {
    fn front(&self) -> Option<Arc<dyn Front>> {
        self.front.get()?.upgrade()
    }

    /// Notes that a tag was invalidated. The cache is told even if it is known:
    /// who told it first may not be through with it.
    pub(super) fn note_tag(&self, tag: &[u8], version: Version) {
        let noted = self.tags.note(tag, version);
        self.tell_of_tag(
            tag,
            Noted {
                is_news: true,
                ..noted
            },
        );
    }

    /// Notes what the L2 says of a tag.
    pub(super) fn learn_tag(&self, tag: &[u8], version: Option<Version>, asked: (Instant, u64)) {
        let noted = self.tags.learn(tag, version, asked);
        self.tell_of_tag(tag, noted);
    }

    fn tell_of_tag(&self, tag: &[u8], noted: Noted) {
        if noted.is_gap {
            self.tell_of_gap();
        }
        if noted.is_news
            && let Some(front) = self.front()
        {
            front.forget_tag(tag);
        }
    }

    pub(super) fn tell_of_gap(&self) {
        if let Some(front) = self.front() {
            front.suspect_all();
        }
    }

    pub(super) fn tell_of_key(&self, key: &[u8]) {
        if let Some(front) = self.front() {
            front.forget(key);
        }
    }
}
