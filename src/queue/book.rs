//! All groups, and what a log says of them.

use std::ops::Range;

use super::dedup::Dedup;
use super::group::{Dead, Group};
use super::ids::Ids;
use super::log::format::Kind;
use super::log::{Extent, Replay, Replayed};
use super::records::{Extensions, Nack, Reading, Writing, read_group, read_ranges};

/// What is known of all messages.
pub(super) struct Book {
    /// By their numbers. A number is not given again.
    pub(super) groups: Vec<Option<Group>>,
    pub(super) dedup: Dedup,
    /// Messages that a group looked for in vain, each to be counted once.
    lost: Ids,
}

/// The group that a queue always has.
pub(super) const DEFAULT: &str = "default";
/// More than anybody has.
const MOST_GROUPS: usize = 1 << 16;

impl Book {
    pub(super) fn new(window: u64) -> Self {
        Self {
            groups: vec![Some(Group::new(DEFAULT.to_owned(), 1))],
            dedup: Dedup::new(window),
            lost: Ids::default(),
        }
    }

    pub(super) fn group(&mut self, number: u32) -> Option<&mut Group> {
        self.groups.get_mut(number as usize)?.as_mut()
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Group> {
        self.groups.iter_mut().flatten()
    }

    pub(super) fn number_of(&self, name: &str) -> Option<u32> {
        let is_it = |group: &Option<Group>| group.as_ref().is_some_and(|group| group.name == name);
        Some(self.groups.iter().position(is_it)? as u32)
    }

    /// Makes a group, or has it begin anew.
    pub(super) fn begin_group(&mut self, number: u32, start: u64, name: String) {
        let number = number as usize;
        if number >= MOST_GROUPS {
            return;
        }
        if self.groups.len() <= number {
            self.groups.resize_with(number + 1, || None);
        }
        self.groups[number] = Some(Group::new(name, start));
    }

    /// How many messages are not done in the group that is furthest behind.
    pub(super) fn pending(&mut self, next_id: u64) -> u64 {
        let pending = self.all().map(|group| group.pending(next_id));
        pending.max().unwrap_or(0)
    }

    /// Whether every group is done with these.
    pub(super) fn is_done(&mut self, messages: &Range<u64>) -> bool {
        self.all().all(|group| group.is_done(messages.clone()))
    }

    /// Gives up what is nowhere any more. How many messages were still wanted.
    pub(super) fn forget(&mut self, messages: Range<u64>) -> u64 {
        let finished = self.all().map(|group| group.finish_all(messages.clone()));
        finished.max().unwrap_or(0)
    }

    /// The same for one group.
    pub(super) fn forget_in(&mut self, number: u32, extents: &[Extent], next_id: u64) {
        let mut others = std::mem::take(&mut self.groups);
        if let Some(group) = others.get_mut(number as usize) {
            self.groups.push(group.take());
            self.forget_all_but(extents, next_id);
            *group = self.groups.pop().flatten();
        }
        self.groups = others;
    }

    /// Has a group be done with messages that it looked for in vain. How many of them
    /// no group had looked for.
    pub(super) fn lose(&mut self, number: u32, messages: Range<u64>) -> u64 {
        if let Some(group) = self.group(number) {
            group.finish_all(messages.clone());
        }
        let before = self.lost.len();
        self.lost.insert_all(messages);
        self.lost.len() - before
    }

    /// Gives up what no segment holds.
    pub(super) fn forget_all_but(&mut self, extents: &[Extent], next_id: u64) -> u64 {
        let mut held: Vec<_> = extents
            .iter()
            .map(|extent| extent.first..extent.next)
            .collect();
        held.retain(|messages| !messages.is_empty());
        held.sort_by_key(|messages| messages.start);
        let (mut at, mut lost) = (1, 0);
        let end = next_id..next_id;
        for messages in held.into_iter().chain([end]) {
            // Only what a group waits for is looked at one by one.
            let floor = self.all().map(|group| group.floor()).min().unwrap_or(at);
            lost = self
                .forget(at.max(floor)..messages.start)
                .saturating_add(lost);
            at = at.max(messages.end);
        }
        lost
    }

    pub(super) fn write(&self, next_id: u64) -> Vec<u8> {
        let mut writing = Writing::default();
        writing.list(&self.groups, |writing, group| match group {
            None => writing.word(0),
            Some(group) => {
                writing.word(1);
                group.write(writing, next_id);
            }
        });
        self.dedup.write(&mut writing, next_id);
        writing.0
    }

    fn read(&mut self, body: &[u8]) -> Option<()> {
        let mut reading = Reading(body);
        let groups = reading.list(|reading| match reading.word()? {
            0 => Some(None),
            _ => Group::read(reading).map(Some),
        })?;
        self.dedup.read(&mut reading)?;
        self.groups = groups;
        Some(())
    }
}

impl Replay for Book {
    fn restore(&mut self, body: &[u8]) {
        // Its checksum was right: what cannot be read is of a program to come.
        let _ = self.read(body);
    }

    fn missing(&mut self, messages: Range<u64>) {
        self.forget(messages);
    }

    fn record(&mut self, record: &Replayed<'_>) {
        let header = &record.header;
        let _ = match header.kind {
            Kind::Publish => {
                let ext = record.payload.get(..usize::from(header.ext)).unwrap_or(&[]);
                let ext = Extensions::decode(ext);
                if let Some(key) = &ext.dedup_id {
                    self.dedup.insert(key, header.id, record.time);
                }
                let due = ext.not_before.unwrap_or(0);
                self.all()
                    .for_each(|g| g.arrive(header.id, header.priority(), due));
                Some(())
            }
            Kind::Ack => self.each(record, |group, range| {
                group.finish_all(range);
            }),
            Kind::Redrive => self.each(record, Group::redrive_all),
            Kind::Nack => Nack::decode(record.payload).and_then(|nack| {
                let (id, attempts) = (nack.id, nack.attempts);
                let known = id < header.id;
                let group = self.group(nack.group).filter(|_| known)?;
                group.give_back(id, header.priority(), attempts, nack.due);
                Some(())
            }),
            Kind::Dead => Nack::decode(record.payload).and_then(|nack| {
                let known = nack.id < header.id;
                let reason = String::from_utf8_lossy(&record.payload[24..]).into_owned();
                let dead = Dead {
                    attempts: nack.attempts,
                    level: header.priority(),
                    reason,
                };
                self.group(nack.group)
                    .filter(|_| known)?
                    .bury(nack.id, dead);
                Some(())
            }),
            Kind::Group => read_group(record.payload).map(|(number, start, name)| {
                if start == u64::MAX {
                    if let Some(group) = self.groups.get_mut(number as usize) {
                        *group = None;
                    }
                } else {
                    self.begin_group(number, start, name);
                }
            }),
            Kind::Sync | Kind::Skip => None,
        };
    }
}

impl Book {
    fn each(&mut self, record: &Replayed<'_>, act: impl Fn(&mut Group, Range<u64>)) -> Option<()> {
        let (group, ranges) = read_ranges(record.payload)?;
        let next_id = record.header.id;
        let group = self.group(group)?;
        for range in ranges {
            act(group, range.start..range.end.min(next_id).max(range.start));
        }
        Some(())
    }
}
