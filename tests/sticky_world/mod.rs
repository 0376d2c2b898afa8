//! Servers without sockets: messages are bytes that are carried over or not, servers die
//! between any two of them, and time is turned by hand.

#![allow(dead_code, reason = "each of its users needs a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use tenfold::session::sticky::{
    Change, Held, Message, NodeNumber, NodeState, Order, Receipt, Replication, Route, StickyError,
    StickyKeys, StickyRouter, StickyStore, Why,
};
use tenfold::session::{HostCookie, MemoryStore, SameSite, SessionToken, UserId, WallClock};
use tenfold::time::ManualClock;

pub(crate) const START: u64 = 1_700_000_000;

/// Servers, and who is told that they are up.
pub(crate) struct Cluster {
    pub(crate) clock: ManualClock,
    pub(crate) wall: WallClock,
    pub(crate) router: Arc<StickyRouter>,
    replication: Replication,
    /// Without those that died.
    pub(crate) nodes: BTreeMap<NodeNumber, StickyStore>,
    lives: u32,
}

/// What a browser has.
pub(crate) struct Browser {
    pub(crate) cookie: String,
    pub(crate) token: SessionToken,
    pub(crate) node: NodeNumber,
}

impl Cluster {
    pub(crate) fn of(nodes: u16, replication: Replication) -> Self {
        let clock = ManualClock::new();
        let wall = WallClock::manual(&clock, START);
        let keys = StickyKeys::new(&[7; 32]).unwrap();
        let router = StickyRouter::new(keys, cookie())
            .with_clock(wall.clone())
            .with_seed(1);
        let mut cluster = Self {
            clock,
            wall,
            router: Arc::new(router),
            replication,
            nodes: BTreeMap::new(),
            lives: 0,
        };
        (0..nodes).for_each(|number| cluster.start(NodeNumber::new(number)));
        cluster.maintain();
        cluster
    }

    /// Begins a life of a node.
    pub(crate) fn start(&mut self, node: NodeNumber) {
        self.lives += 1;
        self.router.join(node, self.lives, 1).unwrap();
        let settings = MemoryStore::builder().clock(self.wall.clone());
        let router = Arc::clone(&self.router);
        let store = StickyStore::new(node, self.lives, router, self.replication, settings);
        self.nodes.insert(node, store.unwrap());
    }

    /// Ends it, and tells everybody.
    pub(crate) fn kill(&mut self, node: NodeNumber) {
        self.nodes.remove(&node);
        self.router.set_state(node, NodeState::Down).unwrap();
    }

    pub(crate) fn at(&self, node: NodeNumber) -> &StickyStore {
        &self.nodes[&node]
    }

    /// Lets it have its sessions until a moment, and no new ones.
    pub(crate) fn drain(&self, node: NodeNumber, until: u64) {
        let drain = NodeState::Draining { until };
        self.router.set_state(node, drain).unwrap();
    }

    /// Carries bytes there, and the answer back.
    pub(crate) fn send(&self, order: &Order) -> Option<Receipt> {
        let message = Message::from_bytes(&order.message().to_bytes()).unwrap();
        let received = self.nodes.get(&order.to())?.receive(&message);
        for order in &received.orders {
            self.send(order)?;
        }
        Some(Receipt::from_bytes(&received.receipt.to_bytes()).unwrap())
    }

    /// Has what a node has done carried out.
    pub(crate) fn confirm<T>(
        &self,
        node: &StickyStore,
        change: Result<Change<T>, StickyError>,
    ) -> Result<T, StickyError> {
        change?.confirm_by(node, |order| self.send(order))
    }

    /// Does something to the session of a browser, where it is, and has it carried out.
    pub(crate) fn act<T>(
        &self,
        browser: &Browser,
        act: impl FnOnce(&StickyStore, &SessionToken) -> Result<Change<T>, StickyError>,
    ) -> Result<T, StickyError> {
        let node = self.at(browser.node);
        self.confirm(node, act(node, &browser.token))
    }

    /// A round on every node; says whether all went well.
    pub(crate) fn maintain(&self) -> bool {
        let rounds = self.nodes.values().map(|node| {
            let round = node.maintain(usize::MAX);
            node.settle_by(round, |order| self.send(order))
        });
        rounds.fold(true, |all, is_well| all & is_well)
    }

    pub(crate) fn begin(&self, data: &[u8]) -> Browser {
        let route = self.router.route(None).unwrap();
        assert_eq!(route.why, Why::New);
        let home = self.at(route.node);
        let created = home.create(route.routing, None, data);
        let (token, _) = self.confirm(home, created).unwrap();
        Browser {
            cookie: route.value,
            token,
            node: route.node,
        }
    }

    pub(crate) fn begin_many(&self, count: u32) -> Vec<Browser> {
        (0..count).map(|n| self.begin(&n.to_le_bytes())).collect()
    }

    pub(crate) fn find(&self, browser: &mut Browser) -> Option<Held> {
        self.try_find(browser).expect("all nodes answer")
    }

    /// What a balancer does with a request: the node that the router says, then those
    /// that are said to have the session, then all others.
    pub(crate) fn try_find(&self, browser: &mut Browser) -> Result<Option<Held>, Silent> {
        let mut route = self.router.route(Some(&browser.cookie)).unwrap();
        for _ in 0..4 {
            match self.ask(&route, &browser.token) {
                Ok(held) => return Ok(Some(arrive(browser, &route, held))),
                Err(StickyError::Moved { to }) => {
                    route = self.router.repin(&route, to).ok_or(Silent)?;
                }
                Err(StickyError::Gone) => break,
                Err(_) => return Err(Silent),
            }
        }
        if route.why == Why::Pinned {
            return Ok(None);
        }
        for node in self.router.order(route.routing) {
            let Some(route) = self.router.repin(&route, node) else {
                continue;
            };
            match self.ask(&route, &browser.token) {
                Ok(held) => return Ok(Some(arrive(browser, &route, held))),
                Err(StickyError::Retired) => return Err(Silent),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    fn ask(&self, route: &Route, token: &SessionToken) -> Result<Held, StickyError> {
        match self.nodes.get(&route.node) {
            Some(node) => node.load(token),
            None => Err(StickyError::Retired),
        }
    }

    /// How many of them are lost, and how many were answered by another node than before.
    pub(crate) fn look(&self, browsers: &mut [Browser]) -> (usize, BTreeMap<NodeNumber, usize>) {
        let (mut lost, mut moved) = (0, BTreeMap::new());
        for (n, browser) in browsers.iter_mut().enumerate() {
            let before = browser.node;
            match self.find(browser) {
                Some(held) => assert_eq!(held[..], (n as u32).to_le_bytes()),
                None => lost += 1,
            }
            if browser.node != before {
                *moved.entry(before).or_default() += 1;
            }
        }
        (lost, moved)
    }

    /// Ends all sessions of a user, everywhere.
    pub(crate) fn revoke_user(&self, user: &UserId, except: Option<&SessionToken>) {
        let except = except.map(SessionToken::key);
        let round = |number| {
            let nodes = self.nodes.values();
            nodes
                .map(|node| node.revoke_user(user, except, number).unwrap())
                .max()
                .unwrap()
        };
        let number = round(0);
        assert_eq!(round(number), number);
    }
}

/// A node did not answer.
#[derive(Debug)]
pub(crate) struct Silent;

fn arrive(browser: &mut Browser, route: &Route, held: Held) -> Held {
    browser.cookie.clone_from(&route.value);
    browser.node = route.node;
    held
}

pub(crate) fn cookie() -> HostCookie {
    HostCookie::new("node", SameSite::Lax).unwrap()
}

pub(crate) fn factor() -> u32 {
    let factor = std::env::var("TENFOLD_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok());
    factor.unwrap_or(1)
}

pub(crate) fn share(browsers: &[Browser], node: NodeNumber) -> usize {
    browsers
        .iter()
        .filter(|browser| browser.node == node)
        .count()
}

pub(crate) const VICTIM: NodeNumber = NodeNumber::new(2);
