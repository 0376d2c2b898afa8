//! What a store says of a session.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::SessionKey;
use super::data::SessionData;
use super::stale::Stale;
use super::user_id::UserId;

/// Counts the saves of one session; never repeats, not even after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub(super) u64);

impl Version {
    /// The number, to send it along with a form.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The version of this number.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {:#x}", self.0)
    }
}

/// A session as it was when it was loaded: its data, which it derefs to, and what
/// belongs to that.
#[derive(Clone)]
pub struct Loaded {
    pub(super) data: SessionData,
    pub(super) user: Option<UserId>,
    pub(super) version: Version,
    pub(super) created: u64,
    pub(super) ends: u64,
    /// Whether this load moved the idle deadline: the copy of a sticky session is told.
    #[cfg_attr(not(feature = "sticky"), allow(dead_code, reason = "no copies"))]
    pub(super) moved: bool,
    pub(super) stale: Option<Arc<Stale>>,
}

impl Loaded {
    /// A session as a store elsewhere holds it. `created` and `ends` are seconds since 1970.
    pub fn new(
        data: impl Into<SessionData>,
        user: Option<UserId>,
        version: Version,
        created: u64,
        ends: u64,
    ) -> Self {
        Self {
            data: data.into(),
            user,
            version,
            created,
            ends,
            moved: false,
            stale: None,
        }
    }

    /// Says that it is a copy, because its store could not be asked.
    #[must_use]
    pub fn marked(mut self, stale: Stale) -> Self {
        self.stale = Some(Arc::new(stale));
        self
    }

    /// The same session after a save.
    #[cfg(feature = "cache")]
    pub(super) fn saved(self, data: SessionData, version: Version) -> Self {
        Self {
            data,
            version,
            ..self
        }
    }

    /// The data.
    pub fn data(&self) -> &SessionData {
        &self.data
    }

    /// Which version it is, for [`MemoryStore::save`](super::MemoryStore::save).
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whose session it is, if they have logged in.
    pub fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    /// When it was begun, or its user logged in: seconds since 1970.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// When it ends, if nobody loads it any more: seconds since 1970.
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// If this is a copy, served because the store could not be asked: how old it is, and why. What was saved
    /// or revoked since, on another server, does not show in it; do nothing for it that cannot be undone.
    pub fn stale(&self) -> Option<&Stale> {
        self.stale.as_deref()
    }
}

impl Deref for Loaded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.data
    }
}

impl fmt::Debug for Loaded {
    /// Keeps the data to itself, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("bytes", &self.data.len())
            .field("user", &self.user())
            .field("version", &self.version)
            .field("stale", &self.stale)
            .finish_non_exhaustive()
    }
}

/// One of a user's sessions, for a list of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Which; opens nothing.
    pub key: SessionKey,
    /// When it was begun: seconds since 1970.
    pub created: u64,
    /// When it was last used, as far as its idle deadline goes: seconds since 1970.
    pub seen: u64,
    /// When it ends, if it is not used again: seconds since 1970.
    pub ends: u64,
    /// Its data: where it was begun, with what browser.
    pub data: SessionData,
}

impl SessionInfo {
    /// One of the sessions that a store elsewhere holds, by its key, last seen when it was begun.
    pub fn new(key: SessionKey, created: u64, ends: u64, data: impl Into<SessionData>) -> Self {
        Self {
            key,
            created,
            seen: created,
            ends,
            data: data.into(),
        }
    }

    /// Says when it was last used.
    #[must_use]
    pub fn seen(mut self, seen: u64) -> Self {
        self.seen = seen;
        self
    }
}
