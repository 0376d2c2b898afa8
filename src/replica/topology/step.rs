use std::sync::Arc;

use super::failover::Failover;
use super::lineage::Lineage;
use super::snapshot::Snapshot;
use super::{Effect, Input, NodeSet, Phase, Settings, Topology};
use crate::replica::Position;
use crate::time::Instant;

impl Topology {
    /// The servers of these settings, of which nothing is known, and what is to be done to get to know them.
    pub fn new(settings: Arc<Settings>, now: Instant) -> (Self, Vec<Effect>) {
        let snapshot = Snapshot {
            nodes: Vec::new(),
            phase: Phase::Discovering,
            primary: None,
            system: settings.system,
            epoch: None,
            floor: 0,
            lineage: Lineage::default(),
            head: Position(0),
            discovery_ends: now + settings.probe_timeout,
            failover: Failover::default(),
            debts: Vec::new(),
            numbers: 0,
            wake: Instant::NEVER,
            serving: NodeSet::default(),
            settings,
        };
        (Self(Arc::new(snapshot)), Vec::new())
    }
}

/// What becomes of a topology when this happens, and what is to be done then.
///
/// A pure function: the same arguments have the same answer. It reads no clock, and does nothing.
pub fn step(topology: Topology, input: Input, now: Instant) -> (Topology, Vec<Effect>) {
    let _ = (input, now);
    (topology, Vec::new())
}
