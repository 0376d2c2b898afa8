//! The cache, its strategies and its tiers as their users see them.

#[cfg(feature = "bloom")]
mod bad_days;
mod bounds;
mod callbacks;
mod expiry;
mod guard;
mod keys;
mod leases;
mod loads;
mod operations;
mod policy;
mod read_through;
mod read_through_bad_days;
mod read_through_batch;
mod read_through_model;
mod sizing;
#[path = "../support/mod.rs"]
mod support;
mod tagged;
mod tier;
mod tier_convergence;
mod tier_read_through;
mod write_back;
mod write_back_crashes;
mod write_through;
