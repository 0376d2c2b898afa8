use std::fmt;
use std::io;

use crc32c::{crc32c, crc32c_append};

use super::ProjectionStore;
use crate::queue::storage::{Disk, DiskFile, RealDisk};

/// A store that is a file: written anew beside the old one, synced, and renamed into its
/// place. For states of up to some megabytes.
///
/// Several stores may share a directory under different names; it is not the queue's.
///
/// ```
/// use tenfold::queue::projection::{FileStore, ProjectionStore};
/// use tenfold::queue::storage::RealDisk;
///
/// # let path = std::env::temp_dir().join(format!("tenfold-file-store-{}", std::process::id()));
/// let mut store = FileStore::new(
///     RealDisk::new(&path)?,
///     "total",
///     |total: &u64| total.to_le_bytes().to_vec(),
///     |bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)),
/// );
/// assert_eq!(store.load()?, None);
/// store.save(3, &mut 42)?;
/// assert_eq!(store.load()?, Some((3, 42)));
/// # std::fs::remove_dir_all(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # The bytes
///
/// ```text
///   0   8  magic "TFQ\0PRJ1"
///   8   8  position, little-endian as all numbers
///  16   8  length of the state
///  24   4  CRC-32C of bytes 8..24 and the state
///  28   4  (zero)
///  32      the state, as the closure encodes it
/// ```
pub struct FileStore<S, D: Disk = RealDisk> {
    disk: D,
    name: String,
    encode: Encode<S>,
    decode: Decode<S>,
}

type Encode<S> = Box<dyn Fn(&S) -> Vec<u8> + Send>;
type Decode<S> = Box<dyn Fn(&[u8]) -> Option<S> + Send>;

/// A file that could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileStoreError {
    /// The disk failed.
    #[error("the file {name} could not be read or written")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is none of these, or its checksum is wrong. Remove it to have the state
    /// made anew.
    #[error("the file {name} is damaged")]
    Damaged {
        /// The file.
        name: String,
    },
    /// The closure does not understand what another one encoded. Remove the file to have
    /// the state made anew.
    #[error("the state in the file {name} could not be decoded")]
    Undecodable {
        /// The file.
        name: String,
    },
}

const MAGIC: &[u8; 8] = b"TFQ\0PRJ1";
const HEADER: usize = 32;

impl<S, D: Disk> FileStore<S, D> {
    /// A store in the file of this name, for states that these two make bytes of and back.
    pub fn new(
        disk: D,
        name: impl Into<String>,
        encode: impl Fn(&S) -> Vec<u8> + Send + 'static,
        decode: impl Fn(&[u8]) -> Option<S> + Send + 'static,
    ) -> Self {
        Self {
            disk,
            name: name.into(),
            encode: Box::new(encode),
            decode: Box::new(decode),
        }
    }

    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let file = match self.disk.open(&self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // What a process before this one renamed may not be there after a power cut.
        self.disk.sync_dir()?;
        let size = usize::try_from(file.size()?);
        let size = size.map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut bytes = vec![0; size];
        let read = file.read_full_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let new = format!("{}.new", self.name);
        let file = match self.disk.create(&new) {
            // Of somebody who died over it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(&new)?;
                self.disk.create(&new)?
            }
            created => created?,
        };
        file.write_all_at(bytes, 0)?;
        file.sync()?;
        self.disk.rename(&new, &self.name)?;
        self.disk.sync_dir()
    }

    fn failed(&self, source: io::Error) -> FileStoreError {
        let name = self.name.clone();
        FileStoreError::Io { name, source }
    }
}

impl<S: 'static, D: Disk> ProjectionStore<S> for FileStore<S, D> {
    type Error = FileStoreError;

    fn load(&mut self) -> Result<Option<(u64, S)>, FileStoreError> {
        let Some(bytes) = self.read().map_err(|error| self.failed(error))? else {
            return Ok(None);
        };
        let name = || self.name.clone();
        let (position, state) =
            parse(&bytes).ok_or_else(|| FileStoreError::Damaged { name: name() })?;
        let state =
            (self.decode)(state).ok_or_else(|| FileStoreError::Undecodable { name: name() })?;
        Ok(Some((position, state)))
    }

    fn save(&mut self, position: u64, state: &mut S) -> Result<(), FileStoreError> {
        let state = (self.encode)(state);
        let mut bytes = Vec::with_capacity(HEADER + state.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&position.to_le_bytes());
        bytes.extend_from_slice(&(state.len() as u64).to_le_bytes());
        let crc = crc32c_append(crc32c(&bytes[8..24]), &state);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend_from_slice(&state);
        self.write(&bytes).map_err(|error| self.failed(error))
    }
}

/// Position and state, if the bytes are whole.
fn parse(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (header, state) = bytes.split_at_checked(HEADER)?;
    let word = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let (position, len, crc) = (word(8)?, word(16)?, word(24)?);
    let is_whole = header.starts_with(MAGIC)
        && len == state.len() as u64
        && crc == u64::from(crc32c_append(crc32c(&header[8..24]), state));
    is_whole.then_some((position, state))
}

impl<S, D: Disk> fmt::Debug for FileStore<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
