//! The queue on real disks, in processes that really die: this binary starts itself
//! again, kills that process, and looks at what is left.
//!
//! What a process has seen confirmed it says at once, on a pipe; what it said counts.
//! `TENFOLD_SEEDS=10` tries ten times as many deaths.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use support::block_on;
use tenfold::queue::{
    Backoff, Consumer, Delivery, Durability, Message, OpenError, Priority, PublishError, Queue,
    QueueBuilder, RecvError,
};
use tenfold::rng::Rng;

/// What processes that were started are told.
const JOB: &str = "TENFOLD_JOB";
const DIRECTORY: &str = "TENFOLD_DIRECTORY";
const LEVEL: &str = "TENFOLD_LEVEL";
const ROUND: &str = "TENFOLD_ROUND";
/// More than anything takes: a bound for what would otherwise hang.
const LONG: Duration = Duration::from_secs(60);

/// What the processes do that the other tests start.
#[test]
#[ignore = "is started by the other tests"]
fn a_process_of_its_own() {
    let told = |name| std::env::var(name).unwrap_or_default();
    let directory = PathBuf::from(told(DIRECTORY));
    match &*told(JOB) {
        "work" => work(&directory, &told(LEVEL), told(ROUND).parse().unwrap()),
        "hold" => hold(&directory),
        "look" => look(&directory),
        "poison" => take_poison(&directory),
        "full" => fill_the_disk(&directory),
        // Nobody started it: all ignored tests are run.
        _ => {}
    }
}

// ---- kill -9

#[test]
fn kills_lose_nothing_that_a_power_cut_would_not() {
    let mut deaths = Deaths::new("power");
    deaths.live();
}

#[test]
fn kills_lose_nothing_that_was_only_written() {
    let mut deaths = Deaths::new("process");
    deaths.live();
}

#[test]
fn kills_lose_nothing_that_is_synced_now_and_then() {
    let mut deaths = Deaths::new("interval");
    deaths.live();
}

/// Lives of a queue, each ended by a kill.
struct Deaths {
    level: &'static str,
    directory: Directory,
    rng: Rng,
    /// Numbers and ids of messages whose publish returned, or that somebody has seen.
    promised: BTreeMap<u64, u64>,
    /// Those of which somebody was about to say that they are done.
    leaving: BTreeSet<u64>,
    /// Those that are done for good.
    gone: BTreeSet<u64>,
    died_opening: u64,
    received: u64,
}

const ROUNDS: u64 = 24;

impl Deaths {
    fn new(level: &'static str) -> Self {
        Self {
            level,
            directory: Directory::new(level),
            rng: Rng::with_seed(level.len() as u64),
            promised: BTreeMap::new(),
            leaving: BTreeSet::new(),
            gone: BTreeSet::new(),
            died_opening: 0,
            received: 0,
        }
    }

    fn live(&mut self) {
        let rounds = ROUNDS * factor();
        for round in 0..rounds {
            self.round(round);
        }
        self.check();
        println!(
            "{}: {rounds} kills, {} of them while it was opened; {} messages promised, {} \
             received, {} done for good",
            self.level,
            self.died_opening,
            self.promised.len(),
            self.received,
            self.gone.len(),
        );
        // It was no quiet life.
        assert!(self.died_opening > 0, "none died while it was opened");
        assert!(self.promised.len() as u64 > 10 * rounds);
        assert!(self.received > rounds && self.gone.len() as u64 > rounds);
    }

    fn round(&mut self, round: u64) {
        let mut process = Process::start("work", &self.directory, |command| {
            command
                .env(LEVEL, self.level)
                .env(ROUND, (round + 1).to_string());
        });
        assert_eq!(process.say(), "opening");
        let opened = match round % 4 {
            // While it is being opened, or as soon as it is.
            0 => {
                let soon = Duration::from_micros(self.rng.below(6000));
                process.lines.recv_timeout(soon).is_ok_and(|line| {
                    assert_eq!(line, "open");
                    true
                })
            }
            kind => {
                assert_eq!(process.say(), "open");
                // In the middle of work, after it has said so much.
                let much = if kind == 1 { 0 } else { self.rng.below(800) };
                for _ in 0..much {
                    let line = process.say();
                    self.note(&line);
                }
                true
            }
        };
        process.kill();
        // What it said before it died counts.
        let mut rest = process.lines.iter().peekable();
        let opened = opened || rest.next_if(|line| line == "open").is_some();
        self.died_opening += u64::from(!opened);
        rest.for_each(|line| self.note(&line));
    }

    fn note(&mut self, line: &str) {
        let level = self.level;
        let words: Vec<&str> = line.split(' ').collect();
        let numbers: Vec<u64> = words[1..].iter().filter_map(|w| w.parse().ok()).collect();
        match (words[0], &numbers[..]) {
            ("confirmed", [number, id]) => {
                let known = self.promised.insert(*number, *id);
                assert!(known.is_none_or(|known| known == *id));
            }
            ("received", [number, id]) => {
                self.received += 1;
                assert!(!self.gone.contains(number), "{level}: {number} came back");
                let known = self.promised.insert(*number, *id);
                assert!(
                    known.is_none_or(|known| known == *id),
                    "{level}: {number} has another id"
                );
                // Whoever said so before did not come to it.
                self.leaving.remove(number);
            }
            ("leaving", [number]) => {
                self.leaving.insert(*number);
            }
            ("gone", [number]) => {
                self.gone.insert(*number);
            }
            _ => panic!("{level}: {line}"),
        }
    }

    /// Drains the queue after all.
    fn check(&mut self) {
        let level = self.level;
        let _turn = no_process_is_being_started();
        let queue = working(level).open(&*self.directory).unwrap();
        assert!(queue.recovery().is_clean(), "{level}: {}", queue.recovery());
        let consumer = queue.consumer();
        let mut found = BTreeMap::new();
        while queue.stats().pending > queue.stats().dead {
            for delivery in consumer.recv_batch_timeout(100, LONG).unwrap() {
                let number = read(&delivery);
                let earlier = found.insert(number, delivery.id());
                assert_eq!(earlier, None, "{level}: {number} comes twice");
                delivery.ack().unwrap();
            }
        }
        let dead = queue.dead_letters();
        for letter in dead.list() {
            let number = read(&dead.read(letter.id).unwrap().expect("it is not lost"));
            let earlier = found.insert(number, letter.id);
            assert_eq!(earlier, None, "{level}: {number} is dead and alive");
        }
        for (number, id) in &found {
            assert!(!self.gone.contains(number), "{level}: {number} came back");
            let promised = self.promised.get(number).is_none_or(|known| known == id);
            assert!(promised, "{level}: {number} has another id");
        }
        for number in self.promised.keys() {
            let may_be_gone = self.leaving.contains(number);
            assert!(
                found.contains_key(number) || may_be_gone,
                "{level}: {number} is lost"
            );
        }
        let ids: BTreeSet<&u64> = self.promised.values().collect();
        assert_eq!(ids.len(), self.promised.len(), "{level}: two have one id");
        queue.close().unwrap();
    }
}

fn working(level: &str) -> QueueBuilder {
    Queue::builder()
        .durability(match level {
            "power" => Durability::Power,
            "interval" => Durability::Interval(Duration::from_millis(5)),
            _ => Durability::Process,
        })
        .segments(32 << 10, 128 << 10)
        .checkpoint_every(64 << 10)
        .tail(16 << 10)
        .retry(Backoff::constant(Duration::from_millis(2)))
        .max_deliver(10_000)
        .max_pending(1000)
}

/// Opens the queue and works until it is killed.
fn work(directory: &Path, level: &str, round: u64) {
    say("opening");
    let queue = working(level).open(directory).unwrap();
    say("open");
    if round.is_multiple_of(8) {
        // They count as pending: in a long row of lives there would be no room for others.
        let dead = queue.dead_letters();
        let ids = dead.list().into_iter().map(|letter| letter.id);
        dead.redrive(ids).unwrap();
    }
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (queue, consumer) = (&queue, queue.consumer());
            scope.spawn(move || produce(queue, round, thread));
            scope.spawn(move || consume(&consumer, Rng::with_seed(round << 8 | thread)));
        }
    });
}

fn produce(queue: &Queue, round: u64, thread: u64) {
    let mut rng = Rng::with_seed(round << 16 | thread);
    let mut next = round << 32 | thread << 31;
    loop {
        let numbers: Vec<u64> = (next..).take(1 + rng.below(4) as usize).collect();
        next += numbers.len() as u64;
        let mut messages = Vec::new();
        for number in &numbers {
            let mut message = Message::new(bytes_of(*number));
            if rng.below(8) == 0 {
                message = message.delay(Duration::from_millis(rng.below(10)));
            }
            if rng.below(8) == 0 {
                message = message.priority(Priority::new(rng.below(8) as u8));
            }
            messages.push(message);
        }
        let published = queue.publish_batch(&messages).unwrap();
        for (number, published) in numbers.iter().zip(published) {
            say(&format!("confirmed {number} {}", published.id));
        }
    }
}

fn consume(consumer: &Consumer, mut rng: Rng) {
    let mut kept = Vec::new();
    loop {
        let delivery = consumer.recv().unwrap();
        let number = read(&delivery);
        say(&format!("received {number} {}", delivery.id()));
        match rng.below(16) {
            0..6 => {
                say(&format!("leaving {number}"));
                delivery.ack().unwrap();
            }
            6..12 => {
                say(&format!("leaving {number}"));
                delivery.ack_durable().unwrap();
                say(&format!("gone {number}"));
            }
            12 => {
                let pause = Duration::from_millis(rng.below(10));
                delivery.nack_in(pause).unwrap();
            }
            13 => delivery.reject("on purpose").unwrap(),
            14 => drop(delivery),
            _ => kept.push(delivery),
        }
        if kept.len() > 8 {
            kept.clear();
        }
    }
}

/// A message's bytes follow from its number.
fn bytes_of(number: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(number);
    let len = match rng.below(16) {
        0 => rng.below(6000),
        _ => rng.below(300),
    };
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|_| rng.next_u64() as u8));
    bytes
}

fn read(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert!(bytes == bytes_of(number), "{number} is not what it was");
    number
}

// ---- a full disk

#[test]
fn a_full_disk_turns_publishers_away_until_there_is_room() {
    let directory = Directory::new("full");
    // A small disk that goes with the process that sees it. Where nobody may make one,
    // a bound for the size of every file.
    let small = "mount -t tmpfs -o size=1m tenfold \"$0\" || exit 96; exec \"$@\"";
    let short = "trap '' XFSZ; ulimit -f 64 || exit 96; exec \"$@\"";
    let ways: [(&str, &[&str]); 3] = [
        (
            "a disk of 1 MiB",
            &["unshare", "--mount", "sh", "-c", small],
        ),
        (
            "a disk of 1 MiB in a name space of its own",
            &["unshare", "--mount", "--map-root-user", "sh", "-c", small],
        ),
        ("files of 64 blocks at most", &["sh", "-c", short]),
    ];
    for (way, wrapper) in ways {
        let mut wrapped = Command::new(wrapper[0]);
        wrapped.args(&wrapper[1..]).arg(&*directory).arg("true");
        let possible = wrapped.stderr(Stdio::null()).status();
        if !possible.is_ok_and(|status| status.success()) {
            continue;
        }
        println!("full by {way}");
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(&*directory);
        command.arg(std::env::current_exe().unwrap());
        let mut process = Process::spawn(command, "full", &directory, |_| {});
        let said: Vec<String> = process.lines.iter().collect();
        let status = process.child.wait().unwrap();
        assert!(status.success(), "{}", said.join("\n"));
        println!("{}", said.join("\n"));
        return;
    }
    panic!("there is no way to fill a disk here");
}

/// Runs on a disk with little room.
fn fill_the_disk(directory: &Path) {
    let builder = || {
        Queue::builder()
            .segments(16 << 10, 128 << 10)
            .checkpoint_every(1 << 30)
            .tail(0)
    };
    let queue = builder().open(directory).unwrap();
    let message = |n: u64| -> Vec<u8> { n.to_le_bytes().repeat(100) };
    let mut wanted = BTreeSet::new();
    let mut next = 1;
    let mut fill = |queue: &Queue, wanted: &mut BTreeSet<u64>| {
        let before = wanted.len();
        loop {
            match queue.publish(message(next)) {
                Ok(_) => assert!(wanted.insert(next)),
                Err(PublishError::DiskFull) => break,
                Err(error) => panic!("{error:?}"),
            }
            next += 1;
        }
        wanted.len() - before
    };
    let take = |consumer: &Consumer, wanted: &mut BTreeSet<u64>| {
        let delivery = consumer.recv_timeout(LONG).unwrap().expect("there is one");
        let number = u64::from_le_bytes(delivery[..8].try_into().unwrap());
        assert_eq!(&delivery[..], message(number));
        assert!(wanted.remove(&number), "{number} was not to come");
        delivery
    };
    let litter = || -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
        let is_litter = |entry: &std::fs::DirEntry| {
            let name = entry.file_name();
            entry.metadata().unwrap().len() == 0 && name != "LOCK" || name == "checkpoint.new"
        };
        let litter = entries.filter(is_litter);
        litter
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    };

    let filled = fill(&queue, &mut wanted);
    say(&format!("{filled} messages fit"));
    assert!(filled > 20, "{filled}");
    assert_eq!(fill(&queue, &mut wanted), 0, "full is full");
    assert_eq!(litter(), [""; 0]);

    // Acknowledging goes on, and makes room some time: nobody has to do anything else.
    for round in 0..3 {
        let consumer = queue.consumer();
        let mut acknowledged = 0;
        while !wanted.is_empty() {
            take(&consumer, &mut wanted).ack_durable().unwrap();
            acknowledged += 1;
        }
        let again = fill(&queue, &mut wanted);
        say(&format!(
            "{acknowledged} were acknowledged, and {again} fit again"
        ));
        assert!(again * 2 > filled, "round {round}: {again} of {filled}");
        assert_eq!(litter(), [""; 0]);
    }

    // Full as it is, it is opened again, and nothing is missing.
    drop(queue);
    let queue = builder().open(directory).unwrap();
    assert!(queue.recovery().is_clean(), "{}", queue.recovery());
    assert_eq!(queue.stats().pending, wanted.len() as u64);
    let consumer = queue.consumer();
    while !wanted.is_empty() {
        take(&consumer, &mut wanted).ack().unwrap();
    }
    assert!(consumer.try_recv().unwrap().is_none());
    assert!(fill(&queue, &mut wanted) * 2 > filled);
    assert_eq!(litter(), [""; 0]);
}

// ---- locks

#[test]
fn a_second_opener_is_told_who_has_it() {
    let directory = Directory::new("locks");
    let open = || {
        let _turn = no_process_is_being_started();
        Queue::open(&*directory)
    };
    let queue = open().unwrap();
    queue.publish("kept").unwrap();
    let own = std::process::id();
    assert!(matches!(open(), Err(OpenError::Locked { pid }) if pid == Some(own)));
    let mut other = Process::start("look", &directory, |_| {});
    assert_eq!(other.say(), format!("locked by {own}"));
    assert!(other.child.wait().unwrap().success());

    drop(queue);
    let mut holder = Process::start("hold", &directory, |_| {});
    assert_eq!(holder.say(), "open");
    let pid = holder.child.id();
    assert!(matches!(open(), Err(OpenError::Locked { pid: found }) if found == Some(pid)));
    // A kill is enough: nobody has to unlock anything.
    holder.kill();
    let queue = open().unwrap();
    assert_eq!(&queue.consumer().recv().unwrap()[..], b"kept");
}

fn hold(directory: &Path) {
    let _queue = Queue::open(directory).unwrap();
    say("open");
    loop {
        std::thread::park();
    }
}

fn look(directory: &Path) {
    match Queue::open(directory) {
        Err(OpenError::Locked { pid: Some(pid) }) => say(&format!("locked by {pid}")),
        other => say(&format!("{other:?}")),
    }
}

// ---- many at once

#[test]
fn threads_and_tasks_share_a_queue_and_get_each_message_once() {
    const EACH: u64 = 150;
    const PRODUCERS: u64 = 4;
    let directory = Directory::new("many");
    let queue = {
        let _turn = no_process_is_being_started();
        let builder = working("power").max_pending(u64::MAX);
        builder.open(&*directory).unwrap()
    };
    let seen = Mutex::new(BTreeMap::<u64, u64>::new());
    let left = AtomicU64::new(2 * PRODUCERS * EACH);
    let note = |delivery: &Delivery| {
        let number = read(delivery);
        assert_eq!(delivery.attempt(), 1);
        let earlier = seen.lock().unwrap().insert(number, delivery.id());
        assert_eq!(earlier, None, "{number} comes twice");
    };
    let count = || {
        // After the last one nobody shall wait for more.
        if left.fetch_sub(1, Ordering::AcqRel) == 1 {
            queue.close().unwrap();
        }
    };
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let queue = &queue;
            scope.spawn(move || {
                for n in 0..EACH {
                    queue.publish(bytes_of(producer << 32 | n)).unwrap();
                }
            });
        }
        // As many tasks on one thread.
        scope.spawn(|| {
            block_on(all((PRODUCERS..2 * PRODUCERS).map(|producer| {
                let queue = queue.clone();
                async move {
                    for n in 0..EACH {
                        let bytes = bytes_of(producer << 32 | n);
                        queue.publish_async(bytes).await.unwrap();
                    }
                }
            })));
        });
        for _ in 0..3 {
            scope.spawn(|| {
                let consumer = queue.consumer();
                let ended = loop {
                    match consumer.recv_batch(8) {
                        Ok(batch) => batch.into_iter().for_each(|delivery| {
                            note(&delivery);
                            delivery.ack().unwrap();
                            count();
                        }),
                        Err(error) => break error,
                    }
                };
                assert!(matches!(ended, RecvError::Closed), "{ended}");
            });
        }
        scope.spawn(|| {
            block_on(all((0..3).map(|_| async {
                let consumer = queue.consumer();
                let ended = loop {
                    match consumer.recv_async().await {
                        Ok(delivery) => {
                            note(&delivery);
                            delivery.ack_durable().unwrap();
                            count();
                        }
                        Err(error) => break error,
                    }
                };
                assert!(matches!(ended, RecvError::Closed), "{ended}");
            })));
        });
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len() as u64, 2 * PRODUCERS * EACH);
    let ids: BTreeSet<u64> = seen.into_values().collect();
    assert_eq!(ids.len() as u64, 2 * PRODUCERS * EACH);
}

/// Is ready once all of these are.
async fn all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

// ---- a message that ends its process

const TIMES: u32 = 3;

#[test]
fn a_message_that_kills_every_process_ends_up_dead() {
    let directory = Directory::new("poison");
    let mut starts = 0;
    let dead = loop {
        starts += 1;
        assert!(starts <= TIMES + 2, "it kills for ever");
        let mut process = Process::start("poison", &directory, |_| {});
        let said: Vec<String> = process.lines.iter().collect();
        if process.child.wait().unwrap().success() {
            break said;
        }
    };
    // Handed out as often as it may be, and once more since the first death left no trace.
    println!("{starts} starts: {dead:?}");
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0].starts_with("1 dead, 0 pending: delivered 3 times"));
}

fn take_poison(directory: &Path) {
    let builder = Queue::builder().max_deliver(TIMES);
    let queue = builder.open(directory).unwrap();
    if queue.stats().pending == 0 {
        let messages = ["a", "poison", "b"].map(Message::from);
        queue.publish_batch(&messages).unwrap();
    }
    let consumer = queue.consumer();
    while let Some(delivery) = consumer.try_recv().unwrap() {
        if &delivery[..] == b"poison" {
            std::process::abort();
        }
        delivery.ack().unwrap();
    }
    let (stats, letters) = (queue.stats(), queue.dead_letters().list());
    let pending = stats.pending - stats.dead;
    say(&format!(
        "{} dead, {pending} pending: {}",
        stats.dead, letters[0].reason
    ));
}

// ---- processes

/// Says a line, whole or not at all.
fn say(line: &str) {
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// This binary, once more.
struct Process {
    child: Child,
    /// What it says.
    lines: Receiver<String>,
}

impl Process {
    fn start(job: &str, directory: &Path, tell: impl FnOnce(&mut Command)) -> Self {
        let command = Command::new(std::env::current_exe().unwrap());
        Self::spawn(command, job, directory, tell)
    }

    fn spawn(
        mut command: Command,
        job: &str,
        directory: &Path,
        tell: impl FnOnce(&mut Command),
    ) -> Self {
        command
            .args([
                "--exact",
                "a_process_of_its_own",
                "--ignored",
                "--nocapture",
            ])
            .env(JOB, job)
            .env(DIRECTORY, directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        tell(&mut command);
        let mut child = {
            let _turn = no_process_is_being_started();
            command.spawn().unwrap()
        };
        let said = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut lines = said.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// What it says next.
    fn say(&self) -> String {
        match self.lines.recv_timeout(LONG) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("the process hangs"),
            Err(RecvTimeoutError::Disconnected) => panic!("the process ended"),
        }
    }

    /// `kill -9`; back when the kernel is done with it.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process has the locks of the one that starts it until it is what it shall be:
/// meanwhile nobody opens what somebody closed.
fn no_process_is_being_started() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn factor() -> u64 {
    let factor = std::env::var("TENFOLD_SEEDS").ok();
    factor.map_or(1, |n| n.parse().unwrap())
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = format!("queue-{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(path);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl std::ops::Deref for Directory {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
