//! What is left of calls that were cancelled, each with a key of its own.

use std::future::pending;
use std::pin::pin;
use std::task::{Context, Waker};

use super::rivals::{
    AsyncSingleflight, AsyncSingleflightUnary, Moka, Ours, OwnMake, Rival, SingleflightAsync,
};
use super::row;
use crate::counting;
use crate::report::Row;

pub(super) fn measure() -> Vec<Row> {
    let ours = Ours::new();
    let kept = retained(&ours);
    let figures = vec![
        (Ours::NAME.to_owned(), kept),
        of::<AsyncSingleflight>(),
        of::<AsyncSingleflightUnary>(),
        of::<SingleflightAsync>(),
        of::<OwnMake>(),
        of::<Moka>(),
    ];
    let entries = vec![(Ours::NAME.to_owned(), ours.0.in_flight() as f64)];
    vec![
        row(
            "cancelled/100000 keys",
            "retained_bytes",
            "B",
            figures,
            Some(0.0),
            Some(0.0),
        ),
        row(
            "cancelled/100000 keys",
            "retained_entries",
            "",
            entries,
            Some(0.0),
            Some(0.0),
        ),
    ]
}

fn of<R: Rival>() -> (String, f64) {
    (R::NAME.to_owned(), retained(&R::new()))
}

/// Bytes kept after the calls, each of which began to work and was dropped.
fn retained<R: Rival>(rival: &R) -> f64 {
    counting::start();
    let before = counting::live_bytes();
    let mut context = Context::from_waker(Waker::noop());
    for key in 0..KEYS {
        let mut call = pin!(rival.work(key, pending()));
        assert!(call.as_mut().poll(&mut context).is_pending());
    }
    let after = counting::live_bytes();
    counting::stop();
    (after - before) as f64
}

const KEYS: u64 = 100_000;
