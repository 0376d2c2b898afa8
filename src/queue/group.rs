//! What a group has done with the messages: the single-threaded heart, which knows
//! nothing of the log, of locks or of clocks.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ids::{BLOCK, Ids, WORDS};
use super::leases::{Lease, Leases};
use super::marks::{LATEST, Mark, Marks};
use super::records::{Reading, Writing};
use super::varint::{push_number, take_number, unzigzag, zigzag};
use super::wheel::Wheel;
use crate::time::Instant;

/// The level of most messages: those are taken in order, without being noted one by one.
const NORMAL: usize = 3;
const LEVELS: usize = 8;

/// Every message is in one of these places:
///
/// ```text
/// done           acknowledged, expired or lost; all below `floor` are
/// cursor and on  never handed out in this process, unless it is set apart
/// ready          handed out before, or of another priority than most; by level
/// waiting        until it is due
/// leases         handed out
/// dead           handed out too often, or refused
/// ```
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    floor: u64,
    done: Ids,
    /// How many at or behind the floor are done.
    done_above: u64,
    cursor: u64,
    /// At or behind the cursor, and in one of the other places.
    apart: Ids,
    ready: [Ids; LEVELS],
    /// Of those that wait, or were handed out before.
    marks: Marks,
    /// Reminders of those that wait.
    wheel: Wheel,
    leases: Leases,
    next_token: u64,
    dead: BTreeMap<u64, Dead>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) attempts: u32,
    pub(super) level: u8,
    pub(super) reason: String,
}

/// A message that was taken to be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) id: u64,
    pub(super) token: u64,
    /// This one included.
    pub(super) attempts: u32,
}

impl Group {
    pub(super) fn new(name: String, start: u64) -> Self {
        Self {
            name,
            floor: start,
            done: Ids::default(),
            done_above: 0,
            cursor: start,
            apart: Ids::default(),
            ready: Default::default(),
            marks: Marks::default(),
            wheel: Wheel::default(),
            leases: Leases::default(),
            next_token: 1,
            dead: BTreeMap::new(),
        }
    }

    /// Begins anew at this message. Leases of before do not hold any more.
    pub(super) fn seek(&mut self, start: u64) {
        let (name, next_token) = (std::mem::take(&mut self.name), self.next_token);
        *self = Self::new(name, start);
        self.next_token = next_token;
    }

    /// Below this number everything is done.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The first message from this one on that is not done.
    pub(super) fn next_open(&self, from: u64) -> u64 {
        self.done.next_absent(from.max(self.floor))
    }

    /// Messages below this one that are neither done nor dead, in runs that a record holds.
    pub(super) fn open_below(&self, below: u64) -> Vec<Range<u64>> {
        let mut open = Vec::new();
        let mut start = self.floor;
        let dead = self.dead.range(self.floor.min(below)..below);
        for end in dead.map(|(id, _)| *id).chain([below]) {
            while start < end {
                let next = end.min(start + u64::from(u32::MAX));
                open.push(start..next);
                start = next;
            }
            start = end + 1;
        }
        open
    }

    /// Notes a message that is not to be taken in its turn.
    pub(super) fn arrive(&mut self, id: u64, level: u8, due: u64) {
        if id < self.floor || self.done.contains(id) {
            return;
        }
        if due > 0 || usize::from(level) != NORMAL {
            self.put(id, level, 0, due);
        }
    }

    /// Puts a message where it waits, or is ready if it is due at once.
    fn put(&mut self, id: u64, level: u8, attempts: u32, due: u64) {
        self.take_out(id);
        if id >= self.cursor {
            self.apart.insert(id);
        }
        let mark = Mark {
            attempts,
            level,
            due: due.min(LATEST),
        };
        if due > 0 {
            self.wheel.insert(id, mark.due);
        } else {
            self.ready[usize::from(level & 7)].insert(id);
        }
        if due > 0 || attempts > 0 {
            self.marks.insert(id, mark);
        }
    }

    /// Takes a message out of where it is, except that it may be before the cursor.
    fn take_out(&mut self, id: u64) {
        self.marks.remove(id);
        self.ready.iter_mut().for_each(|level| {
            level.remove(id);
        });
        self.leases.remove(id);
        self.dead.remove(&id);
    }

    /// Whether the message is not done.
    pub(super) fn is_open(&self, id: u64) -> bool {
        id >= self.floor && !self.done.contains(id)
    }

    /// Takes up to so many messages below `visible`, and lends them until then.
    pub(super) fn take(&mut self, most: usize, visible: u64, deadline: Instant) -> Vec<Taken> {
        let mut lent = Vec::new();
        while lent.len() < most {
            let run = self.next_run(most - lent.len(), visible);
            if !run.is_empty() {
                lent.extend(run.map(|id| self.lend(id, NORMAL, 1, deadline)));
                continue;
            }
            let Some((id, level)) = self.next(visible) else {
                break;
            };
            if self.ready[level].remove(id) {
                // It stays apart while it is lent.
            } else {
                self.cursor = id + 1;
                self.apart.forget_below(self.cursor);
            }
            let mark = self.marks.remove(id);
            let attempts = mark.map_or(0, |mark| mark.attempts).saturating_add(1);
            lent.push(self.lend(id, level, attempts, deadline));
        }
        lent
    }

    fn lend(&mut self, id: u64, level: usize, attempts: u32, deadline: Instant) -> Taken {
        let token = self.next_token;
        self.next_token += 1;
        let lease = Lease {
            token,
            deadline,
            attempts,
            level: level as u8,
        };
        self.leases.insert(id, lease);
        Taken {
            id,
            token,
            attempts,
        }
    }

    /// Goes past as many messages as lie at the cursor one after the other, up to so many,
    /// while nothing is known of them and no others are ready: as most are.
    fn next_run(&mut self, most: usize, visible: u64) -> Range<u64> {
        let start = self.cursor.max(self.floor);
        let mut end = visible.min(start.saturating_add(most as u64));
        if end <= start || !self.ready.iter().all(Ids::is_empty) {
            return 0..0;
        }
        end = self.apart.next_present(start..end);
        end = self.done.next_present(start..end);
        if start < end {
            self.cursor = end;
            self.apart.forget_below(end);
        }
        start..end
    }

    fn next(&mut self, visible: u64) -> Option<(u64, usize)> {
        for level in (0..LEVELS).rev() {
            let mut first = self.ready[level].first().filter(|id| *id < visible);
            if level == NORMAL {
                let next = self.next_new(visible);
                first = match (first, next) {
                    (Some(first), Some(next)) => Some(first.min(next)),
                    (first, next) => first.or(next),
                };
            }
            if let Some(id) = first {
                return Some((id, level));
            }
        }
        None
    }

    /// The first message at or behind the cursor that nothing is known of.
    fn next_new(&mut self, visible: u64) -> Option<u64> {
        // What is below the floor is done, and not noted any more.
        let mut id = self.cursor.max(self.floor);
        loop {
            let next = self.apart.next_absent(self.done.next_absent(id));
            if next == id {
                break;
            }
            id = next;
        }
        // What was passed over needs not be looked at again.
        self.cursor = id.min(visible.max(self.cursor));
        (id < visible).then_some(id)
    }

    /// Has what is due by now be ready.
    pub(super) fn wake(&mut self, now: u64) {
        let Self { wheel, marks, .. } = self;
        let due_of = |id| marks.get(id).map(|mark| mark.due).filter(|due| *due > 0);
        for id in wheel.turn(now, due_of) {
            // It may have been reminded of twice.
            let Some(mark) = self.marks.get(id).filter(|mark| mark.due > 0) else {
                continue;
            };
            if mark.attempts == 0 {
                self.marks.remove(id);
            } else {
                self.marks.insert(id, Mark { due: 0, ..mark });
            }
            self.ready[usize::from(mark.level)].insert(id);
        }
    }

    /// Messages whose lease has ended by now.
    pub(super) fn expired(&self, now: Instant) -> Vec<Taken> {
        self.leases.expired(now)
    }

    /// When to look again whether something has changed by itself: a lease ended, or a
    /// message is due.
    pub(super) fn next_change(&self) -> (Option<Instant>, Option<u64>) {
        (self.leases.next_end(), self.wheel.next())
    }

    /// Whether the lease with this token still holds.
    pub(super) fn holds(&self, id: u64, token: u64) -> bool {
        self.leases.holds(id, token)
    }

    /// The priority of a message that is lent.
    pub(super) fn level(&self, id: u64) -> u8 {
        let lent = self.leases.get(id).map(|lease| lease.level);
        let marked = || self.marks.get(id).map(|mark| mark.level);
        lent.or_else(marked).unwrap_or(NORMAL as u8)
    }

    pub(super) fn extend(&mut self, id: u64, deadline: Instant) {
        self.leases.extend(id, deadline);
    }

    /// Finishes those of these whose lease still holds; their numbers.
    pub(super) fn finish_lent(&mut self, taken: &[Taken]) -> Vec<u64> {
        let mut finished = Vec::with_capacity(taken.len());
        for taken in taken {
            // What is lent is in no other place.
            if self.leases.settle(taken.id, taken.token) && self.done.insert(taken.id) {
                finished.push(taken.id);
            }
        }
        self.raise_floor(finished.len() as u64);
        finished
    }

    /// Whether it was not done before.
    pub(super) fn finish(&mut self, id: u64) -> bool {
        if !self.is_open(id) {
            return false;
        }
        self.take_out(id);
        self.done.insert(id);
        self.raise_floor(1);
        true
    }

    /// Finishes all of these; how many were not done before.
    pub(super) fn finish_all(&mut self, range: Range<u64>) -> u64 {
        let range = range.start.max(self.floor)..range.end;
        if range.is_empty() {
            return 0;
        }
        let marked = self.marks.range(range.clone());
        let mut noted: Vec<u64> = marked.map(|(id, _)| id).collect();
        noted.extend(self.dead.range(range.clone()).map(|(id, _)| *id));
        noted.extend(
            self.leases
                .iter()
                .map(|(id, _)| id)
                .filter(|id| range.contains(id)),
        );
        for level in &self.ready {
            noted.extend(level.within(range.clone()));
        }
        for id in noted {
            self.take_out(id);
        }
        if range.start == self.floor {
            // All up to there, without noting each.
            let were_done = self.done.count(range.clone());
            let finished = range.end - range.start - were_done;
            self.done_above -= were_done;
            self.done.forget_below(range.end);
            self.floor = range.end;
            self.raise_floor(0);
            return finished;
        }
        let before = self.done.len();
        self.done.insert_all(range);
        let finished = self.done.len() - before;
        self.raise_floor(finished);
        finished
    }

    /// Goes on to the first message that is not done, after so many more are.
    fn raise_floor(&mut self, finished: u64) {
        let floor = self.done.next_absent(self.floor);
        self.done_above = self.done_above + finished - (floor - self.floor);
        // In whole blocks, so that it is amortised.
        if floor / 4096 > self.floor / 4096 {
            self.done.forget_below(floor);
        }
        self.floor = floor;
    }

    /// Gives a message back; it is ready when it is due, at once if that is zero.
    pub(super) fn give_back(&mut self, id: u64, level: u8, attempts: u32, due: u64) {
        if self.is_open(id) {
            self.put(id, level, attempts, due);
        }
    }

    pub(super) fn bury(&mut self, id: u64, dead: Dead) {
        if self.is_open(id) {
            self.take_out(id);
            if id >= self.cursor {
                self.apart.insert(id);
            }
            self.dead.insert(id, dead);
        }
    }

    /// The same for all of these.
    pub(super) fn redrive_all(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let dead: Vec<u64> = self.dead.range(range).map(|(id, _)| *id).collect();
        for id in dead {
            self.redrive(id);
        }
    }

    /// Has a dead message be delivered again, as if it were new.
    pub(super) fn redrive(&mut self, id: u64) -> bool {
        match self.dead.remove(&id) {
            Some(dead) => {
                self.put(id, dead.level, 0, 0);
                true
            }
            None => false,
        }
    }

    pub(super) fn dead(&self) -> &BTreeMap<u64, Dead> {
        &self.dead
    }

    pub(super) fn lent(&self) -> usize {
        self.leases.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.marks.waiting()
    }

    /// Messages below this number that are not done.
    pub(super) fn pending(&self, next_id: u64) -> u64 {
        next_id
            .saturating_sub(self.floor)
            .saturating_sub(self.done_above)
    }

    pub(super) fn is_done(&self, messages: Range<u64>) -> bool {
        self.done.next_absent(messages.start.max(self.floor)) >= messages.end
    }

    /// Which messages of a block are done, a bit each.
    pub(super) fn done_block(&self, number: u64) -> [u64; WORDS] {
        let mut words = self.done.block(number);
        let below = self.floor.saturating_sub(number * BLOCK).min(BLOCK);
        for (word, first) in words.iter_mut().zip((0..below).step_by(64)) {
            let bits = (below - first).min(64);
            *word |= u64::MAX >> (64 - bits);
        }
        words
    }

    /// Whether anything is known of a message beside its number.
    pub(super) fn has_noted(&self, id: u64) -> bool {
        self.marks.get(id).is_some()
            || self.dead.contains_key(&id)
            || self.ready.iter().any(|level| level.contains(id))
    }

    /// Bytes it takes, about.
    pub(super) fn memory(&self) -> usize {
        let ready = self.ready.iter().map(Ids::memory).sum::<usize>();
        let noted = self.marks.memory() + self.wheel.memory();
        let lent = self.leases.memory() + 96 * self.dead.len();
        self.done.memory() + self.apart.memory() + ready + noted + lent
    }

    /// Writes down all that concerns messages below this number.
    pub(super) fn write(&self, writing: &mut Writing, next_id: u64) {
        let known = |id: u64| id < next_id;
        writing.bytes(self.name.as_bytes());
        writing.word(self.floor.min(next_id));
        self.done.write(writing, next_id);
        // A message that is lent counts as ready: leases die with the process.
        let ready = self.ready.iter().enumerate().flat_map(|(level, ids)| {
            ids.iter().map(move |id| {
                let attempts = self.marks.get(id).map_or(0, |mark| mark.attempts);
                let (level, due) = (level as u8, 0);
                (
                    id,
                    Mark {
                        attempts,
                        level,
                        due,
                    },
                )
            })
        });
        let marks = self.marks.range(0..u64::MAX);
        let delayed = marks.filter(|(_, mark)| mark.due > 0);
        let lent = self.leases.iter().map(|(id, lease)| {
            let (attempts, level, due) = (lease.attempts - 1, lease.level, 0);
            (
                id,
                Mark {
                    attempts,
                    level,
                    due,
                },
            )
        });
        let is_new = |mark: &Mark| mark.attempts == 0 && usize::from(mark.level) == NORMAL;
        let lent = lent.filter(|(_, mark)| !is_new(mark));
        let noted = ready.chain(delayed).chain(lent);
        let (mut last_id, mut last_due) = (0_u64, 0_u64);
        writing.counted(noted.filter(|(id, _)| known(*id)), |writing, (id, mark)| {
            let level = u64::from(mark.level & 7);
            push_number(&mut writing.0, zigzag(id.wrapping_sub(last_id)));
            push_number(&mut writing.0, u64::from(mark.attempts) << 3 | level);
            push_number(&mut writing.0, zigzag(mark.due.wrapping_sub(last_due)));
            (last_id, last_due) = (id, mark.due);
        });
        let dead: Vec<_> = self.dead.iter().filter(|(id, _)| known(**id)).collect();
        writing.list(&dead, |writing, (id, dead)| {
            writing.word(**id);
            writing.word(u64::from(dead.attempts) << 8 | u64::from(dead.level));
            writing.bytes(dead.reason.as_bytes());
        });
    }

    pub(super) fn read(reading: &mut Reading<'_>) -> Option<Self> {
        let name = String::from_utf8_lossy(reading.bytes()?).into_owned();
        let mut group = Self::new(name, reading.id()?);
        group.done = Ids::read(reading)?;
        group.done_above = group.done.len() - group.done.count(0..group.floor);
        group.done.forget_below(group.floor);
        group.raise_floor(0);
        let (mut id, mut due) = (0_u64, 0_u64);
        for _ in 0..reading.word()? {
            id = id.wrapping_add(unzigzag(take_number(&mut reading.0)?));
            let word = take_number(&mut reading.0)?;
            due = due.wrapping_add(unzigzag(take_number(&mut reading.0)?));
            if id >= 1 << 62 {
                return None;
            }
            group.give_back(id, (word & 7) as u8, (word >> 3) as u32, due);
        }
        let dead = reading.list(|r| Some((r.id()?, r.word()?, r.bytes()?)))?;
        for (id, word, reason) in dead {
            let reason = String::from_utf8_lossy(reason).into_owned();
            group.bury(
                id,
                Dead {
                    attempts: (word >> 8) as u32,
                    level: (word & 7) as u8,
                    reason,
                },
            );
        }
        Some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Instant = Instant::from_nanos(1);

    fn copy(group: &Group, next_id: u64) -> Group {
        let mut writing = Writing::default();
        group.write(&mut writing, next_id);
        Group::read(&mut Reading(&writing.0)).unwrap()
    }

    fn ids(taken: &[Taken]) -> Vec<u64> {
        taken.iter().map(|taken| taken.id).collect()
    }

    #[test]
    fn a_checkpoint_keeps_every_message_in_its_place_and_knows_of_none_to_come() {
        let mut group = Group::new("g".to_owned(), 1);
        group.arrive(3, 7, 0);
        group.arrive(4, 3, 50);
        group.arrive(9, 7, 0);
        group.arrive(10, 3, 60);
        // 3 comes first; 1 and 2 are new, and 1 stays lent.
        let taken = group.take(3, 9, SOON);
        assert_eq!(ids(&taken), [3, 1, 2]);
        group.give_back(3, 7, 1, 0);
        assert!(group.finish(2) && !group.finish(2));
        let dead = Dead {
            attempts: 2,
            level: 3,
            reason: "why".to_owned(),
        };
        group.bury(6, dead);
        let mut copy = copy(&group, 8);
        assert_eq!((copy.pending(8), copy.lent(), copy.waiting()), (6, 0, 1));
        assert_eq!(copy.dead(), group.dead());
        let again = copy.take(9, 12, SOON);
        assert_eq!(
            ids(&again),
            [3, 1, 5, 7, 8, 9, 10, 11],
            "9 and 10 are not known yet"
        );
        assert_eq!(again[0].attempts, 2);
        copy.wake(50);
        assert_eq!(ids(&copy.take(9, 12, SOON)), [4]);
        assert!(copy.redrive(6) && !copy.redrive(6));
        assert_eq!(ids(&copy.take(9, 12, SOON)), [6]);
        (1..12).for_each(|id| {
            copy.finish(id);
        });
        assert_eq!(copy.pending(12), 0);
        assert!(copy.is_done(1..12));
    }

    /// Whole blocks that are done are not noted, and so were taken for new ones.
    #[test]
    fn what_was_done_before_anybody_asked_is_not_handed_out() {
        for all_at_once in [true, false] {
            let mut group = Group::new("g".to_owned(), 1);
            if all_at_once {
                assert_eq!(group.finish_all(1..9000), 8999);
            } else {
                (1..9000).for_each(|id| assert!(group.finish(id)));
            }
            assert_eq!(ids(&group.take(2, 9002, SOON)), [9000, 9001]);
            assert_eq!(group.pending(9002), 2);
            assert_eq!(group.finish_all(1..9500), 500);
            assert_eq!((group.pending(9502), group.lent()), (2, 0));
            assert_eq!(ids(&group.take(2, 9502, SOON)), [9500, 9501]);
        }
    }
}
