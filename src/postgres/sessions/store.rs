use std::fmt;

use sha2::{Digest, Sha256};
use tokio_postgres::{Config, Row};

use super::builder::{PostgresStoreBuilder, Settings};
use super::connection::Values;
use super::error::{CheckError, PostgresBuildError};
use super::link::{Ask, Link};
use super::record::{self, Record, column};
use super::statements::Statement;
use super::table::Table;
use crate::cache::tier::BreakerState;
use crate::replica::pool::PoolStats;
use crate::session::{
    AsyncSessionStore, CreateError, CycleError, Loaded, PerUser, RevokeError, SaveError,
    SessionData, SessionInfo, SessionKey, SessionToken, Swept, Unavailable, UserId, Version,
};
use crate::sync::atomic::{AtomicU32, Ordering};

/// Sessions in a PostgreSQL database, shared by all processes that use the same table.
///
/// Calls go over a few connections, which are made when they are needed and again when they are lost. See the
/// [module](super) for what the store promises, and what the server can undo.
///
/// ```no_run
/// # async fn shown() -> Result<(), Box<dyn std::error::Error>> {
/// use tenfold::postgres::sessions::PostgresStore;
/// use tenfold::session::{AsyncSessionStore, SaveError};
///
/// let store = PostgresStore::builder("postgres://app@127.0.0.1/shop")?.build()?;
/// store.create_table().await?;
/// store.check().await?;
/// let (token, version) = store.create(Some("ada".into()), b"1 lamp".as_slice()).await?;
/// let loaded = store.load(&token).await?.ok_or("gone")?;
/// assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
///
/// // What is revoked does not come back.
/// store.revoke(&token).await?;
/// let late = store.save(&token, version, b"2 lamps".as_slice()).await;
/// assert_eq!(late, Err(SaveError::Gone));
/// # Ok(()) }
/// ```
pub struct PostgresStore {
    settings: Settings,
    table: Table,
    link: Link,
    /// Sessions that this process has begun: every now and then one sweeps.
    begun: AtomicU32,
}

impl PostgresStore {
    /// Begins to describe a store in the database at this address: `postgres://app:secret@db0,db1/shop` or
    /// `host=db0,db1 user=app dbname=shop`, as `tokio-postgres` reads it. Of several servers the one that takes
    /// writes is used, and found again when it changes.
    ///
    /// # Errors
    /// [`PostgresBuildError::Address`].
    pub fn builder(address: &str) -> Result<PostgresStoreBuilder, PostgresBuildError> {
        let config: Config = address.parse().map_err(PostgresBuildError::Address)?;
        Ok(PostgresStoreBuilder::new(config))
    }

    /// The same for an address that is described already.
    pub fn with_config(config: Config) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(config)
    }

    pub(super) fn new(settings: Settings, table: Table, link: Link) -> Self {
        Self {
            settings,
            table,
            link,
            begun: AtomicU32::new(0),
        }
    }

    /// Makes the table and its indexes, unless there is a table of that name: for when a process starts, however many do
    /// at once. Only the first needs the right to create in the schema.
    ///
    /// # Errors
    /// [`Unavailable`]; refused without that right, or without the schema.
    pub async fn create_table(&self) -> Result<(), Unavailable> {
        self.link.create(&self.table).await
    }

    /// What [`create_table`](Self::create_table) does, for a tool that keeps all changes of a database.
    ///
    /// ```
    /// use tenfold::postgres::sessions::PostgresStore;
    ///
    /// let store = PostgresStore::builder("postgres://app@db0/shop")?.schema("web").build()?;
    /// assert!(store.definition().contains(r#"TABLE IF NOT EXISTS "web"."tenfold_sessions""#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn definition(&self) -> String {
        self.table.definition()
    }

    /// Asks the server whether sessions are safe on it: worth doing when a process starts.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn check(&self) -> Result<(), CheckError> {
        let rows = self.ask(Statement::Check, &[]).await?;
        let row = rows.first().ok_or_else(record::malformed)?;
        let found: i32 = column(row, 0)?;
        if found < OLDEST {
            return Err(CheckError::Version { found });
        }
        for (at, setting) in [(1, "fsync"), (2, "synchronous_commit")] {
            if column::<&str>(row, at)? == "off" {
                return Err(CheckError::Forgets { setting });
            }
        }
        let table = self.table.name().to_owned();
        match column::<Option<&str>>(row, 3)? {
            Some("p") => Ok(()),
            Some(_) => Err(CheckError::Unlogged { table }),
            None => Err(CheckError::NoTable { table }),
        }
    }

    /// Takes out sessions that are over, of the `limit` that were due to be looked at the longest ago: from any process, as often as
    /// you like, in one short transaction that waits for nobody. Every sixteenth session that a process begins sweeps
    /// up to 512, so that the table stays bounded without this; calling it keeps it smaller.
    ///
    /// ```no_run
    /// # async fn shown(store: tenfold::postgres::sessions::PostgresStore) -> Result<(), Box<dyn std::error::Error>> {
    /// // Until there is nothing left to look at.
    /// while store.sweep(1000).await?.looked == 1000 {}
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Unavailable`]; what is over is over nonetheless.
    pub async fn sweep(&self, limit: usize) -> Result<Swept, Unavailable> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.ask(Statement::Sweep, &[&limit]).await?;
        let row = rows.first().ok_or_else(record::malformed)?;
        let (removed, refiled): (i64, i64) = (column(row, 0)?, column(row, 1)?);
        Ok(Swept {
            looked: (removed + refiled) as usize,
            removed: removed as usize,
        })
    }

    /// Whether calls go through, or the server is left alone because it failed.
    pub fn breaker(&self) -> BreakerState {
        self.link.state()
    }

    /// How its connections are doing.
    pub fn connections(&self) -> PoolStats {
        self.link.stats()
    }

    async fn ask(&self, statement: Statement, values: Values<'_>) -> Result<Vec<Row>, Unavailable> {
        let lock = None;
        self.link
            .ask(Ask {
                statement,
                values,
                lock,
            })
            .await
    }

    /// Asks under the lock of a user.
    async fn ask_for(
        &self,
        user: &UserId,
        statement: Statement,
        values: Values<'_>,
    ) -> Result<Vec<Row>, Unavailable> {
        let lock = Some(lock_of(user));
        self.link
            .ask(Ask {
                statement,
                values,
                lock,
            })
            .await
    }

    async fn read(&self, key: &[u8]) -> Result<Row, Unavailable> {
        let rows = self.ask(Statement::Load, &[&key]).await?;
        rows.into_iter().next().ok_or_else(record::malformed)
    }

    async fn look_up(
        &self,
        token: &SessionToken,
        touches: bool,
    ) -> Result<Option<Loaded>, Unavailable> {
        let Settings {
            idle, touch_every, ..
        } = self.settings;
        let key = token.key().to_bytes();
        let mut row = self.read(&key).await?;
        let Some(mut record) = Record::parse(&row)? else {
            return Ok(None);
        };
        if touches && record.is_due(touch_every, &row)? {
            let values: Values<'_> = &[&&key[..], &idle, &touch_every];
            match self.ask(Statement::Touch, values).await.as_deref() {
                Ok([answer, ..]) => record.touched(answer)?,
                // Somebody was faster, or it has ended just now.
                Ok([]) => {
                    row = self.read(&key).await?;
                    match Record::parse(&row)? {
                        Some(now) => record = now,
                        None => return Ok(None),
                    }
                }
                // It was there. If its deadline cannot be moved now, the next load tries again.
                Err(_) => {}
            }
        }
        record.loaded(&row).map(Some)
    }

    /// Sweeps now and then. Whether it could is not the caller's concern.
    async fn tidy(&self) {
        if self.begun.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            let _ = self.sweep(SWEEP).await;
        }
    }

    fn fits(&self, data: &[u8]) -> Result<(), (usize, usize)> {
        let (len, max) = (data.len(), self.settings.max_data);
        if len > max { Err((len, max)) } else { Ok(()) }
    }

    /// How many sessions a user may have, and whether one more is refused.
    fn room(&self) -> (i64, bool) {
        let max = i64::try_from(self.settings.max_per_user).unwrap_or(i64::MAX);
        (max, self.settings.per_user == PerUser::Refuse)
    }
}

impl AsyncSessionStore for PostgresStore {
    async fn create(
        &self,
        user: Option<UserId>,
        data: impl Into<SessionData> + Send,
    ) -> Result<(SessionToken, Version), CreateError> {
        let data = data.into();
        self.fits(&data)
            .map_err(|(len, max)| CreateError::TooLarge { len, max })?;
        let token = SessionToken::draw().map_err(CreateError::Entropy)?;
        let key = token.key().to_bytes();
        let name = user.as_ref().map(|user| user.as_str().as_bytes());
        let Settings { idle, absolute, .. } = &self.settings;
        let (max, refuses) = self.room();
        let values: Values<'_> = &[&&key[..], &name, &&data[..], idle, absolute, &max, &refuses];
        let rows = match &user {
            Some(user) => self.ask_for(user, Statement::Create, values).await?,
            None => self.ask(Statement::Create, values).await?,
        };
        let Some(row) = rows.first() else {
            let max = self.settings.max_per_user;
            return Err(CreateError::UserFull { max });
        };
        let version = record::version(column(row, 0)?)?;
        self.tidy().await;
        Ok((token, version))
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        self.look_up(token, true).await
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        self.look_up(token, false).await
    }

    async fn save(
        &self,
        token: &SessionToken,
        expected: Version,
        data: impl Into<SessionData> + Send,
    ) -> Result<Version, SaveError> {
        let data = data.into();
        self.fits(&data)
            .map_err(|(len, max)| SaveError::TooLarge { len, max })?;
        let key = token.key().to_bytes();
        // No store has given a larger one.
        let version = i64::try_from(expected.to_u64()).unwrap_or(NO_VERSION);
        let values: Values<'_> = &[&&key[..], &version, &self.settings.idle, &&data[..]];
        let rows = self.ask(Statement::Save, values).await?;
        if let Some(row) = rows.first() {
            return Ok(record::version(column(row, 0)?)?);
        }
        let rows = self.ask(Statement::Version, &[&&key[..]]).await?;
        match rows.first() {
            None => Err(SaveError::Gone),
            Some(row) => Err(SaveError::Conflict {
                current: record::version(column(row, 0)?)?,
            }),
        }
    }

    async fn cycle(&self, token: &SessionToken) -> Result<SessionToken, CycleError> {
        let fresh = SessionToken::draw().map_err(CycleError::Entropy)?;
        let (old, new) = (token.key().to_bytes(), fresh.key().to_bytes());
        let values: Values<'_> = &[&&old[..], &&new[..], &self.settings.idle];
        let rows = self.ask(Statement::Cycle, values).await?;
        if rows.is_empty() {
            return Err(CycleError::Gone);
        }
        Ok(fresh)
    }

    async fn log_in(
        &self,
        token: &SessionToken,
        user: impl Into<UserId> + Send,
    ) -> Result<SessionToken, CycleError> {
        let user = user.into();
        let fresh = SessionToken::draw().map_err(CycleError::Entropy)?;
        let (old, new) = (token.key().to_bytes(), fresh.key().to_bytes());
        let Settings { idle, absolute, .. } = &self.settings;
        let (max, refuses) = self.room();
        let values: Values<'_> = &[
            &&old[..],
            &user.as_str().as_bytes(),
            &&new[..],
            idle,
            absolute,
            &max,
            &refuses,
        ];
        let rows = self.ask_for(&user, Statement::LogIn, values).await?;
        let row = rows.first().ok_or_else(record::malformed)?;
        match (column(row, 0)?, column::<Option<i64>>(row, 1)?) {
            (true, Some(_)) => Ok(fresh),
            (true, None) => Err(CycleError::UserFull {
                max: self.settings.max_per_user,
            }),
            (false, _) => Err(CycleError::Gone),
        }
    }

    async fn revoke_key(&self, key: SessionKey) -> Result<bool, RevokeError> {
        let key = key.to_bytes();
        let rows = self.ask(Statement::Revoke, &[&&key[..]]).await?;
        Ok(live(&rows)? > 0)
    }

    async fn revoke_user(
        &self,
        user: impl Into<UserId> + Send,
        except: Option<&SessionToken>,
    ) -> Result<usize, RevokeError> {
        let user = user.into();
        let spared = except.map_or(Vec::new(), |token| token.key().to_bytes().to_vec());
        let values: Values<'_> = &[&user.as_str().as_bytes(), &spared];
        let rows = self.ask_for(&user, Statement::RevokeUser, values).await?;
        Ok(live(&rows)?)
    }

    async fn sessions_of(
        &self,
        user: impl Into<UserId> + Send,
    ) -> Result<Vec<SessionInfo>, Unavailable> {
        let user = user.into();
        let name = user.as_str().as_bytes();
        let rows = self.ask(Statement::List, &[&name]).await?;
        let infos = rows.iter().filter_map(|row| match Record::parse(row) {
            Ok(Some(record)) => Some(record.info(row)),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        });
        infos.collect()
    }
}

impl fmt::Debug for PostgresStore {
    /// Tells nothing of the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("settings", &self.settings)
            .field("table", &self.table)
            .field("breaker", &self.breaker())
            .finish_non_exhaustive()
    }
}

/// The number of a user's lock. That two users may have the same makes one wait for the other.
fn lock_of(user: &UserId) -> i32 {
    let hash = Sha256::digest(user.as_str());
    i32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// How many of the sessions that were taken out had not expired.
fn live(rows: &[Row]) -> Result<usize, Unavailable> {
    let mut live = 0;
    for row in rows {
        live += usize::from(column::<bool>(row, 0)?);
    }
    Ok(live)
}

/// PostgreSQL 12.
const OLDEST: i32 = 12_00_00;

/// Every session is looked at when it could first have ended, and then once per idle time: 32 times within the absolute one, for
/// each that is begun, is twice what the defaults need.
const SWEEP_EVERY: u32 = 16;
const SWEEP: usize = 512;

const NO_VERSION: i64 = -1;
