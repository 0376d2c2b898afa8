use super::data::SessionData;
use super::error::{CreateError, CycleError, RevokeError, SaveError};
use super::id::{SessionKey, SessionToken};
use super::loaded::{Loaded, SessionInfo, Version};
use super::session_map::SessionMap;
use super::store::MemoryStore;
use super::unavailable::Unavailable;
use super::user_id::UserId;

/// Sessions in this process or elsewhere, behind the same calls.
///
/// Every store keeps the promises of the [module](super): a save replaces the version it names or is refused and
/// never creates; what was revoked, cycled or has expired is gone; nobody escapes `revoke_user`; a token that the
/// store did not draw is none. A store elsewhere can fail in one way more, [`Unavailable`], and says so instead of
/// "no session".
///
/// No runtime is asked for. The trait is not implemented for references and `Arc`s, where its methods would
/// hide [`MemoryStore`]'s own: a layer that shares its store holds an `Arc<S>` of an `S: AsyncSessionStore`.
///
/// A future that is dropped before its end may or may not have made its change.
///
/// ```
/// use tenfold::session::{AsyncSessionStore, CycleError, SessionToken};
///
/// /// Logs in whoever comes with a session of nobody, and shows them what they had in it.
/// async fn log_in(
///     store: &impl AsyncSessionStore,
///     planted: &SessionToken,
/// ) -> Result<Option<(SessionToken, usize)>, CycleError> {
///     let token = match store.log_in(planted, "ada").await {
///         Err(CycleError::Gone) => return Ok(None),
///         token => token?,
///     };
///     let loaded = store.load(&token).await?;
///     Ok(loaded.map(|loaded| (token, loaded.len())))
/// }
/// ```
pub trait AsyncSessionStore: Send + Sync {
    /// Begins a session, of nobody or of a user who has logged in just now, under a token
    /// drawn by the store.
    ///
    /// # Errors
    /// [`CreateError`]: too much data, too many sessions, no random bits, or no store.
    fn create(
        &self,
        user: Option<UserId>,
        data: impl Into<SessionData> + Send,
    ) -> impl Future<Output = Result<(SessionToken, Version), CreateError>> + Send;

    /// Loads a session and moves its idle deadline; none if there is none, it has
    /// expired, or it was revoked. A store that serves copies while it is down
    /// [says so](Loaded::stale).
    ///
    /// # Errors
    /// [`Unavailable`]: nobody knows whether there is one.
    fn load(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<Option<Loaded>, Unavailable>> + Send;

    /// Loads a session without prolonging it.
    ///
    /// # Errors
    /// [`Unavailable`]: nobody knows whether there is one.
    fn peek(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<Option<Loaded>, Unavailable>> + Send;

    /// Saves data, if the session is still there and still at the version that was
    /// loaded. Answers its new version.
    ///
    /// # Errors
    /// [`SaveError`]. Nothing was written, unless it is one that
    /// [may have happened](Unavailable::may_have_happened).
    fn save(
        &self,
        token: &SessionToken,
        expected: Version,
        data: impl Into<SessionData> + Send,
    ) -> impl Future<Output = Result<Version, SaveError>> + Send;

    /// Changes data: `change` is given what is there, and answers what shall be (none:
    /// leave it) and whatever else the caller wants. If somebody else saves meanwhile it
    /// is asked again, so it has to do nothing but look and answer.
    ///
    /// # Errors
    /// As [`save`](Self::save); [`SaveError::Conflict`] only after a hundred attempts.
    fn modify<R: Send>(
        &self,
        token: &SessionToken,
        mut change: impl FnMut(&[u8]) -> (Option<Vec<u8>>, R) + Send,
    ) -> impl Future<Output = Result<R, SaveError>> + Send {
        async move {
            let mut last = SaveError::Gone;
            for _ in 0..ATTEMPTS {
                let loaded = self.load(token).await?.ok_or(SaveError::Gone)?;
                if let Some(stale) = loaded.stale() {
                    return Err(stale.why().clone().into());
                }
                let (data, result) = change(&loaded);
                let Some(data) = data else { return Ok(result) };
                match self.save(token, loaded.version(), data).await {
                    Ok(_) => return Ok(result),
                    Err(conflict @ SaveError::Conflict { .. }) => last = conflict,
                    Err(error) => return Err(error),
                }
            }
            Err(last)
        }
    }

    /// Makes the changes of a map in the session, whatever else was changed since it
    /// was read.
    ///
    /// # Errors
    /// As [`modify`](Self::modify); [`SaveError::NotAMap`] if the data is none.
    fn merge(
        &self,
        token: &SessionToken,
        changes: &SessionMap,
    ) -> impl Future<Output = Result<(), SaveError>> + Send {
        async move {
            let change = |data: &[u8]| changes.merged_into(data);
            self.modify(token, change).await.and_then(|merged| merged)
        }
    }

    /// Gives the session a new token, in one step: before it only the old one is good,
    /// after it only the new one.
    ///
    /// # Errors
    /// [`CycleError`]: the session is gone, or stays as it was, unless the error
    /// [may have happened](Unavailable::may_have_happened).
    fn cycle(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<SessionToken, CycleError>> + Send;

    /// Makes the session a user's, who has just proved who they are, under a new token. Its
    /// absolute deadline begins anew; its data stays.
    ///
    /// # Errors
    /// As [`cycle`](Self::cycle), and [`CycleError::UserFull`].
    fn log_in(
        &self,
        token: &SessionToken,
        user: impl Into<UserId> + Send,
    ) -> impl Future<Output = Result<SessionToken, CycleError>> + Send;

    /// Ends a session. Says whether there was one to end; either way there is none now.
    ///
    /// # Errors
    /// [`RevokeError`]: it may be there still, or after a restart; try again.
    fn revoke(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<bool, RevokeError>> + Send {
        self.revoke_key(token.key())
    }

    /// Ends the session of this key: one of [`sessions_of`](Self::sessions_of).
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    fn revoke_key(&self, key: SessionKey)
    -> impl Future<Output = Result<bool, RevokeError>> + Send;

    /// Ends all sessions of a user, those being begun or cycled meanwhile too, except
    /// one, if you like: that of who asks. Says how many.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    fn revoke_user(
        &self,
        user: impl Into<UserId> + Send,
        except: Option<&SessionToken>,
    ) -> impl Future<Output = Result<usize, RevokeError>> + Send;

    /// The sessions of a user, the oldest first.
    ///
    /// # Errors
    /// [`Unavailable`]: nobody knows which there are.
    fn sessions_of(
        &self,
        user: impl Into<UserId> + Send,
    ) -> impl Future<Output = Result<Vec<SessionInfo>, Unavailable>> + Send;
}

/// The calls of the store itself. None waits for anything but locks held for a moment, and the
/// [log of revocations](super::RevocationLog) if there is one, which writes in the calling thread.
impl AsyncSessionStore for MemoryStore {
    async fn create(
        &self,
        user: Option<UserId>,
        data: impl Into<SessionData> + Send,
    ) -> Result<(SessionToken, Version), CreateError> {
        Self::create(self, user, data)
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        Ok(Self::load(self, token))
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        Ok(Self::peek(self, token))
    }

    async fn save(
        &self,
        token: &SessionToken,
        expected: Version,
        data: impl Into<SessionData> + Send,
    ) -> Result<Version, SaveError> {
        Self::save(self, token, expected, data)
    }

    async fn cycle(&self, token: &SessionToken) -> Result<SessionToken, CycleError> {
        Self::cycle(self, token)
    }

    async fn log_in(
        &self,
        token: &SessionToken,
        user: impl Into<UserId> + Send,
    ) -> Result<SessionToken, CycleError> {
        Self::log_in(self, token, user)
    }

    async fn revoke_key(&self, key: SessionKey) -> Result<bool, RevokeError> {
        Ok(Self::revoke_key(self, key)?)
    }

    async fn revoke_user(
        &self,
        user: impl Into<UserId> + Send,
        except: Option<&SessionToken>,
    ) -> Result<usize, RevokeError> {
        Ok(Self::revoke_user(self, user, except)?)
    }

    async fn sessions_of(
        &self,
        user: impl Into<UserId> + Send,
    ) -> Result<Vec<SessionInfo>, Unavailable> {
        Ok(Self::sessions_of(self, user))
    }
}

/// How often a compare-and-swap is tried.
const ATTEMPTS: usize = 100;
