//! Two or three nodes on one L2 and one backplane, on many bad days: in virtual
//! time, each day foretold by its seed.
//!
//! What must hold, whatever is lost, repeated, late, cut off or forgotten:
//!
//! * No read returns a value that is older than a change which the L2 accepted
//!   longer than the time to live of the first tier before the read began.
//! * No node returns a value that is older than its own last change.
//! * When everything works again, a few heartbeats later (and long before
//!   entries of the first tier expire) all nodes return the newest value.
//!
//! `TENFOLD_SEEDS=10` runs ten times as many; `TENFOLD_SEED=7` runs one and
//! tells what happens in it.

use std::env;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenfold::cache::Cache;
use tenfold::cache::tier::{
    Faults, Item, MemoryBackplane, MemoryL2, NodeId, PlainCodec, Reached, Tier,
};
use tenfold::rng::Rng;
use tenfold::time::{Instant, ManualClock};

const SEEDS: u64 = 10_000;
const ACTIONS: usize = 60;

const L1_TTL: Duration = Duration::from_secs(60);
const L2_TTL: Duration = Duration::from_secs(36_000);
const HEARTBEAT: Duration = Duration::from_secs(1);
const OPEN_FOR: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_millis(200);
const LONGEST_LOAD: u64 = 6;

/// Keys below are loaded from a source and invalidated when it changes; the
/// others have no source and are inserted.
const SOURCED: usize = 3;
const KEYS: usize = 5;

#[test]
fn nodes_converge_after_any_bad_day_and_are_never_staler_than_promised() {
    if let Some(seed) = number("TENFOLD_SEED") {
        Day::new(seed, true).live();
        return;
    }
    let seeds = SEEDS * number("TENFOLD_SEEDS").unwrap_or(1);
    let next = AtomicU64::new(0);
    let all = Mutex::new(Seen::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Seen::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    own.add(&Day::new(seed, false).live());
                }
                all.lock().unwrap().add(&own);
            });
        }
    });
    let seen = all.into_inner().unwrap();
    println!("{seeds} days: {seen:?}");
    // A simulation in which nothing happens proves nothing.
    for (what, count) in [
        ("reads", seen.reads),
        ("hits in the first tier", seen.near),
        ("crashes", seen.crashes),
        ("cancelled calls", seen.cancelled),
        ("changes that were queued", seen.queued),
        ("changes that were recovered", seen.recovered),
        ("changes that were superseded", seen.superseded),
        ("gaps", seen.gaps),
        ("suspect values served", seen.unverified),
        ("loads that were overtaken", seen.overtaken),
        ("answers that were outdated", seen.outdated),
        ("full queues", seen.overflows),
        ("inserted values found at the end", seen.strict),
    ] {
        assert!(count > seeds / 100, "too few {what}: {count}");
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// What happened, so that it can be seen that enough did.
#[derive(Debug, Default)]
struct Seen {
    reads: u64,
    near: u64,
    crashes: u64,
    cancelled: u64,
    queued: u64,
    recovered: u64,
    superseded: u64,
    gaps: u64,
    unverified: u64,
    overtaken: u64,
    outdated: u64,
    overflows: u64,
    strict: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.near += other.near;
        self.crashes += other.crashes;
        self.cancelled += other.cancelled;
        self.queued += other.queued;
        self.recovered += other.recovered;
        self.superseded += other.superseded;
        self.gaps += other.gaps;
        self.unverified += other.unverified;
        self.overtaken += other.overtaken;
        self.outdated += other.outdated;
        self.overflows += other.overflows;
        self.strict += other.strict;
    }
}

struct Day {
    seed: u64,
    tells: bool,
    rng: Rng,
    /// The nodes' clocks differ a little.
    clocks: Vec<ManualClock>,
    time: ManualClock,
    l2: MemoryL2,
    backplane: MemoryBackplane,
    nodes: Vec<Node>,
    /// The values of the source. Every change of anything gets the next number.
    source: Arc<Mutex<[u64; KEYS]>>,
    last_change: u64,
    changes: Vec<Change>,
    pending: Vec<Pending>,
    seen: Seen,
}

struct Node {
    tier: Tier<u32, u64>,
    l2: MemoryL2,
    backplane: MemoryBackplane,
    small_queue: bool,
}

/// A change of one or more keys. Its number orders it: versions follow the
/// time, and nothing happens at the same time.
struct Change {
    number: u64,
    node: usize,
    keys: Vec<usize>,
    /// What is inserted; `None` if it is an invalidation.
    is_insert: bool,
    /// The call has returned, or was dropped.
    over: bool,
    returned: bool,
    /// When the L2 was known to have it.
    accepted: Option<Instant>,
    ended: Option<u64>,
}

struct Pending {
    call: Call,
    future: Pin<Box<dyn Future<Output = Answer>>>,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Read {
        node: usize,
        key: usize,
        began: Instant,
        /// The node's own last change of the key when it began.
        own: u64,
    },
    Change(usize),
    Tend,
}

#[derive(Debug)]
enum Answer {
    Value(Option<u64>),
    Reached(Reached),
    Done,
}

impl Day {
    fn new(seed: u64, tells: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let time = ManualClock::new();
        let l2 = MemoryL2::new(1000, time.clock());
        let backplane = MemoryBackplane::new(time.clock());
        let mut clocks = Vec::new();
        let nodes = (0..2 + rng.below(2))
            .map(|number| {
                let clock = ManualClock::new();
                // Less than passes between two things that happen.
                clock.advance(Duration::from_nanos(rng.below(900_000)));
                clocks.push(clock.clone());
                let (l2, backplane) = (l2.connect(), backplane.connect());
                let cache = Cache::builder().max_entries(100).clock(clock.clock());
                let small_queue = rng.below(8) == 0;
                let tier = Tier::builder(cache.seed(seed).shards(1), l2.clone(), PlainCodec)
                    .backplane(backplane.clone())
                    .node(NodeId::new(number + 1))
                    // The calls' delays go by the store's clock.
                    .timer(time.timer())
                    .l1_ttl(L1_TTL)
                    .l2_ttl(L2_TTL)
                    .timeout(TIMEOUT)
                    .soft_timeout(TIMEOUT / 4)
                    .heartbeat(HEARTBEAT)
                    .breaker(3, OPEN_FOR)
                    .recovery(if small_queue { 2 } else { 100 }, 10_000)
                    .build()
                    .unwrap();
                // It has seen the L2 once before the day begins.
                tier.tend();
                Node {
                    tier,
                    l2,
                    backplane,
                    small_queue,
                }
            })
            .collect();
        Self {
            seed,
            tells,
            rng,
            clocks,
            time,
            l2,
            backplane,
            nodes,
            source: Arc::new(Mutex::new([0; KEYS])),
            last_change: 0,
            changes: Vec::new(),
            pending: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn live(mut self) -> Seen {
        for _ in 0..ACTIONS {
            self.advance(Duration::from_millis(1));
            self.act();
            self.note_accepted();
        }
        self.heal();
        self.converge();
        self.check_the_end();
        for node in &self.nodes {
            let stats = node.tier.stats();
            self.seen.near += stats.l1.hits;
            self.seen.recovered += stats.recovered;
            self.seen.superseded += stats.superseded;
            self.seen.gaps += stats.gaps;
            self.seen.unverified += stats.unverified;
            self.seen.overtaken += stats.overtaken;
            self.seen.outdated += stats.outdated;
            self.seen.overflows += stats.overflows;
        }
        self.seen
    }

    fn act(&mut self) {
        let node = self.below(self.nodes.len());
        match self.rng.below(100) {
            0..30 => self.read(node),
            30..48 => self.change(node),
            48..51 => self.change_by_tag(node),
            51..52 => self.clear(node),
            52..60 => self.start(Call::Tend, node, |tier| async move {
                tier.tend_async().await;
                Answer::Done
            }),
            60..78 => self.poll_some(),
            78..82 => {
                let by = Duration::from_millis(self.rng.below(500));
                self.advance(by);
                self.backplane.deliver();
            }
            82..84 => {
                let by = Duration::from_secs(self.rng.below(40));
                self.tell(|| format!("{by:?} pass"));
                self.advance(by);
                self.backplane.deliver();
            }
            84..88 => {
                let is_cut = self.rng.below(2) == 0;
                self.tell(|| format!("node {node}: l2 cut {is_cut}"));
                self.nodes[node].l2.cut(is_cut);
            }
            88..92 => {
                let is_cut = self.rng.below(2) == 0;
                self.tell(|| format!("node {node}: backplane cut {is_cut}"));
                self.nodes[node].backplane.cut(is_cut);
            }
            92..93 => {
                self.tell(|| format!("node {node}: backplane reconnects"));
                self.nodes[node].backplane.reconnect();
            }
            93..95 => self.cancel(),
            95..96 => {
                self.tell(|| "l2 crashes".to_owned());
                self.seen.crashes += 1;
                self.l2.crash();
            }
            _ => self.set_faults(node),
        }
    }

    fn set_faults(&mut self, node: usize) {
        let seed = self.rng.next_u64();
        let (l2, backplane) = match self.rng.below(3) {
            0 => (Faults::none(), Faults::none()),
            _ => (
                Faults::with_seed(seed)
                    .errors(0.1)
                    .lost(0.1)
                    .slow(0.4, Duration::from_millis(300)),
                Faults::with_seed(seed)
                    .errors(0.1)
                    .lost(0.2)
                    .repeated(0.2)
                    .slow(0.4, Duration::from_millis(500)),
            ),
        };
        self.nodes[node].l2.set_faults(l2);
        self.backplane.set_faults(backplane);
    }

    fn read(&mut self, node: usize) {
        let key = self.below(KEYS);
        let own =
            self.changes.iter().rev().find(|change| {
                change.node == node && change.returned && change.keys.contains(&key)
            });
        let call = Call::Read {
            node,
            key,
            began: self.time.now(),
            own: own.map_or(0, |change| change.number),
        };
        let name = key as u32;
        if key >= SOURCED {
            self.start(call, node, move |tier| async move {
                Answer::Value(tier.get_async(&name).await)
            });
            return;
        }
        let source = Arc::clone(&self.source);
        let turns = self.rng.below(LONGEST_LOAD);
        self.start(call, node, move |tier| async move {
            let load = || async move {
                // The worst moment to read it.
                let value = source.lock().unwrap()[key];
                let mut turns = turns;
                std::future::poll_fn(move |_| {
                    turns = turns.saturating_sub(1);
                    if turns == 0 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                Item::new(value).tag(tag_of(key))
            };
            Answer::Value(tier.get_with_async(name, load).await.ok())
        });
    }

    fn change(&mut self, node: usize) {
        let key = self.below(KEYS);
        let is_insert = key >= SOURCED && self.rng.below(4) > 0;
        let (number, call) = self.note_change(node, vec![key], is_insert);
        self.start(call, node, move |tier| async move {
            let name = key as u32;
            Answer::Reached(if is_insert {
                let item = Item::new(number).tag(tag_of(key));
                tier.insert_async(name, item).await
            } else {
                tier.invalidate_async(&name).await
            })
        });
    }

    fn change_by_tag(&mut self, node: usize) {
        let tag = self.below(2);
        let keys = (0..KEYS).filter(|key| key % 2 == tag).collect();
        let (_, call) = self.note_change(node, keys, false);
        self.start(call, node, move |tier| async move {
            Answer::Reached(tier.invalidate_tag_async(tag_of(tag)).await)
        });
    }

    fn clear(&mut self, node: usize) {
        let (_, call) = self.note_change(node, (0..KEYS).collect(), false);
        self.start(call, node, |tier| async move {
            Answer::Reached(tier.clear_async().await)
        });
    }

    /// The source changes, and then the tier is told.
    fn note_change(&mut self, node: usize, keys: Vec<usize>, is_insert: bool) -> (u64, Call) {
        self.last_change += 1;
        let number = self.last_change;
        for &key in &keys {
            self.source.lock().unwrap()[key] = number;
        }
        self.tell(|| format!("change {number} of keys {keys:?}, insert: {is_insert}"));
        self.changes.push(Change {
            number,
            node,
            keys,
            is_insert,
            over: false,
            returned: false,
            accepted: None,
            ended: None,
        });
        (number, Call::Change(self.changes.len() - 1))
    }

    fn start<F: Future<Output = Answer> + 'static>(
        &mut self,
        call: Call,
        node: usize,
        begin: impl FnOnce(Tier<u32, u64>) -> F,
    ) {
        self.tell(|| format!("node {node} begins {call:?}"));
        let future = Box::pin(begin(self.nodes[node].tier.clone()));
        self.pending.push(Pending { call, future });
        self.poll(self.pending.len() - 1);
    }

    fn poll_some(&mut self) {
        for _ in 0..self.pending.len().min(3) {
            let which = self.below(self.pending.len());
            self.advance(Duration::from_millis(1));
            self.poll(which);
            if self.pending.is_empty() {
                break;
            }
        }
    }

    fn poll(&mut self, which: usize) {
        let pending = &mut self.pending[which];
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(answer) = pending.future.as_mut().poll(&mut context) {
            let call = self.pending.swap_remove(which).call;
            self.tell(|| format!("{call:?} -> {answer:?}"));
            self.check(call, &answer);
        }
    }

    fn cancel(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let which = self.below(self.pending.len());
        let call = self.pending.swap_remove(which).call;
        self.tell(|| format!("{call:?} is cancelled"));
        self.seen.cancelled += 1;
        if let Call::Change(change) = call {
            self.changes[change].over = true;
            self.changes[change].ended = Some(self.last_change);
        }
    }

    fn check(&mut self, call: Call, answer: &Answer) {
        match (call, answer) {
            (
                Call::Read {
                    node,
                    key,
                    began,
                    own,
                },
                Answer::Value(value),
            ) => {
                self.seen.reads += 1;
                let Some(value) = *value else {
                    assert!(key >= SOURCED, "seed {}: no value was loaded", self.seed);
                    return;
                };
                assert!(
                    value >= own,
                    "seed {}: node {node} read {value} of key {key} after its own change {own}",
                    self.seed
                );
                for change in &self.changes {
                    let too_old = change.number > value
                        && change.keys.contains(&key)
                        && change.accepted.is_some_and(|at| at + L1_TTL < began);
                    assert!(
                        !too_old,
                        "seed {}: node {node} read {value} of key {key} at {began:?}, \
                         but {} was accepted at {:?}",
                        self.seed, change.number, change.accepted
                    );
                }
            }
            (Call::Change(change), Answer::Reached(reached)) => {
                let now = self.time.now();
                let last = self.last_change;
                let change = &mut self.changes[change];
                change.over = true;
                change.ended = Some(last);
                match reached {
                    Reached::Everyone => {
                        change.accepted = Some(now);
                        change.returned = true;
                    }
                    Reached::Here => {
                        change.returned = true;
                        self.seen.queued += 1;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Changes whose node has nothing left to say have been accepted.
    fn note_accepted(&mut self) {
        let now = self.time.now();
        for (number, node) in self.nodes.iter().enumerate() {
            let mut open = self
                .changes
                .iter_mut()
                .filter(|change| change.node == number && change.accepted.is_none())
                .peekable();
            if open.peek().is_some() && node.tier.stats().queued == 0 {
                for change in open.filter(|change| change.over) {
                    change.accepted = Some(now);
                }
            }
        }
    }

    /// Everything works again, and the calls under way come to their ends.
    fn heal(&mut self) {
        self.tell(|| "everything works again".to_owned());
        self.backplane.set_faults(Faults::none());
        for node in &self.nodes {
            node.l2.set_faults(Faults::none());
            node.l2.cut(false);
            node.backplane.cut(false);
        }
        for _ in 0..200 {
            for which in (0..self.pending.len()).rev() {
                self.advance(Duration::from_millis(1));
                self.poll(which);
            }
            if self.pending.is_empty() {
                return;
            }
            self.advance(Duration::from_millis(50));
        }
        panic!("seed {}: calls that do not end", self.seed);
    }

    /// The time after which all is well, much less than `L1_TTL`: a breaker may
    /// stay open, then the nodes speak, and what is missing is missed.
    fn converge(&mut self) {
        let healed = self.time.now();
        self.advance(OPEN_FOR);
        for _ in 0..3 {
            self.backplane.deliver();
            for node in 0..self.nodes.len() {
                self.advance(Duration::from_millis(1));
                self.nodes[node].tier.tend();
            }
            self.advance(HEARTBEAT);
        }
        let took = self.time.now().saturating_since(healed);
        assert!(took < L1_TTL / 10);
        self.note_accepted();
    }

    fn check_the_end(&mut self) {
        let seed = self.seed;
        for node in &self.nodes {
            let stats = node.tier.stats();
            assert_eq!(stats.queued, 0, "seed {seed}: {stats}");
        }
        for key in 0..KEYS {
            let name = key as u32;
            let newest = self.source.lock().unwrap()[key];
            // Before anybody loads.
            for (number, node) in self.nodes.iter().enumerate() {
                if let Some(near) = node.tier.get_near(&name) {
                    assert_eq!(near, newest, "seed {seed}: node {number}, key {key}");
                }
            }
            let answers: Vec<Option<u64>> = self
                .nodes
                .iter()
                .map(|node| {
                    if key < SOURCED {
                        let item = || Item::new(newest).tag(tag_of(key));
                        node.tier.get_with(name, item).ok()
                    } else {
                        node.tier.get(&name)
                    }
                })
                .collect();
            self.tell(|| format!("key {key}: {answers:?}, newest {newest}"));
            if key < SOURCED {
                assert!(
                    answers.iter().all(|answer| *answer == Some(newest)),
                    "seed {seed}: key {key} is {answers:?}, its source {newest}"
                );
            } else {
                self.check_inserted(key, newest, &answers);
            }
        }
    }

    /// Without a source, what the L2 has lost is lost, and an invalidation that
    /// reached it late takes along what was inserted meanwhile. An older value
    /// never comes back.
    fn check_inserted(&mut self, key: usize, newest: u64, answers: &[Option<u64>]) {
        let seed = self.seed;
        for answer in answers.iter().flatten() {
            assert_eq!(*answer, newest, "seed {seed}: key {key} is {answers:?}");
        }
        let mut of_key = self
            .changes
            .iter()
            .filter(|change| change.keys.contains(&key));
        let Some(last) = of_key.clone().next_back() else {
            return;
        };
        let small_queues = self.nodes.iter().any(|node| node.small_queue);
        let overlapped = of_key.any(|change| {
            !change.is_insert && change.ended.is_none_or(|ended| ended >= last.number)
        });
        if last.is_insert && self.seen.crashes == 0 && !small_queues && !overlapped {
            self.seen.strict += 1;
            assert!(
                answers.iter().all(|answer| *answer == Some(newest)),
                "seed {seed}: key {key} is {answers:?}, and was last set to {newest}"
            );
        }
    }

    fn advance(&mut self, by: Duration) {
        for clock in self.clocks.iter().chain([&self.time]) {
            clock.advance(by);
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            let since = self.time.now().as_nanos() / 1_000_000;
            println!("{since:>8} ms: {}", what());
        }
    }
}

fn tag_of(key: usize) -> [u8; 1] {
    [b'a' + (key % 2) as u8]
}
