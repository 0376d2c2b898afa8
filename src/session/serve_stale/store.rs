use std::fmt;
use std::time::Duration;

use super::builder::ServeStaleBuilder;
use super::copies::Copies;
use super::fate::{Failure, is_known, may_be_stale};
use super::stats::ServeStaleStats;
use crate::cache::tier::{Breaker, BreakerState};
use crate::session::{
    AsyncSessionStore, CreateError, CycleError, Loaded, RevokeError, SaveError, SessionData,
    SessionInfo, SessionKey, SessionToken, Stale, Unavailable, UserId, Version,
};
use crate::stats::Counters;

/// A store whose sessions can be loaded, for a while, when it is down; see the [module](super).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use tenfold::session::serve_stale::ServeStale;
/// use tenfold::session::{AsyncSessionStore, MemoryStore};
///
/// let store = ServeStale::builder(MemoryStore::builder().build()?).build()?;
/// let (token, _) = store.create(None, b"cart".as_slice()).await?;
/// let loaded = store.load(&token).await?.ok_or("gone")?;
/// assert!(loaded.stale().is_none(), "the store is there");
/// assert_eq!(store.stats().copies, 1);
/// store.revoke(&token).await?;
/// assert_eq!(store.stats().copies, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ServeStale<S> {
    store: S,
    copies: Copies,
    breaker: Breaker,
    /// How long the breaker stays open.
    pause: Duration,
    counters: Counters<2>,
}

impl<S> ServeStale<S> {
    /// Begins to describe one over this store.
    pub fn builder(store: S) -> ServeStaleBuilder<S> {
        ServeStaleBuilder::new(store)
    }

    pub(super) fn new(store: S, copies: Copies, breaker: Breaker, pause: Duration) -> Self {
        Self {
            store,
            copies,
            breaker,
            pause,
            counters: Counters::new(),
        }
    }

    /// The store itself. What is ended there, and not through this, is not heard of.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Whether the store is asked, or left alone because it failed.
    pub fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// What was served, and what is there to be.
    pub fn stats(&self) -> ServeStaleStats {
        ServeStaleStats {
            served: self.counters.get(SERVED),
            failed: self.counters.get(FAILED),
            copies: self.copies.len(),
            bytes: self.copies.weight(),
            breaker: self.breaker(),
        }
    }

    /// Makes a call, unless the store is left alone.
    async fn ask<T, E: Failure>(
        &self,
        call: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let Some(permit) = self.breaker.try_acquire() else {
            let pause = self.pause;
            return Err(Unavailable::Suspended { pause }.into());
        };
        let result = call.await;
        match &result {
            Err(error) if error.is_silence() => permit.failed(),
            _ => permit.succeeded(),
        }
        result
    }

    async fn look_up(
        &self,
        token: &SessionToken,
        load: impl Future<Output = Result<Option<Loaded>, Unavailable>> + Send,
    ) -> Result<Option<Loaded>, Unavailable> {
        let key = token.key();
        let question = self.copies.question(key);
        match self.ask(load).await {
            Ok(Some(loaded)) => {
                // One that is served stale below is no news.
                if loaded.stale().is_none() {
                    self.copies.keep(question, &loaded);
                }
                Ok(Some(loaded))
            }
            Ok(None) => {
                self.copies.forget(key);
                Ok(None)
            }
            Err(why) => match self.copies.find(key) {
                Some((loaded, age)) if may_be_stale(&why) => {
                    self.counters.add(SERVED, 1);
                    Ok(Some(loaded.marked(Stale::new(age, why))))
                }
                _ => {
                    self.counters.add(FAILED, 1);
                    Err(why)
                }
            },
        }
    }
}

impl<S: AsyncSessionStore> AsyncSessionStore for ServeStale<S> {
    async fn create(
        &self,
        user: Option<UserId>,
        data: impl Into<SessionData> + Send,
    ) -> Result<(SessionToken, Version), CreateError> {
        self.ask(self.store.create(user, data)).await
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        self.look_up(token, self.store.load(token)).await
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        self.look_up(token, self.store.peek(token)).await
    }

    async fn save(
        &self,
        token: &SessionToken,
        expected: Version,
        data: impl Into<SessionData> + Send,
    ) -> Result<Version, SaveError> {
        let key = token.key();
        let data = data.into();
        let question = self.copies.question(key);
        let before = self.copies.find(key);
        let saving = Saving::new(&self.copies, key);
        let result = self
            .ask(self.store.save(token, expected, data.clone()))
            .await;
        match &result {
            Ok(version) => {
                let after = before.map(|(loaded, _)| loaded.saved(data, *version));
                self.copies.replace(question, after);
                saving.settle();
            }
            // Nothing was written, and nothing was heard that speaks against the copy.
            Err(SaveError::TooLarge { .. } | SaveError::NotAMap) => saving.settle(),
            Err(SaveError::Unavailable(why)) if !why.may_have_happened() => {
                saving.settle();
            }
            Err(_) => {}
        }
        result
    }

    async fn cycle(&self, token: &SessionToken) -> Result<SessionToken, CycleError> {
        let ending = self.copies.ending(Copies::session(token.key()));
        let result = self.ask(self.store.cycle(token)).await;
        ending.finish(is_known(&result));
        result
    }

    async fn log_in(
        &self,
        token: &SessionToken,
        user: impl Into<UserId> + Send,
    ) -> Result<SessionToken, CycleError> {
        let ending = self.copies.ending(Copies::session(token.key()));
        let result = self.ask(self.store.log_in(token, user)).await;
        ending.finish(is_known(&result));
        result
    }

    async fn revoke_key(&self, key: SessionKey) -> Result<bool, RevokeError> {
        let ending = self.copies.ending(Copies::session(key));
        let result = self.ask(self.store.revoke_key(key)).await;
        ending.finish(is_known(&result));
        result
    }

    /// Forgets the copy of the excepted session too, until it is loaded again.
    async fn revoke_user(
        &self,
        user: impl Into<UserId> + Send,
        except: Option<&SessionToken>,
    ) -> Result<usize, RevokeError> {
        let user = user.into();
        let ending = self.copies.ending(self.copies.user(&user));
        let result = self.ask(self.store.revoke_user(user, except)).await;
        ending.finish(is_known(&result));
        result
    }

    async fn sessions_of(
        &self,
        user: impl Into<UserId> + Send,
    ) -> Result<Vec<SessionInfo>, Unavailable> {
        self.ask(self.store.sessions_of(user)).await
    }
}

/// A session that is being saved: unless it turns out how it is afterwards, it is forgotten.
struct Saving<'a> {
    copies: &'a Copies,
    key: SessionKey,
    is_settled: bool,
}

impl<'a> Saving<'a> {
    fn new(copies: &'a Copies, key: SessionKey) -> Self {
        Self {
            copies,
            key,
            is_settled: false,
        }
    }

    fn settle(mut self) {
        self.is_settled = true;
    }
}

impl Drop for Saving<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.copies.forget(self.key);
        }
    }
}

impl<S> fmt::Debug for ServeStale<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeStale")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

const SERVED: usize = 0;
const FAILED: usize = 1;
