//! A queue that nobody has open: looked through, read and repaired.
//!
//! All three begin as an opening does, by the same code, over the directory and a layer
//! of memory that keeps whatever the opening writes (`overlay.rs`). So they find what an
//! opening would find, and the directory stays as it is (`examine.rs`). `verify.rs` then
//! reads every record, and every message that somebody waits for; `read_only.rs` hands them
//! out; `repair.rs` writes over what is damaged and opens the queue in earnest.

mod examine;
mod overlay;
mod read_only;
mod repair;
mod verification;
mod verify;

pub use read_only::{ReadOnlyQueue, StoredMessage};
pub use repair::{Fix, Repair};
pub use verification::{GroupState, Space, Verification};

use std::path::Path;
use std::sync::Arc;

use super::error::OpenError;
use super::queue::Queue;
use super::storage::{Disk, RealDisk};

impl Queue {
    /// Looks through a queue that nobody has open, and says what is there and what is
    /// damaged. Changes nothing, not even the text of the lock.
    ///
    /// Reads every byte of the log, and every message that is not done once more.
    ///
    /// ```
    /// use tenfold::queue::Queue;
    ///
    /// # let path = std::env::temp_dir().join(format!("tenfold-verify-{}", std::process::id()));
    /// let queue = Queue::open(&path)?;
    /// queue.publish("charge card 17")?;
    /// queue.close()?;
    /// drop(queue);
    ///
    /// let found = Queue::verify(&path)?;
    /// assert!(found.is_clean());
    /// assert_eq!((found.messages, found.groups[0].pending), (1, 1));
    /// println!("{found}");
    /// # std::fs::remove_dir_all(path).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`OpenError`]: `Locked` if it is open, `Newer` if this version cannot read it.
    pub fn verify(directory: impl AsRef<Path>) -> Result<Verification, OpenError> {
        Self::verify_on(RealDisk::existing(directory)?)
    }

    /// The same on another disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn verify_on<D: Disk>(disk: D) -> Result<Verification, OpenError> {
        verify::verify(Arc::new(disk), false)
    }

    /// Mends a queue that nobody has open, as far as it can be mended, and says what it
    /// did. Once is enough: the second time there is nothing to do.
    ///
    /// Nothing is deleted. What is damaged is copied to a file (`*.quarantine`) or gets
    /// another name (`*.damaged`) before anything is written in its place. Messages that
    /// nobody can read any more are given up in all groups, and said; all others are
    /// delivered as before.
    ///
    /// ```
    /// use tenfold::queue::{Fix, Queue};
    ///
    /// # let path = std::env::temp_dir().join(format!("tenfold-repair-{}", std::process::id()));
    /// let queue = Queue::open(&path)?;
    /// queue.publish_batch(&["charge card 17".into(), "b".into()])?;
    /// queue.close()?;
    /// drop(queue);
    /// # let segment = path.join("000000000001.segment");
    /// let mut bytes = std::fs::read(&segment)?;
    /// let at = bytes.windows(7).position(|bytes| bytes == b"card 17").unwrap();
    /// bytes[at] = b'?';
    /// std::fs::write(&segment, bytes)?;
    ///
    /// let repair = Queue::repair(&path)?;
    /// assert!(repair.fixes.contains(&Fix::GaveUp { messages: 1..2 }));
    /// assert!(Queue::verify(&path)?.is_clean());
    /// assert!(Queue::repair(&path)?.fixes.is_empty());
    /// assert_eq!(&Queue::open(&path)?.consumer().recv()?[..], b"b");
    /// # std::fs::remove_dir_all(path).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`OpenError`]. What was done until then is kept, and done again does no harm.
    pub fn repair(directory: impl AsRef<Path>) -> Result<Repair, OpenError> {
        Self::repair_on(RealDisk::existing(directory)?)
    }

    /// The same on another disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn repair_on<D: Disk>(disk: D) -> Result<Repair, OpenError> {
        repair::repair(Arc::new(disk))
    }

    /// Opens a queue that nobody has open to read what is in it: nothing is lent, and no
    /// byte of the directory changes. Works where nothing may be written, and on queues of
    /// newer versions that this one may read.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_read_only(directory: impl AsRef<Path>) -> Result<ReadOnlyQueue, OpenError> {
        Self::open_read_only_on(RealDisk::existing(directory)?)
    }

    /// The same on another disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_read_only_on<D: Disk>(disk: D) -> Result<ReadOnlyQueue<D>, OpenError> {
        Ok(ReadOnlyQueue::new(examine::examine(Arc::new(disk), false)?))
    }
}
