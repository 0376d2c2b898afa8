use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, LockError};
use crate::rng::Rng;

/// A disk in memory that loses what a real one may lose, by a seed.
///
/// It keeps two contents of every file, the page cache's and the platter's, and
/// two lists of names. A *kill* ends the process: its handles are dead, and the
/// page cache stays. A *power cut* leaves what is on the platter: of what was not
/// synced any sectors (of 512 bytes) in any order, any subset of creations,
/// renames and removals.
///
/// ```
/// use tenfold::queue::storage::{Disk, DiskFile, SimDisk};
///
/// let disk = SimDisk::new(1);
/// let file = disk.create("a")?;
/// file.write_all_at(b"kept", 0)?;
/// file.sync()?;
/// disk.sync_dir()?;
/// file.write_all_at(b"lost", 0)?;
///
/// disk.kill();
/// assert!(file.size().is_err()); // that process is dead
/// let mut bytes = [0; 4];
/// disk.open("a")?.read_full_at(&mut bytes, 0)?;
/// assert_eq!(&bytes, b"lost"); // the kernel still has it
///
/// disk.power_cut();
/// disk.open("a")?.read_full_at(&mut bytes, 0)?;
/// assert!(&bytes == b"kept" || &bytes == b"lost"); // by the seed
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Faults are chosen before: [`fail`](Self::fail) one operation by its number,
/// [`crash_at`](Self::crash_at) one, [`fail_syncs`](Self::fail_syncs),
/// [`set_capacity`](Self::set_capacity). After a sync that failed, what was not yet
/// written counts as clean: the next one says `Ok` over lost data, as Linux does.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// What an operation does instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It fails with an input/output error, after doing a part.
    Io,
    /// It fails for want of room.
    Full,
    /// It writes a part and says so. What writes nothing is done whole.
    Short,
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: u64,
    process: u64,
}

/// The lock of a [`SimDisk`]; let go when it is dropped, or by a crash.
#[derive(Debug)]
pub struct SimLock {
    disk: SimDisk,
    process: u64,
}

const SECTOR: usize = 512;

#[derive(Debug)]
struct State {
    rng: Rng,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Names as processes see them.
    names: BTreeMap<String, u64>,
    /// Names as they last.
    kept_names: BTreeMap<String, u64>,
    /// What lies between the two, in order.
    changes: Vec<Change>,
    /// Grows with every crash; handles of an earlier one are dead.
    process: u64,
    locked: bool,
    operations: u64,
    syncs: u64,
    faults: BTreeMap<u64, Fault>,
    /// From this operation on all fail.
    failing: Option<(u64, Fault)>,
    crash_at: Option<u64>,
    /// The process has crashed, and nobody has yet said how.
    crashed: bool,
    failing_syncs: u32,
    capacity: u64,
    short_writes: bool,
}

#[derive(Debug, Default)]
struct Inode {
    cache: Vec<u8>,
    platter: Vec<u8>,
    /// Sectors that differ and that a sync would write.
    dirty: BTreeSet<usize>,
    /// Sectors that differ and that no sync will write: a failed one forgot them.
    forgotten: BTreeSet<usize>,
}

#[derive(Debug)]
enum Change {
    Name(String, u64),
    Rename(String, String, u64),
    Remove(String),
}

impl SimDisk {
    /// An empty disk without faults; the seed decides what crashes leave.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::with_seed(seed),
            inodes: BTreeMap::new(),
            next_inode: 1,
            names: BTreeMap::new(),
            kept_names: BTreeMap::new(),
            changes: Vec::new(),
            process: 0,
            locked: false,
            operations: 0,
            syncs: 0,
            faults: BTreeMap::new(),
            failing: None,
            crash_at: None,
            crashed: false,
            failing_syncs: 0,
            capacity: u64::MAX,
            short_writes: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Ends the process that has the disk open, as `kill -9` does: its handles and
    /// its lock are gone, and all it wrote is there.
    pub fn kill(&self) {
        let mut state = self.lock_state();
        state.end_process();
        state.evict_forgotten();
    }

    /// Cuts the power: what was not synced survives in part, by the seed.
    pub fn power_cut(&self) {
        let mut state = self.lock_state();
        state.end_process();
        state.keep_some_names();
        let State { rng, inodes, .. } = &mut *state;
        for inode in inodes.values_mut() {
            inode.lose_some(rng);
        }
        let State { inodes, names, .. } = &mut *state;
        let reachable: BTreeSet<u64> = names.values().copied().collect();
        inodes.retain(|number, _| reachable.contains(number));
    }

    /// Has this operation, counted from the first ever, do something else.
    /// Reading, asking for sizes and listing are not counted.
    pub fn fail(&self, operation: u64, fault: Fault) {
        self.lock_state().faults.insert(operation, fault);
    }

    /// The same for this operation and all that follow, until the disk is
    /// [mended](Self::mend).
    pub fn fail_from(&self, operation: u64, fault: Fault) {
        self.lock_state().failing = Some((operation, fault));
    }

    /// Takes back all faults that have not come yet, and what fails for good.
    pub fn mend(&self) {
        let mut state = self.lock_state();
        state.faults.clear();
        (state.failing, state.failing_syncs) = (None, 0);
    }

    /// Has the process die in this operation: it is done in part, and all that
    /// follow fail until [`kill`](Self::kill) or [`power_cut`](Self::power_cut)
    /// says how it died.
    pub fn crash_at(&self, operation: u64) {
        self.lock_state().crash_at = Some(operation);
    }

    /// Whether [`crash_at`](Self::crash_at) has come.
    pub fn has_crashed(&self) -> bool {
        self.lock_state().crashed
    }

    /// Has so many of the next syncs of files fail.
    pub fn fail_syncs(&self, count: u32) {
        self.lock_state().failing_syncs = count;
    }

    /// Bounds the bytes of all files together.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock_state().capacity = bytes;
    }

    /// Has writes stop half-way now and then.
    pub fn set_short_writes(&self, short: bool) {
        self.lock_state().short_writes = short;
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.lock_state().operations
    }

    /// How many syncs of files there were.
    pub fn syncs(&self) -> u64 {
        self.lock_state().syncs
    }

    /// The bytes of all files together.
    pub fn used(&self) -> u64 {
        self.lock_state().used()
    }

    /// What a file contains, if there is one.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock_state();
        let inode = state.names.get(name)?;
        Some(state.inodes.get(inode)?.cache.clone())
    }

    /// Puts a file there that lasts, in the place of another: for damage of your
    /// own making.
    pub fn set_contents(&self, name: &str, bytes: &[u8]) {
        let mut state = self.lock_state();
        let number = state.next_inode;
        state.next_inode += 1;
        let inode = Inode {
            cache: bytes.to_vec(),
            platter: bytes.to_vec(),
            ..Inode::default()
        };
        state.inodes.insert(number, inode);
        state.names.insert(name.to_owned(), number);
        state.kept_names.insert(name.to_owned(), number);
    }

    /// The same files in another disk, as they are seen now, all of them lasting.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        let files: Vec<_> = {
            let state = self.lock_state();
            let files = state.names.iter();
            files
                .map(|(name, inode)| (name.clone(), state.inodes[inode].cache.clone()))
                .collect()
        };
        for (name, bytes) in files {
            copy.set_contents(&name, &bytes);
        }
        copy
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_process(&mut self) {
        self.process += 1;
        self.locked = false;
        self.crashed = false;
        self.crash_at = None;
    }

    /// The kernel may drop pages that it takes for clean.
    fn evict_forgotten(&mut self) {
        let Self { rng, inodes, .. } = self;
        for inode in inodes.values_mut() {
            for sector in std::mem::take(&mut inode.forgotten) {
                if rng.below(2) == 0 {
                    inode.revert(sector);
                } else {
                    inode.forgotten.insert(sector);
                }
            }
        }
    }

    fn keep_some_names(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            if self.rng.below(2) == 0 {
                change.apply(&mut self.kept_names);
            }
        }
        self.names = self.kept_names.clone();
    }

    fn used(&self) -> u64 {
        let used = |inode: &u64| self.inodes[inode].cache.len() as u64;
        self.names.values().map(used).sum()
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    /// Counts an operation and finds out what shall become of it.
    fn begin(&mut self, process: u64) -> io::Result<Turn> {
        if process != self.process || self.crashed {
            return Err(io::Error::other("the process that opened this is dead"));
        }
        self.operations += 1;
        if self.crash_at == Some(self.operations) {
            self.crashed = true;
            return Ok(Turn::Die);
        }
        let failing = self.failing.filter(|(from, _)| *from <= self.operations);
        let fault = self.faults.remove(&self.operations);
        Ok(match fault.or(failing.map(|(_, fault)| fault)) {
            Some(fault) => Turn::Fail(fault),
            None => Turn::Go,
        })
    }

    /// For what is done whole or not at all.
    fn whole(
        &mut self,
        process: u64,
        act: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.begin(process)? {
            Turn::Go | Turn::Fail(Fault::Short) => act(self),
            Turn::Fail(fault) => Err(fault.error()),
            Turn::Die => {
                if self.rng.below(2) == 0 {
                    act(self)?;
                }
                Err(died())
            }
        }
    }

    fn write(&mut self, number: u64, bytes: &[u8], offset: usize) -> io::Result<usize> {
        let used = self.used();
        let Self { inodes, rng, .. } = self;
        let inode = inodes.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        let end = offset + bytes.len();
        let grows = end.saturating_sub(inode.cache.len());
        let room = self.capacity.saturating_sub(used);
        let written = if grows as u64 > room {
            // What fits is written, if any does.
            let fits = bytes.len() - (grows as u64 - room).min(bytes.len() as u64) as usize;
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            fits
        } else {
            bytes.len()
        };
        inode.write(&bytes[..written], offset);
        // The kernel writes back when it likes to.
        if rng.below(8) == 0 {
            inode.write_back_some(rng);
        }
        Ok(written)
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.cache.len() < end {
            self.cache.resize(end, 0);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            self.dirty.insert(sector);
            self.forgotten.remove(&sector);
        }
    }

    fn write_back_some(&mut self, rng: &mut Rng) {
        for sector in self.dirty.clone() {
            if rng.below(2) == 0 {
                self.write_back(sector);
            }
        }
    }

    fn write_back(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.cache.len());
        if self.platter.len() < end {
            self.platter.resize(end, 0);
        }
        self.platter[start..end].copy_from_slice(&self.cache[start..end]);
        self.dirty.remove(&sector);
    }

    fn revert(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.cache.len());
        for at in start..end {
            self.cache[at] = self.platter.get(at).copied().unwrap_or(0);
        }
    }

    fn lose_some(&mut self, rng: &mut Rng) {
        // Now and then all or nothing, so that whole groups are lost or kept.
        let keep = match rng.below(4) {
            0 => 0,
            1 => 100,
            _ => rng.below(101),
        };
        for sector in std::mem::take(&mut self.dirty) {
            if rng.below(100) < keep {
                self.write_back(sector);
            }
        }
        self.forgotten.clear();
        self.cache.clone_from(&self.platter);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Name(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

enum Turn {
    Go,
    Fail(Fault),
    Die,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Full => io::ErrorKind::StorageFull.into(),
            Self::Io | Self::Short => io::Error::other("injected input/output error"),
        }
    }
}

fn died() -> io::Error {
    io::Error::other("the process died in this operation")
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.lock_state();
        let process = state.process;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.next_inode;
        state.next_inode += 1;
        state.whole(process, |state| {
            state.inodes.insert(inode, Inode::default());
            state.change(Change::Name(name.to_owned(), inode));
            Ok(())
        })?;
        Ok(SimFile {
            disk: self.clone(),
            inode,
            process,
        })
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.lock_state();
        let process = state.process;
        state.whole(process, |_| Ok(()))?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimFile {
            disk: self.clone(),
            inode,
            process,
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        let process = state.process;
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.whole(process, |state| {
            state.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        let process = state.process;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.whole(process, |state| {
            state.change(Change::Remove(name.to_owned()));
            Ok(())
        })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.lock_state();
        if state.crashed {
            return Err(died());
        }
        Ok(state.names.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock_state();
        let process = state.process;
        state.whole(process, |state| {
            state.changes.clear();
            state.kept_names = state.names.clone();
            Ok(())
        })
    }

    fn lock(&self, _: &str) -> Result<SimLock, LockError> {
        let mut state = self.lock_state();
        if state.locked {
            let pid = Some(std::process::id());
            return Err(LockError::Held { pid });
        }
        state.locked = true;
        Ok(SimLock {
            disk: self.clone(),
            process: state.process,
        })
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.lock_state();
        if state.process == self.process {
            state.locked = false;
        }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock_state();
        if state.process != self.process || state.crashed {
            return Err(died());
        }
        let inode = state.inodes.get(&self.inode).ok_or_else(died)?;
        let start = usize::try_from(offset).map_or(usize::MAX, |o| o.min(inode.cache.len()));
        let start = start.min(inode.cache.len());
        let end = (start + bytes.len()).min(inode.cache.len());
        bytes[..end - start].copy_from_slice(&inode.cache[start..end]);
        Ok(end - start)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock_state();
        let mut turn = state.begin(self.process)?;
        if state.short_writes && matches!(turn, Turn::Go) && state.rng.below(4) == 0 {
            turn = Turn::Fail(Fault::Short);
        }
        // A part is at least a byte, and not all where there is more than one.
        let part = 1 + state.rng.below(bytes.len().saturating_sub(1) as u64) as usize;
        let part = &bytes[..part.min(bytes.len())];
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        match turn {
            Turn::Go => state.write(self.inode, bytes, offset),
            Turn::Fail(Fault::Short) => state.write(self.inode, part, offset),
            Turn::Fail(fault) => {
                let _ = state.write(self.inode, part, offset);
                Err(fault.error())
            }
            Turn::Die => {
                let _ = state.write(self.inode, part, offset);
                Err(died())
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock_state();
        let mut turn = state.begin(self.process)?;
        state.syncs += 1;
        if state.failing_syncs > 0 && matches!(turn, Turn::Go) {
            state.failing_syncs -= 1;
            turn = Turn::Fail(Fault::Io);
        }
        let State { inodes, rng, .. } = &mut *state;
        let inode = inodes.get_mut(&self.inode).ok_or_else(died)?;
        match turn {
            Turn::Go | Turn::Fail(Fault::Short) => {
                for sector in std::mem::take(&mut inode.dirty) {
                    inode.write_back(sector);
                }
                Ok(())
            }
            Turn::Fail(fault) => {
                inode.write_back_some(rng);
                let forgotten = std::mem::take(&mut inode.dirty);
                inode.forgotten.extend(forgotten);
                Err(fault.error())
            }
            Turn::Die => {
                inode.write_back_some(rng);
                Err(died())
            }
        }
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.disk.lock_state();
        if state.process != self.process || state.crashed {
            return Err(died());
        }
        let inode = state.inodes.get(&self.inode).ok_or_else(died)?;
        Ok(inode.cache.len() as u64)
    }
}
