//! Random interleavings of loads, failures, timeouts and invalidations against
//! a naive model, under a clock that is turned by hand.

#[path = "../model/read_through.rs"]
mod model;

use model::{Config, KEYS, Op, Reply, Script, TAGS};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn every_interleaving_answers_as_the_model_does(
        config in config(),
        ops in prop::collection::vec(op(), 1..200),
    ) {
        model::run(&config, &ops);
    }
}

fn config() -> impl Strategy<Value = Config> {
    (
        prop::option::weighted(0.9, 1..20u8),
        prop::option::of(1..10u8),
        prop::option::weighted(0.7, 1..30u8),
        1..10u8,
        prop::option::weighted(0.3, 1..30u8),
        prop::array::uniform4(any::<bool>()),
    )
        .prop_map(
            |(time_to_live, negative_ttl, max_stale, throttle, keep_stale, flags)| {
                let [refreshes_ahead, soft_timeout, hard_timeout, loads_many] = flags;
                Config {
                    time_to_live,
                    negative_ttl,
                    max_stale,
                    throttle,
                    keep_stale,
                    refreshes_ahead,
                    soft_timeout,
                    hard_timeout,
                    loads_many,
                }
            },
        )
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..KEYS;
    let ttl = || prop::option::weighted(0.2, 0..15u8);
    let tag = || prop::option::weighted(0.5, 0..TAGS);
    prop_oneof![
        12 => (key(), script()).prop_map(|(key, script)| Op::Get(key, script)),
        4 => (key(), reply()).prop_map(|(key, reply)| Op::GetWhileFinishing(key, reply)),
        3 => (any::<u8>(), reply()).prop_map(|(bits, reply)| Op::GetMany(bits, reply)),
        4 => (key(), reply()).prop_map(|(key, reply)| Op::Finish(key, reply)),
        1 => Just(Op::DropTasks),
        2 => (key(), ttl(), tag()).prop_map(|(key, ttl, tag)| Op::Insert(key, ttl, tag)),
        1 => key().prop_map(Op::InsertAbsent),
        1 => key().prop_map(Op::Invalidate),
        2 => key().prop_map(Op::Expire),
        2 => (0..TAGS).prop_map(Op::InvalidateTag),
        1 => Just(Op::ClearExpire),
        1 => Just(Op::ClearRemove),
        8 => (0..15u8).prop_map(Op::Advance),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    prop_oneof![
        3 => reply().prop_map(Script::Now),
        1 => Just(Script::Slow),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let ttl = prop::option::weighted(0.2, 0..15u8);
    let tag = prop::option::weighted(0.5, 0..TAGS);
    prop_oneof![
        4 => (ttl, tag).prop_map(|(ttl, tag)| Reply::Value { ttl, tag }),
        1 => Just(Reply::Absent),
        1 => Just(Reply::NotModified),
        2 => Just(Reply::Fail),
    ]
}

/// Few enough for every day; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(300)
}
