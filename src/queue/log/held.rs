//! Messages that follow each other in memory, found once for all of them.

use bytes::Bytes;

use super::format::{Kind, RECORD_HEADER};
use super::moved::Tally;
use super::segments::{Chunk, Stored, records};

/// A place in bytes that are kept in memory. It keeps them there, and so is let go of
/// once those who asked for several messages have them.
#[derive(Debug)]
pub(super) struct Held {
    chunk: Chunk,
    /// Where the next record begins in it.
    at: usize,
    tally: Tally,
    /// The number of the next message, at the least.
    next: u64,
}

/// Who looks for a message further on finds it sooner by its number.
const NEAR: u64 = 16;
const SMALL: u32 = 16 << 10;
/// What is at least this part of a group keeps it.
const SHARE: u64 = 2;

impl Held {
    /// Before the first record from here on; messages there are no older than `time`.
    pub(super) fn new(chunk: Chunk, at: usize, time: u64) -> Self {
        Self {
            chunk,
            at,
            tally: Tally::at(time),
            next: 0,
        }
    }

    /// The message, if it comes soon.
    pub(super) fn read_near(&mut self, id: u64) -> Option<Stored> {
        let is_near = (self.next..self.next + NEAR).contains(&id);
        is_near.then(|| self.read(id)).flatten()
    }

    /// Goes on to the message, or to the end.
    pub(super) fn read(&mut self, id: u64) -> Option<Stored> {
        let rest = self.chunk.bytes.get(self.at..)?;
        let from = self.at;
        for (place, header) in records(rest) {
            let start = from + place + RECORD_HEADER;
            let range = start..start + header.len as usize;
            self.tally
                .see(&header, self.chunk.bytes.get(range.clone())?);
            self.at = from + place + header.size() as usize;
            if header.kind == Kind::Publish && header.id == id {
                self.next = id + 1;
                // A small message does not keep much of a group in memory.
                let is_most = header.size() * SHARE >= self.chunk.bytes.len() as u64;
                let bytes = if header.len <= SMALL && !is_most {
                    Bytes::copy_from_slice(&self.chunk.bytes[range])
                } else {
                    self.chunk.bytes.slice(range)
                };
                let time = self.tally.time;
                return Some(Stored {
                    header,
                    bytes,
                    time,
                });
            }
        }
        None
    }
}
