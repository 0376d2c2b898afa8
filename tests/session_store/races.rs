//! Pairs of calls at once, from many tasks: whoever comes first, the promises hold.

use std::sync::Arc;

use tenfold::session::{AsyncSessionStore, CycleError, SaveError};
use tokio::task::JoinSet;

use super::{Bed, Knobs, begin, is_there};

pub async fn no_change_is_lost(bed: &impl Bed) {
    let store = Arc::new(bed.store(Knobs::default()).await);
    let (token, _) = begin(&*store, Some("ada"), &[0; 4]).await;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (store, token) = (Arc::clone(&store), token.clone());
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                let count = |data: &[u8]| {
                    let count = u32::from_le_bytes(data.try_into().unwrap());
                    (Some((count + 1).to_le_bytes().to_vec()), ())
                };
                store.modify(&token, count).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let loaded = store.load(&token).await.unwrap().unwrap();
    assert_eq!(loaded[..], (TASKS * ROUNDS).to_le_bytes());
}

pub async fn a_save_never_undoes_a_revocation(bed: &impl Bed) {
    let store = Arc::new(bed.store(Knobs::default()).await);
    for round in 0..ROUNDS * 2 {
        let (token, version) = begin(&*store, Some("ada"), b"").await;
        let saves = {
            let (store, token) = (Arc::clone(&store), token.clone());
            tokio::spawn(async move {
                let mut version = version;
                loop {
                    match store.save(&token, version, b"late".as_slice()).await {
                        Ok(newer) => version = newer,
                        Err(error) => return error,
                    }
                }
            })
        };
        let ended = match round % 3 {
            0 => usize::from(store.revoke(&token).await.unwrap()),
            1 => store.revoke_user("ada", None).await.unwrap(),
            _ => {
                // Its last use, under another token.
                let cycled = store.cycle(&token).await.unwrap();
                usize::from(store.revoke(&cycled).await.unwrap())
            }
        };
        assert_eq!(ended, 1);
        assert_eq!(saves.await.unwrap(), SaveError::Gone);
        assert!(!is_there(&*store, &token).await);
    }
}

pub async fn of_two_cycles_one_wins(bed: &impl Bed) {
    let store = Arc::new(bed.store(Knobs::default()).await);
    for _ in 0..ROUNDS {
        let (token, _) = begin(&*store, Some("ada"), b"").await;
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let (store, token) = (Arc::clone(&store), token.clone());
            tasks.spawn(async move { store.cycle(&token).await });
        }
        one_wins(&*store, tasks).await;
    }
}

pub async fn of_two_log_ins_one_wins(bed: &impl Bed) {
    let store = Arc::new(bed.store(Knobs::default()).await);
    for round in 0..ROUNDS {
        let (token, _) = begin(&*store, None, b"").await;
        let mut tasks = JoinSet::new();
        for task in 0..4 {
            let (store, token) = (Arc::clone(&store), token.clone());
            tasks.spawn(async move {
                if task == 0 && round % 2 == 0 {
                    return store.cycle(&token).await;
                }
                store.log_in(&token, "ada").await
            });
        }
        one_wins(&*store, tasks).await;
    }
}

/// Of four who want another token for the same, one has it, and it is the only one.
async fn one_wins<S: AsyncSessionStore>(
    store: &S,
    tasks: JoinSet<Result<tenfold::session::SessionToken, CycleError>>,
) {
    let mut won = Vec::new();
    for result in tasks.join_all().await {
        match result {
            Ok(token) => won.push(token),
            Err(error) => assert!(matches!(error, CycleError::Gone), "{error:?}"),
        }
    }
    assert_eq!(won.len(), 1);
    let loaded = store.load(&won[0]).await.unwrap().unwrap();
    let list = store.sessions_of("ada").await.unwrap();
    assert_eq!(list.len(), usize::from(loaded.user().is_some()));
    assert!(store.revoke(&won[0]).await.unwrap());
}

pub async fn no_session_escapes_a_concurrent_revoke_user(bed: &impl Bed) {
    let store = Arc::new(bed.store(Knobs::default()).await);
    for _ in 0..ROUNDS {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (here, _) = begin(&*store, Some("ada"), b"").await;
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                // All of these stand for a session that was begun before the log-out.
                let mut token = here;
                for step in 0..8 {
                    let next = match (task + step) % 3 {
                        0 => store.cycle(&token).await,
                        1 => store.log_in(&token, "ada").await,
                        _ => {
                            let count = |_: &[u8]| (Some(vec![1]), ());
                            match store.modify(&token, count).await {
                                Ok(()) => continue,
                                Err(error) => {
                                    assert_eq!(error, SaveError::Gone);
                                    return token;
                                }
                            }
                        }
                    };
                    match next {
                        Ok(next) => token = next,
                        Err(error) => {
                            assert!(matches!(error, CycleError::Gone), "{error:?}");
                            return token;
                        }
                    }
                }
                token
            });
        }
        store.revoke_user("ada", None).await.unwrap();
        // A log-in that came after it made a session that lives; the second ends it,
        // when nobody logs in any more.
        let tokens = tasks.join_all().await;
        let list = store.sessions_of("ada").await.unwrap();
        let mut live = 0;
        for token in &tokens {
            live += usize::from(is_there(&*store, token).await);
        }
        assert_eq!(live, list.len(), "a session that no list knows");
        assert_eq!(store.revoke_user("ada", None).await.unwrap(), live);
        for token in &tokens {
            assert!(!is_there(&*store, token).await);
        }
    }
}

pub async fn a_user_never_has_more_sessions_than_they_may(bed: &impl Bed) {
    let knobs = Knobs {
        max_per_user: 3,
        ..Knobs::default()
    };
    let store = Arc::new(bed.store(knobs).await);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                let (token, _) = begin(&*store, (task % 2 == 0).then_some("ada"), b"").await;
                if task % 2 == 1 {
                    store.log_in(&token, "ada").await.unwrap();
                }
                let list = store.sessions_of("ada").await.unwrap();
                assert!(list.len() <= 3, "{}", list.len());
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(store.sessions_of("ada").await.unwrap().len(), 3);
}

const TASKS: u32 = 8;
const ROUNDS: u32 = 20;
