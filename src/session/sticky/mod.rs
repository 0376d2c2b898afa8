//! Sticky sessions: each browser's requests go to the server that has its session in memory,
//! and to the one that has a copy when that server is gone.
//!
//! # The bad day
//!
//! One of five servers is restarted, and a fifth of all users are logged out: what they had
//! in memory was there and nowhere else.
//!
//! ```
//! use std::sync::Arc;
//! use tenfold::session::sticky::{NodeNumber, NodeState, Replication, StickyKeys, StickyRouter, StickyStore};
//! use tenfold::session::{HostCookie, MemoryStore, SameSite};
//!
//! let cookie = HostCookie::new("node", SameSite::Lax)?;
//! let router = Arc::new(StickyRouter::new(StickyKeys::new(&[7; 32])?, cookie));
//! let node = |number| {
//!     let number = NodeNumber::new(number);
//!     router.join(number, 1, 1).unwrap();
//!     let settings = MemoryStore::builder();
//!     StickyStore::new(number, 1, router.clone(), Replication::Acknowledged, settings).unwrap()
//! };
//! let nodes = [node(0), node(1), node(2)];
//! let at = |number: NodeNumber| &nodes[usize::from(number.get())];
//!
//! // Ada's first request: a session on one node, and before she is answered, its copy on another.
//! let route = router.route(None)?;
//! let home = at(route.node);
//! let change = home.create(route.routing, Some("ada".into()), b"1 lamp")?;
//! let (token, _) = change.confirm_by(home, |order| {
//!     Some(at(order.to()).receive(order.message()).receipt)
//! })?;
//!
//! // Her server dies; her next request goes to the one that has the copy.
//! router.set_state(route.node, NodeState::Down)?;
//! let again = router.route(Some(&route.value))?;
//! assert_ne!(again.node, route.node);
//! assert_eq!(&at(again.node).load(&token)?[..], b"1 lamp");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! Every browser has a *routing id*, 64 random bits, and every id has an order of preference
//! among the nodes, which all routers compute alike ([`Ranking`](crate::router::Ranking)). The first of it
//! gets the session, the next one the copy. A cookie says where that is: node,
//! incarnation and id, signed, so that nobody can aim at a node, and without an address. As long as its node lives,
//! the cookie decides, so a node that is added moves nobody. If it is gone, the order does: the first
//! of the others is the one that has the copy, whoever computes it.
//!
//! A [`StickyStore`] is a node's part: its sessions and the copies it keeps. It does not
//! send; each [`Change`] has [orders](Order) to be carried out before the request is
//! answered, whatever the transport. What nodes that come and go leave to do is a [`Round`] of
//! [`maintain`](StickyStore::maintain). A [`StickyNode`] does all of that by itself, given a way to carry bytes from node to
//! node ([`Peers`]), and a web server uses it like any other store: with `web::StickyLayer` (feature `tower`) before
//! `web::SessionLayer`.
//!
//! # What you can rely on
//!
//! * **The death of one node loses nothing that was answered**, with
//!   [`Replication::Acknowledged`]; nor do two deaths, one after the other, if those who are left have
//!   settled a round between them. With [`Replication::Later`] the loss is at most what
//!   [`unprotected`](StickyStore::unprotected) said.
//! * **Only the sessions of a node that is gone move.** Adding nodes moves none; a log-in moves none, for a new
//!   token does not change the routing id.
//! * **A drain loses nothing**: sessions move, newest version, with their copies; the old node answers
//!   [`Moved`](StickyError::Moved), never "gone".
//! * **Gone is gone** here too: the end of a session is told to whoever has a copy before it is
//!   confirmed, and remembered for as long as a copy may turn up.
//! * **Only a newer version wins**, and a node that was taken for dead, and is not, finds out with its next change:
//!   it is refused by who took over.
//! * **A cookie that we did not sign counts as none.** Secrets can be rotated without moving anybody.
//!
//! # What it costs
//!
//! A pinned request is an HMAC. A change is a message to one other node, and a hash per node to find out which. Each session
//! is in memory twice. `maintain` looks at all sessions after a change of nodes.
//!
//! # What it is not
//!
//! Not a health check, and not a consensus: somebody has to say who is up, the same to all. While views differ,
//! two nodes may both think they have a session; the one that took over wins, and what the other answered in between is
//! lost. **Begin a drain only when the last change of nodes has settled**, which the last round of [`StickyNode::maintain`] says: of a node that is drained
//! while others have just come, a session may go on in two places, and be lost with the deaths of both. **Limits are each node's own**: nobody counts the sessions of a user on all nodes, so
//! [`max_per_user`](crate::session::MemoryStoreBuilder::max_per_user) lets a user have that many on every node, and
//! [`max_sessions`](crate::session::MemoryStoreBuilder::max_sessions) is per node too. Where a limit has to hold for all of them
//! together, the store has to be one: Redis or PostgreSQL. Not a transport: messages make whoever can send them a user, so they need
//! authenticated connections. A copy hears of loads with the next `maintain` only, so a session that was just being read may be idle that much longer
//! when its copy takes over.
//!
//! # References
//!
//! * Thaler, Ravishankar, *Using name-based mappings to increase hit rates*, 1998: the order.
//! * What users of sticky balancers reported: lost log-ins of dead servers, half of all users moved by a new one, cookies
//!   that choose a host. Each is a test in `tests/session_sticky/`; a hundred thousand sessions are in `tests/session_sticky_fleet.rs`.

mod book;
mod change;
mod cookie;
mod ending;
mod error;
mod held;
mod maintenance;
mod message;
mod node;
mod question;
mod receiving;
mod router;
mod seat;
mod stats;
mod store;
mod takeover;
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod untrusted;
mod view;

pub use change::Change;
pub use cookie::{NodeNumber, RoutingId, StickyKeys};
pub use error::{AnswerError, MessageError, RouteError, StateError, StickyError};
pub use held::Held;
pub use maintenance::Round;
pub use message::{Message, Order, Receipt};
pub use node::{Peers, StickyNode};
pub use receiving::Received;
pub use router::{Cause, Route, StickyRouter, Why};
pub use seat::Seat;
pub use stats::RoutingStats;
pub use store::{Replication, StickyStore};
pub use view::NodeState;
