//! Where the messages of a segment lie, as far as that is noted.

use super::format::PAGE;
use super::locate::Mark;

/// Where messages lie in a segment: of every sixteenth that this process wrote or
/// replayed the offset. Those before are looked for in the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// The messages, from the first to one behind the last.
    pub(super) first: u64,
    pub(super) next: u64,
    /// Those below its number lie before it, and are not noted.
    pub(super) noted: Mark,
    /// Of those behind it, in units of eight bytes.
    offsets: Vec<u32>,
    /// From which of them on which time is that of the messages, in milliseconds after
    /// the first.
    times: Vec<(u32, u32)>,
    first_time: u64,
}

const STEP: u64 = 16;
const JUMP: u64 = 1 << 24;

impl Index {
    /// An index that does not say where these messages lie, except that it is before
    /// this place.
    pub(super) fn unread(first: u64, next: u64, end: u64) -> Self {
        Self {
            first,
            next,
            noted: Mark { id: next, at: end },
            ..Self::default()
        }
    }

    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Notes a message, in the order of their numbers.
    pub(super) fn note(&mut self, id: u64, at: u64, time: u64) {
        if self.is_empty() {
            (self.first, self.next, self.noted) = (id, id, Mark { id, at });
        }
        if self.offsets.is_empty() {
            self.first_time = time;
        }
        if id < self.next {
            return;
        }
        // Numbers that are missing share the place of the next one. Behind a jump that no
        // segment could hold nothing is noted: all is looked for from there on.
        let is_whole = self.offsets.len() as u64 >= (self.next - self.noted.id) / STEP;
        if id - self.next <= JUMP && is_whole {
            while (self.offsets.len() as u64) * STEP <= id - self.noted.id {
                let after = u32::try_from(time.saturating_sub(self.first_time));
                let after = after.unwrap_or(u32::MAX);
                if self.times.last().is_none_or(|(_, last)| *last != after) {
                    self.times.push((self.offsets.len() as u32, after));
                }
                self.offsets.push((at / 8) as u32);
            }
        }
        self.next = id + 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next == self.first
    }

    /// A place at or before the message and the time there, if that is noted.
    pub(super) fn start(&self, id: u64) -> Option<(u64, u64)> {
        let place = (id.checked_sub(self.noted.id)? / STEP) as usize;
        let offset = self.offsets.get(place).or(self.offsets.last());
        let time = self.times.partition_point(|(at, _)| *at as usize <= place);
        let after = time.checked_sub(1).map_or(0, |time| self.times[time].1);
        let time = self.first_time + u64::from(after);
        let offset = u64::from(offset.copied().unwrap_or(0)) * 8;
        Some((offset.max(PAGE), time))
    }

    /// Bytes it takes.
    pub(super) fn memory(&self) -> usize {
        self.offsets.capacity() * size_of::<u32>() + self.times.capacity() * size_of::<(u32, u32)>()
    }
}
