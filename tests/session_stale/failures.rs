//! Which failures are bridged, and when the store is left alone.

use std::sync::Arc;

use tenfold::cache::tier::BreakerState;
use tenfold::session::{AsyncSessionStore, CreateError, Unavailable};

use crate::{SECOND, run};

#[test]
fn a_store_that_failed_five_times_is_left_alone_for_a_second() {
    run(async |world| {
        let (token, _) = world.known().await;
        world.below().go_down();
        let before = world.below().asked();
        for _ in 0..100 {
            assert!(world.is_stale(&token).await);
        }
        assert_eq!(world.below().asked() - before, 5);
        let loaded = world.store.load(&token).await.unwrap().unwrap();
        let suspended = Unavailable::Suspended { pause: SECOND };
        assert_eq!(loaded.stale().unwrap().why(), &suspended);
        let created = world.store.create(None, b"".as_slice()).await;
        assert!(matches!(created, Err(CreateError::Unavailable(why)) if why == suspended));
        assert_eq!(world.store.stats().breaker, BreakerState::Open);

        // Then one call finds out, and the others do not wait for it.
        world.clock.advance(SECOND);
        assert_eq!(world.store.breaker(), BreakerState::HalfOpen);
        let held = world.below().hold_next_before();
        let probe = world.spawn(
            &token,
            |store, token| async move { store.load(&token).await },
        );
        held.reached().await;
        assert!(world.is_stale(&token).await);
        held.let_go();
        assert!(probe.await.unwrap().unwrap().unwrap().stale().is_some());
        assert_eq!(world.below().asked() - before, 6);
        assert_eq!(world.store.breaker(), BreakerState::Open);

        world.clock.advance(SECOND);
        world.below().come_back();
        assert!(!world.is_stale(&token).await);
        assert_eq!(world.store.breaker(), BreakerState::Closed);
    });
}

#[test]
fn an_answer_between_failures_keeps_the_store_asked() {
    run(async |world| {
        let (token, _) = world.known().await;
        for _ in 0..10 {
            world.below().go_down();
            for _ in 0..4 {
                assert!(world.is_stale(&token).await);
            }
            world.below().come_back();
            world.store.load(&token).await.unwrap();
        }
        // A refusal is an answer, and does not say that there is no session.
        let cause: tenfold::session::Cause = Arc::new(std::fmt::Error);
        world.below().fail(Unavailable::Refused(cause));
        for _ in 0..10 {
            assert!(world.is_stale(&token).await);
        }
        assert_eq!(world.store.breaker(), BreakerState::Closed);
    });
}

#[test]
fn what_time_does_not_heal_stays_an_error() {
    run(async |world| {
        let (token, _) = world.known().await;
        let expected = "a store of sessions";
        for why in [
            Unavailable::Malformed { expected },
            Unavailable::Misdirected { expected },
        ] {
            world.below().fail(why.clone());
            for _ in 0..10 {
                assert_eq!(world.store.load(&token).await.unwrap_err(), why);
            }
        }
        assert_eq!(world.store.breaker(), BreakerState::Closed);
    });
}
