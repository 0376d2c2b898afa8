use std::fmt;

/// What one transaction changed, row by row, in the order it did so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Transaction {
    /// Its number on the server that committed it.
    pub xid: u32,
    /// The rows.
    pub changes: Vec<Change>,
}

/// The change of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// The table with its schema, quoted where SQL wants it: `public."Order"`.
    pub table: String,
    /// What became of it.
    pub kind: ChangeKind,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It is new.
    Insert(Row),
    /// It is another.
    Update {
        /// By which it was known before, if that changed.
        old_key: Option<Row>,
        /// What it is now.
        row: Row,
    },
    /// It is gone.
    Delete {
        /// By which it was known; nothing where the table has no replica identity.
        key: Option<Row>,
    },
    /// All rows of the table are gone.
    Truncate,
}

/// Columns by name.
pub type Row = Vec<(String, Value)>;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Nothing.
    Null,
    /// A value as PostgreSQL writes it.
    Text(String),
    /// What it held before: a value that lies outside of its row and was not touched is not in the log.
    Unchanged,
}

impl Transaction {
    /// The same bytes for the same changes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for change in &self.changes {
            // Every part is quoted or has no quotes, so no two changes read alike.
            bytes.extend_from_slice(change.to_string().as_bytes());
            bytes.push(b'\n');
        }
        bytes
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.table;
        match &self.kind {
            ChangeKind::Insert(row) => write!(f, "insert into {table}: {}", Columns(row)),
            ChangeKind::Update { old_key, row } => {
                write!(f, "update {table}")?;
                if let Some(key) = old_key {
                    write!(f, " where {}", Columns(key))?;
                }
                write!(f, ": {}", Columns(row))
            }
            ChangeKind::Delete { key } => {
                write!(
                    f,
                    "delete from {table}: {}",
                    Columns(key.as_deref().unwrap_or(&[]))
                )
            }
            ChangeKind::Truncate => write!(f, "truncate {table}"),
        }
    }
}

/// A row as people read it.
pub(super) struct Columns<'a>(pub(super) &'a [(String, Value)]);

impl fmt::Display for Columns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, value)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Unchanged => f.write_str("as before"),
        }
    }
}
