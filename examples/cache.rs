//! The cache's bad days, in virtual time: what happens without it, and with it.
//!
//! ```text
//! cargo run --example cache
//! ```
//!
//! Nothing here sleeps: a [`ManualClock`] is turned by hand, so five minutes
//! pass in milliseconds, and the same ones in every run. The program fails if
//! one of its claims does not hold.

use std::convert::Infallible;
use std::error::Error;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenfold::cache::{Cache, CacheBuilder};
use tenfold::time::{Jitter, ManualClock};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const PAGES: u32 = 1000;
const USERS: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    println!("The expiry cliff: {PAGES} pages, loaded after a restart, each kept for a minute.");
    let without = worst_second(Cache::builder().jitter(Jitter::none()))?;
    let with = worst_second(Cache::builder())?;
    println!("  queries in the worst second, every page expiring together: {without}");
    println!("  with the default, which shortens by up to a tenth:         {with}");
    check(
        without == u64::from(PAGES),
        "without jitter all expire as one",
    )?;
    check(with * 4 <= without, "jitter spreads them")?;

    println!("\nThe stampede: the front page expires while {USERS} users ask for it.");
    let (without, with) = (look_then_load(), load_once()?);
    println!("  queries if each looks, misses and asks the database: {without}");
    println!("  queries through get_with_async:                      {with}");
    check(without == USERS, "each of them asks")?;
    check(with == 1, "one asks for all")?;

    println!("\nThe stale write: a page is changed while its old text is being loaded.");
    let text = read_after_change()?;
    println!("  the next reader gets the {text} text");
    check(text == "new", "an invalidation beats the load under way")?;
    Ok(())
}

/// Reads every page every second for five minutes; the most loads there were
/// in a second after the first.
fn worst_second(builder: CacheBuilder<u32, &'static str>) -> Result<u64, Box<dyn Error>> {
    let time = ManualClock::new();
    let builder = builder.max_entries(PAGES as usize).time_to_live(MINUTE);
    let pages = builder.clock(time.clock()).seed(1).build()?;
    let mut worst = 0;
    for second in 0..300 {
        let before = pages.stats().loads;
        for page in 0..PAGES {
            pages.get_with(page, || "text")?;
        }
        if second > 0 {
            worst = worst.max(pages.stats().loads - before);
        }
        time.advance(SECOND);
    }
    Ok(worst)
}

/// What a program does that has only `get` and `insert`.
fn look_then_load() -> usize {
    let pages: Cache<&str, &str> = Cache::new(10);
    // All look before the first answer of the database is there.
    let misses: Vec<_> = (0..USERS).filter(|_| pages.get("/").is_none()).collect();
    for _ in &misses {
        pages.insert("/", "text");
    }
    misses.len()
}

/// The same users as tasks that share one load.
fn load_once() -> Result<usize, Box<dyn Error>> {
    let pages: Cache<&str, &str> = Cache::new(10);
    let mut queries = 0;
    {
        let count = std::cell::Cell::new(0);
        let mut users: Vec<Pin<Box<_>>> = (0..USERS)
            .map(|_| {
                Box::pin(pages.get_with_async("/", || async {
                    count.set(count.get() + 1);
                    Turn::default().await;
                    "text"
                }))
            })
            .collect();
        // Everyone asks, then everyone asks again for what has arrived.
        for user in &mut users {
            check(poll(user.as_mut()).is_pending(), "the database is slow")?;
        }
        for user in &mut users {
            match poll(user.as_mut()) {
                Poll::Ready(text) => check(text? == "text", "the text is the database's")?,
                Poll::Pending => return Err("a user was forgotten".into()),
            }
        }
        queries += count.get();
    }
    check(
        pages.stats().coalesced == USERS as u64 - 1,
        "the others waited",
    )?;
    Ok(queries)
}

/// Invalidates a page while it is being loaded, and reads it again.
fn read_after_change() -> Result<&'static str, Box<dyn Error>> {
    let pages: Cache<&str, &str> = Cache::new(10);
    let slow = pages.get_with_async("/", || async {
        Turn::default().await;
        "old"
    });
    let mut slow = pin!(slow);
    check(poll(slow.as_mut()).is_pending(), "the database is slow")?;
    pages.invalidate("/");
    match poll(slow) {
        Poll::Ready(text) => check(text? == "old", "who asked before gets what was there")?,
        Poll::Pending => return Err("the load was forgotten".into()),
    }
    let text: Result<_, tenfold::cache::LoadError<Infallible>> = pages.get_with("/", || "new");
    Ok(text?)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn check(holds: bool, claim: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("this should hold and does not: {claim}"))
    }
}

/// A database that has its answer when it is asked the second time.
#[derive(Default)]
struct Turn {
    asked: bool,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.asked, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
