use super::absent::Presumption;
use super::authority::Right;
use super::operation::Pending;
use super::step::Step;
use super::{
    Action, Event, FailoverRefused, Node, NodeId, NodeSet, OldPrimary, Outcome, Phase, Settings,
};
use crate::replica::{Epoch, Position, Role};
use crate::time::Instant;

/// What a topology that leads failovers has to remember.
#[derive(Debug, Clone)]
pub(super) struct Failover {
    pub suspicion: Option<Suspicion>,
    pub presumption: Presumption,
    /// No failover before.
    pub not_before: Instant,
    pub last_ended: Option<Instant>,
    /// What was told last, so that it is told once.
    refused: Option<FailoverRefused>,
    pub right: Right,
    /// Who has not answered since the lease was granted. Whoever had it before may have promoted one of them.
    pub unseen: NodeSet,
    /// Nobody is fenced before all of them have.
    is_looking: bool,
    /// Who may take writes in an epoch that is to end.
    pub writable: NodeSet,
    /// Who of them certainly does not.
    fenced: NodeSet,
    /// Who was ordered to become primary: it may be one of the epoch that is to begin.
    ordered: NodeSet,
    /// Who of them did not, as far as is known.
    pub spoiled: NodeSet,
    pub operations: Vec<Pending>,
    /// How far the replicas reach that were stopped.
    pub stopped: Vec<(NodeId, Position)>,
    pub candidate: Option<NodeId>,
    attempts: u32,
    /// Somebody else has promoted, and whoever became primary has not been found.
    pub is_behind: bool,
    /// Every acknowledged write is certainly on the candidate.
    pub nothing_missing: bool,
    /// The epoch that two servers took writes in.
    pub disputed: Option<Epoch>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Suspicion {
    pub since: Instant,
    /// That replicas still receive has been told.
    pub told: bool,
}

impl Failover {
    pub(super) fn new(now: Instant, settings: &Settings) -> Self {
        Self {
            suspicion: None,
            presumption: Presumption {
                not_before: now + settings.operation_timeout,
                is_made: false,
            },
            not_before: now,
            last_ended: None,
            refused: None,
            right: Right::new(now),
            unseen: NodeSet::default(),
            is_looking: false,
            writable: NodeSet::default(),
            fenced: NodeSet::default(),
            ordered: NodeSet::default(),
            spoiled: NodeSet::default(),
            operations: Vec::new(),
            stopped: Vec::new(),
            candidate: None,
            attempts: 0,
            is_behind: false,
            nothing_missing: false,
            disputed: None,
        }
    }

    /// How far a replica reached when it was stopped.
    pub(super) fn reach_of(&self, id: NodeId) -> Option<Position> {
        let found = self.stopped.iter().find(|(node, _)| *node == id);
        found.map(|(_, reach)| *reach)
    }

    /// A server is none of the cluster's any more; its number may be another's soon.
    pub(super) fn forget(&mut self, id: NodeId) {
        for nodes in [
            &mut self.unseen,
            &mut self.writable,
            &mut self.fenced,
            &mut self.ordered,
            &mut self.spoiled,
        ] {
            *nodes = nodes.without(id);
        }
        self.stopped.retain(|(node, _)| *node != id);
        self.candidate = self.candidate.filter(|candidate| *candidate != id);
    }

    /// The moments at which something happens by itself.
    pub(super) fn moments(&self, settings: &Settings, at: &mut impl FnMut(Instant)) {
        if let Some(suspicion) = self.suspicion {
            at(suspicion.since + settings.restart_grace);
        }
        at(self.not_before);
        at(self.presumption.not_before);
        for pending in &self.operations {
            at(pending.deadline);
        }
        self.right.moments(at);
        if let Some(OldPrimary::Stops { at: stops, .. }) = self.right.old_primary() {
            at(*stops + settings.clock_skew);
        }
    }
}

/// Leading a failover.
///
/// ```text
/// Fencing     the lease, if one is needed, and with it another look at the replicas; every server that may take writes is kept from it
/// Electing    every replica stops receiving; the one that reaches furthest is the candidate
/// Salvaging   it is given what the old primary did not send (not if availability comes first)
/// Promoting   it becomes primary
/// ```
///
/// Whatever fails before the promotion is asked for ends the attempt, and leaves all as it was, but for who was fenced, and for receivers,
/// which are made to follow again. From then on the old epoch is over, whether the promotion is known to have worked or
/// not: the candidate itself may take writes, and is fenced before anybody else is promoted.
impl Step<'_> {
    pub(super) fn begin_failover(&mut self) {
        let Some(primary) = self.t.primary else {
            return;
        };
        // One that is under way may work after its candidate was fenced.
        let failover = &mut self.t.failover;
        failover.not_before = failover.not_before.max(failover.right.promoting_until);
        if self.now < failover.not_before {
            return;
        }
        if let Some(ended) = self.t.failover.last_ended {
            let until = ended + self.t.settings.between_failovers;
            if self.now < until {
                self.t.failover.not_before = until;
                self.tell_refused(FailoverRefused::TooSoon { until });
                return;
            }
        }
        // Whoever lives on a later line follows a primary that is yet to be found.
        if self.is_behind() {
            return;
        }
        // Nobody is fenced where it would be of no use.
        if self.hopeless().is_some() {
            // Whoever could not be promoted before may be by now, where the others are too few.
            self.t.failover.spoiled = NodeSet::default();
        }
        if let Some(why) = self.hopeless() {
            self.abandon(why);
            return;
        }
        let failover = &mut self.t.failover;
        failover.writable = failover.writable.with(primary);
        if failover.is_behind {
            let not_seen = |node: &&Node| node.role() != Some(Role::Replica);
            let suspects = self.t.nodes.iter().flatten().filter(not_seen);
            failover.writable = suspects.fold(failover.writable, |all, node| all.with(node.id));
        }
        failover.fenced = NodeSet::default();
        failover.stopped.clear();
        failover.candidate = None;
        failover.attempts = 0;
        failover.nothing_missing = false;
        failover.is_looking = false;
        self.enter(Phase::Fencing);
        if self.has_right() {
            self.order_fences();
        }
    }

    /// Forgets what the failover was about; what is to be kept over several is left.
    pub(super) fn stop_failover(&mut self) {
        let failover = &mut self.t.failover;
        failover.suspicion = None;
        failover.presumption.is_made = false;
        failover.refused = None;
        failover.writable = NodeSet::default();
        failover.fenced = NodeSet::default();
        failover.ordered = NodeSet::default();
        failover.spoiled = NodeSet::default();
        failover.stopped.clear();
        failover.candidate = None;
        failover.attempts = 0;
        failover.is_behind = false;
        failover.nothing_missing = false;
        failover.not_before = self.now;
        failover.operations.retain(Pending::is_repair);
        self.release();
    }

    pub(super) fn abandon(&mut self, why: FailoverRefused) {
        self.tell_refused(why);
        let failover = &mut self.t.failover;
        failover.operations.retain(Pending::is_repair);
        failover.not_before = self.now + self.t.settings.retry_after;
        self.release();
        self.enter(Phase::PrimarySuspect);
        self.hurry_all();
    }

    pub(super) fn tell_refused(&mut self, why: FailoverRefused) {
        if self.t.failover.refused != Some(why) {
            self.t.failover.refused = Some(why);
            self.emit(Event::FailoverRefused(why));
        }
    }

    /// Takes every phase as far as it goes without waiting.
    pub(super) fn go_on_with_failover(&mut self) {
        loop {
            let phase = self.t.phase;
            if !phase.is_failover() {
                return;
            }
            let has_right = self.has_right();
            let promotes = |action| matches!(action, Action::Promote { .. });
            match phase {
                Phase::Fencing => self.go_on_fencing(),
                // It is over by when the lease is.
                _ if self.is_performing(promotes) => return,
                _ if !has_right => self.abandon(FailoverRefused::NoLease),
                Phase::Electing => self.go_on_electing(),
                Phase::Promoting => self.go_on_promoting(),
                _ => return,
            }
            if self.t.phase == phase {
                return;
            }
        }
    }

    fn order_fences(&mut self) {
        let known = self.t.epoch.unwrap_or_default();
        let failover = &self.t.failover;
        let ordered = failover.ordered;
        for node in failover.writable.minus(failover.fenced).iter() {
            let mut epoch = known;
            if ordered.contains(node) {
                epoch.timeline = epoch.timeline.max(self.t.floor);
            }
            self.perform(Action::Fence { node, epoch });
        }
    }

    /// Has all who may be promoted asked again: what they said before the lease was granted is from another's time.
    pub(super) fn look_again(&mut self) {
        self.t.failover.is_looking = true;
        self.t.failover.unseen = self.eligible();
        for id in self.t.failover.unseen.iter() {
            if let Some(node) = self.t.get_mut(id) {
                node.asked = None;
            }
            self.hurry(id);
        }
    }

    fn go_on_fencing(&mut self) {
        if !self.has_right() {
            self.ask_for_right();
            // It has been refused.
            if !self.t.failover.right.is_asked_for() {
                self.abandon(FailoverRefused::NoLease);
            }
            return;
        }
        if self.t.failover.is_looking {
            let unseen = self.t.failover.unseen;
            if self.eligible().iter().any(|node| unseen.contains(node)) || self.is_behind() {
                return;
            }
            self.t.failover.is_looking = false;
            self.order_fences();
        }
        if self.is_performing(|action| matches!(action, Action::Fence { .. })) {
            return;
        }
        let failover = &self.t.failover;
        let mut left = failover.writable.minus(failover.fenced);
        if let (Some(primary), Some(OldPrimary::Stops { name, at })) =
            (self.t.primary, failover.right.old_primary())
        {
            let known = self.t.get(primary).map(|node| node.endpoint().name());
            let is_known = name.is_some() && name.as_deref() == known;
            // One that nobody renews the lease of stops by itself. So does one that this process knows nothing of.
            if left.contains(primary) || !is_known {
                if self.now < *at + self.t.settings.clock_skew {
                    return;
                }
                left = left.without(primary);
            }
        }
        match left.iter().next() {
            Some(node) => self.abandon(FailoverRefused::NotFenced(node)),
            None => self.elect(),
        }
    }

    fn go_on_promoting(&mut self) {
        let Some(node) = self.t.failover.candidate else {
            self.abandon(FailoverRefused::NoCandidate);
            return;
        };
        if self.now < self.t.failover.not_before {
            return;
        }
        if self.t.failover.attempts >= self.t.settings.failed_probes {
            self.t.failover.spoiled = self.t.failover.spoiled.with(node);
            self.abandon(FailoverRefused::NotPromoted(node));
            return;
        }
        let line = self.t.epoch.map_or(0, |epoch| epoch.timeline);
        self.t.floor = self.t.floor.max(line.saturating_add(1));
        let failover = &mut self.t.failover;
        // There is no way back to it, whoever it was.
        failover.presumption.is_made = false;
        failover.attempts += 1;
        failover.ordered = failover.ordered.with(node);
        failover.writable = failover.writable.with(node);
        failover.fenced = failover.fenced.without(node);
        self.perform(Action::Promote { node });
    }

    /// An operation of a failover has ended; `None` if it failed.
    pub(super) fn operation_ended(&mut self, action: Action, outcome: Option<Outcome>) {
        if outcome.is_none() {
            self.emit(Event::OperationFailed(action));
        }
        match (action, outcome) {
            (Action::Fence { node, .. }, Some(Outcome::Done)) => {
                self.t.failover.fenced = self.t.failover.fenced.with(node);
            }
            (Action::StopReceiver { node }, Some(Outcome::Reached(reach))) => {
                self.t.failover.stopped.push((node, reach));
            }
            (Action::Salvage { to, .. }, outcome) => {
                if let Some(Outcome::Reached(reach)) = outcome {
                    let of = |entry: &&mut (NodeId, Position)| entry.0 == to;
                    if let Some((_, known)) = self.t.failover.stopped.iter_mut().find(of) {
                        *known = reach.max(*known);
                    }
                    self.t.failover.nothing_missing = true;
                }
                self.enter(Phase::Promoting);
            }
            (Action::Promote { node }, Some(Outcome::Promoted(epoch)))
                if self.t.epoch.is_none_or(|known| epoch.is_after(known)) =>
            {
                let reach = self.t.failover.reach_of(node).unwrap_or_default();
                if let Some(candidate) = self.t.get_mut(node) {
                    candidate.repoint = false;
                    if let Some(seen) = &mut candidate.seen {
                        seen.role = Role::Primary;
                        seen.epoch = epoch;
                    }
                }
                self.accept(node, epoch, reach);
            }
            (Action::Promote { node }, _) => {
                // It may have worked nonetheless: a probe tells.
                self.t.failover.not_before = self.now + self.t.settings.retry_after;
                self.hurry(node);
            }
            _ => {}
        }
    }
}
