//! What is found out about the requests, with the real cache, balancer, sessions, pools, router and queue.

mod advice;
mod bad_days;
mod expiry;
#[cfg_attr(
    not(feature = "sticky"),
    allow(dead_code, reason = "sessions are what it is about")
)]
mod logins;
mod parallel;
mod replicas;
mod row;
#[cfg_attr(
    not(all(feature = "queue", feature = "test-util")),
    allow(dead_code, reason = "the queue is what it is about")
)]
mod rush;
mod servers;
mod shard_keys;
mod shards;
mod sizes;
mod summary;

use tenfold::cache::Policy;

pub(crate) use advice::Advice;
pub(crate) use bad_days::{BadDays, Outage, Stampede};
pub(crate) use expiry::{Cliff, TimeToLive};
pub(crate) use logins::{Logins, Seen as LoggedIn};
pub(crate) use replicas::{Replicas, Seen as Calls};
pub(crate) use row::Row;
pub(crate) use rush::Rush;
pub(crate) use servers::{Second, Seen, Servers};
pub(crate) use shard_keys::ShardKeys;
pub(crate) use shards::{Caches, Celebrity, Crowd, Dates, Grown, Growth, Loss, Shards, Written};
pub(crate) use sizes::Sizes;
pub(crate) use summary::Summary;

use crate::input::Requests;
use crate::model::{Belady, LruCurve};
use crate::progress::Progress;

/// Everything the terminal and the page show.
#[derive(Debug)]
pub(crate) struct Study {
    pub(crate) summary: Summary,
    pub(crate) sizes: Sizes,
    pub(crate) time_to_live: TimeToLive,
    pub(crate) cliff: Cliff,
    pub(crate) bad_days: BadDays,
    pub(crate) servers: Servers,
    /// `None` without the feature of sticky sessions.
    pub(crate) logins: Option<Logins>,
    pub(crate) replicas: Replicas,
    pub(crate) shard_keys: ShardKeys,
    pub(crate) shards: Shards,
    /// `None` without the features of the queue.
    pub(crate) rush: Option<Rush>,
    pub(crate) advice: Advice,
    /// Invariants that do not hold; empty unless a block has a bug.
    pub(crate) broken: Vec<String>,
}

impl Study {
    pub(crate) fn of(requests: &Requests, source: &str, progress: &Progress) -> Self {
        let mut broken = Vec::new();
        progress.stage("summary", 1);
        let summary = Summary::of(requests, source);
        let lru = LruCurve::new(&requests.keys, requests.unique());
        let belady = Belady::new(&requests.keys, requests.unique());
        progress.step();
        let sizes = Sizes::measure(requests, &belady, &lru, progress, &mut broken);
        let time_to_live = TimeToLive::measure(requests, sizes.suggested.capacity, progress);
        let cliff = Cliff::measure(requests, progress);
        progress.stage("these requests over shards", 1);
        let shard_keys = ShardKeys::of(requests);
        progress.step();
        let bad_days = BadDays::measure(progress, &mut broken);
        let servers = Servers::measure(progress, &mut broken);
        let logins = Logins::measure(progress, &mut broken);
        let replicas = Replicas::measure(progress, &mut broken);
        let shards = Shards::measure(progress, &mut broken);
        let rush = Rush::measure(progress, &mut broken);
        let advice = Advice::on(
            &summary,
            &sizes,
            &time_to_live,
            &cliff,
            &shard_keys,
            &bad_days.stampede,
        );
        progress.finish();
        Self {
            summary,
            sizes,
            time_to_live,
            cliff,
            bad_days,
            servers,
            logins,
            replicas,
            shard_keys,
            shards,
            rush,
            advice,
            broken,
        }
    }
}

/// The policies in the order in which they are shown.
pub(crate) const POLICIES: [Policy; 4] = [Policy::Adaptive, Policy::Lru, Policy::Lfu, Policy::Fifo];

/// Makes everything that is random in the cache the same in every run.
const SEED: u64 = 10;
