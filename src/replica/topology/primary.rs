use std::time::Duration;

use super::failover::Suspicion;
use super::lineage::Kept;
use super::node::Seen;
use super::step::Step;
use super::{Authority, Event, Fenced, NodeId, NodeState, Phase, Promotion};
use crate::replica::{Epoch, Position, Probe, Role, SystemId};

/// Whose claim to be the primary counts.
impl Step<'_> {
    /// Ends the discovery when every server has answered, failed, or had the time to.
    pub(super) fn conclude_discovery(&mut self) {
        if self.t.phase != Phase::Discovering {
            return;
        }
        let unheard = self
            .t
            .members()
            .any(|node| node.seen.is_none() && node.failures == 0);
        if unheard && self.now < self.t.discovery_ends {
            return;
        }
        let Some(system) = self.t.system.or_else(|| self.system_by_majority()) else {
            return;
        };
        self.t.system = Some(system);
        for id in self.t.ids().iter() {
            let seen = self.t.get(id).and_then(|node| node.seen);
            if seen.is_some_and(|seen| seen.system != system) {
                self.refuse_stranger(id);
            }
        }
        // Of those who are there from the start, their lag says what they are good for.
        let target = Position(0);
        for node in self.t.nodes.iter_mut().flatten() {
            if node.state == NodeState::Unknown && node.seen.is_some() {
                node.state = NodeState::CatchingUp { target };
            }
        }
        self.resolve();
        let head = self.t.head;
        for seen in self
            .t
            .nodes
            .iter_mut()
            .flatten()
            .filter_map(|n| n.seen.as_mut())
        {
            // Whoever has all that the primary had was not behind then.
            if self.t.primary.is_some() && seen.applied >= head {
                seen.lag = Some(Duration::ZERO);
            }
        }
        for id in self.t.ids().iter() {
            self.judge(id);
        }
    }

    /// The cluster that most of those who answered belong to; of several, that of the server that is thought to be
    /// the primary.
    fn system_by_majority(&self) -> Option<SystemId> {
        let systems = || self.t.members().filter_map(|node| Some(node.seen?.system));
        let votes = |system| systems().filter(|&other| other == system).count();
        let most = systems().map(votes).max()?;
        let mut leading = systems().filter(|&system| votes(system) == most);
        let one = leading.next()?;
        if leading.all(|other| other == one) {
            return Some(one);
        }
        let first = self.t.settings.endpoints.first()?;
        let thought = self.t.members().find(|node| node.endpoint() == first)?;
        thought.seen.map(|seen| seen.system)
    }

    /// Decides between all who take writes, none of whom was accepted before.
    pub(super) fn resolve(&mut self) {
        let claims: Vec<(NodeId, Epoch, Position)> = self
            .t
            .members()
            .filter_map(|node| node.seen.map(|seen| (node.id(), seen)))
            .filter(|(_, seen)| seen.role == Role::Primary && Some(seen.system) == self.t.system)
            .map(|(id, seen)| (id, seen.epoch, seen.applied))
            .collect();
        let newest = claims.iter().find(|(_, epoch, _)| {
            let later = |other: &Epoch| other.is_after(*epoch);
            !claims.iter().any(|(_, other, _)| later(other))
        });
        let Some(&(id, epoch, position)) = newest else {
            self.enter(Phase::Leaderless);
            return;
        };
        let rival = claims
            .iter()
            .find(|(other, their, _)| *other != id && !epoch.is_after(*their));
        // One that was seen beside another in this epoch, and does not answer now, may take writes still.
        let silent = self
            .t
            .members()
            .find(|node| {
                node.state == NodeState::Fenced(Fenced::SameEpoch)
                    && node.seen.is_none()
                    && node.id() != id
                    && self.t.phase == Phase::Disputed
                    && !self.t.failover.disputed.is_some_and(|e| epoch.is_after(e))
            })
            .map(super::Node::id);
        if let Some(other) = rival.map(|(other, ..)| *other).or(silent) {
            if self.t.phase != Phase::Disputed {
                self.emit(Event::TwoPrimaries {
                    one: id,
                    other,
                    epoch,
                });
            }
            self.t.failover.disputed = Some(epoch);
            self.enter(Phase::Disputed);
            for (claimant, ..) in claims {
                self.fence_off(claimant, Fenced::SameEpoch);
            }
            return;
        }
        self.t.failover.disputed = None;
        self.accept(id, epoch, position);
        for (other, ..) in claims {
            if other != id {
                self.refuse_primary(other, Fenced::StalePrimary);
            }
        }
    }

    /// A server says that it takes writes.
    pub(super) fn claims(&mut self, id: NodeId, answer: &Probe) {
        let epoch = answer.epoch;
        if self.t.phase == Phase::Disputed {
            self.resolve();
            return;
        }
        let is_primary = self.t.primary == Some(id);
        let Some(known) = self.t.epoch else {
            self.accept(id, epoch, answer.position);
            return;
        };
        if epoch.timeline < self.t.floor || known.is_after(epoch) {
            if is_primary {
                self.suspect();
            }
            self.refuse_primary(id, Fenced::StalePrimary);
        } else if epoch.is_after(known) {
            if self.is_credible(id, epoch, known) {
                self.accept(id, epoch, answer.position);
            } else {
                if is_primary {
                    self.suspect();
                }
                self.refuse(id, Fenced::UnconfirmedEpoch);
            }
        } else if self.t.failover.presumption.is_made && !(is_primary && self.t.phase.is_failover())
        {
            // As if nobody had been presumed: this is the first that is seen.
            self.forget_primary();
            self.t.epoch = None;
            self.accept(id, epoch, answer.position);
        } else if self.t.line != Some(known.timeline) {
            // Known from a replica alone so far: this is whoever was to be found.
            self.accept(id, epoch, answer.position);
        } else if is_primary {
            self.confirm(id, answer);
        } else if self.has_handed_over(answer.position) {
            self.accept(id, epoch, answer.position);
        } else {
            self.refuse_primary(id, Fenced::SameEpoch);
        }
    }

    /// Whether a newer epoch may be what it says.
    ///
    /// The next timeline is what a promotion makes: it is taken at its word. One from further ahead comes from a failover
    /// that was missed, or from a server that talks nonsense, after which no true primary would ever be new
    /// enough. It needs somebody else who has seen that timeline, or, while there is no primary, to say
    /// so as often as probes have to fail.
    fn is_credible(&self, id: NodeId, epoch: Epoch, known: Epoch) -> bool {
        if epoch.timeline <= known.timeline.saturating_add(1) {
            return true;
        }
        let witnessed = self.t.members().any(|node| {
            let later = |seen: Seen| {
                Some(seen.system) == self.t.system && seen.epoch.timeline >= epoch.timeline
            };
            node.id() != id && node.seen.is_some_and(later)
        });
        let repeated = self.t.get(id).and_then(|node| node.seen);
        let insists = repeated.is_some_and(|seen| seen.repeated >= self.t.settings.failed_probes);
        witnessed || (insists && self.t.writer().is_none())
    }

    /// Whether the last primary says itself that it is none any more, and whoever takes over in the same epoch has all
    /// that it had: a planned change of roles in a system that does not number them.
    fn has_handed_over(&self, position: Position) -> bool {
        let Some(primary) = self.t.primary.and_then(|id| self.t.get(id)) else {
            return false;
        };
        let given_up = |seen: Seen| seen.role == Role::Replica && position >= seen.reach;
        primary.seen.is_some_and(given_up) && position >= self.t.head
    }

    /// The primary answers as such.
    fn confirm(&mut self, id: NodeId, answer: &Probe) {
        if self.t.phase.is_failover() {
            // It has been told to stop.
            return;
        }
        // A term that it did not know before.
        if let Some(epoch) = &mut self.t.epoch {
            epoch.term = epoch.term.max(answer.epoch.term);
        }
        self.t.lineage.learn(&answer.history);
        self.t.head = answer.position;
        self.t.head_at = self.now;
        let state = self.t.get(id).map(|node| node.state);
        if state.is_some_and(|state| state != NodeState::Draining) {
            self.set_state(id, NodeState::Healthy);
        }
        if !self.t.phase.takes_writes() {
            self.stop_failover();
            self.enter_calm();
        }
    }

    pub(super) fn enter_calm(&mut self) {
        self.enter(if self.t.debts.is_empty() {
            Phase::Normal
        } else {
            Phase::Recovering
        });
    }

    /// Makes a server the primary that writes go to.
    pub(super) fn accept(&mut self, id: NodeId, epoch: Epoch, position: Position) {
        let (before, line_before) = (self.t.epoch, self.t.line);
        let from = self.t.primary.filter(|&from| from != id);
        let head = self.t.head;
        let gave_up = from.is_some_and(|from| {
            let node = self.t.get(from);
            node.is_some_and(|node| node.role() == Some(Role::Replica))
        });
        // What it certainly had of the line that it left.
        if let Some((before, left)) = before.zip(line_before) {
            // Its own line may have been heard of before it was.
            let is_new = before.timeline < epoch.timeline;
            let parent = if is_new { before.timeline } else { left };
            let stopped_at = self.t.failover.reach_of(id).unwrap_or_default();
            let kept = self.t.get(id).and_then(|node| node.kept);
            let kept = kept.filter(|(timeline, _)| *timeline == parent);
            let reached = kept.map_or(stopped_at, |(_, reach)| reach.max(stopped_at));
            let was_primary = self.t.primary == Some(id) && parent == left;
            let reached = if was_primary {
                reached.max(head)
            } else {
                reached
            };
            self.t.lineage.assume(epoch.timeline, parent, reached);
        }
        let node = self.t.get(id);
        let history = node.map_or_else(Vec::new, |node| node.history.clone());
        self.t.lineage.learn(&history);
        self.t.primary = Some(id);
        self.t.epoch = Some(epoch);
        self.t.line = Some(epoch.timeline);
        self.t.head = position;
        self.t.head_at = self.now;
        let promoted_by_us = self.t.failover.candidate == Some(id);
        if promoted_by_us {
            self.t.failover.right.promoting_until = self.now;
        }
        let maybe = self.t.failover.writable;
        let nothing_missing = self.t.failover.nothing_missing && promoted_by_us;
        self.purge(id);
        let state = self.t.get(id).map(|node| node.state);
        if state.is_some_and(|state| state != NodeState::Draining) {
            self.set_state(id, NodeState::Healthy);
        }
        self.stop_failover();
        if before.is_some() {
            self.t.failover.last_ended = Some(self.now);
        }
        self.t.debts.retain(|debt| debt.node != id);
        self.reset_debts();
        self.emit(Event::PrimaryChanged {
            from,
            to: id,
            epoch,
        });
        if let Some((before, left)) = before.zip(line_before)
            && left != epoch.timeline
        {
            self.t.floor = self.t.floor.max(epoch.timeline);
            // Beside the line of the last primary there is one of somebody whom nobody found, maybe.
            let unseen = before.timeline != left && before.timeline != epoch.timeline;
            let unseen = unseen.then_some(before.timeline);
            for line in [left].into_iter().chain(unseen) {
                let after = self.parted(line, epoch.timeline);
                // How far it had come when it stopped, nobody knows: one that says that it is a replica now may have been
                // made one by taking away what it had.
                if !nothing_missing {
                    let known = if line == left { head } else { after };
                    self.emit(Event::WritesMissing {
                        timeline: line,
                        after,
                        known,
                    });
                }
            }
            if let Some(from) = from.filter(|_| !gave_up) {
                self.owe(from, left, self.parted(left, epoch.timeline));
            }
            // Once whoever was to be found is, nobody else may have been it.
            let maybe = maybe.iter().filter(|_| before.timeline != epoch.timeline);
            for other in maybe.filter(|other| *other != id) {
                let after = self.parted(before.timeline, epoch.timeline);
                self.owe(other, before.timeline, after);
            }
        }
        if let Some(from) = from {
            self.dethrone(from);
        }
        self.enter_calm();
        let leads = self.t.settings.promotion != Promotion::Observe;
        for other in self.t.ids().without(id).iter() {
            if let Some(node) = self.t.get_mut(other) {
                // Whoever promoted it. Those who cannot be reached have to be told as well, when they can be.
                node.repoint |= leads && before.is_some();
                // It has the time to receive by itself.
                node.stranded = node.stranded.map(|_| self.now);
                if let NodeState::CatchingUp { target } = &mut node.state {
                    *target = (*target).min(position);
                }
            }
            self.judge(other);
        }
        self.hurry_all();
    }

    /// Up to where everything on a line is certainly on the current one as well.
    fn parted(&self, line: u64, current: u64) -> Position {
        match self.t.lineage.kept(line, Position(u64::MAX), current) {
            // The same line: the server that is on it was not on it from the first, and may have anything.
            Kept::Yes => Position(0),
            Kept::No(at) | Kept::Unproven(at) => at,
        }
    }

    /// What becomes of the primary before.
    fn dethrone(&mut self, id: NodeId) {
        let Some(node) = self.t.get_mut(id) else {
            return;
        };
        node.asked = None;
        if node.role() == Some(Role::Replica) {
            return;
        }
        node.seen = None;
        if !matches!(node.state, NodeState::Draining | NodeState::Fenced(_)) {
            node.state = NodeState::Unknown;
        }
        self.purge(id);
    }

    /// Refuses one that takes writes and must not, and sees to it that it stops, if that is ours to do.
    pub(super) fn refuse_primary(&mut self, id: NodeId, why: Fenced) {
        let Some(seen) = self.t.get(id).and_then(|node| node.seen) else {
            return;
        };
        self.refuse(id, why);
        if self.t.primary == Some(id) {
            return;
        }
        if let Some(epoch) = self.t.epoch {
            let line = seen.epoch.timeline;
            let after = self.parted(line, epoch.timeline);
            self.owe_fencing(id, line, after);
        }
    }

    /// The primary may be lost: no write until it has answered, or another one has.
    pub(super) fn suspect(&mut self) {
        if !self.t.phase.takes_writes() {
            return;
        }
        self.enter(Phase::PrimarySuspect);
        self.t.failover.suspicion = Some(Suspicion {
            since: self.now,
            told: false,
        });
        self.hurry_all();
    }

    /// Decides whether a suspect primary is lost.
    pub(super) fn judge_suspicion(&mut self) {
        if self.t.phase != Phase::PrimarySuspect || !self.is_primary_lost() {
            return;
        }
        match self.t.settings.promotion {
            Promotion::Observe => self.enter(Phase::Leaderless),
            Promotion::Active(Authority::Lease | Authority::SoleController) => {
                self.begin_failover();
            }
        }
    }

    /// It has failed its probes, or has said that it takes no writes; it has had the time to be started anew; and
    /// of the replicas that can tell, none receives from anybody.
    fn is_primary_lost(&mut self) -> bool {
        let Some(suspicion) = self.t.failover.suspicion else {
            return false;
        };
        let settings = &self.t.settings;
        let grace_ends = suspicion.since + settings.restart_grace;
        if self.now < grace_ends {
            return false;
        }
        let Some(primary) = self.t.primary.and_then(|id| self.t.get(id)) else {
            return false;
        };
        let useless = match primary.seen {
            None => primary.failures >= settings.failed_probes,
            Some(seen) => {
                seen.role == Role::Replica || matches!(primary.state, NodeState::Fenced(_))
            }
        };
        if !useless {
            return false;
        }
        let id = primary.id();
        // It may have come back since it was last asked, and then nobody is promoted.
        let looked = primary.failed_at.is_some_and(|at| at >= grace_ends);
        if primary.seen.is_none() && !looked && settings.promotion != Promotion::Observe {
            self.hurry(id);
            return false;
        }
        // A promotion has been asked for: there is no way back to it, whoever still receives from it.
        if self
            .t
            .epoch
            .is_some_and(|epoch| self.t.floor > epoch.timeline)
        {
            return true;
        }
        let fresh = |node: &&super::Node| {
            let after = |seen: Seen| seen.role == Role::Replica && seen.at > suspicion.since;
            node.id() != id
                && node.seen.is_some_and(after)
                && !matches!(node.state, NodeState::Fenced(_))
        };
        let witnesses = || self.t.members().filter(fresh);
        // Who receives on an older line does so from a former primary. So may one that was stopped, or that nobody has pointed at this one
        // yet: where that former primary is a replica by now, it hands on what it has.
        let line = self.t.epoch.map_or(0, |epoch| epoch.timeline);
        let receives = |node: &&super::Node| {
            let from_it = |s: Seen| s.receiving == Some(true) && s.epoch.timeline >= line;
            // A replica that hands on what it was sent is a witness itself.
            let from_another = |s: Seen| {
                let upstream = s.upstream.filter(|upstream| *upstream != id);
                upstream.is_some_and(|upstream| self.hands_on(upstream, suspicion.since))
            };
            node.seen
                .is_some_and(|seen| from_it(seen) && !from_another(seen))
                && !node.repoint
        };
        let known = witnesses().next().is_some();
        let witness = witnesses().find(receives).map(super::Node::id);
        if self.t.failover.presumption.is_made && witnesses().count() + 1 < self.t.members().count()
        {
            return false;
        }
        if let Some(witness) = witness {
            if !suspicion.told {
                self.emit(Event::PrimaryOnlyUnreachable { witness });
                self.t.failover.suspicion = Some(Suspicion {
                    told: true,
                    ..suspicion
                });
            }
            return false;
        }
        // In `Observe` nothing follows from it but the name of the phase.
        known || self.t.settings.promotion == Promotion::Observe
    }
}
