use std::fmt;

use crate::postgres::connection::literal;
use crate::postgres::{PostgresConnection, PostgresError};

/// A sequence that was moved up, so that it gives no number twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedSequence {
    /// Its name with its schema.
    pub name: String,
    /// The last number it has given now.
    pub last: i64,
}

impl fmt::Display for MovedSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.name, self.last)
    }
}

/// Moves the sequences of `to` that count up to where those of `from` are, if they are behind.
pub(super) async fn carry(
    from: &PostgresConnection,
    to: &PostgresConnection,
) -> Result<Vec<MovedSequence>, PostgresError> {
    let rows = from
        .rows(
            "SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences \
             WHERE last_value IS NOT NULL AND increment_by > 0",
        )
        .await?;
    let mut moved = Vec::new();
    for row in &rows {
        let (name, last) = (
            row.get(0).unwrap_or_default(),
            row.get(1).unwrap_or_default(),
        );
        let quoted = literal(name);
        let set = to
            .value(&format!(
                "SELECT setval(to_regclass({quoted}), {last}) WHERE to_regclass({quoted}) IS NOT NULL AND {last} > \
                 coalesce((SELECT last_value FROM pg_sequences \
                 WHERE format('%I.%I', schemaname, sequencename) = {quoted}), 0)"
            ))
            .await?;
        if let Some(last) = set.and_then(|last| last.parse().ok()) {
            let name = name.to_owned();
            moved.push(MovedSequence { name, last });
        }
    }
    Ok(moved)
}
