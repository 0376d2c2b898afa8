//! A ticket rush: for some seconds far more orders come than the database takes. Straight
//! into it, and through the real queue, in virtual time and the same in every run.

#[cfg(all(feature = "queue", feature = "test-util"))]
mod database;
mod direct;
#[cfg(all(feature = "queue", feature = "test-util"))]
mod shop;

use std::time::Duration;

pub(crate) use direct::Direct;

use super::row::Row;
use crate::progress::Progress;
use crate::show::{count, percent, wait};

/// All of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Rush {
    pub(crate) direct: Direct,
    pub(crate) queued: Queued,
}

/// What became of the orders that went through the queue.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct Queued {
    /// Orders that were confirmed: all of them, in the end.
    pub(crate) confirmed: u64,
    /// Answers "come again in a moment", since the queue was full.
    pub(crate) turned_away: u64,
    /// Confirmed, and neither booked nor with the dead letters.
    pub(crate) lost: u64,
    /// Handed to the database more than once, and booked once.
    pub(crate) again: u64,
    /// Booked after an order that was published later.
    pub(crate) late: u64,
    /// The most orders that the database got in any second.
    pub(crate) busiest: u64,
    /// Orders that nobody can book.
    pub(crate) dead: u64,
    /// From the confirmation to the booking.
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Orders that waited, in each second.
    pub(crate) depth: Vec<u64>,
    /// When the power went, and how many confirmed orders waited then.
    pub(crate) cut_at: Duration,
    pub(crate) waiting_at_cut: u64,
    /// How often the disk was synced.
    pub(crate) syncs: u64,
}

impl Queued {
    pub(crate) fn deepest(&self) -> u64 {
        self.depth.iter().copied().max().unwrap_or(0)
    }
}

impl Rush {
    /// Orders a second while the sale is on, how long that is, and before and after.
    pub(crate) const ORDERS_A_SECOND: u64 = 100_000;
    pub(crate) const SALE: Duration = Duration::from_secs(1);
    pub(crate) const QUIET_ORDERS_A_SECOND: u64 = 50;
    /// Orders that the database takes at once, and how long each takes.
    pub(crate) const CONNECTIONS: usize = 10;
    pub(crate) const ORDER_TAKES: Duration = Duration::from_millis(10);
    /// How long a caller waits before it gives up.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
    /// Orders that may wait in the queue.
    pub(crate) const MAX_PENDING: u64 = 25_000;
    /// When whoever was turned away comes again.
    pub(crate) const COME_AGAIN: Duration = Duration::from_secs(5);
    /// The power goes in the middle of the sale, half a second after the last flush; later a
    /// worker dies.
    pub(crate) const POWER_GOES: Duration = Duration::from_millis(2500);
    pub(crate) const WORKER_DIES: Duration = Duration::from_secs(20);
    /// Of a lease, after which another worker gets what a dead one had.
    pub(crate) const LEASE: Duration = Duration::from_secs(15);

    /// Orders a second that the database takes.
    pub(crate) fn database() -> u64 {
        Self::CONNECTIONS as u64 * 1000 / Self::ORDER_TAKES.as_millis() as u64
    }

    /// Orders that come in each step, until the last has come.
    fn arrivals() -> impl Iterator<Item = u64> {
        let steps = |time: Duration| (time.as_millis() / STEP.as_millis()) as u64;
        let (quiet, sale) = (steps(Duration::from_secs(2)), steps(Self::SALE));
        let per_second = steps(Duration::from_secs(1));
        // Whole orders, as evenly as they go.
        (0..2 * quiet + sale).map(move |step| {
            let is_on = (quiet..quiet + sale).contains(&step);
            let rate = if is_on {
                Self::ORDERS_A_SECOND
            } else {
                Self::QUIET_ORDERS_A_SECOND
            };
            rate * (step + 1) / per_second - rate * step / per_second
        })
    }

    /// `None` without the features that it needs.
    #[cfg(all(feature = "queue", feature = "test-util"))]
    pub(super) fn measure(progress: &Progress, broken: &mut Vec<String>) -> Option<Self> {
        progress.stage("a ticket rush, without and with a queue", 2);
        let direct = Direct::run();
        progress.step();
        let queued = shop::Shop::run(broken);
        progress.step();
        match queued {
            Ok(queued) => Some(Self { direct, queued }),
            Err(error) => {
                broken.push(format!("the queue of the ticket rush: {error}"));
                None
            }
        }
    }

    #[cfg(not(all(feature = "queue", feature = "test-util")))]
    pub(super) fn measure(_: &Progress, _: &mut Vec<String>) -> Option<Self> {
        None
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let Self { direct, queued } = self;
        let again = String::new;
        vec![
            Row {
                day: format!(
                    "A ticket rush: {} orders a second for {} s, {} booked a second",
                    count(Self::ORDERS_A_SECOND),
                    Self::SALE.as_secs(),
                    count(Self::database()),
                ),
                counted: "callers who time out",
                without: percent(direct.timed_out as f64 / direct.orders as f64),
                with: percent(0.0),
                means: "Queue::try_publish",
            },
            Row {
                day: again(),
                counted: "orders lost, or of which their callers know nothing",
                without: count(direct.timed_out),
                with: count(queued.lost),
                means: "Durability::Power",
            },
            Row {
                day: again(),
                counted: "from the answer to the booking, half of the orders",
                without: "no answer".to_owned(),
                with: wait(queued.p50),
                means: "Consumer::recv",
            },
            Row {
                day: again(),
                counted: "the same, 99 of 100",
                without: "no answer".to_owned(),
                with: wait(queued.p99),
                means: "Consumer::recv",
            },
            Row {
                day: format!(
                    "The power goes with {} confirmed orders waiting",
                    count(queued.waiting_at_cut)
                ),
                counted: "of them are gone, against a channel in memory",
                without: count(queued.waiting_at_cut),
                with: count(queued.lost),
                means: "Queue::open",
            },
        ]
    }
}

/// Time goes in steps of this.
const STEP: Duration = Duration::from_millis(10);

#[cfg(all(test, feature = "queue", feature = "test-util"))]
mod tests {
    use super::*;

    #[test]
    fn the_queue_loses_nothing_where_the_database_alone_turns_most_away() {
        let mut broken = Vec::new();
        let rush = Rush::measure(&Progress::silent(), &mut broken).unwrap();
        assert!(broken.is_empty(), "{broken:?}");
        let Rush { direct, queued } = &rush;
        assert!(direct.timed_out > direct.orders * 8 / 10, "{direct:?}");
        assert_eq!((queued.lost, queued.dead), (0, 1), "{queued:?}");
        assert_eq!(queued.confirmed, direct.orders);
        // The one whose worker died; and it is no easy rush, the database has all it takes.
        assert_eq!((queued.late, queued.busiest), (1, Rush::database()));
        assert!(queued.waiting_at_cut > 1000 * Rush::CONNECTIONS as u64 && queued.turned_away > 0);
        let arrivals: u64 = Rush::arrivals().sum();
        assert_eq!(arrivals, direct.orders);
        assert!(Rush::ORDERS_A_SECOND >= 10 * Rush::database());
    }

    #[test]
    fn it_is_the_same_in_every_run() {
        let run = || Rush::measure(&Progress::silent(), &mut Vec::new());
        assert_eq!(run(), run());
    }
}
