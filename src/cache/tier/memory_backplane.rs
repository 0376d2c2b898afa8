use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::faults::Faults;
use super::{Backplane, Listener};
use crate::sync::Mutex;
use crate::time::{Clock, Instant};

/// A [`Backplane`] in this process, for tests and for programs that want to try
/// how they behave on a bad day: it can lose, repeat, delay and reorder messages,
/// and nodes can be cut off.
///
/// Each [`connect`](Self::connect)ion is the handle of one node. Messages arrive
/// as they are published, unless they are slow: those arrive by
/// [`deliver`](Self::deliver), or with the next one published, once their time
/// has come.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::tier::{MemoryBackplane, MemoryL2, PlainCodec, Tier};
/// use tenfold::time::ManualClock;
///
/// let time = ManualClock::new();
/// let (l2, backplane) = (MemoryL2::new(100, time.clock()), MemoryBackplane::new(time.clock()));
/// let node = || {
///     let cache = Cache::builder().max_entries(100).clock(time.clock());
///     Tier::<u32, String>::builder(cache, l2.connect(), PlainCodec)
///         .backplane(backplane.connect())
///         .build()
/// };
/// let (a, b) = (node()?, node()?);
/// a.insert(1, "old".to_owned());
/// assert_eq!(b.get(&1).as_deref(), Some("old"));
/// a.insert(1, "new".to_owned());
/// assert_eq!(b.get(&1).as_deref(), Some("new"));
/// # Ok::<(), tenfold::cache::tier::TierBuildError>(())
/// ```
#[derive(Clone)]
pub struct MemoryBackplane {
    wire: Arc<Wire>,
    number: usize,
}

struct Wire {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    nodes: Vec<Node>,
    faults: Faults,
    /// Messages on their way, by when they arrive.
    slow: BTreeMap<(Instant, u64), Slow>,
    next: u64,
}

/// To whom a message goes, and the message.
type Slow = (usize, Arc<[u8]>);

struct Node {
    listener: Option<Listener>,
    is_cut: bool,
}

/// More messages on their way are lost.
const MAX_SLOW: usize = 65_536;

/// Why a [`MemoryBackplane`] took no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryBackplaneError {
    /// The connection is cut.
    #[error("the connection to the backplane is cut")]
    Cut,
    /// One of its faults.
    #[error("the backplane failed, as it was asked to")]
    Fault,
}

impl MemoryBackplane {
    /// A backplane whose slow messages go by this clock; the handle is the first
    /// connection to it.
    pub fn new(clock: Clock) -> Self {
        let state = State {
            nodes: vec![Node::new()],
            faults: Faults::none(),
            slow: BTreeMap::new(),
            next: 0,
        };
        let wire = Wire {
            clock,
            state: Mutex::new(state),
        };
        Self {
            wire: Arc::new(wire),
            number: 0,
        }
    }

    /// Another connection. (A clone is the same connection.)
    #[must_use]
    pub fn connect(&self) -> Self {
        let mut state = self.wire.state.lock();
        state.nodes.push(Node::new());
        Self {
            wire: Arc::clone(&self.wire),
            number: state.nodes.len() - 1,
        }
    }

    /// Cuts this connection, both ways and without a word, or mends it. A real
    /// client would notice: [`reconnect`](Self::reconnect).
    pub fn cut(&self, is_cut: bool) {
        self.wire.state.lock().nodes[self.number].is_cut = is_cut;
    }

    /// Mends this connection and tells its node that there was a gap.
    pub fn reconnect(&self) {
        self.cut(false);
        let listener = self.wire.state.lock().nodes[self.number].listener.clone();
        if let Some(listener) = listener {
            listener.reconnected();
        }
    }

    /// What goes wrong from now on, on all connections.
    pub fn set_faults(&self, faults: Faults) {
        self.wire.state.lock().faults = faults;
    }

    /// Delivers the slow messages whose time has come.
    pub fn deliver(&self) {
        let now = self.wire.clock.now();
        loop {
            let mut state = self.wire.state.lock();
            let Some(entry) = state.slow.first_entry() else {
                return;
            };
            if entry.key().0 > now {
                return;
            }
            let (to, message) = entry.remove();
            let listener = state.nodes[to].heard_by();
            drop(state);
            // The node's code, under no lock.
            if let Some(listener) = listener {
                listener.heard(&message);
            }
        }
    }

    /// Messages that are still on their way.
    pub fn under_way(&self) -> usize {
        self.wire.state.lock().slow.len()
    }
}

impl State {
    /// Sends a message to all, each by its own fate.
    fn send(&mut self, message: &[u8], now: Instant) -> Result<(), MemoryBackplaneError> {
        if self.faults.draw().fails {
            return Err(MemoryBackplaneError::Fault);
        }
        let message: Arc<[u8]> = message.into();
        for to in 0..self.nodes.len() {
            let fate = self.faults.draw();
            if fate.is_lost || self.nodes[to].is_cut {
                continue;
            }
            let second = fate.is_repeated.then_some(fate.second_delay);
            for delay in [Some(fate.delay), second].into_iter().flatten() {
                if self.slow.len() < MAX_SLOW {
                    self.next += 1;
                    let key = (now + delay, self.next);
                    self.slow.insert(key, (to, Arc::clone(&message)));
                }
            }
        }
        Ok(())
    }
}

impl Node {
    const fn new() -> Self {
        Self {
            listener: None,
            is_cut: false,
        }
    }

    fn heard_by(&self) -> Option<Listener> {
        self.listener.clone().filter(|_| !self.is_cut)
    }
}

impl Backplane for MemoryBackplane {
    type Error = MemoryBackplaneError;

    async fn publish(&self, message: &[u8]) -> Result<(), MemoryBackplaneError> {
        {
            let now = self.wire.clock.now();
            let mut state = self.wire.state.lock();
            if state.nodes[self.number].is_cut {
                return Err(MemoryBackplaneError::Cut);
            }
            state.send(message, now)?;
        }
        self.deliver();
        Ok(())
    }

    fn subscribe(&self, listener: Listener) {
        self.wire.state.lock().nodes[self.number].listener = Some(listener);
    }
}

impl fmt::Debug for MemoryBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackplane")
            .field("number", &self.number)
            .field("under_way", &self.under_way())
            .finish_non_exhaustive()
    }
}
