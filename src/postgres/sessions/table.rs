//! The table: what it is called, and what it looks like.
//!
//! Times are microseconds since 1970. `ends` is the deadline that counts, and moves with every use. The index by deadline is over
//! `filed`, which does not: it says when to look at the session again, never later than it can end. So a use changes no indexed
//! column, and PostgreSQL writes the row's new version beside the old one (HOT), without touching an index. `id` is the session's own through
//! all tokens.
//!
//! Names of users are bytes, because a text cannot hold a NUL; and found by a hash index, because a B-tree refuses long ones.

use super::error::PostgresBuildError;
use crate::postgres::connection::{identifier, literal};

#[derive(Debug)]
pub(super) struct Table {
    /// With its schema, quoted.
    name: String,
    /// What its indexes are called, quoted: as PostgreSQL would, but not by chance.
    indexes: [String; 2],
}

impl Table {
    pub(super) fn new(schema: &str, table: &str) -> Result<Self, PostgresBuildError> {
        let longest = MAX_NAME - LONGEST_SUFFIX;
        for (what, name, max) in [("schema", schema, MAX_NAME), ("table", table, longest)] {
            if name.is_empty() || name.len() > max || name.contains('\0') {
                let found = name.to_owned();
                return Err(PostgresBuildError::Name { what, max, found });
            }
        }
        let index = |column: &str| identifier(&format!("{table}_{column}_idx"));
        Ok(Self {
            name: format!("{}.{}", identifier(schema), identifier(table)),
            indexes: [index("name"), index("filed")],
        })
    }

    /// As SQL writes it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name as a text in SQL.
    pub(super) fn literal(&self) -> String {
        literal(&self.name)
    }

    /// What there has to be in the database.
    pub(super) fn definition(&self) -> String {
        let Self {
            name,
            indexes: [by_name, by_filed],
        } = self;
        format!(
            "CREATE TABLE IF NOT EXISTS {name} ({COLUMNS}) WITH (fillfactor = 85);\n\
             CREATE INDEX IF NOT EXISTS {by_name} ON {name} USING hash (name);\n\
             CREATE INDEX IF NOT EXISTS {by_filed} ON {name} (filed);\n"
        )
    }
}

const COLUMNS: &str = "
    key bytea PRIMARY KEY CHECK (octet_length(key) = 16),
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    name bytea,
    version bigint NOT NULL,
    created bigint NOT NULL,
    seen bigint NOT NULL,
    ends bigint NOT NULL,
    last bigint NOT NULL,
    filed bigint NOT NULL,
    data bytea NOT NULL
";

/// A longer name would be cut, and two tables become one.
const MAX_NAME: usize = 63;

/// Of a name of an index.
const LONGEST_SUFFIX: usize = "_filed_idx".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_it_is() {
        let table = Table::new("my\"app", "a'); DROP TABLE users; --").unwrap();
        let name = r#""my""app"."a'); DROP TABLE users; --""#;
        assert_eq!(table.name(), name);
        assert_eq!(table.literal(), format!("'{}'", name.replace('\'', "''")));
        assert!(table.definition().contains(&format!("ON {name} USING")));
    }

    #[test]
    fn a_name_that_would_be_changed_is_refused() {
        let (schema, table) = ("é".repeat(31) + "e", "é".repeat(26) + "e");
        assert!(Table::new(&schema, &table).is_ok());
        let (schema, table) = (schema + "e", table + "e");
        for wrong in ["", "a\0b", &schema, &table] {
            let as_schema = if wrong == table { "" } else { wrong };
            for (schema, table) in [(as_schema, "sessions"), ("public", wrong)] {
                let wrong = if schema.is_empty() { "" } else { wrong };
                let error = Table::new(schema, table).unwrap_err();
                assert!(
                    matches!(&error, PostgresBuildError::Name { found, .. } if found == wrong),
                    "{error:?}"
                );
            }
        }
    }
}
