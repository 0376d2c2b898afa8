use super::snapshot::Snapshot;
use super::step::Step;
use super::{Action, FailoverRefused, Node, NodeId, NodeSet, NodeState, Phase};
use crate::replica::{Epoch, RecoveryOrder, Role};

/// Who of the replicas is promoted.
impl Step<'_> {
    /// Why nobody could be elected, whatever comes of stopping those who are there.
    pub(super) fn hopeless(&self) -> Option<FailoverRefused> {
        let eligible = self.eligible();
        if eligible.is_empty() {
            return Some(FailoverRefused::NoCandidate);
        }
        let (needed, among) = self.t.quorum()?;
        let stopped = among.iter().filter(|&node| eligible.contains(node)).count();
        (stopped < needed).then_some(FailoverRefused::NoQuorum { stopped, needed })
    }

    pub(super) fn elect(&mut self) {
        if self.is_behind() {
            return;
        }
        self.enter(Phase::Electing);
        for node in self.eligible().iter() {
            if let Some(node) = self.t.get_mut(node) {
                node.repoint = true;
            }
            self.perform(Action::StopReceiver { node });
        }
    }

    /// Whether somebody else has promoted meanwhile. Whoever became primary is given the time to answer. If it does not, it is
    /// lost as well, and may be anybody who is not known to be a replica.
    pub(super) fn is_behind(&mut self) -> bool {
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
    pub(super) fn eligible(&self) -> NodeSet {
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

    pub(super) fn go_on_electing(&mut self) {
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
}

impl Snapshot {
    /// How many of which standbys must be stopped for one of them to have every write that was acknowledged.
    pub(super) fn quorum(&self) -> Option<(usize, NodeSet)> {
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
