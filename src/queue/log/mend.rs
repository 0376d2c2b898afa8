//! Writes over what is damaged in a segment, so that it reads as whole.
//!
//! A hole becomes a record: a header is written to its beginning, and whatever the hole
//! has behind that is the payload. So little is written, in one place, and torn it is a
//! hole as before. What was there has been copied to a file by then.

use std::io;
use std::ops::Range;

use crc32c::crc32c_append;

use super::format::{BEGIN, END, Kind, RECORD_HEADER, RecordHeader, seal};
use super::inspect::Inspected;
use super::writer::segment_name;
use crate::queue::storage::{Disk, DiskFile};

/// What was written over.
#[derive(Debug, Clone)]
pub(crate) enum Mended {
    /// The file has its size again, with zeros.
    Size(Range<u64>),
    Header {
        saved: String,
    },
    Hole {
        bytes: Range<u64>,
        saved: String,
    },
}

pub(crate) fn mend<D: Disk>(disk: &D, inspected: &Inspected) -> io::Result<Vec<Mended>> {
    let mut mended = Vec::new();
    let header = &inspected.header;
    let name = segment_name(header.number);
    let is_whole = inspected.holes.is_empty() && inspected.bad_headers.is_empty();
    if is_whole && inspected.missing.is_empty() {
        return Ok(mended);
    }
    let file = disk.open(&name)?;
    let mut at = inspected.missing.start;
    while at < inspected.missing.end {
        let step = (inspected.missing.end - at).min(STEP as u64);
        file.write_all_at(&vec![0; step as usize], at)?;
        at += step;
    }
    if !inspected.missing.is_empty() {
        mended.push(Mended::Size(inspected.missing.clone()));
    }
    for &offset in &inspected.bad_headers {
        let bytes = header.encode();
        let damaged = offset..offset + bytes.len() as u64;
        let saved = save(disk, &file, header.number, damaged)?;
        file.write_all_at(&bytes, offset)?;
        mended.push(Mended::Header { saved });
    }
    for (hole, messages) in &inspected.holes {
        let room = (hole.end - hole.start).checked_sub(RECORD_HEADER as u64);
        let Some(len) = room.and_then(|len| u32::try_from(len).ok()) else {
            continue;
        };
        let saved = save(disk, &file, header.number, hole.clone())?;
        let mut record = RecordHeader::new(Kind::Skip, BEGIN | END, 0, &[]);
        record.len = len;
        record.payload_crc = checksum(&file, hole.end - u64::from(len)..hole.end)?;
        record.id = messages.end;
        let mut bytes = record.encode();
        seal(&mut bytes, header.salt, hole.start);
        file.write_all_at(&bytes, hole.start)?;
        let bytes = hole.clone();
        mended.push(Mended::Hole { bytes, saved });
    }
    file.sync()?;
    Ok(mended)
}

/// Copies bytes to a file of their own, which lasts when this returns.
fn save<D: Disk>(disk: &D, file: &D::File, segment: u64, bytes: Range<u64>) -> io::Result<String> {
    let mut name = format!("{segment:012}-{:010x}.quarantine", bytes.start);
    let names = disk.list()?;
    let taken = |name: &String| names.contains(name);
    let mut copy = 1;
    // What was damaged there before is kept as well.
    while taken(&name) {
        copy += 1;
        name = format!("{segment:012}-{:010x}-{copy}.quarantine", bytes.start);
    }
    let saved = disk.create(&name)?;
    let mut written = Ok(());
    for_each_part(file, bytes.clone(), |offset, part| {
        written = saved.write_all_at(part, offset - bytes.start);
        written.is_ok()
    })?;
    if let Err(error) = written.and_then(|()| saved.sync()) {
        let _ = disk.remove(&name);
        return Err(error);
    }
    disk.sync_dir()?;
    Ok(name)
}

fn checksum<F: DiskFile>(file: &F, bytes: Range<u64>) -> io::Result<u32> {
    let mut crc = 0;
    for_each_part(file, bytes, |_, part| {
        crc = crc32c_append(crc, part);
        true
    })?;
    Ok(crc)
}

/// Reads a file in parts, as long as more is wanted.
fn for_each_part<F: DiskFile>(
    file: &F,
    bytes: Range<u64>,
    mut act: impl FnMut(u64, &[u8]) -> bool,
) -> io::Result<()> {
    let mut part = vec![0; STEP.min((bytes.end - bytes.start) as usize)];
    let mut at = bytes.start;
    while at < bytes.end {
        let wanted = part.len().min((bytes.end - at) as usize);
        let read = file.read_full_at(&mut part[..wanted], at)?;
        if read == 0 || !act(at, &part[..read]) {
            break;
        }
        at += read as u64;
    }
    Ok(())
}

const STEP: usize = 256 << 10;
