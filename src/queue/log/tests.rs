use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::queue::storage::{Fault, SimDisk};
use crate::time::ManualClock;

/// What a log amounts to, for a test: messages by number, and those that are done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) messages: BTreeMap<u64, Vec<u8>>,
    done: BTreeSet<u64>,
}

impl State {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (id, payload) in &self.messages {
            bytes.extend_from_slice(&id.to_le_bytes());
            bytes.push(u8::from(self.done.contains(id)));
            bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            bytes.extend_from_slice(payload);
        }
        bytes
    }
}

impl Replay for State {
    fn restore(&mut self, mut body: &[u8]) {
        while !body.is_empty() {
            let id = format::u64_at(body, 0);
            let len = format::u32_at(body, 9) as usize;
            self.messages.insert(id, body[13..13 + len].to_vec());
            if body[8] == 1 {
                self.done.insert(id);
            }
            body = &body[13 + len..];
        }
    }

    fn missing(&mut self, _: std::ops::Range<u64>) {}

    fn record(&mut self, record: &Replayed<'_>) {
        match record.header.kind {
            Kind::Publish => {
                let old = self
                    .messages
                    .insert(record.header.id, record.payload.to_vec());
                assert_eq!(old, None, "a message was replayed twice");
            }
            Kind::Ack => {
                self.done.insert(format::u64_at(record.payload, 0));
            }
            kind => panic!("no {kind:?} was written"),
        }
    }
}

pub(super) fn options() -> Options {
    Options {
        smallest_segment: 16 << 10,
        largest_segment: 32 << 10,
        undurable: 2 << 10,
        tail: 8 << 10,
        seed: 7,
        only_reads: false,
    }
}

pub(super) type Opened = (Log<SimDisk>, State, Recovery);

pub(super) fn open_with(disk: &SimDisk, options: &Options) -> Result<Opened, OpenError> {
    let mut state = State::default();
    let wall = Wall::new(ManualClock::new().clock());
    let (log, report, _) = Log::open(disk.clone(), options, wall, Arc::default(), &mut state)?;
    Ok((log, state, report))
}

fn open(disk: &SimDisk) -> Opened {
    open_with(disk, &options()).unwrap()
}

/// Gives up segments that both checkpoints cover.
fn release(log: &Log<SimDisk>, is_done: impl Fn(&Extent) -> bool) {
    let covered = log.covered();
    let mut extents = log.extents();
    extents.pop();
    for extent in extents {
        if extent.end <= covered && is_done(&extent) {
            for header in &log.retire(&[extent.number]) {
                log.recycle(header);
            }
        }
    }
}

pub(super) fn publish(log: &Log<SimDisk>, payload: &[u8]) -> u64 {
    let batch = [Record::new(Kind::Publish, 0, &[], payload)];
    let (ticket, id) = log.append(&batch, true, true).unwrap();
    log.wait(ticket, Mark::Durable).unwrap();
    id
}

#[test]
fn what_was_written_is_read_again_from_memory_and_from_the_file() {
    let disk = SimDisk::new(1);
    let (log, ..) = open(&disk);
    let payload = |n: u64| vec![n as u8; 5 + (n as usize * 37) % 700];
    for n in 1..=200 {
        assert_eq!(publish(&log, &payload(n)), n);
    }
    let mut ahead = ReadAhead::default();
    let check = |log: &Log<SimDisk>, ahead: &mut ReadAhead, n: u64| {
        let stored = log.read(n, ahead).unwrap();
        assert_eq!(stored.bytes, payload(n));
    };
    (1..=200).for_each(|n| check(&log, &mut ahead, n));
    (1..=200).rev().for_each(|n| check(&log, &mut ahead, n));
    log.close().unwrap();
    drop(log);
    let (log, state, report) = open(&disk);
    assert!(report.is_clean() && report.torn.is_none(), "{report}");
    assert_eq!(state.messages.len(), 200);
    (1..=200).for_each(|n| check(&log, &mut ahead, n));
    assert_eq!(publish(&log, b"next"), 201);
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let disk = SimDisk::new(1);
    let (log, ..) = open(&disk);
    let Err(OpenError::Locked { pid }) = open_with(&disk, &options()) else {
        panic!("opened twice");
    };
    assert_eq!(pid, Some(std::process::id()));
    drop(log);
    open(&disk);
}

/// Random operations, crashes and openings, beside what was promised.
struct Life {
    rng: Rng,
    disk: SimDisk,
    clock: ManualClock,
    options: Options,
    next_payload: u64,
    /// What every number was ever given to: an unconfirmed message's may be given again.
    given: BTreeMap<u64, Vec<Vec<u8>>>,
    batches: Vec<Vec<(u64, Vec<u8>)>>,
    /// What survives a kill, and what survives a power cut.
    written: State,
    durable: State,
    syncs_fail: bool,
    crashes: u64,
    confirmed: u64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let disk = SimDisk::new(rng.next_u64());
        disk.set_short_writes(rng.below(4) == 0);
        Self {
            disk,
            clock: ManualClock::new(),
            options: Options {
                seed: rng.next_u64(),
                only_reads: false,
                ..options()
            },
            rng,
            next_payload: 0,
            given: BTreeMap::new(),
            batches: Vec::new(),
            written: State::default(),
            durable: State::default(),
            syncs_fail: false,
            crashes: 0,
            confirmed: 0,
        }
    }

    fn live(&mut self) {
        for _ in 0..=self.rng.below(4) {
            let ahead = 1 + self.rng.below(40);
            // Half of them die while they are being opened or soon after.
            let ahead = if self.rng.below(2) == 0 {
                ahead
            } else {
                6 * ahead
            };
            self.disk.crash_at(self.disk.operations() + ahead);
            self.syncs_fail = self.rng.below(8) == 0;
            if self.syncs_fail {
                self.disk.fail_syncs(1 + self.rng.below(2) as u32);
            }
            if let Some(opened) = self.open() {
                self.work(opened);
            }
            self.crash();
        }
        self.disk.fail_syncs(0);
        let (log, state, report) = self.open().expect("nothing goes wrong now");
        assert!(report.is_clean(), "{report:?}");
        self.check(&state);
        log.close().unwrap();
        drop(log);
        let (_, again, report) = self.open().expect("nothing goes wrong now");
        assert!(report.is_clean() && report.torn.is_none(), "{report:?}");
        assert_eq!(again, state);
    }

    fn open(&mut self) -> Option<Opened> {
        let mut state = State::default();
        let wall = Wall::new(self.clock.clock());
        self.clock
            .advance(Duration::from_millis(self.rng.below(30)));
        let opened = Log::open(
            self.disk.clone(),
            &self.options,
            wall,
            Arc::default(),
            &mut state,
        );
        let (log, report, _) = match opened {
            Ok(opened) => opened,
            Err(OpenError::Io(_)) => return None,
            Err(error) => panic!("{error}"),
        };
        assert!(report.is_clean(), "{report:?}");
        self.check(&state);
        let mut ahead = ReadAhead::default();
        for (id, payload) in &state.messages {
            if state.done.contains(id) {
                continue;
            }
            match log.read(*id, &mut ahead) {
                Ok(stored) => assert_eq!(stored.bytes, payload),
                Err(ReadError::Io(_)) => assert!(self.disk.has_crashed()),
                Err(ReadError::Lost) => panic!("message {id} is not where it was"),
            }
        }
        // An ack may survive its message, if nobody was promised either.
        state.done.retain(|id| state.messages.contains_key(id));
        // Whatever was found can be delivered now, so nothing may take it back.
        self.written = state.clone();
        self.durable = state.clone();
        Some((log, state, report))
    }

    fn check(&self, state: &State) {
        for (id, payload) in &state.messages {
            assert!(
                self.given[id].contains(payload),
                "message {id} was never there"
            );
        }
        for (id, payload) in &self.written.messages {
            assert_eq!(
                state.messages.get(id),
                Some(payload),
                "message {id} is lost"
            );
        }
        assert!(state.done.is_superset(&self.written.done), "an ack is lost");
        for batch in &self.batches {
            let is_there = |(id, payload): &(u64, Vec<u8>)| state.messages.get(id) == Some(payload);
            let there = batch.iter().filter(|message| is_there(message)).count();
            assert!(
                there == 0 || there == batch.len(),
                "half a batch: {batch:?}"
            );
        }
    }

    fn work(&mut self, (log, mut state, _): Opened) {
        for _ in 0..self.rng.below(60) {
            if self.disk.has_crashed() {
                break;
            }
            self.clock.advance(Duration::from_millis(self.rng.below(8)));
            match self.rng.below(20) {
                0 => {
                    let body = state.encode();
                    let _ = log.checkpoint(false, |_| body);
                }
                1 => Self::release(&log, &state),
                2..6 => self.ack(&log, &mut state),
                _ => self.publish(&log, &mut state),
            }
        }
    }

    fn publish(&mut self, log: &Log<SimDisk>, state: &mut State) {
        let count = 1 + self.rng.below(4);
        let payloads: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                self.next_payload += 1;
                let len = match self.rng.below(10) {
                    0 => self.rng.below(6000),
                    _ => self.rng.below(300),
                };
                let mut payload = self.next_payload.to_le_bytes().to_vec();
                payload.resize(8 + len as usize, self.next_payload as u8);
                payload
            })
            .collect();
        let records: Vec<_> = payloads
            .iter()
            .map(|payload| Record::new(Kind::Publish, 0, &[], payload))
            .collect();
        let mark = self.mark();
        let Ok((ticket, first)) = log.append(&records, true, mark == Some(Mark::Durable)) else {
            return;
        };
        let messages: Vec<_> = (first..).zip(payloads).collect();
        for (id, payload) in &messages {
            self.given.entry(*id).or_default().push(payload.clone());
            state.messages.insert(*id, payload.clone());
        }
        self.batches.push(messages);
        self.confirm(log, ticket, mark, state);
    }

    fn ack(&mut self, log: &Log<SimDisk>, state: &mut State) {
        let open: Vec<_> = state
            .messages
            .keys()
            .filter(|id| !state.done.contains(id))
            .collect();
        if open.is_empty() {
            return;
        }
        let id = *open[self.rng.below(open.len() as u64) as usize];
        let payload = id.to_le_bytes();
        let batch = [Record::new(Kind::Ack, 0, &[], &payload)];
        let mark = self.mark();
        if let Ok((ticket, _)) = log.append(&batch, false, mark == Some(Mark::Durable)) {
            state.done.insert(id);
            self.confirm(log, ticket, mark, state);
        }
    }

    /// Single-threaded: what is through has everything before it through as well.
    fn confirm(&mut self, log: &Log<SimDisk>, ticket: Ticket, mark: Option<Mark>, state: &State) {
        let Some(mark) = mark else {
            return;
        };
        if log.wait(ticket, mark).is_ok() {
            self.confirmed += 1;
            self.written = state.clone();
            if mark == Mark::Durable {
                self.durable = state.clone();
            }
        }
    }

    fn mark(&mut self) -> Option<Mark> {
        match self.rng.below(4) {
            0 => None,
            1 => Some(Mark::Written),
            _ => Some(Mark::Durable),
        }
    }

    fn release(log: &Log<SimDisk>, state: &State) {
        release(log, |extent| {
            (extent.first..extent.next).all(|id| state.done.contains(&id))
        });
    }

    fn crash(&mut self) {
        self.crashes += 1;
        let is_kill = self.rng.below(3) == 0;
        if is_kill {
            self.disk.kill();
        } else {
            self.disk.power_cut();
        }
        // A process that dies between a failed sync, which the kernel forgets about, and
        // writing everything elsewhere takes what was only written with it.
        if !is_kill || self.syncs_fail {
            self.written = self.durable.clone();
        }
    }
}

#[test]
fn no_crash_takes_back_what_was_promised() {
    let times: u64 = std::env::var("TENFOLD_SEEDS").map_or(1, |times| times.parse().unwrap());
    let only = std::env::var("TENFOLD_SEED")
        .ok()
        .map(|seed| seed.parse().unwrap());
    let (mut crashes, mut confirmed) = (0, 0);
    for seed in only.map_or(0..800 * times, |seed| seed..seed + 1) {
        let life = std::panic::AssertUnwindSafe(|| {
            let mut life = Life::new(seed);
            life.live();
            (life.crashes, life.confirmed)
        });
        match std::panic::catch_unwind(life) {
            Ok(life) => {
                crashes += life.0;
                confirmed += life.1;
            }
            Err(panic) => {
                eprintln!("seed {seed}: run it alone with TENFOLD_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{crashes} crashes, {confirmed} confirmed");
    assert!(only.is_some() || confirmed > 10 * crashes / 2);
}

/// Messages of three segments, closed properly.
fn three_segments() -> (SimDisk, State) {
    let disk = SimDisk::new(3);
    let small = Options {
        smallest_segment: 16 << 10,
        largest_segment: 16 << 10,
        ..options()
    };
    let (log, ..) = open_with(&disk, &small).unwrap();
    for n in 0..45_u64 {
        publish(&log, &[n as u8; 400]);
    }
    log.close().unwrap();
    drop(log);
    let names = disk.list().unwrap();
    let segments = names.iter().filter(|name| name.ends_with(".segment"));
    assert_eq!(segments.count(), 3, "{names:?}");
    let (log, state, _) = open_with(&disk.copy(1), &small).unwrap();
    drop(log);
    (disk, state)
}

fn segments_of(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| name.ends_with(".segment"));
    names
}

/// What is there after a change to one file, opened twice; both must agree.
fn after(disk: &SimDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> (State, Recovery) {
    let disk = disk.copy(5);
    let mut bytes = disk.contents(name).unwrap();
    change(&mut bytes);
    disk.set_contents(name, &bytes);
    let (log, state, report) = open(&disk);
    drop(log);
    let (_, again, _) = open(&disk);
    assert_eq!(again, state, "a second opening finds something else");
    (state, report)
}

/// How many bytes are left out between those that are tried.
fn stride() -> usize {
    if std::env::var_os("TENFOLD_SEEDS").is_some() {
        1
    } else {
        13
    }
}

#[test]
fn a_flipped_bit_costs_one_message_and_is_reported() {
    let (disk, whole) = three_segments();
    for name in segments_of(&disk) {
        let len = disk.contents(&name).unwrap().len();
        for at in (0..len).step_by(stride()) {
            let (state, report) = after(&disk, &name, |bytes| bytes[at] ^= 1 << (at % 8));
            let lost = missing(&whole, &state);
            assert!(
                lost <= 1,
                "{lost} lost by a bit at {at} of {name}: {report}"
            );
            let told = !report.is_clean() || report.torn.is_some();
            assert!(lost == 0 || told, "lost in silence at {at} of {name}");
        }
    }
}

#[test]
fn zeroed_sectors_cost_what_lay_in_them_and_are_reported() {
    let (disk, whole) = three_segments();
    for name in segments_of(&disk) {
        let len = disk.contents(&name).unwrap().len();
        for size in [512, 4096] {
            for at in (0..len).step_by(size) {
                let (state, report) = after(&disk, &name, |bytes| bytes[at..at + size].fill(0));
                let lost = missing(&whole, &state);
                // A message has 424 bytes.
                assert!(
                    lost <= size / 424 + 2,
                    "{lost} lost at {at} of {name}: {report}"
                );
                let told = !report.is_clean() || report.torn.is_some();
                assert!(lost == 0 || told, "lost in silence at {at} of {name}");
            }
        }
    }
}

#[test]
fn a_truncated_segment_keeps_what_is_before() {
    let (disk, whole) = three_segments();
    for name in segments_of(&disk) {
        let len = disk.contents(&name).unwrap().len();
        for at in (0..len).step_by(5 * stride()) {
            let (state, report) = after(&disk, &name, |bytes| bytes.truncate(at));
            let lost = missing(&whole, &state);
            let behind = (len - at) / 424 + 1;
            assert!(lost <= behind.min(40), "{lost} lost at {at} of {name}");
            let told = !report.is_clean() || report.torn.is_some();
            assert!(
                lost == 0 || told,
                "lost in silence at {at} of {name}: {report:?}"
            );
        }
    }
}

#[test]
fn a_file_of_zeros_is_set_aside_and_not_deleted() {
    let (disk, whole) = three_segments();
    for name in segments_of(&disk) {
        let (state, report) = after(&disk, &name, |bytes| bytes.fill(0));
        assert!(missing(&whole, &state) < 45);
        assert_eq!(report.damage[0].kind, DamageKind::Header);
        assert_eq!(report.damage[0].saved, Some(format!("{name}.damaged")));
    }
}

fn missing(whole: &State, state: &State) -> usize {
    for (id, payload) in &state.messages {
        assert_eq!(whole.messages.get(id), Some(payload));
    }
    whole.messages.len() - state.messages.len()
}

#[test]
fn whichever_operation_fails_nothing_confirmed_is_lost() {
    // How many operations there are without faults.
    let script = |disk: &SimDisk| -> Option<(State, bool)> {
        let mut confirmed = State::default();
        let (log, ..) = open_with(disk, &options()).ok()?;
        let mut is_full = true;
        for n in 0..70_u64 {
            let payload = vec![n as u8; 700];
            let batch = [Record::new(Kind::Publish, 0, &[], &payload)];
            let Ok((ticket, id)) = log.append(&batch, true, true) else {
                is_full = false;
                continue;
            };
            if log.wait(ticket, Mark::Durable).is_ok() {
                confirmed.messages.insert(id, payload);
            } else {
                is_full = false;
            }
            if n % 30 == 29 {
                let body = confirmed.encode();
                let _ = log.checkpoint(false, |_| body);
            }
        }
        Some((confirmed, is_full))
    };
    let disk = SimDisk::new(1);
    assert!(script(&disk).is_some_and(|(_, is_full)| is_full));
    let operations = disk.operations();
    assert!(operations > 150);
    let mut healed = 0;
    for operation in 1..=operations {
        for fault in [Fault::Io, Fault::Full, Fault::Short] {
            let disk = SimDisk::new(operation);
            disk.fail(operation, fault);
            let run = script(&disk);
            let (confirmed, is_full) = run.unwrap_or_default();
            healed += usize::from(is_full);
            for cut in [true, false] {
                if cut {
                    disk.power_cut();
                } else {
                    disk.kill();
                }
                let (_, state, report) = open(&disk);
                assert!(report.is_clean(), "{operation} {fault:?}: {report:?}");
                for (id, payload) in &confirmed.messages {
                    assert_eq!(
                        state.messages.get(id),
                        Some(payload),
                        "{operation} {fault:?}"
                    );
                }
            }
        }
    }
    // One fault is made up for, except while it is being opened.
    assert!(
        healed as u64 > 3 * operations - 60,
        "{healed} of {operations}"
    );
}

#[test]
fn a_sync_that_fails_is_never_asked_again() {
    let disk = SimDisk::new(9);
    let (log, ..) = open(&disk);
    publish(&log, b"before");
    disk.fail_syncs(1);
    publish(&log, b"through another file");
    assert_eq!(log.failovers(), 1);
    // The second file fails as well, and a third.
    disk.fail_syncs(10);
    let batch = [Record::new(Kind::Publish, 0, &[], b"never")];
    let (ticket, _) = log.append(&batch, true, true).unwrap();
    assert!(log.wait(ticket, Mark::Durable).is_err());
    disk.fail_syncs(0);
    assert!(matches!(
        log.append(&batch, true, true),
        Err(AppendError::Failed(_))
    ));
    let stored = log.read(1, &mut ReadAhead::default()).unwrap();
    assert_eq!(stored.bytes, &b"before"[..]);
    drop(log);
    disk.power_cut();
    let (_, state, _) = open(&disk);
    assert_eq!(state.messages[&1], b"before");
    assert_eq!(state.messages[&2], b"through another file");
}

#[test]
fn a_full_disk_refuses_messages_and_takes_acks() {
    let disk = SimDisk::new(2);
    let (log, mut state, _) = open(&disk);
    // 16 KiB of it are for the next opening.
    disk.set_capacity(136 << 10);
    let payload = [7; 900];
    let batch = [Record::new(Kind::Publish, 0, &[], &payload)];
    let mut last = 0;
    let full = loop {
        match log.append(&batch, true, true) {
            Ok((ticket, id)) => {
                log.wait(ticket, Mark::Durable).unwrap();
                state.messages.insert(id, payload.to_vec());
                last = id;
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full), "{full:?}");
    assert!(last > 50);
    for id in 1..=last {
        let payload = id.to_le_bytes();
        let ack = [Record::new(Kind::Ack, 0, &[], &payload)];
        let (ticket, _) = log.append(&ack, false, true).unwrap();
        log.wait(ticket, Mark::Durable).unwrap();
        state.done.insert(id);
    }
    // Two checkpoints give the segments back, and there is room again.
    disk.set_capacity(146 << 10);
    for _ in 0..2 {
        let body = state.encode();
        state.messages.clear();
        state.done.clear();
        log.checkpoint(false, |_| Vec::new()).unwrap();
        drop(body);
        let ack = [Record::new(Kind::Ack, 0, &[], &[0; 8])];
        log.append(&ack, false, true).unwrap();
    }
    release(&log, |_| true);
    for _ in 0..20 {
        let (ticket, _) = log.append(&batch, true, true).unwrap();
        log.wait(ticket, Mark::Durable).unwrap();
    }
    let names = disk.list().unwrap();
    assert!(names.len() < 10, "{names:?}");
}

#[test]
fn random_bytes_in_a_segment_neither_panic_nor_hang() {
    let (disk, _) = three_segments();
    let name = &segments_of(&disk)[1];
    let mut rng = Rng::with_seed(4);
    for _ in 0..60 {
        let disk = disk.copy(1);
        let mut bytes = disk.contents(name).unwrap();
        let from = 4096 + rng.below(7 << 10) as usize;
        for byte in &mut bytes[from..from + 300] {
            *byte = rng.next_u64() as u8;
        }
        disk.set_contents(name, &bytes);
        let (_, state, report) = open(&disk);
        assert!(state.messages.len() >= 43 && !report.is_clean(), "{report}");
    }
}

#[test]
fn a_file_of_the_future_is_refused() {
    let (disk, _) = three_segments();
    let name = &segments_of(&disk)[0];
    let mut bytes = disk.contents(name).unwrap();
    bytes[8] = 1;
    let crc = crc32c::crc32c(&bytes[..508]);
    bytes[508..512].copy_from_slice(&crc.to_le_bytes());
    disk.set_contents(name, &bytes);
    let refused = open_with(&disk, &options());
    assert!(matches!(refused, Err(OpenError::Newer { features: 1, .. })));
}
