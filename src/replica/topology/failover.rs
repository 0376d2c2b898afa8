use super::operation::Pending;
use super::snapshot::Snapshot;
use super::step::Step;
use super::{
    Action, Authority, Effect, Event, FailoverRefused, Grant, Node, NodeId, NodeSet, NodeState,
    OldPrimary, Outcome, Phase, Promotion, Settings,
};
use crate::replica::{Epoch, Position, RecoveryOrder, Role};
use crate::time::Instant;

/// What a topology that leads failovers has to remember.
#[derive(Debug, Clone)]
pub(super) struct Failover {
    pub suspicion: Option<Suspicion>,
    /// No failover before.
    pub not_before: Instant,
    pub last_ended: Option<Instant>,
    /// What was told last, so that it is told once.
    refused: Option<FailoverRefused>,
    grant: Option<Grant>,
    /// The largest term of any grant.
    term: u64,
    /// A lease has been asked for; the answer is awaited until then.
    acquiring: Option<Instant>,
    /// Who has not answered since the lease was granted. Whoever had it before may have promoted one of them.
    pub unseen: NodeSet,
    /// Nobody is fenced before all of them have.
    is_looking: bool,
    /// After it was refused, it is not asked for before.
    acquire_at: Instant,
    /// Who may take writes in an epoch that is to end.
    pub writable: NodeSet,
    /// Who of them certainly does not.
    fenced: NodeSet,
    /// Who was ordered to become primary and did not, as far as is known.
    spoiled: NodeSet,
    pub operations: Vec<Pending>,
    /// How far the replicas reach that were stopped.
    stopped: Vec<(NodeId, Position)>,
    pub candidate: Option<NodeId>,
    attempts: u32,
    /// Somebody else has promoted, and whoever became primary has not been found.
    is_behind: bool,
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
    pub(super) fn new(now: Instant) -> Self {
        Self {
            suspicion: None,
            not_before: now,
            last_ended: None,
            refused: None,
            grant: None,
            term: 0,
            acquiring: None,
            unseen: NodeSet::default(),
            is_looking: false,
            acquire_at: now,
            writable: NodeSet::default(),
            fenced: NodeSet::default(),
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

    pub(super) fn lease_ends(&self) -> Option<Instant> {
        self.grant.as_ref().map(|grant| grant.until)
    }

    fn old_primary(&self) -> Option<&OldPrimary> {
        self.grant.as_ref().map(|grant| &grant.old_primary)
    }

    /// The moments at which something happens by itself.
    pub(super) fn moments(&self, settings: &Settings, at: &mut impl FnMut(Instant)) {
        if let Some(suspicion) = self.suspicion {
            at(suspicion.since + settings.restart_grace);
        }
        at(self.not_before);
        at(self.acquire_at);
        for pending in &self.operations {
            at(pending.deadline);
        }
        if let Some(until) = self.acquiring {
            at(until);
        }
        if let Some(OldPrimary::Stops { at: stops, .. }) = self.old_primary() {
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
/// Whatever fails before the promotion is asked for ends the attempt, and leaves all as it was, but for receivers, which are
/// made to follow again. From then on the old epoch is over, whether the promotion is known to have worked or
/// not: the candidate itself may take writes, and is fenced before anybody else is promoted.
impl Step<'_> {
    pub(super) fn begin_failover(&mut self) {
        let Some(primary) = self.t.primary else {
            return;
        };
        if self.now < self.t.failover.not_before {
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
        let eligible = self.eligible();
        if eligible.is_empty() {
            self.abandon(FailoverRefused::NoCandidate);
            return;
        }
        if let Some((needed, among)) = self.t.quorum() {
            let stopped = among.iter().filter(|&node| eligible.contains(node)).count();
            if stopped < needed {
                self.abandon(FailoverRefused::NoQuorum { stopped, needed });
                return;
            }
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
        if self.has_authority() {
            self.order_fences();
        }
    }

    /// Forgets what the failover was about; what is to be kept over several is left.
    pub(super) fn stop_failover(&mut self) {
        let failover = &mut self.t.failover;
        failover.suspicion = None;
        failover.refused = None;
        failover.writable = NodeSet::default();
        failover.fenced = NodeSet::default();
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

    fn abandon(&mut self, why: FailoverRefused) {
        self.tell_refused(why);
        let failover = &mut self.t.failover;
        failover.operations.retain(Pending::is_repair);
        failover.not_before = self.now + self.t.settings.retry_after;
        self.release();
        self.enter(Phase::PrimarySuspect);
        self.hurry_all();
    }

    fn tell_refused(&mut self, why: FailoverRefused) {
        if self.t.failover.refused != Some(why) {
            self.t.failover.refused = Some(why);
            self.emit(Event::FailoverRefused(why));
        }
    }

    /// Takes every phase as far as it goes without waiting.
    pub(super) fn go_on_with_failover(&mut self) {
        loop {
            let phase = self.t.phase;
            match phase {
                Phase::Fencing => self.go_on_fencing(),
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
        let epoch = self.t.epoch.unwrap_or_default();
        let failover = &self.t.failover;
        for node in failover.writable.minus(failover.fenced).iter() {
            self.perform(Action::Fence { node, epoch });
        }
    }

    /// Has all who may be promoted asked again: what they said before the lease was granted is from another's time.
    fn look_again(&mut self) {
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
        if !self.has_authority() {
            // An answer is awaited, or has been refused.
            if self.t.failover.acquiring.is_none() {
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
            (self.t.primary, failover.old_primary())
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

    fn elect(&mut self) {
        if self.is_behind() {
            return;
        }
        self.enter(Phase::Electing);
        for node in self.eligible().iter() {
            if let Some(node) = self.t.get_mut(node) {
                node.stopped = true;
            }
            self.perform(Action::StopReceiver { node });
        }
    }

    /// Whether somebody else has promoted meanwhile. Whoever became primary is given the time to answer. If it does not, it is
    /// lost as well, and may be anybody who is not known to be a replica.
    fn is_behind(&mut self) -> bool {
        let Some(epoch) = self.later_epoch() else {
            return false;
        };
        self.t.epoch = Some(epoch);
        self.t.failover.is_behind = true;
        self.abandon(FailoverRefused::Behind { epoch });
        true
    }

    /// The latest epoch after the known one that a replica lives in. Further ahead than one promotion it needs a
    /// second one that says so.
    fn later_epoch(&self) -> Option<Epoch> {
        let line = self.t.epoch.map_or(0, |epoch| epoch.timeline);
        let epochs = || {
            let ours = |node: &&Node| !matches!(node.state, NodeState::Fenced(_));
            self.t.members().filter(ours).filter_map(Node::epoch)
        };
        let credible = |epoch: &Epoch| {
            let witnesses = epochs().filter(|other| other.timeline >= epoch.timeline);
            epoch.timeline <= line.saturating_add(1) || witnesses.count() > 1
        };
        let later = epochs().filter(|epoch| epoch.timeline > line);
        later.filter(credible).max()
    }

    /// Replicas that answer, and live on the line that is known or an earlier one.
    fn eligible(&self) -> NodeSet {
        let spoiled = self.t.failover.spoiled;
        let line = self.t.epoch.map_or(0, |epoch| epoch.timeline);
        let fit = |node: &&Node| {
            node.role() == Some(Role::Replica)
                && node.epoch().is_some_and(|epoch| epoch.timeline <= line)
                && !matches!(node.state, NodeState::Fenced(_))
                && self.t.primary != Some(node.id())
                && !spoiled.contains(node.id())
        };
        self.t.members().filter(fit).map(Node::id).collect()
    }

    fn go_on_electing(&mut self) {
        if self.is_performing(|action| matches!(action, Action::StopReceiver { .. })) {
            return;
        }
        if self.is_behind() {
            return;
        }
        let stopped = &self.t.failover.stopped;
        let mut quorum = false;
        if let Some((needed, among)) = self.t.quorum() {
            let among = among.iter();
            let found = among.filter(|&id| stopped.iter().any(|(node, _)| *node == id));
            let stopped = found.count();
            if stopped < needed {
                self.t.failover.spoiled = NodeSet::default();
                self.abandon(FailoverRefused::NoQuorum { stopped, needed });
                return;
            }
            quorum = true;
        }
        let line = |id: NodeId| self.t.get(id)?.seen.map(|seen| seen.epoch.timeline);
        let may = |id: NodeId| {
            let node = self.t.get(id);
            node.is_some_and(|node| node.state != NodeState::Draining)
        };
        // The later line, then the furthest on it; of equals the one with the lowest number.
        let best = stopped
            .iter()
            .filter(|(id, _)| may(*id))
            .max_by_key(|(id, reach)| (line(*id), *reach, std::cmp::Reverse(*id)));
        let Some(&(candidate, _)) = best else {
            self.t.failover.spoiled = NodeSet::default();
            self.abandon(FailoverRefused::NoCandidate);
            return;
        };
        self.t.failover.candidate = Some(candidate);
        self.t.failover.nothing_missing = quorum;
        let from = self.t.primary.filter(|&id| self.t.get(id).is_some());
        // The disk of a primary that was not found cannot be read.
        let from = from.filter(|_| !self.t.failover.is_behind);
        match (self.t.settings.order, from) {
            (RecoveryOrder::DataFirst, Some(from)) => {
                self.enter(Phase::Salvaging);
                self.perform(Action::Salvage {
                    from,
                    to: candidate,
                });
            }
            _ => self.enter(Phase::Promoting),
        }
    }

    fn go_on_promoting(&mut self) {
        if self.is_performing(|action| matches!(action, Action::Promote { .. })) {
            return;
        }
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
        if !self.has_authority() {
            if self.t.failover.acquiring.is_none() {
                self.abandon(FailoverRefused::NoLease);
            }
            return;
        }
        let line = self.t.epoch.map_or(0, |epoch| epoch.timeline);
        self.t.floor = self.t.floor.max(line.saturating_add(1));
        let failover = &mut self.t.failover;
        failover.attempts += 1;
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
                    candidate.stopped = false;
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

    pub(super) fn lease_gained(&mut self, grant: Grant) {
        let failover = &mut self.t.failover;
        let held = failover.grant.as_ref();
        let extends = held.is_some_and(|held| held.term == grant.term);
        if !extends && grant.term <= failover.term {
            let known = failover.term;
            self.emit(Event::LeaseFromThePast {
                term: grant.term,
                known,
            });
            self.lease_lost();
            return;
        }
        failover.acquiring = None;
        failover.term = grant.term;
        failover.grant = Some(grant);
        if self.t.phase == Phase::Fencing && !extends {
            self.look_again();
        }
        // The primary came back while it was asked for.
        if !self.t.phase.is_failover() {
            self.release();
        }
    }

    pub(super) fn lease_lost(&mut self) {
        let failover = &mut self.t.failover;
        failover.acquiring = None;
        failover.grant = None;
        failover.acquire_at = self.now + self.t.settings.retry_after;
    }

    /// Whether it may be acted now. Asks for the lease if one is needed and is not there.
    pub(super) fn has_authority(&mut self) -> bool {
        match self.t.settings.promotion {
            Promotion::Observe => return false,
            Promotion::Active(Authority::SoleController) => return true,
            Promotion::Active(Authority::Lease) => {}
        }
        let (now, settings) = (self.now, &self.t.settings);
        let failover = &mut self.t.failover;
        let valid = |grant: &Grant| now + settings.clock_skew < grant.until;
        if failover.grant.as_ref().is_some_and(valid) {
            return true;
        }
        if failover.acquiring.is_some_and(|until| until <= now) {
            failover.acquiring = None;
            failover.acquire_at = now + settings.retry_after;
        }
        if failover.acquiring.is_none() && failover.acquire_at <= now {
            failover.acquiring = Some(now + settings.operation_timeout);
            self.effects.push(Effect::AcquireLease);
        }
        false
    }

    fn release(&mut self) {
        if let Some(grant) = self.t.failover.grant.take() {
            self.effects.push(Effect::ReleaseLease { term: grant.term });
        }
    }
}

impl Snapshot {
    /// How many of which standbys must be stopped for one of them to have every write that was acknowledged.
    fn quorum(&self) -> Option<(usize, NodeSet)> {
        let synchronous = self.settings.synchronous.as_ref()?;
        // One that was not found may be any of them, and is none of those who are stopped.
        let old = self.primary.filter(|_| !self.failover.is_behind);
        let old = old.and_then(|id| self.get(id));
        let old = old.map(|node| node.endpoint().name());
        let named = synchronous.among.iter().map(|name| &**name);
        let standbys: Vec<&str> = named.filter(|name| Some(*name) != old).collect();
        let among = self
            .members()
            .filter(|node| standbys.contains(&node.endpoint().name()))
            .map(Node::id)
            .collect();
        let count = standbys.len() - usize::from(old.is_none() && !standbys.is_empty());
        let needed = (count + 1).saturating_sub(synchronous.acknowledgements);
        Some((needed, among))
    }
}
