//! What is known of a cluster, and what follows from it: no input or output, no clock, no lock.
//!
//! A [`Topology`] is a snapshot. [`step`] takes one, something that happened and the time, and answers the next one with
//! what is to be done. [`select`] says which servers a read may go to. Whoever drives it publishes the snapshot, does the
//! [`Effect`]s, and reports what came of them as [`Input`]s; late, twice, or not at all, it does no harm.
//!
//! A bad day, in virtual time: the old primary comes back after a failover, and still thinks that it is one.
//!
//! ```
//! use std::time::Duration;
//! use tenfold::replica::topology::{Effect, Fenced, Input, NodeState, Settings, Topology, step};
//! use tenfold::replica::{Endpoint, Epoch, Position, Probe, Role, SystemId};
//! use tenfold::time::ManualClock;
//!
//! let settings = Settings::builder()
//!     .primary(Endpoint::new("a", "10.0.0.1:5432")?)
//!     .replica(Endpoint::new("b", "10.0.0.2:5432")?)
//!     .build()?;
//! let clock = ManualClock::new();
//! let (mut topology, mut effects) = Topology::new(settings, clock.now());
//! // What each says when it is asked, over and over.
//! let says = |role, timeline| Probe::new(role, SystemId(7), Epoch { timeline, term: 0 }, Position(100));
//! for (a, b) in [
//!     (says(Role::Primary, 1), says(Role::Replica, 1)),
//!     (says(Role::Primary, 1), says(Role::Primary, 2)),
//!     (says(Role::Primary, 1), says(Role::Primary, 2)),
//! ] {
//!     for effect in std::mem::take(&mut effects) {
//!         if let Effect::Probe { node, probe, .. } = effect {
//!             let answer = if node.index() == 0 { a.clone() } else { b.clone() };
//!             let rtt = Duration::from_millis(1);
//!             let input = Input::Answered { node, probe, answer, rtt };
//!             let (next, more) = step(topology, input, clock.now());
//!             topology = next;
//!             effects.extend(more);
//!         }
//!     }
//!     clock.advance(Duration::from_millis(500));
//!     let (next, more) = step(topology, Input::Tick, clock.now());
//!     topology = next;
//!     effects.extend(more);
//! }
//! // Whoever answered last, writes go to `b`, and `a` gets nothing.
//! let state = |name| topology.find(name).map(|node| node.state());
//! assert_eq!(topology.writer(), topology.find("b").map(|node| node.id()));
//! assert_eq!(state("a"), Some(NodeState::Fenced(Fenced::StalePrimary)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What you can rely on
//!
//! * Roles are observed. Of two primaries the one of the later [`Epoch`](super::Epoch) counts, and an epoch never goes back. An
//!   equal one does not replace a primary; where several claim one from the start, none is written to.
//! * One timeline ahead is believed at once, further ahead only with a witness, or insistence while there is no primary: a single garbled
//!   answer cannot make every later primary look old.
//! * A write that was refused for the role, as a lost connection, ends the generation of the server's connections and has it asked; faults of
//!   older generations say nothing.
//! * A replica that fails is out at once, and back when it has applied what the primary had written by then.
//! * A primary is lost when it fails its probes for longer than it takes to restart it and no replica that can tell still receives from it. One that
//!   receives from another replica tells nothing about the primary, where it says so.
//! * One that leads failovers and has never seen the primary presumes who it is only if every server but one answers, as a replica on one line
//!   of the log that receives from nobody else; fence, lease and quorum are then as ever. Otherwise [`FailoverRefused::NeverSeen`] says so, and a
//!   person decides: promote one by hand, and it is followed, or bring the missing servers back.
//! * A read by a token goes to who has proven to have what it stands for. Where lines of the log have parted before it, it is
//!   refused; where that is not known, as well.
//! * A failover is led only with [`Promotion::Active`], by who has the right to; it fences first, and never promotes
//!   beside one that may take writes. Once a promotion has been asked for, the old epoch is over, whether it worked or not.
//! * A [`Lease`] is extended while a failover is under way, and a failover ends with it; no promotion is ordered to last longer.
//!
//! # What it is not
//!
//! A consensus. One process can be wrong about who is alive; what makes a failover safe is the fence, the quorum of synchronous standbys, or a
//! [`Lease`] that the primary itself depends on. And it trusts that no two promotions make the same timeline: PostgreSQL
//! ensures that where standbys see each other's history files, in a shared archive.
//!
//! It remembers nothing beyond its process. One that is started anew takes the newest primary that it sees for the primary, which a former one is if it
//! alone answers; and a former primary that the process before had fenced stays off until somebody starts it, and is then recovered.
//!
//! # Costs
//!
//! A step copies the snapshot if somebody else holds it, some hundred bytes a server. A selection allocates nothing: sets of
//! servers are one word, so there are 64 at most.

mod absent;
mod authority;
mod effect;
mod election;
mod failover;
mod input;
mod lease;
mod lineage;
mod local_lease;
mod members;
mod node;
mod operation;
mod primary;
mod probing;
mod repair;
mod selection;
mod settings;
mod snapshot;
mod step;

pub use effect::{Effect, Event, FailoverRefused};
pub use input::Input;
pub use lease::{AsyncLease, Grant, Lease, OldPrimary};
pub use local_lease::{LeaseTaken, LocalLease};
pub use node::{Fenced, Node, NodeId, NodeSet, NodeState};
pub use operation::{Action, OperationId, Outcome, ProbeId};
pub use selection::{SelectError, Selection, select};
pub use settings::{Authority, Promotion, Settings, SettingsBuilder, SettingsError, Synchronous};
pub use snapshot::{Phase, Topology};
pub use step::step;
