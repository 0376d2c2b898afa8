//! tower-sessions' own handle on our store.

use std::sync::Arc;
use std::time::Duration;

use tenfold::session::{MemoryStore, OnFull, TowerSessions, WallClock};
use tenfold::time::ManualClock;
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::Error;
use tower_sessions_core::{ExpiredDeletion, Expiry, Session, SessionStore};

struct World {
    clock: ManualClock,
    store: Arc<MemoryStore>,
    tower: Arc<TowerSessions>,
}

/// As their sessions tell the time, which is the system's.
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn world() -> World {
    let clock = ManualClock::new();
    let start = u64::try_from(now().unix_timestamp()).unwrap();
    let wall = WallClock::manual(&clock, start);
    let store = MemoryStore::builder().clock(wall).max_data(1000);
    let store = Arc::new(store.max_sessions(100, OnFull::default()).build().unwrap());
    let tower = Arc::new(TowerSessions::new(Arc::clone(&store)));
    World {
        clock,
        store,
        tower,
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(test)
}

fn record(minutes: i64) -> Record {
    Record {
        id: Id::default(),
        data: std::iter::once(("cart".to_owned(), "lamp".into())).collect(),
        expiry_date: now() + time::Duration::minutes(minutes),
    }
}

#[test]
fn sessions_of_tower_sessions_live_here() {
    run(async {
        let World { store, tower, .. } = world();
        let session = Session::new(None, tower.clone(), Some(Expiry::OnSessionEnd));
        session.insert("cart", "lamp").await.unwrap();
        session.save().await.unwrap();
        let id = session.id().unwrap();
        let again = Session::new(Some(id), tower.clone(), None);
        assert_eq!(
            again.get::<String>("cart").await.unwrap().as_deref(),
            Some("lamp")
        );
        again.cycle_id().await.unwrap();
        again.save().await.unwrap();
        assert!(
            tower.load(&id).await.unwrap().is_none(),
            "the old id is over"
        );
        let new = again.id().unwrap();
        assert!(tower.load(&new).await.unwrap().is_some());
        assert_eq!(store.len(), 1);
        again.flush().await.unwrap();
        assert!(store.is_empty());
    });
}

/// Measured in its own stores: what was deleted is there again.
#[test]
fn a_save_after_a_delete_brings_nothing_back() {
    run(async {
        let World { store, tower, .. } = world();
        let mut record = record(30);
        tower.create(&mut record).await.unwrap();
        let late = tower.load(&record.id).await.unwrap().unwrap();
        tower.delete(&record.id).await.unwrap();
        let saved = tower.save(&late).await;
        assert!(matches!(saved, Err(Error::Backend(said)) if said == "the session is gone"));
        assert!(tower.load(&record.id).await.unwrap().is_none() && store.is_empty());
        // The same through their handle: a slow request, and a log-out in another.
        let session = Session::new(None, tower.clone(), None);
        session.insert("cart", "lamp").await.unwrap();
        session.save().await.unwrap();
        let slow = Session::new(session.id(), tower.clone(), None);
        slow.insert("cart", "table").await.unwrap();
        session.delete().await.unwrap();
        assert!(slow.save().await.is_err());
        assert!(store.is_empty());
    });
}

#[test]
fn a_session_ends_at_the_first_of_both_deadlines() {
    run(async {
        let World {
            clock,
            store,
            tower,
        } = world();
        let (mut theirs, mut ours) = (record(10), record(10_000));
        tower.create(&mut theirs).await.unwrap();
        tower.create(&mut ours).await.unwrap();
        clock.advance(Duration::from_secs(599));
        assert!(tower.load(&theirs.id).await.unwrap().is_some());
        clock.advance(Duration::from_secs(2));
        assert!(tower.load(&theirs.id).await.unwrap().is_none());
        assert!(tower.save(&theirs).await.is_err(), "nor is it saved");
        assert!(tower.load(&ours.id).await.unwrap().is_some());
        clock.advance(Duration::from_secs(30 * 60));
        assert!(tower.load(&ours.id).await.unwrap().is_none());
        tower.delete_expired().await.unwrap();
        assert!(store.is_empty(), "and is freed");
    });
}

#[test]
fn an_id_that_is_taken_is_not_overwritten() {
    run(async {
        let World { tower, .. } = world();
        let mut first = record(30);
        tower.create(&mut first).await.unwrap();
        let mut second = record(30);
        second.id = first.id;
        second.data.insert("cart".to_owned(), "table".into());
        tower.create(&mut second).await.unwrap();
        assert_ne!(first.id, second.id);
        let loaded = tower.load(&first.id).await.unwrap().unwrap();
        assert_eq!(loaded.data, first.data);
    });
}

#[test]
fn limits_are_kept() {
    run(async {
        let World { store, tower, .. } = world();
        let mut large = record(30);
        large
            .data
            .insert("note".to_owned(), "x".repeat(1000).into());
        assert!(tower.create(&mut large).await.is_err());
        for _ in 0..100 {
            tower.create(&mut record(30)).await.unwrap();
        }
        assert!(tower.create(&mut record(30)).await.is_err());
        assert_eq!(store.len(), 100);
        // What is said of it shows neither ids nor data.
        assert!(!format!("{tower:?}").contains("lamp"));
    });
}
