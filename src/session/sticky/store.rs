use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::book::{self, Book, Copy, ROUTING, routing_of};
use super::change::Change;
use super::cookie::{NodeNumber, RoutingId};
use super::error::StickyError;
use super::message::{Batches, Message, Order, Receipt};
use super::router::StickyRouter;
use super::view::View;
use crate::session::revocations::Record;
use crate::session::shard::Entry;
use crate::session::transfer::Outcome;
use crate::session::wall::seconds;
use crate::session::{
    BuildError, CreateError, CycleError, Frame, Loaded, MemoryStore, MemoryStoreBuilder, SaveError,
    SessionKey, SessionToken, UserId, Version,
};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;

/// The sessions of one node of several, and the copies it keeps for others.
///
/// It sends nothing: changes say what has to be [told](Change::orders) to whom, and
/// [`receive`](Self::receive) takes what others tell. See the [module](super) for what it promises.
pub struct StickyStore {
    pub(super) node: NodeNumber,
    pub(super) incarnation: u32,
    pub(super) router: Arc<StickyRouter>,
    pub(super) store: MemoryStore,
    replication: Replication,
    max_copies: usize,
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

/// A session of a [`StickyStore`] as it was when it was loaded; derefs to its data.
#[derive(Debug, Clone)]
pub struct Held(Loaded);

impl Held {
    /// Which version it is, for [`StickyStore::save`].
    pub fn version(&self) -> Version {
        self.0.version()
    }

    /// Whose session it is, if they have logged in.
    pub fn user(&self) -> Option<&UserId> {
        self.0.user()
    }

    /// What its browser is placed by.
    pub fn routing(&self) -> RoutingId {
        book::split(&self.0).0
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        book::split(&self.0).1
    }
}

/// What a node did with a message.
#[derive(Debug)]
#[must_use = "what was told has to be answered"]
pub struct Received {
    /// To be answered, as soon as the orders were carried out.
    pub receipt: Receipt,
    /// Copies of sessions that go on here, to be made first. If that fails, answer
    /// nothing: the sender still has them, and tells them again.
    pub orders: Vec<Order>,
}

impl StickyStore {
    /// The store of this life of a node, which [joins](StickyRouter::join) as such: empty, of these
    /// settings. It keeps as many copies, at most, as it may have sessions.
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

    /// Ends all sessions of a user on this node, except one, and the copies of those it keeps
    /// for others. Answers a number.
    ///
    /// To end them everywhere, ask every node that is not down with the number 0, then once more with the
    /// highest of the answers. When the second round is through, no session that was begun before the
    /// first one is left, nor can a copy or a message under way bring one back; those begun after the
    /// second live. A node that does not answer has to be asked again, or be down.
    ///
    /// # Errors
    /// [`StickyError::Log`]: they are over, but a restart may bring them back.
    pub fn revoke_user(
        &self,
        user: &UserId,
        except: Option<SessionKey>,
        number: u64,
    ) -> Result<u64, StickyError> {
        let except = except.map(|key| key.0);
        let epoch = &self.store.epoch;
        let generation = {
            // With the lock, so that what comes from elsewhere is either here, and ends, or meets
            // the record.
            let mut book = self.book.lock();
            let generation = if number == 0 {
                epoch.fetch_add(1, Ordering::SeqCst) + 1
            } else {
                epoch.fetch_max(number, Ordering::SeqCst);
                number
            };
            book.end(Record::of_user(user, generation, except));
            generation
        };
        self.store.revoke_before(user, generation, except)?;
        Ok(generation)
    }

    /// Takes what another node tells.
    pub fn receive(&self, message: &Message) -> Received {
        let view = self.router.view();
        let mut receipt = Receipt::default();
        let mut batches = Batches::of(self.node, self.incarnation);
        let from = view.find(message.from);
        if from.is_none_or(|from| message.incarnation < from.incarnation)
            || !view.answers(message.from)
        {
            receipt.is_fenced = true;
            let orders = Vec::new();
            return Received { receipt, orders };
        }
        let mut book = self.book.lock();
        for &key in &message.ended {
            book.end(Record::Session { key });
            // If it went on here meanwhile.
            self.store.take(key);
        }
        for key in &message.forgotten {
            let owner = book.copies.get(key).map(|copy| copy.owner);
            if owner == Some(message.from) {
                book.copies.remove(key);
            }
        }
        for (key, seen) in &message.touched {
            if let Some(copy) = book.copies.get_mut(key) {
                let entry = &mut copy.frame.entry;
                entry.seen = entry.seen.max(*seen);
            }
        }
        for frame in &message.kept {
            self.keep(&mut book, message, frame, &mut receipt);
        }
        let mut taken = Vec::new();
        for frame in &message.taken {
            self.merge_epoch(&frame.entry);
            if book.is_over(frame) || self.is_expired(&frame.entry) {
                continue;
            }
            match self.store.import_one(frame.clone()) {
                Outcome::Taken => {
                    let key = frame.entry.key;
                    book.is_back(key);
                    book.copies.remove(&key);
                    book.note_unprotected(key);
                    taken.push(frame);
                }
                Outcome::Older => {}
                Outcome::NoRoom => receipt.no_room += 1,
            }
        }
        book.see(&view);
        drop(book);
        for frame in taken {
            if let Some(heir) = view.heir(routing_of(frame), self.node) {
                batches.to(heir, |message| message.kept.push(frame.clone()));
            }
        }
        let orders = batches.into_orders();
        Received { receipt, orders }
    }

    fn keep(&self, book: &mut Book, message: &Message, frame: &Frame, receipt: &mut Receipt) {
        self.merge_epoch(&frame.entry);
        let key = frame.entry.key;
        if book.is_over(frame) {
            return;
        }
        if self.store.frame(key).is_some() {
            receipt.superseded.push(key);
            return;
        }
        if let Some(copy) = book.copies.get(&key)
            && copy.frame.entry.version > frame.entry.version
        {
            return;
        }
        if book.copies.len() >= self.max_copies && !book.copies.contains_key(&key) {
            book.copies
                .retain(|_, copy| !self.is_expired(&copy.frame.entry));
            if book.copies.len() >= self.max_copies {
                receipt.no_room += 1;
                return;
            }
        }
        book.is_back(key);
        let copy = Copy {
            owner: message.from,
            incarnation: message.incarnation,
            frame: frame.clone(),
        };
        book.copies.insert(key, copy);
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

    /// Which node it is.
    pub fn node(&self) -> NodeNumber {
        self.node
    }

    /// Lets the session of a node that is gone go on here, if there is a copy, or says
    /// where it is.
    fn locate(&self, key: u128, view: &View) -> Result<(), StickyError> {
        let now = self.store.settings.wall.now();
        let mut book = self.book.lock();
        if self.store.frame(key).is_some() {
            return Ok(());
        }
        let moved = book.moved(key);
        let moved = moved.filter(|gone| view.is_kept(gone.to, gone.incarnation, now));
        if let Some(gone) = moved {
            return Err(StickyError::Moved { to: gone.to });
        }
        let copy = book.copies.get(&key).ok_or(StickyError::Gone)?;
        if view.is_kept(copy.owner, copy.incarnation, now) {
            return Err(StickyError::Moved { to: copy.owner });
        }
        self.promote(&mut book, key);
        Ok(())
    }

    /// Makes the session of a copy one of ours: a version that its owner, should it live after
    /// all, has not reached.
    pub(super) fn promote(&self, book: &mut Book, key: u128) {
        let Some(mut copy) = book.copies.remove(&key) else {
            return;
        };
        let version = &mut copy.frame.entry.version;
        *version = version.saturating_add(1 << 32);
        book.is_back(key);
        if !self.is_expired(&copy.frame.entry) {
            self.store.import_one(copy.frame);
            book.note_unprotected(key);
        }
    }

    fn changed<T>(
        &self,
        value: T,
        routing: RoutingId,
        key: u128,
        ended: Option<u128>,
    ) -> Change<T> {
        let mut batches = Batches::of(self.node, self.incarnation);
        let mut book = self.book.lock();
        let view = self.router.view();
        book.see(&view);
        if let Some(old) = ended {
            book.end(Record::Session { key: old });
            let heirs = book.views.iter().filter_map(|v| v.heir(routing, self.node));
            let mut heirs: Vec<_> = heirs.filter(|heir| view.answers(*heir)).collect();
            heirs.sort_unstable();
            heirs.dedup();
            for heir in heirs {
                batches.to(heir, |message| message.ended.push(old));
            }
        }
        if ended != Some(key) {
            if ended.is_none() && self.replication == Replication::Later {
                book.note_unprotected(key);
            } else if let Some(heir) = view.heir(routing, self.node) {
                if let Some(frame) = self.store.frame(key) {
                    batches.to(heir, |message| message.kept.push(frame));
                }
            } else {
                book.note_unprotected(key);
            }
        }
        drop(book);
        let orders = batches.into_orders();
        Change { value, orders }
    }

    /// Drops sessions that the receiver of an order has taken over; says whether there
    /// were any.
    pub(super) fn superseded(&self, order: &Order, receipt: &Receipt) -> bool {
        let view = self.router.view();
        let incarnation = view.find(order.to).map_or(0, |m| m.incarnation);
        let mut book = self.book.lock();
        for &key in &receipt.superseded {
            let to = order.to;
            book.move_to(key, book::Gone { to, incarnation });
            self.store.take(key);
        }
        !receipt.superseded.is_empty()
    }

    pub(super) fn note_unprotected(&self, orders: &[Order]) {
        let mut book = self.book.lock();
        for frame in orders.iter().flat_map(|order| &order.message.kept) {
            book.note_unprotected(frame.entry.key);
        }
    }

    /// Why a session that was here a moment ago is not.
    fn gone(&self, key: u128) -> StickyError {
        let moved = self.book.lock().moved(key);
        moved.map_or(StickyError::Gone, |gone| StickyError::Moved { to: gone.to })
    }

    /// The view, if this life of the node has a part in it.
    fn kept(&self) -> Result<Arc<View>, StickyError> {
        let view = self.router.view();
        let now = self.store.settings.wall.now();
        let is_kept = view.is_kept(self.node, self.incarnation, now);
        is_kept.then_some(view).ok_or(StickyError::Retired)
    }

    pub(super) fn is_expired(&self, entry: &Entry) -> bool {
        self.store.now() >= self.store.settings.lifetime.end(entry)
    }

    /// So that the next revocation here has a higher number than what came from there.
    fn merge_epoch(&self, entry: &Entry) {
        self.store.epoch.fetch_max(entry.stamp, Ordering::SeqCst);
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
