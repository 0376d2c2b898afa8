use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::queue::storage::{Disk, DiskFile, LockError};
use crate::sync::Mutex;

/// A directory as it would be, had something been done to it: files of another disk,
/// which are only read, and in memory whatever was written, renamed and removed since.
#[derive(Debug)]
pub(super) struct Overlay<D> {
    below: Arc<D>,
    /// Whether the caller has the directory locked.
    locked: bool,
    /// All files by their names, from the lock on.
    names: Mutex<BTreeMap<String, Place>>,
}

#[derive(Debug, Clone)]
enum Place {
    /// On the disk below, under its name there.
    Below(String),
    Memory(Memory),
}

type Memory = Arc<Mutex<Vec<u8>>>;

#[derive(Debug)]
pub(super) enum OverlayFile<F> {
    Below(F),
    Memory(Memory),
}

impl<D: Disk> Overlay<D> {
    pub(super) fn new(below: Arc<D>, locked: bool) -> Self {
        Self {
            below,
            locked,
            names: Mutex::default(),
        }
    }

    pub(super) fn below(&self) -> &D {
        &self.below
    }
}

impl<D: Disk> Disk for Overlay<D> {
    type File = OverlayFile<D::File>;
    type Lock = Option<D::Lock>;

    fn create(&self, name: &str) -> io::Result<Self::File> {
        let mut names = self.names.lock();
        if names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let memory = Memory::default();
        names.insert(name.to_owned(), Place::Memory(Arc::clone(&memory)));
        Ok(OverlayFile::Memory(memory))
    }

    fn open(&self, name: &str) -> io::Result<Self::File> {
        let place = self.names.lock().get(name).cloned();
        Ok(match place.ok_or(io::ErrorKind::NotFound)? {
            Place::Below(name) => OverlayFile::Below(self.below.open_to_read(&name)?),
            Place::Memory(memory) => OverlayFile::Memory(memory),
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.names.lock();
        let place = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_owned(), place);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.names.lock().remove(name);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names.lock().keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, name: &str) -> Result<Self::Lock, LockError> {
        let lock = if self.locked {
            None
        } else {
            Some(self.below.lock_to_read(name)?)
        };
        let names = self.below.list().map_err(LockError::Io)?;
        let below = |name: String| (name.clone(), Place::Below(name));
        *self.names.lock() = names.into_iter().map(below).collect();
        Ok(lock)
    }
}

impl<F: DiskFile> DiskFile for OverlayFile<F> {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Below(file) => file.read_at(bytes, offset),
            Self::Memory(memory) => {
                let memory = memory.lock();
                let start = usize::try_from(offset).map_err(io::Error::other)?;
                let there = memory.get(start..).unwrap_or(&[]);
                let read = there.len().min(bytes.len());
                bytes[..read].copy_from_slice(&there[..read]);
                Ok(read)
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let Self::Memory(memory) = self else {
            return Err(io::ErrorKind::PermissionDenied.into());
        };
        let mut memory = memory.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        if memory.len() < end {
            memory.resize(end, 0);
        }
        memory[start..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        match self {
            Self::Below(file) => file.size(),
            Self::Memory(memory) => Ok(memory.lock().len() as u64),
        }
    }
}
