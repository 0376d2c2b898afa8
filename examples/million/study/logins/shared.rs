//! A store that all servers ask: any of them answers anybody.

use tenfold::session::sticky::NodeNumber;
use tenfold::session::{MemoryStore, SessionToken, UserId, WallClock};

use super::day::{Answer, Result, Tier};

pub(super) struct Shared {
    fleet: Fleet,
    /// On a machine of its own.
    store: MemoryStore,
}

/// Servers that take turns.
#[derive(Default)]
pub(super) struct Fleet {
    /// Those the balancer knows of, and whether they answer.
    servers: Vec<(NodeNumber, bool)>,
    next: usize,
}

impl Fleet {
    pub(super) fn of(servers: u16) -> Self {
        Self {
            servers: (0..servers).map(|n| (NodeNumber::new(n), true)).collect(),
            next: 0,
        }
    }

    /// The one whose turn it is; if it does not answer, another. Any is as good.
    pub(super) fn pick(&mut self) -> Option<NodeNumber> {
        for _ in 0..=RETRIES {
            self.next += 1;
            let turn = self.next % self.servers.len().max(1);
            if let Some((node, true)) = self.servers.get(turn) {
                return Some(*node);
            }
        }
        None
    }

    pub(super) fn die(&mut self, node: NodeNumber) {
        for server in &mut self.servers {
            server.1 &= server.0 != node;
        }
    }

    pub(super) fn remove(&mut self, node: NodeNumber) {
        self.servers.retain(|server| server.0 != node);
    }

    pub(super) fn join(&mut self, node: NodeNumber) {
        self.servers.push((node, true));
    }
}

impl Tier for Shared {
    type Ticket = SessionToken;

    fn of(servers: u16, wall: &WallClock) -> Result<Self> {
        Ok(Self {
            fleet: Fleet::of(servers),
            store: MemoryStore::builder().clock(wall.clone()).build()?,
        })
    }

    fn log_in(&mut self, user: &UserId, _: Option<&SessionToken>) -> Result<SessionToken> {
        Ok(self.store.create(Some(user.clone()), b"".as_slice())?.0)
    }

    fn request(&mut self, token: &mut SessionToken) -> Result<Answer> {
        Ok(match self.fleet.pick().map(|_| self.store.load(token)) {
            Some(Some(_)) => Answer::Served,
            Some(None) => Answer::LoggedOut,
            None => Answer::Refused,
        })
    }

    fn place(_: &SessionToken) -> Option<NodeNumber> {
        None
    }

    fn die(&mut self, node: NodeNumber) {
        self.fleet.die(node);
    }

    fn miss(&mut self, node: NodeNumber) -> Result<()> {
        self.fleet.remove(node);
        Ok(())
    }

    fn join(&mut self, node: NodeNumber) -> Result<()> {
        self.fleet.join(node);
        Ok(())
    }

    fn drain(&mut self, node: NodeNumber, _: u64) -> Result<()> {
        self.fleet.remove(node);
        Ok(())
    }

    fn stop(&mut self, _: NodeNumber) -> bool {
        true
    }

    fn maintain(&mut self) {}

    fn log_out_everywhere(&mut self, user: &UserId, _: &mut SessionToken) -> Result<()> {
        self.store.revoke_user(user.clone(), None)?;
        Ok(())
    }
}

/// How often a request that was refused is sent to another server.
const RETRIES: usize = 1;
