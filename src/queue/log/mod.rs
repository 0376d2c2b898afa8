//! One log for everything: messages, acks and all else, in the order in which they
//! happened. It knows nothing of what records mean.
//!
//! `format.rs` is the bytes; `scan.rs` reads them; `commit.rs` is who writes when;
//! `writer.rs` the end of the log; `segments.rs` where messages lie; `recover.rs` what
//! is there after a crash; `checkpoint.rs` what shortens that.

mod checkpoint;
mod commit;
pub(crate) mod format;
mod recover;
mod report;
mod scan;
mod segments;
#[cfg(test)]
mod tests;
mod wall;
mod writer;

#[cfg(all(test, tenfold_shuttle))]
mod models;

pub(crate) use commit::{Failed, Mark, Ticket};
pub use report::{Damage, DamageKind, Recovery};
pub(crate) use segments::{Extent, ReadAhead, ReadError, Stored};
pub(crate) use wall::{Wall, millis};

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crc32c::{crc32c, crc32c_append};

use self::checkpoint::Checkpoint;
use self::commit::{Group, Line, Refused, Sink, Written};
use self::format::{BEGIN, END, Kind, PAGE, RecordHeader, record_size};
use self::recover::Opening;
use self::segments::Segments;
use self::writer::{FRONT, Limits, Writer, segment_name};
use super::error::OpenError;
use super::storage::{Disk, LockError};
use crate::rng::Rng;
use crate::sync::Mutex;
use crate::task::Executor;

/// How a log is laid out.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) smallest_segment: u64,
    pub(crate) largest_segment: u64,
    pub(crate) interval: Option<Duration>,
    /// Bytes that are written without a sync, at most.
    pub(crate) undurable: u64,
    /// Bytes of the newest records kept in memory.
    pub(crate) tail: usize,
    pub(crate) seed: u64,
}

/// Gets what a log contains while it is opened.
pub(crate) trait Replay {
    /// The state of a checkpoint, before all else.
    fn restore(&mut self, body: &[u8]);
    /// There is a segment with this number, and what follows is in it.
    fn segment(&mut self, number: u64);
    fn record(&mut self, record: &Replayed<'_>);
}

/// A record as it was found.
pub(crate) struct Replayed<'a> {
    pub(crate) segment: u64,
    pub(crate) header: RecordHeader,
    pub(crate) payload: &'a [u8],
    /// When it was written, as far as is known.
    pub(crate) time: u64,
}

/// A record to be written, with its payload's checksum.
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
            crc: crc32c_append(crc32c(ext), payload),
        }
    }

    fn size(&self) -> u64 {
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
    TooLarge { size: u64, most: u64 },
    Failed(Failed),
}

pub(crate) struct Log<D: Disk> {
    line: Arc<Line<End<D>>>,
    segments: Arc<Segments<D::File>>,
    largest_batch: u64,
    _lock: D::Lock,
}

/// What the leader writes with.
struct End<D: Disk> {
    /// Held by the leader, and for checkpoints.
    writer: Mutex<Tip<D>>,
}

struct Tip<D: Disk> {
    writer: Writer<D>,
    /// The places of the checkpoints that are kept, older first.
    checkpoints: Vec<u64>,
}

impl<D: Disk> Sink for End<D> {
    fn write(&self, group: Group) -> Result<Written, Failed> {
        self.writer.lock().writer.write(group)
    }
}

const LOCK: &str = "LOCK";

impl<D: Disk> Log<D> {
    pub(crate) fn open(
        disk: D,
        options: &Options,
        wall: Wall,
        replay: &mut dyn Replay,
    ) -> Result<(Self, Recovery, Wall), OpenError> {
        let lock = disk.lock(LOCK).map_err(|error| match error {
            LockError::Held { pid } => OpenError::Locked { pid },
            LockError::Io(error) => OpenError::Io(error),
        })?;
        let segments = Arc::new(Segments::new(options.tail));
        let opening = Opening {
            disk,
            limits: Limits {
                smallest: options.smallest_segment.max(4 * PAGE).next_multiple_of(PAGE),
                largest: options.largest_segment.max(4 * PAGE).next_multiple_of(PAGE),
                interval: options.interval,
                undurable: options.undurable,
            },
            wall,
            rng: Rng::with_seed(options.seed),
            segments: Arc::clone(&segments),
            replay,
        };
        let opened = opening.run()?;
        let wall = opened.writer.wall.clone();
        let largest = opened.writer.limits.largest;
        let room = opened.writer.room();
        let tip = Tip {
            writer: opened.writer,
            checkpoints: opened.checkpoints,
        };
        let end = End {
            writer: Mutex::new(tip),
        };
        let log = Self {
            line: Arc::new(Line::new(end, opened.next_id, room)),
            segments,
            largest_batch: writer::largest_batch(largest),
            _lock: lock,
        };
        Ok((log, opened.report, wall))
    }

    /// Stages a batch, which is replayed whole or not at all. The ticket to wait
    /// with, and the number of its first message.
    pub(crate) fn append(
        &self,
        batch: &[Record<'_>],
        needs_room: bool,
        sync: bool,
    ) -> Result<(Ticket, u64), AppendError> {
        let size = batch.iter().map(Record::size).sum::<u64>();
        if size > self.largest_batch {
            return Err(AppendError::TooLarge {
                size,
                most: self.largest_batch,
            });
        }
        for _ in 0..ATTEMPTS {
            let staged = self.line.stage(size + FRONT as u64, needs_room, sync, |first, bytes| {
                if bytes.is_empty() {
                    bytes.resize(FRONT, 0);
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
            });
            match staged {
                Ok(staged) => return Ok(staged),
                Err(Refused::Failed(failed)) => return Err(AppendError::Failed(failed)),
                Err(Refused::NoRoom) => {
                    let asked = self.line.ask_for_room(size + 2 * FRONT as u64, !needs_room);
                    self.wait(asked, Mark::Written).map_err(AppendError::Failed)?;
                }
            }
        }
        Err(AppendError::Full)
    }

    /// Blocks until a batch is this far.
    pub(crate) fn wait(&self, ticket: Ticket, mark: Mark) -> Result<(), Failed> {
        crate::task::block_on(self.line.wait(ticket, mark, None))
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

    pub(crate) fn extents(&self) -> Vec<Extent> {
        self.segments.list()
    }

    /// Bytes of all segments, and of memory for finding messages in them.
    pub(crate) fn sizes(&self) -> (u64, usize) {
        self.segments.sizes()
    }

    /// How often the log went on in another file, since one failed.
    pub(crate) fn failovers(&self) -> u64 {
        self.line.sink.writer.lock().writer.failovers
    }

    /// How far the log goes.
    pub(crate) fn place(&self) -> u64 {
        let tip = self.line.sink.writer.lock();
        tip.writer.current.header.base + tip.writer.current.at
    }

    /// Writes a checkpoint. `body` is called once all before its place is durable; what
    /// it answers may know of more, as long as replaying that again changes nothing.
    pub(crate) fn checkpoint(&self, body: impl FnOnce() -> Vec<u8>) -> io::Result<()> {
        self.wait(self.last(), Mark::Durable).map_err(|f| copy(&f.0))?;
        let mut tip = self.line.sink.writer.lock();
        let Tip {
            writer,
            checkpoints,
        } = &mut *tip;
        if let Some(failed) = &writer.failed {
            return Err(copy(&failed.0));
        }
        if let Err(error) = writer.sync() {
            writer.failed = Some(Failed(Arc::new(copy(&error))));
            return Err(error);
        }
        let place = writer.current.header.base + writer.current.at;
        if checkpoints.last() == Some(&place) {
            return Ok(());
        }
        let segments = self.segments.list();
        let known = segments.iter().map(|extent| extent.next).max();
        let checkpoint = Checkpoint {
            uuid: writer.uuid,
            place,
            next_id: known.unwrap_or(1).max(writer.current.header.first_id).max(1),
            time: writer.current.time,
            segments,
            body: body(),
        };
        let stored = match checkpoint.store(&writer.disk) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                // What was kept for later makes room.
                if let Some((name, _)) = writer.pool.pop() {
                    writer.disk.remove(&name)?;
                    checkpoint.store(&writer.disk)
                } else {
                    Err(error)
                }
            }
            stored => stored,
        };
        stored?;
        checkpoints.push(place);
        while checkpoints.len() > KEPT {
            let old = checkpoints.remove(0);
            let _ = writer.disk.remove(&format!("{old:016x}.checkpoint"));
        }
        Ok(())
    }

    /// Gives a segment's file up, if nothing in it is needed any more: its messages are
    /// done, says the caller, and its other records are in both checkpoints.
    pub(crate) fn release(&self, number: u64) -> bool {
        let mut tip = self.line.sink.writer.lock();
        let Tip {
            writer,
            checkpoints,
        } = &mut *tip;
        let Some(oldest) = checkpoints.first().filter(|_| checkpoints.len() == KEPT) else {
            return false;
        };
        let extents = self.segments.list();
        let is_covered = extents
            .iter()
            .any(|extent| extent.number == number && extent.end <= *oldest);
        if !is_covered || writer.current.header.number == number {
            return false;
        }
        let Some(header) = self.segments.remove(number) else {
            return false;
        };
        let name = format!("{number:012}.spare");
        let renamed = writer.disk.rename(&segment_name(number), &name);
        // Used again only once nobody can find it under its old name.
        if renamed.is_ok() && writer.disk.sync_dir().is_ok() {
            writer.give_back(name, header.size, header.size);
        }
        true
    }

    /// Writes and syncs everything, and vouches for it.
    pub(crate) fn close(&self) -> Result<(), Failed> {
        self.wait(self.last(), Mark::Durable)?;
        let next_id = self.next_id();
        let mut tip = self.line.sink.writer.lock();
        tip.writer.close(next_id).map_err(|error| Failed(Arc::new(error)))
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
