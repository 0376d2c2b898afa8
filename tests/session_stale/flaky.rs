//! A store elsewhere: in memory, and down, late or slow as a test says.

#![allow(unreachable_pub, reason = "a module of each program that needs it")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, Loaded, MemoryStore, RevokeError, SaveError,
    SessionData, SessionInfo, SessionKey, SessionToken, Unavailable, UserId, Version,
};
use tokio::sync::Semaphore;

pub struct Flaky {
    /// What it has, also while it is down.
    pub memory: MemoryStore,
    /// How often it was asked.
    asked: AtomicU64,
    down: Mutex<Option<Unavailable>>,
    next: Mutex<Option<Fate>>,
}

/// What becomes of the next call.
enum Fate {
    /// It waits before it reaches the store.
    HeldBefore(Arc<Held>),
    /// It waits with its answer.
    HeldAfter(Arc<Held>),
    /// It is done, and its answer lost.
    Lost,
    /// It is not done, and nobody can know.
    Late,
}

pub struct Held {
    reached: Semaphore,
    go_on: Semaphore,
}

impl Held {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            reached: Semaphore::new(0),
            go_on: Semaphore::new(0),
        })
    }

    async fn wait(&self) {
        self.reached.add_permits(1);
        self.go_on.acquire().await.unwrap().forget();
    }

    /// Until the call is held.
    pub async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    pub fn let_go(&self) {
        self.go_on.add_permits(1);
    }
}

impl Flaky {
    pub fn new(memory: MemoryStore) -> Self {
        Self {
            memory,
            asked: AtomicU64::new(0),
            down: Mutex::new(None),
            next: Mutex::new(None),
        }
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Every call fails so from now on, and does nothing.
    pub fn fail(&self, why: Unavailable) {
        *self.down.lock().unwrap() = Some(why);
    }

    pub fn go_down(&self) {
        self.fail(late());
    }

    pub fn come_back(&self) {
        *self.down.lock().unwrap() = None;
    }

    pub fn hold_next_before(&self) -> Arc<Held> {
        let held = Held::new();
        self.next_is(Fate::HeldBefore(Arc::clone(&held)));
        held
    }

    pub fn hold_next_after(&self) -> Arc<Held> {
        let held = Held::new();
        self.next_is(Fate::HeldAfter(Arc::clone(&held)));
        held
    }

    pub fn lose_next_answer(&self) {
        self.next_is(Fate::Lost);
    }

    pub fn delay_next(&self) {
        self.next_is(Fate::Late);
    }

    fn next_is(&self, fate: Fate) {
        *self.next.lock().unwrap() = Some(fate);
    }

    async fn call<T, E: From<Unavailable>>(
        &self,
        call: impl FnOnce(&MemoryStore) -> Result<T, E>,
    ) -> Result<T, E> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let next = self.next.lock().unwrap().take();
        if let Some(Fate::HeldBefore(held)) = &next {
            held.wait().await;
        }
        if let Some(why) = self.down.lock().unwrap().clone() {
            return Err(why.into());
        }
        if let Some(Fate::Late) = next {
            return Err(late().into());
        }
        let result = call(&self.memory);
        match next {
            Some(Fate::HeldAfter(held)) => held.wait().await,
            Some(Fate::Lost) => return Err(late().into()),
            _ => {}
        }
        result
    }
}

pub const fn late() -> Unavailable {
    let limit = Duration::from_millis(50);
    Unavailable::TimedOut { limit }
}

impl AsyncSessionStore for Flaky {
    async fn create(
        &self,
        user: Option<UserId>,
        data: impl Into<SessionData> + Send,
    ) -> Result<(SessionToken, Version), CreateError> {
        self.call(|memory| memory.create(user, data)).await
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        self.call(|memory| Ok(memory.load(token))).await
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        self.call(|memory| Ok(memory.peek(token))).await
    }

    async fn save(
        &self,
        token: &SessionToken,
        expected: Version,
        data: impl Into<SessionData> + Send,
    ) -> Result<Version, SaveError> {
        self.call(|memory| memory.save(token, expected, data)).await
    }

    async fn cycle(&self, token: &SessionToken) -> Result<SessionToken, CycleError> {
        self.call(|memory| memory.cycle(token)).await
    }

    async fn log_in(
        &self,
        token: &SessionToken,
        user: impl Into<UserId> + Send,
    ) -> Result<SessionToken, CycleError> {
        self.call(|memory| memory.log_in(token, user)).await
    }

    async fn revoke_key(&self, key: SessionKey) -> Result<bool, RevokeError> {
        self.call(|memory| Ok(memory.revoke_key(key)?)).await
    }

    async fn revoke_user(
        &self,
        user: impl Into<UserId> + Send,
        except: Option<&SessionToken>,
    ) -> Result<usize, RevokeError> {
        self.call(|memory| Ok(memory.revoke_user(user, except)?))
            .await
    }

    async fn sessions_of(
        &self,
        user: impl Into<UserId> + Send,
    ) -> Result<Vec<SessionInfo>, Unavailable> {
        self.call(|memory| Ok(memory.sessions_of(user))).await
    }
}
