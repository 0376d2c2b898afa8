//! The cache against a naive model, over random sequences of operations.

#[path = "../model/mod.rs"]
mod model;

use model::{Config, Op};
use proptest::prelude::*;
use tenfold::cache::Policy;

fn op() -> impl Strategy<Value = Op> {
    let key = 0..40u8;
    let value = any::<u16>();
    prop_oneof![
        6 => key.clone().prop_map(Op::Get),
        1 => key.clone().prop_map(Op::GetRef),
        1 => key.clone().prop_map(Op::Peek),
        1 => key.clone().prop_map(Op::Contains),
        8 => (key.clone(), value).prop_map(|(k, v)| Op::Insert(k, v)),
        1 => (key.clone(), value).prop_map(|(k, v)| Op::TryInsert(k, v)),
        2 => (key.clone(), value, 1..9u8).prop_map(|(k, v, s)| Op::InsertFor(k, v, s)),
        1 => (key.clone(), value, 0..9u8).prop_map(|(k, v, s)| Op::InsertUntil(k, v, s)),
        1 => (key.clone(), value).prop_map(|(k, v)| Op::InsertIfAbsent(k, v)),
        2 => (key.clone(), value).prop_map(|(k, v)| Op::Load(k, v)),
        1 => key.clone().prop_map(Op::FailToLoad),
        1 => (key.clone(), value).prop_map(|(k, v)| Op::Lease(k, v)),
        1 => (key.clone(), value).prop_map(|(k, v)| Op::LeaseTooLate(k, v)),
        1 => (key.clone(), value).prop_map(|(k, v)| Op::Upsert(k, v)),
        1 => key.clone().prop_map(Op::ComputeRemoval),
        1 => key.clone().prop_map(Op::ComputeNothing),
        1 => key.clone().prop_map(Op::Remove),
        1 => key.clone().prop_map(Op::RemoveEntry),
        1 => key.prop_map(Op::Invalidate),
        3 => (0..5u8).prop_map(Op::Advance),
        1 => rare(),
    ]
}

fn rare() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::InvalidateAll),
        Just(Op::Drain),
        Just(Op::PurgeExpired),
        (1..4u16).prop_map(Op::RetainMultiplesOf),
        (2..5u16).prop_map(Op::InvalidateMultiplesOf),
        (0..30u8).prop_map(Op::Resize),
        (0..90u8).prop_map(Op::ResizeWeight),
    ]
}

fn bounds() -> impl Strategy<Value = (Option<usize>, Option<u64>)> {
    prop_oneof![
        (0..30usize).prop_map(|entries| (Some(entries), None)),
        (0..90u64).prop_map(|weight| (None, Some(weight))),
        (1..30usize, 1..90u64).prop_map(|(entries, weight)| (Some(entries), Some(weight))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn the_evicted_key_is_the_models(
        policy in prop::sample::select(vec![Policy::Fifo, Policy::Lru, Policy::Lfu]),
        (max_entries, max_weight) in bounds(),
        time_to_live in prop::option::weighted(0.3, 1..9u8),
        time_to_idle in prop::option::weighted(0.3, 1..9u8),
        ops in prop::collection::vec(op(), 1..400),
    ) {
        let config = Config {
            policy, max_entries, max_weight, time_to_live, time_to_idle, shards: 1,
        };
        model::run(&config, &ops);
    }

    /// Over several shards room may be made in a shard that is not the
    /// fullest, but never beyond need; the model follows.
    #[test]
    fn the_default_policy_keeps_bounds_and_deadlines(
        (max_entries, max_weight) in bounds(),
        time_to_live in prop::option::of(1..9u8),
        time_to_idle in prop::option::of(1..9u8),
        shards in prop::sample::select(vec![1, 2, 8]),
        ops in prop::collection::vec(op(), 1..400),
    ) {
        let policy = Policy::Adaptive;
        let config = Config { policy, max_entries, max_weight, time_to_live, time_to_idle, shards };
        model::run(&config, &ops);
    }
}

/// Few enough for every day; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(120)
}
