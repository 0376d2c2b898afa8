use std::fmt;

use super::placement::{Directory, Ketama, Ranges};

/// How nodes come by their slots. Whatever the policy, it is compiled into a table
/// once, and a look-up is one load from it.
///
/// | Policy | Moves when a node comes or goes | Weights | Remembers |
/// |---|---|---|---|
/// | `Balanced` | as little as can be | yes, to a slot | who owns what |
/// | `Rendezvous` | as little as can be | yes, on average | nothing |
/// | `Ring` | as little as can be | yes, on average | nothing |
/// | `Jump` | as little as can be | no | bucket numbers |
/// | `Maglev` | a little more than that | yes, nearly to a slot | nothing |
/// | `Modulo` | nearly everything | no | nothing |
/// | `Range`, `Directory` | what you say | – | what you said |
/// | `RedisCluster` | as little as can be | yes, to a slot | who owns what |
/// | `Ketama` | as little as can be, `LibmemcachedWeighted` a little more | see [`Ketama`] | nothing |
///
/// What remembers nothing is *history-free*: any process that knows the same nodes
/// and the same number of slots has the same table, whatever came before. A policy
/// that remembers needs its topology handed on, as [bytes](super::Topology::to_bytes).
///
/// Shares are measured in slots. `Balanced`, `RedisCluster` and `Modulo` give every
/// node its share of them to within one, and so does `Maglev` if all weigh the
/// same (otherwise to within one for each other node); `Rendezvous` and `Jump` deal them
/// out at random, so that with 650 slots a node, shares differ by about 4 %
/// (one standard deviation), and `Ring` by 1 / √`vnodes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Everyone gets slots by weight, and keeps as many as it may through every
    /// change. For data, and whatever else is dear to move.
    #[default]
    Balanced,
    /// Weighted rendezvous hashing, also called highest random weight. For caches, and
    /// where nobody hands topologies on.
    Rendezvous,
    /// A ring of virtual nodes, so many per unit of weight.
    Ring {
        /// Points per unit of weight; 160 is usual.
        vnodes: u32,
    },
    /// Jump consistent hash over slots.
    Jump,
    /// Google's load balancer's table; slots are a prime number.
    Maglev,
    /// Slot modulo nodes, nodes in the order of names. Here to show what it costs: from four
    /// nodes to five it moves 80 % of all keys.
    Modulo,
    /// Ordered ranges of keys.
    Range(Ranges),
    /// Ranges of slots, assigned by hand.
    Directory(Directory),
    /// The slots of a Redis Cluster, by CRC16 and with hash tags: spread
    /// like `Balanced`, or as the cluster says.
    RedisCluster(Option<Directory>),
    /// The ring of a program that memcached clients or nginx agree with.
    Ketama(Ketama),
}

impl Policy {
    /// Whether slots stay with their owners when there are twice as many of them.
    pub(super) fn keeps_owners(&self) -> bool {
        matches!(self, Self::Balanced)
    }

    /// Whether the table follows from nodes, slots and policy alone.
    pub fn is_history_free(&self) -> bool {
        !matches!(self, Self::Balanced | Self::Jump | Self::RedisCluster(None))
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Rendezvous => "rendezvous",
            Self::Ring { .. } => "ring",
            Self::Jump => "jump",
            Self::Maglev => "maglev",
            Self::Modulo => "modulo",
            Self::Range(_) => "range",
            Self::Directory(_) => "directory",
            Self::RedisCluster(_) => "redis-cluster",
            Self::Ketama(Ketama::Nginx) => "ketama-nginx",
            Self::Ketama(Ketama::Libmemcached) => "ketama-libmemcached",
            Self::Ketama(Ketama::LibmemcachedWeighted) => "ketama-libmemcached-weighted",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
