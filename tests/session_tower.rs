//! tower-sessions' own handle on our store.

use std::sync::Arc;
use std::time::Duration;

use tenfold::session::{Conflicts, MemoryStore, OnFull, TowerSessions, WallClock};
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

/// A session with a cart, of a store that does so with conflicts, and two requests that have loaded it.
async fn two_requests(conflicts: Conflicts) -> (Arc<MemoryStore>, [Session; 2]) {
    let store = Arc::new(MemoryStore::builder().build().unwrap());
    let tower = TowerSessions::new(Arc::clone(&store)).on_conflict(conflicts);
    let tower = Arc::new(tower);
    let first = Session::new(None, tower.clone(), None);
    first.insert("cart", "lamp").await.unwrap();
    first.insert("language", "de").await.unwrap();
    first.save().await.unwrap();
    let requests = [first.id(); 2].map(|id| Session::new(id, tower.clone(), None));
    for request in &requests {
        request.load().await.unwrap();
    }
    (store, requests)
}

/// What a request that comes now sees.
async fn seen(request: &Session, key: &str) -> Option<String> {
    request.load().await.unwrap();
    request.get(key).await.unwrap()
}

const NOTE: &str = "__tenfold_v";

fn is_noted(store: &MemoryStore) -> bool {
    let mut data = store.export(|_| true);
    data.any(|frame| String::from_utf8_lossy(frame.data()).contains(NOTE))
}

#[test]
fn by_default_the_last_writer_wins() {
    run(async {
        let (store, [one, two]) = two_requests(Conflicts::default()).await;
        one.insert("cart", "table").await.unwrap();
        two.insert("language", "en").await.unwrap();
        one.save().await.unwrap();
        two.save().await.unwrap();
        assert_eq!(seen(&one, "cart").await.as_deref(), Some("lamp"));
        assert_eq!(seen(&one, "language").await.as_deref(), Some("en"));
        assert_eq!(one.get_value(NOTE).await.unwrap(), None);
        assert!(!is_noted(&store));
    });
}

#[test]
fn a_save_over_a_newer_one_is_refused_if_asked() {
    run(async {
        let (store, [one, two]) = two_requests(Conflicts::Refuse).await;
        one.insert("cart", "table").await.unwrap();
        one.save().await.unwrap();
        two.insert("language", "en").await.unwrap();
        let refused = two.save().await.unwrap_err().to_string();
        assert!(refused.contains("was changed meanwhile"), "{refused}");
        // The one who has saved last may do so again.
        one.insert("cart", "chair").await.unwrap();
        one.save().await.unwrap();
        assert!(two.save().await.is_err());
        assert_eq!(seen(&two, "cart").await.as_deref(), Some("chair"));
        assert_eq!(seen(&two, "language").await.as_deref(), Some("de"));
        two.insert("language", "en").await.unwrap();
        two.save().await.unwrap();
        // What was cleared is based on nothing.
        one.clear().await;
        one.insert("cart", "nothing").await.unwrap();
        one.save().await.unwrap();
        assert_eq!(seen(&two, "cart").await.as_deref(), Some("nothing"));
        assert_eq!(seen(&two, "language").await, None);
        assert!(!is_noted(&store), "what is handed out is not stored");
    });
}

#[test]
fn changes_of_different_keys_are_merged_if_asked() {
    run(async {
        let (store, [one, two]) = two_requests(Conflicts::MergeKeys).await;
        one.insert("cart", "table").await.unwrap();
        one.insert("new", "one").await.unwrap();
        one.save().await.unwrap();
        two.remove::<String>("language").await.unwrap();
        two.insert("new", "two").await.unwrap();
        two.save().await.unwrap();
        // Once more, as a layer does at the end of a request.
        two.save().await.unwrap();
        for request in [&one, &two] {
            assert_eq!(seen(request, "cart").await.as_deref(), Some("table"));
            assert_eq!(seen(request, "language").await, None);
            assert_eq!(seen(request, "new").await.as_deref(), Some("two"));
        }
        assert!(!is_noted(&store), "what is handed out is not stored");
    });
}

#[test]
fn a_new_id_and_an_end_are_what_they_were_whatever_conflicts_do() {
    for conflicts in [Conflicts::Refuse, Conflicts::MergeKeys] {
        run(async {
            let (store, [one, two]) = two_requests(conflicts).await;
            one.cycle_id().await.unwrap();
            one.save().await.unwrap();
            one.insert("cart", "table").await.unwrap();
            one.save().await.unwrap();
            two.insert("cart", "chair").await.unwrap();
            let late = two.save().await.unwrap_err().to_string();
            assert!(late.contains("the session is gone"), "{late}");
            assert_eq!(seen(&one, "cart").await.as_deref(), Some("table"));
            assert!(!is_noted(&store));
            one.delete().await.unwrap();
            assert!(one.save().await.is_err() && store.is_empty());
        });
    }
}

/// Two threads insert keys of their own, each in a request of its own. How many were acknowledged,
/// and how many of those are there in the end.
fn race(conflicts: Conflicts) -> (usize, usize) {
    let store = Arc::new(MemoryStore::builder().build().unwrap());
    let tower = Arc::new(TowerSessions::new(store).on_conflict(conflicts));
    let begun = Session::new(None, tower.clone(), None);
    run(begun.save()).unwrap();
    let work = |thread: usize| {
        let mut acknowledged = Vec::new();
        for n in 0..INSERTS {
            let key = format!("{thread}-{n}");
            let request = Session::new(begun.id(), tower.clone(), None);
            run(request.insert(&key, n)).unwrap();
            if run(request.save()).is_ok() {
                acknowledged.push(key);
            }
        }
        acknowledged
    };
    let acknowledged: Vec<_> = std::thread::scope(|scope| {
        let threads = [0, 1].map(|thread| scope.spawn(move || work(thread)));
        let done = threads.into_iter().map(|thread| thread.join().unwrap());
        done.flatten().collect()
    });
    run(begun.load()).unwrap();
    let there = acknowledged.iter().filter(|key| {
        let found = run(begun.get_value(key)).unwrap();
        found.is_some()
    });
    (acknowledged.len(), there.count())
}

const INSERTS: usize = 200;

#[test]
fn whatever_was_acknowledged_is_there_whoever_saves_at_the_same_time() {
    let (acknowledged, there) = race(Conflicts::MergeKeys);
    assert_eq!((acknowledged, there), (2 * INSERTS, 2 * INSERTS));
    let (acknowledged, there) = race(Conflicts::Refuse);
    assert!(acknowledged >= INSERTS, "of each conflict one gets through");
    assert_eq!(there, acknowledged);
}
