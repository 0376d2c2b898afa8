//! The rivals, each with as many connections, and set not to test what it lends where it can be.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::CONNECTIONS;
use super::tasks::{Connection, Lend, TaskPool};

/// Makes connections with nothing behind them.
#[derive(Debug, Default)]
pub(super) struct Numbers(AtomicU64);

impl Numbers {
    pub(super) fn next(&self) -> Connection {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The least that a pool can do: a list behind a mutex.
pub(super) fn floor() -> Lend {
    let list: Mutex<Vec<Connection>> = Mutex::new((0..u64::from(CONNECTIONS)).collect());
    let list = Arc::new(list);
    Box::new(move |times| {
        for _ in 0..times {
            let lent = list.lock().pop().expect("nobody else has one");
            list.lock().push(black_box(lent));
        }
    })
}

impl r2d2::ManageConnection for Numbers {
    type Connection = Connection;
    type Error = std::fmt::Error;

    fn connect(&self) -> Result<Connection, Self::Error> {
        Ok(self.next())
    }

    fn is_valid(&self, _: &mut Connection) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}

pub(super) fn r2d2() -> Lend {
    let pool = r2d2::Pool::builder()
        .max_size(CONNECTIONS)
        .test_on_check_out(false)
        .build(Numbers::default())
        .expect("it connects");
    Box::new(move |times| {
        for _ in 0..times {
            black_box(*pool.get().expect("nobody else has one"));
        }
    })
}

impl bb8::ManageConnection for Numbers {
    type Connection = Connection;
    type Error = Infallible;

    async fn connect(&self) -> Result<Connection, Infallible> {
        Ok(self.next())
    }

    async fn is_valid(&self, _: &mut Connection) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}

pub(super) fn bb8() -> bb8::Pool<Numbers> {
    bb8::Pool::builder()
        .max_size(CONNECTIONS)
        .test_on_check_out(false)
        .build_unchecked(Numbers::default())
}

impl TaskPool for bb8::Pool<Numbers> {
    type Lent<'a> = bb8::PooledConnection<'a, Numbers>;

    async fn lend(&self) -> Self::Lent<'_> {
        self.get().await.expect("it comes back")
    }
}

impl deadpool::managed::Manager for Numbers {
    type Type = Connection;
    type Error = Infallible;

    async fn create(&self) -> Result<Connection, Infallible> {
        Ok(self.next())
    }

    async fn recycle(
        &self,
        _: &mut Connection,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Infallible> {
        Ok(())
    }
}

type Deadpool = deadpool::managed::Pool<Numbers>;

pub(super) fn deadpool() -> Deadpool {
    deadpool::managed::Pool::builder(Numbers::default())
        .max_size(CONNECTIONS as usize)
        .build()
        .expect("it knows a runtime")
}

/// The same for callers that do not wait for ever, as all the others.
pub(super) fn deadpool_in_time() -> Deadpool {
    deadpool::managed::Pool::builder(Numbers::default())
        .max_size(CONNECTIONS as usize)
        .wait_timeout(Some(Duration::from_secs(30)))
        .runtime(deadpool::Runtime::Tokio1)
        .build()
        .expect("it knows a runtime")
}

impl TaskPool for Deadpool {
    type Lent<'a> = deadpool::managed::Object<Numbers>;

    async fn lend(&self) -> Self::Lent<'_> {
        self.get().await.expect("it comes back")
    }
}

#[mobc::async_trait]
impl mobc::Manager for Numbers {
    type Connection = Connection;
    type Error = Infallible;

    async fn connect(&self) -> Result<Connection, Infallible> {
        Ok(self.next())
    }

    async fn check(&self, connection: Connection) -> Result<Connection, Infallible> {
        Ok(connection)
    }
}

pub(super) fn mobc() -> mobc::Pool<Numbers> {
    mobc::Pool::builder()
        .max_open(u64::from(CONNECTIONS))
        .max_idle(u64::from(CONNECTIONS))
        .test_on_check_out(false)
        .build(Numbers::default())
}

impl TaskPool for mobc::Pool<Numbers> {
    type Lent<'a> = mobc::Connection<Numbers>;

    async fn lend(&self) -> Self::Lent<'_> {
        self.get().await.expect("it comes back")
    }
}
