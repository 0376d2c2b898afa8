//! What is known of a cluster, and what follows from it: no input or output, no clock, no lock.
//!
//! A [`Topology`] is a snapshot. [`step`] takes one, something that happened and the time, and answers the next one with
//! what is to be done. [`select`] says which servers a read may go to. Whoever drives it publishes the snapshot, does the
//! [`Effect`]s, and reports what came of them as [`Input`]s.

mod effect;
mod failover;
mod input;
mod lease;
mod lineage;
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
pub use lease::{AsyncLease, Grant, Lease};
pub use node::{Fenced, Node, NodeId, NodeSet, NodeState};
pub use operation::{Action, OperationId, Outcome, ProbeId};
pub use selection::{SelectError, Selection, select};
pub use settings::{
    Authority, Promotion, RecoveryOrder, Settings, SettingsBuilder, SettingsError, Synchronous,
};
pub use snapshot::{Phase, Topology};
pub use step::step;
