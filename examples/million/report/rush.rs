//! The section about the ticket rush.

use super::chart::Curve;
use super::html::{escape, table};
use super::page::rows;
use super::timeline::{Timeline, timeline};
use crate::show::{count, duration};
use crate::study::Rush;
use crate::terminal::rush_facts;

pub(super) fn rush(rush: &Rush) -> String {
    let curve = |name: &str, class, waiting: &[u64]| Curve {
        name: name.into(),
        class,
        points: waiting
            .iter()
            .enumerate()
            .map(|(second, &waiting)| (second as f64, waiting as f64))
            .collect(),
    };
    let Rush { direct, queued } = rush;
    let curves = [
        curve("orders in the queue, answered", "adaptive", &queued.depth),
        curve("callers at the database", "bad", &direct.waiting),
    ];
    let most = direct.waiting.iter().copied().max().unwrap_or(0);
    let most = most.max(queued.deepest()).max(1);
    let drawing = timeline(
        &Timeline {
            curves: &curves,
            // Room for the names above the highest.
            most: (most as f64 * 1.15 / 4000.0).ceil() * 4000.0,
            show: |orders| count(orders as u64),
            every: 20,
            axis: "seconds",
            mark: Some((queued.cut_at.as_secs_f64(), "the power goes")),
        },
        "Callers who wait at the database, and orders that wait in the queue, in each second",
    );
    format!(
        "<section>\n<h2>A ticket rush</h2>\n\
         <p>For {} {} orders come a second, and the database books {}. “Without” everybody stands in one \
         line at the database, and gives up after {} seconds. With the queue a caller is answered once the \
         order is on the disk, and {} workers book at the rate of the database.</p>\n{}\
         <figure>{drawing}</figure>\n<p>{}</p>\n</section>\n",
        duration(Rush::SALE),
        count(Rush::ORDERS_A_SECOND),
        count(Rush::database()),
        Rush::TIMEOUT.as_secs(),
        Rush::CONNECTIONS,
        table("What the rush costs", &rows(&rush.rows())),
        escape(&rush_facts(rush)),
    )
}
