use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{Client, Connection, SimpleQueryMessage, SimpleQueryRow};

use super::PostgresError;
use crate::replica::Position;

/// A connection to one server: a [`tokio_postgres::Client`], which it derefs to, whose other half runs as a
/// task and ends with it.
#[derive(Debug)]
pub struct PostgresConnection {
    client: Client,
    standby: Arc<AtomicU8>,
}

impl PostgresConnection {
    /// Takes the two halves; the second is the caller's to run.
    pub(super) fn new<S, T>(
        client: Client,
        connection: Connection<S, T>,
    ) -> (Self, impl Future<Output = ()>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let standby = Arc::new(AtomicU8::new(UNSAID));
        note_role(&connection, &standby);
        let driver = drive(connection, Arc::clone(&standby));
        (Self { client, standby }, driver)
    }

    /// Whether the server is a replica, as it said with its last answer, without asking it. `None` of a server
    /// before PostgreSQL 14, which does not say.
    pub fn in_hot_standby(&self) -> Option<bool> {
        match self.standby.load(Ordering::Relaxed) {
            PRIMARY => Some(false),
            REPLICA => Some(true),
            _ => None,
        }
    }

    /// How far the server is: a primary with what it has written, so a commit that was acknowledged before lies at or
    /// before it; a replica with what it shows. One round trip.
    ///
    /// # Errors
    /// The client's.
    pub async fn position(&self) -> Result<Position, PostgresError> {
        let text = self
            .value(
                "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
                 ELSE pg_current_wal_insert_lsn() END",
            )
            .await?;
        parse_position(text)
    }

    /// The rows of a statement, as texts, in one round trip.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, PostgresError> {
        let messages = self.client.simple_query(sql).await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    /// The first column of the first row.
    pub(super) async fn value(&self, sql: &str) -> Result<Option<String>, PostgresError> {
        let rows = self.rows(sql).await?;
        let first = rows.first().and_then(|row| row.get(0));
        Ok(first.map(str::to_owned))
    }

    /// Whether the first column of the first row is true.
    pub(super) async fn holds(&self, sql: &str) -> Result<bool, PostgresError> {
        Ok(self.value(sql).await?.as_deref() == Some("t"))
    }
}

impl Deref for PostgresConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for PostgresConnection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

const UNSAID: u8 = 0;
const PRIMARY: u8 = 1;
const REPLICA: u8 = 2;

/// Moves bytes until either end is gone, and keeps an eye on the role.
async fn drive<S, T>(mut connection: Connection<S, T>, standby: Arc<AtomicU8>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|context: &mut Context<'_>| {
        loop {
            let polled = connection.poll_message(context);
            note_role(&connection, &standby);
            match polled {
                // Notices and notifications: nobody asked for them.
                Poll::Ready(Some(Ok(_))) => {}
                // An error reaches whoever waits for an answer as a closed connection.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

fn note_role<S, T>(connection: &Connection<S, T>, standby: &AtomicU8)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let role = match connection.parameter("in_hot_standby") {
        Some("on") => REPLICA,
        Some(_) => PRIMARY,
        None => UNSAID,
    };
    standby.store(role, Ordering::Relaxed);
}

/// A position that PostgreSQL wrote.
pub(super) fn parse_position(text: Option<String>) -> Result<Position, PostgresError> {
    let text = text.unwrap_or_default();
    text.parse().map_err(|_| PostgresError::Answer {
        expected: "a position in the log",
        found: text,
    })
}

/// A name as SQL writes it.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL writes it.
pub(super) fn literal(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    if text.contains('\\') {
        format!(" E'{}'", escaped.replace('\\', "\\\\"))
    } else {
        format!("'{escaped}'")
    }
}

/// A text as a line of a configuration file writes it.
pub(super) fn setting(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
