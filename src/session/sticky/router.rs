use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::cookie::{NodeNumber, Pin, RoutingId, StickyKeys};
use super::error::{RouteError, StateError};
use super::stats::{Counts, RoutingStats};
use super::view::{Member, NodeState, View};
use crate::rng::Rng;
use crate::session::{HostCookie, WallClock};
use crate::sync::Mutex;

/// Sends each browser to the server that has its session, by a signed cookie, and knows
/// who takes over.
///
/// It holds no sessions, so there can be any number of them, in load balancers and in the
/// servers themselves: those that know the same nodes, states and secrets answer alike. See the
/// [module](super) for what it promises.
///
/// ```
/// use tenfold::session::sticky::{NodeNumber, NodeState, StickyKeys, StickyRouter, Why};
/// use tenfold::session::{HostCookie, SameSite};
///
/// let cookie = HostCookie::new("node", SameSite::Lax)?;
/// let router = StickyRouter::new(StickyKeys::new(&[7; 32])?, cookie);
/// for number in 1..=3 {
///     router.join(NodeNumber::new(number), 1, 1)?;
/// }
/// let first = router.route(None)?;
/// assert_eq!(first.why, Why::New);
/// assert!(first.set_cookie.is_some_and(|set| set.starts_with("__Host-node=")));
///
/// let again = router.route(Some(&first.value))?;
/// assert_eq!((again.node, again.why, again.set_cookie), (first.node, Why::Pinned, None));
///
/// // Its server dies: the one that has the copies takes over.
/// let heir = router.replicas(first.routing)[1];
/// router.set_state(first.node, NodeState::Down)?;
/// let moved = router.route(Some(&first.value))?;
/// assert_eq!(Some(moved.node), heir);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StickyRouter {
    keys: StickyKeys,
    cookie: HostCookie,
    wall: WallClock,
    known: Mutex<Known>,
    /// What routing ids are drawn from; the system if there is none.
    seeded: Option<Mutex<Rng>>,
    counts: Counts,
}

struct Known {
    view: Arc<View>,
    /// The latest life of every node there ever was.
    lives: HashMap<NodeNumber, u32>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Which node.
    pub node: NodeNumber,
    /// What the browser is placed by.
    pub routing: RoutingId,
    /// The cookie's value, for the node: it may not be in the request yet.
    pub value: String,
    /// The `Set-Cookie` for the answer, if there is something new to say.
    pub set_cookie: Option<String>,
    /// Why there.
    pub why: Why,
}

/// Why a request goes where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The cookie says so.
    Pinned,
    /// It brought no cookie, or none that we signed.
    New,
    /// The node that the cookie names does not have the session any more; this one has the
    /// copy.
    Repinned {
        /// The node it names.
        from: NodeNumber,
        /// What happened to it.
        cause: Cause,
    },
}

/// What happened to a node that a cookie names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It is down.
    Down,
    /// It takes no part any more.
    Removed,
    /// It was to be empty by now.
    Drained,
    /// It was restarted since, and has nothing of before.
    OldEpoch,
}

impl StickyRouter {
    /// A router that knows no nodes yet.
    pub fn new(keys: StickyKeys, cookie: HostCookie) -> Self {
        let view = Arc::new(View::empty());
        let lives = HashMap::new();
        Self {
            keys,
            cookie,
            wall: WallClock::default(),
            known: Mutex::new(Known { view, lives }),
            seeded: None,
            counts: Counts::default(),
        }
    }

    /// With this clock for the deadlines of drains; the system's by default.
    #[must_use]
    pub fn with_clock(mut self, wall: WallClock) -> Self {
        self.wall = wall;
        self
    }

    /// With routing ids that are the same in every run, for simulations and tests. Not for a router in
    /// service: two of the same seed place different browsers alike, and whoever knows it knows who is where.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seeded = Some(Mutex::new(Rng::with_seed(seed)));
        self
    }

    /// Lets a node take part, of this weight and without sessions. Its incarnation says which of its lives it
    /// is: higher after each restart, for instance the second in which it began. Nobody else's
    /// sessions move.
    ///
    /// # Errors
    /// [`StateError::Incarnation`] unless it is higher than that of the life before.
    pub fn join(&self, node: NodeNumber, incarnation: u32, weight: u32) -> Result<(), StateError> {
        let mut known = self.known.lock();
        if let Some(&before) = known.lives.get(&node)
            && incarnation <= before
        {
            return Err(StateError::Incarnation {
                node,
                before,
                found: incarnation,
            });
        }
        known.lives.insert(node, incarnation);
        known.view = Arc::new(known.view.with(Member {
            number: node,
            incarnation,
            state: NodeState::Up { weight },
        }));
        Ok(())
    }

    /// Says how a node is, from now on.
    ///
    /// # Errors
    /// [`StateError::Unknown`]; [`StateError::Down`]: once it was down, others have taken over
    /// from it, so it has to [join](Self::join) anew.
    pub fn set_state(&self, node: NodeNumber, state: NodeState) -> Result<(), StateError> {
        let mut known = self.known.lock();
        known.view = Arc::new(known.view.with_state(node, state)?);
        Ok(())
    }

    /// Takes a node out. If it had sessions, others take over from it.
    pub fn remove(&self, node: NodeNumber) {
        let mut known = self.known.lock();
        known.view = Arc::new(known.view.without(node));
    }

    /// Says where a request goes that brought this value of the cookie, if any.
    ///
    /// A pinned one costs an HMAC, and nothing in proportion to the number of nodes.
    ///
    /// # Errors
    /// [`RouteError`]: no node takes sessions, or there are no random bits.
    pub fn route(&self, cookie: Option<&str>) -> Result<Route, RouteError> {
        let view = self.view();
        let opened = cookie.map(|value| self.keys.open(value));
        let Some((pin, is_current)) = opened.flatten() else {
            self.counts.placed(cookie.is_some());
            let routing = self.draw()?;
            let home = view.home(routing).ok_or(RouteError::NoNode)?;
            let pin = pin(home, routing);
            return Ok(self.told(pin, Why::New));
        };
        let from = pin.node;
        let cause = match view.find(from) {
            None => Cause::Removed,
            Some(member) if pin.incarnation < member.incarnation => Cause::OldEpoch,
            Some(member) if member.keeps(self.wall.now()) => {
                self.counts.pinned();
                let route = self.told(pin, Why::Pinned);
                let set_cookie = route.set_cookie.filter(|_| !is_current);
                return Ok(Route {
                    set_cookie,
                    ..route
                });
            }
            Some(member) if member.state == NodeState::Down => Cause::Down,
            Some(_) => Cause::Drained,
        };
        let heir = view.heir(pin.routing, from).ok_or(RouteError::NoNode)?;
        self.counts.repinned();
        let why = Why::Repinned { from, cause };
        self.pinned(pin.routing, heir, why)
            .ok_or(RouteError::NoNode)
    }

    /// The route to a node that turned out to have the session: it answered, or another said
    /// [`Moved`](super::StickyError::Moved). None if the node takes no part.
    pub fn repin(&self, route: &Route, to: NodeNumber) -> Option<Route> {
        let (from, cause) = match route.why {
            Why::Repinned { from, cause } => (from, cause),
            Why::Pinned | Why::New => (route.node, Cause::Drained),
        };
        self.pinned(route.routing, to, Why::Repinned { from, cause })
    }

    /// What a value of the cookie places its browser by, if we signed it: for a node that was
    /// sent the request.
    pub fn routing(&self, value: &str) -> Option<RoutingId> {
        self.keys.open(value).map(|(pin, _)| pin.routing)
    }

    /// Where a new session would go, and who would have its copy.
    pub fn replicas(&self, routing: RoutingId) -> [Option<NodeNumber>; 2] {
        let view = self.view();
        let first = view.home(routing).map(|member| member.number);
        [first, first.and_then(|first| view.heir(routing, first))]
    }

    /// Everyone who answers, in the order in which to ask for a session that its node does
    /// not have: nodes came and went since it was placed.
    pub fn order(&self, routing: RoutingId) -> Vec<NodeNumber> {
        self.view().order(routing).collect()
    }

    /// What the router has done so far.
    pub fn stats(&self) -> RoutingStats {
        self.counts.get()
    }

    /// The cookie, to find its value in a request.
    pub fn cookie(&self) -> &HostCookie {
        &self.cookie
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.known.lock().view)
    }

    fn draw(&self) -> Result<RoutingId, RouteError> {
        match &self.seeded {
            Some(rng) => Ok(RoutingId(rng.lock().next_u64())),
            None => RoutingId::draw().map_err(|error| RouteError::Entropy(error.into())),
        }
    }

    fn pinned(&self, routing: RoutingId, to: NodeNumber, why: Why) -> Option<Route> {
        let view = self.view();
        Some(self.told(pin(view.find(to)?, routing), why))
    }

    fn told(&self, pin: Pin, why: Why) -> Route {
        let value = self.keys.seal(pin);
        Route {
            node: pin.node,
            routing: pin.routing,
            set_cookie: self.cookie.set(&value, None).ok(),
            value,
            why,
        }
    }
}

fn pin(member: &Member, routing: RoutingId) -> Pin {
    Pin {
        node: member.number,
        incarnation: member.incarnation,
        routing,
    }
}

impl fmt::Debug for StickyRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyRouter")
            .field("nodes", &self.view().members())
            .finish_non_exhaustive()
    }
}
