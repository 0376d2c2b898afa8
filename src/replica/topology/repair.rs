use super::operation::{Pending, Purpose};
use super::step::Step;
use super::{
    Action, Effect, Event, Node, NodeId, NodeState, OperationId, Outcome, Phase, Promotion,
};
use crate::replica::{Epoch, Position, Role};
use crate::time::Instant;

/// A server that may have writes which the primary has not: they are brought there, and then it is made a replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Debt {
    pub node: NodeId,
    /// The line of the log that they are on,
    timeline: u64,
    /// after this.
    after: Position,
    stage: Stage,
    failures: u32,
    /// Not before, after it failed.
    pub again_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fence,
    Recover,
    Rejoin,
    /// A part could not be recovered. It is the only one that has it, and is left alone until it is removed.
    Kept,
}

/// What is left to be done after a failover. It changes nothing when two do it, and needs no lease: one that ends the time of a
/// primary must not be taken while that is well.
impl Step<'_> {
    /// A replica has more than the primary's line of the log has.
    pub(super) fn owe(&mut self, node: NodeId, timeline: u64, after: Position) {
        let role = self.t.get(node).and_then(Node::role);
        let stage = match role {
            Some(Role::Replica) => Stage::Recover,
            _ => Stage::Fence,
        };
        self.owe_from(stage, node, timeline, after);
    }

    /// One that is no longer primary takes writes.
    pub(super) fn owe_fencing(&mut self, node: NodeId, timeline: u64, after: Position) {
        if let Some(debt) = self.t.debts.iter_mut().find(|debt| debt.node == node) {
            // It was fenced, and has been started again since.
            if matches!(debt.stage, Stage::Recover | Stage::Rejoin) {
                debt.stage = Stage::Fence;
            }
            // Its promotion has worked after all.
            if debt.timeline < timeline {
                (debt.timeline, debt.after) = (timeline, after);
            }
        }
        self.owe_from(Stage::Fence, node, timeline, after);
    }

    fn owe_from(&mut self, stage: Stage, node: NodeId, timeline: u64, after: Position) {
        if self.t.settings.promotion == Promotion::Observe
            || self.t.get(node).is_none()
            || self.t.debts.iter().any(|debt| debt.node == node)
        {
            return;
        }
        self.t.debts.push(Debt {
            node,
            timeline,
            after,
            stage,
            failures: 0,
            again_at: self.now,
        });
        if self.t.phase == Phase::Normal {
            self.enter(Phase::Recovering);
        }
    }

    /// What is recovered and rejoined goes to another primary from now on.
    pub(super) fn reset_debts(&mut self) {
        self.t.failover.operations.clear();
        for debt in &mut self.t.debts {
            debt.again_at = self.now;
            if debt.stage == Stage::Rejoin {
                debt.stage = Stage::Fence;
            }
        }
    }

    /// A server was removed, and what it had is gone.
    pub(super) fn give_up_debts(&mut self, node: NodeId) {
        let owed = |debt: &&Debt| debt.node == node;
        let Some(debt) = self.t.debts.iter().find(owed).copied() else {
            return;
        };
        self.settle_debt(node);
        if debt.stage != Stage::Rejoin {
            self.emit(Event::WritesGivenUp {
                timeline: debt.timeline,
                from: node,
            });
        }
    }

    /// A server answers as a replica that is on the primary's line of the log: whatever it had beside that, it has no more.
    pub(super) fn is_level(&mut self, node: NodeId) {
        let owed = |debt: &&Debt| debt.node == node;
        let Some(debt) = self.t.debts.iter().find(owed).copied() else {
            return;
        };
        let line = self.t.get(node).and_then(Node::epoch);
        let moved = line.is_some_and(|epoch| epoch.timeline != debt.timeline);
        if moved {
            self.give_up_debts(node);
        } else {
            // It had no more than the others.
            self.settle_debt(node);
        }
    }

    fn settle_debt(&mut self, node: NodeId) {
        self.t.debts.retain(|debt| debt.node != node);
        self.forget_operations(node);
        if self.t.phase == Phase::Recovering {
            self.enter_calm();
        }
    }

    /// Orders what can be done now.
    pub(super) fn repair(&mut self) {
        let promotes = matches!(self.t.settings.promotion, Promotion::Active(_));
        let Some(primary) = self.t.writer().filter(|_| promotes) else {
            return;
        };
        let (now, line) = (self.now, self.t.epoch.map_or(0, |epoch| epoch.timeline));
        // As long as another leader's orders may be under way, and long enough for it to receive by itself.
        let patience = self.t.settings.operation_timeout;
        let waits = |node: &&Node| {
            let astray = node.seen.is_some_and(|seen| {
                seen.role == Role::Replica
                    && (seen.epoch.timeline < line && seen.receiving != Some(true))
            });
            let stranded = node.stranded.is_some_and(|since| since + patience <= now);
            (node.repoint || astray || stranded)
                && node.id() != primary
                && node.role() == Some(Role::Replica)
                && !matches!(node.state, NodeState::Fenced(_))
                && node.follow_at <= now
        };
        let lost: Vec<NodeId> = self.t.members().filter(waits).map(Node::id).collect();
        for node in lost {
            if !self.is_busy(node) {
                self.perform_repair(Action::Follow { node, primary });
            }
        }
        for debt in self.t.debts.clone() {
            let node = debt.node;
            if debt.again_at > now || self.is_busy(node) {
                continue;
            }
            let epoch = Epoch {
                timeline: debt.timeline,
                term: 0,
            };
            let action = match debt.stage {
                Stage::Fence => Action::Fence { node, epoch },
                Stage::Recover => Action::Recover {
                    from: node,
                    to: primary,
                    timeline: debt.timeline,
                    after: debt.after,
                },
                Stage::Rejoin => Action::Rejoin { node, primary },
                Stage::Kept => continue,
            };
            self.perform_repair(action);
        }
    }

    fn repair_ended(&mut self, action: Action, outcome: Option<Outcome>) {
        if outcome.is_none() {
            self.emit(Event::OperationFailed(action));
        }
        let node = action.node();
        let (now, settings) = (self.now, self.t.settings.clone());
        if let Action::Follow { .. } = action {
            if let Some(replica) = self.t.get_mut(node) {
                if outcome == Some(Outcome::Done) {
                    replica.repoint = false;
                    replica.stranded = None;
                }
                // Long enough to be seen to receive, if it worked.
                replica.follow_at = now + settings.retry_after;
            }
            self.hurry(node);
            return;
        }
        let Some(debt) = self.t.debts.iter_mut().find(|debt| debt.node == node) else {
            return;
        };
        let timeline = debt.timeline;
        if outcome.is_some() {
            debt.failures = 0;
        }
        match (action, outcome) {
            (Action::Fence { .. }, Some(Outcome::Done)) => debt.stage = Stage::Recover,
            (Action::Recover { .. }, Some(Outcome::Recovered { complete })) => {
                debt.stage = if complete { Stage::Rejoin } else { Stage::Kept };
                self.emit(Event::WritesRecovered {
                    timeline,
                    from: node,
                    complete,
                });
            }
            (Action::Rejoin { .. }, Some(Outcome::Done)) => {
                if let Some(rejoined) = self.t.get_mut(node) {
                    rejoined.state = NodeState::Unknown;
                    rejoined.seen = None;
                    rejoined.asked = None;
                    rejoined.kept = None;
                }
                self.purge(node);
                self.settle_debt(node);
                self.hurry(node);
            }
            _ => {
                debt.failures += 1;
                let wait = settings.retry_after * (1 << debt.failures.min(16));
                debt.again_at = now + wait.min(settings.max_ejection);
            }
        }
    }

    /// An operation has ended; `None` if it failed. One that nobody waits for has not been.
    pub(super) fn ended(&mut self, operation: OperationId, outcome: Option<Outcome>) {
        let operations = &mut self.t.failover.operations;
        let Some(at) = operations.iter().position(|p| p.operation == operation) else {
            return;
        };
        let Pending {
            action, purpose, ..
        } = operations.swap_remove(at);
        match purpose {
            Purpose::Failover => self.operation_ended(action, outcome),
            Purpose::Repair => self.repair_ended(action, outcome),
        }
    }

    pub(super) fn overdue_operations(&mut self) {
        let overdue = |pending: &&Pending| pending.deadline <= self.now;
        let overdue: Vec<_> = self.t.failover.operations.iter().filter(overdue).collect();
        let overdue: Vec<OperationId> = overdue.iter().map(|pending| pending.operation).collect();
        for operation in overdue {
            self.ended(operation, None);
        }
    }

    pub(super) fn perform(&mut self, action: Action) {
        self.start(action, Purpose::Failover);
    }

    fn perform_repair(&mut self, action: Action) {
        self.start(action, Purpose::Repair);
    }

    fn start(&mut self, action: Action, purpose: Purpose) {
        let settings = &self.t.settings;
        let within = match action {
            Action::Salvage { .. } | Action::Recover { .. } | Action::Rejoin { .. } => {
                settings.salvage_timeout
            }
            _ => settings.operation_timeout,
        };
        let mut deadline = self.now + within;
        if let Action::Promote { .. } = action {
            let right = &mut self.t.failover.right;
            deadline = deadline.min(right.ends().unwrap_or(deadline));
            right.promoting_until = deadline;
        }
        let operation = OperationId(self.t.number());
        self.t.failover.operations.push(Pending {
            operation,
            action,
            deadline,
            purpose,
        });
        self.effects.push(Effect::Perform {
            operation,
            action,
            deadline,
        });
    }

    pub(super) fn is_performing(&self, wanted: impl Fn(Action) -> bool) -> bool {
        let pending = self.t.failover.operations.iter();
        pending
            .filter(|pending| !pending.is_repair())
            .any(|pending| wanted(pending.action))
    }

    fn is_busy(&self, node: NodeId) -> bool {
        let mut pending = self.t.failover.operations.iter();
        pending.any(|pending| pending.action.node() == node)
    }

    pub(super) fn forget_operations(&mut self, node: NodeId) {
        let operations = &mut self.t.failover.operations;
        operations.retain(|pending| pending.action.node() != node);
    }
}
