//! A shard router: which node a key lies on, the same in every process, and
//! next to nothing moves when nodes come and go.
//!
//! # The bad day
//!
//! Four databases are full, so a fifth is added. Keys were placed by hash modulo
//! the number of nodes, and that number has changed: four of five rows are now
//! looked for where they are not.
//!
//! ```
//! use tenfold::router::{Policy, Topology, TopologyError};
//!
//! /// The share of a million users who live elsewhere once there is a fifth node.
//! fn moved(policy: Policy) -> Result<f64, TopologyError> {
//!     let four = Topology::builder().nodes(["pg-1", "pg-2", "pg-3", "pg-4"]).policy(policy).build()?;
//!     let five = four.edit().node("pg-5").build()?;
//!     let users = 0..1_000_000_u64;
//!     let moved = users.filter(|&user| four.route(user) != five.route(user)).count();
//!     Ok(moved as f64 / 1e6)
//! }
//!
//! assert!((moved(Policy::Modulo)? - 0.8).abs() < 0.01);
//! assert!((moved(Policy::Balanced)? - 0.2).abs() < 0.01); // as little as can be
//! # Ok::<(), TopologyError>(())
//! ```
//!
//! # The idea
//!
//! A key's hash is XXH3-64 of its [canonical bytes](crate::hash::StableKey). Hashes
//! are divided into *slots*, contiguous ranges of them, 16,384 or more. A table says
//! whose each slot is, and a look-up is: hash, top bits, one load. Rings, rendezvous
//! hashing, jump hashing, Maglev and all others are [policies](Policy): compilers that
//! fill that table when nodes change, and cost nothing when keys are routed.
//!
//! A [`Topology`] is one version of the table, immutable, with its nodes' names,
//! weights, zones and tags. It is edited into the next version, and written down with
//! [`to_bytes`](Topology::to_bytes). A [`Router`] holds the version in force, and swaps it
//! while others read:
//!
//! ```
//! use tenfold::router::{Node, Router, Spread, Topology};
//!
//! let topology = Topology::builder()
//!     .node(Node::new("pg-1").weight(2).zone("a"))
//!     .node(Node::new("pg-2").weight(2).zone("b"))
//!     .node(Node::new("pg-3").weight(1).zone("c"))
//!     .replicas(2)
//!     .distinct_zones(Spread::Require)
//!     .build()?;
//! let router = Router::new(topology);
//!
//! let copies = router.replicas("user:42"); // the primary first, zones distinct
//! assert_eq!(copies[0], router.route("user:42"));
//! let down = copies[0];
//! assert_eq!(router.route_where("user:42", |node| node != down), Some(copies[1]));
//!
//! let next = router.topology().edit().node(Node::new("pg-4").zone("a")).build()?;
//! router.swap(next)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Before a change is made, [`Topology::plan`] lists what it will move: which hashes, from
//! where to where, which share of all keys, and how little it could be. For caches,
//! [`Topology::route_bounded`] leaves a node alone that has more than its share to do.
//!
//! Questions that many shards answer are [`scatter`]ed over them, and one that is slow does not spoil
//! the rest; [`timeline`] is the fan-out of posts to followers.
//!
//! # The bad day of a celebrity
//!
//! Placement was even, until somebody famous posted: every fourth request is for one key, and
//! the one node that has it melts. More nodes do not help, for a key has one home.
//!
//! ```
//! use tenfold::router::{HotKeys, Router, Topology, parts_for};
//!
//! let nodes = (0..10).map(|n| format!("pg-{n}"));
//! let router = Router::new(Topology::builder().nodes(nodes).build()?);
//! let request = |n: u64| if n % 4 == 0 { 7 } else { n };
//! let before = router.topology().skew_report((0..100_000).map(request));
//! assert!(before.max_over_mean() > 2.9); // about 3.25 times what the others have
//!
//! // Traffic itself says who it is, for a nanosecond or two a request.
//! let hot = HotKeys::new();
//! (0..100_000).for_each(|n| hot.note(request(n)));
//! let celebrity = &hot.top(1)[0];
//! assert!(celebrity.at_least() > 20_000);
//!
//! // Its writes go to five parts on five nodes from now on; nobody else moves.
//! let key = celebrity.key().expect("a short key is kept whole");
//! let parts = parts_for(celebrity.share(), 10);
//! router.swap(router.topology().edit().split(key, parts).build()?)?;
//! let part = router.part(7_u64, 12_345);
//! assert_eq!((part.part(), parts), (0, 5));
//!
//! let after = router.topology().skew_report((0..100_000).map(request));
//! assert!(after.max_over_mean() < 1.32);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is written more than read is [split](TopologyBuilder::split) into [parts](Salted), what
//! is read more than written has [copies](TopologyBuilder::replicate), and whoever has a machine
//! for it [pins](TopologyBuilder::pin) it there. All of that is part of the topology: every
//! process agrees on it, and [`release`](TopologyBuilder::release) undoes it.
//! Where keys lie by range, the range that everybody writes to is split by
//! [`Topology::propose_split`]. A shard key is judged before it is chosen, by
//! [`Topology::skew_report`].
//!
//! # What you can rely on
//!
//! * **Every process agrees.** Nothing depends on [`std::hash::Hash`], on a random seed,
//!   on the machine, on floating point beyond what IEEE 754 fixes, or on the order in
//!   which nodes were added. Golden files hold where 10,000 keys lie under each policy, and
//!   never change.
//! * **As little moves as can be** under [`Policy::Balanced`]: who has more than its
//!   share gives just that, who has less takes it, and no slot moves for another reason.
//!   Shares are kept to within one slot. Doubling the slots moves nothing.
//! * **Names decide, not positions.** Taking away a node in the middle renumbers nobody;
//!   a [`NodeId`] stays a node's own through every edit.
//! * **Copies lie on distinct nodes**, and in distinct zones if that is required; what
//!   cannot be is refused by [`build`](TopologyBuilder::build), not found out at night.
//! * **Reading takes no lock** and never waits for a swap. Each answer is that of the
//!   topology before a swap or the one after it; several answers from the same one come
//!   from [`Router::topology`].
//! * **Two edits of one version do not undo each other**: the second
//!   [`swap`](Router::swap) is refused with [`StaleTopology`].
//! * **Damaged or newer bytes are refused**, each by an error of its own, and nothing panics.
//!
//! # What it costs
//!
//! A topology of `n` nodes, `s` slots and `r` copies (`r` > 1) has about
//! 150 `n` + 2 `s` + 2 `r` `s` bytes, and a router twice 2 `s` + 8 `s` more (16 `s` for five
//! copies and up), for every power of two that `s` went through. Slots are at least 16,384
//! and a hundred per node, so ten nodes have 32 KiB of table, and a thousand 256 KiB.
//! [`Router::route`] is the hash and five loads, all but one of which every call shares;
//! [`Router::replicas`] two more. Neither allocates.
//! Where something is said about single keys, of which there may be [1024](MAX_OVERRIDES), the
//! others of their slots pay for a counted pointer and a search among 1024 hashes, and no other
//! slot for anything. [`HotKeys`] takes 64 KiB and a nanosecond or two per request.
//! [`Policy::Range`], [`Policy::RedisCluster`] and [`Policy::Ketama`] do not place by that
//! hash: there the router first takes a counted pointer to the topology, two atomic
//! additions, and then looks the key up by a short search or a CRC.
//! `compare router` measures all of it beside the rivals.
//!
//! # What it is not
//!
//! It does not connect, watch health or move data: it says where, and a [`Plan`] what to move. It does not
//! agree with other processes about versions; hand the bytes on through whatever does, and
//! [`check`](Router::check) the epoch. The hash is not keyed: whoever chooses keys can
//! choose them to fall onto one node.
//!
//! # References
//!
//! 1. Karger et al., *Consistent hashing and random trees*, STOC 1997: rings.
//! 2. Thaler, Ravishankar, *Using name-based mappings to increase hit rates*, 1998: rendezvous.
//! 3. Lamping, Veach, *A fast, minimal memory, consistent hash algorithm*, 2014: jump.
//! 4. Eisenbud et al., *Maglev: a fast and reliable software network load balancer*, NSDI 2016.
//! 5. The Redis Cluster specification: slots and hash tags.

mod bounded;
mod builder;
mod bytes;
mod error;
mod fingerprint;
mod hot_keys;
pub mod migration;
#[cfg(all(test, tenfold_shuttle))]
mod models;
mod node;
mod overrides;
pub mod placement;
mod plan;
mod policy;
mod published;
mod ranking;
#[cfg(feature = "serde")]
mod readable;
mod replicas;
mod route;
#[allow(
    clippy::module_inception,
    reason = "the block's main type has its name"
)]
mod router;
mod salted;
pub mod scatter;
mod skew;
mod stats;
pub mod timeline;
mod top_keys;
mod topology;

pub use bounded::Loads;
pub use builder::TopologyBuilder;
pub use error::{DecodeError, StaleTopology, SwapError, TopologyError};
pub use hot_keys::HotKeys;
pub use node::{MAX_NODES, Node, NodeId};
pub use overrides::{MAX_OVERRIDES, Override};
pub use plan::{Incomparable, Move, Plan, Span};
pub use policy::Policy;
pub use ranking::Ranking;
pub use replicas::{MAX_REPLICAS, Replicas, Spread};
pub use route::Groups;
pub use router::Router;
pub use salted::{Salted, parts_for};
pub use skew::SkewReport;
pub use stats::RouterStats;
pub use top_keys::{HotKey, TopKeys};
pub use topology::Topology;
