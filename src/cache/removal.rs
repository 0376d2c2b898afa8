use std::fmt;

use super::table::{Entry, Stored};

/// Why an entry left the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovalCause {
    /// The policy evicted it to keep the cache within its bounds.
    Size,
    /// Its time to live or time to idle was over.
    Expired,
    /// It was removed or invalidated by a call.
    Explicit,
    /// A new value took its place.
    Replaced,
    /// It was never stored: it alone is heavier than the whole cache.
    Refused,
}

impl RemovalCause {
    pub(super) const COUNT: usize = 5;

    /// Whether the cache decided it (by size or time) rather than a call.
    pub fn was_evicted(self) -> bool {
        matches!(self, Self::Size | Self::Expired)
    }
}

impl fmt::Display for RemovalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Size => "size",
            Self::Expired => "expired",
            Self::Explicit => "explicit",
            Self::Replaced => "replaced",
            Self::Refused => "refused",
        })
    }
}

/// Entries on their way out: collected under a shard's lock, dropped or handed
/// to the listener after it is released. The first one costs no allocation.
pub(super) struct Removed<K, V> {
    first: Option<Gone<K, V>>,
    rest: Vec<Gone<K, V>>,
}

pub(super) struct Gone<K, V> {
    pub(super) key: K,
    pub(super) value: Stored<V>,
    pub(super) cause: RemovalCause,
}

impl<K, V> Removed<K, V> {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn push(&mut self, Entry { key, value }: Entry<K, V>, cause: RemovalCause) {
        let gone = Gone { key, value, cause };
        if self.first.is_none() {
            self.first = Some(gone);
        } else {
            self.rest.push(gone);
        }
    }

    pub(super) fn extend(
        &mut self,
        entries: impl Iterator<Item = Entry<K, V>>,
        cause: RemovalCause,
    ) {
        for entry in entries {
            self.push(entry, cause);
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl<K, V> Iterator for Removed<K, V> {
    type Item = Gone<K, V>;

    /// Oldest first, except that the rest comes out behind the first.
    fn next(&mut self) -> Option<Gone<K, V>> {
        if let Some(first) = self.first.take() {
            self.rest.reverse();
            return Some(first);
        }
        self.rest.pop()
    }
}
