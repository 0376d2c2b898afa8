//! What a node does because others came or went.

use std::collections::BTreeSet;

use super::book::{Gone, routing_of};
use super::message::{Batches, Order, Receipt};
use super::store::StickyStore;
use super::view::NodeState;
use crate::session::Frame;

/// What has to be told to others, by [`StickyStore::maintain`].
#[derive(Debug)]
#[must_use = "orders are to be carried out, and the round to be settled"]
pub struct Round {
    view: u64,
    orders: Vec<Order>,
    /// Sessions whose copies are among the orders, as they were noted.
    noted: Vec<(u128, u64)>,
    /// Whether all sessions were looked at.
    is_whole: bool,
}

impl Round {
    /// What has to be sent where.
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }
}

impl StickyStore {
    /// Does what has to be done since nodes came, went or began to drain, and since it was last
    /// called. Call it after each such change, and every few seconds; it
    ///
    /// * lets the sessions of nodes that are gone go on here, those this node is to take over,
    ///   and hands over other copies of them;
    /// * moves at most `limit` own sessions elsewhere, if this node is draining;
    /// * copies own sessions again whose copies are elsewhere now, or missing, and has those that are not
    ///   needed forgotten;
    /// * tells the copies of sessions how long they have been idle.
    ///
    /// Looks at all sessions if anything about the nodes has changed. Give the round back to
    /// [`settle`](Self::settle).
    pub fn maintain(&self, limit: usize) -> Round {
        let view = self.router.view();
        let mut batches = Batches::of(self.node, self.incarnation);
        let mut round = Round {
            view: view.number,
            orders: Vec::new(),
            noted: Vec::new(),
            is_whole: false,
        };
        let me = view.find(self.node);
        let Some(me) = me.filter(|me| me.incarnation == self.incarnation) else {
            return round;
        };
        if me.state == NodeState::Down {
            return round;
        }
        let is_leaving = matches!(me.state, NodeState::Draining { .. });
        self.take_over(&mut batches);
        let views = {
            let mut book = self.book.lock();
            book.age(self.store.settings.wall.now());
            book.see(&view);
            book.views.clone()
        };
        if is_leaving {
            self.leave(limit, &mut batches);
        } else {
            self.come_back();
        }
        // Copies that are elsewhere now.
        if views.len() > 1 && !is_leaving {
            for frame in self.store.export(|_| true) {
                let routing = routing_of(&frame);
                let heir = view.heir_life(routing, self.node);
                if views
                    .iter()
                    .all(|v| v.heir_life(routing, self.node) == heir)
                {
                    continue;
                }
                let heir = heir.map(|(heir, _)| heir);
                let before = views.iter().filter_map(|v| v.heir(routing, self.node));
                let before = before.filter(|b| Some(*b) != heir && view.answers(*b));
                let key = frame.entry.key;
                for node in before.collect::<BTreeSet<_>>() {
                    batches.to(node, |message| message.forgotten.push(key));
                }
                if let Some(heir) = heir {
                    batches.to(heir, |message| message.kept.push(frame));
                }
            }
        }
        round.is_whole = !is_leaving;
        // Copies that are missing, and what was used.
        let (unprotected, touched) = {
            let mut book = self.book.lock();
            let noted = book.unprotected.iter().map(|(key, noted)| (*key, *noted));
            (noted.collect::<Vec<_>>(), std::mem::take(&mut book.touched))
        };
        for (key, noted) in unprotected {
            match self.store.frame(key) {
                Some(frame) => {
                    let Some(heir) = view.heir(routing_of(&frame), self.node) else {
                        continue;
                    };
                    batches.to(heir, |message| message.kept.push(frame));
                    round.noted.push((key, noted));
                }
                None => self.book.lock().protect(key, noted),
            }
        }
        for frame in touched.into_iter().filter_map(|key| self.store.frame(key)) {
            if let Some(heir) = view.heir(routing_of(&frame), self.node) {
                let touch = (frame.entry.key, frame.entry.seen);
                batches.to(heir, |message| message.touched.push(touch));
            }
        }
        round.orders = batches.into_orders();
        round
    }

    /// Notes what became of a round: for each order, in turn, the receipt, or none if it was
    /// not carried out. What was not is part of the next round. Says whether all went well.
    pub fn settle(&self, round: Round, receipts: &[Option<Receipt>]) -> bool {
        let mut is_well = receipts.len() == round.orders.len();
        for (order, receipt) in round.orders.iter().zip(receipts) {
            let Some(receipt) = receipt.as_ref().filter(|r| !r.is_fenced && r.no_room == 0) else {
                is_well = false;
                continue;
            };
            self.superseded(order, receipt);
            let mut book = self.book.lock();
            for frame in &order.message.taken {
                let key = frame.entry.key;
                book.departing.remove(&key);
                // Unless it is the copy of whoever has taken it, made meanwhile.
                if book.copies.get(&key).is_some_and(|c| c.owner != order.to) {
                    book.copies.remove(&key);
                }
            }
        }
        let mut book = self.book.lock();
        if is_well {
            for (key, noted) in round.noted {
                book.protect(key, noted);
            }
            if round.is_whole {
                book.settle(round.view);
            }
        }
        is_well
    }

    /// Carries a round out and settles it, with whoever sends an order, and answers none if
    /// that fails. Says whether all went well.
    pub fn settle_by(&self, round: Round, send: impl FnMut(&Order) -> Option<Receipt>) -> bool {
        let receipts: Vec<_> = round.orders.iter().map(send).collect();
        self.settle(round, &receipts)
    }

    /// Whether a draining node can be stopped: nothing is here that is nowhere else, or on one other
    /// node only.
    pub fn is_drained(&self) -> bool {
        let view = self.router.view();
        let now = self.store.settings.wall.now();
        let book = self.book.lock();
        let mut copies = book.copies.values();
        let is_alone = copies.any(|c| !view.is_kept(c.owner, c.incarnation, now));
        !is_alone && book.departing.is_empty() && self.store.export(|_| true).next().is_none()
    }

    fn take_over(&self, batches: &mut Batches) {
        let view = self.router.view();
        let now = self.store.settings.wall.now();
        let mut book = self.book.lock();
        book.copies
            .retain(|_, copy| !self.is_expired(&copy.frame.entry));
        let orphans = book.copies.iter();
        let orphans = orphans.filter(|(_, c)| !view.is_kept(c.owner, c.incarnation, now));
        let orphans: Vec<_> = orphans
            .map(|(key, copy)| (*key, view.heir(routing_of(&copy.frame), copy.owner)))
            .collect();
        for (key, heir) in orphans {
            match heir {
                Some(heir) if heir != self.node => {
                    let Some(copy) = book.copies.get(&key) else {
                        continue;
                    };
                    batches.to(heir, |message| message.taken.push(copy.frame.clone()));
                }
                _ => self.promote(&mut book, key),
            }
        }
    }

    /// Sends own sessions away.
    fn leave(&self, limit: usize, batches: &mut Batches) {
        let view = self.router.view();
        let mut send = |frame: Frame| {
            let Some(to) = view.heir(routing_of(&frame), self.node) else {
                return;
            };
            let incarnation = view.find(to).map_or(0, |m| m.incarnation);
            let key = frame.entry.key;
            let mut book = self.book.lock();
            // First, so that who does not find it sees where it went.
            book.move_to(key, Gone { to, incarnation });
            if let Some(frame) = self.store.take(key) {
                book.departing.insert(key, frame);
            }
            if let Some(frame) = book.departing.get(&key) {
                batches.to(to, |message| message.taken.push(frame.clone()));
            }
        };
        let departing: Vec<Frame> = {
            let book = self.book.lock();
            book.departing.values().cloned().collect()
        };
        let leaving: Vec<Frame> = self.store.export(|_| true).take(limit).collect();
        for frame in departing.into_iter().chain(leaving) {
            send(frame);
        }
    }

    /// Takes back what was on its way when the drain was called off.
    fn come_back(&self) {
        let mut book = self.book.lock();
        let departing = std::mem::take(&mut book.departing);
        for (key, frame) in departing {
            if book.is_over(&frame) {
                continue;
            }
            book.is_back(key);
            self.store.import_one(frame);
            book.note_unprotected(key);
        }
    }
}
