use std::path::Path;

use ::queue_file::QueueFile;
use parking_lot::{Mutex, MutexGuard};

use crate::queue::subject::{self, Answer, Contender, Level, Producer, Subject, reason};

pub(in crate::queue) const NAME: &str = "queue-file";

pub(super) const CONTENDER: Contender = Contender {
    name: NAME,
    open,
    note: "sync_writes off, or on for a power cut; overwrite_on_remove off; a file of 16 MiB; peek and remove_n, no lease; behind a mutex for several threads",
    is_server: false,
};

const CAPACITY: u64 = 16 << 20;

fn open(directory: &Path, level: Level) -> Answer<Box<dyn Subject>> {
    if level == Level::Memory {
        return Err("always writes to its file".into());
    }
    std::fs::create_dir_all(directory).map_err(reason)?;
    // As large as it is here, it need not grow and shrink all the time.
    let queue = QueueFile::with_capacity(directory.join("queue"), CAPACITY);
    let mut queue = queue.map_err(reason)?;
    queue.set_sync_writes(level == Level::Power);
    // Zeros over what was removed are another write.
    queue.set_overwrite_on_remove(false);
    Ok(Box::new(Mutex::new(queue)))
}

impl Subject for Mutex<QueueFile> {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(self))
    }

    fn consumer(&self, _: bool) -> Answer<Box<dyn subject::Consumer + '_>> {
        Ok(Box::new(self))
    }
}

impl Producer for &Mutex<QueueFile> {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        self.lock().add_n(messages).map_err(reason)
    }
}

impl subject::Consumer for &Mutex<QueueFile> {
    fn consume(&mut self, most: usize, _: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        let mut queue: MutexGuard<QueueFile> = self.lock();
        let mut count = 0;
        let mut messages = queue.iter();
        while count < most
            && let Some(message) = messages.borrowed_next()
        {
            see(message);
            count += 1;
        }
        drop(messages);
        if count == 0 && queue.size() > 0 {
            return match queue.peek() {
                Err(error) => Err(reason(error)),
                Ok(_) => Err("its iterator stops before the end".into()),
            };
        }
        queue.remove_n(count).map_err(reason).map(|()| count)
    }
}
