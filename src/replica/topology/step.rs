use std::sync::Arc;

use super::failover::Failover;
use super::lineage::Lineage;
use super::snapshot::Snapshot;
use super::{Effect, Event, Input, NodeId, NodeSet, NodeState, Phase, Settings, Topology};
use crate::replica::Position;
use crate::time::Instant;

impl Topology {
    /// The servers of these settings, of which nothing is known, and what is to be done to get to know them.
    pub fn new(settings: Arc<Settings>, now: Instant) -> (Self, Vec<Effect>) {
        let mut snapshot = Snapshot {
            nodes: Vec::with_capacity(settings.endpoints.len()),
            phase: Phase::Discovering,
            primary: None,
            system: settings.system,
            epoch: None,
            line: None,
            floor: 0,
            lineage: Lineage::default(),
            head: Position(0),
            head_at: now,
            discovery_ends: now + settings.probe_timeout,
            failover: Failover::new(now, &settings),
            debts: Vec::new(),
            numbers: 0,
            wake: Instant::NEVER,
            serving: NodeSet::default(),
            applied_by_all: None,
            settings,
        };
        let mut step = Step {
            t: &mut snapshot,
            now,
            effects: Vec::new(),
        };
        for endpoint in step.t.settings.clone().endpoints() {
            step.admit(endpoint.clone());
        }
        step.finish();
        let effects = step.effects;
        (Self(Arc::new(snapshot)), effects)
    }
}

/// What becomes of a topology when this happens, and what is to be done then.
///
/// A pure function: the same arguments have the same answer. It reads no clock, and does nothing.
///
/// It takes what time has made due along with every input, so that a late tick is no other thing than a timely one.
pub fn step(mut topology: Topology, input: Input, now: Instant) -> (Topology, Vec<Effect>) {
    let mut step = Step {
        t: Arc::make_mut(&mut topology.0),
        now,
        effects: Vec::new(),
    };
    step.take(input);
    step.finish();
    let effects = step.effects;
    (topology, effects)
}

/// A step being made. What it does lies by subject in the files beside this one.
pub(super) struct Step<'a> {
    pub t: &'a mut Snapshot,
    pub now: Instant,
    pub effects: Vec<Effect>,
}

impl Step<'_> {
    fn take(&mut self, input: Input) {
        match input {
            Input::Tick => {}
            Input::Answered {
                node,
                probe,
                answer,
                rtt,
            } => self.answered(node, probe, &answer, rtt),
            Input::Unanswered { node, probe } => {
                if self.is_asked(node, probe) {
                    self.unanswered(node);
                }
            }
            Input::Faulted {
                node,
                generation,
                fault,
            } => self.faulted(node, generation, fault),
            Input::Hurry(node) => self.hurry(node),
            Input::Add(endpoint) => self.add(endpoint),
            Input::Drain(node) => self.drain(node),
            Input::Remove(node) => self.remove(node),
            Input::LeaseGained(grant) => self.lease_gained(grant),
            Input::LeaseLost => self.lease_lost(),
            Input::Finished { operation, outcome } => self.ended(operation, Some(outcome)),
            Input::Failed { operation } => self.ended(operation, None),
        }
    }

    /// What is due, and what follows from it.
    fn finish(&mut self) {
        self.overdue_probes();
        self.overdue_operations();
        self.conclude_discovery();
        self.judge_absence();
        self.judge_suspicion();
        self.go_on_with_failover();
        self.repair();
        self.due_probes();
        let before = self.t.serving;
        self.t.settle();
        let after = self.t.serving;
        for node in before.minus(after).iter() {
            self.emit(Event::Left(node));
        }
        for node in after.minus(before).iter() {
            self.emit(Event::Joined(node));
        }
        self.set_alarm();
    }

    /// Asks to be woken at the next moment that matters. What is due by now has been done, or waits for something
    /// else than time.
    fn set_alarm(&mut self) {
        let mut next = Instant::NEVER;
        let mut at = |moment: Instant| {
            if moment > self.now {
                next = next.min(moment);
            }
        };
        for node in self.t.members() {
            at(node.asked.map_or(node.probe_at, |asked| asked.deadline));
            at(node.follow_at);
        }
        if self.t.phase == Phase::Discovering {
            at(self.t.discovery_ends);
        }
        for debt in &self.t.debts {
            at(debt.again_at);
        }
        self.t.failover.moments(&self.t.settings, &mut at);
        if next != self.t.wake {
            self.t.wake = next;
            self.effects.push(Effect::WakeAt(next));
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.effects.push(Effect::Emit(event));
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        let from = std::mem::replace(&mut self.t.phase, phase);
        if from != phase {
            self.emit(Event::Phase { from, to: phase });
        }
    }

    /// Leaves every connection to a server behind.
    pub(super) fn purge(&mut self, id: NodeId) {
        let generation = self.t.number();
        if let Some(node) = self.t.get_mut(id) {
            node.generation = generation;
            self.effects.push(Effect::Purge {
                node: id,
                generation,
            });
        }
    }

    pub(super) fn set_state(&mut self, id: NodeId, state: NodeState) {
        if let Some(node) = self.t.get_mut(id) {
            node.state = state;
        }
    }
}
