//! What is done now and then: checkpoints, and giving up what nobody needs.

use std::sync::atomic::Ordering;

use super::core::Core;
use super::storage::Disk;

impl<D: Disk> Core<D> {
    pub(super) fn maintain_if_due(&self) {
        if self.since.load(Ordering::Relaxed) >= self.settings.checkpoint_every {
            self.maintain();
        }
    }

    /// Writes a checkpoint and gives up segments that nobody needs.
    pub(super) fn maintain(&self) {
        let Some(_turn) = self.maintaining.try_lock() else {
            return;
        };
        self.since.store(0, Ordering::Relaxed);
        // The next one makes up for it.
        let _ = self.checkpoint();
        self.release();
    }

    pub(super) fn checkpoint(&self) -> std::io::Result<()> {
        self.log
            .checkpoint(|next_id| self.book.lock().write(next_id))
    }

    /// Whether there is a segment, other than the last, that nobody needs.
    pub(super) fn has_free(&self) -> bool {
        let mut extents = self.log.extents();
        extents.pop();
        let mut book = self.book.lock();
        extents
            .iter()
            .any(|extent| book.is_done(&(extent.first..extent.next)))
    }

    pub(super) fn release(&self) {
        let mut free = Vec::new();
        {
            let mut book = self.book.lock();
            for extent in self.log.extents() {
                if book.is_done(&(extent.first..extent.next)) {
                    free.push(extent);
                }
            }
        }
        let mut kept = 0;
        for extent in free.into_iter().rev() {
            let has_messages = extent.first < extent.next;
            if has_messages && kept + extent.size <= self.settings.retain {
                kept += extent.size;
            } else {
                self.log.release(extent.number);
            }
        }
        self.bell.ring();
    }
}
