//! One log for everything: messages, acks and all else, in the order in which they
//! happened. It knows nothing of what records mean.
//!
//! `format.rs` is the bytes; `scan.rs` reads them; `commit.rs` is who writes when, and
//! `gathering.rs` for whom it waits; `writer.rs` the end of the log, `unsynced.rs` what of
//! it may have to be written again; `segments.rs` where messages lie, by `index.rs`, in
//! memory by `held.rs`, by `locate.rs` where nobody noted it, by `moved.rs` if they were
//! moved; `recover.rs` what is there after a crash, `course.rs` which numbers are missing,
//! `absent.rs` whether they turn up; `checkpoint.rs` what shortens that; `inspect.rs` reads
//! it all, `mend.rs` writes over what is damaged.

mod absent;
mod checkpoint;
mod commit;
mod course;
pub(crate) mod format;
mod gathering;
mod held;
mod index;
mod inspect;
mod locate;
mod mend;
mod moved;
mod recover;
mod report;
mod scan;
mod segments;
#[cfg(test)]
mod tests;
mod unsynced;
mod wall;
mod writer;

#[cfg(all(test, tenfold_shuttle))]
mod models;

pub(crate) use commit::{Failed, Mark, Ticket};
pub(crate) use inspect::Inspected;
pub(crate) use mend::{Mended, mend};
pub(crate) use moved::Lying;
pub use report::{Damage, DamageKind, Recovery};
pub(crate) use segments::{Extent, ReadAhead, ReadError, Stored};
pub(crate) use wall::{Wall, millis, moment};

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crc32c::{crc32c, crc32c_append};

use self::checkpoint::Checkpoint;
use self::commit::{Group, Line, Refused, Sink, Written};
use self::format::{BEGIN, END, Kind, PAGE, RecordHeader, SegmentHeader, record_size};
use self::recover::Opening;
use self::segments::Segments;
use self::writer::{FRONT, Limits, Writer, segment_name};
use super::bell::Bell;
use super::error::OpenError;
use super::storage::Disk;
use crate::rng::Rng;
use crate::sync::Mutex;
use crate::task::Executor;

/// How a log is laid out.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) smallest_segment: u64,
    pub(crate) largest_segment: u64,
    /// Bytes that were written without a sync and are kept in memory, at most.
    pub(crate) undurable: u64,
    /// Bytes of the newest records kept in memory.
    pub(crate) tail: usize,
    pub(crate) seed: u64,
    /// The disk only seems to be written: what must not be is read as well.
    pub(crate) only_reads: bool,
}

/// Gets what a log contains while it is opened.
pub(crate) trait Replay {
    /// The state of a checkpoint, before all else.
    fn restore(&mut self, body: &[u8]);
    /// There are no messages with these numbers.
    fn missing(&mut self, messages: Range<u64>);
    fn record(&mut self, record: &Replayed<'_>);
}

/// A record as it was found.
pub(crate) struct Replayed<'a> {
    pub(crate) header: RecordHeader,
    pub(crate) payload: &'a [u8],
    /// When it was written, as far as is known.
    pub(crate) time: u64,
}

/// A record to be written, with its payload's checksum.
#[derive(Clone)]
pub(crate) struct Record<'a> {
    kind: Kind,
    priority: u8,
    ext: &'a [u8],
    payload: &'a [u8],
    crc: u32,
}

impl<'a> Record<'a> {
    pub(crate) fn new(kind: Kind, priority: u8, ext: &'a [u8], payload: &'a [u8]) -> Self {
        Self {
            kind,
            priority,
            ext,
            payload,
            crc: if ext.is_empty() {
                crc32c(payload)
            } else {
                crc32c_append(crc32c(ext), payload)
            },
        }
    }

    pub(crate) fn size(&self) -> u64 {
        record_size(self.ext.len() + self.payload.len())
    }

    fn write(&self, id: u64, flags: u8, bytes: &mut Vec<u8>) {
        let header = RecordHeader {
            len: (self.ext.len() + self.payload.len()) as u32,
            kind: self.kind,
            flags: flags | self.priority << 2,
            ext: self.ext.len() as u16,
            payload_crc: self.crc,
            id,
        };
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(self.ext);
        bytes.extend_from_slice(self.payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
}

/// Why a batch was not taken.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// There is no room, and none can be made.
    Full,
    /// No segment may be so large.
    TooLarge {
        size: u64,
        most: u64,
    },
    Failed(Failed),
}

pub(crate) struct Log<D: Disk> {
    line: Arc<Line<End<D>>>,
    segments: Arc<Segments<D::File>>,
    disk: Arc<D>,
    pub(crate) largest_batch: u64,
    _lock: D::Lock,
}

/// What the leader writes with.
struct End<D: Disk> {
    /// Held by the leader, and for a moment by checkpoints.
    tip: Mutex<Tip<D>>,
    bell: Arc<Bell>,
}

struct Tip<D: Disk> {
    writer: Writer<D>,
    /// The places of the checkpoints that are kept, older first.
    checkpoints: Vec<u64>,
}

impl<D: Disk> Sink for End<D> {
    fn write(&self, group: Group) -> Result<Written, Failed> {
        self.tip.lock().writer.write(group)
    }

    fn done(&self) {
        self.bell.ring();
    }
}

pub(crate) const LOCK: &str = "LOCK";

impl<D: Disk> Log<D> {
    pub(crate) fn open(
        disk: D,
        options: &Options,
        wall: Wall,
        bell: Arc<Bell>,
        replay: &mut dyn Replay,
    ) -> Result<(Self, Recovery, Wall), OpenError> {
        let disk = Arc::new(disk);
        let lock = disk.lock(LOCK)?;
        let segments = Arc::new(Segments::new(options.tail));
        let opening = Opening {
            disk: Arc::clone(&disk),
            limits: Limits {
                smallest: options
                    .smallest_segment
                    .max(4 * PAGE)
                    .next_multiple_of(PAGE),
                largest: options.largest_segment.max(4 * PAGE).next_multiple_of(PAGE),
                undurable: options.undurable,
            },
            wall,
            rng: Rng::with_seed(options.seed),
            segments: Arc::clone(&segments),
            replay,
            only_reads: options.only_reads,
        };
        let mut opened = opening.run()?;
        opened.writer.reserve();
        let wall = opened.writer.wall.clone();
        let largest = opened.writer.limits.largest;
        let room = opened.writer.room();
        let tip = Tip {
            writer: opened.writer,
            checkpoints: opened.checkpoints,
        };
        let end = End {
            tip: Mutex::new(tip),
            bell,
        };
        let log = Self {
            line: Arc::new(Line::new(end, opened.next_id, room)),
            segments,
            disk,
            largest_batch: writer::largest_batch(largest),
            _lock: lock,
        };
        Ok((log, opened.report, wall))
    }

    /// Stages a batch, which is replayed whole or not at all. The ticket to wait
    /// with, and the number of its first message. Makes room, if it has to.
    pub(crate) fn append(
        &self,
        batch: &[Record<'_>],
        needs_room: bool,
        sync: bool,
    ) -> Result<(Ticket, u64), AppendError> {
        for _ in 0..ATTEMPTS {
            match self.stage(batch, needs_room, sync)? {
                Some(staged) => return Ok(staged),
                None => self.make_room(batch, needs_room)?,
            }
        }
        Err(AppendError::Full)
    }

    /// The same without waiting for anything: `None` if there is no room now.
    pub(crate) fn stage(
        &self,
        batch: &[Record<'_>],
        needs_room: bool,
        sync: bool,
    ) -> Result<Option<(Ticket, u64)>, AppendError> {
        let size = batch.iter().map(Record::size).sum::<u64>();
        if size > self.largest_batch {
            return Err(AppendError::TooLarge {
                size,
                most: self.largest_batch,
            });
        }
        let place = |first, bytes: &mut Vec<u8>| {
            if bytes.is_empty() {
                bytes.reserve(size as usize + FRONT);
                bytes.resize(FRONT, 0);
            } else {
                bytes.reserve(size as usize);
            }
            let mut id = first;
            for (place, record) in batch.iter().enumerate() {
                let mut flags = if place == 0 { BEGIN } else { 0 };
                if place + 1 == batch.len() {
                    flags |= END;
                }
                record.write(id, flags, bytes);
                id += u64::from(record.kind == Kind::Publish);
            }
            id - first
        };
        match self
            .line
            .stage(size + FRONT as u64, needs_room, sync, place)
        {
            Ok(staged) => Ok(Some(staged)),
            Err(Refused::NoRoom) => Ok(None),
            Err(Refused::Failed(failed)) => Err(AppendError::Failed(failed)),
        }
    }

    /// Has the leader look for room for this batch.
    pub(crate) fn make_room(
        &self,
        batch: &[Record<'_>],
        needs_room: bool,
    ) -> Result<(), AppendError> {
        let size = batch.iter().map(Record::size).sum::<u64>() + 2 * FRONT as u64;
        let asked = self.line.ask_for_room(size, !needs_room);
        self.wait(asked, Mark::Written).map_err(AppendError::Failed)
    }

    /// Blocks until a batch is this far.
    pub(crate) fn wait(&self, ticket: Ticket, mark: Mark) -> Result<(), Failed> {
        match self.line.go_through(ticket, mark) {
            Some(through) => through,
            None => crate::task::block_on(self.line.wait(ticket, mark, None)),
        }
    }

    /// Is ready once a batch is this far; leads on the executor, if there is one.
    pub(crate) fn reach<'a>(
        &'a self,
        ticket: Ticket,
        mark: Mark,
        executor: Option<&'a Executor>,
    ) -> impl Future<Output = Result<(), Failed>> + Send + 'a {
        self.line.wait(ticket, mark, executor)
    }

    /// Makes everything last that was staged before it is called, as long as there is
    /// this log.
    pub(crate) fn syncing(&self) -> impl Fn() + Send + Sync + 'static {
        let line = Arc::downgrade(&self.line);
        move || {
            if let Some(line) = line.upgrade()
                && line.is_behind(Mark::Durable)
            {
                // If it fails, that is told to whoever comes next.
                let _ = crate::task::block_on(line.wait(line.last(), Mark::Durable, None));
            }
        }
    }

    /// The last batch that was staged.
    pub(crate) fn last(&self) -> Ticket {
        self.line.last()
    }

    /// The number below which all messages are this far.
    pub(crate) fn reached(&self, mark: Mark) -> u64 {
        self.line.reached(mark)
    }

    pub(crate) fn is_behind(&self, mark: Mark) -> bool {
        self.line.is_behind(mark)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.line.next_id()
    }

    pub(crate) fn failed(&self) -> Option<Failed> {
        self.line.failed()
    }

    pub(crate) fn read(&self, id: u64, ahead: &mut ReadAhead) -> Result<Stored, ReadError> {
        self.segments.read(id, ahead)
    }

    /// Messages that are nowhere, from this one on: up to the next that is there.
    /// Those that nobody has written yet are among them.
    pub(crate) fn missing(&self, id: u64) -> io::Result<Range<u64>> {
        self.segments.missing(id)
    }

    pub(crate) fn extents(&self) -> Vec<Extent> {
        self.segments.list()
    }

    /// Bytes of all segments, and of memory for finding messages in them.
    pub(crate) fn sizes(&self) -> (u64, usize) {
        self.segments.sizes()
    }

    /// How often the log went on in another file, since one failed.
    pub(crate) fn failovers(&self) -> u64 {
        self.line.sink.tip.lock().writer.failovers
    }

    /// Writes a checkpoint. `body` is called once all before its place is durable, with
    /// the number of the first message that it must know nothing of; of others it may
    /// know more than happened before, as long as replaying that changes nothing.
    ///
    /// One at a time. `again` writes one though nothing came to the log since the last.
    pub(crate) fn checkpoint(
        &self,
        again: bool,
        body: impl FnOnce(u64) -> Vec<u8>,
    ) -> io::Result<()> {
        self.wait(self.last(), Mark::Durable)
            .map_err(|f| copy(&f.0))?;
        let mut checkpoint = {
            let mut tip = self.line.sink.tip.lock();
            if let Some(failed) = &tip.writer.failed {
                return Err(copy(&failed.0));
            }
            if let Err(error) = tip.writer.sync() {
                tip.writer.failed = Some(Failed(Arc::new(copy(&error))));
                return Err(error);
            }
            let next_id = tip.writer.next_id;
            if tip.checkpoints.last() == Some(&tip.writer.end()) && !again {
                let oldest = tip
                    .checkpoints
                    .first()
                    .filter(|_| tip.checkpoints.len() == KEPT);
                if oldest.is_some_and(|oldest| *oldest >= tip.writer.current.header.base) {
                    return Ok(());
                }
                // Another one, so that both cover what is in other segments.
                if let Err(error) = tip.writer.close(next_id) {
                    tip.writer.failed = Some(Failed(Arc::new(copy(&error))));
                    return Err(error);
                }
                if tip.checkpoints.last() == Some(&tip.writer.end()) {
                    return Ok(());
                }
            }
            let (place, segments) = (tip.writer.end(), self.segments.list());
            let moved = self.segments.moved.all();
            Checkpoint {
                uuid: tip.writer.uuid,
                place,
                next_id,
                time: tip.writer.current.time,
                segments,
                moved,
                body: Vec::new(),
            }
        };
        checkpoint.body = body(checkpoint.next_id);
        let mut stored = checkpoint.store(&*self.disk);
        while stored
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
        {
            let Some(name) = self.can_go() else {
                break;
            };
            self.disk.remove(&name)?;
            stored = checkpoint.store(&*self.disk);
        }
        stored?;
        let old = {
            let mut tip = self.line.sink.tip.lock();
            if tip.checkpoints.last() != Some(&checkpoint.place) {
                tip.checkpoints.push(checkpoint.place);
            }
            let old = tip.checkpoints.len().saturating_sub(KEPT);
            let mut old = tip.checkpoints.drain(..old).collect::<Vec<_>>();
            old.retain(|place| !tip.checkpoints.contains(place));
            tip.writer.reserve();
            old
        };
        for old in old {
            let _ = self.disk.remove(&checkpoint::name(old));
        }
        Ok(())
    }

    /// What makes room for a checkpoint: a file that was kept for later, or else the
    /// older of two checkpoints, which is there for damage by the medium only, or else the
    /// reserve of the next opening, which gets back what the checkpoint leaves of it.
    fn can_go(&self) -> Option<String> {
        let mut tip = self.line.sink.tip.lock();
        let has_newer = tip.checkpoints.first() != tip.checkpoints.last();
        if tip.writer.pool.len() <= writer::KEPT && has_newer {
            return Some(checkpoint::name(tip.checkpoints.remove(0)));
        }
        tip.writer.pool.pop().map(|(name, _)| name)
    }

    /// Has the newest checkpoint count as both, so that what it covers can be released
    /// where there is no room for going on: the older one would miss what is given up.
    pub(crate) fn rely_on_newest(&self) {
        let mut tip = self.line.sink.tip.lock();
        let Some(newest) = tip.checkpoints.last().copied() else {
            return;
        };
        let places = std::mem::replace(&mut tip.checkpoints, vec![newest; KEPT]);
        for old in places.into_iter().filter(|place| *place != newest) {
            let _ = self.disk.remove(&checkpoint::name(old));
        }
    }

    /// Takes segments out that nobody needs any more, says the caller: their messages
    /// are done or lie elsewhere, and that and their other records are in both checkpoints.
    /// In memory only.
    pub(crate) fn retire(&self, numbers: &[u64]) -> Vec<SegmentHeader> {
        let retired = numbers.iter().map(|number| self.segments.remove(*number));
        retired.flatten().collect()
    }

    /// Keeps the file of a segment that was taken out for later, or removes it.
    pub(crate) fn recycle(&self, header: &SegmentHeader) {
        let name = format!("{:012}.spare", header.number);
        let mut tip = self.line.sink.tip.lock();
        let writer = &mut tip.writer;
        let renamed = writer.disk.rename(&segment_name(header.number), &name);
        // Used again only once nobody can find it under its old name.
        if renamed.is_ok() && writer.disk.sync_dir().is_ok() {
            writer.give_back(name, header.size, header.size);
        }
    }

    /// Writes and syncs everything, and vouches for it.
    pub(crate) fn close(&self) -> Result<(), Failed> {
        self.wait(self.last(), Mark::Durable)?;
        let next_id = self.next_id();
        let mut tip = self.line.sink.tip.lock();
        tip.writer
            .close(next_id)
            .map_err(|error| Failed(Arc::new(error)))
    }
}

/// An error that several are told of.
pub(crate) fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// How often room is asked for before a batch is turned away: others may take it.
const ATTEMPTS: usize = 4;
/// Checkpoints that are kept.
const KEPT: usize = 2;
