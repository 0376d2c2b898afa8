use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, NoTls, Socket};

use super::{Host, PostgresConnection, PostgresError, fault, probe};
use crate::replica::{AsyncConnector, AsyncProber, Endpoint, Epoch, Fault, Probe};

/// Connects to the PostgreSQL servers of one cluster, asks them what they are, and changes what they are.
///
/// What all connections have in common (user, password, database, time-outs) is a [`Config`]; where each server is
/// says its [`Endpoint`], as `host:port`. Connections are made on the tokio runtime that the caller is on.
///
/// Reading and writing needs no special rights. [`probe`](AsyncProber::probe) needs the role `pg_monitor`, without which
/// replicas seem to receive nothing. Promotion needs a superuser, and the [`Host`]s of the servers whose files it needs.
///
/// ```
/// use tenfold::postgres::PostgresConnector;
/// use tenfold::replica::{AsyncConnector, AsyncProber, Endpoint, Role};
///
/// # async fn shown() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = tokio_postgres::Config::new();
/// config.user("app").dbname("shop");
/// let connector = PostgresConnector::new(config)?;
///
/// let mut connection = connector.connect(&Endpoint::new("db0", "127.0.0.1:5432")?).await?;
/// let probe = connector.probe(&mut connection).await?;
/// if probe.role == Role::Primary {
///     connection.execute("UPDATE stock SET left = left - 1 WHERE id = $1", &[&7]).await?;
/// }
/// # Ok(()) }
/// # let mut wrong = tokio_postgres::Config::new();
/// # wrong.host("db0");
/// # assert!(PostgresConnector::new(wrong).is_err());
/// # Ok::<(), tenfold::postgres::PostgresError>(())
/// ```
#[derive(Clone)]
pub struct PostgresConnector<T = NoTls> {
    pub(super) config: Config,
    tls: T,
    pub(super) shared: Arc<Shared>,
}

/// What the connector was told about the cluster.
#[derive(Clone, Default)]
pub(super) struct Shared {
    pub(super) hosts: HashMap<Box<str>, Arc<dyn Host>>,
    pub(super) fence: Option<Arc<Fence>>,
    pub(super) replication: Option<String>,
    pub(super) slots: bool,
}

pub(super) type Fence =
    dyn Fn(&Endpoint, Epoch) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

impl PostgresConnector {
    /// A connector without encryption.
    ///
    /// # Errors
    /// [`PostgresError::ConfigurationNamesHosts`] if the configuration does; the endpoints are where the servers are.
    pub fn new(config: Config) -> Result<Self, PostgresError> {
        Self::with_tls(config, NoTls)
    }
}

impl<T> PostgresConnector<T> {
    /// A connector with encryption by a library of your choice, such as `postgres-native-tls` or
    /// `tokio-postgres-rustls`.
    ///
    /// # Errors
    /// [`PostgresError::ConfigurationNamesHosts`] if the configuration does.
    pub fn with_tls(config: Config, tls: T) -> Result<Self, PostgresError> {
        if !(config.get_hosts().is_empty()
            && config.get_hostaddrs().is_empty()
            && config.get_ports().is_empty())
        {
            return Err(PostgresError::ConfigurationNamesHosts);
        }
        let shared = Arc::new(Shared {
            slots: true,
            ..Shared::default()
        });
        Ok(Self {
            config,
            tls,
            shared,
        })
    }

    /// Hands in the host of a server, by the name of its endpoint: fencing, salvage, recovery and rejoining need
    /// what no connection gives, files and processes.
    #[must_use]
    pub fn host(mut self, name: &str, host: impl Host) -> Self {
        self.shared_mut().hosts.insert(name.into(), Arc::new(host));
        self
    }

    /// What makes a former primary harmless before another takes its place: power off by its management board, a rule of
    /// a firewall, the call of a cloud. `Ok` says that it is certain. Called on a thread where it may block.
    #[must_use]
    pub fn fence_with(
        mut self,
        fence: impl Fn(&Endpoint, Epoch) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.shared_mut().fence = Some(Arc::new(fence));
        self
    }

    /// How replicas log in to their primary, in the words of `primary_conninfo`, without host and port:
    /// `"user=replicator passfile=/etc/replicator"`. By default the user and password of the connector; PostgreSQL writes them
    /// to a file of its own.
    #[must_use]
    pub fn replication_login(mut self, words: &str) -> Self {
        self.shared_mut().replication = Some(words.to_owned());
        self
    }

    /// Whether a replica that is made to follow a primary gets a replication slot there, named after its endpoint. By
    /// default it does, so that the primary keeps what the replica still needs; a replica that never comes back then fills the
    /// primary's disk, unless `max_slot_wal_keep_size` is set.
    #[must_use]
    pub fn replication_slots(mut self, wanted: bool) -> Self {
        self.shared_mut().slots = wanted;
        self
    }

    fn shared_mut(&mut self) -> &mut Shared {
        Arc::make_mut(&mut self.shared)
    }
}

impl<T> fmt::Debug for PostgresConnector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hosts: Vec<_> = self.shared.hosts.keys().collect();
        hosts.sort();
        f.debug_struct("PostgresConnector")
            .field("user", &self.config.get_user())
            .field("hosts", &hosts)
            .finish_non_exhaustive()
    }
}

impl<T> AsyncConnector for PostgresConnector<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    type Connection = PostgresConnection;
    type Error = PostgresError;

    /// Connects, and runs the connection as a task of the current runtime.
    async fn connect(&self, endpoint: &Endpoint) -> Result<PostgresConnection, PostgresError> {
        let address = Address::of(endpoint)?;
        let mut config = self.config.clone();
        config.host(address.host).port(address.port);
        let (client, connection) =
            config
                .connect(self.tls.clone())
                .await
                .map_err(|source| PostgresError::Connect {
                    endpoint: endpoint.clone(),
                    source,
                })?;
        let (connection, driver) = PostgresConnection::new(client, connection);
        tokio::spawn(driver);
        Ok(connection)
    }

    /// Ends a transaction that was left open and forgets everything a session can have set.
    async fn recycle(&self, connection: &mut PostgresConnection) -> Result<(), PostgresError> {
        // Neither can stand in a batch: `DISCARD ALL` runs in no transaction block.
        connection.simple_query("ROLLBACK").await?;
        connection.simple_query("DISCARD ALL").await?;
        // It dropped the statements by which the client knows types.
        connection.clear_type_cache();
        Ok(())
    }

    fn is_broken(&self, connection: &PostgresConnection) -> bool {
        connection.is_closed()
    }

    fn classify(&self, error: &PostgresError) -> Fault {
        fault::classify(error)
    }
}

impl<T> AsyncProber for PostgresConnector<T>
where
    Self: AsyncConnector<Connection = PostgresConnection, Error = PostgresError>,
{
    /// Asks in one round trip, and after a promotion in a second one for the history of the timeline, which a superuser or a member of
    /// `pg_read_server_files` may read; for others it stays empty. The term of the epoch is 0: PostgreSQL knows none.
    async fn probe(&self, connection: &mut PostgresConnection) -> Result<Probe, PostgresError> {
        probe::probe(connection).await
    }
}

/// Where a server is.
pub(super) struct Address<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
}

impl<'a> Address<'a> {
    pub(super) fn of(endpoint: &'a Endpoint) -> Result<Self, PostgresError> {
        let wrong = || PostgresError::Address {
            endpoint: endpoint.clone(),
        };
        let (host, port) = endpoint.address().rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let port = port.parse().map_err(|_| wrong())?;
        match bare {
            Some(host) if !host.is_empty() => Ok(Self { host, port }),
            None if !host.is_empty() && (host.starts_with('/') || !host.contains(':')) => {
                Ok(Self { host, port })
            }
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_or_a_directory_and_a_port() {
        let of = |address: &str| {
            let endpoint = Endpoint::new("db", address).unwrap();
            Address::of(&endpoint)
                .ok()
                .map(|found| (found.host.to_owned(), found.port))
        };
        assert_eq!(of("db.example:5432"), Some(("db.example".into(), 5432)));
        assert_eq!(of("[::1]:5433"), Some(("::1".into(), 5433)));
        assert_eq!(
            of("/run/postgresql:5432"),
            Some(("/run/postgresql".into(), 5432))
        );
        for wrong in ["db", "db:", ":5432", "[]:1", "::1:5432", "db:70000"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
