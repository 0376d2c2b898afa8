//! Our queue, with its defaults but for the level; its disk counts how often it is synced.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tenfold::queue::storage::{Disk, DiskFile, LockError, RealDisk};
use tenfold::queue::{self, Durability, Message, Queue};

use super::subject::{Answer, Contender, Level, Producer, Subject, reason};

pub(super) const OURS: &str = "tenfold";

pub(super) const CONTENDER: Contender = Contender {
    name: OURS,
    open,
    note: "lease, ack and checksums; acks ride on the next write, 64 of them at the latest, unless they are said to be durable",
    is_server: false,
};

fn open(directory: &Path, level: Level) -> Answer<Box<dyn Subject>> {
    let disk = CountingDisk {
        disk: RealDisk::new(directory).map_err(reason)?,
        syncs: Arc::default(),
    };
    let syncs = Arc::clone(&disk.syncs);
    let durability = match level {
        Level::Memory => Durability::Memory,
        Level::Kill => Durability::Process,
        Level::Power => Durability::Power,
    };
    let queue = Queue::builder().durability(durability).open_on(disk);
    let queue = queue.map_err(reason)?;
    Ok(Box::new(Ours { queue, syncs }))
}

struct Ours {
    queue: Queue<CountingDisk>,
    syncs: Arc<AtomicU64>,
}

impl Subject for Ours {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(&self.queue))
    }

    fn consumer(&self, durable_acks: bool) -> Answer<Box<dyn super::subject::Consumer + '_>> {
        Ok(Box::new(Consumer {
            consumer: self.queue.consumer(),
            durable_acks,
        }))
    }

    fn report(&self) -> Option<String> {
        let (recovery, lost) = (self.queue.recovery(), self.queue.stats().lost);
        let is_whole = recovery.is_clean() && recovery.torn.is_none() && lost == 0;
        (!is_whole).then(|| format!("{recovery}; {lost} messages lost"))
    }

    fn syncs(&self) -> Option<u64> {
        Some(self.syncs.load(Ordering::Relaxed))
    }
}

impl Producer for &Queue<CountingDisk> {
    fn publish(&mut self, mut messages: Vec<Vec<u8>>) -> Answer<()> {
        let published = if messages.len() == 1 {
            Queue::publish(self, messages.swap_remove(0)).map(drop)
        } else {
            let messages: Vec<_> = messages.into_iter().map(Message::new).collect();
            self.publish_batch(&messages).map(drop)
        };
        published.map_err(reason)
    }
}

struct Consumer {
    consumer: queue::Consumer<CountingDisk>,
    durable_acks: bool,
}

impl super::subject::Consumer for Consumer {
    fn consume(&mut self, most: usize, wait: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        let deliveries = if wait {
            self.consumer.recv_batch(most)
        } else {
            self.consumer.recv_batch_timeout(most, Duration::ZERO)
        };
        let deliveries = deliveries.map_err(reason)?;
        let count = deliveries.len();
        for delivery in &deliveries {
            see(delivery);
        }
        let acked = if self.durable_acks {
            self.consumer.ack_all_durable(deliveries)
        } else {
            self.consumer.ack_all(deliveries)
        };
        acked.map_err(reason).map(|()| count)
    }

    fn waits(&self) -> bool {
        true
    }
}

/// A real directory that counts syncs of its files.
struct CountingDisk {
    disk: RealDisk,
    syncs: Arc<AtomicU64>,
}

struct CountingFile {
    file: std::fs::File,
    syncs: Arc<AtomicU64>,
}

impl CountingDisk {
    fn counted(&self, file: std::fs::File) -> CountingFile {
        let syncs = Arc::clone(&self.syncs);
        CountingFile { file, syncs }
    }
}

impl Disk for CountingDisk {
    type File = CountingFile;
    type Lock = std::fs::File;

    fn create(&self, name: &str) -> io::Result<CountingFile> {
        self.disk.create(name).map(|file| self.counted(file))
    }

    fn open(&self, name: &str) -> io::Result<CountingFile> {
        self.disk.open(name).map(|file| self.counted(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self, name: &str) -> Result<std::fs::File, LockError> {
        self.disk.lock(name)
    }
}

impl DiskFile for CountingFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        DiskFile::read_at(&self.file, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        DiskFile::write_at(&self.file, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync()
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}
