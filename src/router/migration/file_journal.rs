use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::journal::Journal;
use crate::hash::xxh3_64;

/// A journal in a file.
///
/// Each record has a number, a length and two checksums, and is on the disk when
/// [`append`](Journal::append) returns. A record at the end that is not whole, as a crash
/// leaves it, is cut off when the file is opened; damage with whole records behind it is an
/// error, since those say more than what would be left. [`replace`](Journal::replace)
/// writes another file, syncs it, and gives it this one's name.
///
/// Nobody else may open it meanwhile; a file beside it, `NAME.lock`, sees to that.
///
/// ```
/// use tenfold::router::migration::{FileJournal, Journal};
///
/// # let directory = std::env::temp_dir().join(format!("tenfold-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// let path = directory.join("migration");
/// let mut journal = FileJournal::open(&path)?;
/// journal.append(b"a step")?;
/// drop(journal);
/// assert_eq!(FileJournal::open(&path)?.replay()?, [b"a step".to_vec()]);
/// # std::fs::remove_dir_all(directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    file: File,
    /// Held for as long as the journal is open.
    _lock: File,
    /// Where the last whole record ends.
    len: u64,
    /// How many records there are.
    records: u64,
    /// Whether what is in the file is not known any more.
    failed: bool,
}

/// A journal's file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileJournalError {
    /// The file cannot be opened, read or written.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process, or another handle, has it open.
    #[error("{} is in use", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is not a journal.
    #[error("expected a journal of a migration, found something else in {}", path.display())]
    Magic {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a newer version of this crate.
    #[error("journal has format version {found}, this program reads up to {supported}")]
    FutureVersion {
        /// The version of the file.
        found: u16,
        /// The newest that can be read.
        supported: u16,
    },
    /// It is damaged, and not at its end.
    #[error(
        "journal is damaged at byte {at}, and whole records follow: it was not cut short by a crash"
    )]
    Damaged {
        /// Where.
        at: u64,
    },
    /// A write failed, and nobody knows what of it is on the disk.
    #[error("journal failed before: open it anew")]
    Failed,
}

impl FileJournal {
    /// Opens a journal, or makes an empty one.
    ///
    /// # Errors
    /// [`FileJournalError`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileJournalError> {
        let path = path.into();
        let lock = lock(&path)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(failed("open", &path))?;
        let mut journal = Self {
            path,
            file,
            _lock: lock,
            len: 0,
            records: 0,
            failed: false,
        };
        let bytes = journal.read()?;
        if HEADER.starts_with(&bytes) {
            // New, or its maker died over it.
            journal.write_at(0, &HEADER)?;
            journal.sync_directory()?;
            journal.len = HEADER.len() as u64;
            return Ok(journal);
        }
        let found = journal.parse(&bytes)?;
        journal.records = found.records.len() as u64;
        journal.len = found.end as u64;
        if journal.len < bytes.len() as u64 {
            journal.cut()?;
        }
        Ok(journal)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn parse<'a>(&self, bytes: &'a [u8]) -> Result<Parsed<'a>, FileJournalError> {
        let Some(rest) = bytes.strip_prefix(MAGIC.as_slice()) else {
            let path = self.path.clone();
            return Err(FileJournalError::Magic { path });
        };
        let found = rest.first_chunk().map_or(0, |raw| u16::from_le_bytes(*raw));
        if found > VERSION {
            let supported = VERSION;
            return Err(FileJournalError::FutureVersion { found, supported });
        }
        if !bytes.starts_with(&HEADER) {
            let path = self.path.clone();
            return Err(FileJournalError::Magic { path });
        }
        let (mut records, mut end) = (Vec::new(), HEADER.len());
        while let Some(record) = record_at(bytes, end, Some(records.len() as u64)) {
            end += FRAME + record.len();
            records.push(record);
        }
        // One that was being written is the last there is.
        let follows = (end + 1..bytes.len()).any(|at| record_at(bytes, at, None).is_some());
        if follows {
            return Err(FileJournalError::Damaged { at: end as u64 });
        }
        Ok(Parsed { records, end })
    }

    fn read(&mut self) -> Result<Vec<u8>, FileJournalError> {
        let mut bytes = Vec::new();
        let file = &mut self.file;
        let read = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.read_to_end(&mut bytes));
        read.map_err(failed("read", &self.path))?;
        Ok(bytes)
    }

    /// Writes and syncs. If that fails, the file is cut to what it was, or, if nobody can say
    /// what it is, given up.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> Result<(), FileJournalError> {
        let file = &mut self.file;
        let written = file
            .seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(bytes));
        if let Err(source) = written {
            self.failed = self.cut().is_err();
            return Err(failed("write", &self.path)(source));
        }
        // After a sync that failed, another one may succeed and mean nothing.
        self.file.sync_data().map_err(|source| {
            self.failed = true;
            failed("sync", &self.path)(source)
        })
    }

    fn cut(&mut self) -> Result<(), FileJournalError> {
        let cut = self.file.set_len(self.len);
        let cut = cut.and_then(|()| self.file.sync_data());
        cut.map_err(failed("cut", &self.path))
    }

    /// Makes a file's name as durable as the file.
    fn sync_directory(&self) -> Result<(), FileJournalError> {
        #[cfg(unix)]
        {
            let parent = self
                .path
                .parent()
                .filter(|path| !path.as_os_str().is_empty());
            let directory = parent.unwrap_or(Path::new("."));
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(failed("sync", directory))?;
        }
        Ok(())
    }
}

impl Journal for FileJournal {
    type Error = FileJournalError;

    fn append(&mut self, record: &[u8]) -> Result<(), FileJournalError> {
        if self.failed {
            return Err(FileJournalError::Failed);
        }
        let framed = frame(record, self.records);
        self.write_at(self.len, &framed)?;
        self.len += framed.len() as u64;
        self.records += 1;
        Ok(())
    }

    fn replay(&mut self) -> Result<Vec<Vec<u8>>, FileJournalError> {
        if self.failed {
            return Err(FileJournalError::Failed);
        }
        let bytes = self.read()?;
        let found = self.parse(&bytes)?;
        Ok(found.records.into_iter().map(<[u8]>::to_vec).collect())
    }

    fn replace(&mut self, records: &[Vec<u8>]) -> Result<(), FileJournalError> {
        if self.failed {
            return Err(FileJournalError::Failed);
        }
        let mut bytes = HEADER.to_vec();
        for (number, record) in records.iter().enumerate() {
            bytes.extend_from_slice(&frame(record, number as u64));
        }
        let mut other = self.path.clone().into_os_string();
        other.push(".new");
        let other = PathBuf::from(other);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        let mut file = options.open(&other).map_err(failed("create", &other))?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        written.map_err(failed("write", &other))?;
        std::fs::rename(&other, &self.path).map_err(failed("rename", &other))?;
        self.file = file;
        self.len = bytes.len() as u64;
        self.records = records.len() as u64;
        // Without its name the new file may be gone after a crash, and the old one back.
        self.sync_directory().inspect_err(|_| self.failed = true)
    }
}

struct Parsed<'a> {
    records: Vec<&'a [u8]>,
    end: usize,
}

/// A record's number and length, their checksum, the record and its own.
fn frame(record: &[u8], number: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME + record.len());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
    let head = xxh3_64(&bytes, HEAD);
    bytes.extend_from_slice(&head.to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(record, number).to_le_bytes());
    bytes.extend_from_slice(record);
    bytes
}

/// The whole record that begins here, if there is one; of this number, if that is known.
fn record_at(bytes: &[u8], at: usize, number: Option<u64>) -> Option<&[u8]> {
    let bytes = bytes.get(at..)?;
    let (head, rest) = bytes.split_first_chunk::<12>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    if xxh3_64(head, HEAD) != u64::from_le_bytes(*sum) {
        return None;
    }
    let (found, len) = head.split_first_chunk::<8>()?;
    let found = u64::from_le_bytes(*found);
    let len = u32::from_le_bytes(*len.first_chunk()?) as usize;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let record = rest.get(..len)?;
    let whole = xxh3_64(record, found) == u64::from_le_bytes(*sum);
    (whole && number.is_none_or(|number| number == found)).then_some(record)
}

fn lock(path: &Path) -> Result<File, FileJournalError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    let lock = options.open(&name).map_err(failed("open", &name))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(FileJournalError::InUse { path: path.into() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", &name)(source)),
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileJournalError {
    let path = path.to_path_buf();
    move |source| FileJournalError::Io { what, path, source }
}

const MAGIC: [u8; 8] = *b"10fold\x00J";
const VERSION: u16 = 1;
const HEADER: [u8; 10] = *b"10fold\x00J\x01\x00";
/// What a record has around it.
const FRAME: usize = 8 + 4 + 8 + 8;
/// The seed of the checksums of numbers and lengths.
const HEAD: u64 = 0x6865_6164;
