//! A load balancer.
mod autoscaler;
mod balancer;
mod builder;
mod chance;
mod core;
mod drain;
mod error;
mod estimate;
mod member;
mod pick;
mod policy;
mod prober;
mod roster;
mod settings;
mod slot;
mod stats;
mod sticky;
mod table;

pub use autoscaler::{Autoscaler, AutoscalerError};
pub use balancer::Balancer;
pub use builder::BalancerBuilder;
pub use drain::Drain;
pub use error::{BuildError, MemberError, PickError, UnknownMember};
pub use member::{Health, Member, MemberId, MemberStatus};
pub use pick::Pick;
pub use policy::Policy;
pub use prober::{Prober, ProberError, Probing};
pub use settings::Ejection;
pub use stats::BalancerStats;

#[cfg(all(test, tenfold_shuttle))]
mod models;
