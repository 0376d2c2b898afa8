use std::fmt;
use std::sync::Arc;

use super::change::Change;
use super::cookie::{NodeNumber, RoutingId};
use super::error::{AnswerError, StickyError};
use super::message::{Order, Receipt};
use super::question::{Ended, Question, read_list, write_list, yes_or_no};
use super::seat::Seat;
use super::store::StickyStore;
use crate::session::{LogError, SessionInfo, SessionKey, Unavailable, UserId};

/// How the nodes reach each other: what you write to put a [`StickyNode`] on a network.
///
/// Questions and answers hold sessions, and whoever can ask can be anybody, so connections have to be
/// authenticated on both sides and kept from eavesdroppers, as for any message between nodes.
pub trait Peers: Send + Sync {
    /// Carries a question to [`StickyNode::answer`] of another node, and back what that makes of it. None if it
    /// fails, or takes too long: the request that waits for it is answered with an error then.
    fn ask(
        &self,
        node: NodeNumber,
        question: Vec<u8>,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

/// A [`StickyStore`] that can reach the other nodes, and so does by itself what has to be told and asked.
///
/// Requests use it through a [`Seat`], behind the trait of all stores, and `web::StickyLayer` (feature
/// `tower`) gives each request its seat. What comes from other nodes goes to [`answer`](Self::answer), and
/// [`maintain`](Self::maintain) has to be called after every change of nodes and every few seconds. Limits per user count
/// the sessions of each node for itself; see the [module](super).
///
/// ```
/// use std::sync::Arc;
/// use tenfold::session::sticky::{
///     NodeNumber, Peers, Replication, StickyKeys, StickyNode, StickyRouter, StickyStore,
/// };
/// use tenfold::session::{AsyncSessionStore, HostCookie, MemoryStore, SameSite};
///
/// /// Nobody else is there yet.
/// struct Alone;
///
/// impl Peers for Alone {
///     async fn ask(&self, _: NodeNumber, _: Vec<u8>) -> Option<Vec<u8>> {
///         None
///     }
/// }
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let cookie = HostCookie::new("node", SameSite::Lax)?;
/// let router = Arc::new(StickyRouter::new(StickyKeys::new(&[7; 32])?, cookie));
/// let number = NodeNumber::new(0);
/// router.join(number, 1, 1)?;
/// let settings = MemoryStore::builder();
/// let store = StickyStore::new(number, 1, router.clone(), Replication::default(), settings)?;
/// let node = Arc::new(StickyNode::new(store, Alone));
///
/// let seat = node.seat(router.route(None)?.routing);
/// let (token, _) = seat.create(Some("ada".into()), *b"1 lamp").await?;
/// assert_eq!(seat.load(&token).await?.as_deref(), Some(&b"1 lamp"[..]));
/// # Ok(())
/// # }
/// # let mut serve = std::pin::pin!(serve());
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(serve.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(()))));
/// ```
pub struct StickyNode<P> {
    store: StickyStore,
    peers: P,
}

impl<P: Peers> StickyNode<P> {
    /// A node of this store, which reaches the others so.
    pub fn new(store: StickyStore, peers: P) -> Self {
        Self { store, peers }
    }

    /// Its part of the sessions.
    pub fn store(&self) -> &StickyStore {
        &self.store
    }

    /// How it reaches the others.
    pub fn peers(&self) -> &P {
        &self.peers
    }

    /// The sessions of a browser that is placed by this id.
    pub fn seat(self: &Arc<Self>, routing: RoutingId) -> Seat<P> {
        Seat::new(Arc::clone(self), routing)
    }

    /// Answers what another node asks.
    ///
    /// # Errors
    /// [`AnswerError`]: the other node is to get no answer.
    pub async fn answer(&self, question: &[u8]) -> Result<Vec<u8>, AnswerError> {
        match Question::from_bytes(question)? {
            Question::Take(message) => {
                let received = self.store.receive(&message);
                for order in &received.orders {
                    let receipt = self.tell(order).await;
                    receipt.ok_or(AnswerError::NotPassedOn { to: order.to() })?;
                }
                Ok(received.receipt.to_bytes())
            }
            Question::Find(key) => {
                let found = self.store.locate_key(key).is_ok();
                Ok(vec![u8::from(found)])
            }
            Question::End(key) => {
                let (had, change) = self.store.end(key)?;
                if let Some(change) = change {
                    self.confirm(change).await?;
                }
                Ok(vec![u8::from(had)])
            }
            Question::EndAll {
                user,
                except,
                number,
            } => Ok(self.store.end_all(&user, except, number)?.to_bytes()),
            Question::List(user) => Ok(write_list(&self.store.sessions_of(&user))),
        }
    }

    /// Does a [round](StickyStore::maintain) of what nodes that came and went left to do. Says whether all went well; what did not
    /// is part of the next.
    pub async fn maintain(&self, limit: usize) -> bool {
        let round = self.store.maintain(limit);
        let mut receipts = Vec::new();
        for order in round.orders() {
            receipts.push(self.tell(order).await);
        }
        self.store.settle(round, &receipts)
    }

    /// Carries out what a change has to tell.
    pub(super) async fn confirm<T>(&self, change: Change<T>) -> Result<T, StickyError> {
        let Change { value, orders } = change;
        let store = &self.store;
        let mut pending = Pending { store, orders };
        let mut receipts = Vec::with_capacity(pending.orders.len());
        for order in &pending.orders {
            let Some(receipt) = self.tell(order).await else {
                break;
            };
            receipts.push(receipt);
        }
        let orders = std::mem::take(&mut pending.orders);
        Change { value, orders }.confirm(store, &receipts)
    }

    async fn tell(&self, order: &Order) -> Option<Receipt> {
        let question = Question::Take(order.message().clone()).to_bytes();
        let answer = self.peers.ask(order.to(), question).await?;
        Receipt::from_bytes(&answer).ok()
    }

    /// Another node that has a session which is not here, among those that answer.
    ///
    /// # Errors
    /// One of them does not answer, and may have it.
    #[cfg(feature = "tower")]
    pub(crate) async fn find_elsewhere(
        &self,
        key: SessionKey,
        routing: RoutingId,
    ) -> Result<Option<NodeNumber>, Unavailable> {
        let mut silent = None;
        for node in self.store.router.order(routing) {
            if node == self.store.node {
                continue;
            }
            let answer = self.peers.ask(node, Question::Find(key).to_bytes()).await;
            match answer.and_then(|answer| yes_or_no(&answer)) {
                Some(true) => return Ok(Some(node)),
                Some(false) => {}
                None => silent = Some(node),
            }
        }
        silent.map_or(Ok(None), |node| Err(no_answer(node)))
    }

    /// Ends a session, wherever it is, and whatever copies there are of it.
    pub(super) async fn end_anywhere(&self, key: SessionKey) -> Result<bool, EndError> {
        let (mut had, change) = self.store.end(key)?;
        if let Some(change) = change {
            self.confirm(change).await?;
            return Ok(true);
        }
        // It may be another's, or its end was not confirmed the last time it was tried.
        for node in self.others() {
            let answer = self.peers.ask(node, Question::End(key).to_bytes()).await;
            had |= answer
                .and_then(|answer| yes_or_no(&answer))
                .ok_or_else(|| no_answer(node))?;
        }
        Ok(had)
    }

    pub(super) async fn end_all(
        &self,
        user: UserId,
        except: Option<SessionKey>,
    ) -> Result<u64, EndError> {
        let (mut number, mut sessions) = (0, 0_u64);
        // The second time with the highest number of the first, so that what was on its way between two nodes ends, too.
        for _ in 0..2 {
            let mut highest = Ended::default();
            for node in self.others() {
                let question = Question::EndAll {
                    user: user.clone(),
                    except,
                    number,
                };
                let answer = self.peers.ask(node, question.to_bytes()).await;
                let ended = answer.and_then(|answer| Ended::from_bytes(&answer));
                let ended = ended.ok_or_else(|| no_answer(node))?;
                highest = highest.and(ended);
            }
            // Here last, so that who is told that it failed is still logged in, and can try again.
            highest = highest.and(self.store.end_all(&user, except, number)?);
            number = highest.number;
            sessions = highest.sessions.saturating_add(sessions);
        }
        Ok(sessions)
    }

    pub(super) async fn list(&self, user: UserId) -> Result<Vec<SessionInfo>, Unavailable> {
        let mut list = self.store.sessions_of(&user);
        for node in self.others() {
            let question = Question::List(user.clone()).to_bytes();
            let answer = self.peers.ask(node, question).await;
            let theirs = answer.and_then(|answer| read_list(&answer));
            list.extend(theirs.ok_or_else(|| no_answer(node))?);
        }
        list.sort_by_key(|info| (info.created, info.key));
        // One that is on its way from one node to another may be on both.
        list.dedup_by_key(|info| info.key);
        Ok(list)
    }

    /// Everyone else who answers.
    fn others(&self) -> Vec<NodeNumber> {
        let view = self.store.router.view();
        let members = view.members().iter().map(|member| member.number);
        let others = members.filter(|node| *node != self.store.node && view.answers(*node));
        others.collect()
    }
}

/// Why sessions may not be over.
#[derive(Debug)]
pub(super) enum EndError {
    Sticky(StickyError),
    Unavailable(Unavailable),
}

impl From<LogError> for EndError {
    fn from(error: LogError) -> Self {
        Self::Sticky(error.into())
    }
}

impl From<StickyError> for EndError {
    fn from(error: StickyError) -> Self {
        Self::Sticky(error)
    }
}

impl From<Unavailable> for EndError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

/// A node that counts as up, and that a question could not be put to.
#[derive(Debug, thiserror::Error)]
#[error("{node} did not answer, and counts as up")]
struct NoAnswer {
    node: NodeNumber,
}

fn no_answer(node: NodeNumber) -> Unavailable {
    Unavailable::Unreachable(Arc::new(NoAnswer { node }))
}

/// A change that others are being told of. If the request is given up meanwhile, later ones see the
/// change, so it is noted that a copy is missing.
struct Pending<'a> {
    store: &'a StickyStore,
    /// None once it is known what became of them.
    orders: Vec<Order>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.store.note_unprotected(&self.orders);
    }
}

impl<P> fmt::Debug for StickyNode<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyNode")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
