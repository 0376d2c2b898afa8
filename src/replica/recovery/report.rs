use std::collections::BTreeMap;
use std::fmt;

use super::recovered::count;
use super::{Conflict, Coverage, Digest, EntryId, ForkPoint, Incomplete, Recovered, Step};
use crate::replica::{Position, RecoveryOrder};

/// What a recovery found and did. Its `Display` is for whoever has to decide what happens next.
///
/// Lists have a [bound](super::Recovery::list_at_most), counts have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    fork: ForkPoint,
    order: RecoveryOrder,
    acknowledged: Option<Position>,
    listed: usize,
    pub(super) sources: Vec<SourceReport>,
    conflicts: BTreeMap<EntryId, ConflictReport>,
    /// Conflicts that nobody has decided and that are not in the list.
    more_open: u64,
    more_decided: u64,
    /// By position; that a source could not read may be made up for by a later one.
    losses: BTreeMap<EntryId, Loss>,
    more_losses: u64,
    new: Digest,
    pub(super) before: Option<Digest>,
    pub(super) after: Option<Digest>,
    pub(super) stopped: Option<Stopped>,
    /// A source with all of the log was read to its end.
    pub(super) whole: bool,
    pub(super) reached: Position,
}

/// What one source gave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// Whether it has everything; nothing if the recovery stopped before that was asked.
    pub coverage: Option<Coverage>,
    /// How far it was read.
    pub reached: Option<Position>,
    /// Entries that are there through it.
    pub recovered: u64,
    /// Entries that were there already.
    pub already: u64,
    /// Entries in conflict, whatever became of them.
    pub conflicts: u64,
    /// Entries that it could not give, or that the target refused.
    pub lost: u64,
    /// How it ended.
    pub end: SourceEnd,
}

/// How reading a source ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEnd {
    /// It was not asked: there was no need, or the recovery stopped before.
    NotAsked,
    /// It was being read when the recovery stopped.
    Broken,
    /// It was read to its end.
    Read,
    /// It was read as far as an entry that it could not give, and another went on from there.
    Gap,
    /// It could not be read, or not to its end.
    Failed(String),
}

/// An entry that both lines have written to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConflictReport {
    /// Which entry.
    pub entry: EntryId,
    /// The source it came from.
    pub source: String,
    /// What it would overwrite, or has overwritten, with both sides.
    pub conflicts: Vec<Conflict>,
    /// What became of it.
    pub decision: Decision,
}

/// What became of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// Nobody has decided; what the new primary has was left.
    Open,
    /// What the new primary has was kept.
    Kept,
    /// The lost write was applied over it.
    Overwritten,
}

/// A write that was there and cannot be recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// Where its commit ends.
    pub position: Position,
    /// The source that told of it.
    pub source: String,
    /// Why it cannot be had, or not be applied.
    pub why: String,
    /// Whether another source may have it.
    unreadable: bool,
}

/// Where a recovery stopped because the target failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// In which step.
    pub step: Step,
    /// At which entry: those before it were dealt with, and what became of it is unknown until the next run.
    pub position: Position,
    /// The target's error.
    pub why: String,
}

impl RecoveryReport {
    pub(super) fn new(
        fork: ForkPoint,
        order: RecoveryOrder,
        acknowledged: Option<Position>,
        listed: usize,
        names: impl Iterator<Item = String>,
    ) -> Self {
        let unasked = |name| SourceReport {
            name,
            coverage: None,
            reached: None,
            recovered: 0,
            already: 0,
            conflicts: 0,
            lost: 0,
            end: SourceEnd::NotAsked,
        };
        Self {
            fork,
            order,
            acknowledged,
            listed,
            sources: names.map(unasked).collect(),
            conflicts: BTreeMap::new(),
            more_open: 0,
            more_decided: 0,
            losses: BTreeMap::new(),
            more_losses: 0,
            new: Digest::default(),
            before: None,
            after: None,
            stopped: None,
            whole: false,
            reached: fork.position,
        }
    }

    /// That nothing is left behind the fork that is not on the new primary or was decided about.
    ///
    /// # Errors
    /// The first reason why that is not so. [`Recovered::declared`] is for whoever gives up the rest.
    pub fn complete(&self) -> Result<Recovered, Incomplete> {
        if let Some(stopped) = &self.stopped {
            return Err(Incomplete::Stopped(stopped.to_string()));
        }
        if let (expected, Some(found)) = (self.expected(), self.after)
            && expected != found
        {
            return Err(Incomplete::Digest { expected, found });
        }
        let short = self.acknowledged.is_some_and(|upto| upto > self.reached);
        if !self.whole || short {
            return Err(Incomplete::Unread {
                from: self.reached,
                upto: self.acknowledged.filter(|_| short),
            });
        }
        match (self.lost(), self.undecided()) {
            (0, 0) => Ok(Recovered::complete(self.fork, self.expected().count)),
            (0, open) => Err(Incomplete::Undecided(open)),
            (lost, _) => Err(Incomplete::Lost(lost)),
        }
    }

    /// The fork behind which was recovered.
    pub fn fork(&self) -> ForkPoint {
        self.fork
    }

    /// What each source gave, in the order they were asked.
    pub fn sources(&self) -> &[SourceReport] {
        &self.sources
    }

    /// How many entries are there through this run.
    pub fn recovered(&self) -> u64 {
        self.new.count
    }

    /// How many times a source gave what was there already.
    pub fn already(&self) -> u64 {
        self.sources.iter().map(|source| source.already).sum()
    }

    /// Entries that both lines have written to, by position.
    pub fn conflicts(&self) -> impl ExactSizeIterator<Item = &ConflictReport> {
        self.conflicts.values()
    }

    /// How many conflicts nobody has decided.
    pub fn undecided(&self) -> u64 {
        let open = |conflict: &&ConflictReport| conflict.decision == Decision::Open;
        self.conflicts.values().filter(open).count() as u64 + self.more_open
    }

    /// Writes that cannot be recovered, by position, with the reason.
    pub fn losses(&self) -> impl ExactSizeIterator<Item = &Loss> {
        self.losses.values()
    }

    /// How many writes cannot be recovered, of those that are known of.
    pub fn lost(&self) -> u64 {
        self.losses.len() as u64 + self.more_losses
    }

    /// How far the old log was read without a break.
    pub fn reached(&self) -> Position {
        self.reached
    }

    /// Of what lies behind the fork, what the target had when the run began.
    pub fn before(&self) -> Option<Digest> {
        self.before
    }

    /// Of what lies behind the fork, what the target has now.
    pub fn after(&self) -> Option<Digest> {
        self.after
    }

    /// Where the run stopped, if it did: run it again.
    pub fn stopped(&self) -> Option<&Stopped> {
        self.stopped.as_ref()
    }

    /// What the target should have now: what it had, and what is new.
    fn expected(&self) -> Digest {
        let before = self.before.unwrap_or_default();
        Digest {
            count: before.count + self.new.count,
            checksum: before.checksum.wrapping_add(self.new.checksum),
        }
    }

    /// Whether another source may have something that is missing yet.
    pub(super) fn needs_more(&self) -> bool {
        !self.whole || self.losses.values().any(|loss| loss.unreadable)
    }

    /// The position before the first entry that no source could read so far.
    pub(super) fn first_gap(&self) -> Option<Position> {
        let gap = self.losses.values().find(|loss| loss.unreadable)?;
        let before = gap.position.0.saturating_sub(1);
        Some(Position(before).max(self.fork.position))
    }

    pub(super) fn note_new(&mut self, source: usize, entry: EntryId, fingerprint: u64) {
        self.new.add(fingerprint);
        self.sources[source].recovered += 1;
        self.settle(entry);
    }

    pub(super) fn note_already(&mut self, source: usize, entry: EntryId) {
        self.sources[source].already += 1;
        self.settle(entry);
    }

    pub(super) fn note_conflict(
        &mut self,
        source: usize,
        entry: EntryId,
        conflicts: Vec<Conflict>,
        decision: Decision,
    ) {
        self.settle(entry);
        self.sources[source].conflicts += 1;
        if self.conflicts.len() < self.listed {
            let source = self.sources[source].name.clone();
            let report = ConflictReport {
                entry,
                source,
                conflicts,
                decision,
            };
            self.conflicts.insert(entry, report);
        } else if decision == Decision::Open {
            self.more_open += 1;
        } else {
            self.more_decided += 1;
        }
    }

    pub(super) fn note_loss(
        &mut self,
        source: usize,
        entry: EntryId,
        why: String,
        unreadable: bool,
    ) {
        self.sources[source].lost += 1;
        if self.losses.len() < self.listed || self.losses.contains_key(&entry) {
            let source = self.sources[source].name.clone();
            let loss = Loss {
                position: entry.position,
                source,
                why,
                unreadable,
            };
            self.losses.insert(entry, loss);
        } else {
            self.more_losses += 1;
        }
    }

    /// Of an entry that was dealt with otherwise, this is in no source.
    pub(super) fn note_missing(&mut self, source: usize, entry: EntryId, missing: String) {
        match self.losses.get_mut(&entry) {
            // The rest was refused.
            Some(loss) => loss.why = format!("{}; and {missing}", loss.why),
            None => self.note_loss(source, entry, missing, false),
        }
    }

    pub(super) fn is_lost(&self, entry: EntryId) -> bool {
        self.losses.contains_key(&entry)
    }

    /// What an earlier source said of an entry that has now been dealt with is no longer so.
    fn settle(&mut self, entry: EntryId) {
        self.conflicts.remove(&entry);
        self.losses.remove(&entry);
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "recovery of {}, {}", self.fork, self.order)?;
        for source in &self.sources {
            writeln!(f, "  {source}")?;
        }
        for conflict in self.conflicts.values() {
            writeln!(f, "  {conflict}")?;
        }
        let more = self.more_open + self.more_decided;
        if more > 0 {
            writeln!(f, "  and {}", count(more, "more conflict"))?;
        }
        for loss in self.losses.values() {
            writeln!(f, "  {loss}")?;
        }
        if self.more_losses > 0 {
            writeln!(f, "  and {}", count(self.more_losses, "more lost write"))?;
        }
        if let (Some(before), Some(after)) = (self.before, self.after) {
            writeln!(f, "  on the target before: {before}; after: {after}")?;
        }
        match self.complete() {
            Ok(recovered) => write!(f, "complete: {recovered}"),
            Err(incomplete) => write!(f, "INCOMPLETE: {incomplete}"),
        }
    }
}

impl fmt::Display for SourceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.end {
            SourceEnd::NotAsked => return f.write_str("not asked"),
            SourceEnd::Broken => f.write_str("broken off")?,
            SourceEnd::Read => f.write_str("read to its end")?,
            SourceEnd::Gap => f.write_str("read as far as another had to go on")?,
            SourceEnd::Failed(why) => write!(f, "FAILED ({why})")?,
        }
        if let Some(reached) = self.reached {
            write!(f, " at {reached}")?;
        }
        if let Some(Coverage::Part(part)) = &self.coverage {
            write!(f, ", has only {part}")?;
        }
        write!(
            f,
            "; {} recovered, {} there already, {} in conflict, {} lost",
            self.recovered, self.already, self.conflicts, self.lost
        )
    }
}

impl fmt::Display for ConflictReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision = match self.decision {
            Decision::Open => "NOT DECIDED, left as found",
            Decision::Kept => "left as found",
            Decision::Overwritten => "overwritten",
        };
        write!(f, "conflict at {} ({decision})", self.entry)?;
        for (n, conflict) in self.conflicts.iter().enumerate() {
            let separator = if n == 0 { ":" } else { ";" };
            write!(f, "{separator} {conflict}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "LOST at {} ({}): {}",
            self.position, self.source, self.why
        )
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Verify => "verifying",
            _ => "recovering",
        };
        write!(f, "while {step} at {}: {}", self.position, self.why)
    }
}
