//! A server in memory, whose connections are numbered, and which connects when the test says so.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use tenfold::replica::{AsyncConnector, Connector, Endpoint, Fault};
use tenfold::time::Instant;

#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Connects at once, unless it holds.
    holds: bool,
    /// So many attempts fail.
    fails: usize,
    panics: bool,
    next: u32,
    made: Vec<u32>,
    closed: Vec<u32>,
    tested: Vec<u32>,
    bad: Vec<u32>,
    attempts: Vec<Attempt>,
    on_close: Option<Arc<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Attempt {
    outcome: Option<Result<(), Refused>>,
    waker: Option<Waker>,
    over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("connection refused")]
pub(crate) struct Refused;

/// A connection; dropped, it is closed.
pub(crate) struct Conn {
    pub(crate) id: u32,
    pub(crate) broken: bool,
    pub(crate) panics: bool,
    server: Server,
}

impl Server {
    pub(crate) fn endpoint() -> Endpoint {
        Endpoint::new("db-1", "here").unwrap()
    }

    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Attempts wait until they are [finished](Self::finish).
    pub(crate) fn hold(&self) {
        self.with(|state| state.holds = true);
    }

    pub(crate) fn fail(&self, times: usize) {
        self.with(|state| state.fails = times);
    }

    pub(crate) fn panic_once(&self) {
        self.with(|state| state.panics = true);
    }

    pub(crate) fn on_close(&self, act: impl Fn() + Send + Sync + 'static) {
        self.with(|state| state.on_close = Some(Arc::new(act)));
    }

    /// The next tests of this connection fail.
    pub(crate) fn spoil(&self, id: u32) {
        self.with(|state| state.bad.push(id));
    }

    /// The attempts under way, by number.
    pub(crate) fn attempts(&self) -> Vec<usize> {
        self.with(|state| {
            let attempts = state.attempts.iter().enumerate();
            let open = attempts.filter(|(_, attempt)| !attempt.over && attempt.outcome.is_none());
            open.map(|(number, _)| number).collect()
        })
    }

    pub(crate) fn finish(&self, attempt: usize, outcome: Result<(), Refused>) {
        let waker = self.with(|state| {
            state.attempts[attempt].outcome = Some(outcome);
            state.attempts[attempt].waker.take()
        });
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn made(&self) -> Vec<u32> {
        self.with(|state| state.made.clone())
    }

    pub(crate) fn closed(&self) -> Vec<u32> {
        self.with(|state| state.closed.clone())
    }

    pub(crate) fn tested(&self) -> Vec<u32> {
        self.with(|state| state.tested.clone())
    }

    fn make(&self) -> Result<Conn, Refused> {
        let (panics, made) = self.with(|state| {
            if std::mem::take(&mut state.panics) {
                return (true, Err(Refused));
            }
            if state.fails > 0 {
                state.fails -= 1;
                return (false, Err(Refused));
            }
            let id = state.next;
            state.next += 1;
            state.made.push(id);
            (false, Ok(id))
        });
        assert!(!panics, "the connector panics");
        Ok(Conn {
            id: made?,
            broken: false,
            panics: false,
            server: self.clone(),
        })
    }

    fn test(&self, id: u32) -> Result<(), Refused> {
        self.with(|state| {
            state.tested.push(id);
            if state.bad.contains(&id) {
                Err(Refused)
            } else {
                Ok(())
            }
        })
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let on_close = self.server.with(|state| {
            state.closed.push(self.id);
            state.on_close.clone()
        });
        if let Some(act) = on_close {
            act();
        }
    }
}

impl Connector for Server {
    type Connection = Conn;
    type Error = Refused;

    fn connect(&self, _: &Endpoint, _: Instant) -> Result<Conn, Refused> {
        self.make()
    }

    fn recycle(&self, conn: &mut Conn) -> Result<(), Refused> {
        self.test(conn.id)
    }

    fn is_broken(&self, conn: &Conn) -> bool {
        assert!(!conn.panics, "the question panics");
        conn.broken
    }

    fn classify(&self, _: &Refused) -> Fault {
        Fault::ConnectionLost
    }
}

impl AsyncConnector for Server {
    type Connection = Conn;
    type Error = Refused;

    async fn connect(&self, _: &Endpoint) -> Result<Conn, Refused> {
        if !self.with(|state| state.holds) {
            return self.make();
        }
        let attempt = self.with(|state| {
            state.attempts.push(Attempt::default());
            state.attempts.len() - 1
        });
        let _over = Over(self, attempt);
        poll_fn(|context| {
            self.with(|state| {
                let attempt = &mut state.attempts[attempt];
                attempt.waker = Some(context.waker().clone());
                attempt.outcome.map_or(Poll::Pending, Poll::Ready)
            })
        })
        .await?;
        self.make()
    }

    async fn recycle(&self, conn: &mut Conn) -> Result<(), Refused> {
        // A test takes a moment, in which it may be dropped.
        let mut asked = false;
        poll_fn(|context| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.test(conn.id)
    }

    fn is_broken(&self, conn: &Conn) -> bool {
        conn.broken
    }

    fn classify(&self, _: &Refused) -> Fault {
        Fault::ConnectionLost
    }
}

struct Over<'a>(&'a Server, usize);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.attempts[self.1].over = true);
    }
}
