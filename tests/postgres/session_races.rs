//! Two calls of which one stands still in the middle of its transaction.

use std::sync::Arc;
use std::time::Duration;

use tenfold::postgres::sessions::PostgresStore;
use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, PerUser, SaveError, Unavailable,
};
use tokio::task::JoinHandle;

use crate::Postgres;
use crate::cluster::wait_until;
use crate::session_store::{Bed as _, Knobs, begin, is_there, run};
use crate::stall::Stall;

/// Begins a call that will stand still.
fn call<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    store: &Arc<PostgresStore>,
    call: impl FnOnce(Arc<PostgresStore>) -> F,
) -> JoinHandle<T> {
    tokio::spawn(call(Arc::clone(store)))
}

/// A log-out everywhere that looks before a log-in commits, and is told that it is over after that.
#[test]
fn a_session_that_is_being_begun_does_not_escape() {
    run(async {
        let bed = Postgres::new();
        let store = Arc::new(bed.store(Knobs::default()).await);
        let stall = Stall::of(bed.server, &bed.table, "INSERT").await;
        let begun = call(&store, |store| async move {
            begin(&*store, Some("ada"), b"").await
        });
        stall.wait_for(1);
        let ended = call(&store, |store| async move {
            store.revoke_user("ada", None).await
        });
        stall.wait_for(2);
        stall.end().await;
        let (token, _) = begun.await.unwrap();
        assert_eq!(ended.await.unwrap().unwrap(), 1);
        assert!(!is_there(&*store, &token).await);
    });
}

#[test]
fn a_session_that_is_being_logged_in_does_not_escape() {
    run(async {
        let bed = Postgres::new();
        let store = Arc::new(bed.store(Knobs::default()).await);
        let (guest, _) = begin(&*store, None, b"").await;
        let stall = Stall::of(bed.server, &bed.table, "UPDATE").await;
        let logged_in = call(
            &store,
            |store| async move { store.log_in(&guest, "ada").await },
        );
        stall.wait_for(1);
        let ended = call(&store, |store| async move {
            store.revoke_user("ada", None).await
        });
        stall.wait_for(2);
        stall.end().await;
        let token = logged_in.await.unwrap().unwrap();
        assert_eq!(ended.await.unwrap().unwrap(), 1);
        assert!(!is_there(&*store, &token).await);
    });
}

#[test]
fn a_session_that_is_being_cycled_does_not_escape() {
    run(async {
        let bed = Postgres::new();
        let store = Arc::new(bed.store(Knobs::default()).await);
        let (old, _) = begin(&*store, Some("ada"), b"").await;
        let stall = Stall::of(bed.server, &bed.table, "UPDATE").await;
        let cycled = call(&store, |store| async move { store.cycle(&old).await });
        stall.wait_for(1);
        let ended = call(&store, |store| async move {
            store.revoke_user("ada", None).await
        });
        stall.wait_for(2);
        stall.end().await;
        let token = cycled.await.unwrap().unwrap();
        assert_eq!(ended.await.unwrap().unwrap(), 1);
        assert!(!is_there(&*store, &token).await);
    });
}

#[test]
fn of_two_saves_one_wins_and_the_other_is_told_by_which() {
    run(async {
        let bed = Postgres::new();
        let store = Arc::new(bed.store(Knobs::default()).await);
        let (token, version) = begin(&*store, None, b"").await;
        let stall = Stall::of(bed.server, &bed.table, "UPDATE").await;
        let save = |data: &'static [u8]| {
            let token = token.clone();
            call(&store, move |store| async move {
                store.save(&token, version, data).await
            })
        };
        let first = save(b"first");
        stall.wait_for(1);
        let second = save(b"second");
        stall.wait_for(2);
        // A load waits for nobody, and sees what is committed.
        let loaded = store.load(&token).await.unwrap().unwrap();
        assert_eq!((&loaded[..], loaded.version()), (&b""[..], version));
        stall.end().await;
        let current = first.await.unwrap().unwrap();
        assert_eq!(second.await.unwrap(), Err(SaveError::Conflict { current }));
        let loaded = store.load(&token).await.unwrap().unwrap();
        assert_eq!((&loaded[..], loaded.version()), (&b"first"[..], current));
    });
}

#[test]
fn a_save_that_waited_for_a_cycle_or_an_end_is_too_late() {
    run(async {
        let bed = Postgres::new();
        let store = Arc::new(bed.store(Knobs::default()).await);
        for cycles in [true, false] {
            let (token, version) = begin(&*store, Some("ada"), b"data").await;
            let statement = if cycles { "UPDATE" } else { "DELETE" };
            let stall = Stall::of(bed.server, &bed.table, statement).await;
            let old = token.clone();
            let first = call(&store, move |store| async move {
                if cycles {
                    return store.cycle(&old).await.map(Some);
                }
                store.revoke(&old).await.unwrap();
                Ok(None)
            });
            stall.wait_for(1);
            let saved = call(&store, move |store| async move {
                store.save(&token, version, b"late".as_slice()).await
            });
            stall.wait_for(2);
            stall.end().await;
            let fresh = first.await.unwrap().unwrap();
            assert_eq!(saved.await.unwrap(), Err(SaveError::Gone));
            if let Some(fresh) = fresh {
                let loaded = store.load(&fresh).await.unwrap().unwrap();
                assert_eq!(&loaded[..], b"data");
            }
        }
    });
}

#[test]
fn of_two_log_ins_for_the_last_room_one_is_refused() {
    run(async {
        for per_user in [PerUser::Refuse, PerUser::EvictOldest] {
            let bed = Postgres::new();
            let knobs = Knobs {
                max_per_user: 1,
                per_user,
                ..Knobs::default()
            };
            let store = Arc::new(bed.store(knobs).await);
            let stall = Stall::of(bed.server, &bed.table, "INSERT").await;
            let create = || {
                call(&store, |store| async move {
                    store.create(Some("ada".into()), b"".as_slice()).await
                })
            };
            let first = create();
            stall.wait_for(1);
            let second = create();
            stall.wait_for(2);
            stall.end().await;
            let (first, _) = first.await.unwrap().unwrap();
            let second = second.await.unwrap();
            let list = store.sessions_of("ada").await.unwrap();
            assert_eq!(list.len(), 1);
            if per_user == PerUser::Refuse {
                let refused = matches!(second, Err(CreateError::UserFull { max: 1 }));
                assert!(refused, "{second:?}");
                assert_eq!(list[0].key, first.key());
            } else {
                assert_eq!(list[0].key, second.unwrap().0.key());
            }
        }
    });
}

/// The oldest session gets a new key while it is to be evicted: it is the session that leaves, not the key.
#[test]
fn a_session_that_is_being_cycled_makes_room_all_the_same() {
    run(async {
        let bed = Postgres::new();
        let knobs = Knobs {
            max_per_user: 1,
            ..Knobs::default()
        };
        let store = Arc::new(bed.store(knobs).await);
        let (old, _) = begin(&*store, Some("ada"), b"").await;
        let stall = Stall::of(bed.server, &bed.table, "UPDATE").await;
        let cycled = call(&store, |store| async move { store.cycle(&old).await });
        stall.wait_for(1);
        let begun = call(&store, |store| async move {
            begin(&*store, Some("ada"), b"").await
        });
        stall.wait_for(2);
        stall.end().await;
        let cycled = cycled.await.unwrap().unwrap();
        let (token, _) = begun.await.unwrap();
        assert!(!is_there(&*store, &cycled).await);
        assert!(is_there(&*store, &token).await);
    });
}

#[test]
fn a_sweep_waits_for_nobody() {
    run(async {
        let bed = Postgres::new();
        let store = Arc::new(bed.store(Knobs::default()).await);
        let (token, version) = begin(&*store, None, b"").await;
        begin(&*store, None, b"over").await;
        bed.pass(&store, 300).await;
        store.load(&token).await.unwrap();
        bed.pass(&store, 310).await;
        let stall = Stall::of(bed.server, &bed.table, "UPDATE").await;
        let used = token.clone();
        let saved = call(&store, move |store| async move {
            store.save(&used, version, b"late".as_slice()).await
        });
        stall.wait_for(1);
        // Both are due to be looked at, and one is in use.
        let swept = store.sweep(10).await.unwrap();
        assert_eq!((swept.looked, swept.removed), (1, 1));
        stall.end().await;
        saved.await.unwrap().unwrap();
        let swept = store.sweep(10).await.unwrap();
        assert_eq!((swept.looked, swept.removed), (1, 0));
        assert!(is_there(&*store, &token).await);
        assert_eq!(store.sweep(10).await.unwrap().looked, 0);
    });
}

#[test]
fn a_call_that_has_to_wait_ends_in_time_on_both_sides() {
    run(async {
        let bed = Postgres::new();
        let store = bed.store(Knobs::default()).await;
        let (token, version) = begin(&store, None, b"").await;
        let limit = Duration::from_millis(300);
        let hasty = Arc::new(bed.builder().op_timeout(limit).build().unwrap());
        let stall = Stall::of(bed.server, &bed.table, "UPDATE").await;
        let timed_out = |why: &Unavailable| *why == Unavailable::TimedOut { limit };
        let saved = hasty.save(&token, version, b"".as_slice()).await;
        assert!(
            matches!(&saved, Err(SaveError::Unavailable(why)) if timed_out(why)),
            "{saved:?}"
        );
        let cycled = hasty.cycle(&token).await;
        assert!(matches!(&cycled, Err(CycleError::Unavailable(why)) if timed_out(why)));
        // The server has not kept waiting for it.
        wait_until("nobody waits", || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            let own = format!("{waiting} AND application_name = '{}'", bed.table);
            bed.server.sql(&own) == "0"
        });
        stall.end().await;
        assert!(is_there(&*hasty, &token).await);
    });
}

/// A request is given up half-way: its connection is not lent to the next, with an answer still to come.
#[test]
fn a_call_that_is_dropped_in_the_middle_harms_nobody() {
    run(async {
        let bed = Postgres::new();
        let store = Arc::new(bed.builder().max_connections(1).build().unwrap());
        store.create_table().await.unwrap();
        let (token, version) = begin(&*store, Some("ada"), b"data").await;
        let stall = Stall::of(bed.server, &bed.table, "INSERT OR UPDATE").await;
        for which in 0..2 {
            let used = token.clone();
            let given_up = call(&store, move |store| async move {
                if which == 0 {
                    let _ = store.save(&used, version, b"late".as_slice()).await;
                } else {
                    let _ = store.create(Some("ada".into()), b"".as_slice()).await;
                }
            });
            stall.wait_for(which + 1);
            given_up.abort();
            assert!(given_up.await.unwrap_err().is_cancelled());
            let loaded = store.load(&token).await.unwrap().unwrap();
            assert_eq!(&loaded[..], b"data");
        }
        stall.end().await;
        // The lock of the user is free again, and what became of the two is over either way.
        store.revoke_user("ada", None).await.unwrap();
        assert!(store.sessions_of("ada").await.unwrap().is_empty());
    });
}
