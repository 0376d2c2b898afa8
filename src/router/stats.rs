use std::fmt;

use crate::sync::atomic::{AtomicU64, Ordering};

/// What a [`Router`](super::Router) answers by, and how often that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterStats {
    /// The version in force.
    pub epoch: u64,
    /// The name of its policy.
    pub policy: &'static str,
    /// Its nodes.
    pub nodes: usize,
    /// Its slots; zero if the policy has none.
    pub slots: u32,
    /// How many copies each key has.
    pub replicas: usize,
    /// Bytes that are read when keys are looked up, in the topology and in the
    /// router's own copies of its table. Nodes are not among them.
    pub table_bytes: usize,
    /// How often a topology was put in force after the first.
    pub swaps: u64,
    /// How often one was refused because it was not later than what was in force.
    pub refused: u64,
}

impl fmt::Display for RouterStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            epoch,
            policy,
            nodes,
            slots,
            replicas,
            table_bytes,
            swaps,
            refused,
        } = self;
        write!(
            f,
            "epoch {epoch}: {nodes} nodes, {policy}, {slots} slots, {replicas} copies; \
             {table_bytes} bytes of tables; {swaps} swaps, {refused} refused"
        )
    }
}

/// What a router counts.
pub(super) struct Counts {
    swaps: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            swaps: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn swap(&self, done: bool) {
        let count = if done { &self.swaps } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Swaps done, and swaps refused.
    pub(super) fn get(&self) -> (u64, u64) {
        let [swaps, refused] = [&self.swaps, &self.refused].map(|n| n.load(Ordering::Relaxed));
        (swaps, refused)
    }
}
