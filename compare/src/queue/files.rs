//! What lies in a directory: sectors that are not all zeros, which nobody wrote for messages.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

const SECTOR: usize = 512;
const PIECE: usize = 1 << 20;

/// A file: its name in the directory, how long it is, and its sectors with where they lie.
pub(super) struct Content {
    name: PathBuf,
    len: u64,
    sectors: Vec<(u64, Vec<u8>)>,
}

impl Content {
    /// Bytes of its sectors.
    pub(super) fn used(&self) -> u64 {
        let lens = self.sectors.iter().map(|(_, bytes)| bytes.len() as u64);
        lens.sum()
    }

    /// Flips one bit of its sectors.
    pub(super) fn flip(&mut self, bit: u64) {
        let (sector, bit) = (bit / (8 * SECTOR as u64), bit % (8 * SECTOR as u64));
        if let Some((_, bytes)) = self.sectors.get_mut(sector as usize)
            && let Some(byte) = bytes.get_mut((bit / 8) as usize)
        {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Writes it to another directory.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let path = directory.join(&self.name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::create(path)?;
        file.set_len(self.len)?;
        let mut sectors = self.sectors.iter();
        sectors.try_for_each(|(offset, bytes)| file.write_all_at(bytes, *offset))
    }
}

/// All files in a directory and those below it.
pub(super) fn contents(directory: &Path) -> io::Result<Vec<Content>> {
    let mut all = Vec::new();
    let zeros = vec![0; PIECE];
    let mut piece = Vec::with_capacity(PIECE);
    for path in files(directory)? {
        let mut file = File::open(&path)?;
        let mut sectors = Vec::new();
        let mut len = 0;
        loop {
            piece.clear();
            let read = file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            if read == 0 {
                break;
            }
            // Some files are a gigabyte of nothing.
            if piece != zeros[..read] {
                for (index, sector) in piece.chunks(SECTOR).enumerate() {
                    if *sector != zeros[..sector.len()] {
                        let offset = len + (index * SECTOR) as u64;
                        sectors.push((offset, sector.to_vec()));
                    }
                }
            }
            len += read as u64;
        }
        let name = path.strip_prefix(directory).unwrap_or(&path).to_owned();
        all.push(Content { name, len, sectors });
    }
    Ok(all)
}

/// Bytes that the file system has set aside for a directory.
pub(super) fn allocated(directory: &Path) -> io::Result<u64> {
    let blocks = |path: PathBuf| fs::metadata(path).map(|metadata| metadata.blocks() * 512);
    files(directory)?.into_iter().map(blocks).sum()
}

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            all.extend(files(&entry.path())?);
        } else if kind.is_file() {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all)
}
