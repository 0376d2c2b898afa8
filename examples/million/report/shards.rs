//! The sections about shards and celebrities.

use super::bars::{self, Bar, Panel};
use super::chart::Curve;
use super::html::{all, escape, table};
use super::page::rows;
use super::timeline::{Timeline, timeline};
use crate::show::{count, minutes, name, percent, wait};
use crate::study::{
    Caches, Celebrity, Crowd, Dates, Grown, Growth, Loss, ShardKeys, Shards, Written,
};
use crate::terminal::shard_key_rows;

/// How even the requests' own keys would be.
pub(super) fn shard_keys(keys: &ShardKeys) -> String {
    let mut rows = shard_key_rows(keys);
    for cell in rows.iter_mut().flatten() {
        *cell = escape(cell);
    }
    let celebrities = keys.keys.iter().flat_map(|key| {
        let of_key = key.celebrities.iter();
        of_key.map(|(celebrity, share)| (key.name, celebrity, *share))
    });
    let celebrities = all(celebrities, |(what, celebrity, share)| {
        format!(
            "<li>{} of the requests are for the {what} <code>{}</code></li>\n",
            percent(share),
            escape(&name(celebrity))
        )
    });
    let celebrities = if celebrities.is_empty() {
        "<p>No key is heavy enough to be a celebrity.</p>\n".to_owned()
    } else {
        format!("<ul>\n{celebrities}</ul>\n")
    };
    format!(
        "<section>\n<h2>These requests over {} shards</h2>\n\
         <p>If each request were work for the shard of its key: how full the fullest shard is. A celebrity is a key \
         that alone lifts its shard to 1.3 times the mean; spread over several shards, it no longer does.</p>\n\
         {}{celebrities}</section>\n",
        ShardKeys::SHARDS,
        table("How even each would be as a shard key", &rows)
    )
}

/// Growing, dates and losses.
pub(super) fn sharding(shards: &Shards) -> String {
    [
        growth(&shards.growth),
        by_date(&shards.dates),
        losses(shards),
    ]
    .concat()
}

fn growth(growth: &Growth) -> String {
    let Growth { modulo, balanced } = growth;
    let busy = |grown: &Grown| {
        let (used, p99) = (percent(grown.utilisation), wait(grown.p99));
        format!("{used} busy (p99 {p99})")
    };
    format!(
        "<section>\n<h2>From four shards to five</h2>\n\
         <p>{} users’ rows, {} requests a second, {:.0}&nbsp;% of them reads. Placed by hash modulo the number of shards, \
         {} of the rows change their shard; balanced, {}, and {} must. Copied at {} rows a second that is {} of work \
         against {}.</p>\n{}\
         <p>Here the table is swapped first and the rows follow, so a row is missed until its copy arrives: {} reads and {} \
         writes under modulo, {} and {} balanced. The router says what to move; moving rows without that gap is left to \
         the caller. While rows are copied, the busiest shard is {} under modulo, and {} balanced, where all copies arrive at the new one.</p>\n\
         {}</section>\n",
        count(Growth::USERS),
        count(Growth::REQUESTS_A_SECOND),
        Growth::READS * 100.0,
        percent(modulo.moved_share()),
        percent(balanced.moved_share()),
        percent(balanced.least),
        count(Growth::ROWS_A_SECOND),
        minutes(modulo.copying),
        minutes(balanced.copying),
        figure(
            "Rows of each shard of five: blue ones stayed, red ones were copied",
            &moves(growth)
        ),
        count(modulo.lost_reads),
        count(modulo.lost_writes),
        count(balanced.lost_reads),
        count(balanced.lost_writes),
        busy(modulo),
        busy(balanced),
        figure(
            "Share of the requests that do not find their row",
            &misses(growth)
        ),
    )
}

fn by_date(dates: &Dates) -> String {
    format!(
        "<section>\n<h2>Shards by date</h2>\n\
         <p>A year to a shard, {} orders a second, all of today: the newest shard has all of them and cannot take {}. \
         A split of the newest range gives {} of the writes to the shard that is new, and spreads nothing. By a hash of the order’s \
         number the busiest has {}; a report on a month then asks every shard.</p>\n{}</section>\n",
        count(Dates::ORDERS_A_SECOND),
        percent(dates.ranges.error_rate()),
        percent(dates.split.busiest()),
        percent(dates.hashed.busiest()),
        figure(
            &format!(
                "Writes a second for each shard; dashed: the {} it can write",
                count(Dates::CAPACITY as u64)
            ),
            &writes(dates)
        ),
    )
}

fn losses(shards: &Shards) -> String {
    let loss = &shards.loss;
    format!(
        "<section>\n<h2>Bad days of a sharded database</h2>\n\
         <p>{} shards in {} zones, and a read for each of {} users. While a shard is down, the busiest survivor \
         has {:.2} times what it had; while a zone is, {:.2} times. Two copies on distinct nodes may share a zone: \
         <code>Spread::Require</code> forbids it.</p>\n{}</section>\n",
        Loss::SHARDS,
        Loss::ZONES,
        count(Loss::USERS),
        loss.shard.more,
        loss.zone.more,
        table("What placement costs", &rows(&shards.sharding_rows())),
    )
}

/// One key with a quarter of all requests.
pub(super) fn celebrity(shards: &Shards) -> String {
    let crowds = &shards.celebrity;
    let found = crowds.copied.found.map_or(String::new(), |(requests, parts)| {
        format!(
            " <code>HotKeys</code> finds it and <code>spread_over</code> names {parts} shards, settled {} requests into the crowd.",
            count(requests)
        )
    });
    format!(
        "<section>\n<h2>A celebrity</h2>\n\
         <p>{} shards that can answer {} requests a second each, {} a second in all; after {} seconds, {:.0}&nbsp;% of them \
         are for one key. Its shard melts.{found} Each read then asks one of the copies, and each write all of them; or, \
         where it is written more than read, each write goes to one part.</p>\n\
         {}{}{}\
         <p>A tier of caches need not be told: with <code>route_bounded</code>, a request leaves its cache for the next one as \
         soon as that has more than {} times its share under way. The price is entries that lie in several caches: {} \
         queries to the store during the crowd instead of {}.</p>\n</section>\n",
        Celebrity::SHARDS,
        count(Celebrity::CAPACITY as u64),
        count(Celebrity::REQUESTS_A_SECOND),
        Celebrity::CALM.as_secs(),
        Celebrity::SHARE * 100.0,
        figure(
            &format!(
                "Requests a second for each shard in the last seconds of the crowd; dashed: the {} it can answer",
                count(Celebrity::CAPACITY as u64)
            ),
            &loads(crowds)
        ),
        figure(
            "Wait of the slowest 1\u{a0}% in each second",
            &waits(crowds)
        ),
        table("What a celebrity costs", &rows(&shards.celebrity_rows())),
        Caches::FACTOR,
        count(shards.caches.bounded.queries),
        count(shards.caches.plain.queries),
    )
}

/// A drawing under the words for what it shows.
fn figure(caption: &str, drawing: &str) -> String {
    format!("<figure><figcaption>{caption}</figcaption>{drawing}</figure>\n")
}

fn moves(growth: &Growth) -> String {
    let panel = |title: &str, grown: &Grown| Panel {
        title: format!("{title}: {} rows move", count(grown.moved())),
        bars: grown
            .shards
            .iter()
            .map(|rows| Bar {
                name: rows.shard.clone(),
                parts: vec![
                    (rows.stayed as f64, "rows stay", "adaptive"),
                    (rows.came as f64, "rows are copied here", "bad"),
                ],
            })
            .collect(),
    };
    let both = [
        panel("modulo", &growth.modulo),
        panel("balanced", &growth.balanced),
    ];
    bars::panels(
        &both,
        None,
        "Rows of each shard after the fifth came, and which of them had to be copied",
    )
}

fn misses(growth: &Growth) -> String {
    let curve = |name: String, class, grown: &Grown| {
        let step = Growth::STEP.as_secs_f64();
        let shares = grown.lost_over_time.iter().enumerate();
        let mut points: Vec<_> = shares
            .map(|(at, &share)| ((at as f64 + 0.5) * step, share))
            .collect();
        points.push((grown.copying.as_secs_f64(), 0.0));
        Curve {
            name,
            class,
            points,
        }
    };
    let first = |grown: &Grown| percent(grown.lost_over_time.first().copied().unwrap_or(0.0));
    let curves = [
        curve(
            format!("modulo: {} at first", first(&growth.modulo)),
            "bad",
            &growth.modulo,
        ),
        curve(
            format!("balanced: {}", first(&growth.balanced)),
            "adaptive",
            &growth.balanced,
        ),
    ];
    timeline(
        &Timeline {
            curves: &curves,
            most: 1.0,
            show: |share| format!("{:.0} %", share * 100.0),
            every: 60,
            axis: "seconds after the table was swapped",
            mark: None,
        },
        "The share of the requests that do not find their row, until all rows are copied",
    )
}

fn writes(dates: &Dates) -> String {
    let panel = |title: &str, written: &Written, class| Panel {
        title: title.to_owned(),
        bars: written
            .shards
            .iter()
            .map(|(shard, orders)| Bar {
                name: shard.clone(),
                parts: vec![(*orders as f64 / 60.0, "writes a second", class)],
            })
            .collect(),
    };
    bars::panels(
        &[
            panel("by year", &dates.ranges, "bad"),
            panel("newest year split", &dates.split, "bad"),
            panel("by hash", &dates.hashed, "adaptive"),
        ],
        Some(Dates::CAPACITY),
        "Writes a second for each shard, by year, after a split, and by hash",
    )
}

fn loads(crowds: &Celebrity) -> String {
    let panel = |title: &str, crowd: &Crowd, class| Panel {
        title: format!("{title}: {:.2} × mean", crowd.max_over_mean()),
        bars: crowd
            .loads
            .iter()
            .map(|(shard, load)| Bar {
                name: shard.clone(),
                parts: vec![(*load, "requests a second", class)],
            })
            .collect(),
    };
    bars::panels(
        &[
            panel("whole", &crowds.whole, "bad"),
            panel("copied", &crowds.copied, "adaptive"),
        ],
        Some(Celebrity::CAPACITY),
        "Requests a second for each shard with the celebrity on one of them, and spread",
    )
}

fn waits(crowds: &Celebrity) -> String {
    let curve = |name: String, class, crowd: &Crowd| Curve {
        name,
        class,
        points: (0..)
            .zip(&crowd.p99_over_time)
            .map(|(second, wait)| (f64::from(second) + 0.5, wait.as_secs_f64()))
            .collect(),
    };
    let worst = |crowd: &Crowd| {
        wait(
            crowd
                .p99_over_time
                .iter()
                .max()
                .copied()
                .unwrap_or_default(),
        )
    };
    let curves = [
        curve(
            format!("whole: {}", worst(&crowds.whole)),
            "bad",
            &crowds.whole,
        ),
        curve(
            format!("copied: at most {}", worst(&crowds.copied)),
            "adaptive",
            &crowds.copied,
        ),
    ];
    timeline(
        &Timeline {
            curves: &curves,
            most: 1.2,
            show: |seconds| format!("{seconds:.1} s"),
            every: 5,
            axis: "seconds",
            mark: Some((Celebrity::CALM.as_secs_f64(), "the crowd comes")),
        },
        "How long the slowest 1 % of the callers wait in each second",
    )
}
