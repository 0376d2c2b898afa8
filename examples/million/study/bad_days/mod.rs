//! The failures that a cache is bought for, each without and with the means
//! against it: made up, in virtual time, and the same in every run.

mod avalanche;
mod outage;
mod penetration;
mod stampede;
mod world;

pub(crate) use avalanche::Avalanche;
pub(crate) use outage::{Outage, Spell};
pub(crate) use penetration::Penetration;
pub(crate) use stampede::Stampede;

use super::SEED;
use super::row::Row;
use crate::progress::Progress;
use crate::show::{count, duration, percent, wait};

/// All of them.
#[derive(Debug)]
pub(crate) struct BadDays {
    pub(crate) stampede: Stampede,
    pub(crate) avalanche: Avalanche,
    pub(crate) penetration: Penetration,
    pub(crate) outage: Outage,
}

impl BadDays {
    pub(crate) fn rows(&self) -> Vec<Row> {
        let Self {
            stampede,
            avalanche,
            penetration,
            outage,
        } = self;
        let mut rows = vec![
            Row {
                day: format!(
                    "Stampede: {} callers want one expired key",
                    count(stampede.callers)
                ),
                counted: "loads",
                without: count(stampede.plain),
                with: count(stampede.coalesced),
                means: "get_with",
            },
            Row {
                day: format!(
                    "Avalanche: {} entries of {} are inserted at once",
                    count(avalanche.entries),
                    duration(avalanche.time_to_live)
                ),
                counted: "expiries in the worst second",
                without: count(avalanche.plain),
                with: count(avalanche.spread),
                means: "jitter",
            },
            Row {
                day: format!(
                    "Penetration: {} requests for {} absent keys",
                    count(penetration.requests),
                    count(penetration.keys)
                ),
                counted: "queries",
                without: count(penetration.repeated.without),
                with: count(penetration.repeated.with),
                means: "negative_ttl",
            },
            Row {
                day: format!(
                    "Penetration: {} absent keys, each once",
                    count(penetration.requests)
                ),
                counted: "queries",
                without: count(penetration.fresh.without),
                with: count(penetration.fresh.with),
                means: "guard",
            },
        ];
        rows.extend(outage.rows());
        rows
    }

    pub(crate) fn measure(progress: &Progress, broken: &mut Vec<String>) -> Self {
        progress.stage("four bad days, without and with", 4);
        let stampede = Stampede::measure(broken);
        progress.step();
        let avalanche = Avalanche::measure(broken);
        progress.step();
        let penetration = Penetration::measure(broken);
        progress.step();
        let outage = Outage::measure(broken);
        progress.step();
        Self {
            stampede,
            avalanche,
            penetration,
            outage,
        }
    }
}

impl Outage {
    fn rows(&self) -> [Row; 4] {
        const SLOW: usize = 1;
        const DEAD: usize = 2;
        let row = |day, counted, at: usize, show: fn(&Spell) -> String, means| Row {
            day,
            counted,
            without: show(&self.plain[at]),
            with: show(&self.resilient[at]),
            means,
        };
        let takes = |at: usize| duration(self.plain[at].store.takes());
        let p99: fn(&Spell) -> String = |spell| wait(spell.p99);
        let errors: fn(&Spell) -> String = |spell| percent(spell.error_rate());
        let queries: fn(&Spell) -> String = |spell| count(spell.queries);
        let slow = format!("Slow store: a query takes {}", takes(SLOW));
        let dead = format!("Dead store: a query fails after {}", takes(DEAD));
        let again = String::new;
        [
            row(slow, "wait of the slowest 1 %", SLOW, p99, "soft_timeout"),
            row(dead, "errors", DEAD, errors, "stale_on_error"),
            row(
                again(),
                "wait of the slowest 1 %",
                DEAD,
                p99,
                "soft_timeout",
            ),
            row(
                again(),
                "queries to the dead store",
                DEAD,
                queries,
                "throttle",
            ),
        ]
    }
}
