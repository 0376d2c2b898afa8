//! Loads that race with what ends or changes their session: whatever the order, no copy is left of what is over.

use std::sync::Arc;
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;

use super::ServeStale;
use crate::session::{
    AsyncSessionStore, CreateError, CycleError, Loaded, MemoryStore, RevokeError, SaveError,
    SessionData, SessionInfo, SessionKey, SessionToken, Unavailable, UserId, Version,
};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::explore;

/// A store that is down when told so. Its calls happen at one moment between their beginning and their end.
struct Elsewhere {
    memory: MemoryStore,
    is_down: AtomicU32,
    /// What a call passes on its way there and back: a place to be overtaken.
    way: AtomicU32,
}

impl Elsewhere {
    fn call<T, E: From<Unavailable>>(
        &self,
        call: impl FnOnce(&MemoryStore) -> Result<T, E>,
    ) -> Result<T, E> {
        self.way.fetch_add(1, Ordering::Relaxed);
        if self.is_down.load(Ordering::Relaxed) == 1 {
            let limit = Duration::from_millis(50);
            return Err(Unavailable::TimedOut { limit }.into());
        }
        let result = call(&self.memory);
        self.way.fetch_add(1, Ordering::Relaxed);
        result
    }
}

impl AsyncSessionStore for Elsewhere {
    async fn create(
        &self,
        user: Option<UserId>,
        data: impl Into<SessionData> + Send,
    ) -> Result<(SessionToken, Version), CreateError> {
        self.call(|memory| memory.create(user, data))
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        self.call(|memory| Ok(memory.load(token)))
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        self.call(|memory| Ok(memory.peek(token)))
    }

    async fn save(
        &self,
        token: &SessionToken,
        expected: Version,
        data: impl Into<SessionData> + Send,
    ) -> Result<Version, SaveError> {
        self.call(|memory| memory.save(token, expected, data))
    }

    async fn cycle(&self, token: &SessionToken) -> Result<SessionToken, CycleError> {
        self.call(|memory| memory.cycle(token))
    }

    async fn log_in(
        &self,
        token: &SessionToken,
        user: impl Into<UserId> + Send,
    ) -> Result<SessionToken, CycleError> {
        self.call(|memory| memory.log_in(token, user))
    }

    async fn revoke_key(&self, key: SessionKey) -> Result<bool, RevokeError> {
        self.call(|memory| Ok(memory.revoke_key(key)?))
    }

    async fn revoke_user(
        &self,
        user: impl Into<UserId> + Send,
        except: Option<&SessionToken>,
    ) -> Result<usize, RevokeError> {
        self.call(|memory| Ok(memory.revoke_user(user, except)?))
    }

    async fn sessions_of(
        &self,
        user: impl Into<UserId> + Send,
    ) -> Result<Vec<SessionInfo>, Unavailable> {
        self.call(|memory| Ok(memory.sessions_of(user)))
    }
}

type Store = ServeStale<Elsewhere>;

fn world() -> (Arc<Store>, SessionToken, Version) {
    let memory = MemoryStore::builder().max_sessions(8, crate::session::OnFull::Refuse);
    let below = Elsewhere {
        memory: memory.build().unwrap(),
        is_down: AtomicU32::new(0),
        way: AtomicU32::new(0),
    };
    let (token, version) = below
        .memory
        .create(Some("ada".into()), b"1".as_slice())
        .unwrap();
    (
        Arc::new(ServeStale::builder(below).build().unwrap()),
        token,
        version,
    )
}

/// What is served once the store is down.
fn served(store: &Store, token: &SessionToken) -> Option<Loaded> {
    store.store().is_down.store(1, Ordering::Relaxed);
    block_on(store.load(token)).ok().flatten()
}

/// Two loads, and beside them what ends the session: `end` says that it is over.
fn nothing_is_left_after(end: impl Fn(&Store, &SessionToken) + Copy + Send + Sync + 'static) {
    explore(ROUNDS, move || {
        let (store, token, _) = world();
        let loads: Vec<_> = (0..2)
            .map(|_| {
                let (store, token) = (Arc::clone(&store), token.clone());
                thread::spawn(move || block_on(store.load(&token)).unwrap())
            })
            .collect();
        end(&store, &token);
        // As soon as it is over, whoever is still on the way.
        if let Some(loaded) = block_on(store.load(&token)).unwrap() {
            panic!("{loaded:?}");
        }
        for load in loads {
            load.join().unwrap();
        }
        assert!(served(&store, &token).is_none());
    });
}

#[test]
fn no_load_keeps_what_is_revoked() {
    nothing_is_left_after(|store, token| {
        assert!(block_on(store.revoke(token)).unwrap());
    });
}

#[test]
fn no_load_keeps_what_its_user_revoked() {
    nothing_is_left_after(|store, _| {
        assert_eq!(block_on(store.revoke_user("ada", None)).unwrap(), 1);
    });
}

#[test]
fn no_load_keeps_what_was_cycled() {
    nothing_is_left_after(|store, token| drop(block_on(store.cycle(token)).unwrap()));
}

#[test]
fn no_load_keeps_what_another_found_gone() {
    // Elsewhere; here the load that follows hears of it.
    nothing_is_left_after(|store, token| {
        assert!(store.store().memory.revoke(token).unwrap());
    });
}

/// The store goes down at any moment: whether or not the revocation reached it, it is not served when the call is over.
#[test]
fn no_load_keeps_what_was_to_be_revoked() {
    explore(ROUNDS, || {
        let (store, token, _) = world();
        let (left, right) = (Arc::clone(&store), Arc::clone(&store));
        let (one, two) = (token.clone(), token.clone());
        let load = thread::spawn(move || drop(block_on(left.load(&one))));
        let revoke = thread::spawn(move || drop(block_on(right.revoke(&two))));
        store.store().is_down.store(1, Ordering::Relaxed);
        revoke.join().unwrap();
        assert!(served(&store, &token).is_none());
        load.join().unwrap();
        assert!(served(&store, &token).is_none());
    });
}

#[test]
fn no_load_keeps_what_is_older_than_a_save() {
    explore(ROUNDS, || {
        let (store, token, version) = world();
        let (left, one) = (Arc::clone(&store), token.clone());
        let load = thread::spawn(move || block_on(left.load(&one)).unwrap());
        let saved = block_on(store.save(&token, version, b"2".as_slice())).unwrap();
        load.join().unwrap();
        let left = served(&store, &token);
        assert!(left.is_none_or(|loaded| loaded.version() == saved && loaded[..] == *b"2"));
    });
}

const ROUNDS: usize = 300;
