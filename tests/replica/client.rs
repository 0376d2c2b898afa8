//! What fake databases in memory have in common: what goes wrong with them, and the connectors of both kinds.

use tenfold::replica::Fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DbError {
    #[error("connection refused")]
    Refused,
    #[error("connection reset")]
    Reset,
    #[error("read-only transaction")]
    ReadOnly,
    #[error("syntax error")]
    Syntax,
    #[error("deadlock detected")]
    Deadlock,
    #[error("it could not be done")]
    NotDone,
}

impl DbError {
    pub(crate) fn fault(self) -> Fault {
        match self {
            Self::Refused => Fault::ConnectionLost,
            Self::Reset => Fault::Unknown,
            Self::ReadOnly => Fault::RoleChanged,
            Self::Syntax => Fault::Query,
            Self::Deadlock | Self::NotDone => Fault::Transient,
        }
    }
}

/// Makes a connector for threads and for tasks of a cluster that has `connect_to` and `ask`.
macro_rules! connects {
    ($cluster:ty, $connection:ty) => {
        impl tenfold::replica::Connector for $cluster {
            type Connection = $connection;
            type Error = DbError;

            fn connect(&self, endpoint: &Endpoint, _: Instant) -> Result<$connection, DbError> {
                self.connect_to(endpoint)
            }

            fn classify(&self, error: &DbError) -> tenfold::replica::Fault {
                error.fault()
            }
        }

        impl tenfold::replica::Prober for $cluster {
            fn probe(&self, connection: &mut $connection, _: Instant) -> Result<Probe, DbError> {
                Self::ask(connection)
            }
        }

        impl tenfold::replica::AsyncConnector for $cluster {
            type Connection = $connection;
            type Error = DbError;

            async fn connect(&self, endpoint: &Endpoint) -> Result<$connection, DbError> {
                self.connect_to(endpoint)
            }

            fn classify(&self, error: &DbError) -> tenfold::replica::Fault {
                error.fault()
            }
        }

        impl tenfold::replica::AsyncProber for $cluster {
            async fn probe(&self, connection: &mut $connection) -> Result<Probe, DbError> {
                Self::ask(connection)
            }
        }
    };
}

pub(crate) use connects;
