//! The line under every interleaving that shuttle's scheduler tries. It reports a deadlock when everybody left
//! is parked, so that "no wake-up is lost" needs no assertion.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use shuttle::thread;

use super::{GetError, Pool, PoolOptions, Pooled};
use crate::replica::{Async, AsyncConnector, Connector, Endpoint, Fault};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::explore;
use crate::time::{Instant, ManualClock};

/// Makes units, and counts how many of them there are.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

struct Unit(Arc<AtomicUsize>);

impl Counted {
    fn make(&self, max: usize) -> Unit {
        assert!(
            self.0.fetch_add(1, Ordering::SeqCst) < max,
            "too many connections"
        );
        Unit(Arc::clone(&self.0))
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// There may be as many connections as this.
const MAX: usize = 1;

impl Connector for Counted {
    type Connection = Unit;
    type Error = Infallible;

    fn connect(&self, _: &Endpoint, _: Instant) -> Result<Unit, Infallible> {
        thread::yield_now();
        Ok(self.make(MAX))
    }

    fn classify(&self, error: &Infallible) -> Fault {
        match *error {}
    }
}

impl AsyncConnector for Counted {
    type Connection = Unit;
    type Error = Infallible;

    async fn connect(&self, _: &Endpoint) -> Result<Unit, Infallible> {
        Ok(self.make(MAX))
    }

    fn classify(&self, error: &Infallible) -> Fault {
        match *error {}
    }
}

fn options() -> PoolOptions {
    PoolOptions::new()
        .max_size(MAX)
        .max_wait(std::time::Duration::MAX)
        .clock(ManualClock::new().clock())
}

fn endpoint() -> Endpoint {
    Endpoint::new("a", "b").expect("it has a name")
}

/// One connection, three threads, two turns each: nobody is alone with it and another, and nobody hangs.
#[test]
fn everybody_gets_the_connection_and_nobody_hangs() {
    explore(1000, || {
        let pool = options()
            .build(Counted::default(), endpoint())
            .expect("coherent");
        let busy = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let (pool, busy) = (pool.clone(), Arc::clone(&busy));
                thread::spawn(move || {
                    for turn in 0..2 {
                        let lent = pool.get().expect("it is open");
                        assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        busy.fetch_sub(1, Ordering::SeqCst);
                        if (n, turn) == (0, 0) {
                            lent.discard();
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        let stats = pool.stats();
        assert_eq!(
            (stats.idle, stats.lent, stats.connecting, stats.waiting),
            (1, 0, 0, 0)
        );
    });
}

/// Who came first is served first, whoever comes in between.
#[test]
fn turns_are_taken_in_order() {
    explore(1000, || {
        let pool = options()
            .build(Counted::default(), endpoint())
            .expect("coherent");
        let held = pool.get().expect("it is open");
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut threads = Vec::new();
        for n in 0..2 {
            let (asks, order) = (pool.clone(), Arc::clone(&order));
            threads.push(thread::spawn(move || {
                let lent = asks.get().expect("it is open");
                order.lock().push(n);
                drop(lent);
            }));
            while pool.stats().waiting <= n {
                thread::yield_now();
            }
        }
        // Comes when the line is there, and may run when it moves.
        let barges = pool.clone();
        let late = Arc::clone(&order);
        threads.push(thread::spawn(move || {
            let lent = barges.get().expect("it is open");
            late.lock().push(2);
            drop(lent);
        }));
        drop(held);
        for thread in threads {
            thread.join().expect("no panic");
        }
        let order = order.lock().clone();
        let position = |n: usize| order.iter().position(|found| *found == n);
        assert!(position(0) < position(1), "{order:?}");
    });
}

/// A waiter that is dropped at any moment passes on what it was offered.
#[test]
fn who_is_cancelled_passes_its_turn_on() {
    explore(1000, || {
        let client = Async(Counted::default());
        let pool = options().build(client, endpoint()).expect("coherent");
        let held = wait(&pool);
        let cancelled = {
            let pool = pool.clone();
            thread::spawn(move || {
                let mut waiting = Box::pin(pool.get_async());
                let mut context = Context::from_waker(Waker::noop());
                let first = waiting.as_mut().poll(&mut context);
                thread::yield_now();
                drop((first, waiting));
            })
        };
        let patient = {
            let pool = pool.clone();
            thread::spawn(move || drop(wait(&pool)))
        };
        let returns = thread::spawn(move || drop(held));
        for thread in [cancelled, patient, returns] {
            thread.join().expect("no panic");
        }
        let stats = pool.stats();
        assert_eq!(
            (stats.idle, stats.lent, stats.connecting, stats.waiting),
            (1, 0, 0, 0)
        );
    });
}

/// A purge and a close in the middle of it all: everybody gets something that is not stale, or is told.
#[test]
fn who_waits_is_told_when_it_closes() {
    explore(1000, || {
        let pool = options()
            .build(Counted::default(), endpoint())
            .expect("coherent");
        let users: Vec<_> = (0..2)
            .map(|_| {
                let pool = pool.clone();
                thread::spawn(move || match pool.get() {
                    Ok(lent) => {
                        thread::yield_now();
                        drop(lent);
                    }
                    Err(GetError::Closed) => {}
                    Err(other) => panic!("{other}"),
                })
            })
            .collect();
        pool.purge();
        thread::yield_now();
        let drain = pool.drain();
        let drained = thread::spawn(move || block(pin!(drain)));
        for user in users {
            user.join().expect("no panic");
        }
        drained.join().expect("no panic");
        let stats = pool.stats();
        assert_eq!(
            (stats.idle, stats.lent, stats.connecting, stats.waiting),
            (0, 0, 0, 0)
        );
    });
}

fn wait(pool: &Pool<Async<Counted>>) -> Pooled<Async<Counted>> {
    block(pin!(pool.get_async())).expect("it is open")
}

fn block<F: Future>(mut future: std::pin::Pin<&mut F>) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}
