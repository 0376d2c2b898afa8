//! The course of a recovery: source by source, entry by entry, always in the order of the commits.
//!
//! Sources that have all of the log are read first, the best of them as far as it goes. Where it fails, or has a gap, the
//! next one goes on from there; a gap that nobody can fill is a loss, and is passed over. Only then, and only if something
//! is missing, are those read that have a part.

use super::erased::{AnyEntries, AnySource};
use super::report::{Decision, RecoveryReport, SourceEnd, Stopped};
use super::run::{Decide, Resolution};
use super::{
    Applied, AsyncReplicationLog, Coverage, Entry, EntryId, ForkPoint, Read, Recovery, Step,
};
use crate::replica::Position;

pub(super) struct Course<'a, W> {
    fork: ForkPoint,
    sources: Vec<(String, Box<dyn AnySource<W> + 'a>)>,
    decide: Option<Box<Decide<'a, W>>>,
    report: RecoveryReport,
    /// Everything up to here was dealt with.
    through: Position,
    /// The gap that is being asked about.
    gap: Option<Gap>,
    /// Sources that are not asked again.
    failed: Vec<bool>,
}

/// An entry that is known to be there and was not had.
struct Gap {
    position: Position,
    /// Whom it was asked of.
    tried: Vec<bool>,
}

/// Where the reading of a source ended for now.
enum Left {
    AtItsEnd,
    AtAGap,
    Failed(String),
}

/// The target failed, and so the recovery is over for now.
struct TargetFailed;

impl<'a, W: Send + Sync + 'a> Course<'a, W> {
    pub(super) fn new(plan: Recovery<'a, W>) -> Self {
        let names = plan.sources.iter().map(|(name, _)| name.clone());
        let report =
            RecoveryReport::new(plan.fork, plan.order, plan.acknowledged, plan.listed, names);
        Self {
            fork: plan.fork,
            report,
            failed: vec![false; plan.sources.len()],
            sources: plan.sources,
            decide: plan.decide,
            through: plan.fork.position,
            gap: None,
        }
    }

    pub(super) async fn run<L: AsyncReplicationLog<Write = W>>(
        mut self,
        target: &L,
    ) -> RecoveryReport {
        // If it was stopped, the report says where.
        let _ = self.follow(target).await;
        self.report
    }

    async fn follow<L: AsyncReplicationLog<Write = W>>(
        &mut self,
        target: &L,
    ) -> Result<(), TargetFailed> {
        let before = target.digest(self.fork.lost()).await;
        self.report.before = Some(self.or_stop(Step::Recover, self.through, before)?);
        let sources = std::mem::take(&mut self.sources);
        let covers = sources.iter().map(|(_, source)| source.coverage(self.fork));
        let covers: Vec<_> = covers.collect();
        let (whole, part): (Vec<usize>, Vec<usize>) =
            (0..sources.len()).partition(|&source| covers[source] == Coverage::Whole);
        for (source, coverage) in self.report.sources.iter_mut().zip(covers) {
            source.coverage = Some(coverage);
        }
        self.read_whole(&sources, &whole, target).await?;
        for source in part {
            if self.report.needs_more() {
                let from = self.report.first_gap().unwrap_or(self.through);
                self.read(source, &*sources[source].1, from, &[], target)
                    .await?;
            }
        }
        let after = target.digest(self.fork.lost()).await;
        self.report.after = Some(self.or_stop(Step::Verify, self.through, after)?);
        Ok(())
    }

    /// Reads those that have all of it, until one was read to its end.
    async fn read_whole<L: AsyncReplicationLog<Write = W>>(
        &mut self,
        sources: &[(String, Box<dyn AnySource<W> + 'a>)],
        whole: &[usize],
        target: &L,
    ) -> Result<(), TargetFailed> {
        while let Some(source) = self.next_source(whole) {
            let from = self.through;
            let left = self.read(source, &*sources[source].1, from, whole, target);
            match left.await? {
                Left::AtItsEnd => {
                    self.report.whole = true;
                    return Ok(());
                }
                Left::AtAGap => {}
                Left::Failed(_) => self.failed[source] = true,
            }
        }
        Ok(())
    }

    /// Who goes on: the best that is left and was not asked about the gap yet. If all were, it is passed over.
    fn next_source(&mut self, whole: &[usize]) -> Option<usize> {
        if self
            .gap
            .as_ref()
            .is_some_and(|gap| gap.position <= self.through)
        {
            self.gap = None;
        }
        let next = self.untried(whole);
        if next.is_none()
            && let Some(gap) = self.gap.take()
        {
            self.through = gap.position;
            self.report.reached = self.through;
            return self.untried(whole);
        }
        next
    }

    fn untried(&self, whole: &[usize]) -> Option<usize> {
        let tried = |source: usize| self.gap.as_ref().is_some_and(|gap| gap.tried[source]);
        let mut whole = whole.iter().copied();
        whole.find(|&source| !self.failed[source] && !tried(source))
    }

    /// Reads a source to its end, or as far as it can be read, or to a gap that one of the others might fill.
    async fn read<L: AsyncReplicationLog<Write = W>>(
        &mut self,
        number: usize,
        source: &dyn AnySource<W>,
        from: Position,
        others: &[usize],
        target: &L,
    ) -> Result<Left, TargetFailed> {
        self.report.sources[number].end = SourceEnd::Broken;
        let left = match source.open(ForkPoint::new(self.fork.timeline, from)).await {
            Ok(mut entries) => {
                self.drain(number, &mut *entries, from, others, target)
                    .await?
            }
            Err(error) => Left::Failed(with_causes(&*error)),
        };
        self.report.sources[number].end = match &left {
            Left::AtItsEnd => SourceEnd::Read,
            Left::AtAGap => SourceEnd::Gap,
            Left::Failed(why) => SourceEnd::Failed(why.clone()),
        };
        Ok(left)
    }

    async fn drain<L: AsyncReplicationLog<Write = W>>(
        &mut self,
        number: usize,
        entries: &mut dyn AnyEntries<W>,
        from: Position,
        others: &[usize],
        target: &L,
    ) -> Result<Left, TargetFailed> {
        let whole = !others.is_empty();
        let mut at = from;
        while let Some(read) = entries.next().await {
            let read = match read {
                Ok(read) => read,
                Err(error) => return Ok(Left::Failed(with_causes(&*error))),
            };
            let position = match &read {
                Read::Entry(entry) => entry.id.position,
                Read::Unreadable { position, .. }
                | Read::Partly { position, .. }
                | Read::Upto(position) => *position,
            };
            if let Some(why) = self.nonsense(&read, at, from) {
                // It may have left out anything before that.
                if whole {
                    self.through = from;
                    self.report.reached = from;
                }
                return Ok(Left::Failed(why));
            }
            // What shares a position comes together: it was dealt with when the next position comes.
            if whole && position > at {
                self.advance(at);
            }
            at = position;
            self.report.sources[number].reached = Some(at);
            match read {
                Read::Entry(entry) => {
                    self.apply(number, &entry, target).await?;
                    // In a log, a position is one commit.
                    if whole && entry.id.tag == 0 {
                        self.advance(at);
                    }
                }
                Read::Partly { rest, missing, .. } => {
                    if let Some(rest) = rest {
                        self.apply(number, &rest, target).await?;
                    }
                    let entry = self.commit_at(position);
                    self.report.note_missing(number, entry, missing);
                    if whole {
                        self.advance(at);
                    }
                }
                Read::Unreadable { why, .. } => {
                    let entry = self.commit_at(position);
                    // What lies before `through` was had of others, unless it is a loss already.
                    if position > self.through || self.report.is_lost(entry) {
                        self.report.note_loss(number, entry, why, true);
                    }
                    if whole && self.asks_another(number, position, others) {
                        return Ok(Left::AtAGap);
                    }
                }
                Read::Upto(_) => {}
            }
        }
        if whole {
            self.advance(at);
        }
        Ok(Left::AtItsEnd)
    }

    /// Why what a source gave is not what it was asked for, and the source not to be believed.
    fn nonsense(&self, read: &Read<W>, at: Position, from: Position) -> Option<String> {
        let (position, timeline) = match read {
            Read::Entry(entry) => (entry.id.position, entry.id.timeline),
            Read::Unreadable { position, .. } => (*position, self.fork.timeline),
            Read::Partly { position, rest, .. } => {
                let timeline = rest.as_ref().map(|rest| rest.id.timeline);
                (*position, timeline.unwrap_or(self.fork.timeline))
            }
            Read::Upto(position) => return (*position < at).then(|| turned_back(at, *position)),
        };
        if timeline != self.fork.timeline {
            let wanted = self.fork.timeline;
            return Some(format!(
                "it should give timeline {wanted}, and gave {position} of timeline {timeline}"
            ));
        }
        (position < at || position == from).then(|| turned_back(at, position))
    }

    /// The entry of a log that was committed here.
    fn commit_at(&self, position: Position) -> EntryId {
        EntryId {
            timeline: self.fork.timeline,
            position,
            tag: 0,
        }
    }

    fn advance(&mut self, position: Position) {
        self.through = self.through.max(position);
        self.report.reached = self.through;
    }

    /// Notes whom the gap was asked of, and whether there is somebody left to ask.
    fn asks_another(&mut self, number: usize, position: Position, others: &[usize]) -> bool {
        let gap = self.gap.take().filter(|gap| gap.position == position);
        let mut gap = gap.unwrap_or_else(|| Gap {
            position,
            tried: vec![false; self.failed.len()],
        });
        gap.tried[number] = true;
        self.gap = Some(gap);
        self.untried(others).is_some()
    }

    async fn apply<L: AsyncReplicationLog<Write = W>>(
        &mut self,
        number: usize,
        entry: &Entry<W>,
        target: &L,
    ) -> Result<(), TargetFailed> {
        let mut applied = target.apply(entry).await;
        let mut asked = 0;
        let mut overwritten = Vec::new();
        loop {
            let conflicts = match self.or_stop(Step::Recover, entry.id.position, applied)? {
                Applied::New => {
                    self.report.note_new(number, entry.id, entry.fingerprint());
                    break;
                }
                Applied::Already => {
                    self.report.note_already(number, entry.id);
                    break;
                }
                Applied::Refused(why) => {
                    self.report.note_loss(number, entry.id, why, false);
                    return Ok(());
                }
                Applied::Conflict(conflicts) => conflicts,
            };
            let resolution = match &mut self.decide {
                Some(decide) if asked < ASKED_AT_MOST => decide(entry, &conflicts),
                _ => Resolution::Later,
            };
            asked += 1;
            let decision = match resolution {
                Resolution::Overwrite => {
                    applied = target.overwrite(entry, &conflicts).await;
                    overwritten = conflicts;
                    continue;
                }
                Resolution::Keep => Decision::Kept,
                Resolution::Later => Decision::Open,
            };
            self.report
                .note_conflict(number, entry.id, conflicts, decision);
            return Ok(());
        }
        if !overwritten.is_empty() {
            self.report
                .note_conflict(number, entry.id, overwritten, Decision::Overwritten);
        }
        Ok(())
    }

    fn or_stop<T, E: std::error::Error>(
        &mut self,
        step: Step,
        position: Position,
        result: Result<T, E>,
    ) -> Result<T, TargetFailed> {
        result.map_err(|error| {
            let why = with_causes(&error);
            self.report.stopped = Some(Stopped {
                step,
                position,
                why,
            });
            TargetFailed
        })
    }
}

fn turned_back(at: Position, position: Position) -> String {
    format!("it should go on behind {at}, and gave {position}")
}

/// An error in one line, and what caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// How often a decision is asked for before the entry is left alone.
const ASKED_AT_MOST: u32 = 3;
