use std::collections::{HashMap, HashSet};
use std::fmt;

use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;

use super::change::{Change, ChangeKind, Columns, Row, Transaction};
use super::decoding::{self, Line};
use super::slot::SLOT;
use super::table::Table;
use crate::postgres::connection::parse_position;
use crate::postgres::{PostgresConnection, PostgresError};
use crate::replica::Position;
use crate::replica::recovery::{
    Applied, AsyncEntries, AsyncEntrySource, AsyncReplicationLog, Conflict, Digest, Entry,
    ForkPoint, LogRange, Read, Ready,
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
pub struct PostgresLog {
    connection: Mutex<PostgresConnection>,
    /// The first transaction that the target's own line has written; older ones both lines have.
    own_since: u32,
}

impl PostgresLog {
    /// The log at the other end of a connection, to read.
    pub fn source(connection: PostgresConnection) -> Self {
        Self {
            connection: Mutex::new(connection),
            own_since: 0,
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
                 fingerprint bigint NOT NULL, xid bigint NOT NULL, PRIMARY KEY (timeline, position, tag))",
            )
            .await?;
        Ok(Self {
            connection: Mutex::new(connection),
            own_since,
        })
    }

    async fn apply_over(
        &self,
        entry: &Entry<Transaction>,
        allowed: &[Conflict],
    ) -> Result<Applied, PostgresError> {
        let connection = self.connection.lock().await;
        // Whoever dropped the future before may have left a transaction open.
        connection.rows("ROLLBACK").await?;
        connection
            .rows("BEGIN; SET LOCAL session_replication_role = replica")
            .await?;
        let id = entry.id;
        let noted = connection
            .rows(&format!(
                "INSERT INTO tenfold.recovered VALUES ({}, '{}', {}, {}, pg_current_xact_id()::xid::text::bigint) \
                 ON CONFLICT DO NOTHING RETURNING 1",
                id.timeline,
                id.position,
                id.tag as i64,
                entry.fingerprint() as i64
            ))
            .await?;
        if noted.is_empty() {
            connection.rows("ROLLBACK").await?;
            return Ok(Applied::Already);
        }
        let mut application = Application {
            connection: &connection,
            own_since: self.own_since,
            force: !allowed.is_empty(),
            tables: HashMap::new(),
            conflicts: Vec::new(),
        };
        let mut refused = None;
        for change in &entry.write.changes {
            match application.change(change).await {
                Ok(()) => {}
                Err(Stop::Refused(why)) => {
                    refused = Some(why);
                    break;
                }
                Err(Stop::Failed(error)) => match refusal(&error) {
                    Some(why) => {
                        refused = Some(why);
                        break;
                    }
                    None => return Err(error),
                },
            }
        }
        let conflicts = application.conflicts;
        let answer = match refused {
            Some(why) => Applied::Refused(why),
            None if conflicts == allowed => Applied::New,
            None => Applied::Conflict(conflicts),
        };
        let end = if answer == Applied::New {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        connection.rows(end).await?;
        Ok(answer)
    }
}

impl AsyncEntrySource for PostgresLog {
    type Write = Transaction;
    type Error = PostgresError;

    /// What the slot decodes, as a whole: it is held in memory.
    async fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl AsyncEntries<Write = Transaction, Error = PostgresError> + Send, PostgresError>
    {
        let connection = self.connection.lock().await;
        connection.rows("ROLLBACK").await?;
        let begins = connection
            .value(&format!(
                "SELECT confirmed_flush_lsn FROM pg_replication_slots \
                 WHERE slot_name = '{SLOT}' AND database = current_database()"
            ))
            .await?;
        let Some(begins) = begins else {
            return Err(PostgresError::NoSlot { behind: None });
        };
        let begins = parse_position(Some(begins))?;
        if begins > from.position {
            let behind = Some((begins, from.position));
            return Err(PostgresError::NoSlot { behind });
        }
        let rows = connection
            .rows(&format!(
                "SELECT lsn, data FROM pg_logical_slot_peek_changes('{SLOT}', NULL, NULL, \
                 'include-xids', '1', 'skip-empty-xacts', '0')"
            ))
            .await?;
        let mut reads = Vec::new();
        let mut open = Transaction::default();
        for row in &rows {
            let line = row.get(1).unwrap_or_default();
            match decoding::parse(line) {
                Some(Line::Begin(xid)) => {
                    open = Transaction {
                        xid,
                        changes: Vec::new(),
                    }
                }
                Some(Line::Changes(changes)) => open.changes.extend(changes),
                Some(Line::Other) => {}
                Some(Line::Commit) => {
                    let position = parse_position(row.get(0).map(str::to_owned))?;
                    let transaction = std::mem::take(&mut open);
                    if position > from.position {
                        reads.push(Ok(entry(from.timeline, position, transaction)));
                    }
                }
                None => {
                    return Err(PostgresError::Answer {
                        expected: "a line of test_decoding",
                        found: line.to_owned(),
                    });
                }
            }
        }
        let end = connection
            .value("SELECT pg_current_wal_flush_lsn()")
            .await?;
        let end = parse_position(end)?;
        if end > from.position {
            reads.push(Ok(Read::Upto(end)));
        }
        Ok(Ready(reads.into_iter()))
    }
}

impl AsyncReplicationLog for PostgresLog {
    async fn last_applied(&self) -> Result<Position, PostgresError> {
        self.connection.lock().await.position().await
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

    /// Of what was applied here; PostgreSQL counts nothing of its own line.
    async fn digest(&self, range: LogRange) -> Result<Digest, PostgresError> {
        let connection = self.connection.lock().await;
        connection.rows("ROLLBACK").await?;
        let rows = connection
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

/// A transaction on its way into the target.
struct Application<'a> {
    connection: &'a PostgresConnection,
    own_since: u32,
    /// Whether rows that are in conflict are written nonetheless.
    force: bool,
    tables: HashMap<String, Table>,
    conflicts: Vec<Conflict>,
}

enum Stop {
    Refused(String),
    Failed(PostgresError),
}

impl From<PostgresError> for Stop {
    fn from(error: PostgresError) -> Self {
        Self::Failed(error)
    }
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

/// The row that has the key now.
struct Found {
    text: String,
    /// Both lines have it like this, or the recovery wrote it.
    untouched: bool,
    same: bool,
}

impl Application<'_> {
    async fn change(&mut self, change: &Change) -> Result<(), Stop> {
        let table = self.table(&change.table).await?;
        match &change.kind {
            ChangeKind::Insert(row) => self.insert(&table, row).await,
            ChangeKind::Update { old_key, row } => {
                if !table.has_key() {
                    return Err(no_key(&table));
                }
                let key = table.key_of(old_key.as_ref().unwrap_or(row));
                self.update(&table, &key, row).await
            }
            ChangeKind::Delete { key: Some(key) } if table.has_key() => {
                self.delete(&table, &table.key_of(key)).await
            }
            ChangeKind::Delete { .. } => Err(no_key(&table)),
            ChangeKind::Truncate => Err(Stop::Refused(format!(
                "table {} was truncated, which would take rows of the new primary as well",
                table.name
            ))),
        }
    }

    async fn insert(&mut self, table: &Table, row: &Row) -> Result<(), Stop> {
        // One without a key collides with nothing, and comes once.
        if table.has_key() {
            let key = table.key_of(row);
            if let Some(found) = self.find(table, &key, row).await? {
                if found.same {
                    return Ok(());
                }
                self.conflict(table, &key, Some(found.text), Some(row));
                if self.force {
                    self.run(table.update(&key, row)?).await?;
                }
                return Ok(());
            }
        }
        self.run(Some(table.insert(row)?)).await
    }

    async fn update(&mut self, table: &Table, key: &Row, row: &Row) -> Result<(), Stop> {
        match self.find(table, key, row).await? {
            Some(found) if found.same => Ok(()),
            Some(found) if found.untouched => self.run(table.update(key, row)?).await,
            Some(found) => {
                self.conflict(table, key, Some(found.text), Some(row));
                if self.force {
                    self.run(table.update(key, row)?).await?;
                }
                Ok(())
            }
            None => {
                self.conflict(table, key, None, Some(row));
                if self.force {
                    self.run(Some(table.insert(row)?)).await?;
                }
                Ok(())
            }
        }
    }

    async fn delete(&mut self, table: &Table, key: &Row) -> Result<(), Stop> {
        let Some(found) = self.find(table, key, &[]).await? else {
            // Gone on both lines.
            return Ok(());
        };
        if !found.untouched {
            self.conflict(table, key, Some(found.text), None);
            if !self.force {
                return Ok(());
            }
        }
        let condition = table.condition(key)?;
        let delete = format!("DELETE FROM {} WHERE {condition}", table.name);
        self.run(Some(delete)).await
    }

    /// Looks for the row with this key and keeps others from changing it.
    async fn find(
        &self,
        table: &Table,
        key: &[(String, super::Value)],
        row: &[(String, super::Value)],
    ) -> Result<Option<Found>, Stop> {
        let sql = format!(
            "SELECT row_to_json(t)::text, {}, {} OR EXISTS (SELECT FROM tenfold.recovered r WHERE r.xid = t.xmin::text::bigint) \
             FROM {} t WHERE {} FOR UPDATE OF t",
            table.sameness(row)?,
            older("t.xmin", self.own_since),
            table.name,
            table.condition(key)?
        );
        let rows = self.connection.rows(&sql).await?;
        Ok(rows.first().map(|found| Found {
            text: found.get(0).unwrap_or_default().to_owned(),
            // What is to be deleted is never the same.
            same: !row.is_empty() && found.get(1) == Some("t"),
            untouched: found.get(2) == Some("t"),
        }))
    }

    fn conflict(&mut self, table: &Table, key: &Row, found: Option<String>, lost: Option<&Row>) {
        let what = format!("{} {}", table.name, Columns(key));
        // Its first one: what came on top of it would not be there.
        if self.conflicts.iter().any(|known| known.what == what) {
            return;
        }
        self.conflicts.push(Conflict {
            what,
            found,
            lost: lost.map(|row| Columns(row).to_string()),
        });
    }

    async fn run(&self, statement: Option<String>) -> Result<(), Stop> {
        if let Some(statement) = statement {
            self.connection.rows(&statement).await?;
        }
        Ok(())
    }

    async fn table(&mut self, name: &str) -> Result<Table, Stop> {
        if let Some(table) = self.tables.get(name) {
            return Ok(table.clone());
        }
        let table = Table::look_up(self.connection, name)
            .await?
            .ok_or_else(|| format!("there is no table {name}"))?;
        self.tables.insert(name.to_owned(), table.clone());
        Ok(table)
    }
}

/// Whether the number of a transaction is older than another. They go round, and the half before it is older; 1 and 2 are
/// older than any.
pub(super) fn older(xid: &str, than: u32) -> String {
    format!(
        "({xid}::text::bigint < 3 OR ({xid}::text::bigint - {than} + 4294967296) % 4294967296 >= 2147483648)"
    )
}

fn no_key(table: &Table) -> Stop {
    Stop::Refused(format!(
        "table {} has no primary key, so which row was changed is not known",
        table.name
    ))
}

/// Why the target does not take a row, if it is the row's fault: a constraint, a value that its column does not hold.
fn refusal(error: &PostgresError) -> Option<String> {
    let PostgresError::Client(error) = error else {
        return None;
    };
    let error = error.as_db_error()?;
    let class = error.code().code().get(..2)?;
    let of_row =
        matches!(class, "22" | "23" | "42") && *error.code() != SqlState::INSUFFICIENT_PRIVILEGE;
    of_row.then(|| {
        let detail = error.detail().map(|detail| format!(": {detail}"));
        format!("{}{}", error.message(), detail.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
