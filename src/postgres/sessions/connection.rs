//! One connection to the server, and how it is made.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, Row, SimpleQueryMessage, Socket};

use super::statements::{ALL, Statement, Statements};
use super::table::Table;
use crate::replica::{AsyncConnector, Endpoint, Fault};

/// A connection with the statements that were prepared on it so far.
pub(super) struct Connection {
    client: Client,
    prepared: Vec<Option<tokio_postgres::Statement>>,
    driver: JoinHandle<()>,
}

/// The values of a statement.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Connection {
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Asks one statement, in a transaction of its own.
    pub(super) async fn rows(
        &mut self,
        texts: &Statements,
        statement: Statement,
        values: Values<'_>,
    ) -> Result<Vec<Row>, Error> {
        let prepared = self.prepared(texts, statement).await?;
        self.client.query(&prepared, values).await
    }

    /// Asks one statement under a lock, which the transaction has before the statement begins.
    pub(super) async fn rows_under_lock(
        &mut self,
        texts: &Statements,
        lock: i32,
        statement: Statement,
        values: Values<'_>,
    ) -> Result<Vec<Row>, Error> {
        let prepared = self.prepared(texts, statement).await?;
        // Waited for: without a transaction the statement must not be sent.
        self.client.batch_execute(&texts.begin(lock)).await?;
        let mut rows = pin!(self.client.query(&prepared, values));
        let mut end = pin!(self.client.batch_execute("COMMIT"));
        // Sent at once, one after the other. After an error the end is a roll-back.
        let (mut answered, mut ended) = (None, None);
        poll_fn(|context| {
            if answered.is_none()
                && let Poll::Ready(answer) = rows.as_mut().poll(context)
            {
                answered = Some(answer);
            }
            if ended.is_none()
                && let Poll::Ready(end) = end.as_mut().poll(context)
            {
                ended = Some(end);
            }
            match (answered.take(), ended.take()) {
                (Some(rows), Some(end)) => Poll::Ready(rows.and_then(|rows| end.map(|()| rows))),
                (rows, end) => {
                    (answered, ended) = (rows, end);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Makes the table, unless it is there. Whoever comes second waits, and then makes nothing: `IF NOT EXISTS` alone can fail when
    /// several come at once.
    pub(super) async fn create(&mut self, table: &Table) -> Result<(), Error> {
        if self.has(table).await? {
            return Ok(());
        }
        let definition = table.definition();
        let alone = format!(
            "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock({CREATION}); {definition} COMMIT"
        );
        self.client.batch_execute(&alone).await
    }

    async fn has(&self, table: &Table) -> Result<bool, Error> {
        let found = format!("SELECT to_regclass({})", table.literal());
        let found = self.client.simple_query(&found).await?;
        Ok(found.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).is_some(),
            _ => false,
        }))
    }

    async fn prepared(
        &mut self,
        texts: &Statements,
        statement: Statement,
    ) -> Result<tokio_postgres::Statement, Error> {
        let at = statement as usize;
        if let Some(Some(prepared)) = self.prepared.get(at) {
            return Ok(prepared.clone());
        }
        let prepared = self.client.prepare(texts.text(statement)).await?;
        if let Some(place) = self.prepared.get_mut(at) {
            *place = Some(prepared.clone());
        }
        Ok(prepared)
    }
}

impl Drop for Connection {
    /// Ends the other half at once: one to a server that hangs would wait for a last answer.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects to whichever of the servers in the address takes writes.
pub(super) struct Dial {
    config: Config,
    connect: Connect,
    greeting: String,
}

/// [`Config::connect`] with some library for encryption, and the other half as a task.
pub(super) type Connect = Arc<dyn Fn(Config) -> Connecting + Send + Sync>;
type Connecting = Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send>>;

pub(super) fn connect_with<T>(tls: T) -> Connect
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    Arc::new(move |config| {
        let tls = tls.clone();
        Box::pin(async move {
            let (client, connection) = config.connect(tls).await?;
            // Its error reaches whoever waits for an answer as a closed connection.
            let driver = tokio::spawn(async { drop(connection.await) });
            Ok((client, driver))
        })
    })
}

impl Dial {
    pub(super) fn new(config: Config, connect: Connect, limit: Duration) -> Self {
        let limit = limit.as_millis().clamp(1, MAX_MILLIS);
        // Nobody waits for a statement that takes longer, nor for a lock of somebody who has vanished. The isolation that statements rely
        // on must not be another by a setting of the role. Whether transactions may write is left to those.
        let greeting = format!(
            "SET default_transaction_isolation = 'read committed'; SET statement_timeout = {limit}; \
             SET idle_in_transaction_session_timeout = {limit}"
        );
        Self {
            config,
            connect,
            greeting,
        }
    }
}

impl AsyncConnector for Dial {
    type Connection = Connection;
    type Error = Error;

    async fn connect(&self, _: &Endpoint) -> Result<Connection, Error> {
        let (client, driver) = (self.connect)(self.config.clone()).await?;
        let connection = Connection {
            client,
            prepared: vec![None; ALL.len()],
            driver,
        };
        connection.client.batch_execute(&self.greeting).await?;
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut Connection) -> Result<(), Error> {
        connection.client.batch_execute("").await
    }

    fn is_broken(&self, connection: &Connection) -> bool {
        connection.is_closed()
    }

    fn classify(&self, _: &Error) -> Fault {
        // Only asked by pools of many servers.
        Fault::Unknown
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The lock of who makes a table, whichever: "tenfold " in ASCII.
const CREATION: i64 = 0x7465_6e66_6f6c_6420;

/// The most that PostgreSQL takes.
const MAX_MILLIS: u128 = i32::MAX as u128;
