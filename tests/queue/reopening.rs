//! What an opening reads: as little as there is behind the checkpoint.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tenfold::queue::storage::{Disk, DiskFile, LockError, SimDisk};
use tenfold::queue::{Message, Queue, Start};

/// A disk that counts what is read.
struct Reading {
    disk: SimDisk,
    bytes: Arc<AtomicU64>,
}

struct ReadFile(<SimDisk as Disk>::File, Arc<AtomicU64>);

impl Disk for Reading {
    type File = ReadFile;
    type Lock = <SimDisk as Disk>::Lock;

    fn create(&self, name: &str) -> io::Result<ReadFile> {
        Ok(ReadFile(self.disk.create(name)?, Arc::clone(&self.bytes)))
    }

    fn open(&self, name: &str) -> io::Result<ReadFile> {
        Ok(ReadFile(self.disk.open(name)?, Arc::clone(&self.bytes)))
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

    fn lock(&self, name: &str) -> Result<Self::Lock, LockError> {
        self.disk.lock(name)
    }
}

impl DiskFile for ReadFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.0.read_at(bytes, offset)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

/// The last segment was read from its beginning, twice, and each other one whole as soon
/// as a message in it was asked for.
#[test]
fn an_opening_and_a_message_at_random_read_as_little_however_large_the_log_is() {
    // Of a batch of 12,040 bytes, 86 go into a segment: the last one is nearly full.
    for batches in [3 * 86 - 3, 9 * 86 - 3] {
        let disk = SimDisk::new(1);
        let builder = || Queue::builder().segments(1 << 20, 1 << 20).seed(3);
        let queue = builder().open_on(disk.clone()).unwrap();
        let batch: Vec<_> = (0..100).map(|n| Message::new(vec![n; 90])).collect();
        for _ in 0..batches {
            queue.publish_batch(&batch).unwrap();
        }
        queue.checkpoint().unwrap();
        queue.publish("behind it").unwrap();
        disk.crash_at(disk.operations() + 1);
        drop(queue);
        disk.kill();

        let bytes = Arc::new(AtomicU64::new(0));
        let reading = Reading {
            disk,
            bytes: Arc::clone(&bytes),
        };
        let queue = builder().open_on(reading).unwrap();
        let read = bytes.swap(0, Ordering::Relaxed);
        assert!(read < 400 << 10, "{read} bytes to open {batches} batches");
        let most = 100 * batches;
        for id in [10, most / 7, most / 2, most - 3] {
            let probe = queue.replay("probe", Start::At(id)).unwrap();
            let delivery = probe.recv().unwrap();
            assert_eq!(
                (delivery.id(), u64::from(delivery[0])),
                (id, (id - 1) % 100)
            );
            let read = bytes.swap(0, Ordering::Relaxed);
            assert!(read < 64 << 10, "{read} bytes for message {id}");
        }
    }
}
