//! The queue beside a naive model, over openings.

#[path = "../model/queue/mod.rs"]
mod model;

use model::Op;
use proptest::prelude::*;

fn op() -> impl Strategy<Value = Op> {
    let byte = any::<u8>;
    prop_oneof![
        12 => (byte(), byte(), byte()).prop_map(|(n, kind, level)| Op::Publish(n, kind, level)),
        10 => (byte(), byte()).prop_map(|(group, most)| Op::Recv(group, most)),
        5 => byte().prop_map(Op::Ack),
        1 => byte().prop_map(Op::AckDurable),
        2 => byte().prop_map(Op::AckAll),
        2 => byte().prop_map(Op::Nack),
        2 => (byte(), 0..5_u8).prop_map(|(index, pause)| Op::NackIn(index, pause)),
        2 => byte().prop_map(Op::Reject),
        1 => (byte(), 0..30_u8).prop_map(|(index, by)| Op::Extend(index, by)),
        1 => byte().prop_map(Op::Drop),
        1 => (byte(), byte()).prop_map(|(group, start)| Op::Group(group, start)),
        1 => (byte(), byte()).prop_map(|(group, start)| Op::Replay(group, start)),
        1 => byte().prop_map(Op::RemoveGroup),
        1 => byte().prop_map(Op::Redrive),
        1 => byte().prop_map(Op::RemoveDead),
        2 => Just(Op::Checkpoint),
        2 => Just(Op::Flush),
        1 => Just(Op::Close),
        1 => Just(Op::Kill),
        1 => Just(Op::PowerCut),
        4 => (0..12_u8).prop_map(Op::Advance),
    ]
}

fn cases() -> u32 {
    std::env::var("TENFOLD_SEEDS").map_or(300, |times| 300 * times.parse::<u32>().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Writes were lost after a queue was opened again, and nobody had compared.
    #[test]
    fn a_queue_is_what_its_model_says_whenever_it_is_opened(
        seed in any::<u64>(),
        keeps in any::<bool>(),
        ops in prop::collection::vec(op(), 1..200),
    ) {
        model::run(seed, keeps, &ops);
    }
}
