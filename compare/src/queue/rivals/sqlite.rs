use std::path::Path;

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::queue::subject::{self, Answer, Contender, Level, Producer, Subject, reason};

pub(in crate::queue) const OFF: &str = "SQLite OFF";
pub(in crate::queue) const FULL: &str = "SQLite FULL";

pub(super) const CONTENDER_OFF: Contender = Contender {
    name: OFF,
    open: |directory, level| match level {
        Level::Kill => open(directory, "OFF"),
        _ => Err("synchronous OFF survives a kill, and no power cut".into()),
    },
    note: "a table in WAL mode, synchronous OFF: never syncs; INSERT, SELECT, DELETE, one consumer without a lease; threads share a connection",
    is_server: false,
};

pub(super) const CONTENDER_NORMAL: Contender = Contender {
    name: "SQLite NORMAL",
    open: |directory, level| match level {
        Level::Kill => open(directory, "NORMAL"),
        _ => Err("synchronous NORMAL survives a kill, and syncs at its checkpoints only".into()),
    },
    note: "the same, synchronous NORMAL: syncs at its checkpoints, every 1000 pages",
    is_server: false,
};

pub(super) const CONTENDER_FULL: Contender = Contender {
    name: FULL,
    open: |directory, level| match level {
        Level::Power => open(directory, "FULL"),
        _ => Err("synchronous FULL is for power cuts".into()),
    },
    note: "the same, synchronous FULL: syncs at each commit",
    is_server: false,
};

fn open(directory: &Path, synchronous: &str) -> Answer<Box<dyn Subject>> {
    let connect = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(directory.join("queue.db"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.execute_batch(TABLE)?;
        Ok(connection)
    };
    std::fs::create_dir_all(directory).map_err(reason)?;
    Ok(Box::new(Mutex::new(connect().map_err(reason)?)))
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, body BLOB) STRICT";

/// Threads share a connection: there is one writer at a time, and who is refused by it
/// sleeps longer than who waits for a mutex.
impl Subject for Mutex<Connection> {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(self))
    }

    fn consumer(&self, _: bool) -> Answer<Box<dyn subject::Consumer + '_>> {
        Ok(Box::new(self))
    }
}

impl Producer for &Mutex<Connection> {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        let publish = || -> rusqlite::Result<()> {
            let mut connection = self.lock();
            let transaction = connection.transaction()?;
            {
                let mut insert =
                    transaction.prepare_cached("INSERT INTO queue (body) VALUES (?1)")?;
                for message in &messages {
                    insert.execute([message])?;
                }
            }
            transaction.commit()
        };
        publish().map_err(reason)
    }
}

impl subject::Consumer for &Mutex<Connection> {
    fn consume(&mut self, most: usize, _: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        let mut consume = || -> rusqlite::Result<usize> {
            let (mut count, mut last) = (0, 0_i64);
            let connection = self.lock();
            let mut select =
                connection.prepare_cached("SELECT id, body FROM queue ORDER BY id LIMIT ?1")?;
            let mut rows = select.query([most as i64])?;
            while let Some(row) = rows.next()? {
                see(row.get_ref(1)?.as_blob().unwrap_or_default());
                (count, last) = (count + 1, row.get(0)?);
            }
            drop(rows);
            if count > 0 {
                let mut delete = connection.prepare_cached("DELETE FROM queue WHERE id <= ?1")?;
                delete.execute([last])?;
            }
            Ok(count)
        };
        consume().map_err(reason)
    }
}
