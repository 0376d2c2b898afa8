//! The far half's changes: each is noted and queued before anybody is told.

use super::recovery::{Change, Pushed, Subject};
use super::remote::{Attempt, Occasion, Remote};
use super::stats::Event;
use super::tag_records::ALL;
use super::{Reached, Version};

impl Remote {
    /// Draws the version of a change, notes it and queues it, busy.
    pub(super) fn enqueue(&self, subject: &Subject, change: Change) -> Result<Version, Reached> {
        let version = self.versions.next();
        self.note(subject, version);
        let incarnation = *self.incarnation.lock();
        let pushed = self
            .queue
            .lock()
            .push(subject.clone(), version, change, incarnation);
        match pushed {
            Pushed::Queued => {}
            Pushed::WithoutValue => self.counts.count(Event::ValueDropped),
            Pushed::Outdated(_) => return Err(Reached::Nobody),
            Pushed::Full => {
                self.counts.count(Event::Overflow);
                // Everything becomes one invalidation, newer than all of it:
                // what is lost are hits.
                let all = Subject::Tag(ALL.into());
                let newer = self.versions.next();
                self.note(&all, newer);
                let mut queue = self.queue.lock();
                queue.clear();
                queue.push(all.clone(), newer, Change::Invalidate, None);
                queue.rest(&all, newer);
                return Err(Reached::Here);
            }
        }
        Ok(version)
    }

    /// Tries to tell everyone of a queued change; `outdated` hears of a newer one.
    pub(super) async fn spread(
        &self,
        subject: &Subject,
        version: Version,
        outdated: impl FnOnce(Version),
    ) -> Reached {
        match self.attempt(subject, version, Occasion::First).await {
            Attempt::Done(newest) => {
                if newest != version {
                    outdated(newest);
                }
                Reached::Everyone
            }
            Attempt::Queued {
                version: newest, ..
            } => {
                if newest != version {
                    outdated(newest);
                }
                Reached::Here
            }
            Attempt::Superseded(newer) => {
                self.note(subject, newer);
                outdated(newer);
                Reached::Nobody
            }
        }
    }
}
