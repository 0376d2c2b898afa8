use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{Disk, DiskFile, LockError};

/// A directory of the file system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    path: PathBuf,
}

impl RealDisk {
    /// The directory at this path, which is created if there is none, and lasts.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        if !path.is_dir() {
            fs::create_dir_all(&path)?;
            // Whichever of them are new: the names of all lie in their parents.
            for parent in path.ancestors().skip(1) {
                let parent = if parent.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    parent
                };
                // A directory that may not be read was not made just now.
                if sync_names(parent).is_err() {
                    break;
                }
            }
        }
        Ok(Self { path })
    }

    /// The directory at this path, which is there.
    ///
    /// # Errors
    /// `NotFound` if it is not, and those of the file system.
    pub fn existing(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        fs::read_dir(&path)?;
        Ok(Self { path })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Disk for RealDisk {
    type File = File;
    type Lock = File;

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        options.open(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options.open(self.path.join(name))
    }

    fn open_to_read(&self, name: &str) -> io::Result<File> {
        File::open(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is no text is none of ours.
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_names(&self.path)
    }

    fn lock(&self, name: &str) -> Result<File, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(self.path.join(name)).map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {
                // The number is for a message: nothing depends on it.
                let _ = file.set_len(0);
                let _ = writeln!(file, "{}", std::process::id());
                Ok(file)
            }
            Err(error) => Err(refused(file, error)),
        }
    }

    fn lock_to_read(&self, name: &str) -> Result<File, LockError> {
        let file = match self.open_to_read(name) {
            // Nobody has ever had it open: the directory itself has to do.
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::open(&self.path),
            opened => opened,
        };
        let file = file.map_err(LockError::Io)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(file),
            Err(error) => Err(refused(file, error)),
        }
    }
}

/// Finds out who has the lock.
fn refused(file: File, error: TryLockError) -> LockError {
    match error {
        TryLockError::WouldBlock => {
            let mut text = String::new();
            let _ = file.take(32).read_to_string(&mut text);
            let pid = text.trim().parse().ok();
            LockError::Held { pid }
        }
        TryLockError::Error(error) => LockError::Io(error),
    }
}

#[cfg(unix)]
fn sync_names(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Elsewhere a directory cannot be opened, and names last as they are made.
#[cfg(not(unix))]
fn sync_names(_: &Path) -> io::Result<()> {
    Ok(())
}

impl DiskFile for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(self, bytes, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(self, bytes, offset);
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::write_at(self, bytes, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_write(self, bytes, offset);
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
