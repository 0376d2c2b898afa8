//! The section about the primary and its replicas.

use super::chart::Curve;
use super::html::{escape, table};
use super::page::rows;
use super::timeline::{Timeline, timeline};
use crate::show::{count, wait};
use crate::study::{Calls, Replicas};
use crate::terminal::replicas_facts;

pub(super) fn replicas(replicas: &Replicas) -> String {
    format!(
        "<section>\n<h2>One database becomes four</h2>\n\
         <p>A primary and {} replicas, {} cores each; a query takes one of them for {} on average. {} reads and {} writes a second \
         for {} seconds, and replicas die from second {} to second {}. The day on which the primary dies has {} minutes, and {} of \
         each a second. “Without” is a list of servers in the configuration of {} processes.</p>\n{}\
         <figure>{}</figure>\n<figure>{}</figure>\n<p>{}</p>\n</section>\n",
        Replicas::REPLICAS,
        Replicas::CORES,
        wait(Replicas::TAKES),
        count(Replicas::READS_A_SECOND),
        count(Replicas::WRITES_A_SECOND),
        Replicas::LASTS.as_secs(),
        Replicas::LASTS.as_secs() / 3,
        Replicas::LASTS.as_secs() * 2 / 3,
        Replicas::LONG.as_secs() / 60,
        Replicas::QUIET_A_SECOND,
        Replicas::PROCESSES,
        table("What callers see of it", &rows(&replicas.rows())),
        all_die(replicas),
        primary_dies(replicas),
        escape(&replicas_facts(replicas)),
    )
}

fn all_die(replicas: &Replicas) -> String {
    let both = &replicas.all_die;
    let curves = [
        curve("reads have no share", "bad", &both.without),
        curve("primary_read_share", "adaptive", &both.with),
    ];
    drawing(
        &curves,
        (5, "all replicas die"),
        Replicas::LASTS.as_secs_f64() / 3.0,
        "Writes that fail, of those that begin in each second, when all reads go to the primary",
    )
}

fn primary_dies(replicas: &Replicas) -> String {
    let both = &replicas.primary_dies;
    let curves = [
        curve("edited by hand", "bad", &both.without),
        curve("Promotion::Active", "adaptive", &both.with),
    ];
    drawing(
        &curves,
        (60, "the primary dies"),
        Replicas::DIES.as_secs_f64(),
        "Writes that fail, of those that begin in each second, when the primary dies",
    )
}

fn curve(name: &str, class: &'static str, seen: &Calls) -> Curve {
    let failed = |(second, &failed): (usize, &u64)| (second as f64, failed as f64);
    Curve {
        name: name.into(),
        class,
        points: seen.seconds.iter().enumerate().map(failed).collect(),
    }
}

fn drawing(curves: &[Curve], (every, mark): (u32, &str), begins: f64, description: &str) -> String {
    let points = curves.iter().flat_map(|curve| &curve.points);
    let most = points.map(|point| point.1).fold(0.0, f64::max);
    let drawn = timeline(
        &Timeline {
            curves,
            // Room for the names.
            most: (most * 1.15 / 40.0).ceil().max(1.0) * 40.0,
            show: |failed| count(failed as u64),
            every,
            axis: "seconds",
            mark: Some((begins, mark)),
        },
        description,
    );
    format!("<figcaption>{description}</figcaption>{drawn}")
}
