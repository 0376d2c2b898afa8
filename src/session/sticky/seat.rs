use std::fmt;
use std::sync::Arc;

use super::change::Change;
use super::cookie::RoutingId;
use super::error::StickyError;
use super::held::Held;
use super::node::{EndError, Peers, StickyNode};
use crate::session::{
    AsyncSessionStore, CreateError, CycleError, Loaded, LogError, RevokeError, SaveError,
    SessionData, SessionInfo, SessionKey, SessionToken, Unavailable, UserId, Version,
};

/// The sessions of a [`StickyNode`] as one browser has them, behind the trait of all stores: what it begins is placed by
/// its routing id, and what it changes has a copy before the call returns.
///
/// * A load or a change asks nobody but the node with the copy. A session that is another node's is
///   [`Unavailable`], and never "none": `web::StickyLayer` sends the request there before it comes to that.
/// * [`revoke`](AsyncSessionStore::revoke) of what is not here, [`revoke_user`](AsyncSessionStore::revoke_user) and
///   [`sessions_of`](AsyncSessionStore::sessions_of) ask every node that is not down, and one that does not answer is an
///   error. Sessions of a node that has just died are in no list, and not counted, until they go on elsewhere; they do end.
/// * A limit of sessions per user is one of those on one node: a user of two nodes may have twice as many.
/// * A load copies the data.
pub struct Seat<P> {
    node: Arc<StickyNode<P>>,
    routing: RoutingId,
}

impl<P> Seat<P> {
    pub(super) fn new(node: Arc<StickyNode<P>>, routing: RoutingId) -> Self {
        Self { node, routing }
    }

    /// Where it is.
    pub fn node(&self) -> &Arc<StickyNode<P>> {
        &self.node
    }

    /// What the browser is placed by.
    pub fn routing(&self) -> RoutingId {
        self.routing
    }
}

impl<P: Peers> Seat<P> {
    /// The result of a change, once it has its copy.
    async fn copied<T>(&self, change: Result<Change<T>, StickyError>) -> Result<T, StickyError> {
        self.node.confirm(change?).await
    }
}

impl<P: Peers> AsyncSessionStore for Seat<P> {
    async fn create(
        &self,
        user: Option<UserId>,
        data: impl Into<SessionData> + Send,
    ) -> Result<(SessionToken, Version), CreateError> {
        let data = data.into();
        let begun = self.node.store().create(self.routing, user, &data);
        match self.copied(begun).await {
            Ok(created) => Ok(created),
            Err(StickyError::Create(error)) => Err(error),
            Err(StickyError::TooLarge { len, max }) => Err(CreateError::TooLarge { len, max }),
            Err(error) => Err(unavailable(error).into()),
        }
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        found(self.node.store().load(token))
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        found(self.node.store().peek(token))
    }

    async fn save(
        &self,
        token: &SessionToken,
        expected: Version,
        data: impl Into<SessionData> + Send,
    ) -> Result<Version, SaveError> {
        let data = data.into();
        let saved = self.node.store().save(token, expected, &data);
        match self.copied(saved).await {
            Ok(version) => Ok(version),
            Err(StickyError::Gone) => Err(SaveError::Gone),
            Err(StickyError::Conflict { current }) => Err(SaveError::Conflict { current }),
            Err(StickyError::TooLarge { len, max }) => Err(SaveError::TooLarge { len, max }),
            Err(error) => Err(unavailable(error).into()),
        }
    }

    async fn cycle(&self, token: &SessionToken) -> Result<SessionToken, CycleError> {
        let cycled = self.node.store().cycle(token);
        let cycled = self.copied(cycled).await;
        cycled.map_err(not_cycled)
    }

    async fn log_in(
        &self,
        token: &SessionToken,
        user: impl Into<UserId> + Send,
    ) -> Result<SessionToken, CycleError> {
        let cycled = self.node.store().log_in(token, user.into());
        let cycled = self.copied(cycled).await;
        cycled.map_err(not_cycled)
    }

    async fn revoke_key(&self, key: SessionKey) -> Result<bool, RevokeError> {
        let ended = self.node.end_anywhere(key).await;
        ended.map_err(not_ended)
    }

    async fn revoke_user(
        &self,
        user: impl Into<UserId> + Send,
        except: Option<&SessionToken>,
    ) -> Result<usize, RevokeError> {
        let except = except.map(SessionToken::key);
        let ended = self.node.end_all(user.into(), except).await;
        Ok(ended.map_err(not_ended)? as usize)
    }

    async fn sessions_of(
        &self,
        user: impl Into<UserId> + Send,
    ) -> Result<Vec<SessionInfo>, Unavailable> {
        self.node.list(user.into()).await
    }
}

fn found(held: Result<Held, StickyError>) -> Result<Option<Loaded>, Unavailable> {
    match held {
        Ok(held) => Ok(Some(held.into_loaded())),
        Err(StickyError::Gone) => Ok(None),
        Err(error) => Err(unavailable(error)),
    }
}

fn not_cycled(error: StickyError) -> CycleError {
    match error {
        StickyError::Gone => CycleError::Gone,
        StickyError::Cycle(error) => error,
        StickyError::Log(LogError(error)) => CycleError::Log(error),
        error => unavailable(error).into(),
    }
}

fn not_ended(error: EndError) -> RevokeError {
    match error {
        EndError::Sticky(StickyError::Log(error)) => error.into(),
        EndError::Sticky(error) => unavailable(error).into(),
        EndError::Unavailable(error) => error.into(),
    }
}

/// Nobody knows, or nobody here: never to be taken for "there is none".
fn unavailable(error: StickyError) -> Unavailable {
    if matches!(error, StickyError::Unconfirmed { .. }) {
        return Unavailable::Unreachable(Arc::new(error));
    }
    Unavailable::Refused(Arc::new(error))
}

impl<P> Clone for Seat<P> {
    fn clone(&self) -> Self {
        Self {
            node: Arc::clone(&self.node),
            routing: self.routing,
        }
    }
}

impl<P> fmt::Debug for Seat<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("node", &self.node)
            .field("routing", &self.routing)
            .finish()
    }
}
