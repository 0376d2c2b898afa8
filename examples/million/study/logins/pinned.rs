//! Sticky, without copies: a session is in the memory of one server, and the cookie says of which.

use std::collections::BTreeMap;

use tenfold::session::sticky::{NodeNumber, NodeState, StickyKeys, StickyRouter};
use tenfold::session::{HostCookie, MemoryStore, SameSite, SessionToken, UserId, WallClock};

use super::day::{Answer, Result, Tier};

pub(super) struct Pinned {
    wall: WallClock,
    router: StickyRouter,
    servers: BTreeMap<NodeNumber, MemoryStore>,
}

/// The two cookies of a browser.
pub(super) struct Ticket {
    pub(super) pin: String,
    pub(super) node: NodeNumber,
    pub(super) token: SessionToken,
}

/// A router for the servers of this clock, that places browsers the same in every run.
pub(super) fn router(wall: &WallClock) -> Result<StickyRouter> {
    let cookie = HostCookie::new("node", SameSite::Lax)?;
    let router = StickyRouter::new(StickyKeys::new(&[7; 32])?, cookie);
    Ok(router.with_clock(wall.clone()).with_seed(1))
}

impl Tier for Pinned {
    type Ticket = Ticket;

    fn of(servers: u16, wall: &WallClock) -> Result<Self> {
        let mut tier = Self {
            wall: wall.clone(),
            router: router(wall)?,
            servers: BTreeMap::new(),
        };
        for number in 0..servers {
            tier.join(NodeNumber::new(number))?;
        }
        Ok(tier)
    }

    fn log_in(&mut self, user: &UserId, before: Option<&Ticket>) -> Result<Ticket> {
        let route = self.router.route(before.map(|ticket| &*ticket.pin))?;
        let server = self.servers.get(&route.node).ok_or("nobody is there")?;
        let (token, _) = server.create(Some(user.clone()), b"".as_slice())?;
        Ok(Ticket {
            pin: route.value,
            node: route.node,
            token,
        })
    }

    fn request(&mut self, ticket: &mut Ticket) -> Result<Answer> {
        let route = self.router.route(Some(&ticket.pin))?;
        let Some(server) = self.servers.get(&route.node) else {
            return Ok(Answer::Refused);
        };
        (ticket.pin, ticket.node) = (route.value, route.node);
        Ok(match server.load(&ticket.token) {
            Some(_) => Answer::Served,
            None => Answer::LoggedOut,
        })
    }

    fn place(ticket: &Ticket) -> Option<NodeNumber> {
        Some(ticket.node)
    }

    fn die(&mut self, node: NodeNumber) {
        self.servers.remove(&node);
    }

    fn miss(&mut self, node: NodeNumber) -> Result<()> {
        Ok(self.router.set_state(node, NodeState::Down)?)
    }

    fn join(&mut self, node: NodeNumber) -> Result<()> {
        self.router.join(node, 1, 1)?;
        let store = MemoryStore::builder().clock(self.wall.clone()).build()?;
        self.servers.insert(node, store);
        Ok(())
    }

    fn drain(&mut self, node: NodeNumber, until: u64) -> Result<()> {
        Ok(self.router.set_state(node, NodeState::Draining { until })?)
    }

    fn stop(&mut self, node: NodeNumber) -> bool {
        self.router.remove(node);
        let left = self.servers.remove(&node);
        left.is_none_or(|store| store.is_empty())
    }

    fn maintain(&mut self) {}

    /// The server that is asked ends what it knows of.
    fn log_out_everywhere(&mut self, user: &UserId, ticket: &mut Ticket) -> Result<()> {
        if let Some(server) = self.servers.get(&ticket.node) {
            server.revoke_user(user.clone(), None)?;
        }
        Ok(())
    }
}
