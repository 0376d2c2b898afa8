//! What a log amounts to after whatever happened to it.
//!
//! All segments but the last are *vouched for*: whoever began the next one had made
//! them durable first, and said where they end. Of the last one the newest sync point
//! vouches for what lies before the place that it names. There a hole is damage by
//! the medium: it costs what lay in it, and is reported.
//!
//! Behind that place lies what the last group left, or several that nobody synced:
//! any of it may be missing. Batches that are whole are kept, others dropped; and
//! since nobody knows what of it is on the platter, all that is kept is written again,
//! to a new segment that says where the old one ends. So nothing is ever appended
//! behind a torn tail, and nothing is delivered that a second crash can take back.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::checkpoint::{self, Checkpoint};
use super::course::{Course, JUMP, with_skips};
use super::format::{
    BEGIN, BadHeader, END, Kind, Origin, PAGE, RecordHeader, SegmentHeader, SyncPoint,
};
use super::index::Index;
use super::moved::Tally;
use super::report::{Damage, DamageKind, Recovery};
use super::scan::{Found, Scan};
use super::segments::{Segment, Segments, read_header, records};
use super::unsynced::Unsynced;
use super::wall::Wall;
use super::writer::{Current, Limits, Seed, Spare, Writer, segment_name};
use super::{Replay, Replayed};
use crate::queue::error::OpenError;
use crate::queue::storage::{Disk, DiskFile};
use crate::rng::Rng;

/// Reads a directory and begins a new segment in it.
pub(super) struct Opening<'a, D: Disk> {
    pub(super) disk: Arc<D>,
    pub(super) limits: Limits,
    pub(super) wall: Wall,
    pub(super) rng: Rng,
    pub(super) segments: Arc<Segments<D::File>>,
    pub(super) replay: &'a mut dyn Replay,
    /// What it writes goes nowhere.
    pub(super) only_reads: bool,
}

/// What an opening found, beside the writer.
pub(super) struct Opened<D: Disk> {
    pub(super) writer: Writer<D>,
    pub(super) next_id: u64,
    /// Places of the checkpoints there are, older first.
    pub(super) checkpoints: Vec<u64>,
    pub(super) report: Recovery,
}

/// A segment as its header describes it.
struct Known<F> {
    file: Arc<F>,
    header: SegmentHeader,
    size: u64,
}

impl<D: Disk> Opening<'_, D> {
    pub(super) fn run(mut self) -> Result<Opened<D>, OpenError> {
        let names = self.disk.list()?;
        for name in &names {
            if name.strip_suffix(".spare").is_some() || checkpoint::is_temporary(name) {
                self.disk.remove(name)?;
            }
        }
        let mut course = Course::new();
        let known = self.read_headers(&names, &mut course)?;
        let uuid = known.values().next().map(|known| known.header.uuid);
        let (checkpoint, checkpoints) = self.read_checkpoints(&names, &known, uuid, &mut course)?;
        let uuid = uuid.or(checkpoint.as_ref().map(|c| c.uuid));
        let uuid = uuid.unwrap_or_else(|| {
            u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64())
        });
        let from = checkpoint.as_ref().map_or(0, |checkpoint| {
            (course.next_id, course.time) = (checkpoint.next_id, checkpoint.time);
            checkpoint.place
        });
        if let Some(checkpoint) = &checkpoint {
            self.replay.restore(&checkpoint.body);
            for (id, place) in &checkpoint.moved {
                // Where a file was set aside, the first copy may be there.
                let is_there = |known: &Known<_>| known.header.has(*place);
                if known.values().any(is_there) {
                    self.segments.moved.note(*id, *place);
                }
            }
        }

        let ends = ends(&known, checkpoint.as_ref());
        let last = known.keys().next_back().copied();
        let mut carried = Vec::new();
        let mut end_of_last = 0;
        for (number, segment) in &known {
            let end = if Some(*number) == last {
                // A checkpoint is made of what is durable.
                let covered = from
                    .saturating_sub(segment.header.base)
                    .min(segment.header.limit());
                end_of_last = Self::vouched(segment, covered)?;
                end_of_last
            } else {
                ends.get(number).copied().unwrap_or(segment.header.limit())
            };
            self.read_segment(segment, end, from, checkpoint.as_ref(), &mut course)?;
            if Some(*number) == last {
                self.read_tail(segment, end, &mut carried, &mut course)?;
            }
        }
        self.begin(uuid, &known, end_of_last, &carried, checkpoints, course)
    }

    fn read_headers(
        &mut self,
        names: &[String],
        course: &mut Course,
    ) -> Result<BTreeMap<u64, Known<D::File>>, OpenError> {
        let mut known = BTreeMap::new();
        let mut uuid = None;
        let mut set_aside = false;
        for name in names {
            let Some(number) = number_of(name) else {
                continue;
            };
            let file = self.disk.open(name)?;
            let size = file.size()?;
            let header = match read_header(&file)? {
                Ok(header) if header.only_read != 0 && !self.only_reads => {
                    return Err(OpenError::OnlyReadable {
                        file: name.clone(),
                        features: header.only_read,
                    });
                }
                Ok(header) if header.number == number => header,
                Err(BadHeader::Unknown { features }) => {
                    return Err(OpenError::Newer {
                        file: name.clone(),
                        features,
                    });
                }
                // A file without a header is no segment any more, and is kept.
                Ok(_) | Err(BadHeader::Damaged) => {
                    let saved = format!("{name}.damaged");
                    self.disk.rename(name, &saved)?;
                    set_aside = true;
                    course.report.damage.push(Damage {
                        segment: number,
                        bytes: 0..size,
                        kind: DamageKind::Header,
                        messages: 0..0,
                        saved: Some(saved),
                    });
                    continue;
                }
            };
            if *uuid.get_or_insert(header.uuid) != header.uuid {
                return Err(OpenError::Foreign { file: name.clone() });
            }
            let limit = header.limit();
            if size < header.size {
                // A file is named once it has its whole size.
                let kind = DamageKind::Truncated;
                course.report.damage.push(Damage {
                    kind,
                    ..Damage::record(number, size..header.size)
                });
            }
            let segment = Known {
                file: Arc::new(file),
                header,
                size: size.min(limit),
            };
            known.insert(number, segment);
        }
        if set_aside {
            self.disk.sync_dir()?;
        }
        Ok(known)
    }

    /// The newest checkpoint that fits the log, and the places of all.
    fn read_checkpoints(
        &mut self,
        names: &[String],
        known: &BTreeMap<u64, Known<D::File>>,
        uuid: Option<u128>,
        course: &mut Course,
    ) -> Result<(Option<Checkpoint>, Vec<u64>), OpenError> {
        let mut found: Vec<(u64, Checkpoint)> = Vec::new();
        // It must speak of this log, and not of more than there is.
        let end = |known: &Known<D::File>| known.header.base + known.header.size;
        let reach = known.values().map(end).max().unwrap_or(0);
        for name in names {
            let Some(place) = checkpoint::place_of(name) else {
                continue;
            };
            let fits = |checkpoint: &Checkpoint| {
                checkpoint.place == place
                    && uuid.is_none_or(|uuid| uuid == checkpoint.uuid)
                    && place <= reach
            };
            if let Some(checkpoint) = Checkpoint::load(&*self.disk, name)?.filter(fits) {
                found.push((place, checkpoint));
            } else {
                // The log may grow beyond its place, and it would seem to speak of that.
                self.disk.rename(name, &format!("{name}.damaged"))?;
                course.report.checkpoints_lost += 1;
            }
        }
        if course.report.checkpoints_lost > 0 {
            self.disk.sync_dir()?;
        }
        found.sort_by_key(|(place, _)| *place);
        let places = found.iter().map(|(place, _)| *place).collect();
        Ok((found.pop().map(|(_, checkpoint)| checkpoint), places))
    }

    /// Where the part of the last segment ends that is known to have been durable, if
    /// all up to the offset `covered` is.
    fn vouched(segment: &Known<D::File>, covered: u64) -> Result<u64, OpenError> {
        let header = &segment.header;
        let covered = covered.max(PAGE);
        // It had its first record before it had its name.
        let mut durable = header.base + covered.max(PAGE + SyncPoint::SIZE);
        let mut scan = Scan::new(
            &*segment.file,
            header.salt,
            covered,
            header.limit(),
            segment.size,
        );
        while let Some(found) = scan.next()? {
            if let Found::Record {
                offset,
                header: record,
                payload,
                ..
            } = found
                && record.kind == Kind::Sync
                && let Some(point) = SyncPoint::decode(payload, header.base + offset)
            {
                durable = durable.max(point.durable);
            }
        }
        Ok(durable - header.base)
    }

    /// Replays a segment up to its vouched end, from a checkpoint on.
    fn read_segment(
        &mut self,
        segment: &Known<D::File>,
        end: u64,
        from: u64,
        checkpoint: Option<&Checkpoint>,
        course: &mut Course,
    ) -> Result<(), OpenError> {
        let header = &segment.header;
        let covered = header.base + end <= from;
        let extents = checkpoint.iter().flat_map(|c| &c.segments);
        let extent = extents
            .clone()
            .find(|extent| extent.number == header.number);
        if covered && let Some(extent) = extent {
            self.segments.add(Segment {
                file: Arc::clone(&segment.file),
                header: *header,
                end,
                index: Index::unread(extent.first, extent.next, end),
                tally: Tally::of(extent),
            });
            return Ok(());
        }
        // What the checkpoint covers of it needs not be read, however much it is.
        let place = from.saturating_sub(header.base).max(PAGE);
        let (start, mut index, mut tally) = match extent {
            Some(extent) if place > PAGE => (
                place,
                Index::unread(extent.first, extent.next, place),
                Tally::of(extent),
            ),
            _ => (PAGE, Index::new(), Tally::default()),
        };
        if checkpoint.is_none() && !course.has_begun {
            // Messages of segments that were given up are done, or were moved.
            course.has_begun = true;
            course.absent.skip(course.next_id..header.first_id);
            course.next_id = course.next_id.max(header.first_id);
        } else if header.base + PAGE > from {
            course.reach(header.first_id, true);
        }
        let mut scan = Scan::new(&*segment.file, header.salt, start, end, segment.size);
        let mut damage = Vec::new();
        while let Some(found) = scan.next()? {
            match found {
                Found::Record {
                    offset,
                    header: record,
                    payload,
                    ..
                } => {
                    tally.see(&record, payload);
                    if header.base + offset >= from && course.follow(&record) {
                        if let Some(origin) = moved(&record, payload) {
                            let place = header.base + offset;
                            self.segments.moved.note(origin.id, place);
                        }
                        self.deliver(&record, payload, course);
                    }
                    // What nobody is told of is not found either.
                    if record.kind == Kind::Publish && record.id < course.next_id {
                        index.note(record.id, offset, tally.time);
                    }
                }
                Found::Hole { from: start, to } if header.base + to > from => {
                    course.open = Some(course.report.damage.len());
                    damage.push((start, to));
                    course
                        .report
                        .damage
                        .push(Damage::record(header.number, start..to));
                }
                Found::Tail { from: start, .. } if header.base + end > from => {
                    course.open = Some(course.report.damage.len());
                    damage.push((start, end));
                    course
                        .report
                        .damage
                        .push(Damage::record(header.number, start..end));
                }
                Found::Hole { .. } | Found::Tail { .. } => {}
            }
        }
        let first = course.report.damage.len() - damage.len();
        for (place, (start, to)) in damage.into_iter().enumerate() {
            let saved = self.save(segment, start, to);
            course.report.damage[first + place].saved = saved;
        }
        self.segments.add(Segment {
            file: Arc::clone(&segment.file),
            header: *header,
            end,
            index,
            tally,
        });
        Ok(())
    }

    /// Collects what lies behind the vouched end in whole batches.
    fn read_tail(
        &mut self,
        segment: &Known<D::File>,
        from: u64,
        carried: &mut Vec<u8>,
        course: &mut Course,
    ) -> Result<(), OpenError> {
        let mut scan = Scan::new(
            &*segment.file,
            segment.header.salt,
            from,
            segment.header.limit(),
            segment.size,
        );
        // Where the batch under way begins, if its beginning was there.
        let mut batch: Option<usize> = None;
        let mut dropped = 0;
        let mut torn = None;
        while let Some(found) = scan.next()? {
            match found {
                Found::Record {
                    offset,
                    header,
                    bytes,
                    ..
                } => {
                    if header.flags & BEGIN != 0 {
                        if let Some(begun) = batch {
                            dropped += carried.len() - begun;
                            carried.truncate(begun);
                        }
                        batch = Some(carried.len());
                    }
                    if batch.is_none() {
                        torn.get_or_insert(offset);
                        dropped += bytes.len();
                        continue;
                    }
                    carried.extend_from_slice(bytes);
                    if header.flags & END != 0 {
                        batch = None;
                    }
                }
                Found::Hole { from, to } => {
                    torn.get_or_insert(from);
                    dropped += (to - from) as usize;
                    if let Some(begun) = batch.take() {
                        dropped += carried.len() - begun;
                        carried.truncate(begun);
                    }
                }
                // A file that was used before has old bytes here: they say nothing.
                Found::Tail { from, written } => {
                    if written {
                        torn.get_or_insert(from);
                    }
                }
            }
        }
        if let Some(begun) = batch {
            dropped += carried.len() - begun;
            carried.truncate(begun);
        }
        if let Some(start) = torn {
            let saved = if dropped > 0 {
                self.save(segment, start, (start + dropped as u64).min(segment.size))
            } else {
                None
            };
            course.report.torn = Some(Damage {
                segment: segment.header.number,
                bytes: start..start + dropped as u64,
                kind: DamageKind::Torn,
                messages: 0..0,
                saved,
            });
        }
        Ok(())
    }

    fn deliver(&mut self, record: &RecordHeader, payload: &[u8], course: &mut Course) {
        if record.kind == Kind::Sync
            && let Some(time) = SyncPoint::time(payload)
        {
            course.time = course.time.max(time);
        }
        if matches!(record.kind, Kind::Sync | Kind::Skip) {
            return;
        }
        course.report.records += 1;
        let (mut header, mut time) = (*record, course.time);
        if record.kind == Kind::Move {
            // Only where it lies has changed, unless it was not seen before.
            match moved(record, payload) {
                Some(origin) if course.absent.take(origin.id) => {
                    (header.id, time) = (origin.id, origin.time);
                }
                _ => return,
            }
        }
        self.replay.record(&Replayed {
            header,
            payload,
            time,
        });
    }

    /// Copies damaged bytes into a file of their own: nothing is thrown away.
    fn save(&self, segment: &Known<D::File>, from: u64, to: u64) -> Option<String> {
        let name = format!("{:012}-{from:010x}.quarantine", segment.header.number);
        let mut bytes = vec![0; (to - from).min(QUARANTINE) as usize];
        let read = segment.file.read_full_at(&mut bytes, from).ok()?;
        let file = match self.disk.create(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Some(name),
            created => created.ok()?,
        };
        let written = file.write_all_at(&bytes[..read], 0);
        if written.and_then(|()| file.sync()).is_err() {
            let _ = self.disk.remove(&name);
            return None;
        }
        Some(name)
    }

    /// Begins the segment that everything new goes to, with what is carried over.
    fn begin(
        mut self,
        uuid: u128,
        known: &BTreeMap<u64, Known<D::File>>,
        end_of_last: u64,
        carried: &[u8],
        checkpoints: Vec<u64>,
        mut course: Course,
    ) -> Result<Opened<D>, OpenError> {
        let last = known.last_key_value().map(|(_, known)| known.header);
        let previous_end = last.map_or(0, |last| last.base + end_of_last);
        // Numbers of files that were set aside are taken as well.
        let damaged = course.report.damage.iter().map(|damage| damage.segment);
        let mut number = damaged.chain(known.keys().copied()).max().unwrap_or(0) + 1;
        // Damage before it may have cost messages; what is missing otherwise was never
        // confirmed.
        if let Some((_, first)) = records(carried).next()
            && course.open.is_some()
            && first.id.saturating_sub(course.next_id) <= JUMP
        {
            course.reach(first.id, true);
        }
        let carried = with_skips(carried, course.next_id);
        let mut seed = Seed {
            previous: last.map_or(0, |last| last.number),
            previous_end,
            base: last.map_or(0, |last| last.base + last.size),
            first_id: course.next_id,
            carried,
        };
        // What is carried over is as old as it was.
        self.wall.raise(course.time);
        let time = match course.time {
            0 => self.wall.now(),
            time => time,
        };
        // The new one speaks of the last: that has to be there if the new one is.
        self.disk.sync_dir()?;
        let needed = (seed.carried.len() as u64 + 3 * PAGE).next_multiple_of(PAGE);
        // The smallest, whatever there was: a larger one takes long to be filled.
        let size = self.limits.smallest.max(needed);
        let (header, chunk, file) =
            self.install(&mut seed, uuid, &mut number, [size, needed], time)?;

        let at = chunk.offset + chunk.bytes.len() as u64;
        let mut place = 0;
        while let Some(record) = RecordHeader::decode(&chunk.bytes[place..]) {
            let payload = place + super::format::RECORD_HEADER;
            let payload = chunk.bytes.slice(payload..payload + record.len as usize);
            if !matches!(record.kind, Kind::Sync | Kind::Skip) {
                course.report.carried += 1;
            }
            if course.follow(&record) {
                self.deliver(&record, &payload, &mut course);
            }
            place += record.size() as usize;
        }
        course.absent.finish(&mut course.report, self.replay);
        let file = Arc::new(file);
        self.segments.add(Segment {
            file: Arc::clone(&file),
            header,
            end: at,
            index: Index::new(),
            tally: Tally::default(),
        });
        self.segments.wrote(chunk);
        self.wall.raise(course.time);
        let writer = Writer {
            disk: self.disk,
            limits: self.limits,
            uuid,
            rng: self.rng,
            wall: self.wall,
            segments: self.segments,
            current: Current {
                file,
                header,
                at,
                durable: at,
                told: previous_end,
                time: course.time,
                durable_time: course.time,
            },
            next_id: course.next_id,
            next_number: number,
            unsynced: Unsynced::default(),
            spare: None,
            pool: Vec::new(),
            failed: None,
            failovers: 0,
        };
        Ok(Opened {
            writer,
            next_id: course.next_id,
            checkpoints,
            report: course.report,
        })
    }

    fn install(
        &mut self,
        seed: &mut Seed,
        uuid: u128,
        number: &mut u64,
        sizes: [u64; 2],
        time: u64,
    ) -> Result<(SegmentHeader, super::segments::Chunk, D::File), OpenError> {
        let mut result = Err(io::ErrorKind::StorageFull.into());
        for size in sizes {
            let name = format!("{number:012}-{:08x}.spare", self.rng.next_u64() as u32);
            let mut spare = Spare {
                file: self.disk.create(&name)?,
                name,
                size,
                filled: 0,
            };
            let salt = self.rng.next_u64();
            let filled = spare.fill(size);
            let made =
                filled.and_then(|()| seed.install(&*self.disk, &spare, uuid, *number, salt, time));
            *number += 1;
            match made {
                Ok((header, chunk)) => return Ok((header, chunk, spare.file)),
                Err(error) => {
                    seed.base += size;
                    let _ = self.disk.remove(&spare.name);
                    let is_full = error.kind() == io::ErrorKind::StorageFull;
                    result = Err(error);
                    if !is_full {
                        break;
                    }
                }
            }
        }
        Ok(result?)
    }
}

impl Damage {
    fn record(segment: u64, bytes: Range<u64>) -> Self {
        Self {
            segment,
            bytes,
            kind: DamageKind::Record,
            messages: 0..0,
            saved: None,
        }
    }
}

/// What a record says of a message that was moved, if it is one.
fn moved(record: &RecordHeader, payload: &[u8]) -> Option<Origin> {
    let is_move = record.kind == Kind::Move;
    let origin = Origin::decode(payload).filter(|_| is_move);
    origin.filter(|origin| origin.id < record.id)
}

/// Where segments end, by what their successors and the checkpoint say.
fn ends<F>(known: &BTreeMap<u64, Known<F>>, checkpoint: Option<&Checkpoint>) -> BTreeMap<u64, u64> {
    let mut ends = BTreeMap::new();
    if let Some(checkpoint) = checkpoint {
        let last = checkpoint.segments.last().map(|extent| extent.number);
        for extent in &checkpoint.segments {
            // The last one went on.
            if Some(extent.number) != last
                && let Some(segment) = known.get(&extent.number)
            {
                ends.insert(
                    extent.number,
                    extent.end.saturating_sub(segment.header.base),
                );
            }
        }
    }
    for segment in known.values() {
        let header = &segment.header;
        if let Some(previous) = known.get(&header.previous) {
            let end = header.previous_end.saturating_sub(previous.header.base);
            let end = end.min(previous.header.limit());
            let known = ends.entry(header.previous).or_insert(end);
            *known = end.min(*known);
        }
    }
    ends
}

/// The most of a hole that is copied.
const QUARANTINE: u64 = 1 << 20;

fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".segment")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}
