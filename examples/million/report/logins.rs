//! The section about the log-ins of the web tier.

use super::chart::Curve;
use super::html::{escape, table};
use super::timeline::{Timeline, timeline};
use crate::show::count;
use crate::study::{LoggedIn, Logins};
use crate::terminal::logins_facts;

pub(super) fn logins(logins: &Logins) -> String {
    let mut rows = logins.rows();
    for cell in rows.iter_mut().flatten() {
        *cell = escape(cell);
    }
    format!(
        "<section>\n<h2>A web server dies, and its log-ins</h2>\n\
         <p>{} servers, {} users with two browsers each, a request of each browser every {} seconds. In second {} a server \
         dies, in {} one is added, from {} on one is drained, and is stopped in {}; in {} every tenth user logs out everywhere. \
         Four ways to keep log-ins: sticky, in the memory of one server; the same, and a copy on a second one; in a store \
         that all servers ask; in signed tokens.</p>\n{}<figure>{}</figure>\n<p>{}</p>\n</section>\n",
        Logins::SERVERS,
        count(u64::from(Logins::USERS)),
        Logins::PAUSE.as_secs(),
        Logins::DIES.as_secs(),
        Logins::JOINS.as_secs(),
        Logins::DRAINS.as_secs(),
        Logins::STOPS.as_secs(),
        Logins::LEAVE.as_secs(),
        table("What becomes of log-ins", &rows),
        drawing(logins),
        escape(&logins_facts(logins)),
    )
}

fn drawing(logins: &Logins) -> String {
    let curves = [
        curve(
            "the other three",
            "adaptive",
            &[&logins.copied, &logins.shared, &logins.tokens],
        ),
        curve("without a copy", "bad", &[&logins.pinned]),
    ];
    let points = curves.iter().flat_map(|curve| &curve.points);
    let most = points.map(|point| point.1).fold(0.0, f64::max);
    let description =
        "Log-ins lost so far, without a copy and in the worst of the other three ways";
    let drawn = timeline(
        &Timeline {
            curves: &curves,
            most: (most * 1.15 / 400.0).ceil().max(1.0) * 400.0,
            show: |lost| count(lost as u64),
            every: 10,
            axis: "seconds",
            mark: Some((Logins::DIES.as_secs_f64(), "a server dies")),
        },
        description,
    );
    format!("<figcaption>{description}</figcaption>{drawn}")
}

/// What the worst of some ways has lost by the end of each second.
fn curve(name: &str, class: &'static str, ways: &[&LoggedIn]) -> Curve {
    let until = |second: usize| {
        let lost = ways
            .iter()
            .map(|seen| seen.lost.iter().take(second).sum::<u64>());
        lost.max().unwrap_or_default()
    };
    let seconds = 0..=Logins::LASTS.as_secs() as usize;
    Curve {
        name: name.into(),
        class,
        points: seconds
            .map(|second| (second as f64, until(second) as f64))
            .collect(),
    }
}
