//! A database that has outgrown one server: what a shard more costs, which
//! keys fill one shard alone, and what a celebrity does. Made up, in virtual
//! time, with the real router, and the same in every run.

mod caches;
mod celebrity;
mod dates;
mod growth;
mod handover;
mod loss;
mod server;
mod traffic;
mod waits;
mod watch;

pub(crate) use caches::Caches;
pub(crate) use celebrity::{Celebrity, Crowd};
pub(crate) use dates::{Dates, Written};
pub(crate) use growth::{Grown, Growth};
pub(crate) use loss::Loss;
pub(super) use watch::heaviest_share;

use super::SEED;
use super::row::Row;
use crate::progress::Progress;
use crate::show::{count, minutes, percent, wait};

/// All of it.
#[derive(Debug)]
pub(crate) struct Shards {
    pub(crate) growth: Growth,
    pub(crate) dates: Dates,
    pub(crate) loss: Loss,
    pub(crate) celebrity: Celebrity,
    pub(crate) caches: Caches,
}

impl Shards {
    pub(crate) fn measure(progress: &Progress, broken: &mut Vec<String>) -> Self {
        progress.stage("a fifth shard, by modulo and balanced", 2);
        let growth = Growth::measure(progress, broken);
        progress.stage("shards by date, and shards that die", 2);
        let dates = Dates::measure(broken);
        progress.step();
        let loss = Loss::measure(broken);
        progress.step();
        progress.stage("a celebrity: whole, copied, split; caches", 5);
        let celebrity = Celebrity::measure(progress, broken);
        let caches = Caches::measure(progress, broken);
        Self {
            growth,
            dates,
            loss,
            celebrity,
            caches,
        }
    }

    /// Growing, dates and losses.
    pub(crate) fn sharding_rows(&self) -> Vec<Row> {
        let Self {
            growth,
            dates,
            loss,
            ..
        } = self;
        let Growth { modulo, balanced } = growth;
        let again = String::new;
        vec![
            Row {
                day: format!(
                    "A fifth shard: {} users on four, {} requests a second",
                    count(Growth::USERS),
                    count(Growth::REQUESTS_A_SECOND)
                ),
                counted: "rows that move",
                without: count(modulo.moved()),
                with: count(balanced.moved()),
                means: "Policy::Balanced",
            },
            Row {
                day: again(),
                counted: "to copy them",
                without: minutes(modulo.copying),
                with: minutes(balanced.copying),
                means: "Policy::Balanced",
            },
            Row {
                day: again(),
                counted: "reads that miss their row meanwhile",
                without: count(modulo.lost_reads),
                with: count(balanced.lost_reads),
                means: "Policy::Balanced",
            },
            Row {
                day: format!(
                    "Shards by date: {} orders a second, all of today",
                    count(Dates::ORDERS_A_SECOND)
                ),
                counted: "of the writes on one shard of four",
                without: percent(dates.ranges.busiest()),
                with: percent(dates.hashed.busiest()),
                means: "a key that is hashed",
            },
            Row {
                day: again(),
                counted: "orders not taken",
                without: percent(dates.ranges.error_rate()),
                with: percent(dates.hashed.error_rate()),
                means: "a key that is hashed",
            },
            Row {
                day: format!("A shard of {} dies: a read for each user", Loss::SHARDS),
                counted: "reads without an answer",
                without: count(loss.shard.without),
                with: count(loss.shard.with),
                means: "replicas(2)",
            },
            Row {
                day: format!("A zone of {} dies: two copies of every row", Loss::ZONES),
                counted: "reads without an answer",
                without: count(loss.zone.without),
                with: count(loss.zone.with),
                means: "Spread::Require",
            },
        ]
    }

    /// The celebrity, on shards and on caches.
    pub(crate) fn celebrity_rows(&self) -> Vec<Row> {
        let Celebrity {
            whole,
            copied,
            split,
        } = &self.celebrity;
        let Caches { plain, bounded } = &self.caches;
        let times = |times: f64| format!("{times:.2}");
        let again = String::new;
        let share = Celebrity::SHARE * 100.0;
        let crowd = |day, counted, show: fn(&Crowd) -> String, with, means| Row {
            day,
            counted,
            without: show(whole),
            with: show(with),
            means,
        };
        vec![
            crowd(
                format!(
                    "Celebrity: {share:.0} % of {} requests a second read one key",
                    count(Celebrity::REQUESTS_A_SECOND)
                ),
                "times the mean for the fullest shard",
                |crowd| format!("{:.2}", crowd.max_over_mean()),
                copied,
                COPIES,
            ),
            crowd(again(), P99, |crowd| wait(crowd.p99), copied, COPIES),
            crowd(
                again(),
                "requests not answered",
                |crowd| percent(crowd.error_rate()),
                copied,
                COPIES,
            ),
            crowd(
                format!("Celebrity: {share:.0} % of the requests write to one key"),
                P99,
                |crowd| wait(crowd.p99),
                split,
                PARTS,
            ),
            Row {
                day: format!(
                    "Celebrity: {share:.0} % of {} requests a second, {} caches",
                    count(Caches::REQUESTS_A_SECOND),
                    Caches::NODES
                ),
                counted: "times the mean for the fullest cache",
                without: times(plain.max_over_mean),
                with: times(bounded.max_over_mean),
                means: "route_bounded",
            },
            Row {
                day: again(),
                counted: P99,
                without: wait(plain.p99),
                with: wait(bounded.p99),
                means: "route_bounded",
            },
            Row {
                day: again(),
                counted: "requests not answered",
                without: percent(plain.error_rate()),
                with: percent(bounded.error_rate()),
                means: "route_bounded",
            },
        ]
    }
}

const P99: &str = "wait of the slowest 1 %";
const COPIES: &str = "HotKeys, spread_over";
const PARTS: &str = "the same, in parts";
