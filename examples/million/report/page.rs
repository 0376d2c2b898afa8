use super::chart::{self, Curve};
use super::html::{all, escape, table};
use super::{logins, replicas, rush, servers, shards};
use crate::show::{count, duration, name, percent};
use crate::study::{BadDays, Cliff, Outage, POLICIES, Row, Sizes, Study, Summary, TimeToLive};
use crate::terminal::facts;

/// The whole page.
pub(crate) fn page(study: &Study) -> String {
    let advice = &study.advice;
    let points = all(&advice.points, |point| {
        format!("<li>{}</li>\n", escape(point))
    });
    let sections = [
        summary(&study.summary),
        sizes(&study.sizes, &study.summary),
        savings(&study.sizes, &study.summary),
        time_to_live(&study.time_to_live, &study.summary),
        cliff(&study.cliff),
        shards::shard_keys(&study.shard_keys),
        bad_days(&study.bad_days),
        servers::servers(&study.servers),
        study.logins.as_ref().map_or(String::new(), logins::logins),
        replicas::replicas(&study.replicas),
        shards::sharding(&study.shards),
        shards::celebrity(&study.shards),
        study.rush.as_ref().map_or(String::new(), rush::rush),
        checks(study),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>tenfold: a cache for {source}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<p class=\"kicker\">tenfold · a cache for {source}</p>\n<h1>{headline}</h1>\n\
         <ul>\n{points}</ul>\n</header>\n{sections}</main>\n</body>\n</html>\n",
        source = escape(&study.summary.source),
        headline = escape(&advice.headline),
        sections = sections.concat(),
    )
}

fn summary(summary: &Summary) -> String {
    let facts = all(facts(summary), |(fact, value)| {
        format!("<div><dt>{fact}</dt><dd>{}</dd></div>\n", escape(&value))
    });
    let notes = all(&summary.notes, |note| {
        format!("<p class=\"quiet\">{}</p>\n", escape(note))
    });
    let skipped = all(&summary.first_skipped, |(line, reason)| {
        format!("<li>line {line}: {}</li>\n", escape(reason))
    });
    let skipped = if skipped.is_empty() {
        skipped
    } else {
        format!(
            "<details><summary>The first skipped lines</summary><ul>\n{skipped}</ul></details>\n"
        )
    };
    let mut rows = vec![vec![
        "key".to_owned(),
        "requests".to_owned(),
        "share".to_owned(),
    ]];
    for (key, requests) in &summary.top {
        rows.push(vec![
            format!("<code>{}</code>", escape(&name(key))),
            count(*requests),
            percent(*requests as f64 / summary.requests as f64),
        ]);
    }
    format!(
        "<section>\n<h2>The requests</h2>\n{notes}<dl>\n{facts}</dl>\n{skipped}\
         <details><summary>The ten keys asked for most</summary>\n{}</details>\n</section>\n",
        table("The keys asked for most", &rows)
    )
}

fn sizes(sizes: &Sizes, summary: &Summary) -> String {
    let requests = summary.requests as f64;
    let optimum = sizes
        .rows
        .iter()
        .map(|row| (row.capacity as f64, row.optimum as f64 / requests));
    let mut curves = vec![Curve {
        name: "optimum".into(),
        class: "optimum",
        points: optimum.collect(),
    }];
    // The default is drawn last, over the others.
    for place in [3, 2, 1, 0] {
        let hits = sizes
            .rows
            .iter()
            .map(|row| (row.capacity as f64, row.hits[place] as f64 / requests));
        curves.push(Curve {
            name: POLICIES[place].to_string(),
            class: CLASSES[place],
            points: hits.collect(),
        });
    }
    let drawing = chart::hit_ratio(
        &curves,
        sizes.suggested.capacity,
        "Hit ratio of each policy and of the optimum by cache size; the table below has the numbers",
    );
    let mut ratios = vec![policy_header(&["entries", "of&nbsp;keys"])];
    let mut reach = vec![policy_header(&["entries"])];
    for row in &sizes.rows {
        let all = || row.hits.into_iter().chain([row.optimum]);
        let most = row.hits.iter().max().copied().unwrap_or(0);
        let mut cells = vec![
            count(row.capacity as u64),
            percent(row.capacity as f64 / summary.unique as f64),
        ];
        cells.extend(all().enumerate().map(|(place, hits)| {
            let shown = percent(hits as f64 / requests);
            if place < 4 && hits == most {
                format!("<strong>{shown}</strong>")
            } else {
                shown
            }
        }));
        ratios.push(cells);
        let mut cells = vec![count(row.capacity as u64)];
        cells.extend(all().map(|hits| count(summary.requests - hits)));
        reach.push(cells);
    }
    format!(
        "<section>\n<h2>How large, and which policy?</h2>\n\
         <p>The share of the requests that the cache answers. The optimum (Belady’s) knows the future: \
         no cache of that size can do better.</p>\n<figure>{drawing}</figure>\n{}\
         <details><summary>Requests that still reach the origin</summary>\n{}</details>\n</section>\n",
        table("Hit ratio by cache size (best policy in bold)", &ratios),
        table("Requests that still reach the origin", &reach),
    )
}

fn savings(sizes: &Sizes, summary: &Summary) -> String {
    let mut rows = vec![policy_header(&["saves"])];
    let mut unreachable = Vec::new();
    for target in &sizes.targets {
        let share = format!("{:.0}&nbsp;%", target.share * 100.0);
        match &target.smallest {
            Some(smallest) => {
                let all = smallest.capacity.into_iter().chain([smallest.optimum]);
                let cells = all.map(|capacity| count(capacity as u64));
                rows.push([share].into_iter().chain(cells).collect());
            }
            None => unreachable.push(share),
        }
    }
    let reached = if rows.len() > 1 {
        table(
            "Entries needed to save a share of the origin’s requests",
            &rows,
        )
    } else {
        String::new()
    };
    let unreachable = if unreachable.is_empty() {
        String::new()
    } else {
        format!(
            "<p>{} cannot be saved by any cache: {} of the requests are the first for their key.</p>\n",
            unreachable.join(" and "),
            percent(summary.first_requests()),
        )
    };
    format!(
        "<section>\n<h2>The smallest cache that saves 80, 90, 95&nbsp;%</h2>\n{reached}{unreachable}</section>\n"
    )
}

fn time_to_live(effect: &TimeToLive, summary: &Summary) -> String {
    let requests = summary.requests as f64;
    let bar = |hits: u64| {
        let share = hits as f64 / requests;
        format!(
            "<span class=\"bar\"><span style=\"width:{:.1}%\"></span></span>{}",
            share * 100.0,
            percent(share)
        )
    };
    let mut rows = vec![vec![
        "time-to-live".to_owned(),
        format!("{} entries", count(effect.capacity as u64)),
        "no size limit".to_owned(),
    ]];
    for row in &effect.rows {
        rows.push(vec![
            row.time_to_live.map_or_else(|| "none".into(), duration),
            bar(row.bounded_hits),
            bar(row.unbounded_hits),
        ]);
    }
    let assumed = effect.assumed_rate.map_or(String::new(), |rate| {
        format!(
            " The trace has no times; {} requests a second are assumed.",
            count(rate)
        )
    });
    format!(
        "<section>\n<h2>What does a time-to-live cost?</h2>\n\
         <p>Hit ratio when entries expire, with the default policy.{assumed}</p>\n{}</section>\n",
        table("Hit ratio by time-to-live", &rows)
    )
}

fn cliff(cliff: &Cliff) -> String {
    let curve = |name: &str, class, loads: &[u32]| Curve {
        name: name.into(),
        class,
        points: loads
            .iter()
            .enumerate()
            .map(|(second, &loads)| (second as f64, f64::from(loads)))
            .collect(),
    };
    let (without, with) = cliff.peaks();
    let drawing = chart::loads(
        &curve("without jitter", "bad", &cliff.without),
        &curve("with 10\u{a0}% jitter", "adaptive", &cliff.with),
        cliff.time_to_live.as_secs_f64(),
        &format!(
            "Loads from the origin each second: at most {without} without jitter, {with} with jitter"
        ),
    );
    format!(
        "<section>\n<h2>When everything expires at once</h2>\n\
         <p>All {} keys are inserted in one moment, as after a restart, with a time-to-live of {}; then \
         these requests come at {} a second. Loads from the origin each second: \
         <strong>{} in the worst second without jitter, {} with</strong> lives shortened by up to 10&nbsp;%.</p>\n\
         <figure>{drawing}</figure>\n</section>\n",
        count(cliff.entries as u64),
        duration(cliff.time_to_live),
        count(cliff.rate),
        count(u64::from(without)),
        count(u64::from(with)),
    )
}

/// Rows of a table that shows what is counted without and with a means.
pub(super) fn rows(rows: &[Row]) -> Vec<Vec<String>> {
    let mut cells = vec![["bad day", "without", "with"].map(String::from).to_vec()];
    for row in rows {
        let day = if row.day.is_empty() {
            String::new()
        } else {
            format!("{}<br>", escape(&row.day))
        };
        cells.push(vec![
            format!(
                "{day}<span class=\"quiet\">{} · <code>{}</code></span>",
                row.counted, row.means
            ),
            format!("<span class=\"worse\">{}</span>", row.without),
            format!("<strong>{}</strong>", row.with),
        ]);
    }
    cells
}

fn bad_days(days: &BadDays) -> String {
    format!(
        "<section>\n<h2>Four bad days, without and with</h2>\n\
         <p>Made up, in virtual time, with the real blocks. Where the store is slow or dead: {} requests a second for 500 \
         keys that live {}. “Without” is a cache with a time-to-live whose loads are shared.</p>\n{}</section>\n",
        Outage::REQUESTS_A_SECOND,
        duration(Outage::TIME_TO_LIVE),
        table("What each bad day costs", &rows(&days.rows())),
    )
}

fn checks(study: &Study) -> String {
    if study.broken.is_empty() {
        return format!(
            "<footer><p class=\"quiet\">Checked on the way: no policy beats the optimum; lru and fifo \
                equal their naive models at every size; a cache of everything misses only first requests; \
                one load for all callers of get_with; no second with more expiries than chance allows; \
                no more queries for absent keys than the negative time-to-live and the filter let through; no error \
                from a warm cache while its store is down; a fifth shard takes a fifth of the rows, the planned ones, \
                and old shards exchange none; with copies in distinct zones no read is lost with a shard or a zone; a celebrity \
                is found within two windows of requests, nobody else is taken for one, and spread, no shard has more than 1.3 times the mean; \
                every read of it sees all that was written; \
                ten servers carry ten times what one does, a slow one of them is hardly seen, a black hole gets no more than one request of 2000, and \
                a dead server with one retry and a deploy with drains fail nobody; a dead replica fails nobody, with all of them dead every write is done \
                and 99 of 100 within 50 ms, a dead primary costs only what was under way, no acknowledged write is lost, a former primary takes none, \
                and everybody reads what they have written; no cache has more under way than its bound{}{}.</p></footer>\n",
            if study.logins.is_some() {
                "; the death and the drain of a web server cost no log-in that has a copy, a new server moves nobody, and who logs \
                out everywhere is out"
            } else {
                ""
            },
            if study.rush.is_some() {
                "; every confirmed order is booked or with the dead letters, whoever dies, and no more wait than the queue’s bound"
            } else {
                ""
            }
        );
    }
    let broken = all(&study.broken, |broken| {
        format!("<li>{}</li>\n", escape(broken))
    });
    format!(
        "<footer class=\"broken\"><h2>A block broke its word</h2><ul>\n{broken}</ul></footer>\n"
    )
}

fn policy_header(before: &[&str]) -> Vec<String> {
    let policies = POLICIES.into_iter().map(|policy| policy.to_string());
    let before = before.iter().map(ToString::to_string);
    before
        .chain(policies)
        .chain(["optimum".to_owned()])
        .collect()
}

/// Style classes in the order of [`POLICIES`].
const CLASSES: [&str; 4] = ["adaptive", "lru", "lfu", "fifo"];

const STYLE: &str = include_str!("style.css");
