//! What an error of the client means: what to do next, and what to say.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Error;

use super::error::Refusal;
use crate::postgres::{PostgresError, fault};
use crate::replica::Fault;
use crate::replica::pool::GetError;
use crate::session::{Cause, Unavailable};

/// A call without a result.
#[derive(Debug)]
pub(super) enum Failure {
    /// Somebody was in the way: not done, and may be tried again here.
    Transient(Unavailable),
    /// Not done, because of this connection: it was lost before, or its server takes no writes any more.
    Elsewhere(Unavailable),
    /// The connection was lost in the middle.
    Unsure(Unavailable),
    /// The server's answer.
    Answered(Unavailable),
    /// There is no connection to be had.
    Down(Unavailable),
}

impl Failure {
    /// What an error of a statement means.
    pub(super) fn of(error: Error, limit: Duration) -> Self {
        let error = PostgresError::Client(error);
        let fault = fault::classify(&error);
        let PostgresError::Client(error) = error else {
            return Self::Down(Unavailable::TimedOut { limit });
        };
        let code = error.code().map(|code| code.code().to_owned());
        let why = match (code.as_deref(), fault) {
            // The server's own end to it.
            (Some("57014"), _) => return Self::Answered(Unavailable::TimedOut { limit }),
            (Some(_), Fault::Unknown) => Unavailable::Unreachable(cause(error)),
            (Some(_), _) => Unavailable::Refused(cause(error)),
            (None, _) => without_code(error),
        };
        match fault {
            Fault::Transient => Self::Transient(why),
            Fault::RoleChanged | Fault::ConnectionLost => Self::Elsewhere(why),
            Fault::Unknown => Self::Unsure(why),
            _ => Self::Answered(why),
        }
    }

    /// Why there is no connection.
    pub(super) fn to_connect(error: GetError<Error>, limit: Duration) -> Self {
        Self::Down(match error {
            GetError::Connect(error) if error.code().is_some() => {
                Unavailable::Refused(cause(error))
            }
            GetError::Connect(error) => without_code(error),
            GetError::Timeout(_) | GetError::ConnectTimeout(_) => Unavailable::TimedOut { limit },
            error => Unavailable::Refused(Arc::new(error)),
        })
    }

    /// A server that reads only: a primary that was fenced, or a replica.
    pub(super) fn read_only() -> Self {
        let refusal = Refusal::new("25006", "transactions are read-only here");
        Self::Elsewhere(Unavailable::Refused(Arc::new(refusal)))
    }

    /// Whether another connection may do better.
    pub(super) fn may_go_elsewhere(&self, reads: bool) -> bool {
        match self {
            Self::Elsewhere(_) => true,
            Self::Unsure(_) => reads,
            _ => false,
        }
    }

    /// Whether the server is there, and has answered.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Answered(_) | Self::Transient(_))
    }
}

impl From<Failure> for Unavailable {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Transient(why)
            | Failure::Elsewhere(why)
            | Failure::Unsure(why)
            | Failure::Answered(why)
            | Failure::Down(why) => why,
        }
    }
}

impl From<Unavailable> for Failure {
    /// Of an answer that is none.
    fn from(why: Unavailable) -> Self {
        Self::Answered(why)
    }
}

fn cause(error: Error) -> Cause {
    match error.as_db_error() {
        // Without its detail, which may quote a row.
        Some(said) => Arc::new(Refusal::new(said.code().code(), said.message())),
        None => Arc::new(error),
    }
}

fn without_code(error: Error) -> Unavailable {
    // The client names no kinds.
    let text = error.to_string();
    if NONSENSE.iter().any(|start| text.starts_with(start)) {
        return Unavailable::Malformed {
            expected: "an answer in the protocol of PostgreSQL",
        };
    }
    Unavailable::Unreachable(Arc::new(error))
}

/// How its errors begin that say that a server speaks nonsense.
const NONSENSE: [&str; 5] = [
    "error parsing response",
    "unexpected message",
    "expected ",
    "error serializing parameter",
    "invalid column",
];
