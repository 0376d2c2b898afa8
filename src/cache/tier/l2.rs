use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use super::Version;

/// A store of bytes that several nodes share: the tier behind their own caches.
///
/// It is a register per key that knows which of two changes is the newer one.
/// Every command is one step, as a single script is on a server. On Redis:
/// `get` is one `MGET` of the key and of the key that holds the incarnation
/// (with the time to live, in a script); `set` and `invalidate` are a script
/// that compares the sixteen bytes of the version and then sets with `PX`.
///
/// A command whose future is dropped may or may not have been carried out; the
/// tier repeats it, and versions make that harmless. A server that has lost its
/// memory must not carry out commands that were sent to it before.
pub trait L2: Send + Sync + 'static {
    /// Why a command failed.
    type Error: Error + Send + Sync + 'static;

    /// Reads a key.
    fn get(&self, key: &[u8]) -> impl Future<Output = Result<Found, Self::Error>> + Send;

    /// Stores a value for this long if the condition holds.
    fn set(
        &self,
        key: &[u8],
        value: &[u8],
        version: Version,
        ttl: Duration,
        when: When,
    ) -> impl Future<Output = Result<Applied, Self::Error>> + Send;

    /// Puts a tombstone in the place of a value for this long, unless what is
    /// there is as new or newer: until the tombstone is gone, nothing older can
    /// be stored.
    fn invalidate(
        &self,
        key: &[u8],
        version: Version,
        ttl: Duration,
    ) -> impl Future<Output = Result<Applied, Self::Error>> + Send;
}

/// What an [`L2`] answers to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What lies under the key, if anything does.
    pub record: Option<Record>,
    /// A number that changes when the L2 has lost what it held: on Redis, a key
    /// with a random value that is set if it is missing. Always the same, if the
    /// L2 never loses anything.
    pub incarnation: u64,
}

/// What lies under a key of an [`L2`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Of the change that put it there.
    pub version: Version,
    /// How long it has left to live.
    pub ttl: Duration,
}

/// On what condition an [`L2`] stores a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing as new or newer lies there.
    Newer,
    /// The same, and the L2 has lost nothing since it had this incarnation.
    NewerIn(u64),
    /// What lies there is still what a read found: this version, or nothing, in
    /// this incarnation. A value that took long to load then never takes the
    /// place of a change that was made meanwhile.
    Unchanged {
        /// The version found.
        version: Option<Version>,
        /// The incarnation found.
        incarnation: u64,
    },
}

/// What an [`L2`] did with a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is stored.
    Stored,
    /// It is not: this version lies there.
    Newer(Version),
    /// It is not: what was found before is gone.
    Changed,
}

pub(super) type BoxError = Box<dyn Error + Send + Sync>;
pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

/// An [`L2`] whose type is forgotten.
pub(super) trait AnyL2: Send + Sync {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Found>;

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: &'a [u8],
        version: Version,
        ttl: Duration,
        when: When,
    ) -> Answer<'a, Applied>;

    fn invalidate<'a>(
        &'a self,
        key: &'a [u8],
        version: Version,
        ttl: Duration,
    ) -> Answer<'a, Applied>;
}

impl<S: L2> AnyL2 for S {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Found> {
        Box::pin(async move { L2::get(self, key).await.map_err(Into::into) })
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: &'a [u8],
        version: Version,
        ttl: Duration,
        when: When,
    ) -> Answer<'a, Applied> {
        Box::pin(async move {
            L2::set(self, key, value, version, ttl, when)
                .await
                .map_err(Into::into)
        })
    }

    fn invalidate<'a>(
        &'a self,
        key: &'a [u8],
        version: Version,
        ttl: Duration,
    ) -> Answer<'a, Applied> {
        Box::pin(async move {
            L2::invalidate(self, key, version, ttl)
                .await
                .map_err(Into::into)
        })
    }
}
