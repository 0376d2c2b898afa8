//! Who was heard up to which message: a number that stays out is a gap.

use std::collections::HashMap;
use std::time::Duration;

use super::NodeId;
use crate::hash::TableHasher;
use crate::time::Instant;

pub(super) struct Peers {
    /// How long a message may come after a later one before it counts as lost.
    patience: Duration,
    peers: HashMap<NodeId, Peer, TableHasher>,
}

struct Peer {
    last: u64,
    /// Numbers below `last` that have not come, and since when they are missed.
    holes: Vec<(u64, Instant)>,
    heard: Instant,
}

/// Beyond this the node heard longest ago is forgotten. Should it speak again,
/// its number shows a gap.
const MAX_PEERS: usize = 1024;

/// With more messages missing, nobody waits for them.
const MAX_HOLES: usize = 64;

impl Peers {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            peers: HashMap::with_hasher(TableHasher::random()),
        }
    }

    /// Notes a message of this number, or that messages up to this one were
    /// sent. Tells whether one is lost.
    pub(super) fn heard(&mut self, from: NodeId, number: u64, is_it: bool, now: Instant) -> bool {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&from) {
            let quietest = self.peers.iter().min_by_key(|(_, peer)| peer.heard);
            if let Some(quietest) = quietest.map(|(id, _)| *id) {
                self.peers.remove(&quietest);
            }
        }
        let peer = self.peers.entry(from).or_insert(Peer {
            last: 0,
            holes: Vec::new(),
            heard: now,
        });
        peer.heard = now;
        if number > peer.last {
            let missing = peer.last + 1..number + u64::from(!is_it);
            peer.last = number;
            let count = missing.end.saturating_sub(missing.start);
            if count > (MAX_HOLES - peer.holes.len()) as u64 {
                peer.holes.clear();
                return true;
            }
            peer.holes.extend(missing.map(|number| (number, now)));
        } else if is_it {
            peer.holes.retain(|hole| hole.0 != number);
        }
        peer.is_overdue(now, self.patience)
    }

    /// Tells whether a message is lost, of whomever.
    pub(super) fn overdue(&mut self, now: Instant) -> bool {
        let mut lost = false;
        for peer in self.peers.values_mut() {
            lost |= peer.is_overdue(now, self.patience);
        }
        lost
    }
}

impl Peer {
    /// Gives up what was waited for long enough.
    fn is_overdue(&mut self, now: Instant, patience: Duration) -> bool {
        let before = self.holes.len();
        self.holes
            .retain(|(_, since)| now.saturating_since(*since) < patience);
        self.holes.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId::new(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn peers() -> Peers {
        Peers::new(Duration::from_millis(100))
    }

    #[test]
    fn messages_in_order_and_twice_are_no_gap() {
        let mut peers = peers();
        for number in [1, 2, 2, 3, 1, 4] {
            assert!(!peers.heard(A, number, true, at(0)));
        }
        assert!(!peers.overdue(at(1000)));
    }

    #[test]
    fn a_late_message_in_time_is_no_gap() {
        let mut peers = peers();
        assert!(!peers.heard(A, 2, true, at(0)));
        assert!(!peers.heard(A, 1, true, at(99)));
        assert!(!peers.overdue(at(1000)));
    }

    #[test]
    fn a_message_that_stays_out_is_a_gap_once() {
        let mut peers = peers();
        assert!(!peers.heard(A, 2, true, at(0)));
        assert!(!peers.overdue(at(99)));
        assert!(peers.overdue(at(100)));
        assert!(!peers.overdue(at(1000)));
    }

    #[test]
    fn a_sign_of_life_shows_that_the_last_message_was_lost() {
        let mut peers = peers();
        assert!(!peers.heard(A, 1, true, at(0)));
        assert!(!peers.heard(A, 2, false, at(0)));
        assert!(peers.heard(A, 2, false, at(100)));
        assert!(!peers.heard(A, 2, false, at(200)));
    }

    #[test]
    fn many_lost_at_once_are_a_gap_at_once() {
        let mut peers = peers();
        assert!(peers.heard(A, 1000, true, at(0)));
        assert!(!peers.heard(A, 1001, true, at(0)));
    }

    #[test]
    fn peers_are_bounded_and_one_forgotten_shows_a_gap() {
        let mut peers = peers();
        peers.heard(A, 1, true, at(0));
        for node in 2..3000 {
            peers.heard(NodeId::new(node), 1, true, at(node));
            assert!(peers.peers.len() <= MAX_PEERS);
        }
        peers.heard(A, 2, true, at(5000));
        assert!(peers.overdue(at(6000)));
    }
}
