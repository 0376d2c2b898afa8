use super::step::Step;
use super::{Event, Node, NodeId, NodeState, Phase, SettingsError, Topology, settings};
use crate::replica::Endpoint;

impl Topology {
    /// Whether a server could be added now.
    ///
    /// # Errors
    /// [`SettingsError`] if its name or address is taken, or there are 64.
    pub fn admits(&self, endpoint: &Endpoint) -> Result<(), SettingsError> {
        let others: Vec<_> = self.nodes().map(Node::endpoint).collect();
        settings::admissible(endpoint, others.into_iter())
    }
}

impl Step<'_> {
    pub(super) fn add(&mut self, endpoint: Endpoint) {
        let others: Vec<_> = self.t.members().map(Node::endpoint).collect();
        match settings::admissible(&endpoint, others.into_iter()) {
            Ok(()) => self.admit(endpoint),
            Err(why) => self.emit(Event::NotAdded { endpoint, why }),
        }
    }

    /// Puts it at the lowest free number, and has it asked at once. That there is one has been checked.
    pub(super) fn admit(&mut self, endpoint: Endpoint) {
        let nodes = &self.t.nodes;
        let index = nodes.iter().position(Option::is_none);
        let index = index.unwrap_or(nodes.len());
        let Ok(number) = u8::try_from(index) else {
            return;
        };
        let node = Node {
            id: NodeId(number),
            endpoint,
            state: NodeState::Unknown,
            generation: self.t.number(),
            seen: None,
            asked: None,
            probe_at: self.now,
            failures: 0,
            failed_at: None,
            kept: None,
            history: Vec::new(),
            repoint: false,
            stranded: None,
            follow_at: self.now,
        };
        if index == self.t.nodes.len() {
            self.t.nodes.push(Some(node));
        } else {
            self.t.nodes[index] = Some(node);
        }
    }

    /// A primary goes on taking writes until there is another one.
    pub(super) fn drain(&mut self, id: NodeId) {
        self.set_state(id, NodeState::Draining);
    }

    /// Forgets it. Where it was the primary, nobody is promoted in its place: whoever takes it away
    /// promotes another one, and that one is found.
    pub(super) fn remove(&mut self, id: NodeId) {
        if self.t.get(id).is_none() {
            return;
        }
        self.purge(id);
        self.t.nodes[id.index()] = None;
        for node in self.t.nodes.iter_mut().flatten() {
            if let Some(seen) = &mut node.seen {
                seen.upstream.take_if(|upstream| *upstream == id);
            }
        }
        self.forget_operations(id);
        self.t.failover.forget(id);
        self.give_up_debts(id);
        if self.t.primary == Some(id) {
            self.forget_primary();
            if self.t.phase != Phase::Discovering {
                self.enter(Phase::Leaderless);
                self.hurry_all();
            }
        } else if self.t.phase == Phase::Disputed {
            self.resolve();
        }
    }
}
