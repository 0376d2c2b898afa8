//! Sticky, with a copy of each session on a second server, made before the request is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenfold::session::sticky::{
    Message, NodeNumber, NodeState, Order, Receipt, Replication, Route, StickyError, StickyRouter,
    StickyStore,
};
use tenfold::session::{MemoryStore, UserId, WallClock};

use super::day::{Answer, Result, Tier};
use super::pinned::{Ticket, router};

pub(super) struct Copied {
    wall: WallClock,
    router: Arc<StickyRouter>,
    servers: BTreeMap<NodeNumber, StickyStore>,
}

impl Copied {
    /// Carries an order out, as bytes.
    fn send(&self, order: &Order) -> Option<Receipt> {
        let message = Message::from_bytes(&order.message().to_bytes()).ok()?;
        let received = self.servers.get(&order.to())?.receive(&message);
        for order in &received.orders {
            self.send(order)?;
        }
        Receipt::from_bytes(&received.receipt.to_bytes()).ok()
    }
}

impl Tier for Copied {
    type Ticket = Ticket;

    fn of(servers: u16, wall: &WallClock) -> Result<Self> {
        let mut tier = Self {
            wall: wall.clone(),
            router: Arc::new(router(wall)?),
            servers: BTreeMap::new(),
        };
        for number in 0..servers {
            tier.join(NodeNumber::new(number))?;
        }
        Ok(tier)
    }

    fn log_in(&mut self, user: &UserId, before: Option<&Ticket>) -> Result<Ticket> {
        let Route {
            node,
            routing,
            value,
            ..
        } = self.router.route(before.map(|ticket| &*ticket.pin))?;
        let server = self.servers.get(&node).ok_or("nobody is there")?;
        let begun = server.create(routing, Some(user.clone()), b"")?;
        let (token, _) = begun.confirm_by(server, |order| self.send(order))?;
        Ok(Ticket {
            pin: value,
            node,
            token,
        })
    }

    fn request(&mut self, ticket: &mut Ticket) -> Result<Answer> {
        let mut route = self.router.route(Some(&ticket.pin))?;
        // It is there, or there it is said where it went.
        for _ in 0..3 {
            let Some(server) = self.servers.get(&route.node) else {
                return Ok(Answer::Refused);
            };
            let found = server.load(&ticket.token);
            if let Err(StickyError::Moved { to }) = found {
                route = self.router.repin(&route, to).ok_or("it left for nowhere")?;
                continue;
            }
            (ticket.pin, ticket.node) = (route.value, route.node);
            return match found {
                Ok(_) => Ok(Answer::Served),
                Err(StickyError::Gone) => Ok(Answer::LoggedOut),
                Err(error) => Err(error.into()),
            };
        }
        Ok(Answer::Refused)
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
        let settings = MemoryStore::builder().clock(self.wall.clone());
        let router = Arc::clone(&self.router);
        let store = StickyStore::new(node, 1, router, Replication::Acknowledged, settings)?;
        self.servers.insert(node, store);
        Ok(())
    }

    fn drain(&mut self, node: NodeNumber, until: u64) -> Result<()> {
        Ok(self.router.set_state(node, NodeState::Draining { until })?)
    }

    fn stop(&mut self, node: NodeNumber) -> bool {
        let server = self.servers.remove(&node);
        let is_drained = server.is_some_and(|server| server.is_drained());
        self.router.remove(node);
        is_drained
    }

    fn maintain(&mut self) {
        for server in self.servers.values() {
            // What a server that has just died was to be told is part of the next round.
            server.settle_by(server.maintain(LEAVE_A_SECOND), |order| self.send(order));
        }
    }

    /// Every server is asked, and once more with the highest number of the answers.
    fn log_out_everywhere(&mut self, user: &UserId, _: &mut Ticket) -> Result<()> {
        let round = |number| {
            let answers = self
                .servers
                .values()
                .map(|s| s.revoke_user(user, None, number));
            answers.collect::<std::result::Result<Vec<_>, _>>()
        };
        let highest = round(0)?.into_iter().max();
        round(highest.unwrap_or_default())?;
        Ok(())
    }
}

/// How many sessions leave a server that is drained.
const LEAVE_A_SECOND: usize = 150;
