//! How threads wait, and how tasks do: what differs between the two faces of the block, so that the rest is written
//! once.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::{Async, AsyncConnector, Client, Connector, Endpoint};
use crate::sync::thread::{self, Thread};
use crate::time::{Clock, Instant, Sleep, Timer};

/// The ways of threads, or those of tasks.
pub(crate) trait Ways<C: Client>: Copy + Send + Sync {
    /// Looks until there is something to be seen.
    fn watch<T: Send>(
        self,
        times: &Times,
        look: impl FnMut(&Waker) -> Look<T> + Send,
    ) -> impl Future<Output = T> + Send;

    /// Makes a connection until the moment.
    fn connect(
        self,
        client: &C,
        endpoint: &Endpoint,
        until: Instant,
        times: &Times,
    ) -> impl Future<Output = Result<C::Connection, Failure<C::Error>>> + Send;

    /// Tests a connection.
    fn recycle(
        self,
        client: &C,
        connection: &mut C::Connection,
    ) -> impl Future<Output = bool> + Send;
}

/// What tells the time, and what wakes tasks.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    pub(crate) clock: Clock,
    pub(crate) timer: Timer,
}

/// What was seen.
pub(crate) enum Look<T> {
    Seen(T),
    /// Nothing yet; look again when woken, and at this moment.
    Wait(Instant),
}

pub(crate) enum Failure<E> {
    Connect(E),
    /// It was not done when its time was up.
    Late,
}

/// Threads block within the futures, which are ready when they are first polled.
#[derive(Clone, Copy)]
pub(crate) struct Blocking;

impl<C: Connector> Ways<C> for Blocking {
    async fn watch<T: Send>(self, times: &Times, look: impl FnMut(&Waker) -> Look<T> + Send) -> T {
        watch_blocking(times, look)
    }

    async fn connect(
        self,
        client: &C,
        endpoint: &Endpoint,
        until: Instant,
        _: &Times,
    ) -> Result<C::Connection, Failure<C::Error>> {
        let connected = client.connect(endpoint, until);
        connected.map_err(Failure::Connect)
    }

    async fn recycle(self, client: &C, connection: &mut C::Connection) -> bool {
        client.recycle(connection).is_ok()
    }
}

/// Runs what blocks within and is never pending.
pub(crate) fn run<F: Future>(blocks: F) -> F::Output {
    let mut blocks = pin!(blocks);
    loop {
        if let Poll::Ready(output) = blocks
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return output;
        }
    }
}

/// Blocks the thread until there is something to be seen.
pub(crate) fn watch_blocking<T>(times: &Times, mut look: impl FnMut(&Waker) -> Look<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut nap: Option<(Instant, Sleep)> = None;
    loop {
        let moment = match look(&waker) {
            Look::Seen(seen) => return seen,
            Look::Wait(Instant::NEVER) => {
                // Somebody else's unpark is a turn of the loop, no more.
                thread::park();
                continue;
            }
            Look::Wait(moment) => moment,
        };
        let now = times.clock.now();
        let Some(manual) = times.clock.as_manual() else {
            thread::park_timeout(moment.saturating_since(now));
            continue;
        };
        // Its hands move when somebody moves them, and that one wakes us.
        if nap.as_ref().is_none_or(|(at, _)| *at != moment) {
            nap = Some((moment, manual.timer().sleep_until(moment, now)));
        }
        if !rings(&mut nap, &waker) {
            thread::park();
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Awaiting;

impl<C: AsyncConnector> Ways<Async<C>> for Awaiting {
    async fn watch<T: Send>(self, times: &Times, look: impl FnMut(&Waker) -> Look<T> + Send) -> T {
        watch(times, look).await
    }

    async fn connect(
        self,
        client: &Async<C>,
        endpoint: &Endpoint,
        until: Instant,
        times: &Times,
    ) -> Result<C::Connection, Failure<C::Error>> {
        let connecting = client.0.connect(endpoint);
        match within(connecting, until, times).await {
            Some(connected) => connected.map_err(Failure::Connect),
            None => Err(Failure::Late),
        }
    }

    async fn recycle(self, client: &Async<C>, connection: &mut C::Connection) -> bool {
        client.0.recycle(connection).await.is_ok()
    }
}

/// Waits until there is something to be seen.
pub(crate) async fn watch<T>(times: &Times, mut look: impl FnMut(&Waker) -> Look<T>) -> T {
    let mut nap: Option<(Instant, Sleep)> = None;
    poll_fn(|context| {
        loop {
            let moment = match look(context.waker()) {
                Look::Seen(seen) => return Poll::Ready(seen),
                Look::Wait(Instant::NEVER) => return Poll::Pending,
                Look::Wait(moment) => moment,
            };
            if nap.as_ref().is_none_or(|(at, _)| *at != moment) {
                let sleep = times.timer.sleep_until(moment, times.clock.now());
                nap = Some((moment, sleep));
            }
            if !rings(&mut nap, context.waker()) {
                return Poll::Pending;
            }
            nap = None;
        }
    })
    .await
}

/// What a future brings until the moment, if it brings anything.
pub(crate) async fn within<F: Future>(
    future: F,
    until: Instant,
    times: &Times,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut nap = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        if until == Instant::NEVER {
            return Poll::Pending;
        }
        let sleep = || times.timer.sleep_until(until, times.clock.now());
        Pin::new(nap.get_or_insert_with(sleep))
            .poll(context)
            .map(|()| None)
    })
    .await
}

/// Whether the moment has come; if not, this waker is woken when it does.
fn rings(nap: &mut Option<(Instant, Sleep)>, waker: &Waker) -> bool {
    let mut context = Context::from_waker(waker);
    nap.as_mut()
        .is_some_and(|(_, nap)| Pin::new(nap).poll(&mut context).is_ready())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
