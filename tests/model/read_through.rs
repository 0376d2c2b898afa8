//! A naive model of the read-through layer and a driver that holds the real one
//! against it: one thread, a clock turned by hand, a source that answers at
//! once, slowly, wrongly or not at all.
//!
//! The model keeps at most one entry and one load per key and says in plain
//! words what each step does to them. Compared are every answer, where it came
//! from and how old it is, what is held after every step, and how often the
//! source was asked.

#![allow(
    dead_code,
    reason = "the property tests and the fuzz target use different parts"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use tenfold::cache::read_through::{Because, Origin};
use tenfold::time::Instant;

use world::World;

mod world;

pub(crate) type Key = u8;
pub(crate) type Tag = u8;

/// Few enough that everything happens to every key.
pub(crate) const KEYS: u8 = 4;
pub(crate) const TAGS: u8 = 3;

/// Times in seconds.
#[allow(clippy::struct_excessive_bools, reason = "each is a knob")]
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) time_to_live: Option<u8>,
    pub(crate) negative_ttl: Option<u8>,
    pub(crate) max_stale: Option<u8>,
    pub(crate) throttle: u8,
    pub(crate) keep_stale: Option<u8>,
    /// After half of an entry's time.
    pub(crate) refreshes_ahead: bool,
    /// Counts only with `max_stale`.
    pub(crate) soft_timeout: bool,
    pub(crate) hard_timeout: bool,
    pub(crate) loads_many: bool,
}

/// What the source says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    Value { ttl: Option<u8>, tag: Option<Tag> },
    Absent,
    NotModified,
    Fail,
}

/// What the source does when it is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Script {
    Now(Reply),
    /// It answers when it is told to finish.
    Slow,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Get(Key, Script),
    /// While the caller waits for a slow load, that one ends; should it have to
    /// be asked again, the source brings a value.
    GetWhileFinishing(Key, Reply),
    /// Every key of which the bit is set and no load is under way.
    GetMany(u8, Reply),
    /// All slow loads of a key end.
    Finish(Key, Reply),
    /// The executor drops what it has.
    DropTasks,
    Insert(Key, Option<u8>, Option<Tag>),
    InsertAbsent(Key),
    Invalidate(Key),
    Expire(Key),
    InvalidateTag(Tag),
    ClearExpire,
    ClearRemove,
    Advance(u8),
}

/// What a call comes to. `None`: it would wait for ever, and is cancelled.
type Outcome = Option<Told>;

/// The value, where it came from, and its age.
type Told = Result<Served, Fault>;
type Served = (Option<u32>, Origin, Duration);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Failed,
    TimedOut,
    NothingToRenew,
}

const SOFT: Duration = Duration::from_secs(1);
const HARD: Duration = Duration::from_secs(3);
/// From the one to the other.
const REST: Duration = Duration::from_secs(2);

/// Holds the layer against the model over a sequence of operations.
pub(crate) fn run(config: &Config, ops: &[Op]) {
    let mut world = World::new(config.clone());
    for (step, op) in ops.iter().enumerate() {
        world.step(*op, step);
        world.compare(step, *op);
    }
}

#[derive(Debug, Clone)]
struct Entry {
    value: Option<u32>,
    quiet_until: Instant,
    fresh_until: Instant,
    loaded_at: Instant,
    /// Declared stale with everything else.
    expired: bool,
    stands_in: Option<Because>,
    tag: Option<Tag>,
}

/// A load under way.
#[derive(Debug, Clone)]
struct Load {
    key: Key,
    attached: bool,
    known: Option<Entry>,
    /// Whether what was known answered requests when the load began.
    is_refresh: bool,
    call: u32,
    /// Tags that were invalidated since it began.
    invalidated: Vec<Tag>,
}

struct Model {
    config: Config,
    now: Instant,
    entries: BTreeMap<Key, Entry>,
    loads: Vec<Load>,
    calls: [u32; KEYS as usize],
}

impl Entry {
    fn serves(&self, now: Instant) -> bool {
        !self.expired && now < self.quiet_until.max(self.fresh_until)
    }
}

impl Model {
    fn seconds(seconds: u8) -> Duration {
        Duration::from_secs(seconds.into())
    }

    fn max_stale(&self) -> Option<Duration> {
        self.config.max_stale.map(Self::seconds)
    }

    fn kept(&self) -> Duration {
        let keep = self.config.keep_stale.map(Self::seconds);
        self.max_stale().max(keep).unwrap_or_default()
    }

    fn keep_until(&self, entry: &Entry) -> Instant {
        match entry.value {
            Some(_) => entry.fresh_until + self.kept(),
            None => entry.fresh_until,
        }
    }

    fn may_stand_in(&self, entry: &Entry) -> bool {
        entry.value.is_some()
            && self
                .max_stale()
                .is_some_and(|longest| self.now < entry.fresh_until + longest)
    }

    fn stands_in_until(&self, entry: &Entry) -> Instant {
        let longest = self.max_stale().unwrap_or_default();
        (self.now + Self::seconds(self.config.throttle)).min(entry.fresh_until + longest)
    }

    fn held(&self, key: Key) -> Option<u32> {
        let entry = self
            .entries
            .get(&key)
            .filter(|entry| entry.serves(self.now));
        entry.and_then(|entry| entry.value)
    }

    /// What a loader is shown of a key.
    fn known(&self, key: Key) -> Option<Entry> {
        let entry = self.entries.get(&key)?;
        if entry.serves(self.now) {
            return Some(entry.clone());
        }
        if entry.value.is_none() || self.now >= self.keep_until(entry) {
            return None;
        }
        let mut entry = entry.clone();
        if entry.expired {
            entry.fresh_until = entry.fresh_until.min(self.now);
        }
        Some(entry)
    }

    fn new_entry(&self, value: Option<u32>, ttl: Option<Duration>, tag: Option<Tag>) -> Entry {
        let fresh_until = ttl.map_or(Instant::NEVER, |ttl| self.now + ttl);
        let lives = fresh_until.saturating_since(self.now);
        Entry {
            value,
            quiet_until: if self.config.refreshes_ahead && ttl.is_some() {
                self.now + lives / 2
            } else {
                fresh_until
            },
            fresh_until,
            loaded_at: self.now,
            expired: false,
            stands_in: None,
            tag,
        }
    }

    fn store(&mut self, key: Key, entry: Entry) {
        if self.keep_until(&entry) <= self.now {
            self.entries.remove(&key);
        } else {
            self.entries.insert(key, entry);
        }
    }

    fn detach(&mut self, key: Key) {
        for load in self.loads.iter_mut().filter(|load| load.key == key) {
            load.attached = false;
        }
    }

    fn loading(&self, key: Key) -> bool {
        self.loads
            .iter()
            .any(|load| load.key == key && load.attached)
    }

    /// Asks the source.
    fn begin(&mut self, key: Key) -> Load {
        let call = &mut self.calls[usize::from(key)];
        *call += 1;
        let call = *call;
        let known = self.known(key);
        Load {
            key,
            attached: true,
            is_refresh: known.as_ref().is_some_and(|known| known.serves(self.now)),
            known,
            call,
            invalidated: Vec::new(),
        }
    }

    /// Ends a load: what it gives those who wait, and what is stored. The flag
    /// says that a tag of it was invalidated meanwhile.
    fn land(&mut self, load: &Load, reply: Reply) -> Result<(Entry, bool), Fault> {
        let ttl = self.config.time_to_live.map(Self::seconds);
        let result = match reply {
            Reply::Value { ttl: own, tag } => {
                let ttl = own.map(Self::seconds).or(ttl);
                Ok(self.new_entry(Some(value_of(load.key, load.call)), ttl, tag))
            }
            Reply::Absent => {
                let ttl = self
                    .config
                    .negative_ttl
                    .map_or(Duration::ZERO, Self::seconds);
                Ok(self.new_entry(None, Some(ttl), None))
            }
            Reply::NotModified => match &load.known {
                Some(known) if known.value.is_some() => {
                    Ok(self.new_entry(known.value, ttl, known.tag))
                }
                _ => Err(Fault::NothingToRenew),
            },
            Reply::Fail => match &load.known {
                Some(known) if !load.is_refresh && self.may_stand_in(known) => {
                    let mut entry = known.clone();
                    entry.quiet_until = self.stands_in_until(known);
                    entry.stands_in = Some(Because::Failed);
                    entry.expired = false;
                    Ok(entry)
                }
                _ => Err(Fault::Failed),
            },
        };
        let entry = result?;
        let invalid = entry.tag.is_some_and(|tag| load.invalidated.contains(&tag));
        if load.attached {
            self.store(load.key, entry.clone());
            if invalid {
                self.entries.remove(&load.key);
            }
        }
        Ok((entry, invalid))
    }

    fn answer(&self, entry: &Entry, origin: Origin) -> Served {
        let origin = entry.stands_in.map_or(origin, Origin::Stale);
        let age = self.now.saturating_since(entry.loaded_at);
        (entry.value, origin, age)
    }

    fn stale_or(&self, stale: Option<&Entry>, because: Because, fault: Fault) -> Told {
        match stale {
            Some(stale) if self.may_stand_in(stale) => {
                let age = self.now.saturating_since(stale.loaded_at);
                Ok((stale.value, Origin::Stale(because), age))
            }
            _ => Err(fault),
        }
    }

    /// How long a caller with this stale value waits at most.
    fn patience(&self, stale: Option<&Entry>) -> Option<Duration> {
        let soft = (self.config.soft() && stale.is_some()).then_some(SOFT);
        let hard = self.config.hard_timeout.then_some(HARD);
        soft.into_iter().chain(hard).min()
    }

    /// The stale value that a caller may be served instead.
    fn stale(&self, key: Key) -> Option<Entry> {
        let known = self.known(key)?;
        (!known.serves(self.now) && self.may_stand_in(&known)).then_some(known)
    }

    /// A look-up: an answer, and whether a refresh starts.
    fn look_up(&mut self, key: Key) -> Option<(Told, bool)> {
        let now = self.now;
        let entry = self
            .entries
            .get_mut(&key)
            .filter(|entry| entry.serves(now))?;
        let is_due = now >= entry.quiet_until;
        if is_due {
            let half = entry.fresh_until.saturating_since(now) / 2;
            let least = entry.fresh_until.saturating_since(entry.loaded_at) / 16;
            entry.quiet_until = (now + half.max(least)).min(entry.fresh_until);
        }
        let entry = entry.clone();
        Some((
            Ok(self.answer(&entry, Origin::Fresh)),
            is_due && !self.loading(key),
        ))
    }

    fn refresh(&mut self, key: Key, script: Script) {
        let load = self.begin(key);
        match script {
            Script::Now(reply) => _ = self.land(&load, reply),
            Script::Slow => self.loads.push(load),
        }
    }

    fn get(&mut self, key: Key, script: Script) -> Outcome {
        if let Some((answer, refreshes)) = self.look_up(key) {
            if refreshes {
                self.refresh(key, script);
            }
            return Some(answer);
        }
        let stale = self.stale(key);
        let patience = self.patience(stale.as_ref());
        if !self.loading(key) {
            let load = self.begin(key);
            match (script, patience) {
                (Script::Now(reply), _) => {
                    return Some(match self.land(&load, reply) {
                        Ok((entry, _)) => Ok(self.answer(&entry, Origin::Loaded)),
                        Err(fault) => self.stale_or(stale.as_ref(), Because::Failed, fault),
                    });
                }
                // It goes on in the background.
                (Script::Slow, Some(_)) => self.loads.push(load),
                // It is cancelled with its caller.
                (Script::Slow, None) => return None,
            }
        }
        let patience = patience?;
        self.now = self.now + patience;
        if let Some(stale) = &stale {
            let until = self.stands_in_until(stale);
            if let Some(entry) = self.entries.get_mut(&key)
                && entry.quiet_until < until
            {
                entry.fresh_until = stale.fresh_until;
                entry.quiet_until = until;
                entry.stands_in = Some(Because::Slow);
                entry.expired = false;
            }
        }
        Some(self.stale_or(stale.as_ref(), Because::Slow, Fault::TimedOut))
    }

    fn get_while_finishing(&mut self, key: Key, reply: Reply) -> Outcome {
        if !self.loading(key) {
            return self.get(key, Script::Now(reply));
        }
        if let Some((answer, _)) = self.look_up(key) {
            self.finish(key, reply);
            return Some(answer);
        }
        let stale = self.stale(key);
        Some(match self.finish(key, reply) {
            Some(Ok((entry, invalid))) if !invalid => Ok(self.answer(&entry, Origin::Joined)),
            Some(Err(fault)) => self.stale_or(stale.as_ref(), Because::Failed, fault),
            // Its tag was invalidated, perhaps before this caller came.
            _ => {
                let load = self.begin(key);
                match self.land(&load, AGAIN) {
                    Ok((entry, _)) => Ok(self.answer(&entry, Origin::Loaded)),
                    Err(fault) => self.stale_or(stale.as_ref(), Because::Failed, fault),
                }
            }
        })
    }

    /// Ends all loads of a key; what the attached one came to.
    fn finish(&mut self, key: Key, reply: Reply) -> Option<Result<(Entry, bool), Fault>> {
        let mut attached = None;
        let (ending, others) = std::mem::take(&mut self.loads)
            .into_iter()
            .partition(|load| load.key == key);
        self.loads = others;
        for load in ending {
            let is_attached = load.attached;
            let landed = self.land(&load, reply);
            if is_attached {
                attached = Some(landed);
            }
        }
        attached
    }

    fn get_many(&mut self, keys: &[Key], reply: Reply) -> Vec<Result<Option<u32>, Fault>> {
        let mut answers = Vec::new();
        let (mut refreshes, mut missing) = (Vec::new(), Vec::new());
        for &key in keys {
            if let Some((answer, refresh)) = self.look_up(key) {
                refreshes.extend(refresh.then_some(key));
                answers.push(answer);
            } else {
                missing.push((answers.len(), key, self.stale(key)));
                answers.push(Err(Fault::Failed));
            }
        }
        for (position, key, stale) in missing {
            let load = self.begin(key);
            answers[position] = match self.land(&load, reply) {
                Ok((entry, _)) => Ok(self.answer(&entry, Origin::Loaded)),
                Err(fault) => self.stale_or(stale.as_ref(), Because::Failed, fault),
            };
        }
        for key in refreshes {
            self.refresh(key, Script::Now(reply));
        }
        let values = answers.into_iter();
        values.map(|told| told.map(|(value, ..)| value)).collect()
    }

    fn change(&mut self, op: Op) {
        match op {
            Op::Insert(key, ttl, tag) => {
                self.detach(key);
                let ttl = ttl.or(self.config.time_to_live).map(Self::seconds);
                let call = &mut self.calls[usize::from(key)];
                *call += 1;
                let value = value_of(key, *call);
                let entry = self.new_entry(Some(value), ttl, tag);
                self.store(key, entry);
            }
            Op::InsertAbsent(key) => {
                self.detach(key);
                let ttl = self
                    .config
                    .negative_ttl
                    .map_or(Duration::ZERO, Self::seconds);
                let entry = self.new_entry(None, Some(ttl), None);
                self.store(key, entry);
            }
            Op::Invalidate(key) => {
                self.detach(key);
                self.entries.remove(&key);
            }
            Op::Expire(key) => {
                self.detach(key);
                if let Some(mut entry) = self.entries.remove(&key) {
                    entry.fresh_until = entry.fresh_until.min(self.now);
                    entry.quiet_until = entry.quiet_until.min(self.now);
                    self.store(key, entry);
                }
            }
            Op::InvalidateTag(tag) => {
                self.entries.retain(|_, entry| entry.tag != Some(tag));
                for load in &mut self.loads {
                    load.invalidated.push(tag);
                    // What it knows of is as invalid: no load may bring it back.
                }
            }
            Op::ClearExpire => {
                self.loads.iter_mut().for_each(|load| load.attached = false);
                self.entries
                    .values_mut()
                    .for_each(|entry| entry.expired = true);
            }
            Op::ClearRemove => {
                self.loads.iter_mut().for_each(|load| load.attached = false);
                self.entries.clear();
            }
            Op::Advance(seconds) => self.now = self.now + Self::seconds(seconds),
            Op::DropTasks => self.loads.clear(),
            Op::Finish(key, reply) => _ = self.finish(key, reply),
            Op::Get(..) | Op::GetWhileFinishing(..) | Op::GetMany(..) => {}
        }
    }
}

impl Config {
    /// There is a soft timeout only where a stale value can be served.
    fn soft(&self) -> bool {
        self.soft_timeout && self.max_stale.is_some()
    }
}

/// What every call for a key brings, so that no two values are the same.
fn value_of(key: Key, call: u32) -> u32 {
    call * 256 + u32::from(key)
}

const AGAIN: Reply = Reply::Value {
    ttl: None,
    tag: None,
};
