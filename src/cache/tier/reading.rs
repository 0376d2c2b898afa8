//! The far half's reading: what the L2 has of a key, held against all that is
//! known better here, and the filling of what it has not.

use std::time::Duration;

use super::item::Tags;
use super::l2::{Applied, Found, Record, When};
use super::recovery::{Change, Subject};
use super::remote::Remote;
use super::stats::Event;
use super::tag_records::ALL;
use super::{Version, frame};
use crate::time::Instant;

/// What the far side has of a key.
pub(super) enum Far {
    Value {
        tags: Tags,
        bytes: Vec<u8>,
        version: Version,
        /// How long the answer may be believed.
        until: Instant,
        place: Place,
    },
    /// Nothing to use.
    Nothing(Place),
    /// It did not answer.
    Silent,
}

/// What lies in the L2 under a key, whether it can be used or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) version: Option<Version>,
    pub(super) incarnation: u64,
}

/// The patience of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It has nothing else.
    Hard,
    /// It has a value that will do.
    Soft,
}

impl Remote {
    /// Reads a key from the L2, or what has yet to get there if that is newer.
    pub(super) async fn read(&self, key: &[u8], patience: Patience) -> Far {
        let began = self.clock.now();
        let subject = Subject::Key(key.into());
        let l2_key = subject.to_l2_key();
        let answer = self.ask(patience, || self.l2.get(&l2_key)).await;
        let Some(Found {
            record,
            incarnation,
        }) = answer
        else {
            return Far::Silent;
        };
        *self.incarnation.lock() = Some(incarnation);
        let version = record.as_ref().map(|record| record.version);
        let nothing = Far::Nothing(Place {
            version,
            incarnation,
        });
        if let Some(version) = version {
            self.versions.observe(version);
        }
        let Some(record) = self.newer_queued(&subject, version, incarnation).or(record) else {
            return nothing;
        };
        let Some(value) = record.value else {
            return nothing;
        };
        // A change that is noted after this look also detaches the flight that
        // this is a part of.
        if self.known.version(key) > Some(record.version) {
            self.counts.count(Event::Outdated);
            return nothing;
        }
        let Some(frame) = frame::from_bytes(&value) else {
            self.counts.count(Event::Corrupt);
            return nothing;
        };
        let mut until = began + record.ttl.min(self.times.l1_ttl);
        for tag in frame.tags.iter().chain([ALL]) {
            match self.tag_version(tag, patience).await {
                None => return Far::Silent,
                Some((invalidated, _)) if invalidated >= Some(record.version) => return nothing,
                Some((_, asked)) => until = until.min(asked + self.times.l1_ttl),
            }
        }
        // The value from before the L2 lost its memory, its tags from after.
        if *self.incarnation.lock() != Some(incarnation) {
            return Far::Silent;
        }
        Far::Value {
            version: record.version,
            until,
            bytes: frame.value.into(),
            tags: frame.tags,
            place: Place {
                version,
                incarnation,
            },
        }
    }

    /// What this node has changed and not yet been able to tell the L2, if that
    /// is newer than what lies there.
    fn newer_queued(
        &self,
        subject: &Subject,
        than: Option<Version>,
        incarnation: u64,
    ) -> Option<Record> {
        let now = self.clock.now();
        let queue = self.queue.lock();
        let pending = queue.get(subject)?;
        if pending.stored || Some(pending.version) <= than {
            return None;
        }
        let (value, ttl) = match &pending.change {
            Change::Set { frame, deadline }
                // Else something newer may have been there and was lost.
                if pending.incarnation.is_none_or(|meant| meant == incarnation) =>
            {
                let ttl = deadline.saturating_since(now);
                ((!ttl.is_zero()).then(|| frame.to_vec()), ttl)
            }
            Change::Set { .. } | Change::Invalidate => (None, Duration::ZERO),
        };
        Some(Record {
            value,
            version: pending.version,
            ttl,
        })
    }

    /// When a tag was last invalidated, and as of when that is known.
    async fn tag_version(
        &self,
        tag: &[u8],
        patience: Patience,
    ) -> Option<(Option<Version>, Instant)> {
        // Answers age; asked again after a quarter of their life, they leave
        // entries three quarters of theirs.
        let max_age = self.times.l1_ttl / 4;
        let now = self.clock.now();
        if let Some(confirmed) = self.tags.confirmed(tag, now, max_age) {
            return Some(confirmed);
        }
        self.ask_for_tag(tag, patience).await
    }

    pub(super) async fn ask_for_tag(
        &self,
        tag: &[u8],
        patience: Patience,
    ) -> Option<(Option<Version>, Instant)> {
        let asked = (self.clock.now(), self.tags.generation());
        let l2_key = Subject::Tag(tag.into()).to_l2_key();
        let found = self.ask(patience, || self.l2.get(&l2_key)).await?;
        *self.incarnation.lock() = Some(found.incarnation);
        let version = found.record.map(|record| record.version);
        if let Some(version) = version {
            self.versions.observe(version);
        }
        self.learn_tag(tag, version, asked);
        Some((self.tags.version(tag), asked.0))
    }

    /// Stores a loaded value where a read found nothing. Tells whether it is
    /// still good to keep: not if the key has changed since.
    pub(super) async fn fill(
        &self,
        key: &[u8],
        frame: &[u8],
        version: Version,
        ttl: Duration,
        found: Place,
    ) -> bool {
        let l2_key = Subject::Key(key.into()).to_l2_key();
        let when = When::Unchanged {
            version: found.version,
            incarnation: found.incarnation,
        };
        let answer = self.ask(Patience::Hard, || {
            self.l2.set(&l2_key, frame, version, ttl, when)
        });
        match answer.await {
            Some(Applied::Stored) | None => true,
            Some(Applied::Newer(newer)) => {
                self.versions.observe(newer);
                false
            }
            Some(Applied::Changed) => false,
        }
    }
}
