use std::collections::BTreeMap;
use std::fmt;

use super::JournalError;
use super::bytes::{decode, encode};
use crate::cache::tier::Codec;
use crate::cache::write_back::{Journal, Record};
use crate::queue::storage::{Disk, RealDisk};
use crate::queue::{Consumer, Message, PublishError, Queue};
use crate::sync::Mutex;

/// A [`Journal`] that keeps what a write-back accepted in a durable queue of its own.
///
/// See the [module's documentation](super) for what it promises and costs.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::tier::PlainCodec;
/// use tenfold::cache::write_back::WriteBack;
/// use tenfold::cache::writer::MemoryStore;
/// use tenfold::queue_journal::QueueJournal;
/// use tenfold::queue::Queue;
///
/// # let path = std::env::temp_dir().join(format!("tenfold-journal-{}", std::process::id()));
/// let store = MemoryStore::<u32, (f64, f64)>::new();
/// let codec = PlainCodec::with_values(
///     |(x, y): &(f64, f64)| [x.to_le_bytes(), y.to_le_bytes()].concat(),
///     |bytes| {
///         let (x, y) = bytes.split_at_checked(8)?;
///         let number = |bytes: &[u8]| Some(f64::from_le_bytes(bytes.try_into().ok()?));
///         Some((number(x)?, number(y)?))
///     },
/// );
/// let journal = QueueJournal::new(Queue::open(&path)?, codec);
/// let positions = WriteBack::builder(Cache::new(1000), store.clone())
///     .journal(journal)
///     .build()?;
/// positions.put(17, (48.2, 16.4))?; // on the disk when it returns
/// positions.close()?;
/// assert_eq!(store.get(&17), Some((48.2, 16.4)));
/// # drop(positions);
/// # std::fs::remove_dir_all(path).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct QueueJournal<K, V, D: Disk = RealDisk> {
    queue: Queue<D>,
    consumer: Consumer<D>,
    codec: Box<dyn Codec<K, V>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which change became which message.
    messages: BTreeMap<u64, u64>,
    /// Messages that were acked, and may not be for good: said again with each ack.
    unsynced: Vec<u64>,
    /// Whether some append is there or not, nobody knows.
    is_uncertain: bool,
    lost: u64,
}

impl<K: 'static, V: 'static, D: Disk> QueueJournal<K, V, D> {
    /// A journal in this queue, which must be its own. Another journal in the same queue
    /// goes on with what this one kept; never two at once.
    pub fn new(queue: Queue<D>, codec: impl Codec<K, V>) -> Self {
        Self {
            consumer: queue.consumer(),
            queue,
            codec: Box::new(codec),
            state: Mutex::new(State::default()),
        }
    }

    /// The queue, for its `stats()` and what its `recovery()` found.
    pub fn queue(&self) -> &Queue<D> {
        &self.queue
    }

    /// How many changes were appended and not acked.
    pub fn len(&self) -> usize {
        self.state.lock().messages.len()
    }

    /// Whether every change was acked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many changes the medium had lost when they were shown, beside those that
    /// the queue missed when it was opened.
    pub fn lost(&self) -> u64 {
        self.state.lock().lost
    }

    /// Keeps these, all at once if they fit into a segment.
    async fn publish(
        &self,
        records: &[Record<K, V>],
        messages: &[Message],
    ) -> Result<(), PublishError> {
        let mut pieces = vec![(records, messages)];
        while let Some((records, messages)) = pieces.pop() {
            // Waiting for room would be for ever: acks come one after the other with this.
            match self.queue.try_publish_batch_async(messages).await {
                Ok(published) => {
                    let mut state = self.state.lock();
                    for (record, published) in records.iter().zip(published) {
                        state.messages.insert(record.sequence, published.id);
                    }
                    // They stand before this in the log.
                    state.unsynced.clear();
                }
                Err(PublishError::TooLarge { .. }) if records.len() > 1 => {
                    let half = records.len() / 2;
                    pieces.push((&records[half..], &messages[half..]));
                    pieces.push((&records[..half], &messages[..half]));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<K, V, D> Journal<K, V> for QueueJournal<K, V, D>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    D: Disk,
{
    type Error = JournalError;

    async fn append(&self, records: &[Record<K, V>]) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut messages = Vec::with_capacity(records.len());
        for record in records {
            messages.push(Message::new(encode(record, &*self.codec)?));
        }
        // Until it is known what became of it: a caller who leaves leaves that behind.
        if std::mem::replace(&mut self.state.lock().is_uncertain, true) {
            return Err(JournalError::Uncertain);
        }
        let published = self.publish(records, &messages).await;
        self.state.lock().is_uncertain = matches!(published, Err(PublishError::NotDurable(_)));
        published.map_err(JournalError::Append)
    }

    async fn ack(&self, sequences: &[u64]) -> Result<(), JournalError> {
        let (done, durable) = {
            let state = self.state.lock();
            let done = sequences.iter().filter_map(|s| state.messages.get(s));
            let mut done: Vec<u64> = state.unsynced.iter().chain(done).copied().collect();
            done.sort_unstable();
            // What does not fit into one record is not whole after a power cut.
            let runs = done.chunk_by(|a, b| a + 1 == *b).count();
            let durable = runs > RUNS || done.len() > UNSYNCED;
            (done, durable)
        };
        if done.is_empty() {
            return Ok(());
        }
        let acked = if durable {
            self.consumer.ack_ids_durable(done.iter().copied())
        } else {
            self.consumer.ack_ids(done.iter().copied())
        };
        acked.map_err(JournalError::Ack)?;
        let mut state = self.state.lock();
        for sequence in sequences {
            state.messages.remove(sequence);
        }
        state.unsynced = if durable { Vec::new() } else { done };
        Ok(())
    }

    async fn replay(
        &self,
        show: &mut (dyn FnMut(Record<K, V>) + Send),
    ) -> Result<(), JournalError> {
        // Whatever another journal left half-way is there now, or never will be.
        self.queue.flush().map_err(JournalError::Append)?;
        let mut reader = self.queue.reader();
        let (mut state, mut next) = (State::default(), reader.range().start);
        while let Some(id) = self.consumer.next_open(next).map_err(JournalError::Read)? {
            next = id + 1;
            let Some(event) = reader.read(id).map_err(JournalError::Read)? else {
                state.lost += 1;
                state.unsynced.push(id);
                continue;
            };
            let record = decode(event.payload(), &*self.codec);
            let record = record.map_err(|what| JournalError::Foreign { id, what })?;
            state.messages.insert(record.sequence, id);
            show(record);
        }
        *self.state.lock() = state;
        Ok(())
    }
}

impl<K: 'static, V: 'static, D: Disk> fmt::Debug for QueueJournal<K, V, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueJournal")
            .field("unacked", &self.len())
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// Runs of messages that one record holds.
const RUNS: usize = 256;
/// Messages that are said again, at most.
const UNSYNCED: usize = 4096;
