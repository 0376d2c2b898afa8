//! Changes of roles, each in the words of PostgreSQL.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{literal, parse_position};
use super::connector::Address;
use super::{Host, PostgresConnection, PostgresConnector, PostgresError, history, salvage};
use crate::replica::recovery::Recovered;
use crate::replica::{AsyncConnector, AsyncProber, AsyncPromoter, Endpoint, Epoch, Position, Role};

/// How often a server is asked again whether something has happened.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

impl<T> AsyncPromoter for PostgresConnector<T>
where
    T: Clone + Send + Sync + 'static,
    Self: AsyncProber<Connection = PostgresConnection, Error = PostgresError>,
{
    /// By the [fence](PostgresConnector::fence_with) that the connector was given; or by the server's host, which stops it and
    /// has it come back as a replica; or else by telling the server to accept only reading transactions and ending those there
    /// are, which clients that set `default_transaction_read_only` themselves get around.
    ///
    /// A server that does not answer and has neither is [`PostgresError::Unfenced`]: not to be reached from here does
    /// not mean that nobody writes to it.
    async fn fence(&self, old: &Endpoint, epoch: Epoch) -> Result<(), PostgresError> {
        if let Some(fence) = self.shared.fence.clone() {
            let endpoint = old.clone();
            let fenced = blocking(move || Ok(fence(&endpoint, epoch))).await;
            return fenced
                .map_err(|error| Box::new(error) as _)
                .and_then(|answer| answer)
                .map_err(|source| PostgresError::Fence {
                    endpoint: old.clone(),
                    source,
                });
        }
        if self.shared.hosts.contains_key(old.name()) {
            return self.on_host(old, "fencing", Host::fence).await;
        }
        let unfenced = || PostgresError::Unfenced {
            endpoint: old.clone(),
        };
        let connection = self.connect(old).await.map_err(|_| unfenced())?;
        if connection.holds("SELECT pg_is_in_recovery()").await? {
            return Ok(());
        }
        set(&connection, old, "default_transaction_read_only", "on").await?;
        connection
            .rows(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
            )
            .await?;
        Ok(())
    }

    /// Takes the replica's primary away from it, and reads its position when the receiver is gone: before, it would
    /// still acknowledge what a former primary sends.
    async fn stop_receiver(&self, replica: &Endpoint) -> Result<Position, PostgresError> {
        let connection = self.connect(replica).await?;
        set(&connection, replica, "primary_conninfo", "").await?;
        until(
            &connection,
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'walreceiver')",
        )
        .await?;
        // Nothing was received yet since it was started, or what it was started with reaches further: either may be.
        reach(&connection).await
    }

    /// Hands the files of the old primary's log to the candidate, and waits until it has replayed them to their end. The
    /// timeline that follows has everything, so there is nothing to recover. Needs the [`Host`]s of both, and of the
    /// old one only its files.
    async fn salvage(
        &self,
        old: &Endpoint,
        candidate: &Endpoint,
    ) -> Result<Position, PostgresError> {
        salvage::salvage(self, old, candidate).await
    }

    /// Promotes, having seen to it that the new primary waits for no replica: the `synchronous_standby_names` that it
    /// inherited would have its first commit wait for servers that do not follow it yet. Set them again once they do.
    async fn promote(&self, candidate: &Endpoint) -> Result<Epoch, PostgresError> {
        let mut connection = self.connect(candidate).await?;
        set(&connection, candidate, "synchronous_standby_names", "").await?;
        if connection.holds("SELECT pg_is_in_recovery()").await? {
            // `pg_promote(true)` looks ten times a second.
            connection.rows("SELECT pg_promote(false)").await?;
            until(&connection, "SELECT NOT pg_is_in_recovery()").await?;
        }
        Ok(self.probe(&mut connection).await?.epoch)
    }

    /// Points the replica at the primary, with a replication slot there unless the connector makes
    /// [none](PostgresConnector::replication_slots). It streams when a probe says so.
    async fn follow(&self, replica: &Endpoint, primary: &Endpoint) -> Result<(), PostgresError> {
        let mut there = self.connect(primary).await?;
        let mut here = self.connect(replica).await?;
        let (leader, follower) = (self.probe(&mut there).await?, self.probe(&mut here).await?);
        if follower.role == Role::Primary {
            return Err(PostgresError::Answer {
                expected: "a replica, which a primary becomes by rejoining",
                found: format!("{replica}, a primary"),
            });
        }
        if let Some(fork) = history::fork(&there, follower.epoch.timeline).await?
            && follower.epoch < leader.epoch
            && reach(&here).await? > fork
        {
            return Err(PostgresError::Diverged {
                endpoint: replica.clone(),
                reach: reach(&here).await?,
                fork,
            });
        }
        let slot = self.make_slot(&there, replica).await?;
        set(&here, replica, "primary_slot_name", &slot).await?;
        let primary = self.replication_conninfo(primary, replica)?;
        set(&here, replica, "primary_conninfo", &primary).await
    }

    /// Rewinds the data directory to where the primary parted from it with `pg_rewind`, and starts the server as a
    /// replica. What only it had is lost with that; a copy of its log is put aside nonetheless.
    async fn rejoin(
        &self,
        old: &Endpoint,
        primary: &Endpoint,
        recovered: &Recovered,
    ) -> Result<(), PostgresError> {
        let there = self.connect(primary).await?;
        let fork = recovered.fork();
        let found = history::fork(&there, fork.timeline).await?;
        if found != Some(fork.position) {
            return Err(PostgresError::OtherFork {
                primary: primary.clone(),
                recovered: fork,
                found,
            });
        }
        // What is rewound to has to be in the files, and the end of a promotion is not at once.
        there.rows("CHECKPOINT").await?;
        let slot = self.make_slot(&there, old).await?;
        let source = self.conninfo(primary)?;
        let follow = self.replication_conninfo(primary, old)?;
        self.on_host(old, "rejoining", move |host| {
            host.fence()?;
            host.preserve_wal()?;
            host.rewind(&source)?;
            host.follow(&[
                ("primary_conninfo", follow.clone()),
                ("primary_slot_name", slot.clone()),
                ("synchronous_standby_names", String::new()),
                ("default_transaction_read_only", "off".into()),
            ])?;
            host.start()
        })
        .await
    }
}

impl<T> PostgresConnector<T> {
    /// Runs a piece of work at a server's host.
    pub(super) async fn on_host<R: Send + 'static>(
        &self,
        endpoint: &Endpoint,
        what: &'static str,
        work: impl FnOnce(&dyn Host) -> io::Result<R> + Send + 'static,
    ) -> Result<R, PostgresError> {
        let host = self.host_of(endpoint, what)?;
        blocking(move || work(&*host))
            .await
            .map_err(|source| PostgresError::Host {
                endpoint: endpoint.clone(),
                source,
            })
    }

    pub(super) fn host_of(
        &self,
        endpoint: &Endpoint,
        what: &'static str,
    ) -> Result<Arc<dyn Host>, PostgresError> {
        let host = self.shared.hosts.get(endpoint.name()).cloned();
        host.ok_or_else(|| PostgresError::NoHost {
            endpoint: endpoint.clone(),
            what,
        })
    }

    /// Makes the replica's slot on its primary, and says its name; empty if none is wanted.
    async fn make_slot(
        &self,
        primary: &PostgresConnection,
        replica: &Endpoint,
    ) -> Result<String, PostgresError> {
        if !self.shared.slots {
            return Ok(String::new());
        }
        let name = slot_name(replica);
        let quoted = literal(&name);
        primary
            .rows(&format!(
                "SELECT pg_create_physical_replication_slot({quoted}, true) WHERE NOT EXISTS \
                 (SELECT FROM pg_replication_slots WHERE slot_name = {quoted})"
            ))
            .await?;
        Ok(name)
    }

    /// How a replica reaches its primary, in the words of `primary_conninfo`.
    fn replication_conninfo(
        &self,
        primary: &Endpoint,
        replica: &Endpoint,
    ) -> Result<String, PostgresError> {
        let Address { host, port } = Address::of(primary)?;
        let login = match &self.shared.replication {
            Some(words) => words.clone(),
            None => self.login(),
        };
        Ok(format!(
            "host={} port={port} application_name={} {login}",
            word(host),
            word(replica.name())
        ))
    }

    /// How PostgreSQL's own programs reach a server.
    fn conninfo(&self, endpoint: &Endpoint) -> Result<String, PostgresError> {
        let Address { host, port } = Address::of(endpoint)?;
        let database = self.config.get_dbname().unwrap_or("postgres");
        Ok(format!(
            "host={} port={port} dbname={} {}",
            word(host),
            word(database),
            self.login()
        ))
    }

    fn login(&self) -> String {
        let mut words = Vec::new();
        if let Some(user) = self.config.get_user() {
            words.push(format!("user={}", word(user)));
        }
        if let Some(password) = self.config.get_password() {
            words.push(format!(
                "password={}",
                word(&String::from_utf8_lossy(password))
            ));
        }
        words.join(" ")
    }
}

/// Changes a setting for good, and waits until it is in force.
pub(super) async fn set(
    connection: &PostgresConnection,
    endpoint: &Endpoint,
    setting: &'static str,
    value: &str,
) -> Result<(), PostgresError> {
    let current = format!("SELECT setting FROM pg_settings WHERE name = '{setting}'");
    let found = connection.value(&current).await?.unwrap_or_default();
    if found == value {
        return Ok(());
    }
    connection
        .rows(&format!("ALTER SYSTEM SET {setting} = {}", literal(value)))
        .await?;
    connection.rows("SELECT pg_reload_conf()").await?;
    let mut found = found;
    for _ in 0..RELOADS {
        found = connection.value(&current).await?.unwrap_or_default();
        if found == value {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(PostgresError::Setting {
        endpoint: endpoint.clone(),
        setting,
        expected: value.to_owned(),
        found,
    })
}

/// How often a changed setting is looked for: two seconds.
const RELOADS: u32 = 400;

/// Asks until the answer is yes. Whoever is in a hurry drops the future.
pub(super) async fn until(
    connection: &PostgresConnection,
    question: &str,
) -> Result<(), PostgresError> {
    while !connection.holds(question).await? {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// How far the log of a replica reaches, received or replayed: after a start the former is unknown.
pub(super) async fn reach(connection: &PostgresConnection) -> Result<Position, PostgresError> {
    let text = connection
        .value("SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())")
        .await?;
    parse_position(text)
}

/// Runs what may block where it may. A panic there is an error here.
pub(super) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A value in a connection string.
fn word(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// PostgreSQL takes small letters, digits and underscores, 63 of them.
fn slot_name(replica: &Endpoint) -> String {
    let allowed = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '_',
    };
    replica.name().chars().map(allowed).take(63).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_only_the_letters_that_it_may() {
        let replica = Endpoint::new("Db-1.Zürich", "h:1").unwrap();
        assert_eq!(slot_name(&replica), "db_1_z_rich");
    }

    #[test]
    fn a_word_in_a_connection_string_keeps_its_quotes() {
        assert_eq!(word(r"it's a \"), r"'it\'s a \\'");
    }
}
