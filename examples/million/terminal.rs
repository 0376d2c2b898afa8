//! The results as text for a terminal.

use std::fmt::Write;

use crate::show::{bytes, count, duration, name, percent, span, wait};
use crate::study::{
    Growth, Logins, POLICIES, Replicas, Row, Rush, Servers, ShardKeys, Sizes, Study, Summary,
};

/// All tables, one after the other.
pub(crate) fn tables(study: &Study) -> String {
    let mut text = String::new();
    summary(&mut text, &study.summary);
    hit_ratios(&mut text, study);
    origin(&mut text, study);
    savings(&mut text, &study.sizes, &study.summary);
    time_to_live(&mut text, study);
    shard_keys(&mut text, &study.shard_keys);
    disasters(&mut text, study);
    servers(&mut text, &study.servers);
    logins(&mut text, study.logins.as_ref());
    replicas(&mut text, &study.replicas);
    shards(&mut text, study);
    rush(&mut text, study.rush.as_ref());
    heading(&mut text, "What to do");
    line(&mut text, &wrap(&study.advice.headline, "  "));
    for point in &study.advice.points {
        line(&mut text, &wrap(point, "  - "));
    }
    // A terminal breaks no lines between words; plain spaces copy better.
    text.replace('\u{a0}', " ")
}

fn summary(text: &mut String, summary: &Summary) {
    heading(text, &format!("Requests: {}", summary.source));
    for note in &summary.notes {
        line(text, &wrap(note, "  "));
    }
    let facts = facts(summary);
    let width = facts.iter().map(|(fact, _)| fact.len()).max().unwrap_or(0);
    for (fact, value) in &facts {
        line(text, &format!("  {fact:width$}  {value}"));
    }
    for (number, reason) in &summary.first_skipped {
        line(text, &format!("    line {number}: {reason}"));
    }
    line(text, "  asked for most:");
    for (key, requests) in summary.top.iter().take(5) {
        line(text, &format!("  {:>12}  {}", count(*requests), name(key)));
    }
}

/// What the summary says, for the terminal and the page.
pub(crate) fn facts(summary: &Summary) -> Vec<(&'static str, String)> {
    let share = |part: u64, whole: u64| percent(part as f64 / whole.max(1) as f64);
    let mut facts = vec![
        ("requests", count(summary.requests)),
        ("unique keys", count(summary.unique as u64)),
        (
            "one-hit wonders",
            format!(
                "{} keys: {} of the keys, {} of the requests",
                count(summary.one_hit as u64),
                share(summary.one_hit as u64, summary.unique as u64),
                share(summary.one_hit as u64, summary.requests),
            ),
        ),
        (
            "top-10 keys",
            format!("{} of the requests", percent(summary.top_share())),
        ),
    ];
    if let Some((first, last)) = summary.span {
        let busiest = summary.busiest_second.map_or(String::new(), |most| {
            format!(", {} requests in the busiest second", count(most))
        });
        facts.push(("time span", format!("{}{busiest}", span(last - first))));
    }
    if let Some(mean) = summary.mean_bytes {
        let all = bytes(mean * summary.unique as f64);
        facts.push((
            "size",
            format!("{} a key on average, {all} in all", bytes(mean)),
        ));
    }
    facts.push(("skipped lines", count(summary.skipped)));
    facts
}

fn hit_ratios(text: &mut String, study: &Study) {
    heading(text, "Hit ratio by cache size");
    let requests = study.summary.requests as f64;
    let mut rows = vec![header(&["entries", "of keys"], &["optimum"])];
    for row in &study.sizes.rows {
        let mut cells = vec![
            count(row.capacity as u64),
            percent(row.capacity as f64 / study.summary.unique as f64),
        ];
        let all = row.hits.into_iter().chain([row.optimum]);
        cells.extend(all.map(|hits| percent(hits as f64 / requests)));
        rows.push(cells);
    }
    table(text, &rows);
}

fn origin(text: &mut String, study: &Study) {
    heading(text, "Requests that still reach the origin");
    let mut rows = vec![header(&["entries"], &["optimum"])];
    for row in &study.sizes.rows {
        let mut cells = vec![count(row.capacity as u64)];
        let all = row.hits.into_iter().chain([row.optimum]);
        cells.extend(all.map(|hits| count(study.summary.requests - hits)));
        rows.push(cells);
    }
    table(text, &rows);
}

fn savings(text: &mut String, sizes: &Sizes, summary: &Summary) {
    heading(
        text,
        "Smallest cache that saves a share of the origin's requests (to 0.5 %)",
    );
    let mut rows = vec![header(&["saves"], &["optimum"])];
    let mut unreachable = Vec::new();
    for target in &sizes.targets {
        match &target.smallest {
            Some(smallest) => {
                let mut cells = vec![format!("{:.0} %", target.share * 100.0)];
                let all = smallest.capacity.into_iter().chain([smallest.optimum]);
                cells.extend(all.map(|capacity| count(capacity as u64)));
                rows.push(cells);
            }
            None => unreachable.push(format!("{:.0} %", target.share * 100.0)),
        }
    }
    if rows.len() > 1 {
        table(text, &rows);
    }
    if !unreachable.is_empty() {
        line(
            text,
            &format!(
                "  {}: not reachable, {} of the requests are the first for their key",
                unreachable.join(", "),
                percent(summary.first_requests())
            ),
        );
    }
}

fn time_to_live(text: &mut String, study: &Study) {
    let effect = &study.time_to_live;
    heading(text, "Hit ratio by time-to-live (default policy)");
    if let Some(rate) = effect.assumed_rate {
        line(
            text,
            &format!("  the trace has no times: {rate} requests a second are assumed"),
        );
    }
    let requests = study.summary.requests as f64;
    let bounded = format!("{} entries", count(effect.capacity as u64));
    let mut rows = vec![vec!["time-to-live".into(), bounded, "no size limit".into()]];
    for row in &effect.rows {
        rows.push(vec![
            row.time_to_live.map_or_else(|| "none".into(), duration),
            percent(row.bounded_hits as f64 / requests),
            percent(row.unbounded_hits as f64 / requests),
        ]);
    }
    table(text, &rows);
}

fn disasters(text: &mut String, study: &Study) {
    let cliff = &study.cliff;
    let (without, with) = cliff.peaks();
    heading(text, "Bad days");
    line(
        text,
        &wrap(
            &format!(
                "your keys expire at once: {} entries, time-to-live {}, then these requests at {} a \
                 second; loads in the worst second: {} without jitter, {} with 10 %",
                count(cliff.entries as u64),
                duration(cliff.time_to_live),
                count(cliff.rate),
                count(u64::from(without)),
                count(u64::from(with)),
            ),
            "  ",
        ),
    );
    line(
        text,
        "  made up, in virtual time, without and with the means against it:",
    );
    rows(text, &study.bad_days.rows());
}

fn shard_keys(text: &mut String, shard_keys: &ShardKeys) {
    heading(
        text,
        &format!("These requests over {} shards", ShardKeys::SHARDS),
    );
    table(text, &shard_key_rows(shard_keys));
    for key in &shard_keys.keys {
        for (name_of_it, share) in &key.celebrities {
            let celebrity = format!("{} {}", percent(*share), name(name_of_it));
            line(text, &format!("  celebrity {}: {celebrity}", key.name));
        }
    }
}

/// How even each shard key is, for the terminal and the page.
pub(crate) fn shard_key_rows(shard_keys: &ShardKeys) -> Vec<Vec<String>> {
    let head = [
        "by",
        "different",
        "heaviest key",
        "fullest shard",
        "celebrities",
        "each spread over",
        "fullest then",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    for key in &shard_keys.keys {
        let none = key.celebrities.is_empty();
        let unless = |text: String| if none { "–".into() } else { text };
        rows.push(vec![
            key.name.to_owned(),
            count(key.distinct as u64),
            percent(key.heaviest),
            format!("{:.2} × mean", key.max_over_mean),
            count(key.celebrities.len() as u64),
            unless(format!("{} shards", key.parts)),
            unless(format!("{:.2} × mean", key.spread)),
        ]);
    }
    rows
}

fn shards(text: &mut String, study: &Study) {
    let shards = &study.shards;
    heading(text, "Shards");
    line(
        text,
        "  made up, in virtual time, as it is often done and with the router's means:",
    );
    rows(text, &shards.sharding_rows());
    let newest = shards.dates.split.busiest();
    line(
        text,
        &wrap(
            &format!(
                "rows are copied at {} a second after the table was swapped; splitting the newest \
                 range moves all writes to the new shard: it has {} of them",
                count(Growth::ROWS_A_SECOND),
                percent(newest)
            ),
            "  ",
        ),
    );
    heading(text, "A celebrity");
    rows(text, &shards.celebrity_rows());
    let caches = &shards.caches;
    line(
        text,
        &wrap(
            &format!(
                "the price of bounded caches: {} queries to the store instead of {}",
                count(caches.bounded.queries),
                count(caches.plain.queries)
            ),
            "  ",
        ),
    );
    let celebrity = &shards.celebrity;
    if let Some((requests, parts)) = celebrity.copied.found {
        let found = format!(
            "found after {} requests of the crowd, spread over {parts} shards; requests a second for each:",
            count(requests)
        );
        line(text, &wrap(&found, "  "));
    }
    let mut loads = vec![["shard", "whole", "copied"].map(String::from).to_vec()];
    for (at, (shard, _)) in celebrity.whole.loads.iter().enumerate() {
        let crowds = [&celebrity.whole, &celebrity.copied];
        let load = crowds.map(|crowd| count(crowd.loads[at].1 as u64));
        loads.push([shard.clone()].into_iter().chain(load).collect());
    }
    table(text, &loads);
}

fn servers(text: &mut String, servers: &Servers) {
    heading(text, "One server becomes ten, and one of the ten goes bad");
    line(
        text,
        "  made up, in virtual time, round robin and the real balancer:",
    );
    rows(text, &servers.rows());
    line(text, &wrap(&servers_facts(servers), "  "));
}

/// What the servers carry, for the terminal and the page.
pub(crate) fn servers_facts(servers: &Servers) -> String {
    let carries = |(servers, carries): &(usize, f64)| {
        let carries = count(*carries as u64);
        match servers {
            1 => format!("One server carries {carries} requests a second"),
            more => format!("{more} carry {carries}"),
        }
    };
    let growth: Vec<_> = servers.growth.iter().map(carries).collect();
    format!(
        "{}, with 99 of 100 answered within {}: more than in proportion, since a request that one server has no \
         worker for finds one elsewhere.",
        growth.join(", "),
        wait(Servers::BOUND),
    )
}

fn logins(text: &mut String, logins: Option<&Logins>) {
    heading(text, "A web server dies, and its log-ins");
    let Some(logins) = logins else {
        line(
            text,
            "  with sticky sessions, which this was built without: add --features sticky",
        );
        return;
    };
    line(
        text,
        "  made up, in virtual time, with the real sessions and tokens:",
    );
    table(text, &logins.rows());
    line(text, &wrap(&logins_facts(logins), "  "));
}

/// What else happened, for the terminal and the page.
pub(crate) fn logins_facts(logins: &Logins) -> String {
    let Logins { pinned, copied, .. } = logins;
    format!(
        "{} of {} log-ins were in the memory of the server that died. With a copy the next request finds its session on the \
         server that has it, and nobody else moves; the second in which nobody knows of the death costs whoever has to go there \
         a request, and nobody where any server will do. A drain hands {} sessions over within its {} seconds. Of {} users who \
         log out everywhere, {} stay logged in with their other browser where each server knows of its own sessions only.",
        count(pinned.at_dead),
        count(u64::from(2 * Logins::USERS)),
        count(copied.at_drained),
        Logins::STOPS.as_secs() - Logins::DRAINS.as_secs(),
        count(u64::from(Logins::LEAVERS)),
        count(pinned.outlived),
    )
}

fn replicas(text: &mut String, replicas: &Replicas) {
    heading(
        text,
        "One database becomes four, and one after the other dies",
    );
    line(
        text,
        "  made up, in virtual time, by lists in a configuration and through the real pool:",
    );
    rows(text, &replicas.rows());
    line(text, &wrap(&replicas_facts(replicas), "  "));
}

/// What else happened, for the terminal and the page.
pub(crate) fn replicas_facts(replicas: &Replicas) -> String {
    let (alone, led, own) = (
        &replicas.primary_dies.without,
        &replicas.primary_dies.with,
        &replicas.own_writes.with,
    );
    format!(
        "The pool leads the failover itself: no write waits longer than {} for the new primary. {} of {} writes are under way \
         when the primary dies; their callers are told that nobody knows what became of them, and nothing is repeated. By hand, \
         {} of {} fail. Of the reads of one’s own write, {} go to the primary; the others wait for a replica to have it, {} at most.",
        wait(led.slowest_write),
        count(led.uncertain),
        count(led.writes),
        count(alone.failed_writes),
        count(alone.writes),
        percent(own.own_on_primary as f64 / own.own_reads.max(1) as f64),
        wait(Replicas::READ_WAITS),
    )
}

fn rush(text: &mut String, rush: Option<&Rush>) {
    heading(text, "A ticket rush");
    let Some(rush) = rush else {
        line(
            text,
            "  with the queue, which this was built without: add --features queue,test-util",
        );
        return;
    };
    line(
        text,
        "  made up, in virtual time, straight into the database and through the real queue:",
    );
    rows(text, &rush.rows());
    line(text, &wrap(&rush_facts(rush), "  "));
}

/// What else happened, for the terminal and the page.
pub(crate) fn rush_facts(rush: &Rush) -> String {
    let queued = &rush.queued;
    let may_wait = if queued.turned_away == 0 {
        String::new()
    } else {
        format!(
            "; {} times the queue was full, and a caller was told at once to come again",
            count(queued.turned_away)
        )
    };
    format!(
        "{} orders were confirmed, with {} syncs, and at most {} waited (the bound is {}){may_wait}. In no second \
         did the database get more than {}. The power \
         went in the middle of the sale, with {} orders waiting; handed out twice, and \
         booked once: {}. A worker died with an order in hand, and another booked it when the lease ended after {}; all \
         others were booked in the order in which they were published, the power cut notwithstanding. The \
         order that the database refuses is with the dead letters.",
        count(queued.confirmed),
        count(queued.syncs),
        count(queued.deepest()),
        count(Rush::MAX_PENDING),
        count(queued.busiest),
        count(queued.waiting_at_cut),
        count(queued.again),
        duration(Rush::LEASE),
    )
}

fn rows(text: &mut String, rows: &[Row]) {
    for row in rows {
        if !row.day.is_empty() {
            line(text, &format!("  {}", row.day));
        }
        line(
            text,
            &format!(
                "  {:>12} -> {:<11} {} (by {})",
                row.without, row.with, row.counted, row.means
            ),
        );
    }
}

fn header(before: &[&str], after: &[&str]) -> Vec<String> {
    let policies = POLICIES.iter().map(ToString::to_string);
    let plain = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    plain(before)
        .into_iter()
        .chain(policies)
        .chain(plain(after))
        .collect()
}

fn heading(text: &mut String, heading: &str) {
    line(text, &format!("\n{heading}"));
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

/// Columns aligned to the right, as wide as their widest cell.
fn table(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:>width$}"))
            .collect();
        line(text, &format!("  {}", cells.join("  ")));
    }
}

/// Breaks at spaces so that nothing is wider than 96 columns.
fn wrap(text: &str, indent: &str) -> String {
    const WIDTH: usize = 96;
    let mut wrapped = indent.to_owned();
    let mut column = indent.chars().count();
    let blank = " ".repeat(column);
    for (at, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if at > 0 && column + 1 + width > WIDTH {
            wrapped.push('\n');
            wrapped.push_str(&blank);
            column = blank.len();
        } else if at > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_to_the_right() {
        let mut text = String::new();
        let rows = [["a", "bb"], ["ccc", "d"]].map(|row| row.map(String::from).to_vec());
        table(&mut text, &rows);
        assert_eq!(text, "    a  bb\n  ccc   d\n");
    }

    #[test]
    fn long_lines_break_between_words() {
        let wrapped = wrap(&"word ".repeat(60), "  - ");
        assert!(wrapped.lines().all(|line| line.chars().count() <= 96));
        assert!(
            wrapped
                .lines()
                .skip(1)
                .all(|line| line.starts_with("    word"))
        );
    }
}
