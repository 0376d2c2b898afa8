use std::fmt;

use super::course::Course;
use super::erased::{AnySource, Blocking, Converted};
use super::{
    AsyncEntrySource, AsyncReplicationLog, Conflict, Entry, EntrySource, ForkPoint, RecoveryReport,
    ReplicationLog,
};
use crate::replica::{Position, RecoveryOrder};
use crate::task::block_on;

/// What is to be recovered, from where, and what becomes of conflicts.
///
/// The sources are asked in the order they were added: best first, those that have only a part of the log after those
/// that have all of it, and none further than is needed. Usually that is the old primary's log, what can be
/// decoded of it, what can be inspected of it, and the [journals](super::WriteJournal) of clients.
///
/// See the [module](super) for an example.
pub struct Recovery<'a, W> {
    pub(super) fork: ForkPoint,
    pub(super) order: RecoveryOrder,
    pub(super) acknowledged: Option<Position>,
    pub(super) sources: Vec<(String, Box<dyn AnySource<W> + 'a>)>,
    pub(super) decide: Option<Box<Decide<'a, W>>>,
    pub(super) listed: usize,
}

pub(super) type Decide<'a, W> = dyn FnMut(&Entry<W>, &[Conflict]) -> Resolution + Send + 'a;

/// What becomes of a lost write that both lines have written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resolution {
    /// What the new primary has stays, and the lost write is given up. The report has both.
    Keep,
    /// The lost write is applied over it. The report has both.
    Overwrite,
    /// Not decided now: what the new primary has stays, and the recovery is not complete.
    Later,
}

impl<'a, W: Send + 'a> Recovery<'a, W> {
    /// Recovers what the old line has behind this fork.
    pub fn after(fork: ForkPoint) -> Self {
        Self {
            fork,
            order: RecoveryOrder::default(),
            acknowledged: None,
            sources: Vec::new(),
            decide: None,
            listed: 10_000,
        }
    }

    /// Adds a source; the name is for the report.
    #[must_use]
    pub fn source<S: EntrySource<Write = W>>(self, name: &str, source: &'a S) -> Self {
        self.source_with(name, source, |write| write)
    }

    /// Adds a source whose writes are others than the target's: how they are put is up to the closure.
    #[must_use]
    pub fn source_with<S: EntrySource>(
        mut self,
        name: &str,
        source: &'a S,
        convert: impl Fn(S::Write) -> W + Send + Sync + 'a,
    ) -> Self
    where
        S::Write: 'a,
    {
        let source = Blocking(source);
        let source = Converted { source, convert };
        self.sources.push((name.into(), Box::new(source)));
        self
    }

    /// Adds a source that is read by futures.
    #[must_use]
    pub fn async_source<S: AsyncEntrySource<Write = W>>(self, name: &str, source: &'a S) -> Self {
        self.async_source_with(name, source, |write| write)
    }

    /// Adds a source that is read by futures, and whose writes are others than the target's.
    #[must_use]
    pub fn async_source_with<S: AsyncEntrySource>(
        mut self,
        name: &str,
        source: &'a S,
        convert: impl Fn(S::Write) -> W + Send + Sync + 'a,
    ) -> Self
    where
        S::Write: 'a,
    {
        let source = Converted { source, convert };
        self.sources.push((name.into(), Box::new(source)));
        self
    }

    /// How far writes were acknowledged, as far as anybody knows: the last position that a client was told, or that the old
    /// primary was seen at. A recovery that read less far is not complete.
    #[must_use]
    pub fn acknowledged(mut self, upto: Position) -> Self {
        self.acknowledged = Some(self.acknowledged.map_or(upto, |known| known.max(upto)));
        self
    }

    /// The order that the failover had; for the report.
    #[must_use]
    pub fn order(mut self, order: RecoveryOrder) -> Self {
        self.order = order;
        self
    }

    /// Decides about conflicts, each entry's together: an entry is applied whole or not at all. Without it, or
    /// if it says [`Resolution::Later`], what the new primary has stays and the recovery is not complete.
    ///
    /// The closure is asked outside of any transaction; if what was found changes until the entry is applied over it,
    /// it is asked again, three times at most.
    #[must_use]
    pub fn decide(
        mut self,
        decide: impl FnMut(&Entry<W>, &[Conflict]) -> Resolution + Send + 'a,
    ) -> Self {
        self.decide = Some(Box::new(decide));
        self
    }

    /// How many conflicts, and how many losses, the report lists one by one; the others are counted. 10 000 unless said
    /// otherwise.
    #[must_use]
    pub fn list_at_most(mut self, entries: usize) -> Self {
        self.listed = entries;
        self
    }

    /// Recovers, on the calling thread. What goes wrong is in the report. If the process dies in the middle, running it
    /// again goes on.
    ///
    /// Costs what reading the sources behind the fork and a call of [`apply`](ReplicationLog::apply) per entry cost, and memory
    /// for one entry and the report.
    pub fn run<L>(self, target: &L) -> RecoveryReport
    where
        L: ReplicationLog<Write = W>,
        W: Sync,
    {
        block_on(Course::new(self).run(&Blocking(target)))
    }

    /// Recovers, as a future. Dropped in the middle, it has applied what it has applied, and running it again goes on. A source
    /// that blocks when it is read blocks here, too; a journal does not.
    pub async fn run_async<L>(self, target: &L) -> RecoveryReport
    where
        L: AsyncReplicationLog<Write = W>,
        W: Sync,
    {
        Course::new(self).run(target).await
    }
}

impl<W> fmt::Debug for Recovery<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<&str> = self.sources.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Recovery")
            .field("fork", &self.fork)
            .field("sources", &sources)
            .finish_non_exhaustive()
    }
}
