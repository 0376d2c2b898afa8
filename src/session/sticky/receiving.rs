//! What a node does with what others tell.

use super::book::{Book, Copy, routing_of};
use super::message::{Batches, Message, Order, Receipt};
use super::store::StickyStore;
use crate::session::Frame;
use crate::session::entry::Entry;
use crate::session::revocations::Record;
use crate::session::transfer::Outcome;
use crate::sync::atomic::Ordering;

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

    /// So that the next revocation here has a higher number than what came from there.
    fn merge_epoch(&self, entry: &Entry) {
        self.store.epoch.fetch_max(entry.stamp, Ordering::SeqCst);
    }
}
