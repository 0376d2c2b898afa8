//! What lies under a queue: one directory of files.
//!
//! [`Disk`] and [`DiskFile`] are all that the queue asks of an operating system.
//! [`RealDisk`] is a directory of the file system. `SimDisk` (feature `test-util`)
//! is a disk in memory that forgets what was not synced, tears, fills up and fails.

mod real;
#[cfg(any(test, feature = "test-util"))]
mod sim;

pub use real::RealDisk;
#[cfg(any(test, feature = "test-util"))]
pub use sim::{Fault, SimDisk, SimFile, SimLock};

use std::io;
use std::sync::Arc;

/// One directory of files.
///
/// A name is one component of a path. What an operation changes lasts once
/// [`sync_dir`](Self::sync_dir) (names) or [`DiskFile::sync`] (contents) returned
/// `Ok`, and is undecided until then.
///
/// ```
/// use tenfold::queue::storage::{Disk, DiskFile, RealDisk};
///
/// let path = std::env::temp_dir().join(format!("tenfold-disk-{}", std::process::id()));
/// let disk = RealDisk::new(&path)?;
/// let file = disk.create("a")?;
/// file.write_all_at(b"bytes", 0)?;
/// file.sync()?;
/// disk.rename("a", "b")?;
/// disk.sync_dir()?;
/// assert_eq!(disk.list()?, ["b"]);
/// # std::fs::remove_dir_all(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// Held as long as nobody else shall open the directory.
    type Lock: Send + Sync + 'static;

    /// Creates an empty file to read and write.
    ///
    /// # Errors
    /// `AlreadyExists`, and those of the system.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file to read and write.
    ///
    /// # Errors
    /// `NotFound`, and those of the system.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file to read only, which may be allowed where writing is not.
    ///
    /// # Errors
    /// `NotFound`, and those of the system.
    fn open_to_read(&self, name: &str) -> io::Result<Self::File> {
        self.open(name)
    }

    /// Gives a file another name, in the place of the file that had it.
    ///
    /// # Errors
    /// Those of the system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of the system.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, in order.
    ///
    /// # Errors
    /// Those of the system.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes names last: what was created, renamed and removed.
    ///
    /// # Errors
    /// Those of the system.
    fn sync_dir(&self) -> io::Result<()>;

    /// Locks the directory until the lock is dropped or the process dies.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process, or another queue of this one, has it.
    fn lock(&self, name: &str) -> Result<Self::Lock, LockError>;

    /// Keeps others from locking the directory as [`lock`](Self::lock) does, without
    /// changing anything in it. Several may do so at once, if the disk can have that.
    ///
    /// # Errors
    /// [`LockError::Held`] if somebody has it locked.
    fn lock_to_read(&self, name: &str) -> Result<Self::Lock, LockError> {
        self.lock(name)
    }
}

/// A disk that several have.
impl<D: Disk> Disk for Arc<D> {
    type File = D::File;
    type Lock = D::Lock;

    fn create(&self, name: &str) -> io::Result<D::File> {
        (**self).create(name)
    }

    fn open(&self, name: &str) -> io::Result<D::File> {
        (**self).open(name)
    }

    fn open_to_read(&self, name: &str) -> io::Result<D::File> {
        (**self).open_to_read(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (**self).rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        (**self).remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        (**self).list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        (**self).sync_dir()
    }

    fn lock(&self, name: &str) -> Result<D::Lock, LockError> {
        (**self).lock(name)
    }

    fn lock_to_read(&self, name: &str) -> Result<D::Lock, LockError> {
        (**self).lock_to_read(name)
    }
}

/// An open file. Several threads read while one writes.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads at this offset; fewer bytes than asked for, as [`io::Read`] does.
    ///
    /// # Errors
    /// Those of the system.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at this offset; fewer bytes than given, as [`io::Write`] does.
    ///
    /// # Errors
    /// Those of the system; how much was written is then unknown.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes the contents last (`fdatasync`).
    ///
    /// # Errors
    /// Those of the system. What was written since the last sync may then be lost,
    /// whatever a later one says.
    fn sync(&self) -> io::Result<()>;

    /// How many bytes the file has.
    ///
    /// # Errors
    /// Those of the system.
    fn size(&self) -> io::Result<u64>;

    /// Reads until the buffer is full or the file ends; how much there was.
    ///
    /// # Errors
    /// Those of [`read_at`](Self::read_at).
    fn read_full_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match self.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Writes everything.
    ///
    /// # Errors
    /// Those of [`write_at`](Self::write_at), and `WriteZero`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self.write_at(&bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A directory that could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody has it open.
    #[error("the directory is locked by process {}", Pid(*.pid))]
    Held {
        /// Who wrote its number into the lock, if anybody did.
        pid: Option<u32>,
    },
    /// It could not be asked for.
    #[error("the directory could not be locked")]
    Io(#[source] io::Error),
}

/// A process, for a message.
struct Pid(Option<u32>);

impl std::fmt::Display for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => pid.fmt(f),
            None => f.write_str("(unknown)"),
        }
    }
}
