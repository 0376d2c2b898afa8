//! What a node knows besides its own sessions: single-threaded, behind one lock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::cookie::{NodeNumber, RoutingId};
use super::view::View;
use crate::session::Frame;
use crate::session::revocations::{Record, Revocations};

/// A copy that is kept for another node.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) owner: NodeNumber,
    pub(super) incarnation: u32,
    pub(super) frame: Frame,
}

/// Where a session went from here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone {
    pub(super) to: NodeNumber,
    pub(super) incarnation: u32,
}

#[derive(Debug)]
pub(super) struct Book {
    pub(super) copies: HashMap<u128, Copy>,
    /// Sessions that left here, and are not known to have arrived.
    pub(super) departing: HashMap<u128, Frame>,
    /// Sessions whose copy may be missing or old, and how often they were noted here: who
    /// sends a copy strikes out what was noted before, and no more.
    pub(super) unprotected: HashMap<u128, u64>,
    noted: u64,
    /// Sessions that were used since their copies heard of it.
    pub(super) touched: HashSet<u128>,
    /// Views under which there may be copies of our sessions: the latest, and those before it
    /// that are not cleared up after.
    pub(super) views: Vec<Arc<View>>,
    moved: Ages<HashMap<u128, Gone>>,
    /// What is over, and does not come back by a late message.
    ended: Ages<Revocations>,
    /// When what is remembered gets a step older.
    ages_at: u64,
    absolute: u64,
}

/// What is remembered for at least the life of a session, and at most twice as long.
#[derive(Debug, Default)]
struct Ages<T> {
    young: T,
    old: T,
}

impl<T: Default> Ages<T> {
    fn age(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }
}

impl Book {
    pub(super) fn new(absolute: u64, now: u64, view: Arc<View>) -> Self {
        Self {
            copies: HashMap::new(),
            departing: HashMap::new(),
            unprotected: HashMap::new(),
            noted: 0,
            touched: HashSet::new(),
            views: vec![view],
            moved: Ages::default(),
            ended: Ages::default(),
            ages_at: now.saturating_add(absolute),
            absolute,
        }
    }

    pub(super) fn age(&mut self, now: u64) {
        if now >= self.ages_at {
            self.moved.age();
            self.ended.age();
            self.ages_at = now.saturating_add(self.absolute);
        }
    }

    /// Notes that copies are placed by this view from now on.
    pub(super) fn see(&mut self, view: &Arc<View>) {
        let latest = self.views.last().map_or(0, |latest| latest.number);
        if view.number > latest {
            self.views.push(Arc::clone(view));
        }
    }

    /// Forgets the views before this one: all copies are where it says.
    pub(super) fn settle(&mut self, view: u64) {
        self.views.retain(|other| other.number >= view);
    }

    pub(super) fn note_unprotected(&mut self, key: u128) {
        self.noted += 1;
        self.unprotected.insert(key, self.noted);
    }

    pub(super) fn protect(&mut self, key: u128, noted: u64) {
        if self.unprotected.get(&key) == Some(&noted) {
            self.unprotected.remove(&key);
        }
    }

    /// Notes that a session is over. Whatever is known of it goes.
    pub(super) fn end(&mut self, record: Record) {
        self.ended.young.add(record);
        let ended = &self.ended;
        let is_over = |frame: &Frame| ended.young.has_ended(frame) || ended.old.has_ended(frame);
        if let Record::Session { key } = record {
            self.copies.remove(&key);
            self.departing.remove(&key);
            self.moved.young.remove(&key);
            self.moved.old.remove(&key);
        } else {
            self.copies.retain(|_, copy| !is_over(&copy.frame));
            self.departing.retain(|_, frame| !is_over(frame));
        }
    }

    pub(super) fn is_over(&self, frame: &Frame) -> bool {
        self.ended.young.has_ended(frame) || self.ended.old.has_ended(frame)
    }

    pub(super) fn moved(&self, key: u128) -> Option<Gone> {
        let young = self.moved.young.get(&key);
        young.or_else(|| self.moved.old.get(&key)).copied()
    }

    pub(super) fn move_to(&mut self, key: u128, gone: Gone) {
        self.moved.young.insert(key, gone);
    }

    /// The session is here again, or a copy of it.
    pub(super) fn is_back(&mut self, key: u128) {
        self.moved.young.remove(&key);
        self.moved.old.remove(&key);
        self.departing.remove(&key);
    }
}

impl Revocations {
    fn has_ended(&self, frame: &Frame) -> bool {
        let entry = &frame.entry;
        self.revoke(entry.key, frame.user(), entry.stamp)
    }
}

/// What the data of every session here begins with.
pub(super) fn routing_of(frame: &Frame) -> RoutingId {
    split(frame.data()).0
}

pub(super) fn split(data: &[u8]) -> (RoutingId, &[u8]) {
    match data.split_first_chunk::<ROUTING>() {
        Some((routing, data)) => (RoutingId(u64::from_le_bytes(*routing)), data),
        // Of a store that was not ours before.
        None => (RoutingId(0), data),
    }
}

pub(super) fn join(routing: RoutingId, data: &[u8]) -> Vec<u8> {
    [&routing.0.to_le_bytes(), data].concat()
}

pub(super) const ROUTING: usize = 8;
