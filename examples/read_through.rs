//! A slow and a dead store, in virtual time: what users wait and how many get
//! an error, without the read-through layer's resilience and with it.
//!
//! ```text
//! cargo run --example read_through
//! ```
//!
//! Nothing here sleeps: a [`ManualClock`] is turned by hand, and the store turns
//! it further by as long as it takes to answer. The program fails if one of its
//! claims does not hold.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenfold::cache::Cache;
use tenfold::cache::read_through::{ReadThrough, ReadThroughBuilder, RefreshAhead};
use tenfold::task::{Executor, Task};
use tenfold::time::{Clock, Instant, ManualClock, Timer};

const MILLI: Duration = Duration::from_millis(1);
const TICK: Duration = Duration::from_millis(5);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const PAGES: u32 = 50;

type Pages = ReadThrough<u32, &'static str, &'static str>;
type Builder = ReadThroughBuilder<u32, &'static str, &'static str>;

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{PAGES} pages, each fresh for a minute, all of them read every second. The store answers"
    );
    println!("within 5 ms, but from minute 10 on it takes 4 s, and from minute 20 on it refuses");
    println!("connections. In these twenty minutes:\n");
    println!(
        "{:32}{:>9}{:>9}{:>10}{:>10}",
        "", "p99", "worst", "errors", "queries"
    );
    let bare = bad_day(|pages| pages)?;
    println!("{:32}{bare}", "time to live alone");
    let failsafe = bad_day(|pages| pages.stale_on_error(DAY))?;
    println!("{:32}{failsafe}", "+ stale on error");
    let timely = bad_day(|pages| {
        let pages = pages.stale_on_error(DAY);
        pages.soft_timeout(100 * MILLI).hard_timeout(SECOND)
    })?;
    println!("{:32}{timely}", "+ timeouts of 100 ms and 1 s");
    let resilient = bad_day(|pages| {
        pages
            .stale_on_error(DAY)
            .soft_timeout(100 * MILLI)
            .hard_timeout(SECOND)
            .refresh_ahead(RefreshAhead::after(0.8))
    })?;
    println!("{:32}{resilient}", "+ refresh ahead");

    check(bare.errors > 10_000, "a dead store is felt by everyone")?;
    check(bare.p99 > SECOND, "and so is a slow one")?;
    check(failsafe.errors == 0, "stale values stand in for errors")?;
    check(
        failsafe.queries * 10 < bare.queries,
        "and the dead store is left in peace",
    )?;
    check(
        failsafe.worst == 4 * SECOND,
        "a slow store is still waited for",
    )?;
    check(
        timely.worst <= 100 * MILLI,
        "nobody waits longer than the timeout",
    )?;
    check(timely.errors == 0, "nor gets an error for it")?;
    check(
        resilient.worst <= 2 * TICK,
        "with a refresh ahead nobody waits for a slow store",
    )?;
    check(resilient.errors == 0, "and nobody gets an error")?;
    Ok(())
}

/// The figures of twenty minutes.
#[derive(Default)]
struct Figures {
    p99: Duration,
    worst: Duration,
    errors: usize,
    queries: u64,
}

/// Reads every page every second for half an hour, whether or not those who
/// asked before have been answered.
fn bad_day(with: impl Fn(Builder) -> Builder) -> Result<Figures, Box<dyn Error>> {
    let time = ManualClock::new();
    let (opening, work) = (time.now(), Work::default());
    let cache = Cache::builder().max_entries(1000).clock(time.clock());
    let pages = ReadThrough::builder(cache.seed(1))
        .time_to_live(MINUTE)
        .executor(work.executor())
        .async_loader(store(time.clock(), time.timer(), opening));
    let pages: Pages = with(pages).build()?;
    let (mut users, mut figures) = (Users::default(), Figures::default());
    for second in 0..30 * 60 {
        if second == 10 * 60 {
            figures.queries = queries(&pages);
            users.served.clear();
        }
        (0..PAGES).for_each(|page| users.ask(&pages, page, time.now()));
        for _ in 0..SECOND.as_millis() / TICK.as_millis() {
            work.run();
            users.poll(time.now());
            time.advance(TICK);
            work.run();
        }
    }
    figures.queries = queries(&pages) - figures.queries;
    figures.errors = users.served.iter().filter(|served| served.failed).count();
    let mut waits: Vec<_> = users.served.iter().map(|served| served.waited).collect();
    waits.sort_unstable();
    figures.p99 = waits[waits.len() * 99 / 100];
    figures.worst = waits[waits.len() - 1];
    Ok(figures)
}

fn queries(pages: &Pages) -> u64 {
    let stats = pages.stats();
    stats.loads + stats.failures
}

/// Those who wait, and what became of the others.
#[derive(Default)]
struct Users {
    /// Since when, and whether it failed.
    waiting: Vec<(Instant, Call)>,
    served: Vec<Served>,
}

type Call = Pin<Box<dyn Future<Output = bool>>>;

struct Served {
    waited: Duration,
    failed: bool,
}

impl Users {
    fn ask(&mut self, pages: &Pages, page: u32, now: Instant) {
        let pages = pages.clone();
        let call = async move { pages.get_async(&page).await.is_err() };
        self.waiting.push((now, Box::pin(call)));
    }

    fn poll(&mut self, now: Instant) {
        self.waiting.retain_mut(|(asked, call)| {
            let polled = poll(call.as_mut());
            if let Poll::Ready(failed) = polled {
                let waited = now.saturating_since(*asked);
                self.served.push(Served { waited, failed });
            }
            polled.is_pending()
        });
    }
}

/// A store with a bad hour.
fn store(
    clock: Clock,
    timer: Timer,
    opening: Instant,
) -> impl Fn(tenfold::cache::read_through::Request<u32, &'static str>) -> Answer + Send + Sync {
    move |_| {
        let minute = clock.now().saturating_since(opening).as_secs() / 60;
        let (takes, answer) = match minute {
            10..20 => (4 * SECOND, Ok("text")),
            20..30 => (5 * MILLI, Err("connection refused")),
            _ => (5 * MILLI, Ok("text")),
        };
        let sleep = timer.sleep(takes);
        Box::pin(async move {
            sleep.await;
            answer
        })
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<&'static str, &'static str>> + Send>>;

/// The background: tasks polled whenever time goes on.
#[derive(Clone, Default)]
struct Work(Arc<Mutex<Vec<Pin<Box<Task>>>>>);

impl Work {
    fn executor(&self) -> Executor {
        // Weak, for a task holds its cache, and that its executor.
        let work = Arc::downgrade(&self.0);
        Executor::new(move |task| {
            let Some(work) = work.upgrade() else {
                return Err(task);
            };
            match work.lock() {
                Ok(mut tasks) => tasks.push(Box::pin(task)),
                Err(_) => return Err(task),
            }
            Ok(())
        })
    }

    fn run(&self) {
        let taken = self.0.lock().map(|mut tasks| std::mem::take(&mut *tasks));
        let mut tasks = taken.unwrap_or_default();
        tasks.retain_mut(|task| poll(task.as_mut()).is_pending());
        if let Ok(mut waiting) = self.0.lock() {
            waiting.append(&mut tasks);
        }
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn check(holds: bool, claim: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("this should hold and does not: {claim}"))
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            p99,
            worst,
            errors,
            queries,
        } = self;
        let (p99, worst) = (format!("{p99:?}"), format!("{worst:?}"));
        write!(f, "{p99:>9}{worst:>9}{errors:>10}{queries:>10}")
    }
}
