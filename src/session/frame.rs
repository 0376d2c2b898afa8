use std::fmt;

use super::Version;
use super::entry::Entry;
use super::id::SessionKey;
use super::restore;
use super::snapshot::{self, MAX_FRAME, SESSION};
use super::user_id::UserId;

/// One session on its way from a store to another: what
/// [`MemoryStore::export`](super::MemoryStore::export) gives and [`MemoryStore::import`](super::MemoryStore::import) takes.
///
/// It says who the user is and has their data, and no token: who gets hold of it has nobody's cookie, but
/// whoever can give it to a store can log in. Send it over connections that are
/// authenticated. A copy of it takes two counted pointers.
#[derive(Clone)]
pub struct Frame {
    /// Without its user, who belongs to a store.
    pub(super) entry: Entry,
    pub(super) user: Option<UserId>,
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// They end too soon.
    #[error("a frame ends after {found} bytes, expected {expected}")]
    Truncated {
        /// How many there are.
        found: usize,
        /// How many there should be, at least.
        expected: usize,
    },
    /// They changed since they were written.
    #[error("a frame does not have the checksum it was written with")]
    Checksum,
    /// The checksum is right, and what is said makes no sense.
    #[error("a frame is malformed: expected {expected}")]
    Malformed {
        /// What would be right.
        expected: &'static str,
    },
}

impl Frame {
    pub(super) fn of(entry: &Entry) -> Self {
        let mut entry = entry.clone();
        let user = entry.user.take();
        Self { entry, user }
    }

    /// Which session it is.
    pub fn key(&self) -> SessionKey {
        SessionKey(self.entry.key)
    }

    /// Whose session it is, if they have logged in.
    pub fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    /// The version it has there.
    pub fn version(&self) -> Version {
        Version(self.entry.version)
    }

    /// When it was last used, as far as its idle deadline goes: seconds since 1970.
    pub fn seen(&self) -> u64 {
        u64::from(self.entry.seen)
    }

    /// Its data.
    pub fn data(&self) -> &[u8] {
        &self.entry.data
    }

    /// Appends its bytes, in the format of snapshots: length, checksum, content.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        let head = snapshot::head(&self.entry, self.user());
        let name = self.user().map_or("", UserId::as_str).as_bytes();
        let parts: [&[u8]; 3] = [&head, name, self.data()];
        // A store has no session that is longer than a frame.
        let len = parts.iter().map(|part| part.len()).sum::<usize>() as u32;
        snapshot::append(bytes, len, &parts);
    }

    /// Reads the next frame and moves `bytes` behind it.
    ///
    /// # Errors
    /// [`FrameError`]; then `bytes` stay where they were.
    ///
    /// ```
    /// use tenfold::session::{Frame, FrameError, MemoryStore};
    ///
    /// let store = MemoryStore::builder().build()?;
    /// store.create(Some("ada".into()), b"cart".as_slice())?;
    /// let mut bytes = Vec::new();
    /// store.export(|_| true).for_each(|frame| frame.write(&mut bytes));
    /// let frame = Frame::read(&mut &bytes[..])?;
    /// assert_eq!((frame.data(), frame.user()), (&b"cart"[..], Some(&"ada".into())));
    /// bytes[20] ^= 1;
    /// assert_eq!(Frame::read(&mut &bytes[..]).err(), Some(FrameError::Checksum));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(bytes: &mut &[u8]) -> Result<Self, FrameError> {
        let found = bytes.len();
        let short = |expected| FrameError::Truncated { found, expected };
        let (len, rest) = bytes.split_first_chunk::<4>().ok_or(short(8))?;
        let (checksum, rest) = rest.split_first_chunk::<4>().ok_or(short(8))?;
        let size = u32::from_le_bytes(*len);
        if size > MAX_FRAME {
            let expected = "at most 2^30 bytes";
            return Err(FrameError::Malformed { expected });
        }
        let size = size as usize;
        let (content, rest) = rest.split_at_checked(size).ok_or(short(8 + size))?;
        if crc32c::crc32c_append(crc32c::crc32c(len), content) != u32::from_le_bytes(*checksum) {
            return Err(FrameError::Checksum);
        }
        let read = match content.split_first() {
            Some((&SESSION, mut content)) => restore::session(&mut content),
            _ => None,
        };
        let expected = "a session";
        let (entry, user) = read.ok_or(FrameError::Malformed { expected })?;
        *bytes = rest;
        Ok(Self { entry, user })
    }
}

impl fmt::Debug for Frame {
    /// Keeps the data to itself, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("key", &self.key())
            .field("user", &self.user)
            .field("version", &self.version())
            .field("bytes", &self.entry.data.len())
            .finish_non_exhaustive()
    }
}
