//! Shards in `SQLite`: all that a migration asks of a database, in SQL.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Error, OptionalExtension, params};
use tenfold::hash::StableKey;
use tenfold::router::Span;
use tenfold::router::migration::{Part, Row, Store};

/// The rows of a shard. A row without a value is a tombstone. Placement goes by the
/// hash, so a part of what moves is a range in the index.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS rows (
        key        BLOB PRIMARY KEY,
        version    INTEGER NOT NULL,
        value      BLOB,
        shard_hash INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS rows_by_hash ON rows (shard_hash, key);
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = OFF; -- safe when the process dies, and quick for an example
";

const UPSERT: &str = "
    INSERT INTO rows (key, version, value, shard_hash) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value
    WHERE excluded.version > rows.version";

/// A database for each node, each with one connection that writes and one that reads.
pub(crate) struct Shards(BTreeMap<String, [Mutex<Connection>; 2]>);

impl Shards {
    /// Opens the databases of these nodes in a directory, or makes them.
    pub(crate) fn open(directory: &Path, names: &[&str]) -> Result<Self, Error> {
        let open = |name: &&str| {
            let file = directory.join(format!("{name}.sqlite"));
            let connect = || Connection::open(&file).map(Mutex::new);
            let shard = [connect()?, connect()?];
            lock(&shard[0]).execute_batch(TABLE)?;
            Ok(((*name).to_owned(), shard))
        };
        names.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Writes a row, unless there is a newer one.
    pub(crate) fn put(&self, node: &str, row: &Row) -> Result<(), Error> {
        let row = std::slice::from_ref(row);
        tenfold::task::block_on(self.apply(node, row))
    }

    /// Deletes a row that is older than this, and leaves nothing.
    pub(crate) fn delete(&self, node: &str, key: &[u8], version: u64) -> Result<(), Error> {
        let delete = "DELETE FROM rows WHERE key = ?1 AND version < ?2";
        let shard = self.writer(node);
        let mut delete = shard.prepare_cached(delete)?;
        delete.execute(params![key, version.cast_signed()])?;
        Ok(())
    }

    /// The row of a key, be it a tombstone.
    pub(crate) fn find(&self, node: &str, key: &[u8]) -> Result<Option<Row>, Error> {
        let select = "SELECT key, version, value FROM rows WHERE key = ?1";
        let shard = self.reader(node);
        let mut select = shard.prepare_cached(select)?;
        select.query_row([key], row).optional()
    }

    /// All rows of a shard.
    pub(crate) fn rows(&self, node: &str) -> Result<Vec<Row>, Error> {
        let shard = self.reader(node);
        let mut select = shard.prepare("SELECT key, version, value FROM rows ORDER BY key")?;
        select.query_map([], row)?.collect()
    }

    fn writer(&self, node: &str) -> MutexGuard<'_, Connection> {
        lock(&self.0[node][0])
    }

    fn reader(&self, node: &str) -> MutexGuard<'_, Connection> {
        lock(&self.0[node][1])
    }

    fn remove_where(
        &self,
        node: &str,
        part: &Part,
        limit: usize,
        which: &str,
    ) -> Result<usize, Error> {
        let delete = format!(
            "DELETE FROM rows WHERE key IN
             (SELECT key FROM rows WHERE shard_hash BETWEEN ?1 AND ?2 AND {which} LIMIT ?3)"
        );
        let [from, to] = hashes(part);
        let shard = self.writer(node);
        let mut delete = shard.prepare_cached(&delete)?;
        delete.execute(params![from, to, limit as i64])
    }
}

impl Store for Shards {
    type Error = Error;

    async fn scan(
        &self,
        node: &str,
        part: &Part,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        let select = "
            SELECT key, version, value FROM rows
            WHERE shard_hash BETWEEN ?1 AND ?2 AND (?3 IS NULL OR key > ?3)
            ORDER BY key LIMIT ?4";
        let [from, to] = hashes(part);
        let shard = self.reader(node);
        let mut select = shard.prepare_cached(select)?;
        let rows = select.query_map(params![from, to, after, limit as i64], row)?;
        rows.collect()
    }

    async fn get(&self, node: &str, key: &[u8]) -> Result<Option<Row>, Error> {
        self.find(node, key)
    }

    async fn apply(&self, node: &str, rows: &[Row]) -> Result<(), Error> {
        let mut shard = self.writer(node);
        let transaction = shard.transaction()?;
        for row in rows {
            let (version, hash) = (row.version.cast_signed(), signed(row.key.stable_hash(0)));
            let mut upsert = transaction.prepare_cached(UPSERT)?;
            upsert.execute(params![&*row.key, version, row.value.as_deref(), hash])?;
        }
        transaction.commit()
    }

    async fn remove(&self, node: &str, part: &Part, limit: usize) -> Result<usize, Error> {
        self.remove_where(node, part, limit, "TRUE")
    }

    async fn purge(&self, node: &str, part: &Part, limit: usize) -> Result<usize, Error> {
        self.remove_where(node, part, limit, "value IS NULL")
    }
}

/// The first and the last hash of a part.
fn hashes(part: &Part) -> [i64; 2] {
    match part.span() {
        Span::Hashes(range) => [signed(*range.start()), signed(*range.end())],
        other => unreachable!("{other} is no range of hashes"),
    }
}

/// Databases have signed integers: this one keeps the order.
fn signed(hash: u64) -> i64 {
    (hash ^ (1 << 63)).cast_signed()
}

fn row(row: &rusqlite::Row<'_>) -> Result<Row, Error> {
    let (key, value): (Vec<u8>, Option<Vec<u8>>) = (row.get(0)?, row.get(2)?);
    Ok(Row {
        key: key.into(),
        version: row.get::<_, i64>(1)?.cast_unsigned(),
        value: value.map(Into::into),
    })
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}
