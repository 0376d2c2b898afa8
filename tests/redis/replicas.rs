//! Changes that replicas have to have: a real one, one that stands still, and none.

use std::time::Duration;

use tenfold::redis::{RedisBuildError, RedisStore};
use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, Made, NotReplicated, RevokeError, SaveError,
    SessionToken, Unavailable,
};

use crate::patient;
use crate::server::Server;
use crate::session_store::{begin, is_there, run};

const SHORT: Duration = Duration::from_millis(50);

fn store(server: &Server, wanted: u32, limit: Duration) -> RedisStore {
    let builder = patient(&server.url()).replicas(wanted, limit);
    builder.build().unwrap()
}

/// What lies on a server, values included.
fn contents(server: &Server) -> Vec<(String, Option<Vec<u8>>)> {
    let mut keys: Vec<String> = server.ask(&["KEYS", "*"]);
    keys.sort();
    let values = keys.into_iter().map(|key| {
        let value = (!key.contains(":u:")).then(|| server.ask(&["GET", &key]));
        (key, value)
    });
    values.collect()
}

/// Why a call failed that was done all the same.
fn short(why: Unavailable) -> NotReplicated {
    assert!(why.may_have_happened());
    match why {
        Unavailable::NotReplicated(short) => *short,
        why => panic!("{why:?}"),
    }
}

#[test]
fn a_change_is_answered_when_the_replica_has_it() {
    run(async {
        let primary = Server::start();
        let replica = Server::start_replica_of(&primary);
        let store = store(&primary, 1, Duration::from_secs(30));
        let same = |what: &str| assert_eq!(contents(&replica), contents(&primary), "{what}");
        for number in 0..10 {
            let (guest, version) = begin(&store, None, b"cart").await;
            same("begun");
            store.save(&guest, version, b"2".as_slice()).await.unwrap();
            same("saved");
            let guest = store.cycle(&guest).await.unwrap();
            same("cycled");
            // To a slot of its own, as a rule, and within it.
            let user = format!("user {number}");
            let token = store.log_in(&guest, user.as_str()).await.unwrap();
            same("logged in");
            let token = store.log_in(&token, user.as_str()).await.unwrap();
            same("logged in again");
            let (other, _) = begin(&store, Some(&user), b"").await;
            assert!(store.revoke(&other).await.unwrap());
            same("revoked");
            assert_eq!(store.revoke_user(user.as_str(), None).await.unwrap(), 1);
            same("logged out everywhere");
            assert!(!is_there(&store, &token).await);
        }
        assert!(contents(&primary).is_empty());
    });
}

#[test]
fn a_change_that_the_replica_does_not_have_is_made_and_says_so() {
    run(async {
        let primary = Server::start();
        let replica = Server::start_replica_of(&primary);
        let store = store(&primary, 1, SHORT);
        replica.freeze();
        assert_every_change_is_made_and_not_replicated(&store).await;
        // Loads wait for nobody.
        let sure = patient(&primary.url()).build().unwrap();
        let (token, _) = begin(&sure, Some("ada"), b"").await;
        assert!(is_there(&store, &token).await);
        let Err(RevokeError::Unavailable(why)) = store.revoke(&token).await else {
            panic!("the replica stands still")
        };
        assert_eq!(short(why).made(), &Made::Ended(1));

        replica.thaw();
        // It is told again, until the replica has heard of it: by then there is nothing left to end.
        loop {
            match store.revoke(&token).await {
                Ok(ended) => break assert!(!ended),
                Err(RevokeError::Unavailable(why)) => {
                    assert_eq!(short(why).made(), &Made::Ended(0));
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(contents(&replica), contents(&primary));
    });
}

#[test]
fn without_replicas_a_change_is_made_and_says_so() {
    run(async {
        let server = Server::start();
        assert_every_change_is_made_and_not_replicated(&store(&server, 2, SHORT)).await;
        // And none is waited for if none is wanted.
        begin(&store(&server, 0, SHORT), None, b"").await;
    });
}

#[test]
fn a_connection_for_changes_that_is_lost_is_made_again() {
    run(async {
        let mut primary = Server::start_durable();
        let replica = Server::start_replica_of(&primary);
        let store = store(&primary, 1, Duration::from_secs(30));
        let (token, version) = begin(&store, Some("ada"), b"").await;
        primary.kill();
        let saved = store.save(&token, version, b"".as_slice()).await;
        let Err(SaveError::Unavailable(why)) = saved else {
            panic!("{saved:?}")
        };
        assert!(matches!(why, Unavailable::Unreachable(_)), "{why:?}");
        primary.resume();
        // The replica comes back by itself, and is waited for.
        store.save(&token, version, b"2".as_slice()).await.unwrap();
        assert_eq!(contents(&replica), contents(&primary));
    });
}

#[test]
fn a_wait_without_end_or_at_all_is_refused() {
    run(async {
        for limit in [Duration::ZERO, Duration::from_secs(61)] {
            let builder = patient("redis://127.0.0.1:1/").replicas(1, limit);
            let error = builder.build().unwrap_err();
            assert!(matches!(error, RedisBuildError::Setting(_)), "{error:?}");
        }
    });
}

async fn assert_every_change_is_made_and_not_replicated(store: &RedisStore) {
    let is_there = async |token: &SessionToken| is_there(store, token).await;
    let created = store.create(None, b"1".as_slice()).await;
    let Err(CreateError::Unavailable(why)) = created else {
        panic!("{created:?}")
    };
    let why = short(why);
    assert_eq!(why.acknowledged(), 0);
    assert!(why.wanted() > 0);
    let Made::Begun { token, version } = why.made().clone() else {
        panic!("{why:?}")
    };
    let loaded = store.load(&token).await.unwrap().unwrap();
    assert_eq!((&loaded[..], loaded.version()), (&b"1"[..], version));

    let saved = store.save(&token, version, b"2".as_slice()).await;
    let Err(SaveError::Unavailable(why)) = saved else {
        panic!("{saved:?}")
    };
    let loaded = store.load(&token).await.unwrap().unwrap();
    assert_eq!(short(why).made(), &Made::Saved(loaded.version()));
    assert_eq!(&loaded[..], b"2");

    let cycled = store.cycle(&token).await;
    let Err(CycleError::Unavailable(why)) = cycled else {
        panic!("{cycled:?}")
    };
    let fresh = short(why).token().unwrap().clone();
    assert!(is_there(&fresh).await && !is_there(&token).await);

    let mut token = fresh;
    for _ in 0..2 {
        let logged_in = store.log_in(&token, "ada").await;
        let Err(CycleError::Unavailable(why)) = logged_in else {
            panic!("{logged_in:?}")
        };
        let fresh = short(why).token().unwrap().clone();
        assert!(is_there(&fresh).await && !is_there(&token).await);
        token = fresh;
    }
    let ended = store.revoke_user("ada", None).await;
    let Err(RevokeError::Unavailable(why)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(short(why).made(), &Made::Ended(1));
    assert!(!is_there(&token).await);
    // What was not done is no matter of replicas.
    let saved = store.save(&token, version, b"".as_slice()).await;
    assert_eq!(saved, Err(SaveError::Gone));
}
