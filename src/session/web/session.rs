use std::fmt;
use std::sync::Arc;

use super::error::SessionError;
use crate::session::{
    AsyncSessionStore, CycleError, MemoryStore, SessionInfo, SessionMap, SessionToken, Stale,
    Unavailable, UserId,
};
use crate::sync::Mutex;

/// The session of a request, as keys and values: a handle, to be cloned at will.
///
/// The store is asked when it is first touched. Changes of keys are saved when the handler has
/// answered; what begins or ends a session is done at once.
pub struct Session<S = MemoryStore> {
    store: Arc<S>,
    state: Arc<Mutex<State>>,
}

/// What is known of the session so far.
#[derive(Default)]
pub(super) struct State {
    /// The token it goes by now.
    token: Option<SessionToken>,
    user: Option<UserId>,
    /// Its data with the changes of this request; none before the store was asked.
    map: Option<SessionMap>,
    /// Whether that is a copy.
    stale: Option<Stale>,
    /// What the browser is to be told.
    pub(super) tell: Tell,
}

/// What the browser is to be told.
#[derive(Default)]
pub(super) enum Tell {
    #[default]
    Nothing,
    Set(SessionToken),
    Clear,
}

impl<S: AsyncSessionStore> Session<S> {
    pub(super) fn new(store: Arc<S>, token: Option<SessionToken>) -> Self {
        let state = State {
            token,
            ..State::default()
        };
        Self {
            store,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`], [`SessionError::NotAMap`].
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, SessionError> {
        self.load().await?;
        let state = self.state.lock();
        let map = state.map.as_ref();
        Ok(map.and_then(|map| map.get(key)).map(<[u8]>::to_vec))
    }

    /// Sets the value of a key. If there is no session, one begins with the answer.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn insert(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), SessionError> {
        self.load().await?;
        let mut state = self.state.lock();
        state.map.get_or_insert_default().insert(key, value);
        Ok(())
    }

    /// Removes a key; says whether it was there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn remove(&self, key: &str) -> Result<bool, SessionError> {
        self.load().await?;
        let mut state = self.state.lock();
        Ok(state.map.as_mut().is_some_and(|map| map.remove(key)))
    }

    /// Who is logged in.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn user(&self) -> Result<Option<UserId>, SessionError> {
        self.load().await?;
        Ok(self.state.lock().user.clone())
    }

    /// If the session is a copy, because the store could not be asked: how old it is, and why. What is changed in it is
    /// saved if the store is back by then, and a 503 otherwise; see [`Loaded::stale`](crate::session::Loaded::stale).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn stale(&self) -> Result<Option<Stale>, SessionError> {
        self.load().await?;
        Ok(self.state.lock().stale.clone())
    }

    /// Logs a user in, who has just proved who they are: under a new token, with what the session
    /// had so far. Somebody else's session, if one was logged in, does not become theirs: it ends, and they begin
    /// with nothing.
    ///
    /// # Errors
    /// [`SessionError`]; nobody is logged in who was not.
    pub async fn log_in(&self, user: impl Into<UserId>) -> Result<(), SessionError> {
        let user = user.into();
        self.load().await?;
        let (token, is_others) = {
            let state = self.state.lock();
            let other = state.user.as_ref().is_some_and(|other| *other != user);
            (state.token.clone(), other)
        };
        if is_others {
            self.log_out().await?;
        }
        let mut renewed = None;
        if let Some(token) = token.filter(|_| !is_others) {
            match self.store.log_in(&token, user.clone()).await {
                Ok(token) => renewed = Some(token),
                // Another tab was faster, or it has just expired. Whoever has proved who they are is let in,
                // to a session of its own.
                Err(CycleError::Gone) => self.state.lock().end(),
                Err(error) => return Err(self.renewed_by(error.into())),
            }
        }
        let token = match renewed {
            Some(token) => token,
            None => self.begin(Some(user.clone())).await?,
        };
        let mut state = self.state.lock();
        state.user = Some(user);
        state.renew(token);
        Ok(())
    }

    /// Gives the session a new token: whenever what its user may do changes. Without a session
    /// nothing is done.
    ///
    /// # Errors
    /// [`SessionError`]; it goes on under its old token, unless it is gone.
    pub async fn cycle(&self) -> Result<(), SessionError> {
        self.load().await?;
        let token = self.state.lock().token.clone();
        if let Some(token) = token {
            let cycled = self.store.cycle(&token).await;
            let token = cycled.map_err(|error| self.renewed_by(error.into()))?;
            self.state.lock().renew(token);
        }
        Ok(())
    }

    /// Ends the session, and has the cookie removed.
    ///
    /// # Errors
    /// [`SessionError`]: it may not be over; try again.
    pub async fn log_out(&self) -> Result<(), SessionError> {
        let token = self.state.lock().token.clone();
        if let Some(token) = token {
            self.store.revoke(&token).await?;
        }
        self.state.lock().end();
        Ok(())
    }

    /// Ends all sessions of the user, this one too. Says how many.
    ///
    /// # Errors
    /// [`SessionError`]: they may not be over; try again.
    pub async fn log_out_everywhere(&self) -> Result<usize, SessionError> {
        let Some(user) = self.user().await? else {
            self.log_out().await?;
            return Ok(0);
        };
        let ended = self.store.revoke_user(user, None).await?;
        self.state.lock().end();
        Ok(ended)
    }

    /// Ends all other sessions of the user. Says how many.
    ///
    /// # Errors
    /// [`SessionError`]: they may not be over; try again.
    pub async fn log_out_others(&self) -> Result<usize, SessionError> {
        let Some(user) = self.user().await? else {
            return Ok(0);
        };
        let token = self.state.lock().token.clone();
        Ok(self.store.revoke_user(user, token.as_ref()).await?)
    }

    /// The user's sessions, for a list of devices; none if nobody is logged in.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn devices(&self) -> Result<Vec<SessionInfo>, SessionError> {
        match self.user().await? {
            Some(user) => Ok(self.store.sessions_of(user).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Saves changes, before the answer.
    pub(super) async fn finish(&self) -> Result<(), SessionError> {
        let (token, map) = {
            let state = self.state.lock();
            let map = state.map.as_ref().filter(|map| map.is_changed()).cloned();
            (state.token.clone(), map)
        };
        let Some(map) = map else {
            return Ok(());
        };
        if let Some(token) = token {
            self.store.merge(&token, &map).await?;
        } else {
            let token = self.begin(None).await?;
            self.state.lock().renew(token);
        }
        Ok(())
    }

    /// What to tell the browser; once.
    pub(super) fn tell(&self) -> Tell {
        std::mem::take(&mut self.state.lock().tell)
    }

    /// Begins a session with what was changed so far.
    async fn begin(&self, user: Option<UserId>) -> Result<SessionToken, SessionError> {
        let map = self.state.lock().map.clone().unwrap_or_default();
        let data = map.to_bytes();
        // As the store will have it: nothing is left to save.
        let saved = SessionMap::from_bytes(&data);
        let created = self.store.create(user, data).await;
        let (token, _) = created.map_err(|error| self.renewed_by(error.into()))?;
        self.state.lock().map = saved;
        Ok(token)
    }

    /// Takes the token of what failed only for want of replicas: the old one, if any, is good no more.
    fn renewed_by(&self, error: SessionError) -> SessionError {
        if let SessionError::Unavailable(Unavailable::NotReplicated(short)) = &error
            && let Some(token) = short.token()
        {
            self.state.lock().renew(token.clone());
        }
        error
    }

    /// Asks the store, if that has not been done.
    async fn load(&self) -> Result<(), SessionError> {
        let token = {
            let mut state = self.state.lock();
            if state.map.is_some() {
                return Ok(());
            }
            let Some(token) = state.token.clone() else {
                state.map = Some(SessionMap::new());
                return Ok(());
            };
            token
        };
        let loaded = self.store.load(&token).await?;
        let mut state = self.state.lock();
        if state.map.is_some() {
            // Another handle was faster.
            return Ok(());
        }
        if let Some(loaded) = loaded {
            let map = SessionMap::from_bytes(&loaded).ok_or(SessionError::NotAMap)?;
            state.user = loaded.user().cloned();
            state.stale = loaded.stale().cloned();
            state.map = Some(map);
        } else {
            // A token that opens nothing is none. The cookie stays: it may be younger than this request.
            state.token = None;
            state.map = Some(SessionMap::new());
        }
        Ok(())
    }
}

impl State {
    fn renew(&mut self, token: SessionToken) {
        self.tell = Tell::Set(token.clone());
        self.stale = None;
        self.token = Some(token);
    }

    fn end(&mut self) {
        *self = Self {
            token: None,
            user: None,
            map: Some(SessionMap::new()),
            stale: None,
            tell: Tell::Clear,
        };
    }
}

impl<S> Clone for Session<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            state: Arc::clone(&self.state),
        }
    }
}

impl<S> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Session")
            .field("user", &state.user)
            .field("is_loaded", &state.map.is_some())
            .finish_non_exhaustive()
    }
}
