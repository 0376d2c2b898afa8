//! One database becomes four, a primary and three replicas: what callers see when a replica, all of them or the primary dies, and
//! whether they see what they have just written. By lists in a configuration, and by the real pool, which leads the failover
//! itself. In virtual time, and the same in every run.

mod cluster;
mod day;
mod tasks;

use std::error::Error;
use std::time::Duration;

use super::row::Row;
use crate::progress::Progress;
use crate::show::{count, percent, wait};
pub(crate) use day::Seen;
use day::{Day, Means, Trouble};

/// All of it.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct Replicas {
    pub(crate) replica_dies: Both,
    pub(crate) all_die: Both,
    pub(crate) primary_dies: Both,
    /// It dies with its disk, and every write was acknowledged by a replica as well.
    pub(crate) disk_dies: Seen,
    pub(crate) own_writes: Both,
}

/// The same day by lists and by the pool.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct Both {
    pub(crate) without: Seen,
    pub(crate) with: Seen,
}

impl Replicas {
    pub(crate) const REPLICAS: usize = 3;
    /// Of each server, and what a query takes on average.
    pub(crate) const CORES: usize = 4;
    pub(crate) const TAKES: Duration = Duration::from_millis(4);
    /// How far behind replicas are.
    pub(crate) const LAG: Duration = Duration::from_millis(200);
    /// To each server, with the pool.
    pub(crate) const CONNECTIONS: usize = 8;
    pub(crate) const READS_A_SECOND: u64 = 1500;
    pub(crate) const WRITES_A_SECOND: u64 = 150;
    pub(crate) const LASTS: Duration = Duration::from_secs(60);
    /// How long a caller waits before it gives up, and how long for a connection to read.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
    pub(crate) const READ_WAITS: Duration = Duration::from_millis(250);
    /// Of the day on which the primary dies; there is less to do on it, and it is longer.
    pub(crate) const QUIET_A_SECOND: u64 = 100;
    pub(crate) const LONG: Duration = Duration::from_secs(300);
    pub(crate) const DIES: Duration = Duration::from_secs(30);
    pub(crate) const RETURNS: Duration = Duration::from_secs(240);
    pub(crate) const PROMOTION_TAKES: Duration = Duration::from_millis(300);
    /// Until somebody has been woken, has promoted a replica and edited the configuration of all processes but one.
    pub(crate) const EDITED_AFTER: Duration = Duration::from_secs(180);
    pub(crate) const PROCESSES: usize = 4;

    /// A synchronous write has one until a replica has it.
    fn connections(synchronous: bool) -> usize {
        Self::CONNECTIONS * if synchronous { 8 } else { 1 }
    }

    pub(super) fn measure(progress: &Progress, broken: &mut Vec<String>) -> Self {
        progress.stage("one database becomes four", 5);
        let replicas = Self::of_days(progress).unwrap_or_else(|error| {
            broken.push(format!("the replicas: {error}"));
            Self::default()
        });
        replicas.check(broken);
        replicas
    }

    fn of_days(progress: &Progress) -> Result<Self, Box<dyn Error>> {
        let both = |trouble| {
            let both = Both {
                without: day(trouble, Means::Lists).run()?,
                with: day(trouble, POOL).run()?,
            };
            progress.step();
            Ok::<_, Box<dyn Error>>(both)
        };
        let replicas = Self {
            replica_dies: both(Trouble::Replica)?,
            all_die: both(Trouble::Replicas)?,
            primary_dies: both(Trouble::Primary { disk: true })?,
            disk_dies: day(Trouble::Primary { disk: false }, SYNCHRONOUS).run()?,
            own_writes: both(Trouble::None)?,
        };
        progress.step();
        Ok(replicas)
    }

    /// What the pool promises.
    fn check(&self, broken: &mut Vec<String>) {
        let mut expect = |holds: bool, found: String| {
            if !holds {
                broken.push(found);
            }
        };
        let (one, all) = (&self.replica_dies.with, &self.all_die.with);
        let failed = one.failed_reads + one.failed_writes;
        expect(
            failed == 0,
            format!("a replica died, and {failed} calls failed"),
        );
        expect(
            all.failed_writes == 0,
            format!("all replicas died, and {} writes failed", all.failed_writes),
        );
        let p99 = all.p99_write;
        expect(
            p99 <= Self::WRITES_WAIT,
            format!("all replicas died, and 99 of 100 writes took up to {p99:?}"),
        );
        for (what, seen, synchronous) in [
            ("the primary died", &self.primary_dies.with, false),
            ("the primary died with its disk", &self.disk_dies, true),
        ] {
            // What was under way is nobody's to repeat.
            let (failed, under_way) = (seen.failed_writes, seen.uncertain);
            expect(
                failed == under_way && under_way <= Self::connections(synchronous) as u64,
                format!("{what}, and {failed} writes failed, {under_way} of them under way"),
            );
            expect(
                seen.lost + seen.misplaced == 0,
                format!(
                    "{what}: {} acknowledged writes lost, {} taken by a former primary",
                    seen.lost, seen.misplaced
                ),
            );
        }
        let own = &self.own_writes.with;
        expect(
            own.stale + own.failed_reads == 0,
            format!(
                "of {} reads of one's own write, {} were stale and {} failed",
                own.own_reads, own.stale, own.failed_reads
            ),
        );
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let again = String::new;
        let failed = |seen: &Seen| count(seen.failed_reads + seen.failed_writes);
        let (dead, primary) = (&self.all_die, &self.primary_dies);
        vec![
            Row {
                day: format!("A replica dies: one of {}", Self::REPLICAS),
                counted: "requests that fail",
                without: failed(&self.replica_dies.without),
                with: failed(&self.replica_dies.with),
                means: "ReplicaPool::run",
            },
            Row {
                day: "All replicas die, and reads fall to the primary".into(),
                counted: "writes that fail",
                without: count(dead.without.failed_writes),
                with: count(dead.with.failed_writes),
                means: "primary_read_share",
            },
            Row {
                day: again(),
                counted: "99 of 100 writes take up to, of those that are done",
                without: wait(dead.without.p99_write),
                with: wait(dead.with.p99_write),
                means: "primary_read_share",
            },
            Row {
                day: again(),
                counted: "reads that fail: the primary alone is too little for them",
                without: percent(dead.without.failed_reads as f64 / dead.without.reads as f64),
                with: percent(dead.with.failed_reads as f64 / dead.with.reads as f64),
                means: "Overloaded",
            },
            Row {
                day: format!(
                    "The primary dies; by hand, a replica is promoted after {} minutes",
                    Self::EDITED_AFTER.as_secs() / 60
                ),
                counted: "writes that fail",
                without: count(primary.without.failed_writes),
                with: count(primary.with.failed_writes),
                means: "Promotion::Active",
            },
            Row {
                day: again(),
                counted: "acknowledged writes lost",
                without: count(primary.without.lost),
                with: count(primary.with.lost),
                means: "Promoter::salvage",
            },
            Row {
                day: again(),
                counted: "the same, if its disk dies with it",
                without: count(primary.without.lost),
                with: count(self.disk_dies.lost),
                means: "Synchronous",
            },
            Row {
                day: "The former primary returns, and one process has the old configuration".into(),
                counted: "writes that it takes, and nobody finds again",
                without: count(primary.without.misplaced),
                with: count(primary.with.misplaced),
                means: "Epoch",
            },
            Row {
                day: format!(
                    "Whoever writes reads it at once; replicas are {} behind",
                    wait(Self::LAG)
                ),
                counted: "reads that do not show it",
                without: count(self.own_writes.without.stale),
                with: count(self.own_writes.with.stale),
                means: "CausalToken",
            },
        ]
    }

    /// Of 99 of 100, when there is no replica.
    const WRITES_WAIT: Duration = Duration::from_millis(50);
}

fn day(trouble: Trouble, means: Means) -> Day {
    let (reads, writes, lasts) = match trouble {
        Trouble::Primary { .. } => (
            Replicas::QUIET_A_SECOND,
            Replicas::QUIET_A_SECOND,
            Replicas::LONG,
        ),
        _ => (
            Replicas::READS_A_SECOND,
            Replicas::WRITES_A_SECOND,
            Replicas::LASTS,
        ),
    };
    Day {
        reads_a_second: reads,
        writes_a_second: writes,
        lasts,
        trouble,
        means,
    }
}

const POOL: Means = Means::Pool { synchronous: false };
const SYNCHRONOUS: Means = Means::Pool { synchronous: true };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_dies_callers_hardly_see_it() {
        let mut broken = Vec::new();
        let replicas = Replicas::measure(&Progress::silent(), &mut broken);
        assert!(broken.is_empty(), "{broken:?}\n{replicas:#?}");
        // What the means are measured against is as bad as it should be.
        assert!(replicas.replica_dies.without.failed_reads > 9000);
        assert!(replicas.all_die.without.failed_writes > 1000);
        let by_hand = &replicas.primary_dies.without;
        assert!(by_hand.failed_writes > 18_000 && by_hand.lost > 10 && by_hand.misplaced > 1000);
        assert!(replicas.own_writes.without.stale > 4000);
        // Most reads of one's own write need no primary once replicas have it.
        let own = &replicas.own_writes.with;
        assert!(own.own_on_primary < own.own_reads);
    }

    #[test]
    fn it_is_the_same_in_every_run() {
        let run = || {
            let mut day = day(Trouble::Replicas, POOL);
            day.lasts /= 5;
            day.run().unwrap()
        };
        assert_eq!(run(), run());
    }
}
