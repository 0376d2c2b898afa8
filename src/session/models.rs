//! Every pair that can race on one session, under every interleaving that shuttle's
//! scheduler tries.

use std::io;
use std::sync::Arc;

use shuttle::thread;

use super::{MemoryStore, SaveError, SessionMap, SessionToken};
use crate::sync::explore;

/// A store with a session of Ada's.
fn world() -> (Arc<MemoryStore>, SessionToken) {
    let store = MemoryStore::builder().max_sessions(8, super::OnFull::Refuse);
    let store = Arc::new(store.build().unwrap());
    let map = SessionMap::new().to_bytes();
    let (token, _) = store.create(Some("ada".into()), map).unwrap();
    (store, token)
}

/// Runs both at once.
fn race<A: Send + 'static, B: Send + 'static>(
    store: &Arc<MemoryStore>,
    one: impl FnOnce(&MemoryStore) -> A + Send + 'static,
    two: impl FnOnce(&MemoryStore) -> B + Send + 'static,
) -> (A, B) {
    let (left, right) = (Arc::clone(store), Arc::clone(store));
    let one = thread::spawn(move || one(&left));
    let two = thread::spawn(move || two(&right));
    (one.join().unwrap(), two.join().unwrap())
}

/// After all is over: what is held is what is listed.
fn assert_settled(store: &MemoryStore, live: usize) {
    assert_eq!(store.len(), live);
    assert_eq!(store.sessions_of("ada").len(), live);
}

#[test]
fn a_save_never_undoes_a_revocation() {
    explore(ROUNDS, || {
        let (store, token) = world();
        let version = store.load(&token).unwrap().version();
        let (one, two) = (token.clone(), token.clone());
        race(
            &store,
            move |store| store.save(&one, version, b"late".as_slice()).is_ok(),
            move |store| store.revoke(&two).unwrap(),
        );
        assert!(store.load(&token).is_none());
        assert_settled(&store, 0);
    });
}

#[test]
fn of_two_cycles_one_wins() {
    explore(ROUNDS, || {
        let (store, token) = world();
        let (one, two) = (token.clone(), token.clone());
        let (one, two) = race(
            &store,
            move |store| store.cycle(&one).ok(),
            move |store| store.cycle(&two).ok(),
        );
        assert!(one.is_some() != two.is_some());
        let winner = one.or(two).unwrap();
        assert!(store.load(&winner).is_some() && store.load(&token).is_none());
        assert_settled(&store, 1);
    });
}

#[test]
fn no_cycle_escapes_a_revocation_of_the_user() {
    explore(ROUNDS, || {
        let (store, token) = world();
        let one = token.clone();
        let (fresh, _) = race(
            &store,
            move |store| store.cycle(&one).ok(),
            |store| store.revoke_user("ada", None).unwrap(),
        );
        assert!(store.load(&token).is_none());
        assert!(fresh.is_none_or(|fresh| store.load(&fresh).is_none()));
        assert_settled(&store, 0);
    });
}

/// A session that is begun meanwhile is before or after the revocation, and in the user's
/// list either way; when the revocation returned first, it lives.
#[test]
fn a_session_begun_during_a_revocation_is_gone_or_listed() {
    explore(ROUNDS, || {
        let (store, token) = world();
        let (begun, ended) = race(
            &store,
            |store| store.create(Some("ada".into()), b"".as_slice()).unwrap().0,
            |store| store.revoke_user("ada", None).unwrap(),
        );
        assert!(store.load(&token).is_none());
        let lives = store.load(&begun).is_some();
        assert_eq!(ended, if lives { 1 } else { 2 });
        assert_settled(&store, usize::from(lives));
    });
}

#[test]
fn a_log_in_during_a_revocation_is_gone_or_listed() {
    explore(ROUNDS, || {
        let (store, _) = world();
        let (token, _) = store.create(None, b"".as_slice()).unwrap();
        let (fresh, ended) = race(
            &store,
            move |store| store.log_in(&token, "ada").unwrap(),
            |store| store.revoke_user("ada", None).unwrap(),
        );
        let lives = store.load(&fresh).is_some();
        assert_eq!(ended, if lives { 1 } else { 2 });
        assert_settled(&store, usize::from(lives));
    });
}

/// However many sessions there are to take out, no load finds one after another was gone.
#[test]
fn a_user_is_logged_out_of_all_sessions_at_once() {
    explore(ROUNDS, || {
        let (store, first) = world();
        let (second, _) = store.create(Some("ada".into()), b"".as_slice()).unwrap();
        race(
            &store,
            |store| store.revoke_user("ada", None).unwrap(),
            move |store| {
                let is_first_gone = store.load(&first).is_none();
                assert!(!is_first_gone || store.load(&second).is_none());
            },
        );
        assert_settled(&store, 0);
    });
}

/// All users share one stripe here. A load of Ada's that looks into the revocation of Bob must not take
/// that for the answer about her own, which begins meanwhile.
#[test]
fn a_revocation_of_one_user_hides_none_of_another() {
    explore(4 * ROUNDS, || {
        let (store, first) = world();
        let begin = |user: &str| store.create(Some(user.into()), b"".as_slice()).unwrap().0;
        let (second, bobs) = (begin("ada"), begin("bob"));
        let (one, two) = (Arc::clone(&store), Arc::clone(&store));
        let of_bob = thread::spawn(move || one.revoke_user("bob", None).unwrap());
        let of_ada = thread::spawn(move || two.revoke_user("ada", None).unwrap());
        store.load(&second);
        let is_first_gone = store.load(&first).is_none();
        assert!(!is_first_gone || store.load(&second).is_none());
        assert_eq!((of_bob.join().unwrap(), of_ada.join().unwrap()), (1, 2));
        assert!(store.load(&second).is_none() && store.load(&bobs).is_none());
        assert_settled(&store, 0);
    });
}

#[test]
fn who_shares_a_stripe_is_not_logged_out() {
    explore(ROUNDS, || {
        let (store, token) = world();
        let (bobs, _) = store.create(Some("bob".into()), b"".as_slice()).unwrap();
        let one = token.clone();
        race(
            &store,
            move |store| assert!(store.load(&one).is_some() && store.load(&one).is_some()),
            |store| assert_eq!(store.revoke_user("bob", None).unwrap(), 1),
        );
        assert!(store.load(&token).is_some() && store.load(&bobs).is_none());
        assert_settled(&store, 1);
    });
}

#[test]
fn who_is_spared_never_looks_gone() {
    explore(ROUNDS, || {
        let (store, token) = world();
        let (one, two) = (token.clone(), token.clone());
        race(
            &store,
            move |store| assert!(store.load(&one).is_some()),
            move |store| assert_eq!(store.revoke_user("ada", Some(&two)).unwrap(), 0),
        );
        assert!(store.load(&token).is_some());
        assert_settled(&store, 1);
    });
}

#[test]
fn of_two_saves_one_conflicts_and_of_two_merges_none_is_lost() {
    explore(ROUNDS, || {
        let (store, token) = world();
        let version = store.load(&token).unwrap().version();
        let save = |token: SessionToken| {
            move |store: &MemoryStore| store.save(&token, version, SessionMap::new().to_bytes())
        };
        let (one, two) = race(&store, save(token.clone()), save(token.clone()));
        assert!(one.is_ok() != two.is_ok());
        let current = store.load(&token).unwrap().version();
        let conflict = Err(SaveError::Conflict { current });
        assert!(one == conflict || two == conflict);
        let merge = |token: SessionToken, key: &'static str| {
            move |store: &MemoryStore| {
                let mut map = SessionMap::new();
                map.insert(key, "x");
                store.merge(&token, &map).unwrap();
            }
        };
        race(
            &store,
            merge(token.clone(), "one"),
            merge(token.clone(), "two"),
        );
        let map = SessionMap::from_bytes(&store.load(&token).unwrap()).unwrap();
        assert_eq!(map.iter().count(), 2);
    });
}

/// The session is in the snapshot under exactly one of its tokens.
#[test]
fn a_snapshot_has_a_cycled_session_once() {
    explore(ROUNDS, || {
        let (store, token) = world();
        let one = token.clone();
        let (fresh, bytes) = race(
            &store,
            move |store| store.cycle(&one).unwrap(),
            |store| {
                let mut bytes = Vec::new();
                store.snapshot(&mut bytes).unwrap();
                bytes
            },
        );
        let (again, restored) = MemoryStore::builder().restore(&bytes[..], None).unwrap();
        assert_eq!(restored.sessions, 1);
        assert!(again.load(&fresh).is_some() != again.load(&token).is_some());
        assert!(store.snapshot(io::sink()).is_ok());
    });
}

#[test]
fn what_was_revoked_before_a_snapshot_began_is_not_in_it() {
    explore(ROUNDS, || {
        let (store, token) = world();
        let (ended, bytes) = race(
            &store,
            |store| store.revoke_user("ada", None).unwrap(),
            move |store| {
                let was_gone = store.load(&token).is_none();
                let mut bytes = Vec::new();
                store.snapshot(&mut bytes).unwrap();
                (was_gone, bytes)
            },
        );
        assert_eq!(ended, 1);
        let (was_gone, bytes) = bytes;
        let (_, restored) = MemoryStore::builder().restore(&bytes[..], None).unwrap();
        assert!(!was_gone || restored.sessions == 0);
    });
}

#[test]
fn a_sweep_takes_nothing_that_lives() {
    explore(ROUNDS, || {
        let (store, token) = world();
        let one = token.clone();
        let (fresh, _) = race(
            &store,
            move |store| store.cycle(&one).unwrap(),
            |store| store.sweep(1000),
        );
        assert!(store.load(&fresh).is_some());
        assert_settled(&store, 1);
    });
}

const ROUNDS: usize = 300;
