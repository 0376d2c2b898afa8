//! The section about the servers and their balancer.

use super::bars::{self, Bar, Panel};
use super::chart::Curve;
use super::html::{escape, table};
use super::page::rows;
use super::timeline::{Timeline, timeline};
use crate::show::{count, wait};
use crate::study::{Second, Seen, Servers};
use crate::terminal::servers_facts;

pub(super) fn servers(servers: &Servers) -> String {
    format!(
        "<section>\n<h2>One server becomes ten</h2>\n\
         <p>Every server has four workers, and takes {} for a request on average. A bar is how many requests a second \
         so many servers carry with 99 of 100 answered within {}, behind the real balancer.</p>\n\
         <figure>{}</figure>\n<p>{}</p>\n</section>\n\
         <section>\n<h2>One of the ten goes bad</h2>\n\
         <p>{} requests a second for {} seconds; from second {} to second {} something is wrong. “Without” is round \
         robin, which knows nobody’s health.</p>\n{}\
         <figure>{}</figure>\n<figure>{}</figure>\n</section>\n",
        wait(Servers::TAKES),
        wait(Servers::BOUND),
        growth(servers),
        escape(&servers_facts(servers)),
        count(Servers::REQUESTS_A_SECOND as u64),
        Servers::LASTS.as_secs(),
        Servers::LASTS.as_secs() / 3,
        Servers::LASTS.as_secs() * 2 / 3,
        table("What callers see of it", &rows(&servers.rows())),
        slow(servers),
        black_hole(servers),
    )
}

fn growth(servers: &Servers) -> String {
    let bar = |(servers, carries): &(usize, f64)| Bar {
        name: match servers {
            1 => "1 server".into(),
            more => format!("{more} servers"),
        },
        parts: vec![(*carries, "requests a second", "adaptive")],
    };
    let panel = Panel {
        title: "requests a second".into(),
        bars: servers.growth.iter().map(bar).collect(),
    };
    bars::panels(&[panel], None, "What so many servers carry")
}

fn slow(servers: &Servers) -> String {
    let seconds = |second: &Second| second.p99.as_secs_f64();
    let curves = [
        curve("adaptive", "adaptive", &servers.slow.with, seconds),
        curve("round robin", "bad", &servers.slow.without, seconds),
    ];
    drawing(
        &curves,
        (4.0, |seconds| format!("{seconds:.0}\u{a0}s")),
        "a server is slow",
        "How long 99 of 100 requests wait at most, of those that come in each second, with a slow server",
    )
}

fn black_hole(servers: &Servers) -> String {
    let failed = |second: &Second| second.failed as f64;
    let curves = [
        curve("adaptive", "adaptive", &servers.black_hole.with, failed),
        curve("round robin", "lru", &servers.black_hole.without, failed),
        curve("fewest in flight", "bad", &servers.drawn_in, failed),
    ];
    drawing(
        &curves,
        (200.0, |failed| count(failed as u64)),
        "a black hole",
        "Requests that fail in each second, with a server that fails all of them at once",
    )
}

fn curve(name: &str, class: &'static str, seen: &Seen, value: fn(&Second) -> f64) -> Curve {
    let seconds = seen.seconds.iter().enumerate();
    Curve {
        name: name.into(),
        class,
        points: seconds
            .map(|(second, seen)| (second as f64, value(seen)))
            .collect(),
    }
}

/// The top of the scale is a multiple of the step, with room for the names.
fn drawing(
    curves: &[Curve],
    (step, show): (f64, fn(f64) -> String),
    mark: &str,
    description: &str,
) -> String {
    let points = curves.iter().flat_map(|curve| &curve.points);
    let most = points.map(|point| point.1).fold(0.0, f64::max);
    let begins = Servers::LASTS.as_secs_f64() / 3.0;
    let drawn = timeline(
        &Timeline {
            curves,
            most: (most * 1.15 / step).ceil() * step,
            show,
            every: 5,
            axis: "seconds",
            mark: Some((begins, mark)),
        },
        description,
    );
    format!("<figcaption>{description}</figcaption>{drawn}")
}
