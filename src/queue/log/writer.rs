//! The end of the log: where groups are written, how segments follow each other,
//! and what happens when a disk refuses.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::commit::{Failed, Group, Wanted, Written};
use super::format::{
    BEGIN, END, Kind, PAGE, RECORD_HEADER, RecordHeader, SegmentHeader, SyncPoint, record_size,
    seal,
};
use super::index::Index;
use super::moved::Tally;
use super::segments::{Chunk, Segment, Segments, records};
use super::unsynced::Unsynced;
use super::wall::Wall;
use crate::queue::storage::{Disk, DiskFile};
use crate::rng::{Rng, mix};

/// What a writer is told once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The size of the first segment, and of the largest.
    pub(super) smallest: u64,
    pub(super) largest: u64,
    /// So much of what was written without a sync is kept in memory.
    pub(super) undurable: u64,
}

pub(super) struct Writer<D: Disk> {
    pub(super) disk: Arc<D>,
    pub(super) limits: Limits,
    pub(super) uuid: u128,
    pub(super) rng: Rng,
    pub(super) wall: Wall,
    pub(super) segments: Arc<Segments<D::File>>,
    pub(super) current: Current<D::File>,
    /// The number of the next message behind all that was written: that of the last one
    /// and one more, except where numbers were skipped.
    pub(super) next_id: u64,
    pub(super) next_number: u64,
    /// What was written since the last sync, to be written elsewhere if one fails.
    pub(super) unsynced: Unsynced,
    /// The next segment, as far as it is prepared.
    pub(super) spare: Option<Spare<D::File>>,
    /// Files that were segments, and their sizes.
    pub(super) pool: Vec<(String, u64)>,
    pub(super) failed: Option<Failed>,
    pub(super) failovers: u64,
}

/// The segment at the end of the log.
pub(super) struct Current<F> {
    pub(super) file: Arc<F>,
    pub(super) header: SegmentHeader,
    /// Where the next record goes.
    pub(super) at: u64,
    /// Up to where it is durable.
    pub(super) durable: u64,
    /// How far the last sync point says that the log is durable.
    pub(super) told: u64,
    /// The time that the last sync point says.
    pub(super) time: u64,
    /// The same of what comes behind the durable part.
    pub(super) durable_time: u64,
}

/// A file without a place in the log: zeros, or what it held before.
pub(super) struct Spare<F> {
    pub(super) name: String,
    pub(super) file: F,
    pub(super) size: u64,
    /// Up to where there is something on the disk.
    pub(super) filled: u64,
}

/// Bytes left free at the front of a group for a sync point.
pub(super) const FRONT: usize = SyncPoint::SIZE as usize;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// How many times what is kept in memory may be written without a sync: it takes as much
/// memory, for a moment, when one fails.
const UNSYNCED: u64 = 16;
/// Files that are kept for later.
const POOL: usize = 2;
/// Those of them that are for the next opening: it removes them first of all.
pub(super) const KEPT: usize = 1;
/// Times change that much before a sync point says so.
const TICK: u64 = 1;

impl<F> Current<F> {
    fn left(&self) -> u64 {
        self.header.limit() - self.at
    }
}

impl<D: Disk> Writer<D> {
    pub(super) fn write(&mut self, group: Group) -> Result<Written, Failed> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let len = group.bytes.len() as u64;
        let (wanted, next_id) = (group.wanted, group.next_id);
        self.place(group).map_err(|error| self.fail(error))?;
        self.next_id = next_id;
        self.prepare(len);
        if let Some(wanted) = wanted {
            self.make_room(wanted);
        }
        Ok(self.room())
    }

    fn fail(&mut self, error: io::Error) -> Failed {
        let failed = Failed(Arc::new(error));
        self.failed = Some(failed.clone());
        failed
    }

    /// Writes the group, a piece per segment.
    fn place(&mut self, group: Group) -> io::Result<()> {
        if !group.bytes.is_empty() {
            let mut rest = group.bytes;
            // Where `rest` begins in the group, and what of it is not to be written.
            let mut begun = 0;
            let mut skip = self.begin_group(&mut rest);
            let mut fits = FRONT;
            // Those that only asked for room end before the front does.
            for end in group.ends.into_iter().filter(|end| *end > FRONT) {
                let left = self.current.left();
                if (end - begun - skip) as u64 > left {
                    if fits > begun + skip {
                        let tail = rest.split_off(fits - begun);
                        self.append(std::mem::replace(&mut rest, tail), skip)?;
                        (begun, skip) = (fits, 0);
                    }
                    let len = (end - begun - skip) as u64;
                    if len > self.current.left() {
                        self.roll(len, first_id(&rest[skip..]))?;
                    }
                }
                fits = end;
            }
            self.append(rest, skip)?;
        }
        let most = self.limits.undurable.saturating_mul(UNSYNCED);
        if group.sync || self.undurable_bytes() >= most {
            return self.sync();
        }
        // Nobody waits for it: where it was written it can be read again.
        self.unsynced.shrink(self.limits.undurable);
        Ok(())
    }

    /// Writes a sync point into the front of the group, if there is anything to say.
    /// How many bytes of the front are not needed.
    fn begin_group(&mut self, bytes: &mut [u8]) -> usize {
        let time = self.wall.now();
        let current = &mut self.current;
        let durable = current.header.base + current.durable;
        let has_news = durable > current.told || time >= current.time + TICK;
        if !has_news || current.left() < FRONT as u64 {
            return FRONT;
        }
        let id = first_id(&bytes[FRONT..]);
        let (point, place) = (
            SyncPoint { durable, time },
            current.header.base + current.at,
        );
        bytes[..FRONT].copy_from_slice(&sync_record(point, id, place));
        (current.told, current.time) = (durable, time);
        0
    }

    /// Writes records at the end of the current segment, where they fit.
    fn append(&mut self, mut piece: Vec<u8>, skip: usize) -> io::Result<()> {
        let offset = self.current.at;
        seal_all(&mut piece[skip..], self.current.header.salt, offset);
        let written = self.current.file.write_all_at(&piece[skip..], offset);
        if let Err(error) = written {
            return self.fail_over(&piece[skip..], error);
        }
        let chunk = Chunk {
            segment: self.current.header.number,
            offset,
            bytes: Bytes::from(piece).slice(skip..),
        };
        self.current.at += chunk.bytes.len() as u64;
        self.unsynced.push(chunk.clone());
        self.segments.wrote(chunk);
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        match self.current.file.sync() {
            Ok(()) => {
                self.current.durable = self.current.at;
                self.current.durable_time = self.current.time;
                self.unsynced.clear();
                Ok(())
            }
            Err(error) => self.fail_over(&[], error),
        }
    }

    /// Writes a sync point of its own and makes it last: all before it is vouched for.
    pub(super) fn close(&mut self, next_id: u64) -> io::Result<()> {
        self.sync()?;
        // The first is written over; of the second only the number counts.
        let blank = SyncPoint {
            durable: 0,
            time: 0,
        };
        let mut bytes = sync_record(blank, next_id, 0).repeat(2);
        if self.begin_group(&mut bytes) == 0 {
            bytes.truncate(FRONT);
            self.append(bytes, 0)?;
            self.sync()?;
        }
        Ok(())
    }

    /// The place in the log where the next record goes.
    pub(super) fn end(&self) -> u64 {
        self.current.header.base + self.current.at
    }

    fn undurable_bytes(&self) -> u64 {
        self.current.at - self.current.durable
    }

    /// Goes on in the next segment. This one is made durable first, so that there is
    /// never a hole before what is.
    fn roll(&mut self, len: u64, first_id: u64) -> io::Result<()> {
        self.sync()?;
        // That may have gone on in another already.
        if len > self.current.left() {
            let end = self.current.at;
            self.begin_segment(end, Vec::new(), first_id, len)?;
        }
        Ok(())
    }

    /// Gives up what the current segment has behind its durable end, and writes it to
    /// a new one. What a failed sync left behind is not known and never asked again: what
    /// is not in memory any more has to be found there with its checksums, all of it, or
    /// the log ends here. So nobody is told that something lasts which was left out.
    fn fail_over(&mut self, more: &[u8], cause: io::Error) -> io::Result<()> {
        self.failovers += 1;
        let (number, durable) = (self.current.header.number, self.current.durable);
        let (file, salt) = (&*self.current.file, self.current.header.salt);
        let carried = self.unsynced.collect(file, salt, durable);
        let Ok(mut carried) = carried else {
            return Err(cause);
        };
        carried.extend_from_slice(more);
        let first = first_id(&carried);
        self.begin_segment(durable, carried, first, 0)
            .map_err(|_| cause)?;
        self.segments.cut(number, durable);
        Ok(())
    }

    /// Makes a new segment the current one. It takes the place of what the old one has
    /// behind `end`, and has its name once it lasts with all that it carries.
    fn begin_segment(
        &mut self,
        end: u64,
        carried: Vec<u8>,
        first_id: u64,
        len: u64,
    ) -> io::Result<()> {
        let previous = self.current.header;
        let needed = len + carried.len() as u64;
        let size = (previous.size * 2).min(self.limits.largest);
        let mut seed = Seed {
            previous: previous.number,
            previous_end: previous.base + end,
            base: previous.base + previous.size,
            first_id,
            carried,
        };
        self.prepare_whole(needed, size)?;
        let first_try = self.install(&mut seed);
        let (current, chunk) = if let Ok(installed) = first_try {
            installed
        } else {
            self.prepare_whole(needed, size)?;
            self.install(&mut seed)?
        };
        self.unsynced.clear();
        self.segments.add(Segment {
            file: Arc::clone(&current.file),
            header: current.header,
            end: current.at,
            index: Index::new(),
            tally: Tally::default(),
        });
        self.segments.wrote(chunk);
        self.current = current;
        Ok(())
    }

    /// Makes a segment of the spare file.
    fn install(&mut self, seed: &mut Seed) -> io::Result<(Current<D::File>, Chunk)> {
        let spare = self.spare.take().ok_or(io::ErrorKind::StorageFull)?;
        let number = self.next_number;
        // A number is never used twice, whatever became of it.
        self.next_number += 1;
        let salt = self.rng.next_u64();
        // What is carried over is as old as it was.
        let time = if seed.carried.is_empty() {
            self.wall.now()
        } else {
            self.current.durable_time
        };
        let installed = seed.install(&*self.disk, &spare, self.uuid, number, salt, time);
        match installed {
            Ok((header, chunk)) => {
                let at = chunk.offset + chunk.bytes.len() as u64;
                let current = Current {
                    file: Arc::new(spare.file),
                    header,
                    at,
                    durable: at,
                    told: seed.previous_end,
                    time,
                    durable_time: time,
                };
                Ok((current, chunk))
            }
            Err(error) => {
                // If it has its name nevertheless, it has its own place in the log.
                seed.base += spare.size;
                let _ = self.disk.remove(&spare.name);
                Err(error)
            }
        }
    }

    /// Prepares the next segment a little, in step with what is written, so that no
    /// call pays for all of it.
    fn prepare(&mut self, written: u64) {
        let size = self.current.header.size;
        if self.current.at < size / 4 {
            return;
        }
        if self.spare.is_none() {
            let size = (size * 2).min(self.limits.largest);
            self.spare = self
                .take_pooled(size)
                .or_else(|| self.create_spare(size).ok());
        }
        if let Some(mut spare) = self.spare.take() {
            let step = (written * 4).max(64 << 10);
            if spare.fill(step).is_ok() {
                self.spare = Some(spare);
            } else {
                let _ = self.disk.remove(&spare.name);
            }
        }
    }

    /// Sees to it that there is a spare file with room for so many bytes of records.
    pub(super) fn prepare_whole(&mut self, needed: u64, size: u64) -> io::Result<()> {
        let least = (needed + 2 * PAGE + FRONT as u64).next_multiple_of(PAGE);
        let mut result = Ok(());
        for size in [size.max(least), self.limits.smallest.max(least)] {
            let spare = match self.spare.take() {
                Some(spare) if spare.size >= least => Ok(spare),
                other => {
                    if let Some(small) = other {
                        self.give_back(small.name, small.size, small.filled);
                    }
                    match self.take_pooled(least) {
                        Some(spare) => Ok(spare),
                        None => self.create_spare(size),
                    }
                }
            };
            result = spare.and_then(|mut spare| {
                let filled = spare.fill(spare.size);
                match filled {
                    Ok(()) => self.spare = Some(spare),
                    Err(_) => drop(self.disk.remove(&spare.name)),
                }
                filled
            });
            match &result {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                _ => break,
            }
        }
        result
    }

    /// Sees to it that this many bytes can be staged, if that is possible.
    fn make_room(&mut self, wanted: Wanted) {
        let room = self.room();
        let room = if wanted.hard {
            room.hard_room
        } else {
            room.room
        };
        if room < wanted.bytes {
            let size = (self.current.header.size * 2).min(self.limits.largest);
            // More than that, so that acks have room when there is none left. Whether
            // it came to be is seen by the room there is.
            let needed = wanted.bytes + wanted.bytes / 2 + PAGE;
            let _ = self.prepare_whole(needed, size);
        }
    }

    pub(super) fn room(&self) -> Written {
        let (left, size) = (self.current.left(), self.current.header.size);
        let spare = self
            .spare
            .as_ref()
            .filter(|spare| spare.filled >= spare.size);
        let (room, hard_room) = match spare {
            None => (left.saturating_sub(reserve(size)), left),
            Some(spare) => {
                let next = spare.size - 2 * PAGE - FRONT as u64;
                let after = next.saturating_sub(reserve(spare.size));
                (left.max(after), left.max(next))
            }
        };
        // A sync point may stand before each group.
        Written {
            synced: self.unsynced.is_empty(),
            room: room.saturating_sub(FRONT as u64),
            hard_room: hard_room.saturating_sub(FRONT as u64),
        }
    }

    /// Takes room for the next opening, which needs some on a disk that is full by then,
    /// unless it has some.
    pub(super) fn reserve(&mut self) {
        if self.pool.is_empty()
            && let Ok(mut spare) = self.create_spare(self.limits.smallest)
        {
            // What fits is better than nothing.
            let _ = spare.fill(spare.size);
            self.give_back(spare.name, spare.filled, spare.filled);
        }
    }

    fn take_pooled(&mut self, least: u64) -> Option<Spare<D::File>> {
        while self.pool.len() > KEPT
            && let Some(index) = self.pool.iter().position(|(_, size)| *size >= least)
        {
            let (name, size) = self.pool.swap_remove(index);
            if let Ok(file) = self.disk.open(&name) {
                return Some(Spare {
                    name,
                    file,
                    size,
                    filled: size,
                });
            }
        }
        None
    }

    fn create_spare(&mut self, size: u64) -> io::Result<Spare<D::File>> {
        let name = format!(
            "{:012}-{:08x}.spare",
            self.next_number,
            self.rng.next_u64() as u32
        );
        let file = self.disk.create(&name)?;
        Ok(Spare {
            name,
            file,
            size,
            filled: 0,
        })
    }

    /// Keeps a file for later, or removes it.
    pub(super) fn give_back(&mut self, name: String, size: u64, filled: u64) {
        if size > 0 && filled >= size && self.pool.len() < POOL {
            self.pool.push((name, size));
        } else {
            let _ = self.disk.remove(&name);
        }
    }
}

/// What a new segment begins with.
pub(super) struct Seed {
    pub(super) previous: u64,
    pub(super) previous_end: u64,
    pub(super) base: u64,
    pub(super) first_id: u64,
    /// Records to be written to it, without right checksums.
    pub(super) carried: Vec<u8>,
}

impl Seed {
    /// Writes it into a file of zeros or old bytes, and names it as a segment once all
    /// of it lasts.
    pub(super) fn install<D: Disk>(
        &mut self,
        disk: &D,
        spare: &Spare<D::File>,
        uuid: u128,
        number: u64,
        salt: u64,
        time: u64,
    ) -> io::Result<(SegmentHeader, Chunk)> {
        // The file may have been a segment before, of an opening that drew the same.
        let salt = mix(salt ^ mix(number));
        let header = SegmentHeader {
            uuid,
            number,
            salt,
            base: self.base,
            first_id: self.first_id,
            size: spare.size,
            previous: self.previous,
            previous_end: self.previous_end,
            only_read: 0,
        };
        if !header.is_sane() {
            return Err(io::Error::other("the log has no places left"));
        }
        let bytes = header.encode();
        spare.file.write_all_at(&bytes, 0)?;
        spare.file.write_all_at(&bytes, header.limit())?;
        let point = SyncPoint {
            durable: self.previous_end,
            time,
        };
        let mut records = sync_record(point, self.first_id, self.base + PAGE).to_vec();
        records.extend_from_slice(&self.carried);
        seal_all(&mut records, salt, PAGE);
        spare.file.write_all_at(&records, PAGE)?;
        spare.file.sync()?;
        let name = segment_name(number);
        disk.rename(&spare.name, &name)?;
        if let Err(error) = disk.sync_dir() {
            // Whoever begins another in its place says nothing of where this one ends.
            let _ = disk.remove(&name).and_then(|()| disk.sync_dir());
            return Err(error);
        }
        let chunk = Chunk {
            segment: number,
            offset: PAGE,
            bytes: records.into(),
        };
        Ok((header, chunk))
    }
}

impl<F: DiskFile> Spare<F> {
    /// Writes more zeros, so that writing records changes no metadata and fails for
    /// want of room here and not there.
    pub(super) fn fill(&mut self, bytes: u64) -> io::Result<()> {
        let end = (self.filled + bytes).min(self.size);
        while self.filled < end {
            let step = (end - self.filled).min(ZEROS.len() as u64) as usize;
            self.file.write_all_at(&ZEROS[..step], self.filled)?;
            self.filled += step as u64;
        }
        Ok(())
    }
}

/// What publishers leave free of a segment while there is no next one: room for acks.
fn reserve(size: u64) -> u64 {
    ((size - 2 * PAGE) / 4).min(4 << 20)
}

/// The largest batch that fits into a segment of this size beside that.
pub(super) fn largest_batch(size: u64) -> u64 {
    size - 2 * PAGE - reserve(size) - 4 * FRONT as u64
}

/// A sync point at this place, without right checksum.
pub(super) fn sync_record(point: SyncPoint, id: u64, place: u64) -> [u8; FRONT] {
    let payload = point.encode(place);
    let mut header = RecordHeader::new(Kind::Sync, BEGIN | END, 0, &payload);
    header.id = id;
    let mut bytes = [0; FRONT];
    bytes[..RECORD_HEADER].copy_from_slice(&header.encode());
    bytes[RECORD_HEADER..].copy_from_slice(&payload);
    bytes
}

/// Writes the checksums of records that will lie one after the other from here on.
fn seal_all(bytes: &mut [u8], salt: u64, offset: u64) {
    let mut at = 0;
    while let Some(header) = bytes.get(at..).and_then(RecordHeader::decode) {
        seal(&mut bytes[at..], salt, offset + at as u64);
        at += record_size(header.len as usize) as usize;
    }
}

/// The number of the first record's message, or of the next one.
fn first_id(bytes: &[u8]) -> u64 {
    records(bytes).next().map_or(0, |(_, header)| header.id)
}

pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:012}.segment")
}
