//! Writing a transaction to a database change by change, with a look at each row before.

use std::collections::HashMap;

use tokio_postgres::error::SqlState;

use super::change::{Change, ChangeKind, Columns, Row, Transaction, Value};
use super::table::Table;
use crate::postgres::{PostgresConnection, PostgresError};
use crate::replica::recovery::Conflict;

/// A transaction on its way into the target.
pub(super) struct Application<'a> {
    connection: &'a PostgresConnection,
    own_since: u32,
    /// Whether rows that are in conflict are written nonetheless.
    force: bool,
    tables: HashMap<String, Table>,
    conflicts: Vec<Conflict>,
}

/// What an application comes to.
pub(super) enum Outcome {
    /// Every change is made, over these conflicts if that was allowed.
    Through(Vec<Conflict>),
    /// One can never be made.
    Refused(String),
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

impl<'a> Application<'a> {
    /// In the transaction that is open on the connection.
    pub(super) fn new(connection: &'a PostgresConnection, own_since: u32, force: bool) -> Self {
        Self {
            connection,
            own_since,
            force,
            tables: HashMap::new(),
            conflicts: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, write: &Transaction) -> Result<Outcome, PostgresError> {
        for change in &write.changes {
            match self.change(change).await {
                Ok(()) => {}
                Err(Stop::Refused(why)) => return Ok(Outcome::Refused(why)),
                Err(Stop::Failed(error)) => match refusal(&error) {
                    Some(why) => return Ok(Outcome::Refused(why)),
                    None => return Err(error),
                },
            }
        }
        Ok(Outcome::Through(self.conflicts))
    }

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
                    self.execute(table.update(&key, row)?).await?;
                }
                return Ok(());
            }
        }
        self.execute(Some(table.insert(row)?)).await
    }

    async fn update(&mut self, table: &Table, key: &Row, row: &Row) -> Result<(), Stop> {
        match self.find(table, key, row).await? {
            Some(found) if found.same => Ok(()),
            Some(found) if found.untouched => self.execute(table.update(key, row)?).await,
            Some(found) => {
                self.conflict(table, key, Some(found.text), Some(row));
                if self.force {
                    self.execute(table.update(key, row)?).await?;
                }
                Ok(())
            }
            None => {
                self.conflict(table, key, None, Some(row));
                if self.force {
                    self.execute(Some(table.insert(row)?)).await?;
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
        self.execute(Some(delete)).await
    }

    /// Looks for the row with this key and keeps others from changing it.
    async fn find(
        &self,
        table: &Table,
        key: &[(String, Value)],
        row: &[(String, Value)],
    ) -> Result<Option<Found>, Stop> {
        let sql = format!(
            "SELECT row_to_json(t)::text, {}, {} FROM {} t WHERE {} FOR UPDATE OF t",
            table.sameness(row)?,
            untouched(self.own_since),
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

    async fn execute(&self, statement: Option<String>) -> Result<(), Stop> {
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

/// Whether nobody but the recovery has written to the row `t` since the lines parted.
pub(super) fn untouched(own_since: u32) -> String {
    format!(
        "({} OR EXISTS (SELECT FROM tenfold.recovered r WHERE r.xid = t.xmin::text::bigint))",
        older("t.xmin", own_since)
    )
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
pub(super) fn refusal(error: &PostgresError) -> Option<String> {
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
