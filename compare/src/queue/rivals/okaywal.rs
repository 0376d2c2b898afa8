use std::io;
use std::path::Path;
use std::sync::Arc;

use ::okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};
use parking_lot::Mutex;

use crate::queue::subject::{self, Answer, Contender, Level, Producer, Subject, reason};

pub(in crate::queue) const NAME: &str = "okaywal";

pub(super) const CONTENDER: Contender = Contender {
    name: NAME,
    open,
    note: "a write-ahead log: publishes only, no acks; segments of 16 MiB; one fdatasync for all who wait; what it recovers is what counts as delivered",
    is_server: false,
};

fn open(directory: &Path, level: Level) -> Answer<Box<dyn Subject>> {
    if level != Level::Power {
        return Err("always syncs".into());
    }
    let recovered = Arc::new(Mutex::new(Vec::new()));
    let log = Configuration::default_for(directory)
        .preallocate_bytes(16 << 20)
        .checkpoint_after_bytes(12 << 20)
        .open(Manager(Arc::clone(&recovered)))
        .map_err(reason)?;
    Ok(Box::new(Okaywal { log, recovered }))
}

struct Okaywal {
    log: WriteAheadLog,
    recovered: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Subject for Okaywal {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(&self.log))
    }

    fn consumer(&self, _: bool) -> Answer<Box<dyn subject::Consumer + '_>> {
        let recovered = std::mem::take(&mut *self.recovered.lock());
        if recovered.is_empty() {
            return Err("a log: publishes only".into());
        }
        Ok(Box::new(recovered.into_iter()))
    }
}

impl Producer for &WriteAheadLog {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        let mut entry = self.begin_entry().map_err(reason)?;
        for message in &messages {
            entry.write_chunk(message).map_err(reason)?;
        }
        entry.commit().map_err(reason).map(drop)
    }
}

/// What was found at opening.
impl subject::Consumer for std::vec::IntoIter<Vec<u8>> {
    fn consume(&mut self, most: usize, _: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        Ok(self.take(most).map(|message| see(&message)).count())
    }
}

/// Keeps what is recovered. A checkpoint has nothing to do: what a segment holds is done.
#[derive(Debug)]
struct Manager(Arc<Mutex<Vec<Vec<u8>>>>);

impl LogManager for Manager {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        if let Some(chunks) = entry.read_all_chunks()? {
            self.0.lock().extend(chunks);
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: EntryId,
        _: &mut SegmentReader,
        _: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}
