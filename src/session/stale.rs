use std::time::Duration;

use super::Unavailable;

/// What a [`Loaded`](super::Loaded) session says of itself that was served from a local copy, because its store
/// could not be asked; see [`Loaded::stale`](super::Loaded::stale).
///
/// ```
/// use std::time::Duration;
/// use tenfold::session::{Loaded, Stale, Unavailable, Version};
///
/// let why = Unavailable::TimedOut { limit: Duration::from_millis(50) };
/// let stale = Stale::new(Duration::from_secs(3), why);
/// let loaded = Loaded::new(b"1 lamp".as_slice(), None, Version::from_u64(1), 0, 900);
/// assert!(loaded.stale().is_none());
/// let loaded = loaded.marked(stale);
/// assert_eq!(loaded.stale().unwrap().age(), Duration::from_secs(3));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    age: Duration,
    why: Unavailable,
}

impl Stale {
    /// So old, and served for this reason.
    pub fn new(age: Duration, why: Unavailable) -> Self {
        Self { age, why }
    }

    /// How long ago the store was asked for it.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Why the store was not asked now.
    pub fn why(&self) -> &Unavailable {
        &self.why
    }
}
