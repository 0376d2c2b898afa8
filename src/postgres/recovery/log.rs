use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;

use tokio::sync::Mutex;

use super::application::{Application, Outcome, refusal};
use super::attempt::{Attempt, Tables, attempt};
use super::change::{ChangeKind, Transaction};
use super::decoded::Decoded;
use super::untold::Untold;
use crate::postgres::connection::parse_position;
use crate::postgres::{PostgresConnection, PostgresError};
use crate::replica::Position;
use crate::replica::recovery::{
    Applied, AsyncEntries, AsyncEntrySource, AsyncReplicationLog, Conflict, Digest, Entry,
    ForkPoint, LogRange, Read,
};

/// The log of one database, through a connection: as a *source*, what [`keep_recovery_slot`] lets it decode; as a
/// *target*, a database that transactions of another line are applied to.
///
/// A target keeps which transactions it was given in the table `tenfold.recovered`, in the same transaction; it may be dropped
/// when the former primary has rejoined. Triggers and foreign keys do not act on what is applied, as with logical replication:
/// what triggers wrote is in the log itself.
///
/// # What is a conflict
///
/// A row that a transaction updates or deletes has to be there as the lines parted, or as the recovery itself left it; one it
/// inserts must not be there. Which it is says the number of the transaction that wrote the row. A row that is already what it should
/// become is none.
///
/// [`keep_recovery_slot`]: crate::postgres::PostgresConnector::keep_recovery_slot
///
/// # What it costs
///
/// Reading holds [so many rows](Self::rows_at_once) in memory, and what else belongs to the same transaction; the server keeps
/// what it has decoded beyond that, in a file where it is much. Applying a transaction takes three round trips if nobody has touched
/// its rows, and more to find out who has if somebody did.
///
/// What was applied is on disk, as other commits are, when [`digest`](AsyncReplicationLog::digest) has answered, which a
/// recovery asks for at its end: one wait for the disk instead of one for each. If the server dies before, the recovery fails, and
/// run again it finds what is missing.
pub struct PostgresLog {
    end: Mutex<End>,
    /// The first transaction that the target's own line has written; older ones both lines have.
    own_since: u32,
    rows_at_once: NonZeroU32,
    untold: Untold,
}

/// The connection, and what is known of the other end.
pub(super) struct End {
    pub(super) connection: PostgresConnection,
    /// A transaction may be open: whoever began it was dropped.
    pub(super) is_open: bool,
    tables: Tables,
}

impl PostgresLog {
    /// The log at the other end of a connection, to read.
    ///
    /// What is decoded are rows: a transaction that changed the schema looks as if it had not. The log that a
    /// [`PostgresRecovery`](super::PostgresRecovery::decoded) opens knows of those.
    pub fn source(connection: PostgresConnection) -> Self {
        Self::new(connection, 0)
    }

    fn new(connection: PostgresConnection, own_since: u32) -> Self {
        Self {
            end: Mutex::new(End {
                connection,
                is_open: true,
                tables: Tables::default(),
            }),
            own_since,
            rows_at_once: ROWS_AT_ONCE,
            untold: Untold::default(),
        }
    }

    /// A database to apply to; `own_since` is the number of the first transaction after the promotion, and rows
    /// of earlier ones count as unchanged since. Smaller is safe: it makes conflicts of what is none.
    ///
    /// # Errors
    /// The client's: the connection has to be a superuser's, to a primary.
    pub async fn target(
        connection: PostgresConnection,
        own_since: u32,
    ) -> Result<Self, PostgresError> {
        connection
            .rows(
                "CREATE SCHEMA IF NOT EXISTS tenfold; \
                 CREATE TABLE IF NOT EXISTS tenfold.recovered (timeline bigint, position pg_lsn, tag bigint, \
                 fingerprint bigint NOT NULL, xid bigint NOT NULL, PRIMARY KEY (timeline, position, tag)); \
                 CREATE INDEX IF NOT EXISTS recovered_xid ON tenfold.recovered (xid)",
            )
            .await?;
        Ok(Self::new(connection, own_since))
    }

    /// How many rows of what is decoded are held at a time. 1 000 unless said otherwise.
    #[must_use]
    pub fn rows_at_once(mut self, rows: NonZeroU32) -> Self {
        self.rows_at_once = rows;
        self
    }

    /// Has the source tell of what is not decoded.
    pub(super) fn telling(mut self, untold: Untold) -> Self {
        self.untold = untold;
        self
    }

    pub(super) fn end(&self) -> &Mutex<End> {
        &self.end
    }

    pub(super) fn untold(&self) -> &Untold {
        &self.untold
    }

    async fn apply_over(
        &self,
        entry: &Entry<Transaction>,
        allowed: &[Conflict],
    ) -> Result<Applied, PostgresError> {
        let mut end = self.end.lock().await;
        let end = &mut *end;
        if allowed.is_empty() {
            if !end.begin(entry).await? {
                return Ok(Applied::Already);
            }
            let tried = attempt(
                &end.connection,
                &mut end.tables,
                &entry.write,
                self.own_since,
            );
            if tried.await? == Attempt::Made && end.commit().await? {
                return Ok(Applied::New);
            }
            end.roll_back().await?;
            // A table may have become another since it was looked up.
            end.tables.clear();
        }
        if !end.begin(entry).await? {
            return Ok(Applied::Already);
        }
        let force = !allowed.is_empty();
        let application = Application::new(&end.connection, self.own_since, force);
        let answer = match application.run(&entry.write).await? {
            Outcome::Refused(why) => Applied::Refused(why),
            Outcome::Through(conflicts) if conflicts == allowed => Applied::New,
            Outcome::Through(conflicts) => Applied::Conflict(conflicts),
        };
        if answer == Applied::New {
            end.connection.rows("COMMIT").await?;
            end.is_open = false;
        } else {
            end.roll_back().await?;
        }
        Ok(answer)
    }
}

/// How many rows of what is decoded are held at a time, if nobody says otherwise.
const ROWS_AT_ONCE: NonZeroU32 = NonZeroU32::new(1_000).unwrap();

impl End {
    /// Begins a transaction with the note that it is this entry's. If there is such a note already, there is nothing to do,
    /// and it says no.
    async fn begin(&mut self, entry: &Entry<Transaction>) -> Result<bool, PostgresError> {
        self.clear().await?;
        self.is_open = true;
        let id = entry.id;
        let noted = self
            .connection
            .rows(&format!(
                "BEGIN; SET LOCAL session_replication_role = replica; SET LOCAL synchronous_commit = off; \
                 INSERT INTO tenfold.recovered VALUES ({}, '{}', {}, {}, pg_current_xact_id()::xid::text::bigint) \
                 ON CONFLICT DO NOTHING RETURNING 1",
                id.timeline,
                id.position,
                id.tag as i64,
                entry.fingerprint() as i64
            ))
            .await?;
        if noted.is_empty() {
            self.roll_back().await?;
        }
        Ok(!noted.is_empty())
    }

    /// Commits, or says that a row is at fault that it does not.
    async fn commit(&mut self) -> Result<bool, PostgresError> {
        match self.connection.rows("COMMIT").await {
            Ok(_) => {
                self.is_open = false;
                Ok(true)
            }
            Err(error) if refusal(&error).is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends what somebody left open.
    pub(super) async fn clear(&mut self) -> Result<(), PostgresError> {
        if self.is_open {
            self.roll_back().await?;
        }
        Ok(())
    }

    async fn roll_back(&mut self) -> Result<(), PostgresError> {
        self.connection.rows("ROLLBACK").await?;
        self.is_open = false;
        Ok(())
    }
}

impl AsyncEntrySource for PostgresLog {
    type Write = Transaction;
    type Error = PostgresError;

    async fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl AsyncEntries<Write = Transaction, Error = PostgresError> + Send, PostgresError>
    {
        Decoded::open(self, from, self.rows_at_once).await
    }
}

impl AsyncReplicationLog for PostgresLog {
    async fn last_applied(&self) -> Result<Position, PostgresError> {
        self.end.lock().await.connection.position().await
    }

    async fn apply(&self, entry: &Entry<Transaction>) -> Result<Applied, PostgresError> {
        self.apply_over(entry, &[]).await
    }

    async fn overwrite(
        &self,
        entry: &Entry<Transaction>,
        conflicts: &[Conflict],
    ) -> Result<Applied, PostgresError> {
        self.apply_over(entry, conflicts).await
    }

    /// Of what was applied here; PostgreSQL counts nothing of its own line. What was applied before is on disk then.
    async fn digest(&self, range: LogRange) -> Result<Digest, PostgresError> {
        let mut end = self.end.lock().await;
        end.clear().await?;
        // A commit that waits for the disk, and for the replicas if it has to, waits for all before it; one that writes nothing
        // does not wait.
        let flush = "SELECT pg_logical_emit_message(true, 'tenfold', 'recovered')";
        end.connection.rows(flush).await?;
        let rows = end
            .connection
            .rows(&format!(
                "SELECT fingerprint FROM tenfold.recovered WHERE timeline = {} \
                 AND position > '{}' AND position <= '{}'",
                range.timeline, range.after, range.upto
            ))
            .await?;
        let mut digest = Digest::default();
        for row in &rows {
            let text = row.get(0).unwrap_or_default();
            let number: i64 = text.parse().map_err(|_| PostgresError::Answer {
                expected: "a fingerprint",
                found: text.to_owned(),
            })?;
            digest.add(number as u64);
        }
        Ok(digest)
    }
}

impl fmt::Debug for PostgresLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLog")
            .field("own_since", &self.own_since)
            .finish_non_exhaustive()
    }
}

/// The transactions of a timeline that were applied to a database.
pub(super) async fn applied(
    connection: &PostgresConnection,
    timeline: u64,
) -> Result<HashSet<Position>, PostgresError> {
    let exists = "SELECT to_regclass('tenfold.recovered') IS NOT NULL";
    if !connection.holds(exists).await? {
        return Ok(HashSet::new());
    }
    let rows = connection
        .rows(&format!(
            "SELECT position FROM tenfold.recovered WHERE timeline = {timeline}"
        ))
        .await?;
    rows.iter()
        .map(|row| parse_position(row.get(0).map(str::to_owned)))
        .collect()
}

/// A transaction as the recovery takes it, or why it cannot be had.
pub(super) fn entry(timeline: u64, position: Position, write: Transaction) -> Read<Transaction> {
    let no_key = write
        .changes
        .iter()
        .find(|change| matches!(change.kind, ChangeKind::Delete { key: None }));
    if let Some(change) = no_key {
        let why = format!(
            "table {} has no primary key, so the log does not say which row was deleted",
            change.table
        );
        return Read::Unreadable { position, why };
    }
    let bytes = write.bytes();
    Read::Entry(Entry::new(timeline, position, write, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::recovery::change::Change;

    #[test]
    fn the_same_changes_have_the_same_checksum_and_others_another() {
        let change = |table: &str| Change {
            table: table.into(),
            kind: ChangeKind::Truncate,
        };
        let of = |xid, tables: &[&str]| {
            let changes = tables.iter().map(|table| change(table)).collect();
            match entry(1, Position(9), Transaction { xid, changes }) {
                Read::Entry(entry) => entry.checksum,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of(1, &["a", "b"]), of(1, &["a", "b"]));
        assert_ne!(of(1, &["a", "b"]), of(1, &["b", "a"]));
        assert_ne!(of(1, &["a"]), of(1, &["a", "a"]));
    }

    #[test]
    fn a_delete_that_does_not_say_of_what_is_unreadable() {
        let changes = vec![Change {
            table: "public.log".into(),
            kind: ChangeKind::Delete { key: None },
        }];
        let read = entry(1, Position(9), Transaction { xid: 7, changes });
        let Read::Unreadable { why, .. } = read else {
            panic!("{read:?}");
        };
        assert!(why.contains("public.log"), "{why}");
    }
}
