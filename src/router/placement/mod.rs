//! The policies as compilers: each turns nodes into an owner per slot. The
//! functions here are the algorithms by themselves, for those who must agree
//! with another program.

mod balanced;
mod directory;
mod jump;
mod ketama;
mod maglev;
mod range_split;
mod ranges;
mod redis;
mod rendezvous;
mod ring;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::error::TopologyError;
use super::policy::Policy;

pub use directory::Directory;
pub use jump::jump;
pub use ketama::Ketama;
pub use maglev::maglev;
pub use range_split::{RangePiece, RangeSplit};
pub use ranges::Ranges;
pub use redis::redis_slot;

pub(super) use ketama::Ring;
#[cfg(feature = "serde")]
pub(super) use ranges::hex;
pub(super) use ranges::show;
pub(super) use redis::REDIS_SLOTS;

/// A node as policies see it. They are given in the order of names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) id: u16,
    pub(super) name: &'a str,
    pub(super) weight: u64,
}

/// What an earlier topology leaves to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// The owner of each slot, if the policy keeps them.
    pub(super) owners: Vec<u16>,
    /// The bucket numbers of `Jump`.
    pub(super) buckets: Vec<Option<u16>>,
    /// Whether the owners stay as they are, even if shares are not even.
    pub(super) settled: bool,
}

/// Where keys go.
#[derive(Debug)]
pub(super) enum Placed {
    /// By the top of the key's hash.
    Slots(Arc<[u16]>),
    /// By the slot that Redis would give it.
    Redis(Arc<[u16]>),
    /// By the order of keys: the owner of each range.
    Ranges(Ranges, Arc<[u16]>),
    /// By the next point on a ring.
    Ring(Ring),
}

impl Placed {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Slots(owners) | Self::Redis(owners) => size_of_val(&**owners),
            Self::Ranges(ranges, owners) => ranges.bytes() + size_of_val(&**owners),
            Self::Ring(ring) => ring.bytes(),
        }
    }
}

/// Compiles a policy. `slots` is what [`slots`] answered; the history's owners
/// are as many, and its buckets are filled in.
pub(super) fn compile(
    policy: &Policy,
    slots: u32,
    members: &[Member<'_>],
    history: &mut History,
) -> Result<Placed, TopologyError> {
    let balanced = |owners: &[u16]| match owners {
        [] => balanced::fresh(slots, members),
        owners if history.settled => owners.to_vec(),
        owners => balanced::rebalanced(owners, members),
    };
    Ok(match policy {
        Policy::Balanced => Placed::Slots(balanced(&history.owners).into()),
        Policy::Rendezvous => Placed::Slots(rendezvous::owners(slots, members).into()),
        Policy::Ring { vnodes } => {
            limit_points(ring::points(*vnodes, members))?;
            Placed::Slots(ring::owners(slots, *vnodes, members).into())
        }
        Policy::Jump => {
            unweighted(policy, members)?;
            history.buckets = jump::buckets(&history.buckets, members);
            Placed::Slots(jump::owners(slots, &history.buckets).into())
        }
        Policy::Maglev => Placed::Slots(maglev::owners(slots, members).into()),
        Policy::Modulo => {
            unweighted(policy, members)?;
            let owner = |slot: u32| members[slot as usize % members.len()].id;
            Placed::Slots((0..slots).map(owner).collect())
        }
        Policy::Range(ranges) => Placed::Ranges(ranges.clone(), ranges.owners(members)?.into()),
        Policy::Directory(directory) => Placed::Slots(directory.owners(slots, members)?.into()),
        Policy::RedisCluster(Some(directory)) => {
            Placed::Redis(directory.owners(slots, members)?.into())
        }
        Policy::RedisCluster(None) => Placed::Redis(balanced(&history.owners).into()),
        Policy::Ketama(flavour) => {
            if *flavour == Ketama::Libmemcached {
                unweighted(policy, members)?;
            }
            limit_points(flavour.points(members))?;
            Placed::Ring(Ring::new(*flavour, members))
        }
    })
}

/// How many slots a topology has: what was asked for, if the policy can use it, or
/// a number that suits. Policies that look keys up otherwise have none.
pub(super) fn slots(
    policy: &Policy,
    asked: Option<u32>,
    nodes: usize,
) -> Result<u32, TopologyError> {
    // With a hundred slots a node, rounding to a slot is 1 % at most.
    let enough = 100 * nodes as u32;
    let (expected, suits): (_, fn(u32) -> bool) = match policy {
        Policy::Range(_) | Policy::Ketama(_) => ("no", |_| false),
        Policy::RedisCluster(_) => ("16384", |slots| slots == REDIS_SLOTS),
        Policy::Maglev => ("a prime number, up to 2^20, of", |slots| {
            slots <= MAX_SLOTS && maglev::is_prime(slots)
        }),
        _ => ("a power of two, up to 2^20, of", |slots| {
            slots <= MAX_SLOTS && slots.is_power_of_two()
        }),
    };
    let slots = match (asked, policy) {
        (Some(found), _) if !suits(found) => {
            return Err(TopologyError::Slots {
                policy: policy.name(),
                expected,
                found,
            });
        }
        (Some(asked), _) => asked,
        (None, Policy::Range(_) | Policy::Ketama(_)) => return Ok(0),
        (None, Policy::RedisCluster(_)) => REDIS_SLOTS,
        (None, Policy::Maglev) => maglev::prime_from(enough.clamp(1 << 16, MAX_SLOTS - 3)),
        (None, Policy::Balanced | Policy::Directory(_) | Policy::Modulo) => {
            enough.next_power_of_two().clamp(1 << 14, MAX_SLOTS)
        }
        // Dealt out at random, so more of them even it out.
        (None, _) => enough.next_power_of_two().clamp(1 << 16, MAX_SLOTS),
    };
    if nodes > slots as usize {
        return Err(TopologyError::FewerSlotsThanNodes { nodes, slots });
    }
    Ok(slots)
}

fn unweighted(policy: &Policy, members: &[Member<'_>]) -> Result<(), TopologyError> {
    if members
        .windows(2)
        .all(|pair| pair[0].weight == pair[1].weight)
    {
        return Ok(());
    }
    Err(TopologyError::Unweighted {
        policy: policy.name(),
    })
}

fn limit_points(found: u64) -> Result<(), TopologyError> {
    if (1..=MAX_POINTS).contains(&found) {
        return Ok(());
    }
    Err(TopologyError::Points {
        found,
        max: MAX_POINTS,
    })
}

fn id_of(members: &[Member<'_>], name: &str) -> Result<u16, TopologyError> {
    let found = members.binary_search_by(|member| member.name.cmp(name));
    found
        .map(|index| members[index].id)
        .map_err(|_| TopologyError::UnknownNode { name: name.into() })
}

/// Two megabytes of table.
pub(super) const MAX_SLOTS: u32 = 1 << 20;

/// The points of a ring, all nodes together: 32 MiB while it is built.
const MAX_POINTS: u64 = 1 << 21;
