//! Who is measured against whom.

use super::tasks::{Lend, one_task};
use super::{ours, rivals, sqlx};

/// A way to have a connection lent, and who has it.
pub(super) struct Contest {
    pub(super) workload: &'static str,
    /// Of instructions.
    pub(super) goal: f64,
    /// The least that it can take.
    pub(super) floor: &'static Contender,
    /// Ours is the first.
    pub(super) contenders: &'static [Contender],
}

pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) make: fn() -> Lend,
}

/// A list behind a lock.
const LIST: Contender = Contender {
    name: "floor",
    make: rivals::floor,
};

/// A connection of the one pool.
const POOL: Contender = Contender {
    name: "floor",
    make: ours::threads,
};

/// A choice of the balancer, and a connection of the pool that was chosen.
const CHOICE: Contender = Contender {
    name: "floor",
    make: ours::by_hand,
};

pub(super) const CONTESTS: [Contest; 6] = [
    Contest {
        workload: "a pool, threads",
        goal: BARE,
        floor: &LIST,
        contenders: &[
            Contender {
                name: "tenfold",
                make: ours::threads,
            },
            Contender {
                name: "r2d2",
                make: rivals::r2d2,
            },
        ],
    },
    Contest {
        workload: "a pool, tasks",
        goal: BARE,
        floor: &LIST,
        contenders: &[
            Contender {
                name: "tenfold",
                make: || one_task(ours::tasks),
            },
            Contender {
                name: "bb8",
                make: || one_task(rivals::bb8),
            },
            Contender {
                name: "deadpool",
                make: || one_task(rivals::deadpool),
            },
            Contender {
                name: "deadpool, 30 s at most",
                make: || one_task(rivals::deadpool_in_time),
            },
            Contender {
                name: "mobc",
                make: || one_task(rivals::mobc),
            },
            Contender {
                name: "sqlx",
                make: || one_task(sqlx::pool),
            },
        ],
    },
    Contest {
        workload: "a read, of 8 replicas",
        goal: ROUTED,
        floor: &CHOICE,
        contenders: &[Contender {
            name: "tenfold",
            make: ours::replica,
        }],
    },
    Contest {
        workload: "a read by a token that all of 8 have",
        goal: ROUTED,
        floor: &CHOICE,
        contenders: &[Contender {
            name: "tenfold",
            make: ours::by_old_token,
        }],
    },
    Contest {
        workload: "a read by a token that half of 8 have",
        goal: ROUTED,
        floor: &CHOICE,
        contenders: &[Contender {
            name: "tenfold",
            make: ours::by_new_token,
        }],
    },
    Contest {
        workload: "a write",
        goal: ROUTED,
        floor: &POOL,
        contenders: &[Contender {
            name: "tenfold",
            make: ours::write,
        }],
    },
];

/// A third of what r2d2 was found to take.
const BARE: f64 = 181.0;
const ROUTED: f64 = 200.0;
