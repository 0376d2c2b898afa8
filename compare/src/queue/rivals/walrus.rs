use std::path::Path;

use parking_lot::Mutex;
use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

use crate::queue::subject::{self, Answer, Contender, Level, Producer, Subject, reason};

pub(super) const CONTENDER: Contender = Contender {
    name: "walrus",
    open,
    note: "NoFsync and AtLeastOnce of 1000, or SyncEach and StrictlyAtOnce for a power cut; reading is acknowledging, no lease; read_next for one, batch_read_for_topic for more; a batch is always synced",
    is_server: false,
};

const TOPIC: &str = "jobs";
/// What it puts before a message, and counts among the bytes of a read.
const HEADER: usize = 64;
/// Messages of a batch, at most.
const BATCH: usize = 2000;

/// The directory has to lie in `WALRUS_DATA_DIR`.
fn open(directory: &Path, level: Level) -> Answer<Box<dyn Subject>> {
    let (consistency, schedule) = match level {
        Level::Memory => return Err("always writes to its file".into()),
        Level::Kill => (
            ReadConsistency::AtLeastOnce {
                persist_every: 1000,
            },
            FsyncSchedule::NoFsync,
        ),
        Level::Power => (ReadConsistency::StrictlyAtOnce, FsyncSchedule::SyncEach),
    };
    let name = directory.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("its directory needs a name that is text")?;
    let walrus = Walrus::with_consistency_and_schedule_for_key(name, consistency, schedule);
    Ok(Box::new(Log {
        walrus: walrus.map_err(reason)?,
        size: Mutex::new(4096),
    }))
}

struct Log {
    walrus: Walrus,
    /// Of the messages it has been given: limits are in bytes.
    size: Mutex<usize>,
}

impl Subject for Log {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(self))
    }

    fn consumer(&self, _: bool) -> Answer<Box<dyn subject::Consumer + '_>> {
        Ok(Box::new(self))
    }
}

impl Producer for &Log {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        if let [message] = &*messages {
            return self.append(message);
        }
        *self.size.lock() = messages[0].len();
        let messages: Vec<_> = messages.iter().map(Vec::as_slice).collect();
        again(|| self.walrus.batch_append_for_topic(TOPIC, &messages))
    }
}

impl Log {
    fn append(&self, message: &[u8]) -> Answer<()> {
        *self.size.lock() = message.len();
        again(|| self.walrus.append_for_topic(TOPIC, message))
    }
}

/// Threads that publish at once are turned away, to try again.
fn again(mut publish: impl FnMut() -> std::io::Result<()>) -> Answer<()> {
    loop {
        match publish() {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::yield_now();
            }
            published => return published.map_err(reason),
        }
    }
}

impl subject::Consumer for &Log {
    fn consume(&mut self, most: usize, _: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        if most == 1 {
            let next = self.walrus.read_next(TOPIC, true).map_err(reason)?;
            if let Some(entry) = &next {
                see(&entry.data);
            }
            return Ok(usize::from(next.is_some()));
        }
        let bytes = most.min(BATCH) * (*self.size.lock() + HEADER);
        let entries = self.walrus.batch_read_for_topic(TOPIC, bytes, true);
        let entries = entries.map_err(reason)?;
        for entry in &entries {
            see(&entry.data);
        }
        Ok(entries.len())
    }
}
