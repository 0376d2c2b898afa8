//! What is done now and then: checkpoints, giving up segments that nobody needs, and
//! emptying those of which little is needed.
//!
//! A segment is given up once nobody waits for a message that lies in it and nowhere
//! else, and both checkpoints cover what it says beside that. So that a few messages do
//! not keep all of it, those are moved: written again at the end of the log. What is
//! moved depends on what it brings:
//!
//! ```text
//! all segments together more than twice what is live in them
//!               the emptiest first, until that holds: each byte written frees more than one
//! else          those less than a quarter live, at an eighth of the bytes that are logged:
//!               each byte written frees more than three
//! ```
//!
//! Only what both checkpoints cover is looked at: what is newer is mostly done by then.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;

use super::book::Book;
use super::core::Core;
use super::counts::add;
use super::log::format::{Kind, Origin};
use super::log::{AppendError, Extent, Lying, Mark, Record};
use super::storage::Disk;

/// What whoever does the upkeep knows of the times before.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// Bytes that may be moved where that is not urgent.
    credit: u64,
    /// What was live in segments when they were last read.
    measured: BTreeMap<u64, Live>,
}

/// What of a segment somebody waits for, and finds nowhere else.
#[derive(Debug, Clone, Copy, Default)]
struct Live {
    messages: u64,
    bytes: u64,
}

/// A segment and what is needed of it.
struct Space {
    extent: Extent,
    live: u64,
    /// Messages that lie elsewhere by now, which a checkpoint does not cover yet.
    unsettled: u64,
    /// Whether both checkpoints cover it, and nothing more is written to it.
    is_covered: bool,
    /// For groups to come.
    is_kept: bool,
}

/// The share of what is logged that is moved without need.
const SHARE: u64 = 8;
/// Bytes that are read before they are written together.
const BATCH: u64 = 64 << 10;

impl<D: Disk> Core<D> {
    pub(super) fn maintain_if_due(&self) {
        if self.since.load(Ordering::Relaxed) >= self.settings.checkpoint_every {
            self.maintain();
        }
    }

    pub(super) fn maintain(&self) {
        if let Some(mut upkeep) = self.maintaining.try_lock() {
            // The next one makes up for it.
            let _ = self.upkeep(&mut upkeep);
        }
    }

    /// Empties segments, writes a checkpoint and gives up what nobody needs.
    pub(super) fn upkeep(&self, upkeep: &mut Upkeep) -> io::Result<()> {
        let logged = self.since.swap(0, Ordering::Relaxed);
        let most = self.settings.checkpoint_every;
        upkeep.credit = (upkeep.credit + logged / SHARE).min(most);
        self.empty(upkeep);
        let written = self.checkpoint();
        self.release();
        written
    }

    pub(super) fn checkpoint(&self) -> io::Result<()> {
        self.log
            .checkpoint(false, |next_id| self.book.lock().write(next_id))
    }

    /// Writes the book down though there is no room in the log.
    pub(super) fn checkpoint_again(&self) -> io::Result<()> {
        let _turn = self.maintaining.lock();
        self.log
            .checkpoint(true, |next_id| self.book.lock().write(next_id))
    }

    /// Does something once more if the disk was full and done messages have room on it.
    pub(super) fn where_full<T>(
        &self,
        act: impl Fn() -> Result<T, AppendError>,
    ) -> Result<T, AppendError> {
        match act() {
            Err(AppendError::Full) if self.has_free() => {
                let turn = self.maintaining.lock();
                let _ = self.checkpoint();
                self.log.rely_on_newest();
                self.release();
                drop(turn);
                act()
            }
            done => done,
        }
    }

    /// Whether upkeep would bring room: there is a segment that nobody needs, or much
    /// of which nobody does.
    pub(super) fn has_free(&self) -> bool {
        let covered = self.log.covered();
        let mut spaces = self.spaces(&mut self.book.lock(), covered);
        spaces.pop();
        spaces.iter().any(|space| {
            let Live { bytes, .. } = space.estimate(None);
            !space.is_kept && (space.live == 0 || bytes < space.extent.size / 4)
        })
    }

    /// What is needed of each segment, in the order of the log. Messages that are done
    /// are moved no more.
    fn spaces(&self, book: &mut Book, covered: u64) -> Vec<Space> {
        let extents = self.log.extents();
        let (live, done): (Vec<_>, Vec<_>) = self
            .log
            .moved()
            .into_iter()
            .partition(|(id, _)| book.is_live(*id));
        let done: Vec<u64> = done.into_iter().map(|(id, _)| id).collect();
        self.log.forget_moved(&done);
        let last = extents.last().map(|extent| extent.number);
        let space = |extent: &Extent| Space {
            live: match extent.first..extent.next {
                messages if book.is_done(&messages) => 0,
                messages => book.live_in(messages),
            },
            unsettled: 0,
            is_covered: extent.end <= covered && Some(extent.number) != last,
            is_kept: false,
            extent: *extent,
        };
        let mut spaces: Vec<_> = extents.iter().map(space).collect();
        let mut origins: Vec<_> = (0..spaces.len())
            .filter(|index| extents[*index].first < extents[*index].next)
            .collect();
        origins.sort_by_key(|index| extents[*index].first);
        for (id, place) in live {
            let home = extents.partition_point(|extent| extent.base <= place);
            if let Some(home) = home.checked_sub(1) {
                spaces[home].live += 1;
            }
            let origin = origins.partition_point(|index| extents[*index].first <= id);
            if let Some(origin) = origin.checked_sub(1).map(|at| origins[at])
                && id < extents[origin].next
            {
                spaces[origin].live -= 1;
                spaces[origin].unsettled += u64::from(place >= covered);
            }
        }
        self.retain(&mut spaces);
        spaces
    }

    /// Finds out what is kept beyond need.
    fn retain(&self, spaces: &mut [Space]) {
        let (now, mut kept) = (self.wall.now(), 0);
        // What has no messages of its own is nothing to read.
        let published = |space: &&mut Space| space.extent.first < space.extent.next;
        for space in spaces.iter_mut().rev().filter(published) {
            if space.is_covered {
                kept += space.extent.size - space.estimate(None).bytes.min(space.extent.size);
            }
            let newest = space.extent.time;
            if !self.settings.retention.keeps(kept, newest, now) {
                return;
            }
            space.is_kept = true;
        }
    }

    /// Gives up segments that nobody needs.
    pub(super) fn release(&self) {
        // A message that was moved twice is not looked for where it lay in between.
        if self.log.has_unsynced_moves() {
            return;
        }
        let covered = self.log.covered();
        self.check_moved(covered);
        let retired = {
            let mut book = self.book.lock();
            let spaces = self.spaces(&mut book, covered);
            let free = spaces
                .iter()
                .filter(|space| space.is_free() && !space.is_kept)
                .map(|space| space.extent.number);
            let free: Vec<_> = free.collect();
            // While the book is held, so that no group that begins now waits for them.
            self.log.retire(&free)
        };
        for header in &retired {
            self.log.recycle(header);
        }
        if !retired.is_empty() {
            self.bell.ring();
        }
    }

    /// Reads once more what was moved out of segments that are about to be given up. What
    /// is damaged at its new place lies where it was.
    fn check_moved(&self, covered: u64) {
        let spaces = self.spaces(&mut self.book.lock(), covered);
        let free = spaces.iter().filter(|space| space.is_free());
        let free: Vec<_> = free
            .map(|space| space.extent.first..space.extent.next)
            .collect();
        for (id, _) in self.log.moved() {
            if free.iter().any(|messages| messages.contains(&id)) && !self.log.is_moved(id) {
                self.log.forget_moved(&[id]);
            }
        }
    }

    /// Moves what is left in segments, as far as that is worth it and allowed.
    fn empty(&self, upkeep: &mut Upkeep) {
        let covered = self.log.covered();
        let mut spaces = self.spaces(&mut self.book.lock(), covered);
        spaces.retain(|space| space.is_covered && !space.is_kept && space.live > 0);
        let Upkeep { credit, measured } = upkeep;
        measured.retain(|number, _| spaces.iter().any(|space| space.extent.number == *number));
        self.measure(&spaces, measured);
        let mut sparse: Vec<(Extent, u64)> = Vec::with_capacity(spaces.len());
        for space in &spaces {
            let live = space.estimate(measured.get(&space.extent.number));
            sparse.push((space.extent, live.bytes));
        }
        let (mut size, mut live) = sparse.iter().fold((0, 0), |(size, live), (extent, bytes)| {
            (size + extent.size, live + bytes)
        });
        sparse.sort_by_key(|(extent, bytes)| bytes.saturating_mul(1 << 16) / extent.size);
        let mut moved = 0;
        for (extent, bytes) in sparse {
            let is_urgent = size > 2 * live;
            let is_worth_it = if is_urgent {
                moved == 0 || moved + bytes <= self.settings.checkpoint_every
            } else {
                bytes < extent.size / 4 && bytes <= *credit
            };
            if !is_worth_it {
                return;
            }
            // The next one makes up for it.
            let Ok(written) = self.move_out(&extent) else {
                return;
            };
            moved += written;
            *credit = credit.saturating_sub(written);
            (size, live) = (size - extent.size, live.saturating_sub(bytes));
        }
    }

    /// Reads one segment, if anything was done in it since it was last read: how much
    /// of it is live cannot be told by how many messages are.
    fn measure(&self, spaces: &[Space], measured: &mut BTreeMap<u64, Live>) {
        let changed = |space: &&Space| {
            let known = measured.get(&space.extent.number);
            let known = known.map_or(space.extent.messages, |known| known.messages);
            known.abs_diff(space.live)
        };
        let Some(space) = spaces.iter().max_by_key(changed).filter(|s| changed(s) > 0) else {
            return;
        };
        let mut live = Live::default();
        let read = self.log.messages_in(&space.extent, |message| {
            if self.book.lock().is_live(message.id) {
                live.messages += 1;
                live.bytes += message.size;
            }
            true
        });
        if read.is_ok() {
            measured.insert(space.extent.number, live);
        }
    }

    /// Writes what is live in a segment again, at the end of the log. How many bytes.
    fn move_out(&self, extent: &Extent) -> Result<u64, AppendError> {
        let mut batch = Vec::new();
        let most = BATCH.min(self.log.largest_batch / 4);
        let (mut bytes, mut moved) = (0, 0);
        let mut outcome = Ok(());
        let read = self.log.messages_in(extent, |message| {
            if self.book.lock().is_live(message.id) {
                bytes += message.size;
                batch.push(Moving::new(message));
            }
            if bytes >= most {
                moved += std::mem::take(&mut bytes);
                outcome = self.write_again(&std::mem::take(&mut batch));
            }
            outcome.is_ok()
        });
        outcome?;
        if read.is_ok() {
            self.write_again(&batch)?;
        }
        Ok(moved + bytes)
    }

    fn write_again(&self, batch: &[Moving]) -> Result<(), AppendError> {
        if batch.is_empty() {
            return Ok(());
        }
        let records: Vec<_> = batch
            .iter()
            .map(|m| Record::new(Kind::Move, m.priority, &m.ext, &m.payload))
            .collect();
        if self.log.stage(&records, true, false)?.is_none() {
            // What is staged already is in the way. No other room is made: where there
            // is little, it is left to answers and publishers.
            let last = self.log.last();
            self.log
                .wait(last, Mark::Written)
                .map_err(AppendError::Failed)?;
            let staged = self.log.stage(&records, true, false)?;
            staged.ok_or(AppendError::Full)?;
        }
        add(&self.counts.moved, batch.len());
        Ok(())
    }
}

impl Space {
    fn is_free(&self) -> bool {
        self.is_covered && self.live == 0 && self.unsettled == 0
    }

    /// How much of it is live, by what was found when it was read, or by its average.
    fn estimate(&self, measured: Option<&Live>) -> Live {
        let known = measured.filter(|known| self.live <= known.messages);
        let known = known.copied().unwrap_or(Live {
            messages: self.extent.messages,
            bytes: self.extent.bytes,
        });
        let bytes = u128::from(known.bytes) * u128::from(self.live);
        Live {
            messages: self.live,
            bytes: (bytes / u128::from(known.messages.max(1))) as u64,
        }
    }
}

/// A message on its way.
struct Moving {
    priority: u8,
    ext: Vec<u8>,
    payload: Vec<u8>,
}

impl Moving {
    fn new(message: &Lying<'_>) -> Self {
        let Lying { id, time, .. } = *message;
        let mut ext = Origin { id, time }.encode().to_vec();
        ext.extend_from_slice(message.ext);
        Self {
            priority: message.priority,
            ext,
            payload: message.payload.to_vec(),
        }
    }
}
