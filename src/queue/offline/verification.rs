use std::fmt;
use std::ops::Range;

use crate::queue::log::{Damage, DamageKind};

/// What a queue that nobody has open consists of, and what of it is damaged.
///
/// Ranges of messages are of their numbers, up to but not including the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// Segments whose headers can be read.
    pub segments: usize,
    /// Records that are whole.
    pub records: u64,
    /// Those of them that are messages, done ones included.
    pub messages: u64,
    /// The number that the next message gets.
    pub next_id: u64,
    /// What each group has before it.
    pub groups: Vec<GroupState>,
    /// What is damaged, and where.
    pub damage: Vec<Damage>,
    /// Messages that a group is not done with, and that nobody can read.
    pub lost: Vec<Range<u64>>,
    /// What an unclean end left half-written; nothing of it was confirmed. That is no
    /// damage: the next opening sets it aside.
    pub torn: Option<Damage>,
    /// Checkpoints that can be used. A queue that never was closed may have none.
    pub checkpoints: usize,
    /// The files of those that cannot.
    pub checkpoints_lost: Vec<String>,
    /// Files that were set aside by openings and repairs before. Nobody reads them.
    pub quarantine: Vec<String>,
    /// Bytes of its files.
    pub space: Space,
}

/// What a group has before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupState {
    /// The group's name.
    pub name: String,
    /// Messages that it is not done with.
    pub pending: u64,
    /// Those of them that wait until they are due.
    pub waiting: u64,
    /// Those of them that are dead.
    pub dead: u64,
}

/// Bytes of a queue's files, by what they are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// The log.
    pub segments: u64,
    /// What shortens an opening.
    pub checkpoints: u64,
    /// Files that are kept for the next segment, or that a crash left behind.
    pub spare: u64,
    /// What was set aside since it was damaged.
    pub quarantine: u64,
}

impl Verification {
    /// Whether nothing is damaged or lost.
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty() && self.lost.is_empty() && self.checkpoints_lost.is_empty()
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (segments, records, messages) = (self.segments, self.records, self.messages);
        writeln!(
            f,
            "{segments} segments, {records} records, {messages} of them messages, the next is \
             number {}",
            self.next_id
        )?;
        for group in &self.groups {
            let (pending, waiting, dead) = (group.pending, group.waiting, group.dead);
            let name = &group.name;
            writeln!(
                f,
                "group {name}: {pending} pending ({waiting} waiting, {dead} dead)"
            )?;
        }
        let Space {
            segments,
            checkpoints,
            spare,
            quarantine,
        } = self.space;
        writeln!(
            f,
            "bytes: {segments} of segments, {checkpoints} of {} checkpoints, {spare} spare, \
             {quarantine} set aside",
            self.checkpoints + self.checkpoints_lost.len()
        )?;
        for damage in &self.damage {
            writeln!(f, "damaged: {}", Place(damage))?;
        }
        for file in &self.checkpoints_lost {
            writeln!(f, "damaged: {file}, a checkpoint that cannot be used")?;
        }
        if let Some(torn) = &self.torn {
            writeln!(f, "unfinished: {}", Place(torn))?;
        }
        for messages in &self.lost {
            writeln!(f, "lost: {}", Messages(messages))?;
        }
        if self.is_clean() {
            return f.write_str("clean");
        }
        let lost = self.lost.iter().map(|lost| lost.end - lost.start);
        let lost = lost.fold(0, u64::saturating_add);
        let places = self.damage.len() + self.checkpoints_lost.len();
        write!(f, "{places} damaged places, {lost} messages lost")
    }
}

/// Where damage is and what was there.
struct Place<'a>(&'a Damage);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            segment,
            bytes,
            kind,
            messages,
            ..
        } = self.0;
        let what = match kind {
            DamageKind::Header => "no header can be read",
            DamageKind::HeaderCopy => "a copy of the header",
            DamageKind::Record => "no record can be read",
            DamageKind::Truncated => "the file ends before",
            DamageKind::Torn => "a write that never came to its end",
        };
        write!(
            f,
            "segment {segment}, bytes {}..{}: {what}",
            bytes.start, bytes.end
        )?;
        if !messages.is_empty() {
            write!(f, " ({})", Messages(messages))?;
        }
        Ok(())
    }
}

/// Numbers of messages as people write them.
pub(super) struct Messages<'a>(pub(super) &'a Range<u64>);

impl fmt::Display for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start, self.0.end.saturating_sub(1));
        if first == last {
            write!(f, "message {first}")
        } else {
            write!(f, "messages {first} to {last}")
        }
    }
}
