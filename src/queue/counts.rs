use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a queue has done since it was opened, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Messages taken.
    pub published: u64,
    /// Messages not taken since one with the same dedup id was.
    pub duplicates: u64,
    /// Messages handed out, again included.
    pub delivered: u64,
    /// Messages acknowledged.
    pub acked: u64,
    /// Messages given back.
    pub nacked: u64,
    /// Leases that ended without an answer.
    pub timed_out: u64,
    /// Messages not delivered since their time to live was over.
    pub expired: u64,
    /// Messages written again, so that the segments where they were could be given up.
    pub moved: u64,
    /// Messages that were damaged or missing on the disk.
    pub lost: u64,
    /// Messages that the group furthest behind is not done with.
    pub pending: u64,
    /// Of all groups: messages handed out and not answered, waiting until they are
    /// due, and dead.
    pub in_flight: u64,
    /// See [`in_flight`](Self::in_flight).
    pub waiting: u64,
    /// See [`in_flight`](Self::in_flight).
    pub dead: u64,
    /// Bytes of all segments.
    pub disk_bytes: u64,
    /// Bytes of memory for all that is known of messages, about; without those kept
    /// for readers that keep up.
    pub memory_bytes: u64,
    /// How often the disk failed and the log went on in another file.
    pub failovers: u64,
    /// Whether the disk failed for good: nothing is taken any more.
    pub failed: bool,
}

impl fmt::Display for QueueStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pending ({} in flight, {} waiting, {} dead), {} bytes on disk; {} published, \
             {} delivered, {} acked, {} nacked, {} lost",
            self.pending,
            self.in_flight,
            self.waiting,
            self.dead,
            self.disk_bytes,
            self.published,
            self.delivered,
            self.acked,
            self.nacked,
            self.lost
        )
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) published: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) acked: AtomicU64,
    pub(super) nacked: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) moved: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl Counts {
    pub(super) fn read(&self) -> QueueStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueueStats {
            published: get(&self.published),
            duplicates: get(&self.duplicates),
            delivered: get(&self.delivered),
            acked: get(&self.acked),
            nacked: get(&self.nacked),
            timed_out: get(&self.timed_out),
            expired: get(&self.expired),
            moved: get(&self.moved),
            lost: get(&self.lost),
            ..QueueStats::default()
        }
    }
}

pub(super) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}
