use std::fmt;

use crate::session::{BuildError, Unavailable};

/// A store in PostgreSQL that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresBuildError {
    /// A setting that makes no sense.
    #[error(transparent)]
    Setting(#[from] BuildError),
    /// A name that PostgreSQL would not take as it is.
    #[error("the name of the {what} must have 1 to {max} bytes and no NUL, found {found:?}")]
    Name {
        /// What it was to name: the schema or the table.
        what: &'static str,
        /// How long it may be; a table's is what those of its indexes begin with.
        max: usize,
        /// The name.
        found: String,
    },
    /// An address that is none.
    #[error("the address of the server makes no sense")]
    Address(#[source] tokio_postgres::Error),
    /// An address without a host.
    #[error("the address must name a host or the directory of a socket, and names none")]
    NoHost,
}

/// A server that sessions are not safe on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// It did not say.
    #[error("the server could not be asked about its settings")]
    Unavailable(#[from] Unavailable),
    /// It is too old.
    #[error("the server must be PostgreSQL 12 or newer, found version number {found}")]
    Version {
        /// Its `server_version_num`.
        found: i32,
    },
    /// There is no table: see [`create_table`](super::PostgresStore::create_table).
    #[error("there is no table {table}")]
    NoTable {
        /// Its name, quoted.
        table: String,
    },
    /// The table is emptied by every crash, and does not exist on a replica that takes over.
    #[error("the table {table} must be an ordinary one, and is unlogged or temporary")]
    Unlogged {
        /// Its name, quoted.
        table: String,
    },
    /// A crash undoes what was acknowledged: log-outs too.
    #[error("{setting} must not be off")]
    Forgets {
        /// Which setting: `fsync` or `synchronous_commit`.
        setting: &'static str,
    },
}

/// What the server said, without the rows that it may have said it about.
#[derive(Debug)]
pub(super) struct Refusal {
    code: String,
    message: String,
}

impl Refusal {
    pub(super) fn new(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL says {}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}
