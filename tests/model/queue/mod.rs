//! A naive model of the queue and a driver that holds the real one against it, over
//! openings.
//!
//! The model has a map per group. What a crash may take back, it knows message by
//! message: after one, all that is due within the hour is taken, and whatever is there
//! has to be something that may be. All else it foretells exactly.

#![allow(
    dead_code,
    reason = "the tests and the fuzz target use different parts"
)]

mod group;

use std::collections::BTreeMap;
use std::time::Duration;

use group::{Facts, Group, Place};
use tenfold::queue::storage::{Disk, SimDisk};
use tenfold::queue::{
    Backoff, Delivery, Durability, Message, Priority, Queue, QueueBuilder, Retention, SettleError,
    Start,
};
use tenfold::time::ManualClock;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// How many messages, of which kind, and how safe they are when it returns.
    Publish(u8, u8, u8),
    /// Up to so many messages for a group.
    Recv(u8, u8),
    /// Answers to one of the deliveries that are held, or to all of one group's.
    Ack(u8),
    AckDurable(u8),
    AckAll(u8),
    Nack(u8),
    NackIn(u8, u8),
    Reject(u8),
    Extend(u8, u8),
    Drop(u8),
    /// A group, and where it begins.
    Group(u8, u8),
    Replay(u8, u8),
    RemoveGroup(u8),
    Redrive(u8),
    RemoveDead(u8),
    Checkpoint,
    Flush,
    Close,
    Kill,
    PowerCut,
    /// So many seconds.
    Advance(u8),
}

const SECOND: Duration = Duration::from_secs(1);
const VISIBILITY: u64 = 10;
const RETRY: u64 = 3;
const WINDOW: u64 = 20;
const HOUR: u64 = 3600;
const NAMES: [&str; 3] = ["default", "other", "third"];

/// Runs the operations and compares after each. What is done is kept for groups to
/// come, or given up.
pub(crate) fn run(seed: u64, keeps: bool, ops: &[Op]) {
    let (disk, clock) = (SimDisk::new(seed), ManualClock::new());
    let queue = builder(&clock, keeps).open_on(disk.clone()).unwrap();
    let mut world = World {
        keeps,
        queue: Some(queue),
        disk,
        clock,
        now: 0,
        groups: BTreeMap::from([(0, Group::new(0))]),
        facts: BTreeMap::new(),
        dedup: BTreeMap::new(),
        held: Vec::new(),
        next_token: 0,
        next_group: 1,
        weak: Vec::new(),
        is_behind: false,
        has_holes: false,
    };
    for op in ops {
        world.step(*op);
        world.compare();
        if world.has_holes {
            break;
        }
    }
    // Whatever came last: it closes, and all is there.
    world.step(Op::Close);
    world.compare();
}

fn builder(clock: &ManualClock, keeps: bool) -> QueueBuilder {
    Queue::builder()
        .segments(16 << 10, 32 << 10)
        .checkpoint_every(24 << 10)
        .visibility(VISIBILITY as u32 * SECOND)
        .retry(Backoff::constant(RETRY as u32 * SECOND))
        .max_deliver(u32::MAX)
        .dedup_window(WINDOW as u32 * SECOND)
        .retention(if keeps {
            Retention::All
        } else {
            Retention::Acked
        })
        .clock(clock.clock())
        .seed(7)
}

struct World {
    keeps: bool,
    queue: Option<Queue<SimDisk>>,
    disk: SimDisk,
    clock: ManualClock,
    now: u64,
    /// By their names.
    groups: BTreeMap<usize, Group>,
    /// Of every message there is.
    facts: BTreeMap<u64, Facts>,
    /// The first message with a key, and when it came.
    dedup: BTreeMap<u8, (u64, u64)>,
    held: Vec<Held>,
    next_token: u64,
    next_group: u64,
    /// Messages that a crash may take back.
    weak: Vec<u64>,
    /// Whether a crash may take anything back.
    is_behind: bool,
    /// Numbers that have no message: what becomes of them is not foretold.
    has_holes: bool,
}

struct Held {
    name: usize,
    /// The group that has the name may be another by now.
    group: u64,
    token: u64,
    delivery: Delivery<SimDisk>,
}

impl World {
    fn queue(&self) -> &Queue<SimDisk> {
        self.queue.as_ref().unwrap()
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Publish(count, kind, level) => self.publish(count, kind, level),
            Op::Recv(name, most) => self.recv(usize::from(name) % 3, 1 + usize::from(most) % 40),
            Op::Ack(index) => {
                self.answer(index, Place::Done, Delivery::ack);
            }
            Op::AckDurable(index) => {
                let lasts = self.answer(index, Place::Done, Delivery::ack_durable);
                if lasts {
                    self.all_lasts();
                }
            }
            Op::AckAll(name) => self.ack_all(usize::from(name) % 3),
            Op::Nack(index) => {
                let due = self.now + RETRY;
                self.answer(index, Place::Waiting { due }, Delivery::nack);
            }
            Op::NackIn(index, pause) => {
                let (due, pause) = (self.now + u64::from(pause), u32::from(pause) * SECOND);
                let place = if pause.is_zero() {
                    Place::Ready
                } else {
                    Place::Waiting { due }
                };
                self.answer(index, place, |delivery| delivery.nack_in(pause));
            }
            Op::Reject(index) => {
                self.answer(index, Place::Dead, |delivery| delivery.reject("no"));
            }
            Op::Extend(index, by) => self.extend(index, by),
            Op::Drop(index) => {
                let due = self.now + RETRY;
                self.answer_unseen(index, Place::Waiting { due });
            }
            Op::Group(name, start) => self.group(1 + usize::from(name) % 2, start, false),
            Op::Replay(name, start) => self.group(usize::from(name) % 3, start, true),
            Op::RemoveGroup(name) => {
                let name = 1 + usize::from(name) % 2;
                self.queue().remove_group(NAMES[name]).unwrap();
                if self.groups.remove(&name).is_some() {
                    self.all_lasts();
                }
            }
            Op::Redrive(name) => self.redrive(usize::from(name) % 3),
            Op::RemoveDead(name) => self.remove_dead(usize::from(name) % 3),
            Op::Checkpoint => {
                self.queue().checkpoint().unwrap();
                self.all_lasts();
            }
            Op::Flush => {
                self.queue().flush().unwrap();
                self.all_lasts();
            }
            Op::Close => self.close(),
            Op::Kill => self.crash(SimDisk::kill),
            Op::PowerCut => self.crash(SimDisk::power_cut),
            Op::Advance(seconds) => self.advance(u64::from(seconds)),
        }
    }

    fn advance(&mut self, seconds: u64) {
        self.now += seconds;
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Nothing that was said until now is taken back.
    fn all_lasts(&mut self) {
        self.is_behind = false;
        self.weak.clear();
        self.groups.values_mut().for_each(Group::settle_doubts);
    }

    // ---- what callers do

    fn publish(&mut self, count: u8, kind: u8, level: u8) {
        let count = if count < 200 { 1 } else { count % 8 + 2 };
        let level = match level % 8 {
            0 => Durability::Process,
            1 => Durability::Memory,
            _ => Durability::Power,
        };
        let mut messages = Vec::new();
        let mut expected = Vec::new();
        for index in 0..count {
            let kind = kind.wrapping_add(index);
            let mut facts = Facts {
                level: 3,
                due: self.now,
                expires: u64::MAX,
            };
            let mut message = Message::new(vec![kind; 40 * usize::from(kind % 16)]);
            if kind & 1 == 1 {
                facts.level = kind >> 1 & 7;
                message = message.priority(Priority::new(facts.level));
            }
            if kind & 0x30 == 0x10 {
                facts.due += u64::from(kind >> 6) * 3 + 1;
                message = message.delay(Duration::from_secs(facts.due - self.now));
            }
            if kind & 0x70 == 0x20 {
                facts.expires = self.now + 5 + u64::from(kind & 7);
                message = message.ttl(Duration::from_secs(facts.expires - self.now));
            }
            // What is only in memory is as old as its writing after an opening, and so is
            // the window of its key: longer than its publisher saw.
            let has_key = kind & 0x70 == 0x60 && level != Durability::Memory;
            let key = has_key.then_some(kind & 3);
            if let Some(key) = key {
                message = message.dedup_id([key]);
            }
            messages.push(message);
            expected.push((key, facts));
        }
        let queue = self.queue().with_durability(level);
        let published = queue.publish_batch(&messages).unwrap();
        let last = self.facts.last_key_value().map_or(0, |(id, _)| *id);
        let now = self.now;
        self.dedup.retain(|_, (_, time)| *time + WINDOW > now);
        let mut next = None;
        for (published, (key, facts)) in published.into_iter().zip(expected) {
            let id = published.id;
            if let Some((first, _)) = key.and_then(|key| self.dedup.get(&key)) {
                assert_eq!((id, published.duplicate), (*first, true));
                continue;
            }
            assert!(!published.duplicate && id > last, "{id} is taken");
            assert!(next.is_none_or(|next| next == id), "a batch has a gap");
            next = Some(id + 1);
            if let Some(key) = key {
                self.dedup.insert(key, (id, now));
            }
            self.facts.insert(id, facts);
            self.weak.push(id);
            for group in self.groups.values_mut() {
                group.arrive(id, facts, now);
            }
        }
        if level == Durability::Power {
            self.all_lasts();
        } else {
            self.is_behind = true;
        }
    }

    fn recv(&mut self, name: usize, most: usize) {
        if !self.groups.contains_key(&name) {
            return;
        }
        if !self.weak.is_empty() {
            // What does not last yet is not seen: when it does is not foretold.
            self.step(Op::Flush);
        }
        // What was there before the group and is not due counts among so many, unless a
        // checkpoint knows that it waits.
        let has_early = self.groups[&name].has_early(self.now, &self.facts);
        let most = if has_early { 1000 } else { most };
        let consumer = self.queue().group(NAMES[name], Start::Latest).unwrap();
        let found = consumer.recv_batch_timeout(most, Duration::ZERO).unwrap();
        self.is_behind = true;
        let group = self.groups.get_mut(&name).unwrap();
        let before = self.next_token;
        let (now, token) = (self.now, &mut self.next_token);
        let lent = group.take(most, now, now + VISIBILITY, token, &self.facts);
        let ids: Vec<_> = found.iter().map(Delivery::id).collect();
        assert_eq!(ids, lent, "{}", NAMES[name]);
        for (delivery, token) in found.into_iter().zip(before + 1..) {
            let state = group.states.get_mut(&delivery.id()).unwrap();
            let attempt = delivery.attempt();
            let attempts = *state.attempts.get_or_insert(attempt - 1);
            assert_eq!(
                attempt,
                attempts + 1,
                "{} of {}",
                delivery.id(),
                NAMES[name]
            );
            self.held.push(Held {
                name,
                group: group.number,
                token,
                delivery,
            });
        }
    }

    fn pick(&mut self, index: u8) -> Option<Held> {
        let index = usize::from(index).checked_rem(self.held.len())?;
        Some(self.held.swap_remove(index))
    }

    /// Answers one that is held. Whether the answer counts.
    fn answer(
        &mut self,
        index: u8,
        place: Place,
        act: impl FnOnce(Delivery<SimDisk>) -> Result<(), SettleError>,
    ) -> bool {
        let Some(held) = self.pick(index) else {
            return false;
        };
        let id = held.delivery.id();
        let counts = self.settle(&held, place);
        let answered = act(held.delivery);
        let is_late = matches!(answered, Err(SettleError::Expired { .. }));
        assert!(is_late || answered.is_ok(), "{answered:?}");
        assert_eq!(!is_late, counts, "{id} of {}", NAMES[held.name]);
        counts
    }

    fn answer_unseen(&mut self, index: u8, place: Place) -> bool {
        let held = self.pick(index);
        held.is_some_and(|held| self.settle(&held, place))
    }

    fn settle(&mut self, held: &Held, place: Place) -> bool {
        let group = self.groups.get_mut(&held.name);
        let group = group.filter(|group| group.number == held.group);
        let state = group.and_then(|group| group.lent(held.delivery.id(), held.token));
        let counts = state.is_some();
        if let Some(state) = state {
            state.answer(place);
            self.is_behind = true;
        }
        counts
    }

    fn ack_all(&mut self, name: usize) {
        let Some(number) = self.groups.get(&name).map(|group| group.number) else {
            return;
        };
        let held = std::mem::take(&mut self.held).into_iter();
        let (mine, others): (Vec<_>, _) = held.partition(|h| h.group == number && h.name == name);
        self.held = others;
        let mut all = true;
        for held in &mine {
            all &= self.settle(held, Place::Done);
        }
        let consumer = self.queue().group(NAMES[name], Start::Latest).unwrap();
        let deliveries = mine.into_iter().map(|held| held.delivery).collect();
        assert_eq!(consumer.ack_all(deliveries).is_ok(), all);
    }

    fn extend(&mut self, index: u8, by: u8) {
        let Some(index) = usize::from(index).checked_rem(self.held.len()) else {
            return;
        };
        let now = self.now;
        let Self { held, groups, .. } = self;
        let held = &held[index];
        let group = groups.get_mut(&held.name);
        let group = group.filter(|group| group.number == held.group);
        let state = group.and_then(|group| group.lent(held.delivery.id(), held.token));
        let extended = held.delivery.extend(u32::from(by) * SECOND);
        assert_eq!(extended.is_ok(), state.is_some());
        if let Some(state) = state {
            let token = held.token;
            let until = now + u64::from(by);
            state.place = Place::Lent { token, until };
        }
    }

    fn group(&mut self, name: usize, start: u8, anew: bool) {
        if self.groups.contains_key(&name) && !anew {
            self.queue().group(NAMES[name], Start::Earliest).unwrap();
            return;
        }
        let next = self.facts.last_key_value().map_or(1, |(id, _)| *id + 1);
        let (at, begin) = match start {
            0..100 if self.keeps => (1, Start::Earliest),
            200.. => (next, Start::Latest),
            _ => {
                let least = if self.keeps { 1 } else { self.all_open_from() };
                let at = least + u64::from(start).checked_rem(next - least).unwrap_or(0);
                (at, Start::At(at))
            }
        };
        if anew {
            self.queue().replay(NAMES[name], begin).unwrap();
        } else {
            self.queue().group(NAMES[name], begin).unwrap();
        }
        // The leases of before do not hold, though the group is the same.
        let mut group = Group::new(self.next_group);
        self.next_group += 1;
        for id in self.facts.range(at..).map(|(id, _)| *id) {
            group.find(id);
        }
        self.groups.insert(name, group);
        self.all_lasts();
    }

    /// From this number on no message is done in all groups, and so none is given up.
    fn all_open_from(&self) -> u64 {
        let is_open = |id: &u64| self.groups.values().any(|group| group.is_open(*id));
        let next = self.facts.last_key_value().map_or(1, |(id, _)| *id + 1);
        let open = self.facts.keys().rev().copied().take_while(is_open);
        open.last().unwrap_or(next)
    }

    fn redrive(&mut self, name: usize) {
        let Some(group) = self.groups.get_mut(&name) else {
            return;
        };
        let dead = group.dead();
        for id in &dead {
            group.states.get_mut(id).unwrap().renew();
        }
        let letters = self.queue().dead_letters_of(NAMES[name]).unwrap();
        assert_eq!(letters.redrive(dead.clone()).unwrap(), dead.len());
        if !dead.is_empty() {
            self.all_lasts();
        }
    }

    fn remove_dead(&mut self, name: usize) {
        let Some(group) = self.groups.get_mut(&name) else {
            return;
        };
        let Some(id) = group.dead().first().copied() else {
            return;
        };
        group.states.get_mut(&id).unwrap().place = Place::Done;
        let letters = self.queue().dead_letters_of(NAMES[name]).unwrap();
        assert_eq!(letters.remove([id]).unwrap(), 1);
        self.all_lasts();
    }

    // ---- ends of processes

    fn close(&mut self) {
        self.queue().close().unwrap();
        self.all_lasts();
        self.end(SimDisk::kill);
        assert_eq!(self.queue().recovery().records, 0, "it was closed");
    }

    fn crash(&mut self, how: impl Fn(&SimDisk)) {
        let is_behind = self.is_behind;
        self.end(how);
        if is_behind {
            self.look_around();
        }
    }

    fn end(&mut self, how: impl Fn(&SimDisk)) {
        // It dies in an operation that changes nothing, so that it says nothing of what
        // it holds.
        self.disk.crash_at(self.disk.operations() + 1);
        assert!(self.disk.open("no such file").is_err());
        self.held.clear();
        self.queue = None;
        how(&self.disk);
        let queue = builder(&self.clock, self.keeps).open_on(self.disk.clone());
        let queue = queue.unwrap();
        assert!(queue.recovery().is_clean(), "{}", queue.recovery());
        self.queue = Some(queue);
        self.groups.values_mut().for_each(Group::let_go);
    }

    /// Takes all there is, an hour later, and believes what may be.
    fn look_around(&mut self) {
        self.advance(HOUR);
        self.dedup.clear();
        let mut reader = self.queue().reader();
        for id in std::mem::take(&mut self.weak) {
            if reader.read(id).unwrap().is_none() {
                self.facts.remove(&id);
                for group in self.groups.values_mut() {
                    group.states.remove(&id);
                }
            }
        }
        let last = self.facts.last_key_value().map_or(0, |(id, _)| *id);
        self.has_holes = self.facts.len() as u64 != last;
        let names: Vec<_> = self.groups.keys().copied().collect();
        for name in names {
            let consumer = self.queue().group(NAMES[name], Start::Latest).unwrap();
            let found = consumer.recv_batch_timeout(1000, Duration::ZERO).unwrap();
            let rest = consumer.recv_batch_timeout(1000, Duration::ZERO).unwrap();
            let found: BTreeMap<_, _> =
                found.into_iter().chain(rest).map(|d| (d.id(), d)).collect();
            let letters = self.queue().dead_letters_of(NAMES[name]).unwrap().list();
            let dead: Vec<_> = letters.iter().map(|letter| letter.id).collect();
            for (id, state) in &mut self.groups.get_mut(&name).unwrap().states {
                let what = || format!("{id} of {}", NAMES[name]);
                let (is_found, is_dead) = (found.contains_key(id), dead.contains(id));
                let is_expired = self.facts[id].expires <= self.now;
                let place = match (is_found, is_dead) {
                    (true, _) => Place::Ready,
                    (_, true) => Place::Dead,
                    _ => Place::Done,
                };
                if !state.is_open_to_doubt {
                    let expected = match state.place {
                        Place::Done => Place::Done,
                        Place::Dead => Place::Dead,
                        _ if is_expired => Place::Done,
                        _ => Place::Ready,
                    };
                    assert_eq!(place, expected, "{}", what());
                } else if is_expired {
                    assert_ne!(place, Place::Ready, "{}", what());
                } else if place != Place::Ready {
                    assert_eq!(place, state.place, "{}", what());
                }
                (state.place, state.attempts) = (place, None);
            }
            for (id, delivery) in found {
                assert!(self.facts.contains_key(&id), "{id} is nobody's");
                delivery.nack_in(Duration::ZERO).unwrap();
            }
        }
        self.step(Op::Flush);
    }

    // ---- what is held against it

    fn compare(&self) {
        let stats = self.queue().stats();
        let count = |is_it: &dyn Fn(Place) -> bool| -> Vec<u64> {
            let groups = self.groups.values();
            groups.map(|group| group.count(is_it)).collect()
        };
        let open = count(&|place| place != Place::Done);
        let lent = count(&|place| matches!(place, Place::Lent { .. }));
        // What is due is counted until somebody looks.
        let waiting = count(&|place| match place {
            Place::Waiting { due } | Place::Early { due } => due > self.now,
            _ => false,
        });
        let dead = count(&|place| place == Place::Dead);
        assert_eq!(stats.in_flight, lent.iter().sum::<u64>());
        assert_eq!(stats.dead, dead.iter().sum::<u64>());
        assert!(stats.waiting >= waiting.iter().sum::<u64>());
        if !self.has_holes {
            assert_eq!(stats.pending, open.into_iter().max().unwrap_or(0));
            assert_eq!(stats.lost, 0);
        }
        for (name, group) in &self.groups {
            let letters = self.queue().dead_letters_of(NAMES[*name]).unwrap().list();
            let letters: Vec<_> = letters.iter().map(|letter| letter.id).collect();
            assert_eq!(letters, group.dead());
        }
    }
}
