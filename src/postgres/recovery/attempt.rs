//! Writing a transaction to a database in a few messages, in the hope that nobody has touched its rows.
//!
//! Each statement does nothing where somebody has, and its count says so. Then all of it is undone, and done again with a look
//! at each row, which finds out who it was.

use std::collections::HashMap;

use tokio_postgres::SimpleQueryMessage;

use super::application::untouched;
use super::change::{Change, ChangeKind, Transaction};
use super::table::Table;
use crate::postgres::{PostgresConnection, PostgresError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Every change is made, and can be committed.
    Made,
    /// It has to be undone and looked at.
    Vain,
}

/// Tables that were looked up; nothing for one that there is not.
pub(super) type Tables = HashMap<String, Option<Table>>;

/// In the transaction that is open on the connection.
pub(super) async fn attempt(
    connection: &PostgresConnection,
    tables: &mut Tables,
    write: &Transaction,
    own_since: u32,
) -> Result<Attempt, PostgresError> {
    let untouched = untouched(own_since);
    let mut message = Message::default();
    for change in &write.changes {
        if !tables.contains_key(&change.table) {
            let table = Table::look_up(connection, &change.table).await?;
            tables.insert(change.table.clone(), table);
        }
        let table = tables.get(&change.table).and_then(Option::as_ref);
        let Some(statement) = table.and_then(|table| statement(table, change, &untouched)) else {
            return Ok(Attempt::Vain);
        };
        message.add(&statement);
        if message.is_full()
            && std::mem::take(&mut message).send(connection).await? == Attempt::Vain
        {
            return Ok(Attempt::Vain);
        }
    }
    message.send(connection).await
}

/// One that counts one row, if nobody has touched it. `None` where it cannot be said like that.
fn statement(table: &Table, change: &Change, untouched: &str) -> Option<String> {
    let name = &table.name;
    if let ChangeKind::Insert(row) = &change.kind {
        let insert = table.insert(row).ok()?;
        return Some(format!("{insert} ON CONFLICT DO NOTHING"));
    }
    if !table.has_key() {
        return None;
    }
    match &change.kind {
        ChangeKind::Update { old_key, row } => {
            let key = table.key_of(old_key.as_ref().unwrap_or(row));
            if let Some(update) = table.update(&key, row).ok()? {
                return Some(format!("{update} AND {untouched}"));
            }
            let condition = table.condition(&key).ok()?;
            Some(format!(
                "SELECT FROM {name} t WHERE {condition} AND {untouched} FOR UPDATE"
            ))
        }
        ChangeKind::Delete { key: Some(key) } => {
            let condition = table.condition(&table.key_of(key)).ok()?;
            Some(format!(
                "DELETE FROM {name} AS t WHERE {condition} AND {untouched}"
            ))
        }
        _ => None,
    }
}

/// Statements that are sent at once.
#[derive(Default)]
struct Message {
    sql: String,
    statements: usize,
}

impl Message {
    fn add(&mut self, statement: &str) {
        if self.statements > 0 {
            self.sql.push(';');
        }
        self.sql.push_str(statement);
        self.statements += 1;
    }

    fn is_full(&self) -> bool {
        self.statements >= STATEMENTS || self.sql.len() >= BYTES
    }

    async fn send(self, connection: &PostgresConnection) -> Result<Attempt, PostgresError> {
        if self.statements == 0 {
            return Ok(Attempt::Made);
        }
        let answers = match connection.simple_query(&self.sql).await {
            Ok(answers) => answers,
            // The look will say which row it was.
            Err(error) if error.as_db_error().is_some() => return Ok(Attempt::Vain),
            Err(error) => return Err(error.into()),
        };
        let ones = answers
            .iter()
            .filter(|answer| matches!(answer, SimpleQueryMessage::CommandComplete(1)));
        Ok(if ones.count() == self.statements {
            Attempt::Made
        } else {
            Attempt::Vain
        })
    }
}

const STATEMENTS: usize = 256;
const BYTES: usize = 1 << 20;
