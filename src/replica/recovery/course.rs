//! The course of a recovery: source by source, entry by entry.

use super::erased::{AnyEntries, AnySource};
use super::report::{Decision, RecoveryReport, SourceEnd, Stopped};
use super::run::{Decide, Resolution};
use super::{Applied, AsyncReplicationLog, Coverage, Entry, EntryId, Fork, Read, Recovery, Step};
use crate::replica::Position;

pub(super) struct Course<'a, W> {
    fork: Fork,
    sources: Vec<(String, Box<dyn AnySource<W> + 'a>)>,
    decide: Option<Box<Decide<'a, W>>>,
    report: RecoveryReport,
    /// Up to here everything was read from a source that has all of the log.
    through: Position,
}

/// Where the reading of one source is.
struct Place {
    /// The position of the last that came.
    at: Position,
    /// The last position before that: several entries may share one, and who goes on elsewhere reads all of them again.
    behind: Position,
}

/// The target failed, and so the recovery is over for now.
struct TargetFailed;

impl<'a, W: Send + Sync + 'a> Course<'a, W> {
    pub(super) fn new(plan: Recovery<'a, W>) -> Self {
        let names = plan.sources.iter().map(|(name, _)| name.clone());
        Self {
            fork: plan.fork,
            report: RecoveryReport::new(
                plan.fork,
                plan.order,
                plan.acknowledged,
                plan.listed,
                names,
            ),
            sources: plan.sources,
            decide: plan.decide,
            through: plan.fork.position,
        }
    }

    pub(super) async fn run<L: AsyncReplicationLog<Write = W>>(
        mut self,
        target: &L,
    ) -> RecoveryReport {
        // Stopped: the report says where.
        let _ = self.follow(target).await;
        self.report
    }

    async fn follow<L: AsyncReplicationLog<Write = W>>(
        &mut self,
        target: &L,
    ) -> Result<(), TargetFailed> {
        let before = target.digest(self.fork.lost()).await;
        self.report.before = Some(self.or_stop(Step::Recover, before)?);
        let sources = std::mem::take(&mut self.sources);
        for (number, (_, source)) in sources.iter().enumerate() {
            if self.report.needs_more() {
                self.read(number, &**source, target).await?;
            }
        }
        let after = target.digest(self.fork.lost()).await;
        self.report.after = Some(self.or_stop(Step::Verify, after)?);
        Ok(())
    }

    /// Reads a source to its end, or as far as it can be read.
    async fn read<L: AsyncReplicationLog<Write = W>>(
        &mut self,
        number: usize,
        source: &dyn AnySource<W>,
        target: &L,
    ) -> Result<(), TargetFailed> {
        let from = self.report.first_gap().unwrap_or(self.through);
        let mut place = Place {
            at: from,
            behind: from,
        };
        let from = Fork::new(self.fork.timeline, from);
        let coverage = source.coverage(from);
        let whole = coverage == Coverage::Whole;
        self.report.sources[number].coverage = Some(coverage);
        self.report.sources[number].end = SourceEnd::Broken;
        let end = match source.open(from).await {
            Ok(mut entries) => {
                self.drain(number, &mut *entries, &mut place, target)
                    .await?
            }
            Err(error) => SourceEnd::Failed(with_causes(&*error)),
        };
        if whole {
            let read = if end == SourceEnd::Read {
                place.at
            } else {
                place.behind
            };
            self.through = self.through.max(read);
            self.report.reached = self.through;
            self.report.whole |= end == SourceEnd::Read;
        }
        self.report.sources[number].reached = Some(place.at);
        self.report.sources[number].end = end;
        Ok(())
    }

    async fn drain<L: AsyncReplicationLog<Write = W>>(
        &mut self,
        number: usize,
        entries: &mut dyn AnyEntries<W>,
        place: &mut Place,
        target: &L,
    ) -> Result<SourceEnd, TargetFailed> {
        while let Some(read) = entries.next().await {
            let read = match read {
                Ok(read) => read,
                Err(error) => return Ok(SourceEnd::Failed(with_causes(&*error))),
            };
            let position = match &read {
                Read::Entry(entry) => entry.id.position,
                Read::Unreadable { position, .. } | Read::Upto(position) => *position,
            };
            // A source that gives something else than it was asked for is not to be believed.
            if position < place.at {
                return Ok(SourceEnd::Failed(format!(
                    "it should go on behind {}, and gave {position}",
                    place.at
                )));
            }
            if position > place.at {
                place.behind = place.at;
                place.at = position;
            }
            match read {
                Read::Entry(entry) if !self.fork.lost().contains(entry.id) => {
                    return Ok(SourceEnd::Failed(format!(
                        "it should give {}, and gave {} of timeline {}",
                        self.fork, entry.id.position, entry.id.timeline
                    )));
                }
                Read::Entry(entry) => {
                    self.report.sources[number].reached = Some(position);
                    self.apply(number, &entry, target).await?;
                }
                Read::Unreadable { position, why } => {
                    let entry = EntryId {
                        timeline: self.fork.timeline,
                        position,
                        tag: 0,
                    };
                    self.report.note_loss(number, entry, why, true);
                }
                Read::Upto(_) => {}
            }
        }
        Ok(SourceEnd::Read)
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
            let conflicts = match self.or_stop_at(entry.id.position, applied)? {
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
        result: Result<T, E>,
    ) -> Result<T, TargetFailed> {
        let at = self.through;
        result.map_err(|error| self.stop(step, at, &error))
    }

    fn or_stop_at<T, E: std::error::Error>(
        &mut self,
        position: Position,
        result: Result<T, E>,
    ) -> Result<T, TargetFailed> {
        result.map_err(|error| self.stop(Step::Recover, position, &error))
    }

    fn stop(
        &mut self,
        step: Step,
        position: Position,
        error: &dyn std::error::Error,
    ) -> TargetFailed {
        self.report.stopped = Some(Stopped {
            step,
            position,
            why: with_causes(error),
        });
        TargetFailed
    }
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
