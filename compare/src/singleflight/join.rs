//! What it costs to come second: from the call to standing in line.

use std::future::pending;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Instant;

use super::rivals::{
    AsyncSingleflight, AsyncSingleflightUnary, Moka, Ours, OwnMake, Rival, SingleflightAsync,
};
use super::{Lane, medians, row};
use crate::report::Row;

pub(super) fn measure(rounds: usize) -> Vec<Row> {
    let lanes = vec![
        lane::<Ours>(),
        lane::<AsyncSingleflight>(),
        lane::<AsyncSingleflightUnary>(),
        lane::<SingleflightAsync>(),
        lane::<OwnMake>(),
        lane::<Moka>(),
    ];
    let figures = medians(lanes, 10 * rounds);
    vec![row(
        "follower/async",
        "time_to_join",
        "ns",
        figures,
        None,
        Some(120.0),
    )]
}

fn lane<R: Rival>() -> Lane {
    Lane::new(R::NAME, || {
        let rival = R::new();
        let mut context = Context::from_waker(Waker::noop());
        let mut leader = pin!(rival.work(1, pending()));
        assert!(leader.as_mut().poll(&mut context).is_pending());
        let mut followers: Vec<_> = (0..FOLLOWERS)
            .map(|_| Box::pin(rival.work(1, pending())))
            .collect();
        let start = Instant::now();
        for follower in &mut followers {
            assert!(follower.as_mut().poll(&mut context).is_pending());
        }
        start.elapsed().as_nanos() as f64 / FOLLOWERS as f64
    })
}

const FOLLOWERS: usize = 1_000;
