//! What has to be known of a table to write its rows.

use std::fmt::Write as _;

use super::change::{Row, Value};
use crate::postgres::connection::{identifier, literal};
use crate::postgres::{PostgresConnection, PostgresError};

/// A table, as the catalogue has it now.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// As SQL has it.
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    kind: String,
    /// Computed from others, and written by nobody.
    pub(super) generated: bool,
    /// Part of the primary key.
    pub(super) key: bool,
}

impl Table {
    /// Looks a table up; `None` if there is none.
    pub(super) async fn look_up(
        connection: &PostgresConnection,
        name: &str,
    ) -> Result<Option<Self>, PostgresError> {
        let rows = connection
            .rows(&format!(
                "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', \
                 coalesce(a.attnum = ANY (i.indkey::int2[]), false) \
                 FROM pg_attribute a \
                 LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
                 WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped \
                 ORDER BY a.attnum",
                literal(name)
            ))
            .await?;
        let columns: Vec<Column> = rows
            .iter()
            .map(|row| Column {
                name: row.get(0).unwrap_or_default().to_owned(),
                kind: row.get(1).unwrap_or_default().to_owned(),
                generated: row.get(2) == Some("t"),
                key: row.get(3) == Some("t"),
            })
            .collect();
        Ok((!columns.is_empty()).then(|| Self {
            name: name.to_owned(),
            columns,
        }))
    }

    pub(super) fn has_key(&self) -> bool {
        self.columns.iter().any(|column| column.key)
    }

    /// The column of a row that is written, or the name of the one that the table does not have.
    fn column(&self, name: &str) -> Result<&Column, String> {
        let found = self.columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| format!("table {} has no column {name}", self.name))
    }

    /// The part of a row that makes it known: its primary key, or where that is not all there, what is.
    pub(super) fn key_of(&self, row: &[(String, Value)]) -> Row {
        let in_key = |name: &str| self.columns.iter().any(|c| c.key && c.name == name);
        let keys = self.columns.iter().filter(|column| column.key).count();
        let key: Row = row
            .iter()
            .filter(|(name, _)| in_key(name))
            .cloned()
            .collect();
        if key.len() == keys { key } else { row.to_vec() }
    }

    /// `"id" = CAST('1' AS bigint) AND …`
    pub(super) fn condition(&self, key: &[(String, Value)]) -> Result<String, String> {
        let mut sql = String::new();
        for (name, value) in key {
            let column = self.column(name)?;
            let and = if sql.is_empty() { "" } else { " AND " };
            let _ = match value {
                Value::Null => write!(sql, "{and}{} IS NULL", identifier(name)),
                value => write!(sql, "{and}{} = {}", identifier(name), column.cast(value)),
            };
        }
        if sql.is_empty() {
            return Err(format!("a row of table {} came without its key", self.name));
        }
        Ok(sql)
    }

    /// Whether the row is the one that is there, as far as the log says what it is.
    pub(super) fn sameness(&self, row: &[(String, Value)]) -> Result<String, String> {
        let mut sql = String::from("true");
        for (name, value) in row {
            let column = self.column(name)?;
            if *value != Value::Unchanged && !column.generated {
                // As texts: not every type knows equality.
                let _ = write!(
                    sql,
                    " AND {}::text IS NOT DISTINCT FROM {}::text",
                    identifier(name),
                    column.cast(value)
                );
            }
        }
        Ok(sql)
    }

    pub(super) fn insert(&self, row: &[(String, Value)]) -> Result<String, String> {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (name, value) in row {
            let column = self.column(name)?;
            if column.generated {
                continue;
            }
            if *value == Value::Unchanged {
                return Err(format!(
                    "the value of {name} in table {} was not in the log, and the row is gone",
                    self.name
                ));
            }
            names.push(identifier(name));
            values.push(column.cast(value));
        }
        Ok(format!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})",
            self.name,
            names.join(", "),
            values.join(", ")
        ))
    }

    /// The update of the row with this key; `None` if it would set nothing.
    pub(super) fn update(
        &self,
        key: &[(String, Value)],
        row: &[(String, Value)],
    ) -> Result<Option<String>, String> {
        let mut sets = Vec::new();
        for (name, value) in row {
            let column = self.column(name)?;
            let same = key.iter().any(|pair| pair.0 == *name && pair.1 == *value);
            if !column.generated && *value != Value::Unchanged && !same {
                sets.push(format!("{} = {}", identifier(name), column.cast(value)));
            }
        }
        if sets.is_empty() {
            return Ok(None);
        }
        Ok(Some(format!(
            "UPDATE {} AS t SET {} WHERE {}",
            self.name,
            sets.join(", "),
            self.condition(key)?
        )))
    }
}

impl Column {
    fn cast(&self, value: &Value) -> String {
        match value {
            Value::Text(text) => format!("CAST({} AS {})", literal(text), self.kind),
            Value::Null | Value::Unchanged => "NULL".into(),
        }
    }
}
