use std::path::Path;

use ::commitlog::message::{MessageBuf, MessageSet};
use ::commitlog::{CommitLog, LogOptions, ReadLimit};
use parking_lot::Mutex;

use crate::queue::subject::{self, Answer, Contender, Level, Producer, Subject, reason};

pub(super) const CONTENDER: Contender = Contender {
    name: "commitlog",
    open,
    note: "a log: no acks, it is only read, and the user keeps the position; never syncs: a power cut takes what the kernel had not written",
    is_server: false,
};

/// What it puts before a message.
const HEADER: usize = 20;

fn open(directory: &Path, level: Level) -> Answer<Box<dyn Subject>> {
    match level {
        Level::Memory => return Err("always writes to its file".into()),
        Level::Power => return Err("never syncs: its flush does nothing to the file".into()),
        Level::Kill => {}
    }
    let log = CommitLog::new(LogOptions::new(directory)).map_err(reason)?;
    Ok(Box::new(Log {
        log: Mutex::new(log),
        position: Mutex::new(0),
    }))
}

struct Log {
    log: Mutex<CommitLog>,
    position: Mutex<u64>,
}

impl Subject for Log {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(self))
    }

    fn consumer(&self, _: bool) -> Answer<Box<dyn subject::Consumer + '_>> {
        Ok(Box::new(Reader { log: self, size: 0 }))
    }
}

impl Producer for &Log {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        let mut messages: MessageBuf = messages.into_iter().collect();
        let appended = self.log.lock().append(&mut messages);
        appended.map_err(reason).map(drop)
    }
}

struct Reader<'a> {
    log: &'a Log,
    /// Of the messages it has seen; limits are in bytes.
    size: usize,
}

impl subject::Consumer for Reader<'_> {
    fn consume(&mut self, most: usize, _: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        let mut position = self.log.position.lock();
        let limit = match self.size {
            0 => ReadLimit::default(),
            // It finds nothing if the limit is where a message ends.
            size => ReadLimit::max_bytes(most * (size + HEADER) + 1),
        };
        let messages = self.log.log.lock().read(*position, limit).map_err(reason)?;
        let mut count = 0;
        for message in messages.iter().take(most) {
            self.size = self.size.max(message.payload().len());
            see(message.payload());
            *position = message.offset() + 1;
            count += 1;
        }
        Ok(count)
    }
}
