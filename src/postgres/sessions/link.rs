//! The way to the server: a few connections, an end to each call, and a breaker before them.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_postgres::Row;

use super::connection::{Connection, Dial, Values};
use super::failure::Failure;
use super::record;
use super::statements::{Statement, Statements};
use super::table::Table;
use crate::cache::tier::{Breaker, BreakerState};
use crate::replica::Async;
use crate::replica::pool::{Pool, PoolStats, Pooled};
use crate::session::Unavailable;
use crate::time::Clock;

pub(super) struct Link {
    pool: Pool<Async<Dial>>,
    statements: Statements,
    breaker: Breaker,
    patience: Patience,
}

/// When to give up, and for how long.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// How long a call may take.
    pub(super) limit: Duration,
    /// How many calls in a row may fail.
    pub(super) failures: u32,
    /// How long none is made after that.
    pub(super) pause: Duration,
    /// The clock of that pause.
    pub(super) clock: Clock,
}

/// A question to the server.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) statement: Statement,
    pub(super) values: Values<'a>,
    /// The number of the lock that it has to have.
    pub(super) lock: Option<i32>,
}

impl Link {
    pub(super) fn new(pool: Pool<Async<Dial>>, statements: Statements, patience: Patience) -> Self {
        let Patience {
            failures, pause, ..
        } = patience;
        Self {
            pool,
            statements,
            breaker: Breaker::new(failures, pause, patience.clock.clone()),
            patience,
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    pub(super) fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Vec<Row>, Unavailable> {
        self.run(self.attempt(ask)).await
    }

    pub(super) async fn create(&self, table: &Table) -> Result<(), Unavailable> {
        self.run(async {
            let mut lent = self.lend().await?;
            let created = lent.create(table).await;
            created.map_err(|error| Failure::of(error, self.patience.limit))?;
            lent.mark_whole();
            Ok(())
        })
        .await
    }

    /// Makes a call, within its time, unless the server is left alone.
    async fn run<T>(
        &self,
        call: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Unavailable> {
        if Handle::try_current().is_err() {
            return Err(Unavailable::Unreachable(Arc::new(NoRuntime)));
        }
        let Some(permit) = self.breaker.try_acquire() else {
            let pause = self.patience.pause;
            return Err(Unavailable::Suspended { pause });
        };
        let limit = self.patience.limit;
        let failure = match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => {
                permit.succeeded();
                return Ok(answer);
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Down(Unavailable::TimedOut { limit }),
        };
        if failure.is_answer() {
            permit.succeeded();
        } else {
            let opened = self.breaker.opened();
            permit.failed();
            if self.breaker.opened() > opened {
                // Those to a server that vanished without a word look well for long.
                self.pool.purge();
            }
        }
        Err(failure.into())
    }

    /// Asks, and once more if the connection was of no use.
    async fn attempt(&self, ask: Ask<'_>) -> Result<Vec<Row>, Failure> {
        match self.attempt_once(ask).await {
            Err(failure) if failure.may_go_elsewhere(ask.statement.reads()) => {
                // Where one was lost, others were.
                self.pool.purge();
                self.attempt_once(ask).await
            }
            answer => answer,
        }
    }

    async fn attempt_once(&self, ask: Ask<'_>) -> Result<Vec<Row>, Failure> {
        let mut lent = self.lend().await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.attempt_on(&mut lent, ask).await {
                Ok(rows) => {
                    lent.mark_whole();
                    return Ok(rows);
                }
                Err(Failure::Transient(_)) if attempts < ATTEMPTS => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn attempt_on(
        &self,
        connection: &mut Connection,
        ask: Ask<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let Ask {
            statement,
            values,
            lock,
        } = ask;
        let texts = &self.statements;
        let rows = match lock {
            None => connection.rows(texts, statement, values).await,
            Some(lock) => {
                connection
                    .rows_under_lock(texts, lock, statement, values)
                    .await
            }
        };
        let rows = rows.map_err(|error| Failure::of(error, self.patience.limit))?;
        // What only reads is answered by a server too that must not be asked.
        if matches!(statement, Statement::Load | Statement::List) {
            let row = rows.first().ok_or_else(record::malformed)?;
            if record::column(row, 0)? {
                return Err(Failure::read_only());
            }
        }
        Ok(rows)
    }

    /// A connection that is closed unless it is said to be whole: after an error, and where a call is given up in the middle, nobody
    /// knows what it will answer next.
    async fn lend(&self) -> Result<Pooled<Async<Dial>>, Failure> {
        let limit = self.patience.limit;
        loop {
            let lent = self.pool.get_within_async(limit).await;
            let mut lent = lent.map_err(|error| Failure::to_connect(error, limit))?;
            // One that is closed was so while it lay idle, and leaves the pool by being dropped.
            if !lent.is_closed() {
                lent.mark_broken();
                return Ok(lent);
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("there is no tokio runtime here")]
struct NoRuntime;

/// How often a statement is tried that others were in the way of.
const ATTEMPTS: u32 = 3;
