use super::failover::Suspicion;
use super::step::Step;
use super::{FailoverRefused, Node, NodeId, NodeState, Phase, Promotion};
use crate::replica::{Epoch, Position, Role};
use crate::time::Instant;

/// A primary that was gone before anybody here had seen it: whoever leads the failovers was started anew when it died, on the same
/// machine maybe.
///
/// Roles are observed, and nobody has observed this one. It is presumed where nothing else is left: every server but one answers,
/// as a replica of this cluster, on the same line of the log, and receives from nobody, or from another of them. The one that has
/// failed its probes is then taken for the primary of that line, and suspected.
///
/// From there on nothing is different. It has the time to be restarted; it is fenced, or its lease has run out, or nobody is promoted; of
/// the synchronous standbys, which are the user's word as ever, so many must be stopped that one has every acknowledged write; what
/// it had beyond is told, salvaged, recovered. Until a promotion is asked for, the presumption falls with what it
/// rests on: with a second server that is silent, a receiver, an answer of the silent one.
///
/// ```text
/// what a leader before this one has ordered may still happen    nobody is presumed before an operation's time has passed
/// the silent one was promoted, and nobody has followed it       a fence is for an epoch, and does not hold for a later one
/// the silent one is a replica, and the primary became another   that one has all it wrote, and is stopped and looked at as the others are
/// the primary is none of the servers                            that is the user's to say: the settings name all of them
/// ```
impl Step<'_> {
    /// Presumes who the primary is, or does so no longer.
    pub(super) fn judge_absence(&mut self) {
        if self.t.failover.presumption.is_made {
            if self.t.phase != Phase::PrimarySuspect || self.is_still_absent() {
                return;
            }
            self.forget_primary();
            self.enter(Phase::Leaderless);
            self.hurry_all();
        }
        let never_seen = self.t.line.is_none() && self.t.failover.disputed.is_none();
        if self.t.phase != Phase::Leaderless
            || self.t.settings.promotion == Promotion::Observe
            || !never_seen
            || self.now < self.t.failover.presumption.not_before
        {
            return;
        }
        let Some(absent) = self.absent() else {
            if !self.has_looked() {
                return;
            }
            let silent = self.t.members().filter(|node| node.seen.is_none()).count();
            self.tell_refused(FailoverRefused::NeverSeen { silent });
            return;
        };
        let (id, now) = (absent.node, self.now);
        self.t.primary = Some(id);
        self.t.epoch = Some(absent.epoch);
        self.t.line = Some(absent.epoch.timeline);
        (self.t.head, self.t.head_at) = (absent.reached, now);
        if let Some(node) = self.t.get_mut(id)
            && node.state != NodeState::Draining
        {
            node.state = NodeState::Suspect;
        }
        self.enter(Phase::PrimarySuspect);
        self.t.failover.presumption.is_made = true;
        self.t.failover.suspicion = Some(Suspicion {
            since: now,
            told: false,
        });
        self.hurry_all();
    }

    /// Nobody is primary, and nobody was as far as is known here, if this one was only presumed.
    pub(super) fn forget_primary(&mut self) {
        self.t.primary = None;
        if self.t.failover.presumption.is_made {
            self.t.line = None;
        }
        self.stop_failover();
    }

    fn is_still_absent(&self) -> bool {
        self.absent().is_some_and(|absent| {
            self.t.primary == Some(absent.node) && self.t.epoch == Some(absent.epoch)
        })
    }

    /// Whether everybody has answered, or failed for good, since anybody may be presumed.
    fn has_looked(&self) -> bool {
        let (probes, since) = (
            self.t.settings.failed_probes,
            self.t.failover.presumption.not_before,
        );
        self.t.members().all(|node| {
            node.seen
                .map_or(node.failures >= probes, |seen| seen.at >= since)
        })
    }

    fn absent(&self) -> Option<Absent> {
        let mut silent = self.t.members().filter(|node| node.seen.is_none());
        let node = silent.next().filter(|_| silent.next().is_none())?;
        let has_failed = node.failures >= self.t.settings.failed_probes;
        // What is known of it speaks against it.
        let is_free = !matches!(node.state, NodeState::Fenced(_));
        let id = node.id();
        let others = || self.t.members().filter(|node| node.id() != id);
        let epoch = others().filter_map(Node::epoch).max()?;
        let never_back = self.t.epoch.is_none_or(|known| !known.is_after(epoch));
        let lost_it = |node: &Node| self.has_lost_its_primary(node, epoch);
        let found = has_failed && is_free && never_back && others().all(lost_it);
        let reached = others().filter_map(|node| Some(node.seen?.reach)).max();
        found.then(|| Absent {
            node: id,
            epoch,
            reached: reached.unwrap_or_default(),
        })
    }

    /// Whether it says that it is a replica on the line of this epoch, and receives nothing from beyond the others.
    fn has_lost_its_primary(&self, node: &Node, epoch: Epoch) -> bool {
        if matches!(node.state, NodeState::Fenced(_)) {
            return false;
        }
        node.seen.is_some_and(|seen| {
            let from_another = seen
                .upstream
                .is_some_and(|id| self.hands_on(id, self.t.failover.presumption.not_before));
            seen.role == Role::Replica
                && Some(seen.system) == self.t.system
                && seen.epoch.timeline == epoch.timeline
                && seen.at >= self.t.failover.presumption.not_before
                && (seen.receiving == Some(false) || from_another)
        })
    }
}

/// Whether the primary is one that nobody has seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presumption {
    /// Answers from before say nothing: an earlier leader's orders may have been under way.
    pub not_before: Instant,
    /// It is who it must be, and that may turn out to be wrong.
    pub is_made: bool,
}

/// Who must be the primary.
struct Absent {
    node: NodeId,
    /// The one that the others live in,
    epoch: Epoch,
    /// and how far the furthest of them has come.
    reached: Position,
}
