use std::io;

use crate::replica::recovery::ForkPoint;
use crate::replica::{Endpoint, Position};

/// What goes wrong between the replica block and PostgreSQL. Errors of statements become one by `?`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// No connection could be made; nothing was sent.
    #[error("no connection to {endpoint}")]
    Connect {
        /// To whom.
        endpoint: Endpoint,
        /// What the client says.
        source: tokio_postgres::Error,
    },
    /// A statement failed, or the connection under it.
    #[error("PostgreSQL")]
    Client(#[from] tokio_postgres::Error),
    /// An address that is none.
    #[error(
        "the address of {endpoint} has to be host:port, [v6]:port or /directory/of/the/socket:port"
    )]
    Address {
        /// Whose.
        endpoint: Endpoint,
    },
    /// The configuration names servers, which is what endpoints are for.
    #[error("the configuration of the connector names hosts or ports, which the endpoints name")]
    ConfigurationNamesHosts,
    /// A server answered something else than was asked for.
    #[error("expected {expected} from PostgreSQL, found {found:?}")]
    Answer {
        /// What was to come.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// The former primary may still accept writes.
    #[error(
        "{endpoint} could not be fenced: it does not answer, which does not prove that it is dead; give the connector \
         a fence or the server's host"
    )]
    Unfenced {
        /// Which.
        endpoint: Endpoint,
    },
    /// The fence that the connector was given failed.
    #[error("the fence of {endpoint} failed")]
    Fence {
        /// Of which server.
        endpoint: Endpoint,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Files or processes of a server are needed, and the connector knows no host for it.
    #[error("{what} needs the files of {endpoint}: give the connector its host")]
    NoHost {
        /// Whose.
        endpoint: Endpoint,
        /// What for.
        what: &'static str,
    },
    /// The host of a server could not do its part.
    #[error("the host of {endpoint} failed")]
    Host {
        /// Whose.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// A setting did not take: something above `ALTER SYSTEM` holds it, such as the command line.
    #[error("{setting} of {endpoint} had to become {expected:?} and is still {found:?}")]
    Setting {
        /// Whose.
        endpoint: Endpoint,
        /// Which.
        setting: &'static str,
        /// What was asked for.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The replica has more than the primary it should follow, and cannot follow it without a rewind.
    #[error(
        "{endpoint} has its log to {reach}, and the log of the primary parted from it at {fork}: it has to rejoin"
    )]
    Diverged {
        /// Which.
        endpoint: Endpoint,
        /// How far its log reaches.
        reach: Position,
        /// Where the timelines part.
        fork: Position,
    },
    /// There is no slot to decode the log by, or it begins too late.
    #[error("the log cannot be decoded: {}", no_slot(*.behind))]
    NoSlot {
        /// Where the slot begins and where it should have, if there is one.
        behind: Option<(Position, Position)>,
    },
    /// The server is no primary that was promoted.
    #[error("{endpoint} has no history: it was not promoted, or is a replica")]
    NoHistory {
        /// Which.
        endpoint: Endpoint,
    },
    /// What was recovered is not what would be erased.
    #[error(
        "{recovered} was recovered, and the line of {primary} left that timeline at {}",
        or_never(*.found)
    )]
    OtherFork {
        /// Whom the old primary should follow.
        primary: Endpoint,
        /// What was recovered.
        recovered: ForkPoint,
        /// Where the primary's line has left that timeline, if it has.
        found: Option<Position>,
    },
}

fn or_never(position: Option<Position>) -> String {
    position.map_or_else(|| "no position".into(), |position| position.to_string())
}

fn no_slot(behind: Option<(Position, Position)>) -> String {
    match behind {
        None => {
            "there is no slot tenfold_recovery, which has to be kept while the primary lives".into()
        }
        Some((begins, needed)) => {
            format!("the slot tenfold_recovery begins at {begins}, and {needed} is needed")
        }
    }
}
