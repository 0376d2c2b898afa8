//! Which leader waits for which flight.
//!
//! A caller that waits while it runs a loader makes that loader's flight wait
//! too. Two loaders that need each other's keys would so wait for ever; the
//! one whose wait closes the circle is refused. Only leaders that wait come
//! here: a plain caller that joins a flight touches no global lock.

use hashbrown::HashTable;
// Not the facade's: a leaf that is never held across anything a model checker
// could schedule, and that must be const to be static.
use parking_lot::Mutex;

use super::running::{self, FlightId};

/// A wait that is known to the graph, until it is dropped. Plain callers have
/// none, and so it is small where it is missing.
pub(super) struct Wait(Box<Edges>);

struct Edges {
    /// The flights whose loaders wait here: all that the thread was running.
    leaders: Vec<FlightId>,
    on: FlightId,
}

/// The refusal of a wait that would never end.
#[derive(Debug)]
pub(super) struct Circle;

impl Wait {
    /// Registers that the loaders run by this thread, if there are any, wait for
    /// the flight `on`.
    /// Check and registration are one step, so of two waits that close a
    /// circle together the second sees the first.
    #[inline]
    pub(super) fn new(on: FlightId) -> Result<Option<Self>, Circle> {
        if running::is_idle() {
            return Ok(None);
        }
        Self::of_leaders(on).map(Some)
    }

    #[cold]
    fn of_leaders(on: FlightId) -> Result<Self, Circle> {
        let leaders = running::stack();
        let mut edges = EDGES.lock();
        if reaches(&edges, on, &leaders) {
            return Err(Circle);
        }
        for &leader in &leaders {
            let edge = Edge { leader, on };
            edges.insert_unique(leader.hash(), edge, |edge| edge.leader.hash());
        }
        Ok(Self(Box::new(Edges { leaders, on })))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Edges { leaders, on } = &*self.0;
        let mut edges = EDGES.lock();
        for &leader in leaders {
            let gone = Edge { leader, on: *on };
            if let Ok(edge) = edges.find_entry(leader.hash(), |edge| *edge == gone) {
                edge.remove();
            }
        }
    }
}

/// Tells whether whoever waits for `from` waits, in the end, for one of `goals`.
fn reaches(edges: &HashTable<Edge>, from: FlightId, goals: &[FlightId]) -> bool {
    let mut seen = vec![from];
    let mut next = 0;
    while let Some(&flight) = seen.get(next) {
        if goals.contains(&flight) {
            return true;
        }
        for edge in edges.iter_hash(flight.hash()) {
            if edge.leader == flight && !seen.contains(&edge.on) {
                seen.push(edge.on);
            }
        }
        next += 1;
    }
    false
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge {
    leader: FlightId,
    on: FlightId,
}

static EDGES: Mutex<HashTable<Edge>> = Mutex::new(HashTable::new());
