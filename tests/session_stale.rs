//! Sessions that are served from copies while their store is down: when, for how long, and when never.

#[path = "session_stale/flaky.rs"]
mod flaky;
mod session_store;
#[cfg(feature = "axum")]
#[path = "session_stale/web.rs"]
mod web;

use std::sync::Arc;
use std::time::Duration;

use flaky::{Flaky, late};
use session_store::{Bed, Knobs, begin, every_promise};
use tenfold::cache::tier::BreakerState;
use tenfold::session::serve_stale::{ServeStale, ServeStaleBuilder};
use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, MemoryStore, RevokeError, SaveError, SessionToken,
    Unavailable, Version, WallClock,
};
use tenfold::time::ManualClock;

/// While the store is there nobody can tell the difference.
mod in_front_of_a_store_that_answers {
    super::every_promise!(super::Front::default());
}

#[derive(Default)]
struct Front {
    clock: ManualClock,
}

impl Bed for Front {
    type Store = ServeStale<MemoryStore>;

    async fn store(&self, knobs: Knobs) -> Self::Store {
        let wall = WallClock::manual(&self.clock, START);
        let memory = MemoryStore::builder()
            .clock(wall.clone())
            .idle(knobs.idle)
            .absolute(knobs.absolute)
            .touch_every(knobs.touch_every)
            .max_per_user(knobs.max_per_user, knobs.per_user)
            .max_data(knobs.max_data)
            .build()
            .unwrap();
        let builder = ServeStale::builder(memory).wall_clock(wall);
        builder.clock(self.clock.clock()).build().unwrap()
    }

    async fn pass(&self, _store: &Self::Store, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

const START: u64 = 1_700_000_000;
const SECOND: Duration = Duration::from_secs(1);

struct World {
    clock: ManualClock,
    store: Arc<ServeStale<Flaky>>,
}

fn run(test: impl AsyncFnOnce(World)) {
    run_with(|builder| builder, test);
}

/// Sessions live for 60 seconds of idleness and 100 in all.
fn run_with(
    set: impl FnOnce(ServeStaleBuilder<Flaky>) -> ServeStaleBuilder<Flaky>,
    test: impl AsyncFnOnce(World),
) {
    let clock = ManualClock::new();
    let wall = WallClock::manual(&clock, START);
    let memory = MemoryStore::builder()
        .clock(wall.clone())
        .idle(SECOND * 60)
        .absolute(SECOND * 100)
        .build()
        .unwrap();
    let builder = ServeStale::builder(Flaky::new(memory)).wall_clock(wall);
    let store = set(builder.clock(clock.clock())).build().unwrap();
    let store = Arc::new(store);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(test(World { clock, store }));
}

impl World {
    fn below(&self) -> &Flaky {
        self.store.store()
    }

    /// A session of Ada's that was loaded, so that there is a copy.
    async fn known(&self) -> (SessionToken, Version) {
        let begun = begin(&*self.store, Some("ada"), b"1 lamp").await;
        assert!(self.store.load(&begun.0).await.unwrap().is_some());
        begun
    }

    /// Whether it can be loaded from a copy when the store is down.
    async fn is_served(&self, token: &SessionToken) -> bool {
        self.below().go_down();
        let served = self.store.load(token).await;
        self.below().come_back();
        match served {
            Ok(Some(loaded)) => loaded.stale().is_some(),
            Ok(None) => panic!("nobody knows whether there is one"),
            Err(_) => false,
        }
    }
}

#[test]
fn loads_are_served_while_the_store_is_down_and_say_so() {
    run(async |world| {
        let (token, version) = world.known().await;
        let fresh = world.store.load(&token).await.unwrap().unwrap();
        assert!(fresh.stale().is_none());
        world.clock.advance(SECOND * 3);
        world.below().go_down();
        for loaded in [
            world.store.load(&token).await,
            world.store.peek(&token).await,
        ] {
            let loaded = loaded.unwrap().unwrap();
            assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
            assert_eq!(loaded.user().unwrap().as_str(), "ada");
            assert_eq!(loaded.ends(), fresh.ends(), "no deadline is moved");
            let stale = loaded.stale().unwrap();
            assert_eq!((stale.age(), stale.why()), (SECOND * 3, &late()));
            assert!(format!("{loaded:?}").contains("TimedOut"));
        }
        // What was never loaded here is not known.
        let (unknown, _) = world.below().memory.create(None, b"".as_slice()).unwrap();
        assert_eq!(world.store.load(&unknown).await.unwrap_err(), late());

        world.below().come_back();
        assert!(
            world
                .store
                .load(&token)
                .await
                .unwrap()
                .unwrap()
                .stale()
                .is_none()
        );
        let stats = world.store.stats();
        assert_eq!((stats.served, stats.failed, stats.copies), (2, 1, 1));
    });
}

#[test]
fn nothing_but_loads_is_answered_without_the_store() {
    run(async |world| {
        let (token, version) = world.known().await;
        world.below().go_down();
        let (store, why) = (&world.store, late());
        let saved = store.save(&token, version, b"2".as_slice()).await;
        assert_eq!(saved, Err(SaveError::Unavailable(why.clone())));
        // The copy went with the save of which nobody knows.
        world.below().come_back();
        let (token, version) = world.known().await;
        world.below().fail(Unavailable::Suspended { pause: SECOND });
        let why = Unavailable::Suspended { pause: SECOND };
        let is_right = |found: &Unavailable| *found == why;
        let saved = store.save(&token, version, b"2".as_slice()).await;
        assert_eq!(saved, Err(SaveError::Unavailable(why.clone())));
        for change in [Some(b"2".to_vec()), None] {
            let modified = store.modify(&token, |_| (change.clone(), ())).await;
            assert_eq!(modified, Err(SaveError::Unavailable(why.clone())));
        }
        assert!(store.load(&token).await.unwrap().unwrap().stale().is_some());
        let listed = store.sessions_of("ada").await;
        assert!(is_right(&listed.unwrap_err()));
        let created = store.create(None, b"".as_slice()).await;
        assert!(matches!(created, Err(CreateError::Unavailable(found)) if is_right(&found)));
        for cycled in [store.cycle(&token).await, store.log_in(&token, "bob").await] {
            assert!(matches!(cycled, Err(CycleError::Unavailable(found)) if is_right(&found)));
        }
        let revoked = store.revoke(&token).await;
        assert!(matches!(revoked, Err(RevokeError::Unavailable(found)) if is_right(&found)));
        let revoked = store.revoke_user("ada", None).await;
        assert!(matches!(revoked, Err(RevokeError::Unavailable(found)) if is_right(&found)));
    });
}

#[test]
fn a_copy_is_served_for_so_long_and_no_longer() {
    run(async |world| {
        let (token, _) = world.known().await;
        // The time counts from when the store was asked, not from when it answered.
        let held = world.below().hold_next_after();
        let (store, asked) = (Arc::clone(&world.store), token.clone());
        let load = tokio::spawn(async move { store.load(&asked).await });
        held.reached().await;
        world.clock.advance(SECOND * 10);
        held.let_go();
        load.await.unwrap().unwrap();
        world.clock.advance(Duration::from_nanos(19_999_999_999));
        assert!(world.is_served(&token).await);
        world.clock.advance(Duration::from_nanos(1));
        assert!(!world.is_served(&token).await);
    });
}

#[test]
fn no_deadline_is_outlived_by_a_copy() {
    let longer = |builder: ServeStaleBuilder<Flaky>| builder.max_age(SECOND * 1000);
    run_with(longer, async |world| {
        // The idle one.
        let (token, _) = world.known().await;
        world.clock.advance(SECOND * 59);
        assert!(world.is_served(&token).await);
        world.clock.advance(SECOND);
        assert!(!world.is_served(&token).await);

        // The absolute one: what was used at 50 and ends at 100.
        let (token, _) = world.known().await;
        world.clock.advance(SECOND * 50);
        world.store.load(&token).await.unwrap();
        world.clock.advance(SECOND * 49);
        assert!(world.is_served(&token).await);
        world.clock.advance(SECOND);
        assert!(!world.is_served(&token).await);
    });
}

#[test]
fn what_is_ended_here_is_not_served_whether_or_not_the_store_answers() {
    run(async |world| {
        for how in 0..5 {
            for is_down in [false, true] {
                let (token, _) = world.known().await;
                assert!(world.is_served(&token).await);
                if is_down {
                    world.below().go_down();
                }
                let store = &world.store;
                let ended = match how {
                    0 => store.revoke(&token).await.is_ok(),
                    1 => store.revoke_key(token.key()).await.is_ok(),
                    2 => store.revoke_user("ada", None).await.is_ok(),
                    3 => store.cycle(&token).await.is_ok(),
                    _ => store.log_in(&token, "bob").await.is_ok(),
                };
                assert_eq!(ended, !is_down);
                world.below().go_down();
                assert!(store.load(&token).await.is_err(), "{how} {is_down}");
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
        for how in 0..4 {
            let (token, _) = begin(&*world.store, Some("ada"), b"").await;
            let held = world.below().hold_next_after();
            let (store, asked) = (Arc::clone(&world.store), token.clone());
            let load = tokio::spawn(async move { store.load(&asked).await });
            held.reached().await;
            let store = &world.store;
            match how {
                0 => drop(store.revoke(&token).await.unwrap()),
                1 => drop(store.revoke_user("ada", None).await.unwrap()),
                2 => drop(store.cycle(&token).await.unwrap()),
                // Another server has ended it, and another load finds out.
                _ => {
                    world.below().memory.revoke(&token).unwrap();
                    assert!(store.load(&token).await.unwrap().is_none());
                }
            }
            held.let_go();
            // It was there when it was asked for.
            assert!(load.await.unwrap().unwrap().is_some());
            assert!(!world.is_served(&token).await, "{how}");
        }
    });
}

#[test]
fn a_revocation_under_way_is_heeded_at_once() {
    run(async |world| {
        for how in 0..4 {
            let (token, _) = world.known().await;
            let held = world.below().hold_next_before();
            let (store, ended) = (Arc::clone(&world.store), token.clone());
            let end = tokio::spawn(async move {
                match how {
                    0 => store.revoke(&ended).await.is_ok(),
                    1 => store.revoke_user("ada", None).await.is_ok(),
                    2 => store.cycle(&ended).await.is_ok(),
                    _ => store.log_in(&ended, "bob").await.is_ok(),
                }
            });
            held.reached().await;
            assert!(!world.is_served(&token).await, "{how}");
            held.let_go();
            assert!(end.await.unwrap());
        }
    });
}

#[test]
fn a_load_during_a_revocation_does_not_outlive_it() {
    run(async |world| {
        for how in 0..3 {
            let (token, _) = begin(&*world.store, Some("ada"), b"").await;
            let held = world.below().hold_next_before();
            let (store, ended) = (Arc::clone(&world.store), token.clone());
            let end = tokio::spawn(async move {
                match how {
                    0 => store.revoke(&ended).await.is_ok(),
                    1 => store.revoke_user("ada", None).await.is_ok(),
                    _ => store.cycle(&ended).await.is_ok(),
                }
            });
            held.reached().await;
            // Begun and answered while the revocation is on its way.
            assert!(world.store.load(&token).await.unwrap().is_some());
            held.let_go();
            assert!(end.await.unwrap());
            assert!(!world.is_served(&token).await, "{how}");
        }
    });
}

#[test]
fn a_revocation_that_arrives_late_or_is_dropped_is_not_outrun() {
    run(async |world| {
        for how in 0..4 {
            let (token, _) = world.known().await;
            let store = &world.store;
            match how {
                0 => {
                    world.below().delay_next();
                    assert!(store.revoke(&token).await.is_err());
                }
                1 => {
                    world.below().delay_next();
                    assert!(store.revoke_user("ada", None).await.is_err());
                }
                2 => {
                    world.below().delay_next();
                    assert!(store.cycle(&token).await.is_err());
                }
                _ => {
                    let held = world.below().hold_next_before();
                    let (store, ended) = (Arc::clone(store), token.clone());
                    let end = tokio::spawn(async move { store.revoke(&ended).await });
                    held.reached().await;
                    end.abort();
                    assert!(end.await.unwrap_err().is_cancelled());
                }
            }
            // It is not there yet, and may come at any moment.
            assert!(store.load(&token).await.unwrap().is_some());
            assert!(!world.is_served(&token).await, "{how}");
            // It never came: copies are kept again.
            world.clock.advance(SECOND * 30);
            assert!(store.load(&token).await.unwrap().is_some());
            assert!(world.is_served(&token).await, "{how}");
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
fn a_copy_is_never_older_than_ones_own_save() {
    run(async |world| {
        let (token, version) = world.known().await;
        // Asked before the save, answered after it.
        let held = world.below().hold_next_after();
        let (store, asked) = (Arc::clone(&world.store), token.clone());
        let load = tokio::spawn(async move { store.load(&asked).await });
        held.reached().await;
        let newer = world.store.save(&token, version, b"2 lamps".as_slice());
        let newer = newer.await.unwrap();
        held.let_go();
        assert_eq!(&load.await.unwrap().unwrap().unwrap()[..], b"1 lamp");
        world.below().go_down();
        let served = world.store.load(&token).await.unwrap().unwrap();
        assert_eq!((&served[..], served.version()), (&b"2 lamps"[..], newer));
        assert_eq!(served.user().unwrap().as_str(), "ada");
        world.below().come_back();

        // One of which nobody knows whether it was made.
        world.below().lose_next_answer();
        let saved = world.store.save(&token, newer, b"3".as_slice()).await;
        assert_eq!(saved, Err(SaveError::Unavailable(late())));
        assert!(!world.is_served(&token).await);
        // And one that others were faster than.
        let now = world.store.load(&token).await.unwrap().unwrap();
        let saved = world.store.save(&token, newer, b"4".as_slice()).await;
        let current = now.version();
        assert_eq!(saved, Err(SaveError::Conflict { current }));
        assert!(!world.is_served(&token).await);
        // One that is too large changes nothing.
        world.store.load(&token).await.unwrap();
        let saved = world.store.save(&token, current, vec![0; 1 << 20]).await;
        assert!(matches!(saved, Err(SaveError::TooLarge { .. })));
        assert!(world.is_served(&token).await);
    });
}

#[test]
fn a_save_that_a_revocation_overtakes_leaves_no_copy() {
    run(async |world| {
        for by_user in [false, true] {
            let (token, version) = world.known().await;
            let held = world.below().hold_next_after();
            let (store, saved) = (Arc::clone(&world.store), token.clone());
            let save =
                tokio::spawn(async move { store.save(&saved, version, b"2".as_slice()).await });
            held.reached().await;
            if by_user {
                world.store.revoke_user("ada", None).await.unwrap();
            } else {
                world.store.revoke(&token).await.unwrap();
            }
            held.let_go();
            assert!(save.await.unwrap().is_ok());
            assert!(!world.is_served(&token).await);
        }
    });
}

#[test]
fn a_store_that_failed_five_times_is_left_alone_for_a_second() {
    run(async |world| {
        let (token, _) = world.known().await;
        world.below().go_down();
        let before = world.below().asked();
        for _ in 0..100 {
            assert!(world.store.load(&token).await.unwrap().is_some());
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
        let (store, asked) = (Arc::clone(&world.store), token.clone());
        let probe = tokio::spawn(async move { store.load(&asked).await });
        held.reached().await;
        assert!(
            world
                .store
                .load(&token)
                .await
                .unwrap()
                .unwrap()
                .stale()
                .is_some()
        );
        held.let_go();
        assert!(probe.await.unwrap().unwrap().unwrap().stale().is_some());
        assert_eq!(world.below().asked() - before, 6);
        assert_eq!(world.store.breaker(), BreakerState::Open);

        world.clock.advance(SECOND);
        world.below().come_back();
        assert!(
            world
                .store
                .load(&token)
                .await
                .unwrap()
                .unwrap()
                .stale()
                .is_none()
        );
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
                assert!(world.store.load(&token).await.unwrap().is_some());
            }
            world.below().come_back();
            world.store.load(&token).await.unwrap();
        }
        // A refusal is an answer, and does not say that there is no session.
        let cause: tenfold::session::Cause = Arc::new(std::fmt::Error);
        world.below().fail(Unavailable::Refused(cause));
        for _ in 0..10 {
            let loaded = world.store.load(&token).await.unwrap().unwrap();
            assert!(loaded.stale().is_some());
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

#[test]
fn copies_have_a_bound_in_bytes() {
    run_with(
        |builder| builder.max_bytes(20_000),
        async |world| {
            for number in 0..200 {
                let user = format!("user {number}");
                let (token, _) = begin(&*world.store, Some(&user), &[0; 700]).await;
                world.store.load(&token).await.unwrap();
                assert!(world.store.stats().bytes <= 20_000);
            }
            assert!((10..=20).contains(&world.store.stats().copies));
            // One too large for it is served as long as the store is there.
            let (token, _) = begin(&*world.store, None, &vec![0; 30_000]).await;
            assert!(world.store.load(&token).await.unwrap().is_some());
            assert!(!world.is_served(&token).await);
        },
    );
}

#[test]
fn copies_without_time_or_room_are_refused() {
    let store = || ServeStale::builder(MemoryStore::builder().build().unwrap());
    for builder in [store().max_age(Duration::ZERO), store().max_bytes(0)] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.ends_with("must be more than 0, found 0"), "{error}");
    }
}
