use std::time::Duration;

use super::{Epoch, Fork, Position, SystemId};

/// What a server says of itself when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// Whether it takes writes.
    pub role: Role,
    /// The cluster it belongs to.
    pub system: SystemId,
    /// The epoch it lives in.
    pub epoch: Epoch,
    /// How far its log has come: of a primary, what it has written; of a replica, what it has *applied*,
    /// which is what a read there sees.
    pub position: Position,
    /// Of a replica, how far what it has received and kept has come, applied or not.
    pub received: Option<Position>,
    /// Of a replica, whether it receives from a primary right now.
    pub receiving: Option<bool>,
    /// Of a replica that receives, the [address](super::Endpoint::address) of the server that it receives from, if it can tell. Where
    /// that is another replica, as in a cascade, its receiving does not speak for the primary's being alive. An address that no server was given under is
    /// taken for the primary's.
    pub upstream: Option<Box<str>>,
    /// Of a replica, how old what it shows is, if it can tell.
    pub lag: Option<Duration>,
    /// How its line of the log came about, if it can tell: what is in the `.history` file of PostgreSQL. Without it
    /// less of what was written before a promotion can be proven to be still there.
    pub history: Vec<Fork>,
}

impl Probe {
    /// A server in a role; what it says no more of is unknown.
    pub fn new(role: Role, system: SystemId, epoch: Epoch, position: Position) -> Self {
        Self {
            role,
            system,
            epoch,
            position,
            received: None,
            receiving: None,
            upstream: None,
            lag: None,
            history: Vec::new(),
        }
    }

    /// How far it could be promoted from: the larger of received and applied.
    pub fn reach(&self) -> Position {
        self.received
            .map_or(self.position, |received| received.max(self.position))
    }
}

/// What a server is, by its own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows a primary.
    Replica,
}
