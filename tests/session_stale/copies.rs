//! What is served, how old it may be, and how much there may be of it.

use std::time::Duration;

use tenfold::session::serve_stale::{ServeStale, ServeStaleBuilder};
use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, MemoryStore, RevokeError, SaveError, Unavailable,
};

use crate::flaky::{Flaky, late};
use crate::session_store::begin;
use crate::{SECOND, run, run_with};

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
        assert!(!world.is_stale(&token).await);
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
        let (held, load) = world.load_held_after(&token).await;
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
fn a_copy_is_never_older_than_ones_own_save() {
    run(async |world| {
        let (token, version) = world.known().await;
        // Asked before the save, answered after it.
        let (held, load) = world.load_held_after(&token).await;
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
