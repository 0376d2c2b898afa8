//! The far half of a tier: the L2 and the backplane, what is known of them, and
//! what they have yet to be told. It knows keys and values as bytes, and nothing
//! of the cache in front.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{OnceLock, Weak};
use std::time::Duration;

use super::Version;
use super::backplane::{AnyBackplane, Ear, Listener};
use super::breaker::Breaker;
use super::call::{CallError, Timers, bounded};
use super::front::Front;
use super::item::{Tiered, cut};
use super::known::Known;
use super::l2::{Answer, AnyL2, Applied, When};
use super::message::{Message, News};
use super::peers::Peers;
use super::reading::Patience;
use super::recovery::{Change, Queue, Subject};
use super::stats::{Counts, Event};
use super::tag_records::{ALL, Standing, TagRecords};
use super::version::VersionClock;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::{Clock, Instant};

pub(super) struct Remote {
    pub(super) l2: Box<dyn AnyL2>,
    pub(super) backplane: Option<Box<dyn AnyBackplane>>,
    pub(super) l2_breaker: Breaker,
    pub(super) backplane_breaker: Breaker,
    pub(super) clock: Clock,
    pub(super) timers: Timers,
    pub(super) versions: VersionClock,
    pub(super) times: TierTimes,
    pub(super) on_failure: Option<OnFailure>,
    pub(super) counts: Counts,
    pub(super) known: Known,
    pub(super) tags: TagRecords,
    pub(super) queue: Mutex<Queue>,
    pub(super) peers: Mutex<Peers>,
    /// The number of the last message sent.
    pub(super) sent: AtomicU64,
    /// The L2's, as last heard of it.
    pub(super) incarnation: Mutex<Option<u64>>,
    pub(super) next_heartbeat: Mutex<Instant>,
    /// Who is told of changes, where the cache in front does not ask.
    pub(super) front: OnceLock<Weak<dyn Front>>,
}

pub(super) type OnFailure = Box<dyn Fn(&CallError) + Send + Sync>;

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct TierTimes {
    pub(super) l1_ttl: Duration,
    pub(super) l2_ttl: Duration,
    pub(super) timeout: Duration,
    pub(super) soft_timeout: Duration,
    pub(super) heartbeat: Duration,
}

impl Remote {
    /// Tells the L2 and the others of a change that is queued.
    pub(super) async fn attempt(
        &self,
        subject: &Subject,
        version: Version,
        occasion: Occasion,
    ) -> Attempt {
        // Whatever happens to this call, others may try again after it.
        let mut busy = Busy {
            remote: self,
            subject,
            version,
        };
        let mut superseded = None;
        loop {
            let version = busy.version;
            let Some(pending) = self.pending(subject, version) else {
                return Attempt::Done(version);
            };
            if pending.stored {
                break;
            }
            let l2_key = subject.to_l2_key();
            let left = match &pending.change {
                Change::Set { deadline, .. } => deadline.saturating_since(self.clock.now()),
                Change::Invalidate => Duration::ZERO,
            };
            let answer = match (&pending.change, pending.incarnation) {
                (Change::Set { frame, .. }, incarnation) if !left.is_zero() => {
                    let when = match (occasion, incarnation) {
                        (Occasion::Again, Some(incarnation)) => When::NewerIn(incarnation),
                        _ => When::Newer,
                    };
                    let set = || self.l2.set(&l2_key, frame, version, left, when);
                    self.ask(Patience::Hard, set).await
                }
                _ => {
                    let ttl = self.times.l2_ttl;
                    let invalidate = || self.l2.invalidate(&l2_key, version, ttl);
                    self.ask(Patience::Hard, invalidate).await
                }
            };
            match answer {
                None => {
                    // The others can at least stop to believe what they hold.
                    if occasion == Occasion::First {
                        self.publish(subject, version).await;
                    }
                    return Attempt::Queued {
                        version,
                        stored: false,
                    };
                }
                Some(Applied::Stored) => break,
                Some(Applied::Newer(found)) if found == version => break,
                Some(Applied::Changed) => {
                    // It has lost its memory: something newer may have been there.
                    self.queue.lock().update(subject, version, |pending| {
                        pending.change = Change::Invalidate;
                    });
                }
                Some(Applied::Newer(found)) => {
                    let believed = self.versions.observe(found);
                    let is_invalidation = matches!(pending.change, Change::Invalidate);
                    if occasion == Occasion::First && is_invalidation && believed {
                        // It is made now, so it is newer than what is there now,
                        // whatever the clocks of two nodes say.
                        let newer = self.versions.next();
                        self.note(subject, newer);
                        self.queue
                            .lock()
                            .update(subject, version, |pending| pending.version = newer);
                        busy.version = newer;
                    } else {
                        // Not by a change, perhaps, but by a load that came
                        // after this one: nobody else will tell of it.
                        self.counts.count(Event::Superseded);
                        superseded = Some(found);
                        break;
                    }
                }
            }
        }
        let version = busy.version;
        self.queue
            .lock()
            .update(subject, version, |pending| pending.stored = true);
        let published = self.publish(subject, version).await;
        if published {
            self.queue.lock().done(subject, version);
        }
        match superseded {
            Some(newer) => Attempt::Superseded(newer),
            None if published => Attempt::Done(version),
            None => Attempt::Queued {
                version,
                stored: true,
            },
        }
    }

    fn pending(&self, subject: &Subject, version: Version) -> Option<super::recovery::Pending> {
        let queue = self.queue.lock();
        let pending = queue.get(subject)?;
        (pending.version == version).then(|| pending.clone())
    }

    /// Lets the backplane deliver here from now on.
    pub(super) fn listen(&self, ear: Weak<dyn Ear>) {
        if let Some(backplane) = &self.backplane {
            backplane.subscribe(Listener { ear });
        }
    }

    /// Notes a change so that nothing older is believed from now on.
    pub(super) fn note(&self, subject: &Subject, version: Version) {
        match subject {
            Subject::Key(key) => self.known.note(key, version),
            Subject::Tag(tag) => self.note_tag(tag, version),
        }
    }

    /// Tries again what has not reached everyone, oldest first, up to so many
    /// changes or until the L2 fails. Hands over what turned out to be older
    /// than what the L2 has.
    pub(super) async fn recover(&self, most: usize, outdated: &impl Fn(&[u8], Version)) {
        let mut at = None;
        for _ in 0..most {
            let taken = self.queue.lock().take_up(at);
            let Some((position, subject, version)) = taken else {
                return;
            };
            at = Some(position);
            match self.attempt(&subject, version, Occasion::Again).await {
                Attempt::Done(_) => self.counts.count(Event::Recovered),
                Attempt::Superseded(newer) => {
                    if let Subject::Key(key) = &subject {
                        self.known.note(key, newer);
                        outdated(key, newer);
                    }
                }
                // The backplane is down; the L2 can still be told of the rest.
                Attempt::Queued { stored: true, .. } => {}
                Attempt::Queued { stored: false, .. } => return,
            }
        }
    }

    /// Says that this node is alive and how much it has said, if it is time to;
    /// and asks whether everything was invalidated.
    pub(super) async fn beat(&self) {
        let now = self.clock.now();
        {
            let mut next = self.next_heartbeat.lock();
            if now < *next {
                return;
            }
            *next = now + self.times.heartbeat;
        }
        self.send(News::Alive, self.versions.next()).await;
        // Also how the breaker notices that the L2 is back.
        self.ask_for_tag(ALL, Patience::Hard).await;
    }

    /// Takes in a message. What comes back is a key to forget, and up to which
    /// version.
    pub(super) fn heard<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], Version)> {
        let Some(message) = Message::from_bytes(bytes) else {
            self.counts.count(Event::Strange);
            self.note_gap();
            return None;
        };
        if message.from == self.versions.node() {
            return None;
        }
        self.counts.count(Event::Heard);
        if !self.versions.observe(message.version) {
            self.counts.count(Event::Strange);
            self.note_gap();
            return None;
        }
        let forget = match message.news {
            News::Key(key) => {
                self.known.note(key, message.version);
                Some((key, message.version))
            }
            News::Tag(tag) => {
                self.note_tag(cut(tag), message.version);
                None
            }
            News::Alive => None,
        };
        let is_it = message.news != News::Alive;
        let now = self.clock.now();
        let lost = self
            .peers
            .lock()
            .heard(message.from, message.number, is_it, now);
        if lost {
            self.note_gap();
        }
        forget
    }

    /// Looks for messages that have been missed for too long.
    pub(super) fn look_for_gaps(&self) {
        let now = self.clock.now();
        if self.peers.lock().overdue(now) {
            self.note_gap();
        }
    }

    pub(super) fn note_gap(&self) {
        self.counts.count(Event::Gap);
        self.tags.note_gap();
        self.tell_of_gap();
    }

    #[inline]
    pub(super) fn standing<V>(&self, entry: &Tiered<V>) -> Standing {
        self.tags.standing(entry.born, &entry.tags)
    }

    /// Sends word of a change; whether that is done with.
    async fn publish(&self, subject: &Subject, version: Version) -> bool {
        let news = match subject {
            Subject::Key(key) => News::Key(key),
            Subject::Tag(tag) => News::Tag(tag),
        };
        self.send(news, version).await
    }

    async fn send(&self, news: News<'_>, version: Version) -> bool {
        let Some(backplane) = &self.backplane else {
            return true;
        };
        let Some(permit) = self.backplane_breaker.try_acquire() else {
            return false;
        };
        // A number that was given to a message that failed is a gap to the
        // others, and rightly: it may have reached some of them.
        let number = match news {
            News::Alive => self.sent.load(Ordering::Relaxed),
            News::Key(_) | News::Tag(_) => self.sent.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let message = Message {
            from: self.versions.node(),
            number,
            version,
            news,
        };
        let bytes = message.to_bytes();
        let sent = bounded(
            || backplane.publish(&bytes),
            &self.timers,
            self.times.timeout,
        );
        match sent.await {
            Ok(()) => {
                permit.succeeded();
                self.counts.count(Event::Published);
                true
            }
            Err(failure) => {
                permit.failed();
                self.counts.count(Event::PublishFailure);
                self.report(&failure);
                false
            }
        }
    }

    /// Calls the L2, if its breaker lets it.
    pub(super) async fn ask<'a, T>(
        &self,
        patience: Patience,
        call: impl FnOnce() -> Answer<'a, T>,
    ) -> Option<T> {
        let Some(permit) = self.l2_breaker.try_acquire() else {
            self.counts.count(Event::L2Refused);
            return None;
        };
        let limit = match patience {
            Patience::Hard => self.times.timeout,
            Patience::Soft => self.times.soft_timeout,
        };
        match bounded(call, &self.timers, limit).await {
            Ok(answer) => {
                permit.succeeded();
                Some(answer)
            }
            Err(failure) => {
                // That it is slower than an impatient caller says little.
                let is_soft = patience == Patience::Soft && limit < self.times.timeout;
                if !(is_soft && matches!(failure, CallError::TimedOut(_))) {
                    permit.failed();
                }
                self.counts.count(Event::L2Failure);
                self.report(&failure);
                None
            }
        }
    }

    fn report(&self, failure: &CallError) {
        if let Some(on_failure) = &self.on_failure {
            // It only watches: its panic is nobody else's.
            let _ = catch_unwind(AssertUnwindSafe(|| on_failure(failure)));
        }
    }
}

/// Whether a change is tried as it is made or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    First,
    Again,
}

/// What came of trying.
pub(super) enum Attempt {
    /// Everyone was told.
    Done(Version),
    /// It is to be tried again; the L2 may have it already.
    Queued { version: Version, stored: bool },
    /// The L2 has something newer.
    Superseded(Version),
}

/// Somebody is at a change.
struct Busy<'a> {
    remote: &'a Remote,
    subject: &'a Subject,
    version: Version,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.remote.queue.lock().rest(self.subject, self.version);
    }
}
