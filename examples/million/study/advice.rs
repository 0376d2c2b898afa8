use super::sizes::NEARLY_ALL;
use super::{Cliff, POLICIES, ShardKeys, Sizes, Stampede, Summary, TimeToLive};
use crate::show::{bytes, count, duration, percent};

/// What to do, in the numbers of the requests.
#[derive(Debug)]
pub(crate) struct Advice {
    pub(crate) headline: String,
    pub(crate) points: Vec<String>,
}

impl Advice {
    pub(crate) fn on(
        summary: &Summary,
        sizes: &Sizes,
        time_to_live: &TimeToLive,
        cliff: &Cliff,
        shard_keys: &ShardKeys,
        stampede: &Stampede,
    ) -> Self {
        let mut points = Vec::new();
        if saved(summary, sizes) >= WORTHWHILE {
            points.push(room(summary, sizes));
            points.push(policy(summary, sizes));
            points.extend(expiry(summary, time_to_live));
        }
        points.extend(jitter(cliff));
        points.push(format!(
            "Load through get_with: {} callers at once for one expired key made {} instead of {}.",
            stampede.callers,
            loads(stampede.coalesced),
            loads(stampede.plain),
        ));
        points.extend(shards(shard_keys));
        Self {
            headline: headline(summary, sizes),
            points,
        }
    }
}

fn headline(summary: &Summary, sizes: &Sizes) -> String {
    let suggested = &sizes.suggested;
    let saved = saved(summary, sizes);
    if saved < WORTHWHILE {
        return format!(
            "A cache is of little use here: {} of the requests are the first for their key, and \
             even a cache of everything answers only {}.",
            percent(summary.first_requests()),
            percent(1.0 - summary.first_requests()),
        );
    }
    let memory = summary.mean_bytes.map_or(String::new(), |mean| {
        format!(", about {}", bytes(mean * suggested.capacity as f64))
    });
    format!(
        "Cache {} of your {} keys ({}{memory}): your origin gets {} requests instead of {}, {} fewer.",
        count(suggested.capacity as u64),
        count(summary.unique as u64),
        percent(suggested.capacity as f64 / summary.unique as f64),
        count(summary.requests - suggested.adaptive()),
        count(summary.requests),
        percent(saved),
    )
}

/// The share of the requests that the suggested cache answers.
fn saved(summary: &Summary, sizes: &Sizes) -> f64 {
    sizes.suggested.adaptive() as f64 / summary.requests as f64
}

/// What more room would buy.
fn room(summary: &Summary, sizes: &Sizes) -> String {
    let everything = summary.requests - summary.unique as u64;
    let more = everything.saturating_sub(sizes.suggested.adaptive()) as f64;
    format!(
        "That is {} of what a cache without limit would save. Room for all {} keys would add {} of the \
         requests; the remaining {} are the first for their key, which no cache can answer.",
        percent(NEARLY_ALL),
        count(summary.unique as u64),
        points(more / summary.requests as f64),
        percent(summary.first_requests()),
    )
}

fn policy(summary: &Summary, sizes: &Sizes) -> String {
    let suggested = &sizes.suggested;
    let ratio = |hits: u64| hits as f64 / summary.requests as f64;
    let (best, most) = POLICIES
        .into_iter()
        .zip(suggested.hits)
        .skip(1)
        .max_by_key(|&(_, hits)| hits)
        .unwrap_or((POLICIES[0], suggested.adaptive()));
    let ours = suggested.adaptive();
    let difference = ratio(ours) - ratio(most);
    if difference < -0.005 {
        format!(
            "Policy: {best} suits these requests best at that size, {} against {} with the adaptive \
             default: set .policy(Policy::{best:?}).",
            percent(ratio(most)),
            percent(ratio(ours)),
        )
    } else {
        format!(
            "Keep the default policy: at that size it answers {} (lru {}, lfu {}, fifo {}; at best {} \
             were possible).",
            percent(ratio(ours)),
            percent(ratio(suggested.hits[1])),
            percent(ratio(suggested.hits[2])),
            percent(ratio(suggested.hits[3])),
            percent(ratio(suggested.optimum)),
        )
    }
}

/// The shortest life that costs at most two points, and what the next shorter
/// one would cost.
fn expiry(summary: &Summary, effect: &TimeToLive) -> Option<String> {
    const LITTLE: f64 = 0.02;
    let forever = effect.rows.last()?.bounded_hits;
    let lost = |hits: u64| forever.saturating_sub(hits) as f64 / summary.requests as f64;
    let enough = effect
        .rows
        .iter()
        .position(|row| lost(row.bounded_hits) <= LITTLE)?;
    let cost = |at: usize| {
        let row = effect.rows.get(at)?;
        let life = duration(row.time_to_live?);
        Some((life, points(lost(row.bounded_hits))))
    };
    let shorter = enough.checked_sub(1).and_then(cost);
    match (cost(enough), shorter) {
        (Some((life, points)), None) => Some(format!(
            "A time-to-live of {life} already costs no more than {points} of the hit ratio."
        )),
        (Some((life, points)), Some((short, more))) => Some(format!(
            "A time-to-live of {life} costs {points} of the hit ratio; {short} would cost {more}."
        )),
        (None, Some((longest, points))) => Some(format!(
            "Even a time-to-live of {longest} costs {points} of the hit ratio: invalidate what \
             changes rather than letting it expire."
        )),
        (None, None) => None,
    }
}

fn jitter(cliff: &Cliff) -> Option<String> {
    let (without, with) = cliff.peaks();
    if without < 10 {
        // No origin stumbles over that.
        return None;
    }
    if f64::from(with) > 0.8 * f64::from(without) {
        return Some(format!(
            "Jitter of 10 % does not flatten the expiry of these {} keys: {} loads in the worst second \
             instead of {}, at {} requests a second. Spread them wider, or refresh ahead of time.",
            count(cliff.entries as u64),
            count(u64::from(with)),
            count(u64::from(without)),
            count(cliff.rate),
        ));
    }
    Some(format!(
        "Use jitter: after filling the cache at once, the origin sees {} loads in the worst second \
         without it and {} with 10 %, at {} requests a second.",
        count(u64::from(without)),
        count(u64::from(with)),
        count(cliff.rate),
    ))
}

/// What to do about celebrities, if there are any and it helps.
fn shards(shard_keys: &ShardKeys) -> Option<String> {
    let (key, others) = shard_keys.keys.split_first()?;
    if key.celebrities.is_empty() || key.spread >= key.max_over_mean {
        return None;
    }
    let better = others.iter().find(|other| other.max_over_mean < key.spread);
    let better = better.map_or(String::new(), |other| {
        format!(
            " By {} it has {:.2} times without that.",
            other.name, other.max_over_mean
        )
    });
    let keys = match key.celebrities.len() {
        1 => "the one celebrity".to_owned(),
        several => format!("each of the {several} celebrities"),
    };
    Some(format!(
        "Sharded by {}, the fullest of {} shards has {:.2} times the mean: copy or split {keys} over {} shards, and it \
         has {:.2} times.{better}",
        key.name,
        ShardKeys::SHARDS,
        key.max_over_mean,
        key.parts,
        key.spread,
    ))
}

fn loads(loads: u64) -> String {
    if loads == 1 {
        "1 load".into()
    } else {
        format!("{} loads", count(loads))
    }
}

fn points(share: f64) -> String {
    format!("{:.1} points", share * 100.0)
}

/// A cache that answers fewer is not worth its memory.
const WORTHWHILE: f64 = 0.10;
