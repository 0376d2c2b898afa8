//! What lies in a log, byte by byte: for those who look through it as a whole.

use std::io;
use std::ops::Range;

use super::format::{Kind, PAGE, SegmentHeader};
use super::scan::{Found, Scan};
use super::segments::OnDisk;
use super::{Log, checkpoint};
use crate::queue::storage::{Disk, DiskFile};

/// A segment that was read through.
#[derive(Debug, Clone)]
pub(crate) struct Inspected {
    pub(crate) header: SegmentHeader,
    pub(crate) records: u64,
    pub(crate) messages: u64,
    /// Where there is no record, and which messages may have been there.
    pub(crate) holes: Vec<(Range<u64>, Range<u64>)>,
    /// The header's copies that are not what they should be, by their offsets.
    pub(crate) bad_headers: Vec<u64>,
    /// How much of the file is not there.
    pub(crate) missing: Range<u64>,
}

impl<D: Disk> Log<D> {
    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    /// The files of the checkpoints that can be used.
    pub(crate) fn checkpoints(&self) -> Vec<String> {
        let tip = self.line.sink.tip.lock();
        tip.checkpoints
            .iter()
            .copied()
            .map(checkpoint::name)
            .collect()
    }

    /// Reads every record of every segment but the newest, which an opening began.
    pub(crate) fn inspect(&self) -> io::Result<Vec<Inspected>> {
        let mut held = self.segments.on_disk();
        let newest = held.pop();
        let mut inspected = Vec::with_capacity(held.len());
        let first_ids = held.iter().skip(1).map(|next| next.header.first_id);
        let first_ids: Vec<_> = first_ids
            .chain(newest.map(|newest| newest.header.first_id))
            .collect();
        for (segment, next) in held.iter().zip(first_ids) {
            inspected.push(inspect(segment, next)?);
        }
        Ok(inspected)
    }
}

/// `next` is the first number of the segment behind.
fn inspect<F: DiskFile>(segment: &OnDisk<F>, next: u64) -> io::Result<Inspected> {
    let (header, file) = (&segment.header, &*segment.file);
    let size = file.size()?;
    let mut inspected = Inspected {
        header: *header,
        records: 0,
        messages: 0,
        holes: Vec::new(),
        bad_headers: Vec::new(),
        missing: size.min(header.size)..header.size,
    };
    for offset in [0, header.limit()] {
        let mut bytes = [0; 512];
        let read = file.read_full_at(&mut bytes, offset)?;
        if SegmentHeader::decode(&bytes[..read]) != Ok(*header) {
            inspected.bad_headers.push(offset);
        }
    }
    let size = size.min(header.limit());
    let mut scan = Scan::new(file, header.salt, PAGE, segment.end, size);
    let mut expected = header.first_id;
    let mut open = None;
    while let Some(found) = scan.next()? {
        match found {
            Found::Record { header, .. } => {
                inspected.records += 1;
                let is_message = header.kind == Kind::Publish;
                inspected.messages += u64::from(is_message);
                // Copies of earlier messages say nothing of what is missing here.
                if header.id >= expected {
                    if let Some(hole) = open.take() {
                        inspected.holes.push((hole, expected..header.id));
                    }
                    expected = header.id + u64::from(is_message);
                }
            }
            Found::Hole { from, to } => {
                if let Some(hole) = open.replace(from..to) {
                    inspected.holes.push((hole, expected..expected));
                }
            }
            Found::Tail { from, .. } => {
                let hole = from..segment.end;
                if let Some(hole) = open.replace(hole) {
                    inspected.holes.push((hole, expected..expected));
                }
            }
        }
    }
    if let Some(hole) = open {
        inspected.holes.push((hole, expected..next.max(expected)));
    }
    Ok(inspected)
}
