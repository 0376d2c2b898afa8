//! What is ended is not served, wherever a load or the end itself is on its way.

use tenfold::cache::tier::BreakerState;
use tenfold::session::serve_stale::ServeStale;
use tenfold::session::{AsyncSessionStore, SaveError, SessionToken};

use crate::flaky::Flaky;
use crate::session_store::begin;
use crate::{SECOND, run};

#[test]
fn what_is_ended_here_is_not_served_whether_or_not_the_store_answers() {
    run(async |world| {
        for how in End::ALL {
            for is_down in [false, true] {
                let (token, _) = world.known().await;
                assert!(world.is_served(&token).await);
                if is_down {
                    world.below().go_down();
                }
                let store = &world.store;
                assert_eq!(how.end(store, &token).await, !is_down);
                world.below().go_down();
                assert!(store.load(&token).await.is_err(), "{how:?} {is_down}");
                world.below().come_back();
                assert_eq!(store.load(&token).await.unwrap().is_some(), is_down);
                // Whatever is still on its way has arrived.
                world.clock.advance(SECOND * 30);
            }
        }
    });
}

#[test]
fn what_is_ended_while_the_store_is_left_alone_is_not_served() {
    run(async |world| {
        let (token, _) = world.known().await;
        let (other, _) = world.known().await;
        let (bobs, _) = begin(&*world.store, Some("bob"), b"").await;
        world.store.load(&bobs).await.unwrap();
        world.below().go_down();
        while world.store.breaker() == BreakerState::Closed {
            assert!(world.store.load(&token).await.unwrap().is_some());
        }
        let asked = world.below().asked();
        assert!(world.store.revoke(&token).await.is_err());
        assert!(world.store.load(&token).await.is_err());
        assert!(world.store.load(&other).await.unwrap().is_some());
        assert!(world.store.revoke_user("ada", None).await.is_err());
        assert!(world.store.load(&other).await.is_err());
        assert!(world.store.load(&bobs).await.unwrap().is_some());
        assert_eq!(world.below().asked(), asked);
    });
}

#[test]
fn a_load_under_way_does_not_bring_back_what_is_ended_meanwhile() {
    run(async |world| {
        // Here, or by another server, of which another load finds out.
        for how in End::ALL.map(Some).into_iter().chain([None]) {
            let (token, _) = begin(&*world.store, Some("ada"), b"").await;
            let (held, load) = world.load_held_after(&token).await;
            let store = &world.store;
            if let Some(how) = how {
                assert!(how.end(store, &token).await);
            } else {
                world.below().memory.revoke(&token).unwrap();
                assert!(store.load(&token).await.unwrap().is_none());
            }
            held.let_go();
            // It was there when it was asked for.
            assert!(load.await.unwrap().unwrap().is_some());
            assert!(!world.is_served(&token).await, "{how:?}");
        }
    });
}

#[test]
fn a_revocation_under_way_is_heeded_at_once() {
    run(async |world| {
        for how in End::ALL {
            let (token, _) = world.known().await;
            let held = world.below().hold_next_before();
            let end = world.spawn(&token, |store, token| async move {
                how.end(&store, &token).await
            });
            held.reached().await;
            assert!(!world.is_served(&token).await, "{how:?}");
            held.let_go();
            assert!(end.await.unwrap());
        }
    });
}

#[test]
fn a_load_during_a_revocation_does_not_outlive_it() {
    run(async |world| {
        for how in End::ALL {
            let (token, _) = begin(&*world.store, Some("ada"), b"").await;
            let held = world.below().hold_next_before();
            let end = world.spawn(&token, |store, token| async move {
                how.end(&store, &token).await
            });
            held.reached().await;
            // Begun and answered while the revocation is on its way.
            assert!(world.store.load(&token).await.unwrap().is_some());
            held.let_go();
            assert!(end.await.unwrap());
            assert!(!world.is_served(&token).await, "{how:?}");
        }
    });
}

#[test]
fn a_revocation_that_arrives_late_or_is_dropped_is_not_outrun() {
    run(async |world| {
        // Late, or dropped.
        for how in End::ALL.map(Some).into_iter().chain([None]) {
            let (token, _) = world.known().await;
            let store = &world.store;
            if let Some(how) = how {
                world.below().delay_next();
                assert!(!how.end(store, &token).await);
            } else {
                let held = world.below().hold_next_before();
                let end = world.spawn(
                    &token,
                    |store, token| async move { store.revoke(&token).await },
                );
                held.reached().await;
                end.abort();
                assert!(end.await.unwrap_err().is_cancelled());
            }
            // It is not there yet, and may come at any moment.
            assert!(store.load(&token).await.unwrap().is_some());
            assert!(!world.is_served(&token).await, "{how:?}");
            // It never came: copies are kept again.
            world.clock.advance(SECOND * 30);
            assert!(store.load(&token).await.unwrap().is_some());
            assert!(world.is_served(&token).await, "{how:?}");
            store.revoke_user("ada", None).await.unwrap();
        }
    });
}

#[test]
fn what_others_ended_is_not_served_once_it_was_heard_of() {
    run(async |world| {
        for how in 0..3 {
            let (token, version) = world.known().await;
            world.below().memory.revoke(&token).unwrap();
            assert!(world.is_served(&token).await, "nobody has said so here");
            let store = &world.store;
            match how {
                0 => assert!(store.load(&token).await.unwrap().is_none()),
                1 => {
                    let saved = store.save(&token, version, b"".as_slice()).await;
                    assert_eq!(saved, Err(SaveError::Gone));
                }
                _ => assert!(store.cycle(&token).await.is_err()),
            }
            assert!(!world.is_served(&token).await, "{how}");
        }
    });
}

#[test]
fn a_save_that_a_revocation_overtakes_leaves_no_copy() {
    run(async |world| {
        for how in [End::Token, End::User] {
            let (token, version) = world.known().await;
            let held = world.below().hold_next_after();
            let save = world.spawn(&token, move |store, token| async move {
                store.save(&token, version, b"2".as_slice()).await
            });
            held.reached().await;
            assert!(how.end(&world.store, &token).await);
            held.let_go();
            assert!(save.await.unwrap().is_ok());
            assert!(!world.is_served(&token).await);
        }
    });
}

/// How a session is ended here.
#[derive(Debug, Clone, Copy)]
enum End {
    Token,
    Key,
    User,
    Cycle,
    LogIn,
}

impl End {
    const ALL: [Self; 5] = [Self::Token, Self::Key, Self::User, Self::Cycle, Self::LogIn];

    /// Says whether the store answered.
    async fn end(self, store: &ServeStale<Flaky>, token: &SessionToken) -> bool {
        match self {
            Self::Token => store.revoke(token).await.is_ok(),
            Self::Key => store.revoke_key(token.key()).await.is_ok(),
            Self::User => store.revoke_user("ada", None).await.is_ok(),
            Self::Cycle => store.cycle(token).await.is_ok(),
            Self::LogIn => store.log_in(token, "bob").await.is_ok(),
        }
    }
}
