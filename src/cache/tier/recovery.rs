//! Changes that have not reached everyone yet.
//!
//! Every change goes in before it is tried and out when it has arrived, so a
//! call that is cancelled, or fails, leaves nothing undone for good.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Version;
use crate::hash::TableHasher;
use crate::time::Instant;

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Key(Arc<[u8]>),
    Tag(Arc<[u8]>),
}

impl Subject {
    /// The key in the L2.
    pub(super) fn to_l2_key(&self) -> Vec<u8> {
        let (kind, name) = match self {
            Self::Key(key) => (b'k', key),
            Self::Tag(tag) => (b't', tag),
        };
        let mut bytes = Vec::with_capacity(1 + name.len());
        bytes.push(kind);
        bytes.extend(&name[..]);
        bytes
    }
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Set {
        frame: Arc<[u8]>,
        /// When it has lived its life in the L2.
        deadline: Instant,
    },
    Invalidate,
}

#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) version: Version,
    pub(super) change: Change,
    /// Whether the L2 has it.
    pub(super) stored: bool,
    /// The L2 that the value was meant for: one that has lost its memory can no
    /// longer tell whether something newer was there.
    pub(super) incarnation: Option<u64>,
    /// Somebody is at it.
    busy: bool,
    position: u64,
}

pub(super) struct Queue {
    max_changes: usize,
    max_bytes: usize,
    changes: HashMap<Subject, Pending, TableHasher>,
    /// The same in the order in which they came.
    order: BTreeMap<u64, Subject>,
    next: u64,
    /// Of keys and values.
    bytes: usize,
}

/// What became of a change that was to be queued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Queued,
    /// As an invalidation, since there was no room for its value.
    WithoutValue,
    /// Not at all: a newer one is there.
    Outdated(Version),
    /// Not at all: there is no room.
    Full,
}

impl Queue {
    pub(super) fn new(max_changes: usize, max_bytes: usize) -> Self {
        Self {
            max_changes,
            max_bytes,
            changes: HashMap::with_hasher(TableHasher::random()),
            order: BTreeMap::new(),
            next: 0,
            bytes: 0,
        }
    }

    /// Queues a change; the newest of a subject wins. It is busy from the start.
    pub(super) fn push(
        &mut self,
        subject: Subject,
        version: Version,
        mut change: Change,
        incarnation: Option<u64>,
    ) -> Pushed {
        let mut position = self.next;
        if let Some(present) = self.changes.get(&subject) {
            if present.version > version {
                return Pushed::Outdated(present.version);
            }
            position = present.position;
        } else if self.changes.len() >= self.max_changes {
            return Pushed::Full;
        }
        self.remove(&subject);
        let mut pushed = Pushed::Queued;
        if self.bytes + cost(&subject, &change) > self.max_bytes
            && matches!(change, Change::Set { .. })
        {
            change = Change::Invalidate;
            pushed = Pushed::WithoutValue;
        }
        if self.bytes + cost(&subject, &change) > self.max_bytes {
            return Pushed::Full;
        }
        self.bytes += cost(&subject, &change);
        self.next += 1;
        self.order.insert(position, subject.clone());
        let pending = Pending {
            version,
            change,
            stored: false,
            incarnation,
            busy: true,
            position,
        };
        self.changes.insert(subject, pending);
        pushed
    }

    pub(super) fn get(&self, subject: &Subject) -> Option<&Pending> {
        self.changes.get(subject)
    }

    /// Changes a change, if it is still of this version.
    pub(super) fn update(
        &mut self,
        subject: &Subject,
        version: Version,
        act: impl FnOnce(&mut Pending),
    ) {
        if let Some(pending) = self.changes.get_mut(subject)
            && pending.version == version
        {
            let before = cost(subject, &pending.change);
            act(pending);
            self.bytes = self.bytes - before + cost(subject, &pending.change);
        }
    }

    /// Takes a change out that has arrived, unless a newer one took its place.
    pub(super) fn done(&mut self, subject: &Subject, version: Version) {
        if self
            .changes
            .get(subject)
            .is_some_and(|pending| pending.version == version)
        {
            self.remove(subject);
        }
    }

    /// Somebody has stopped trying.
    pub(super) fn rest(&mut self, subject: &Subject, version: Version) {
        self.update(subject, version, |pending| pending.busy = false);
    }

    /// The oldest change after this position that nobody is at; it is busy from
    /// now on.
    pub(super) fn take_up(&mut self, after: Option<u64>) -> Option<(u64, Subject, Version)> {
        let from = after.map_or(0, |position| position + 1);
        for (position, subject) in self.order.range(from..) {
            if let Some(pending) = self.changes.get_mut(subject)
                && !pending.busy
            {
                pending.busy = true;
                return Some((*position, subject.clone(), pending.version));
            }
        }
        None
    }

    /// Whether there is anything that nobody is at. Looks at a few.
    pub(super) fn has_idle(&self) -> bool {
        let mut first = self.order.values().take(4);
        first.any(|subject| self.changes.get(subject).is_some_and(|found| !found.busy))
    }

    pub(super) fn clear(&mut self) {
        self.changes.clear();
        self.order.clear();
        self.bytes = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    fn remove(&mut self, subject: &Subject) {
        if let Some(pending) = self.changes.remove(subject) {
            self.order.remove(&pending.position);
            self.bytes -= cost(subject, &pending.change);
        }
    }
}

/// The bytes of a change, its place in the queue not counted.
fn cost(subject: &Subject, change: &Change) -> usize {
    let (Subject::Key(name) | Subject::Tag(name)) = subject;
    name.len()
        + match change {
            Change::Set { frame, .. } => frame.len(),
            Change::Invalidate => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tier::NodeId;

    fn version(tick: u64) -> Version {
        Version::new(tick, NodeId::new(1))
    }

    fn key(name: &str) -> Subject {
        Subject::Key(name.as_bytes().into())
    }

    fn set(length: usize) -> Change {
        Change::Set {
            frame: vec![0; length].into(),
            deadline: Instant::NEVER,
        }
    }

    fn push(queue: &mut Queue, name: &str, tick: u64, length: usize) -> Pushed {
        queue.push(key(name), version(tick), set(length), None)
    }

    #[test]
    fn the_last_change_of_a_key_wins() {
        let mut queue = Queue::new(10, 1000);
        push(&mut queue, "k", 1, 5);
        push(&mut queue, "k", 2, 6);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.get(&key("k")).unwrap().version, version(2));
    }

    #[test]
    fn the_newest_version_wins_whatever_comes_last() {
        let mut queue = Queue::new(10, 1000);
        push(&mut queue, "k", 2, 5);
        let pushed = push(&mut queue, "k", 1, 6);
        assert_eq!(pushed, Pushed::Outdated(version(2)));
        assert_eq!(queue.get(&key("k")).unwrap().version, version(2));
    }

    #[test]
    fn a_change_that_was_replaced_meanwhile_stays() {
        let mut queue = Queue::new(10, 1000);
        push(&mut queue, "k", 1, 5);
        push(&mut queue, "k", 2, 5);
        queue.done(&key("k"), version(1));
        assert_eq!(queue.len(), 1);
        queue.done(&key("k"), version(2));
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn the_oldest_that_nobody_is_at_comes_first() {
        let mut queue = Queue::new(10, 1000);
        for name in ["a", "b", "c"] {
            push(&mut queue, name, 1, 1);
        }
        assert_eq!(queue.take_up(None), None);
        queue.rest(&key("b"), version(1));
        queue.rest(&key("a"), version(1));
        let (at, first, _) = queue.take_up(None).unwrap();
        assert_eq!(first, key("a"));
        let (at, second, _) = queue.take_up(Some(at)).unwrap();
        assert_eq!(second, key("b"));
        assert_eq!(queue.take_up(Some(at)), None);
    }

    #[test]
    fn it_holds_so_many_changes_and_bytes_and_no_more() {
        let mut queue = Queue::new(3, 100);
        assert_eq!(push(&mut queue, "a", 1, 60), Pushed::Queued);
        assert_eq!(push(&mut queue, "b", 1, 60), Pushed::WithoutValue);
        assert!(matches!(
            queue.get(&key("b")).unwrap().change,
            Change::Invalidate
        ));
        assert_eq!(push(&mut queue, "c", 1, 10), Pushed::Queued);
        assert_eq!(push(&mut queue, "d", 1, 1), Pushed::Full);
        assert_eq!(push(&mut queue, "a", 2, 1), Pushed::Queued);
        assert!(queue.bytes <= 100 && queue.len() == 3);
        let long = "x".repeat(101);
        queue.done(&key("a"), version(2));
        assert_eq!(push(&mut queue, &long, 1, 1), Pushed::Full);
    }
}
