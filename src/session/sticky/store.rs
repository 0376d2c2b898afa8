use std::fmt;
use std::sync::Arc;

use super::book::{self, Book, ROUTING};
use super::change::Change;
use super::cookie::{NodeNumber, RoutingId};
use super::error::StickyError;
use super::held::Held;
use super::router::StickyRouter;
use super::view::View;
use crate::session::entry::Entry;
use crate::session::wall::seconds;
use crate::session::{
    BuildError, CreateError, CycleError, MemoryStore, MemoryStoreBuilder, SaveError, SessionToken,
    UserId, Version,
};
use crate::sync::Mutex;

/// The sessions of one node of several, and the copies it keeps for others.
///
/// It sends nothing: changes say what has to be [told](Change::orders) to whom, and
/// [`receive`](Self::receive) takes what others tell. See the [module](super) for what it promises.
pub struct StickyStore {
    pub(super) node: NodeNumber,
    pub(super) incarnation: u32,
    pub(super) router: Arc<StickyRouter>,
    pub(super) store: MemoryStore,
    pub(super) replication: Replication,
    pub(super) max_copies: usize,
    /// Locked before anything of the store.
    pub(super) book: Mutex<Book>,
}

/// When the second copy of a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replication {
    /// Before the request is answered: what was answered outlives a server.
    #[default]
    Acknowledged,
    /// With the next [`maintain`](StickyStore::maintain): the death of a server takes with it what was
    /// [`unprotected`](StickyStore::unprotected). Ends of sessions are told at once nevertheless, so that they are
    /// ends.
    Later,
}

impl StickyStore {
    /// The store of this life of a node, which [joins](StickyRouter::join) as such: empty, of these
    /// settings. It keeps as many copies, at most, as it may have sessions. Limits count what is on this node: with
    /// [`max_per_user`](MemoryStoreBuilder::max_per_user) of 5, a user whose browsers are placed on three nodes may have 15 sessions.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn new(
        node: NodeNumber,
        incarnation: u32,
        router: Arc<StickyRouter>,
        replication: Replication,
        settings: MemoryStoreBuilder,
    ) -> Result<Self, BuildError> {
        let absolute = seconds(settings.absolute);
        let max = settings.settings.max_data.saturating_add(ROUTING);
        let store = settings.max_data(max).build()?;
        let now = store.settings.wall.now();
        Ok(Self {
            node,
            incarnation,
            max_copies: store.settings.max_sessions,
            book: Mutex::new(Book::new(absolute, now, router.view())),
            store,
            replication,
            router,
        })
    }

    /// Begins a session for a browser; see [`MemoryStore::create`].
    ///
    /// # Errors
    /// [`StickyError`].
    pub fn create(
        &self,
        routing: RoutingId,
        user: Option<UserId>,
        data: &[u8],
    ) -> Result<Change<(SessionToken, Version)>, StickyError> {
        self.kept()?;
        let created = self.store.create(user, book::join(routing, data));
        let (token, version) = created.map_err(|error| match error {
            CreateError::TooLarge { len, max } => too_large(len, max),
            error => StickyError::Create(error),
        })?;
        let key = token.key().0;
        Ok(self.changed((token, version), routing, key, None))
    }

    /// Loads a session and moves its idle deadline. If it was another node's, which is gone, it goes on
    /// here, from its copy.
    ///
    /// # Errors
    /// [`StickyError::Moved`], [`StickyError::Retired`]: ask elsewhere. [`StickyError::Gone`].
    pub fn load(&self, token: &SessionToken) -> Result<Held, StickyError> {
        let view = self.kept()?;
        let key = token.key().0;
        if let Some(loaded) = self.store.load(token) {
            if loaded.moved {
                self.book.lock().touched.insert(key);
            }
            return Ok(Held(loaded));
        }
        self.locate(key, &view)?;
        self.store.load(token).map(Held).ok_or(StickyError::Gone)
    }

    /// Loads a session without prolonging it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn peek(&self, token: &SessionToken) -> Result<Held, StickyError> {
        let view = self.kept()?;
        if let Some(loaded) = self.store.peek(token) {
            return Ok(Held(loaded));
        }
        self.locate(token.key().0, &view)?;
        self.store.peek(token).map(Held).ok_or(StickyError::Gone)
    }

    /// Saves data over the version that was loaded; see [`MemoryStore::save`].
    ///
    /// # Errors
    /// [`StickyError`]; nothing was written.
    pub fn save(
        &self,
        token: &SessionToken,
        expected: Version,
        data: &[u8],
    ) -> Result<Change<Version>, StickyError> {
        let routing = self.load(token)?.routing();
        let saved = self.store.save(token, expected, book::join(routing, data));
        let key = token.key().0;
        match saved {
            Ok(version) => Ok(self.changed(version, routing, key, None)),
            Err(SaveError::Conflict { current }) => Err(StickyError::Conflict { current }),
            Err(SaveError::TooLarge { len, max }) => Err(too_large(len, max)),
            Err(SaveError::Gone | SaveError::NotAMap | SaveError::Unavailable(_)) => {
                Err(self.gone(key))
            }
        }
    }

    /// Gives the session a new token; see [`MemoryStore::cycle`]. Its browser stays where it
    /// is.
    ///
    /// # Errors
    /// [`StickyError`]; the session stays as it was, unless it is gone.
    pub fn cycle(&self, token: &SessionToken) -> Result<Change<SessionToken>, StickyError> {
        let routing = self.load(token)?.routing();
        let cycled = self.store.cycle(token);
        self.cycled(cycled, routing, token.key().0)
    }

    /// Makes the session a user's under a new token; see [`MemoryStore::log_in`]. Its browser stays
    /// where it is.
    ///
    /// # Errors
    /// [`StickyError`]; the session stays as it was, unless it is gone.
    pub fn log_in(
        &self,
        token: &SessionToken,
        user: impl Into<UserId>,
    ) -> Result<Change<SessionToken>, StickyError> {
        let routing = self.load(token)?.routing();
        let cycled = self.store.log_in(token, user);
        self.cycled(cycled, routing, token.key().0)
    }

    fn cycled(
        &self,
        cycled: Result<SessionToken, CycleError>,
        routing: RoutingId,
        old: u128,
    ) -> Result<Change<SessionToken>, StickyError> {
        match cycled {
            Ok(token) => {
                let key = token.key().0;
                Ok(self.changed(token, routing, key, Some(old)))
            }
            Err(CycleError::Gone) => Err(self.gone(old)),
            Err(error) => Err(StickyError::Cycle(error)),
        }
    }

    /// Ends a session. Once confirmed, no node brings it back.
    ///
    /// # Errors
    /// [`StickyError::Moved`], [`StickyError::Retired`]: ask elsewhere.
    /// [`StickyError::Gone`]: there was none to end. [`StickyError::Log`].
    pub fn revoke(&self, token: &SessionToken) -> Result<Change<()>, StickyError> {
        let routing = self.load(token)?.routing();
        let key = token.key().0;
        self.store.revoke(token)?;
        Ok(self.changed((), routing, key, Some(key)))
    }

    /// How many changes have no second copy as far as this node knows: what its death would take
    /// with it.
    pub fn unprotected(&self) -> usize {
        self.book.lock().unprotected.len()
    }

    /// How many copies it keeps for others.
    pub fn copies(&self) -> usize {
        self.book.lock().copies.len()
    }

    /// Its own sessions, to list, count or snapshot them. What is changed there has no copy, and
    /// data there begins with the routing id.
    pub fn sessions(&self) -> &MemoryStore {
        &self.store
    }

    /// Who says where sessions are.
    pub fn router(&self) -> &StickyRouter {
        &self.router
    }

    /// Which node it is.
    pub fn node(&self) -> NodeNumber {
        self.node
    }

    /// Why a session that was here a moment ago is not.
    fn gone(&self, key: u128) -> StickyError {
        let moved = self.book.lock().moved(key);
        moved.map_or(StickyError::Gone, |gone| StickyError::Moved { to: gone.to })
    }

    /// The view, if this life of the node has a part in it.
    pub(super) fn kept(&self) -> Result<Arc<View>, StickyError> {
        let view = self.router.view();
        let now = self.store.settings.wall.now();
        let is_kept = view.is_kept(self.node, self.incarnation, now);
        is_kept.then_some(view).ok_or(StickyError::Retired)
    }

    pub(super) fn is_expired(&self, entry: &Entry) -> bool {
        self.store.now() >= self.store.settings.lifetime.end(entry)
    }
}

fn too_large(len: usize, max: usize) -> StickyError {
    StickyError::TooLarge {
        len: len.saturating_sub(ROUTING),
        max: max.saturating_sub(ROUTING),
    }
}

impl fmt::Debug for StickyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyStore")
            .field("node", &self.node)
            .field("incarnation", &self.incarnation)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
