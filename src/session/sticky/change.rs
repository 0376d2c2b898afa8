use super::book::Gone;
use super::cookie::{NodeNumber, RoutingId};
use super::error::StickyError;
use super::message::{Batches, Order, Receipt};
use super::store::{Replication, StickyStore};
use crate::session::revocations::Record;

/// A change of a session, made here, and what has to be told to the node with the copy before the
/// request is answered.
///
/// ```no_run
/// # use tenfold::session::{SessionToken, sticky::*};
/// # fn send(order: &Order) -> Option<Receipt> { None }
/// # fn f(store: &StickyStore, token: &SessionToken) -> Result<(), StickyError> {
/// let held = store.load(token)?;
/// let change = store.save(token, held.version(), b"2 lamps")?;
/// let version = change.confirm_by(store, |order| send(order))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a change has a second copy when its orders were carried out"]
pub struct Change<T> {
    pub(super) value: T,
    pub(super) orders: Vec<Order>,
}

impl<T> Change<T> {
    /// What has to be sent where. Empty if there is no other node, or copies are made
    /// [later](super::Replication::Later).
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// The result, once every order was answered: the receipts, in the order of the orders.
    ///
    /// # Errors
    /// [`StickyError::Unconfirmed`]: answer with an error, not as if all were well.
    /// [`StickyError::Moved`], [`StickyError::Retired`]: another node had taken over; the change
    /// does not count.
    pub fn confirm(self, store: &StickyStore, receipts: &[Receipt]) -> Result<T, StickyError> {
        let expected = self.orders.len();
        let mut missing = expected.saturating_sub(receipts.len());
        let mut moved: Option<NodeNumber> = None;
        for (order, receipt) in self.orders.iter().zip(receipts) {
            if receipt.is_fenced {
                return Err(StickyError::Retired);
            }
            missing += usize::from(receipt.no_room > 0);
            if store.superseded(order, receipt) {
                moved = Some(order.to);
            }
        }
        if let Some(to) = moved {
            return Err(StickyError::Moved { to });
        }
        if missing > 0 {
            store.note_unprotected(&self.orders);
            return Err(StickyError::Unconfirmed { missing, expected });
        }
        Ok(self.value)
    }

    /// The same, with whoever carries an order out, and answers none if that fails.
    ///
    /// # Errors
    /// As [`confirm`](Self::confirm).
    pub fn confirm_by(
        self,
        store: &StickyStore,
        send: impl FnMut(&Order) -> Option<Receipt>,
    ) -> Result<T, StickyError> {
        let receipts: Vec<Receipt> = self.orders.iter().map_while(send).collect();
        self.confirm(store, &receipts)
    }
}

impl StickyStore {
    /// What a change of a session here has to tell: the end of one key, and what there is under another.
    pub(super) fn changed<T>(
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
            book.move_to(key, Gone { to, incarnation });
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
}
