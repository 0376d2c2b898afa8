use std::fmt;
use std::time::Duration;

use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, NoTls, Socket};

use super::connection::{Connect, Dial, connect_with};
use super::error::PostgresBuildError;
use super::link::{Link, Patience};
use super::statements::Statements;
use super::store::PostgresStore;
use super::table::Table;
use crate::replica::pool::PoolOptions;
use crate::replica::{Async, Endpoint};
use crate::session::limits::{Limits, more_than_0, wrong};
use crate::session::{BuildError, PerUser};
use crate::time::{Clock, Timer};

/// Builds a [`PostgresStore`]; made by [`PostgresStore::builder`].
///
/// ```
/// use std::time::Duration;
/// use tenfold::postgres::sessions::PostgresStore;
/// use tenfold::session::PerUser;
///
/// // Connects with the first call.
/// let store = PostgresStore::builder("postgres://app@db0,db1/shop")?
///     .schema("web")
///     .idle(Duration::from_secs(15 * 60))
///     .absolute(Duration::from_secs(4 * 3600))
///     .max_per_user(5, PerUser::EvictOldest)
///     .op_timeout(Duration::from_millis(200))
///     .build()?;
/// # drop(store);
/// assert!(PostgresStore::builder("db0, please").is_err());
/// assert!(PostgresStore::builder("postgres://app@db0/shop")?.table("").build().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until it builds"]
pub struct PostgresStoreBuilder {
    config: Config,
    connect: Connect,
    schema: String,
    table: String,
    limits: Limits,
    max_connections: usize,
    patience: Patience,
}

/// The knobs, as the store reads them; times in microseconds.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) idle: i64,
    pub(super) absolute: i64,
    pub(super) touch_every: i64,
    pub(super) max_per_user: usize,
    pub(super) per_user: PerUser,
    pub(super) max_data: usize,
}

impl PostgresStoreBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            connect: connect_with(NoTls),
            schema: "public".to_owned(),
            table: "tenfold_sessions".to_owned(),
            limits: Limits::default(),
            max_connections: 10,
            patience: Patience {
                limit: Duration::from_millis(500),
                failures: 5,
                pause: Duration::from_secs(1),
                clock: Clock::system(),
            },
        }
    }

    /// Encrypts connections by a library of your choice, such as `postgres-native-tls` or `tokio-postgres-rustls`. Whether they are, says
    /// `sslmode` in the address.
    pub fn tls<T>(mut self, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        self.connect = connect_with(tls);
        self
    }

    /// The schema of the table, which there has to be; `public` by default. Names are taken as they are, quoted: case counts.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// The table; `tenfold_sessions` by default. Stores with the same table share their sessions.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// How long a session lives after it was last loaded or saved; 30 minutes by default. By the server's clock, as all times of
    /// sessions.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.limits.idle = idle;
        self
    }

    /// How long a session lives after its user logged in, however busy it is; 8 hours by
    /// default.
    pub fn absolute(mut self, absolute: Duration) -> Self {
        self.limits.absolute = absolute;
        self
    }

    /// How often, at most, a load moves the idle deadline, which is a second call and a write: a session may end so
    /// much sooner than [`idle`](Self::idle) says. By default an eighth of that, and no more than five minutes.
    pub fn touch_every(mut self, interval: Duration) -> Self {
        self.limits.touch_every = Some(interval);
        self
    }

    /// How many sessions a user may have, and what becomes of one more. By default
    /// 1000, of which the oldest leaves.
    pub fn max_per_user(mut self, max: usize, per_user: PerUser) -> Self {
        self.limits.max_per_user = max;
        self.limits.per_user = per_user;
        self
    }

    /// How many bytes of data a session may have; 64 KiB by default.
    pub fn max_data(mut self, max: usize) -> Self {
        self.limits.max_data = max;
        self
    }

    /// How many connections there may be, each of which makes one call at a time; 10 by default.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// How long a call may take, from waiting for a connection to the last answer, until it is
    /// [`TimedOut`](crate::session::Unavailable::TimedOut); 500 milliseconds by default. The server is told to give it up then as well.
    pub fn op_timeout(mut self, limit: Duration) -> Self {
        self.patience.limit = limit;
        self
    }

    /// After how many failures in a row the server is left alone, and for how long: calls then are
    /// [`Suspended`](crate::session::Unavailable::Suspended) at once, and after the pause one finds out how things are. By
    /// default five, and a second.
    pub fn breaker(mut self, failures: u32, pause: Duration) -> Self {
        self.patience.failures = failures;
        self.patience.pause = pause;
        self
    }

    /// The clock of the breaker's pause. Deadlines of sessions go by the server's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.patience.clock = clock;
        self
    }

    /// Builds a store that connects with its first call, on the tokio runtime that this is made on. The runtime has to have
    /// its clock and its I/O enabled.
    ///
    /// # Errors
    /// [`PostgresBuildError`]: a setting or a name makes no sense.
    pub fn build(mut self) -> Result<PostgresStore, PostgresBuildError> {
        let settings = self.settings()?;
        let table = Table::new(&self.schema, &self.table)?;
        if self.config.get_hosts().is_empty() && self.config.get_hostaddrs().is_empty() {
            return Err(PostgresBuildError::NoHost);
        }
        // Of several servers the primary, wherever it is now.
        self.config
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        if self.config.get_application_name().is_none() {
            self.config.application_name("tenfold sessions");
        }
        let limit = self.patience.limit;
        let options = PoolOptions::new()
            .max_size(self.max_connections)
            .max_wait(limit)
            .connect_timeout(limit)
            // The breaker is what spares a server that is down.
            .retry_pause(FIRST_PAUSE, LONGEST_PAUSE)
            .timer(Timer::from_sleep(tokio::time::sleep));
        let dial = Dial::new(self.config, self.connect, limit);
        let zero = |_| wrong("max_connections", "more than 0", 0);
        let endpoint =
            Endpoint::new("sessions", table.name()).map_err(|_| PostgresBuildError::NoHost)?;
        let pool = options.build(Async(dial), endpoint).map_err(zero)?;
        let link = Link::new(pool, Statements::new(&table), self.patience);
        Ok(PostgresStore::new(settings, table, link))
    }

    fn settings(&self) -> Result<Settings, BuildError> {
        let limits = &self.limits;
        let touch_every = limits.check((limits.idle / 8).min(Duration::from_secs(300)))?;
        more_than_0("max_connections", self.max_connections as u64)?;
        more_than_0("op_timeout", self.patience.limit.as_micros() as u64)?;
        Ok(Settings {
            idle: limits.idle.as_micros() as i64,
            absolute: limits.absolute.as_micros() as i64,
            touch_every: touch_every.as_micros() as i64,
            max_per_user: limits.max_per_user,
            per_user: limits.per_user,
            max_data: limits.max_data,
        })
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    /// Tells nothing of the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("table", &self.table)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
