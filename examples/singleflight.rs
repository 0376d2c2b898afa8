//! The herd's bad day, in virtual time: what happens without the block, with it,
//! and when the caller that works is lost.
//!
//! ```text
//! cargo run --example singleflight
//! ```
//!
//! Nothing here sleeps: a [`ManualClock`] is turned by hand. The program fails if
//! one of its claims does not hold.

use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenfold::singleflight::{FlightError, Group, Outcome};
use tenfold::time::ManualClock;

const HERD: usize = 2000;
const SECOND: Duration = Duration::from_secs(1);

type Call<'a> = Pin<Box<dyn Future<Output = Answer> + 'a>>;
type Answer = Result<Outcome<u64>, FlightError<std::convert::Infallible>>;

fn main() -> Result<(), Box<dyn Error>> {
    let time = ManualClock::new();
    let timer = time.timer();
    let queries = Cell::new(0);
    let price = || async {
        queries.set(queries.get() + 1);
        timer.sleep(SECOND).await;
        4_200_u64
    };

    println!("{HERD} requests ask for one price at once; the database takes a second.");
    let mut alone: Vec<_> = (0..HERD).map(|_| Box::pin(price())).collect();
    for request in &mut alone {
        let _ = poll(request.as_mut());
    }
    println!("  queries without the block: {}", queries.get());
    check(queries.take() == HERD, "each of them asks")?;
    drop(alone);

    let group = Group::builder()
        .wait_timeout(5 * SECOND)
        .lease(3 * SECOND)
        .clock(time.clock())
        .build()?;
    let mut herd: Vec<Call<'_>> = (0..HERD)
        .map(|_| Box::pin(group.work_async("lamp", price)) as Call<'_>)
        .collect();
    poll_all(&mut herd);
    println!("  queries through a group:   {}", queries.get());
    check(queries.get() == 1, "one asks for all")?;

    println!("\nThe caller that works is cancelled.");
    drop(herd.remove(0));
    poll_all(&mut herd);
    println!("  queries now:               {}", queries.get());
    check(queries.get() == 2, "exactly one takes its place")?;
    time.advance(SECOND);
    let served = poll_all(&mut herd);
    println!("  served:                    {served} of {}", HERD - 1);
    check(served == HERD - 1, "nobody else was harmed")?;

    println!("\nThe caller that works is never polled again, and its lease ends.");
    queries.take();
    let mut stuck = Box::pin(group.work_async("lamp", price));
    check(poll(stuck.as_mut()).is_pending(), "it works")?;
    let mut herd: Vec<Call<'_>> = (0..HERD)
        .map(|_| Box::pin(group.work_async("lamp", price)) as Call<'_>)
        .collect();
    poll_all(&mut herd);
    time.advance(3 * SECOND);
    poll_all(&mut herd);
    time.advance(SECOND);
    let served = poll_all(&mut herd);
    println!("  queries: {}, served: {served}", queries.get());
    check(queries.get() == 2 && served == HERD, "one took its place")?;
    drop(stuck);

    println!("\n{}", group.stats());
    check(group.in_flight() == 0, "nothing is left")?;
    Ok(())
}

/// Polls all, lets go of those that are done, and counts the served.
fn poll_all(calls: &mut Vec<Call<'_>>) -> usize {
    let mut served = 0;
    // Twice: the one that finishes may come after those who wait for it.
    for _ in 0..2 {
        calls.retain_mut(|call| match poll(call.as_mut()) {
            Poll::Ready(answer) => {
                served += usize::from(answer.is_ok_and(|outcome| outcome.value == 4_200));
                false
            }
            Poll::Pending => true,
        });
    }
    served
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn check(holds: bool, claim: &str) -> Result<(), Box<dyn Error>> {
    if holds {
        return Ok(());
    }
    Err(format!("it does not hold that {claim}").into())
}
