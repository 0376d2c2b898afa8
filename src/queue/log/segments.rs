//! Which segments there are, where messages lie in them, and how they are read.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::format::{
    BadHeader, Kind, Origin, PAGE, RECORD_HEADER, RecordHeader, SegmentHeader, is_payload_of,
};
use super::held::Held;
use super::index::Index;
use super::locate::{Mark, UNKNOWN, locate, time_before};
use super::moved::{Moved, Tally};
use super::scan::{Found, Scan};
use crate::queue::storage::DiskFile;
use crate::sync::Mutex;

/// All segments, with the newest bytes kept in memory for those who keep up.
pub(super) struct Segments<F> {
    /// Protects the table. Files are read outside of it.
    table: Mutex<Table<F>>,
    /// How many bytes of the tail are kept.
    tail_capacity: usize,
    pub(super) moved: Moved,
}

struct Table<F> {
    segments: BTreeMap<u64, Segment<F>>,
    /// Segments with messages, by the first one they hold.
    by_message: BTreeMap<u64, u64>,
    /// All of them, by their first place in the log.
    by_place: BTreeMap<u64, u64>,
    tail: VecDeque<Kept>,
    tail_bytes: usize,
}

/// What is kept in memory of a group that was written.
struct Kept {
    chunk: Chunk,
    /// The first message in it has this number, if there is one.
    first: u64,
    /// That of messages at its beginning.
    time: u64,
}

pub(super) struct Segment<F> {
    pub(super) file: Arc<F>,
    pub(super) header: SegmentHeader,
    /// Where its records end.
    pub(super) end: u64,
    pub(super) index: Index,
    pub(super) tally: Tally,
}

/// A segment and where its records end.
pub(super) struct OnDisk<F> {
    pub(super) file: Arc<F>,
    pub(super) header: SegmentHeader,
    pub(super) end: u64,
}

/// Bytes that were written, as they lie in a segment.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

/// A message as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) header: RecordHeader,
    /// Extensions and payload.
    pub(crate) bytes: Bytes,
    /// When it was published, in milliseconds since 1970.
    pub(crate) time: u64,
}

/// Why a message cannot be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It is not where it should be, or damaged.
    Lost,
    Io(io::Error),
}

impl<F: DiskFile> Segments<F> {
    pub(super) fn new(tail_capacity: usize) -> Self {
        let table = Table {
            segments: BTreeMap::new(),
            by_message: BTreeMap::new(),
            by_place: BTreeMap::new(),
            tail: VecDeque::new(),
            tail_bytes: 0,
        };
        Self {
            table: Mutex::new(table),
            tail_capacity,
            moved: Moved::default(),
        }
    }

    pub(super) fn add(&self, segment: Segment<F>) {
        let mut table = self.table.lock();
        let number = segment.header.number;
        if !segment.index.is_empty() {
            table.by_message.insert(segment.index.first, number);
        }
        table.by_place.insert(segment.header.base, number);
        table.segments.insert(number, segment);
    }

    /// Notes what was written at the end of a segment.
    pub(super) fn wrote(&self, chunk: Chunk) {
        let mut table = self.table.lock();
        let Table {
            segments,
            by_message,
            tail,
            tail_bytes,
            ..
        } = &mut *table;
        let Some(segment) = segments.get_mut(&chunk.segment) else {
            return;
        };
        segment.end = chunk.offset + chunk.bytes.len() as u64;
        let was_empty = segment.index.is_empty();
        let (mut first, before) = (None, segment.tally.time);
        for (at, header) in records(&chunk.bytes) {
            first.get_or_insert(header.id);
            let payload = at + RECORD_HEADER;
            let payload = &chunk.bytes[payload..payload + header.len as usize];
            let offset = chunk.offset + at as u64;
            segment.tally.see(&header, payload);
            if header.kind == Kind::Publish {
                let time = segment.tally.time;
                segment.index.note(header.id, offset, time);
            } else if header.kind == Kind::Move
                && let Some(origin) = Origin::decode(payload)
            {
                self.moved.note(origin.id, segment.header.base + offset);
            }
        }
        if was_empty && !segment.index.is_empty() {
            by_message.insert(segment.index.first, chunk.segment);
        }
        *tail_bytes += chunk.bytes.len();
        tail.push_back(Kept {
            chunk,
            first: first.unwrap_or(segment.index.next),
            time: before,
        });
        while *tail_bytes > self.tail_capacity
            && let Some(old) = tail.pop_front()
        {
            *tail_bytes -= old.chunk.bytes.len();
        }
    }

    /// Forgets what lies behind this offset: it lies elsewhere now.
    pub(super) fn cut(&self, number: u64, end: u64) {
        let mut table = self.table.lock();
        let Table {
            segments,
            by_message,
            tail,
            tail_bytes,
            ..
        } = &mut *table;
        let Some(segment) = segments.get_mut(&number) else {
            return;
        };
        segment.end = end;
        tail.retain(|Kept { chunk, .. }| {
            let keep = chunk.segment != number || chunk.offset < end;
            if !keep {
                *tail_bytes -= chunk.bytes.len();
            }
            keep
        });
        // What is left is read again when it is needed; its range only shrinks.
        // What goes on elsewhere may begin with the same message.
        if by_message.get(&segment.index.first) == Some(&number) {
            by_message.remove(&segment.index.first);
        }
        let mut index = Index::new();
        let mut tally = Tally::default();
        let mut scan = Scan::new(&*segment.file, segment.header.salt, PAGE, end, end);
        while let Ok(Some(found)) = scan.next() {
            if let Found::Record {
                offset,
                header,
                payload,
                ..
            } = found
            {
                tally.see(&header, payload);
                if header.kind == Kind::Publish {
                    index.note(header.id, offset, tally.time);
                }
            }
        }
        if !index.is_empty() {
            by_message.insert(index.first, number);
        }
        segment.index = index;
        segment.tally = tally;
    }

    /// Takes a segment out.
    pub(super) fn remove(&self, number: u64) -> Option<SegmentHeader> {
        let mut table = self.table.lock();
        let segment = table.segments.remove(&number)?;
        if table.by_message.get(&segment.index.first) == Some(&number) {
            table.by_message.remove(&segment.index.first);
        }
        table.by_place.remove(&segment.header.base);
        Some(segment.header)
    }

    /// Number, place of the end in the log, and messages of each segment.
    pub(super) fn list(&self) -> Vec<Extent> {
        let table = self.table.lock();
        let extent = |segment: &Segment<F>| Extent {
            number: segment.header.number,
            size: segment.header.size,
            base: segment.header.base,
            end: segment.header.base + segment.end,
            first: segment.index.first,
            next: segment.index.next,
            messages: segment.tally.messages,
            bytes: segment.tally.bytes,
            time: segment.tally.time,
        };
        table.segments.values().map(extent).collect()
    }

    /// All of them, to be read as they lie there.
    pub(super) fn on_disk(&self) -> Vec<OnDisk<F>> {
        let table = self.table.lock();
        let held = |segment: &Segment<F>| OnDisk {
            file: Arc::clone(&segment.file),
            header: segment.header,
            end: segment.end,
        };
        table.segments.values().map(held).collect()
    }

    /// Bytes of all segments, and of memory for finding messages in them.
    pub(super) fn sizes(&self) -> (u64, usize) {
        let table = self.table.lock();
        let size = |segment: &Segment<F>| segment.header.size;
        let memory = |segment: &Segment<F>| segment.index.memory() + 256;
        (
            table.segments.values().map(size).sum(),
            table.segments.values().map(memory).sum::<usize>() + self.moved.memory(),
        )
    }

    /// Reads a message where it was written first.
    pub(super) fn read_first(&self, id: u64, ahead: &mut ReadAhead) -> Result<Stored, ReadError> {
        let mut place = match self.find(id, ahead)? {
            Place::Memory(stored) => return Ok(stored),
            Place::File(place) => place,
        };
        let (low, low_time) = (place.start, place.time);
        if let Some(high) = place.high {
            let mark = Mark {
                at: low,
                id: place.low,
            };
            let found = locate(&*place.file, place.salt, mark, high, id);
            place.start = found.map_err(ReadError::Io)?;
            if place.start != low {
                place.time = UNKNOWN;
            }
        }
        let mut stored = match ahead.walk(&place, id) {
            Err(ReadError::Lost) => {
                (place.start, place.time) = (low, low_time);
                search(&place, id)?
            }
            read => read?,
        };
        if stored.time == UNKNOWN {
            let time = time_before(&*place.file, place.salt, place.start);
            stored.time = time.map_err(ReadError::Io)?;
            ahead.next_at.1 = stored.time;
        }
        Ok(stored)
    }

    /// The file that has this place of the log.
    pub(super) fn in_file(&self, place: u64) -> Option<InFile<F>> {
        let table = self.table.lock();
        let (_, number) = table.by_place.range(..=place).next_back()?;
        let segment = table.segments.get(number)?;
        let start = place - segment.header.base;
        (start < segment.end).then(|| InFile {
            file: Arc::clone(&segment.file),
            number: *number,
            salt: segment.header.salt,
            start,
            end: segment.end,
            time: 0,
            low: 0,
            high: None,
        })
    }

    fn find(&self, id: u64, ahead: &mut ReadAhead) -> Result<Place<F>, ReadError> {
        let table = self.table.lock();
        let (_, number) = table
            .by_message
            .range(..=id)
            .next_back()
            .ok_or(ReadError::Lost)?;
        let segment = &table.segments[number];
        let index = &segment.index;
        if id >= index.next {
            return Err(ReadError::Lost);
        }
        if let Some((stored, held)) = table.in_memory(*number, index, id) {
            ahead.held = Some(held);
            return Ok(Place::Memory(stored));
        }
        let noted = index.start(id);
        let (start, time) = noted.unwrap_or((PAGE, UNKNOWN));
        let mut place = InFile {
            file: Arc::clone(&segment.file),
            number: *number,
            salt: segment.header.salt,
            start,
            end: segment.end,
            time,
            low: index.first,
            high: noted.is_none().then_some(index.noted),
        };
        let (segment, next) = ahead.next;
        if segment == *number && (next == id || noted.is_none() && next < id) {
            (place.start, place.time) = ahead.next_at;
            place.low = next;
        }
        Ok(Place::File(place))
    }

    /// Messages that are nowhere, from this one on: up to the next that is there.
    /// Those that nobody has written yet are among them.
    pub(super) fn missing(&self, id: u64) -> io::Result<Range<u64>> {
        let moved = self.moved.next(id).unwrap_or(u64::MAX);
        let (file, salt, start, limit, end) = {
            let table = self.table.lock();
            let next = table.by_message.range(id + 1..).next();
            let next = next.map_or(moved, |(first, _)| moved.min(*first));
            let before = table.by_message.range(..=id).next_back();
            let segment = before.and_then(|(_, number)| table.segments.get(number));
            let Some(segment) = segment.filter(|segment| id < segment.index.next) else {
                return Ok(id..next);
            };
            // A guess could be wrong, and what is given up does not come again.
            let start = segment.index.start(id).map_or(PAGE, |(start, _)| start);
            let file = Arc::clone(&segment.file);
            let end = segment.index.next.min(next);
            (file, segment.header.salt, start, segment.end, end)
        };
        let mut scan = Scan::new(&*file, salt, start, limit, limit);
        while let Some(found) = scan.next()? {
            if let Found::Record { header, .. } = found
                && header.kind == Kind::Publish
                && header.id >= id
            {
                return Ok(id..header.id.min(end));
            }
        }
        Ok(id..end)
    }
}

/// Where a segment ends and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) number: u64,
    /// Bytes of its file.
    pub(crate) size: u64,
    /// Places in the whole log.
    pub(crate) base: u64,
    pub(crate) end: u64,
    /// What was published here; nothing if they are equal.
    pub(crate) first: u64,
    pub(crate) next: u64,
    /// Messages that lie here, moved ones included, done or not, and their bytes.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// When the newest of them was published, at the latest.
    pub(crate) time: u64,
}

impl<F> Table<F> {
    /// Looks for a message in what is kept in memory. Where groups lie otherwise than by
    /// the numbers in them, as for a moment while the log goes on in another file, it is
    /// not found, and read from there.
    fn in_memory(&self, number: u64, index: &Index, id: u64) -> Option<(Stored, Held)> {
        // Who keeps up looks for the newest.
        let newest = self.tail.back().filter(|kept| kept.first <= id);
        let before = || {
            let place = self.tail.partition_point(|kept| kept.first <= id);
            self.tail.get(place.checked_sub(1)?)
        };
        let Kept { chunk, time, .. } = newest.or_else(before)?;
        if chunk.segment != number {
            return None;
        }
        let (mut at, mut time) = (0, *time);
        // A large one has places in it that are noted.
        if chunk.bytes.len() > LARGE
            && let Some((start, noted)) = index.start(id)
            && let Some(within) = start.checked_sub(chunk.offset)
        {
            (at, time) = (within as usize, noted);
        }
        let mut held = Held::new(chunk.clone(), at, time);
        let stored = held.read(id)?;
        Some((stored, held))
    }
}

enum Place<F> {
    Memory(Stored),
    File(InFile<F>),
}

pub(super) struct InFile<F> {
    pub(super) file: Arc<F>,
    number: u64,
    pub(super) salt: u64,
    /// At or before the message.
    pub(super) start: u64,
    pub(super) end: u64,
    /// That of messages at its start, or [`UNKNOWN`].
    time: u64,
    /// The number at the start; if that is far away, a place behind the message.
    low: u64,
    high: Option<Mark>,
}

/// The part of a segment that its reader reads next, most likely.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    segment: u64,
    at: u64,
    window: Vec<u8>,
    /// Segment and number of the message behind the one read last, and the offset and
    /// time there.
    next: (u64, u64),
    next_at: (u64, u64),
    /// Where the next message may be in memory.
    pub(super) held: Option<Held>,
}

const WINDOW: u64 = 128 << 10;
const FIRST_WINDOW: u64 = 8 << 10;
/// Bytes of a group that are not gone through from the first.
const LARGE: usize = 1 << 10;

impl ReadAhead {
    /// Keeps nothing in memory but a window of its own.
    pub(crate) fn let_go(&mut self) {
        self.held = None;
    }

    /// Goes from record to record; headers and the payload wanted are checked.
    fn walk<F: DiskFile>(&mut self, place: &InFile<F>, id: u64) -> Result<Stored, ReadError> {
        let (mut at, mut tally) = (place.start, Tally::at(place.time));
        while at + RECORD_HEADER as u64 <= place.end {
            let bytes = self.bytes(place, at, RECORD_HEADER)?;
            let room = place.end - at;
            let header =
                RecordHeader::verify(bytes, place.salt, at, room).ok_or(ReadError::Lost)?;
            let next = at + header.size();
            if header.kind == Kind::Publish && header.id >= id {
                if header.id > id {
                    return Err(ReadError::Lost);
                }
                let len = header.len as usize;
                let payload = self.bytes(place, at + RECORD_HEADER as u64, len)?;
                if !is_payload_of(&header, payload) {
                    return Err(ReadError::Lost);
                }
                let bytes = Bytes::copy_from_slice(payload);
                let time = tally.time;
                self.next = (place.number, id + 1);
                self.next_at = (next, time);
                return Ok(Stored {
                    header,
                    bytes,
                    time,
                });
            }
            if header.kind == Kind::Sync {
                let payload = at + RECORD_HEADER as u64;
                tally.see(&header, self.bytes(place, payload, header.len as usize)?);
            }
            at = next;
        }
        Err(ReadError::Lost)
    }

    pub(super) fn bytes<F: DiskFile>(
        &mut self,
        place: &InFile<F>,
        at: u64,
        len: usize,
    ) -> Result<&[u8], ReadError> {
        let held = self.segment == place.number
            && self.at <= at
            && at + len as u64 <= self.at + self.window.len() as u64;
        if !held {
            // Who goes on where it was reads far ahead, who jumps does not.
            let goes_on = self.segment == place.number
                && (self.at..=self.at + self.window.len() as u64).contains(&at);
            let ahead = if goes_on { WINDOW } else { FIRST_WINDOW };
            let wanted = ahead.max(len as u64).min(place.end - at) as usize;
            if wanted < len {
                return Err(ReadError::Lost);
            }
            self.segment = 0;
            self.window.resize(wanted, 0);
            let read = place.file.read_full_at(&mut self.window, at);
            let read = read.map_err(ReadError::Io)?;
            self.window.truncate(read);
            (self.segment, self.at) = (place.number, at);
            if read < len {
                return Err(ReadError::Lost);
            }
        }
        let start = (at - self.at) as usize;
        Ok(&self.window[start..start + len])
    }
}

/// Looks for a message behind damage.
fn search<F: DiskFile>(place: &InFile<F>, id: u64) -> Result<Stored, ReadError> {
    let mut scan = Scan::new(&*place.file, place.salt, place.start, place.end, place.end);
    let mut tally = Tally::at(place.time);
    while let Some(found) = scan.next().map_err(ReadError::Io)? {
        if let Found::Record {
            header, payload, ..
        } = found
        {
            tally.see(&header, payload);
            if header.kind == Kind::Publish && header.id >= id {
                if header.id > id {
                    break;
                }
                return Ok(Stored {
                    header,
                    bytes: Bytes::copy_from_slice(payload),
                    time: tally.time,
                });
            }
        }
    }
    Err(ReadError::Lost)
}

/// The records in bytes of this process, with where each begins.
pub(super) fn records(bytes: &[u8]) -> impl Iterator<Item = (usize, RecordHeader)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = RecordHeader::decode(bytes.get(at..)?)?;
        let start = at;
        at += header.size() as usize;
        Some((start, header))
    })
}

/// Reads a header from the front of a file, or its copy from the back.
pub(super) fn read_header<F: DiskFile>(file: &F) -> io::Result<Result<SegmentHeader, BadHeader>> {
    let mut bytes = [0; 512];
    let read = file.read_full_at(&mut bytes, 0)?;
    let first = SegmentHeader::decode(&bytes[..read]);
    if first != Err(BadHeader::Damaged) {
        return Ok(first);
    }
    let Some(copy) = (file.size()? / PAGE).checked_sub(1) else {
        return Ok(first);
    };
    let read = file.read_full_at(&mut bytes, copy * PAGE)?;
    Ok(SegmentHeader::decode(&bytes[..read]))
}
