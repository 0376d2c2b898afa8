use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::faults::Faults;
use super::{Applied, Found, L2, Record, Version, When};
use crate::cache::Cache;
use crate::sync::Mutex;
use crate::time::{Clock, Instant, ManualClock, Timer};

/// An [`L2`] in this process, for tests, and for programs that want to try how
/// they behave on a bad day: it can be slow, fail, be cut off, or lose its memory.
///
/// Each [`connect`](Self::connect)ion is a handle of one node to the same store,
/// and has faults of its own.
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::tier::{Applied, L2, MemoryL2, NodeId, Version, When};
/// use tenfold::task::block_on;
/// use tenfold::time::ManualClock;
///
/// let time = ManualClock::new();
/// let l2 = MemoryL2::new(100, time.clock());
/// let version = |tick| Version::new(tick, NodeId::new(1));
/// let (key, minute) = (&b"key"[..], Duration::from_secs(60));
/// let set = |tick| block_on(l2.set(key, b"value", version(tick), minute, When::Newer));
/// assert_eq!(set(2), Ok(Applied::Stored));
/// assert_eq!(set(1), Ok(Applied::Newer(version(2))));
/// time.advance(minute);
/// assert_eq!(block_on(l2.get(key))?.record, None);
/// # Ok::<(), tenfold::cache::tier::MemoryL2Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryL2 {
    store: Arc<Store>,
    link: Arc<Mutex<Link>>,
}

struct Store {
    clock: Clock,
    timer: Option<Timer>,
    /// Guards the entries too: reading one and replacing it is one step.
    state: Mutex<State>,
    entries: Cache<Vec<u8>, Entry>,
}

struct State {
    incarnation: u64,
    /// Commands on their way, by when they arrive. They do so whether or not
    /// their callers still wait.
    slow: BTreeMap<(Instant, u64), Command>,
    next: u64,
}

type Command = Box<dyn FnOnce(&Store, u64) + Send>;

#[derive(Clone)]
struct Entry {
    value: Option<Arc<[u8]>>,
    version: Version,
    deadline: Instant,
}

struct Link {
    is_cut: bool,
    faults: Faults,
}

/// Why a [`MemoryL2`] did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryL2Error {
    /// The connection is cut.
    #[error("the connection to the store is cut")]
    Cut,
    /// One of its faults.
    #[error("the store failed, as it was asked to")]
    Fault,
    /// It restarted while it was working on the call.
    #[error("the store was restarted during the call")]
    Restarted,
}

impl MemoryL2 {
    /// A store of at most so many entries on this clock. Beyond them it evicts,
    /// tombstones too, as a server does that runs out of memory.
    pub fn new(max_entries: usize, clock: Clock) -> Self {
        let timer = clock.as_manual().map(ManualClock::timer);
        let entries = Cache::builder()
            .max_entries(max_entries)
            .clock(clock.clone())
            .build();
        let entries = entries.unwrap_or_else(|_| Cache::new(max_entries));
        let store = Store {
            clock,
            timer,
            state: Mutex::new(State {
                incarnation: 1,
                slow: BTreeMap::new(),
                next: 0,
            }),
            entries,
        };
        Self::link(Arc::new(store))
    }

    fn link(store: Arc<Store>) -> Self {
        let link = Link {
            is_cut: false,
            faults: Faults::none(),
        };
        Self {
            store,
            link: Arc::new(Mutex::new(link)),
        }
    }

    /// Another connection to the same store. (A clone is the same connection.)
    #[must_use]
    pub fn connect(&self) -> Self {
        Self::link(Arc::clone(&self.store))
    }

    /// Cuts this connection, or mends it.
    pub fn cut(&self, is_cut: bool) {
        self.link.lock().is_cut = is_cut;
    }

    /// What goes wrong on this connection from now on. Slow calls need a store
    /// on a manual clock; on another they are not slow.
    pub fn set_faults(&self, faults: Faults) {
        self.link.lock().faults = faults;
    }

    /// Restarts the store, which loses everything; calls under way fail.
    pub fn crash(&self) {
        let mut state = self.store.state.lock();
        state.incarnation += 1;
        state.slow.clear();
        self.store.entries.invalidate_all();
    }

    /// Puts bytes under a key as they are, whatever was there: for tests of what
    /// is made of strange ones.
    pub fn scribble(&self, key: &[u8], bytes: &[u8]) {
        let state = self.store.state.lock();
        if let Some(mut entry) = self.store.entries.get(key) {
            entry.value = Some(bytes.into());
            let deadline = entry.deadline;
            self.store
                .entries
                .insert_with_deadline(key.to_vec(), entry, deadline);
        }
        drop(state);
    }

    /// Carries a command out, if and when fate lets it.
    async fn command<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Store, u64) -> T + Send + 'static,
    ) -> Result<T, MemoryL2Error> {
        let (is_cut, fate) = {
            let mut link = self.link.lock();
            (link.is_cut, link.faults.draw())
        };
        if is_cut {
            return Err(MemoryL2Error::Cut);
        }
        if fate.fails {
            self.wait(fate.delay).await;
            return Err(MemoryL2Error::Fault);
        }
        let answer = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&answer);
        self.store.send(fate.delay, move |store, incarnation| {
            *slot.lock() = Some(act(store, incarnation));
        });
        self.wait(fate.delay).await;
        self.store.carry_out();
        self.wait(fate.second_delay).await;
        if fate.is_lost {
            return Err(MemoryL2Error::Fault);
        }
        if self.link.lock().is_cut {
            return Err(MemoryL2Error::Cut);
        }
        let answer = answer.lock().take();
        answer.ok_or(MemoryL2Error::Restarted)
    }

    async fn wait(&self, delay: Duration) {
        if let Some(timer) = &self.store.timer
            && !delay.is_zero()
        {
            timer.sleep(delay).await;
        }
    }
}

impl Store {
    fn send(&self, delay: Duration, command: impl FnOnce(&Self, u64) + Send + 'static) {
        let due = self.clock.now() + delay;
        let mut state = self.state.lock();
        state.next += 1;
        let key = (due, state.next);
        state.slow.insert(key, Box::new(command));
    }

    /// Carries out what has arrived.
    fn carry_out(&self) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        while let Some(command) = state.slow.first_entry() {
            if command.key().0 > now {
                break;
            }
            let command = command.remove();
            // Our own code: it touches the entries and the caller's slot.
            command(self, state.incarnation);
        }
    }

    fn read(&self, key: &[u8]) -> Option<Record> {
        let entry = self.entries.get(key)?;
        Some(Record {
            value: entry.value.map(|value| value.to_vec()),
            version: entry.version,
            ttl: entry.deadline.saturating_since(self.clock.now()),
        })
    }

    fn write(
        &self,
        key: Vec<u8>,
        value: Option<Arc<[u8]>>,
        version: Version,
        ttl: Duration,
    ) -> Applied {
        let deadline = self.clock.now() + ttl;
        let entry = Entry {
            value,
            version,
            deadline,
        };
        self.entries.insert_with_deadline(key, entry, deadline);
        Applied::Stored
    }
}

impl L2 for MemoryL2 {
    type Error = MemoryL2Error;

    async fn get(&self, key: &[u8]) -> Result<Found, MemoryL2Error> {
        let key = key.to_vec();
        self.command(move |store, incarnation| Found {
            record: store.read(&key),
            incarnation,
        })
        .await
    }

    async fn set(
        &self,
        key: &[u8],
        value: &[u8],
        version: Version,
        ttl: Duration,
        when: When,
    ) -> Result<Applied, MemoryL2Error> {
        let (key, value) = (key.to_vec(), Arc::from(value));
        self.command(move |store, now| {
            let present = store.entries.get(&key).map(|entry| entry.version);
            let is_as_expected = match when {
                When::Newer => present < Some(version),
                When::NewerIn(incarnation) => incarnation == now && present < Some(version),
                When::Unchanged {
                    version,
                    incarnation,
                } => incarnation == now && present == version,
            };
            match (is_as_expected, present) {
                (true, _) => store.write(key, Some(value), version, ttl),
                (false, Some(present)) if present >= version => Applied::Newer(present),
                (false, _) => Applied::Changed,
            }
        })
        .await
    }

    async fn invalidate(
        &self,
        key: &[u8],
        version: Version,
        ttl: Duration,
    ) -> Result<Applied, MemoryL2Error> {
        let key = key.to_vec();
        self.command(move |store, _| {
            let present = store.entries.get(&key).map(|entry| entry.version);
            match present {
                Some(present) if present >= version => Applied::Newer(present),
                _ => store.write(key, None, version, ttl),
            }
        })
        .await
    }
}

impl fmt::Debug for MemoryL2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryL2")
            .field("entries", &self.store.entries.len())
            .finish_non_exhaustive()
    }
}
