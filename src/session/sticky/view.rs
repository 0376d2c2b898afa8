use super::cookie::{NodeNumber, RoutingId};
use super::error::StateError;
use crate::router::{Node, Ranking};

/// How a node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It gets new sessions, in proportion to its weight, and copies of others'. With weight 0 it keeps
    /// those it has.
    Up {
        /// Relative to the others'.
        weight: u32,
    },
    /// It keeps its sessions until a moment, and gets no new ones.
    Draining {
        /// Seconds since 1970.
        until: u64,
    },
    /// It answers nobody. It comes back by joining again, without sessions.
    Down,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) number: NodeNumber,
    pub(super) incarnation: u32,
    pub(super) state: NodeState,
}

impl Member {
    /// Whether it gets new sessions and copies.
    fn takes(&self) -> bool {
        matches!(self.state, NodeState::Up { weight: 1.. })
    }

    /// Whether it may keep the sessions it has.
    pub(super) fn keeps(&self, now: u64) -> bool {
        match self.state {
            NodeState::Up { .. } => true,
            NodeState::Draining { until } => now < until,
            NodeState::Down => false,
        }
    }

    fn answers(&self) -> bool {
        self.state != NodeState::Down
    }
}

/// Who takes part, at one moment. All who know the same view place sessions alike.
#[derive(Debug)]
pub(super) struct View {
    /// Counts views.
    pub(super) number: u64,
    /// In the order of numbers.
    members: Vec<Member>,
    /// The same, in the same order.
    ranking: Ranking,
}

impl View {
    pub(super) fn empty() -> Self {
        Self::of(0, Vec::new())
    }

    fn of(number: u64, members: Vec<Member>) -> Self {
        let node = |member: &Member| {
            let weight = match member.state {
                NodeState::Up { weight } => weight,
                // Never asked: it takes nothing.
                NodeState::Draining { .. } | NodeState::Down => 0,
            };
            Node::new(member.number.get().to_string()).weight(u64::from(weight))
        };
        Self {
            number,
            ranking: Ranking::new(members.iter().map(node)),
            members,
        }
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn find(&self, node: NodeNumber) -> Option<&Member> {
        let place = self.members.binary_search_by_key(&node, |m| m.number);
        place.ok().map(|place| &self.members[place])
    }

    /// The view after a node joined, anew or for the first time.
    pub(super) fn with(&self, joined: Member) -> Self {
        let mut members = self.members.clone();
        match members.binary_search_by_key(&joined.number, |m| m.number) {
            Ok(place) => members[place] = joined,
            Err(place) => members.insert(place, joined),
        }
        Self::of(self.number + 1, members)
    }

    pub(super) fn with_state(
        &self,
        node: NodeNumber,
        state: NodeState,
    ) -> Result<Self, StateError> {
        let member = self.find(node).ok_or(StateError::Unknown { node })?;
        if member.state == NodeState::Down && state != NodeState::Down {
            return Err(StateError::Down { node });
        }
        Ok(self.with(Member { state, ..*member }))
    }

    pub(super) fn without(&self, node: NodeNumber) -> Self {
        let mut members = self.members.clone();
        members.retain(|member| member.number != node);
        Self::of(self.number + 1, members)
    }

    /// Where a new session goes: the first of its ranking.
    pub(super) fn home(&self, routing: RoutingId) -> Option<&Member> {
        let takes = |place: usize| self.members[place].takes();
        let first = self.ranking.first_where(routing.0, takes)?;
        Some(&self.members[first])
    }

    /// Who has the copy of a session of this node, and takes over from it: the first of
    /// its ranking that is another. So it is the same node before and after the owner is gone.
    pub(super) fn heir(&self, routing: RoutingId, owner: NodeNumber) -> Option<NodeNumber> {
        self.heir_life(routing, owner).map(|(heir, _)| heir)
    }

    /// The same, and which of its lives: the next one has none of the copies.
    pub(super) fn heir_life(
        &self,
        routing: RoutingId,
        owner: NodeNumber,
    ) -> Option<(NodeNumber, u32)> {
        let is_other = |place: usize| {
            let member = &self.members[place];
            member.takes() && member.number != owner
        };
        let first = self.ranking.first_where(routing.0, is_other)?;
        let heir = &self.members[first];
        Some((heir.number, heir.incarnation))
    }

    /// Everyone who answers, those first who are the most likely to have the session.
    pub(super) fn order(&self, routing: RoutingId) -> impl Iterator<Item = NodeNumber> {
        let order = self.ranking.order(routing.0).into_iter();
        let members = order.map(|place| &self.members[place]);
        members.filter(|m| m.answers()).map(|m| m.number)
    }

    /// Whether this life of a node keeps its sessions.
    pub(super) fn is_kept(&self, node: NodeNumber, incarnation: u32, now: u64) -> bool {
        let member = self.find(node);
        // A later life than we know of has not been announced here yet.
        member.is_some_and(|member| incarnation >= member.incarnation && member.keeps(now))
    }

    pub(super) fn answers(&self, node: NodeNumber) -> bool {
        self.find(node).is_some_and(Member::answers)
    }
}
