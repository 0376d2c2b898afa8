//! Messages that were written again at the end of the log, so that what is left of a
//! segment need not keep all of it.
//!
//! Where such a message lies now is noted by itself, in memory and in checkpoints; all
//! else of it stays as it was, its number above all. Until the segment it came from is
//! given up there are two copies, and either will do.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use super::Log;
use super::format::{
    Kind, Origin, PAGE, RECORD_HEADER, RecordHeader, SyncPoint, is_payload_of, record_size,
};
use super::scan::{Found, Scan};
use super::segments::{Extent, InFile, ReadAhead, ReadError, Segments, Stored};
use crate::queue::storage::{Disk, DiskFile};
use crate::sync::Mutex;

/// Where messages lie that were moved, by number. Nothing else is locked under this.
#[derive(Default)]
pub(super) struct Moved {
    places: Mutex<BTreeMap<u64, u64>>,
}

/// What a segment holds, whether anybody needs it or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// What the newest sync point says.
    pub(super) time: u64,
}

/// A message as it is found where it lies.
pub(crate) struct Lying<'a> {
    pub(crate) id: u64,
    pub(crate) time: u64,
    pub(crate) priority: u8,
    pub(crate) ext: &'a [u8],
    pub(crate) payload: &'a [u8],
    /// Bytes of its record.
    pub(crate) size: u64,
}

impl Moved {
    pub(super) fn note(&self, id: u64, place: u64) {
        self.places.lock().insert(id, place);
    }

    pub(super) fn place(&self, id: u64) -> Option<u64> {
        self.places.lock().get(&id).copied()
    }

    /// The first one behind this message.
    pub(super) fn next(&self, id: u64) -> Option<u64> {
        let places = self.places.lock();
        places.range(id + 1..).next().map(|(id, _)| *id)
    }

    pub(super) fn all(&self) -> Vec<(u64, u64)> {
        let places = self.places.lock();
        places.iter().map(|(id, place)| (*id, *place)).collect()
    }

    /// Bytes it takes, about.
    pub(super) fn memory(&self) -> usize {
        24 * self.places.lock().len()
    }
}

impl Tally {
    /// As a checkpoint has it.
    pub(super) fn of(extent: &Extent) -> Self {
        Self {
            messages: extent.messages,
            bytes: extent.bytes,
            time: extent.time,
        }
    }

    /// Of what comes from some place on.
    pub(super) fn at(time: u64) -> Self {
        Self {
            time,
            ..Self::default()
        }
    }

    pub(super) fn see(&mut self, header: &RecordHeader, payload: &[u8]) {
        match header.kind {
            Kind::Publish | Kind::Move => {
                self.messages += 1;
                self.bytes += header.size();
            }
            Kind::Sync => {
                let time = SyncPoint::time(payload).unwrap_or(0);
                self.time = self.time.max(time);
            }
            _ => {}
        }
    }
}

impl<F: DiskFile> Segments<F> {
    /// Reads a message where it lies now.
    pub(super) fn read(&self, id: u64, ahead: &mut ReadAhead) -> Result<Stored, ReadError> {
        if let Some(stored) = ahead.held.as_mut().and_then(|held| held.read_near(id)) {
            return Ok(stored);
        }
        ahead.held = None;
        loop {
            let place = self.moved.place(id);
            let read = match place.and_then(|place| self.in_file(place)) {
                None => self.read_first(id, ahead),
                Some(file) => match ahead.pick(&file, id) {
                    // The first copy may be there still.
                    Err(ReadError::Lost) => self.read_first(id, ahead),
                    read => read,
                },
            };
            match read {
                // It was moved while it was looked for, and its file used for another.
                Err(ReadError::Lost) if self.moved.place(id) != place => {}
                read => return read,
            }
        }
    }
}

impl ReadAhead {
    /// Reads a message that was moved.
    fn pick<F: DiskFile>(&mut self, place: &InFile<F>, id: u64) -> Result<Stored, ReadError> {
        let room = place.end.saturating_sub(place.start);
        let bytes = self.bytes(place, place.start, RECORD_HEADER)?;
        let header = RecordHeader::verify(bytes, place.salt, place.start, room)
            .filter(|header| header.kind == Kind::Move)
            .ok_or(ReadError::Lost)?;
        let payload = place.start + RECORD_HEADER as u64;
        let payload = self.bytes(place, payload, header.len as usize)?;
        let origin = Origin::decode(payload).filter(|origin| origin.id == id);
        let origin = origin.filter(|_| is_payload_of(&header, payload));
        let time = origin.ok_or(ReadError::Lost)?.time;
        let bytes = Bytes::copy_from_slice(payload);
        Ok(Stored {
            header,
            bytes,
            time,
        })
    }
}

impl<D: Disk> Log<D> {
    /// Messages that were moved, and where they lie, by number.
    pub(crate) fn moved(&self) -> Vec<(u64, u64)> {
        self.segments.moved.all()
    }

    /// Whether a message can be read where it was moved to.
    pub(crate) fn is_moved(&self, id: u64) -> bool {
        let place = self.segments.moved.place(id);
        let file = place.and_then(|place| self.segments.in_file(place));
        file.is_some_and(|file| ReadAhead::default().pick(&file, id).is_ok())
    }

    /// The first message that was moved.
    pub(crate) fn first_moved(&self) -> Option<u64> {
        let places = self.segments.moved.places.lock();
        places.first_key_value().map(|(id, _)| *id)
    }

    /// Forgets where these lie: they are done, or not there.
    pub(crate) fn forget_moved(&self, done: &[u64]) {
        let mut places = self.segments.moved.places.lock();
        for id in done {
            places.remove(id);
        }
    }

    /// Hands over the messages that lie in a segment and nowhere else, in the order in
    /// which they were written, until `each` has had enough.
    pub(crate) fn messages_in(
        &self,
        extent: &Extent,
        mut each: impl FnMut(&Lying<'_>) -> bool,
    ) -> io::Result<()> {
        let Some(file) = self.segments.in_file(extent.base + PAGE) else {
            return Ok(());
        };
        let mut scan = Scan::new(&*file.file, file.salt, PAGE, file.end, file.end);
        let mut time = 0;
        while let Some(found) = scan.next()? {
            let Found::Record {
                offset,
                header,
                payload,
                ..
            } = found
            else {
                continue;
            };
            let place = extent.base + offset;
            let (id, time, skip, first) = match header.kind {
                Kind::Sync => {
                    time = SyncPoint::time(payload).map_or(time, |found| found.max(time));
                    continue;
                }
                Kind::Publish => (header.id, time, 0, None),
                Kind::Move => match Origin::decode(payload) {
                    Some(origin) => (origin.id, origin.time, Origin::SIZE, Some(place)),
                    None => continue,
                },
                _ => continue,
            };
            if self.segments.moved.place(id) != first {
                continue;
            }
            let cut = usize::from(header.ext).clamp(skip, payload.len());
            let message = Lying {
                id,
                time,
                priority: header.priority(),
                ext: &payload[skip..cut],
                payload: &payload[cut..],
                size: record_size(payload.len()),
            };
            if !each(&message) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The first message that was published at this time or later, of those that are
    /// there; the next one to be written if there is none.
    pub(crate) fn first_since(&self, time: u64) -> io::Result<u64> {
        let extents = self.segments.list();
        let next = extents.iter().map(|extent| extent.next).max();
        let mut first = next.unwrap_or(1).max(self.reached(super::Mark::Written));
        for extent in extents
            .iter()
            .filter(|e| e.time >= time && e.first < e.next)
        {
            if let Some(found) = self.first_in(extent, time)? {
                first = found;
                break;
            }
        }
        // Of those that were moved, where they lay may be gone.
        let moved = self.moved();
        let before = moved.partition_point(|(id, _)| *id < first);
        for (id, _) in moved[..before].iter().rev() {
            match self.read(*id, &mut ReadAhead::default()) {
                Ok(stored) if stored.time >= time => first = *id,
                Err(ReadError::Io(error)) => return Err(error),
                _ => break,
            }
        }
        Ok(first)
    }

    fn first_in(&self, extent: &Extent, time: u64) -> io::Result<Option<u64>> {
        let Some(file) = self.segments.in_file(extent.base + PAGE) else {
            return Ok(None);
        };
        let mut tally = Tally::default();
        let mut scan = Scan::new(&*file.file, file.salt, PAGE, file.end, file.end);
        while let Some(found) = scan.next()? {
            if let Found::Record {
                header, payload, ..
            } = found
            {
                tally.see(&header, payload);
                if header.kind == Kind::Publish && tally.time >= time {
                    return Ok(Some(header.id));
                }
            }
        }
        Ok(None)
    }

    /// Whether some message lies where it was moved to only until the power goes.
    pub(crate) fn has_unsynced_moves(&self) -> bool {
        let durable = {
            let tip = self.line.sink.tip.lock();
            tip.writer.current.header.base + tip.writer.current.durable
        };
        let places = self.segments.moved.places.lock();
        places.values().any(|place| *place >= durable)
    }

    /// All before this place is in both checkpoints; zero if there is only one.
    pub(crate) fn covered(&self) -> u64 {
        let tip = self.line.sink.tip.lock();
        let both = tip.checkpoints.len() == super::KEPT;
        tip.checkpoints.first().filter(|_| both).map_or(0, |p| *p)
    }
}
