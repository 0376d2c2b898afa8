//! A store, written down while it is in use.
//!
//! Sessions are copied a few at a time, so they are not all of one moment. Two things
//! must not fall between: a session that is cycled from a shard that is still to be
//! copied to one that has been, and one that is copied and then revoked. Both are
//! noted while the copying goes on, and the notes are written last. So what is revoked or
//! cycled before the end of the copying is so in the snapshot.
//!
//! The bytes: magic (8), format (2, little-endian as all numbers), then frames, each
//! a length (4), the CRC32C of length and content (4), and the content, which begins
//! with its kind (1): first the header, then sessions, revocations, and the end with how
//! many there were of each.

use std::io::{self, Write};

use super::entry::Entry;
use super::error::SnapshotError;
use super::revocations::Record;
use super::store::MemoryStore;
use super::user_id::UserId;
use crate::sync::atomic::Ordering;

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// Sessions written.
    pub sessions: u64,
    /// Revocations and cycles that happened meanwhile.
    pub revocations: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// What happens while a snapshot is being written.
#[derive(Debug, Default)]
pub(super) struct Scan {
    moved: Vec<Entry>,
    records: Vec<Record>,
}

impl Scan {
    pub(super) fn moved(&mut self, old: u128, entry: &Entry) {
        self.records.push(Record::Session { key: old });
        self.moved.push(entry.clone());
    }

    pub(super) fn revoked(&mut self, record: Record) {
        self.records.push(record);
    }
}

impl MemoryStore {
    /// Writes all live sessions down, while the store is in use; nobody waits for the
    /// writer. [`restore`](super::MemoryStoreBuilder::restore) reads it.
    ///
    /// There is no token in it, and none can be computed from it: who steals the file
    /// has nobody's cookie. The data and the names of users are in it as they are. Write
    /// to a new file, sync it, and rename it over the old one.
    ///
    /// # Errors
    /// [`SnapshotError::Busy`] if one is being written already; else what the writer
    /// said, and then what it was given is not a snapshot.
    ///
    /// ```
    /// use tenfold::session::MemoryStore;
    ///
    /// let store = MemoryStore::builder().build()?;
    /// let (token, _) = store.create(None, b"cart".as_slice())?;
    /// let mut file = Vec::new();
    /// assert_eq!(store.snapshot(&mut file)?.sessions, 1);
    ///
    /// let (again, restored) = MemoryStore::builder().restore(&file[..], None)?;
    /// assert_eq!(restored.sessions, 1);
    /// assert_eq!(restored.log, None, "revoked since? nobody knows");
    /// assert_eq!(again.load(&token).map(|loaded| loaded.to_vec()), Some(b"cart".to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self, writer: impl Write) -> Result<Snapshot, SnapshotError> {
        let scanning = Scanning::begin(self)?;
        let mut out = Frames::new(writer);
        let mut header = [0; 17];
        header[0] = HEADER;
        header[1..9].copy_from_slice(&self.epoch.load(Ordering::SeqCst).to_le_bytes());
        header[9..].copy_from_slice(&u64::from(self.now()).to_le_bytes());
        out.frame(&[&header])?;
        let mut copied = Vec::new();
        for shard in &self.shards {
            let mut from = 0;
            loop {
                let now = self.now();
                let shard = shard.lock();
                let live = |entry: &&Entry| self.is_live(entry, now);
                copied.extend(shard.range(from, HOLD).filter(live).cloned());
                from += HOLD;
                let is_done = from >= shard.slots();
                drop(shard);
                out.sessions(&mut copied)?;
                if is_done {
                    break;
                }
            }
        }
        let mut scan = scanning.end();
        out.sessions(&mut scan.moved)?;
        for record in &scan.records {
            out.frame(&[&[REVOCATION], &record.encode()])?;
        }
        let revocations = scan.records.len() as u64;
        let counts = [out.sessions, revocations].map(u64::to_le_bytes);
        out.frame(&[&[END], &counts[0], &counts[1]])?;
        out.flush(0)?;
        out.writer.flush()?;
        Ok(Snapshot {
            sessions: out.sessions,
            revocations,
            bytes: out.bytes,
        })
    }
}

/// The time in which notes are taken; over when it is dropped.
struct Scanning<'a>(&'a MemoryStore);

impl<'a> Scanning<'a> {
    fn begin(store: &'a MemoryStore) -> Result<Self, SnapshotError> {
        let mut scan = store.scan.lock();
        if scan.is_some() {
            return Err(SnapshotError::Busy);
        }
        *scan = Some(Scan::default());
        store.is_scanned.store(1, Ordering::SeqCst);
        Ok(Self(store))
    }

    fn end(self) -> Scan {
        self.0.scan.lock().take().unwrap_or_default()
    }
}

impl Drop for Scanning<'_> {
    fn drop(&mut self) {
        let mut scan = self.0.scan.lock();
        self.0.is_scanned.store(0, Ordering::SeqCst);
        let notes = scan.take();
        drop(scan);
        drop(notes);
    }
}

/// Frames on their way to a writer, in pieces that are worth a system call.
struct Frames<W> {
    writer: W,
    buffer: Vec<u8>,
    sessions: u64,
    bytes: u64,
}

impl<W: Write> Frames<W> {
    fn new(writer: W) -> Self {
        let mut buffer = Vec::with_capacity(2 * PIECE);
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&FORMAT.to_le_bytes());
        Self {
            writer,
            buffer,
            sessions: 0,
            bytes: 0,
        }
    }

    fn sessions(&mut self, entries: &mut Vec<Entry>) -> io::Result<()> {
        for entry in entries.drain(..) {
            let user = entry.user.as_ref();
            let name = user.map(|user| user.as_str().as_bytes());
            let head = head(&entry, user);
            self.frame(&[&head, name.unwrap_or_default(), &entry.data])?;
            self.sessions += 1;
        }
        Ok(())
    }

    fn frame(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let Some(len) = u32::try_from(len).ok().filter(|&len| len <= MAX_FRAME) else {
            let message = "a session takes more than a frame of a snapshot holds";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        append(&mut self.buffer, len, parts);
        self.flush(PIECE)
    }

    /// Writes what has come together, if it is at least so much.
    fn flush(&mut self, least: usize) -> io::Result<()> {
        if self.buffer.len() >= least {
            self.writer.write_all(&self.buffer)?;
            self.bytes += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// Appends a frame, of whose content this is the length.
pub(super) fn append(buffer: &mut Vec<u8>, len: u32, parts: &[&[u8]]) {
    let len = len.to_le_bytes();
    let checksum = parts.iter().fold(crc32c::crc32c(&len), |sum, part| {
        crc32c::crc32c_append(sum, part)
    });
    buffer.extend_from_slice(&len);
    buffer.extend_from_slice(&checksum.to_le_bytes());
    for part in parts {
        buffer.extend_from_slice(part);
    }
}

/// What a session's frame begins with; the name of its user and its data come next.
pub(super) fn head(entry: &Entry, user: Option<&UserId>) -> [u8; 45] {
    let mut head = [0; 45];
    head[0] = SESSION;
    head[1..17].copy_from_slice(&entry.key.to_le_bytes());
    head[17..25].copy_from_slice(&entry.version.to_le_bytes());
    head[25..33].copy_from_slice(&entry.stamp.to_le_bytes());
    head[33..37].copy_from_slice(&entry.created.to_le_bytes());
    head[37..41].copy_from_slice(&entry.seen.to_le_bytes());
    let len = user.map_or(NOBODY, |user| user.as_str().len() as u32);
    head[41..45].copy_from_slice(&len.to_le_bytes());
    head
}

pub(super) const MAGIC: [u8; 8] = *b"10fold\x00S";
pub(super) const FORMAT: u16 = 1;
pub(super) const HEADER: u8 = 0;
pub(super) const SESSION: u8 = 1;
pub(super) const REVOCATION: u8 = 2;
pub(super) const END: u8 = 3;
/// The length of the name of who is nobody.
pub(super) const NOBODY: u32 = u32::MAX;
pub(super) const MAX_FRAME: u32 = 1 << 30;
/// Bytes per write.
const PIECE: usize = 64 << 10;
/// Slots that are copied under one lock.
const HOLD: usize = 64;
