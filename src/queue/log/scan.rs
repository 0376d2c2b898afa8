//! Reads a segment's records in order, and finds its way again behind damage.

use std::io;

use super::format::{PAGE, RECORD_HEADER, RecordHeader, is_payload_of};
use crate::queue::storage::DiskFile;

/// Goes through the records between two offsets of a segment.
pub(super) struct Scan<'a, F> {
    file: &'a F,
    salt: u64,
    /// Where the next record should be.
    at: u64,
    end: u64,
    /// Where there is nothing more to be read, if the file was cut.
    readable: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// What comes next.
pub(super) enum Found<'a> {
    Record {
        offset: u64,
        header: RecordHeader,
        payload: &'a [u8],
        /// Header, payload and filling, as they lie there.
        bytes: &'a [u8],
    },
    /// No record up to here, and one follows.
    Hole { from: u64, to: u64 },
    /// No record up to the end.
    Tail {
        from: u64,
        /// Whether there is anything but zeros.
        written: bool,
    },
}

/// How much is read at once.
const WINDOW: u64 = 256 << 10;

impl<'a, F: DiskFile> Scan<'a, F> {
    /// The file has `size` bytes: no record is longer, whatever it says.
    pub(super) fn new(file: &'a F, salt: u64, from: u64, end: u64, size: u64) -> Self {
        Self {
            file,
            salt,
            at: from.max(PAGE).next_multiple_of(8),
            end,
            // What fills the last record up says nothing and may be cut off.
            readable: end.min(size.next_multiple_of(8)),
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// The next find, or `None` once the end was reached.
    pub(super) fn next(&mut self) -> io::Result<Option<Found<'_>>> {
        // Nothing fits there.
        if self.at + RECORD_HEADER as u64 > self.end {
            return Ok(None);
        }
        let from = self.at;
        let mut offset = from;
        // Behind damage anything may pass for a header: there it needs its payload.
        while offset + RECORD_HEADER as u64 <= self.readable {
            let Some(header) = self.header(offset)? else {
                offset = self.skip_zeros(offset + 8)?;
                continue;
            };
            let len = header.len as usize;
            self.load(offset, RECORD_HEADER + len)?;
            let payload = self.bytes(offset + RECORD_HEADER as u64, len);
            if !is_payload_of(&header, payload) {
                if offset == from {
                    // The header is whole, and so is what comes after its payload.
                    self.at = offset + header.size();
                    return Ok(Some(Found::Hole { from, to: self.at }));
                }
                offset += 8;
                continue;
            }
            if offset > from {
                self.at = offset;
                return Ok(Some(Found::Hole { from, to: offset }));
            }
            self.at = offset + header.size();
            self.load(offset, header.size() as usize)?;
            return Ok(Some(Found::Record {
                offset,
                header,
                payload: self.bytes(offset + RECORD_HEADER as u64, len),
                bytes: self.bytes(offset, header.size() as usize),
            }));
        }
        self.at = self.end;
        let written = !self.is_zero(from)?;
        Ok(Some(Found::Tail { from, written }))
    }

    fn header(&mut self, offset: u64) -> io::Result<Option<RecordHeader>> {
        self.load(offset, RECORD_HEADER)?;
        let bytes = self.bytes(offset, RECORD_HEADER);
        Ok(RecordHeader::verify(
            bytes,
            self.salt,
            offset,
            self.readable - offset,
        ))
    }

    /// The first place from here on where something is not zero, in this window.
    fn skip_zeros(&mut self, offset: u64) -> io::Result<u64> {
        if offset + 8 > self.readable {
            return Ok(self.readable);
        }
        self.load(offset, 8)?;
        let start = (offset - self.window_at) as usize;
        let zeros = self.window[start..]
            .chunks_exact(8)
            .take_while(|word| **word == [0; 8])
            .count() as u64;
        // A header may begin with up to two words of zeros: kind and number are not.
        Ok(offset + 8 * zeros.saturating_sub(2))
    }

    fn is_zero(&mut self, from: u64) -> io::Result<bool> {
        let mut at = from;
        while at < self.readable {
            let step = WINDOW.min(self.readable - at);
            self.load(at, step as usize)?;
            if self.bytes(at, step as usize).iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += step;
        }
        Ok(true)
    }

    /// Makes the window hold these bytes; what the file lacks counts as zeros.
    fn load(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let held = self.window_at..self.window_at + self.window.len() as u64;
        if held.contains(&offset) && offset + len as u64 <= held.end {
            return Ok(());
        }
        let ahead = WINDOW.min(self.readable.saturating_sub(offset)) as usize;
        self.window.clear();
        self.window.resize(ahead.max(len), 0);
        self.window_at = offset;
        let read = self.file.read_full_at(&mut self.window, offset)?;
        self.window[read..].fill(0);
        Ok(())
    }

    fn bytes(&self, offset: u64, len: usize) -> &[u8] {
        let start = (offset - self.window_at) as usize;
        &self.window[start..start + len]
    }
}
