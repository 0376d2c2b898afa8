//! One primary and many replicas: the rules by themselves, pools and failovers over servers in memory, and recovery.

mod client;
mod failover;
mod journal;
mod never_seen;
mod pool;
mod pool_driver;
mod recovery;
mod recovery_report;
mod selection;
#[cfg(feature = "router")]
mod sharded;
mod sim;
mod stage;
mod staleness;
mod statement;
mod steps;
mod topology;
mod world;
