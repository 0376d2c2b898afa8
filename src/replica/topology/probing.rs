use std::time::Duration;

use super::lineage::Kept;
use super::node::Seen;
use super::operation::Asked;
use super::step::Step;
use super::{Effect, Event, Fenced, NodeId, NodeState, Phase, ProbeId};
use crate::replica::{Fault, Position, Probe, Role};
use crate::rng::Rng;
use crate::time::Instant;

impl Step<'_> {
    pub(super) fn is_asked(&self, id: NodeId, probe: ProbeId) -> bool {
        let node = self.t.get(id);
        node.and_then(|node| node.asked)
            .is_some_and(|asked| asked.probe == probe)
    }

    pub(super) fn answered(&mut self, id: NodeId, probe: ProbeId, answer: &Probe, rtt: Duration) {
        if !self.is_asked(id, probe) {
            return;
        }
        self.t.failover.unseen = self.t.failover.unseen.without(id);
        self.note(id, answer, rtt);
        if self.t.system.is_some_and(|system| system != answer.system) {
            self.refuse_stranger(id);
        } else if self.t.phase != Phase::Discovering {
            match answer.role {
                Role::Primary => self.claims(id, answer),
                Role::Replica => self.follows(id),
            }
        }
        self.ask_later(id);
    }

    fn note(&mut self, id: NodeId, answer: &Probe, rtt: Duration) {
        let (now, head, head_at) = (self.now, self.t.head, self.t.head_at);
        let is_known = self.t.epoch.is_some();
        let upstream = self.upstream_of(id, answer);
        let handed_on = upstream.and_then(|id| self.t.get(id)?.seen);
        let Some(node) = self.t.get_mut(id) else {
            return;
        };
        node.asked = None;
        node.failures = 0;
        let before = node.seen;
        // Who has all that the primary was seen to have is no older than that sight.
        let level = is_known && answer.position >= head;
        let is_fresh = level || answer.receiving != Some(false);
        let fresh_at = match (before, handed_on) {
            (Some(seen), _) if !is_fresh => seen.fresh_at,
            // What another replica hands on is no fresher than what it gets.
            (_, Some(other)) if !level && other.fresh_at < other.at => other.fresh_at,
            _ => now,
        };
        let lag = match answer.lag {
            _ if answer.role == Role::Primary => Some(Duration::ZERO),
            Some(lag) if level => Some(lag.min(now.saturating_since(head_at))),
            None if level => Some(now.saturating_since(head_at)),
            // What it says of itself may be from when it last received.
            Some(lag) => Some(lag.max(now.saturating_since(fresh_at))),
            None => None,
        };
        let is_first = node.kept.is_none();
        node.stranded = match answer.receiving {
            Some(false) if answer.role == Role::Replica => {
                node.stranded.or(is_first.then_some(now))
            }
            _ => None,
        };
        if answer.role == Role::Replica {
            node.kept = Some((answer.epoch.timeline, answer.reach()));
            node.history = Vec::new();
        } else if node.history != answer.history {
            node.history.clone_from(&answer.history);
        }
        let same = |seen: &Seen| seen.role == answer.role && seen.epoch == answer.epoch;
        node.seen = Some(Seen {
            role: answer.role,
            system: answer.system,
            epoch: answer.epoch,
            applied: answer.position,
            reach: answer.reach(),
            receiving: answer.receiving,
            upstream,
            fresh_at,
            lag,
            at: now,
            rtt,
            repeated: before
                .filter(same)
                .map_or(1, |s| s.repeated.saturating_add(1)),
        });
    }

    fn upstream_of(&self, id: NodeId, answer: &Probe) -> Option<NodeId> {
        let address = answer.upstream.as_deref()?;
        let receives = answer.role == Role::Replica && answer.receiving == Some(true);
        let mut others = self.t.members().filter(|node| node.id() != id);
        let upstream = others.find(|node| receives && node.endpoint().address() == address);
        upstream.map(super::Node::id)
    }

    /// Whether whoever receives from this one gets what another server has written: it has answered as a replica since.
    pub(super) fn hands_on(&self, id: NodeId, since: Instant) -> bool {
        let seen = self.t.get(id).and_then(|node| node.seen);
        seen.is_some_and(|seen| seen.role == Role::Replica && seen.at >= since)
    }

    pub(super) fn refuse_stranger(&mut self, id: NodeId) {
        let Some((expected, seen)) = self.t.system.zip(self.t.get(id).and_then(|n| n.seen)) else {
            return;
        };
        if self.fence_off(id, Fenced::OtherCluster) {
            self.emit(Event::WrongCluster {
                node: id,
                expected,
                found: seen.system,
            });
        }
        if self.t.primary == Some(id) {
            self.suspect();
        }
    }

    /// A server says that it is no primary.
    fn follows(&mut self, id: NodeId) {
        if self.t.primary == Some(id) && self.t.phase.takes_writes() {
            // Not lost but given up: the connections that were made for writing are of no use.
            self.purge(id);
            self.suspect();
        }
        if self.t.phase == Phase::Disputed {
            self.resolve();
        }
        self.judge(id);
    }

    /// Decides what may be done with a replica that has answered.
    pub(super) fn judge(&mut self, id: NodeId) {
        let takes_writes = self.t.phase.takes_writes();
        let (head, max_lag) = (self.t.head, self.t.settings.max_lag);
        let diverged = self.diverged_at(id);
        let seen = self.t.get(id).and_then(|node| node.seen);
        let ours = |seen: &Seen| {
            seen.role == Role::Replica && self.t.system.is_none_or(|system| system == seen.system)
        };
        let Some(seen) = seen.filter(ours) else {
            return;
        };
        if let Some(after) = diverged {
            self.refuse(id, Fenced::Diverged);
            self.owe(id, seen.epoch.timeline, after);
            return;
        }
        self.is_level(id);
        let Some(node) = self.t.get_mut(id) else {
            return;
        };
        // Nobody is behind a primary that does not write.
        let behind = takes_writes && seen.lag.is_some_and(|lag| lag > max_lag);
        let target = match node.state {
            NodeState::Draining => return,
            NodeState::Healthy | NodeState::Lagging => Position(0),
            NodeState::CatchingUp { target } => target.min(head),
            _ => head,
        };
        node.state = match (seen.applied >= target, behind) {
            (false, _) => NodeState::CatchingUp { target },
            (true, true) if target > Position(0) => NodeState::CatchingUp { target },
            (true, true) => NodeState::Lagging,
            (true, false) => NodeState::Healthy,
        };
    }

    /// Where a replica's line of the log and the primary's parted, at the earliest, if it has more than that.
    fn diverged_at(&self, id: NodeId) -> Option<Position> {
        let seen = self.t.get(id)?.seen?;
        let epoch = self.t.epoch?;
        // One of a later line follows a primary that is yet to be found.
        if seen.epoch.timeline >= epoch.timeline {
            return None;
        }
        let lineage = &self.t.lineage;
        match lineage.kept(seen.epoch.timeline, seen.reach, epoch.timeline) {
            Kept::Yes => None,
            Kept::No(at) | Kept::Unproven(at) => Some(at),
        }
    }

    /// Keeps a server that answers from being used. Says whether that is new.
    pub(super) fn fence_off(&mut self, id: NodeId, why: Fenced) -> bool {
        let state = NodeState::Fenced(why);
        if self.t.get(id).is_none_or(|node| node.state == state) {
            return false;
        }
        self.set_state(id, state);
        self.purge(id);
        true
    }

    /// The same, and says so.
    pub(super) fn refuse(&mut self, id: NodeId, why: Fenced) {
        let claimed = self.t.get(id).and_then(super::Node::epoch);
        if self.fence_off(id, why)
            && let Some(claimed) = claimed
        {
            self.emit(Event::Refused {
                node: id,
                why,
                claimed,
            });
        }
    }

    pub(super) fn unanswered(&mut self, id: NodeId) {
        let is_primary = self.t.primary == Some(id);
        let settings = self.t.settings.clone();
        let now = self.now;
        let Some(node) = self.t.get_mut(id) else {
            return;
        };
        node.asked = None;
        node.failures = node.failures.saturating_add(1);
        node.failed_at = Some(now);
        if is_primary {
            node.probe_at = now + settings.suspect_interval;
            if node.failures >= settings.failed_probes {
                self.lost_sight(id);
                self.suspect();
            }
            return;
        }
        let doublings = node.failures.saturating_sub(1).min(16);
        let wait = settings.probe_interval.saturating_mul(1 << doublings);
        let until = now + wait.min(settings.max_ejection);
        node.probe_at = until;
        self.lost_sight(id);
        if let Some(node) = self.t.get_mut(id)
            && !matches!(node.state, NodeState::Draining | NodeState::Fenced(_))
        {
            node.state = NodeState::Ejected { until };
        }
    }

    /// What was known of a server may be so no more: it may have been started anew, with less than it had.
    fn lost_sight(&mut self, id: NodeId) {
        let Some(node) = self.t.get_mut(id) else {
            return;
        };
        let was_seen = node.seen.take().is_some();
        if !matches!(node.state, NodeState::Draining | NodeState::Fenced(_)) {
            node.state = NodeState::Suspect;
        }
        if was_seen {
            self.purge(id);
        }
    }

    pub(super) fn faulted(&mut self, id: NodeId, generation: u64, fault: Fault) {
        let is_primary = self.t.primary == Some(id);
        let Some(node) = self.t.get_mut(id) else {
            return;
        };
        // One that is left alone until a moment is asked then, however many find that it does not answer.
        if node.generation != generation || matches!(node.state, NodeState::Ejected { .. }) {
            return;
        }
        match fault {
            Fault::Query | Fault::Transient | Fault::Overload => {}
            Fault::RoleChanged if !is_primary => self.hurry(id),
            Fault::RoleChanged => {
                node.seen = None;
                // An answer that is under way may have been given before.
                node.asked = None;
                if node.state != NodeState::Draining {
                    node.state = NodeState::Unknown;
                }
                self.purge(id);
                self.suspect();
                self.hurry(id);
            }
            Fault::ConnectionLost | Fault::Unknown => {
                node.asked = None;
                let had_been_seen = node.seen.is_some();
                self.lost_sight(id);
                if !had_been_seen {
                    self.purge(id);
                }
                if is_primary {
                    self.suspect();
                }
                self.hurry(id);
            }
        }
    }

    /// Has a server asked now, unless it is being asked.
    pub(super) fn hurry(&mut self, id: NodeId) {
        let now = self.now;
        if let Some(node) = self.t.get_mut(id) {
            node.probe_at = node.probe_at.min(now);
        }
    }

    pub(super) fn hurry_all(&mut self) {
        for id in self.t.ids().iter() {
            self.hurry(id);
        }
    }

    pub(super) fn ask_later(&mut self, id: NodeId) {
        let settings = self.t.settings.clone();
        let is_settled = self.t.phase.takes_writes();
        let now = self.now;
        let numbers = self.t.numbers;
        let Some(node) = self.t.get_mut(id) else {
            return;
        };
        let calm = matches!(
            node.state,
            NodeState::Healthy | NodeState::Lagging | NodeState::Draining | NodeState::Fenced(_)
        ) && node.state != NodeState::Fenced(Fenced::UnconfirmedEpoch);
        node.probe_at = now
            + if is_settled && calm {
                let seed = settings.seed ^ numbers << 8 ^ u64::from(id.0);
                let part = u32::try_from(Rng::with_seed(seed).below(1024)).unwrap_or(0);
                settings.probe_interval / 10_240 * (9 * 1024 + part)
            } else {
                settings.suspect_interval.min(settings.probe_interval)
            };
    }

    pub(super) fn overdue_probes(&mut self) {
        for id in self.t.ids().iter() {
            let asked = self.t.get(id).and_then(|node| node.asked);
            if asked.is_some_and(|asked| asked.deadline <= self.now) {
                self.unanswered(id);
            }
        }
    }

    pub(super) fn due_probes(&mut self) {
        for id in self.t.ids().iter() {
            let due = |node: &super::Node| node.asked.is_none() && node.probe_at <= self.now;
            if !self.t.get(id).is_some_and(due) {
                continue;
            }
            let probe = ProbeId(self.t.number());
            let deadline = self.now + self.t.settings.probe_timeout;
            if let Some(node) = self.t.get_mut(id) {
                node.asked = Some(Asked { probe, deadline });
            }
            self.effects.push(Effect::Probe {
                node: id,
                probe,
                deadline,
            });
        }
    }
}
