use std::hash::BuildHasher;

use hashbrown::HashTable;
use sha2::{Digest, Sha256};

use super::sieve::Sieve;
use crate::hash::TableHasher;
use crate::session::base64url;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Names with a date each: exact, in shards with a lock each, and a [`Sieve`] in front of each lock. Asking for a
/// name that is not there takes no lock, but for one in some hundred.
pub(super) struct Denied {
    shards: Box<[Shard]>,
    hasher: TableHasher,
    kind: Kind,
    /// How long after its date a row is over.
    lasts: u64,
}

struct Shard {
    /// Has every row that can be found: written under the lock of the rows.
    sieve: Sieve,
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    table: HashTable<Row>,
    /// When it is worth looking for rows that are over.
    next_sweep: u64,
}

struct Row {
    /// Keyed, of what the name is of and the name; the table's and the sieve's.
    hash: u64,
    /// The name, or what stands for it as well.
    what: [u64; 2],
    date: u64,
}

/// What rows are counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Tokens and log-ins.
    Named,
    Users,
}

impl Denied {
    pub(super) fn new(kind: Kind, lasts: u64) -> Self {
        let shard = |_| Shard {
            sieve: Sieve::new(),
            rows: Mutex::default(),
        };
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            hasher: TableHasher::random(),
            kind,
            lasts,
        }
    }

    /// The date of a name; `of` says what it is the name of.
    #[inline]
    pub(super) fn date(&self, of: u8, name: &str) -> Option<u64> {
        let hash = self.hasher.hash_one((of, name));
        let shard = self.shard(hash);
        if !shard.sieve.may_hold(hash) {
            return None;
        }
        shard.date(hash, what(of, name))
    }

    /// Notes a name with a date; one that was noted has `again` of its date, if that is later. False if there is no room.
    pub(super) fn put(
        &self,
        (of, name): (u8, &str),
        date: u64,
        again: impl FnOnce(u64) -> u64,
        now: u64,
        held: &Held,
    ) -> bool {
        let (hash, what) = (self.hasher.hash_one((of, name)), what(of, name));
        let shard = self.shard(hash);
        let rows = &mut *shard.rows.lock();
        if let Some(row) = rows.table.find_mut(hash, |row| row.is(hash, what)) {
            row.date = row.date.max(again(row.date));
            return true;
        }
        if now >= rows.next_sweep {
            self.sweep_shard(shard, rows, now, held);
        }
        // Before it can be found: who then sees none has come before it.
        if !held.reserve(self.kind) {
            return false;
        }
        let row = Row { hash, what, date };
        rows.table.insert_unique(hash, row, |row| row.hash);
        let count = rows.table.len();
        if shard.sieve.has_room_for(count) {
            shard.sieve.put(hash);
        } else {
            shard
                .sieve
                .keep(rows.table.iter().map(|row| row.hash), count);
        }
        true
    }

    /// Takes out what is over.
    pub(super) fn sweep(&self, now: u64, held: &Held) {
        for shard in &self.shards {
            self.sweep_shard(shard, &mut shard.rows.lock(), now, held);
        }
    }

    fn sweep_shard(&self, shard: &Shard, rows: &mut Rows, now: u64, held: &Held) {
        let before = rows.table.len();
        rows.table
            .retain(|row| now < row.date.saturating_add(self.lasts));
        let left = rows.table.len();
        if left < before {
            shard
                .sieve
                .keep(rows.table.iter().map(|row| row.hash), left);
            held.release(self.kind, (before - left) as u64);
        }
        rows.next_sweep = now + SWEEP_EVERY;
    }

    fn shard(&self, hash: u64) -> &Shard {
        // Neither the bits that the sieve goes by, nor the seven that the table compares first.
        &self.shards[(hash >> 48) as usize % SHARDS]
    }
}

impl Shard {
    fn date(&self, hash: u64, what: [u64; 2]) -> Option<u64> {
        let rows = self.rows.lock();
        let row = rows.table.find(hash, |row| row.is(hash, what));
        row.map(|row| row.date)
    }
}

impl Row {
    fn is(&self, hash: u64, what: [u64; 2]) -> bool {
        self.hash == hash && self.what == what
    }
}

/// A name that issuers draw is 16 bytes, which stand for themselves; of others there is a digest.
fn what(of: u8, name: &str) -> [u64; 2] {
    let mut bytes = [0; 16];
    if name.len() != 22 || base64url::decode(name.as_bytes(), &mut bytes).is_none() {
        let mut hasher = Sha256::new();
        hasher.update([of]);
        hasher.update(name.as_bytes());
        bytes.copy_from_slice(&hasher.finalize()[..16]);
    }
    let number = u128::from_le_bytes(bytes);
    [number as u64, (number >> 64) as u64]
}

/// How many rows there are of each kind, in one word: so that one load tells that there are none, and none is
/// counted beyond the bound for a moment.
pub(super) struct Held {
    /// Users in the upper half.
    counts: AtomicU64,
    max: u64,
}

impl Held {
    pub(super) fn new(max: usize) -> Self {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        Self {
            counts: AtomicU64::new(0),
            max: max.into(),
        }
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// Of both kinds.
    pub(super) fn len(&self) -> u64 {
        sum(self.counts.load(Ordering::SeqCst))
    }

    #[inline]
    pub(super) fn has(&self, kind: Kind) -> bool {
        let counts = self.counts.load(Ordering::SeqCst);
        match kind {
            Kind::Named => counts as u32 != 0,
            Kind::Users => counts >> 32 != 0,
        }
    }

    fn reserve(&self, kind: Kind) -> bool {
        let more = |counts| (sum(counts) < self.max).then(|| counts + one(kind));
        self.counts
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .is_ok()
    }

    fn release(&self, kind: Kind, rows: u64) {
        self.counts.fetch_sub(rows * one(kind), Ordering::SeqCst);
    }
}

fn sum(counts: u64) -> u64 {
    (counts >> 32) + (counts & u64::from(u32::MAX))
}

fn one(kind: Kind) -> u64 {
    match kind {
        Kind::Named => 1,
        Kind::Users => 1 << 32,
    }
}

/// One in models, so that its names meet.
const SHARDS: usize = if cfg!(tenfold_shuttle) { 1 } else { 64 };
/// Seconds between looks for what is over, per shard.
const SWEEP_EVERY: u64 = 60;
