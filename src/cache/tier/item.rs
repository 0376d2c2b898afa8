use std::sync::Arc;
use std::time::Duration;

use super::Version;
use crate::time::Instant;

/// A value on its way into a tier, with what only its owner knows of it.
///
/// A plain value is an item without any of it.
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::tier::Item;
///
/// let item = Item::new("text").tag("author:7").ttl(Duration::from_secs(60));
/// assert_eq!(item.value(), &"text");
/// ```
#[derive(Debug, Clone)]
#[must_use = "an item does nothing until it is inserted"]
pub struct Item<V> {
    pub(super) value: V,
    pub(super) ttl: Option<Duration>,
    pub(super) tags: Vec<Box<[u8]>>,
}

impl<V> Item<V> {
    /// An item without tags that lives as long as the tier says.
    pub const fn new(value: V) -> Self {
        Self {
            value,
            ttl: None,
            tags: Vec::new(),
        }
    }

    /// Lets it live this long in the L2, and no longer than that in any cache.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Puts a tag on it, by which it can be invalidated. A tag without a name is
    /// on every item anyway. Of a name longer than 65 535 bytes the rest does not
    /// count, and neither do more than 65 535 tags.
    pub fn tag(mut self, tag: impl AsRef<[u8]>) -> Self {
        let tag = tag.as_ref();
        if !tag.is_empty() && self.tags.len() < usize::from(u16::MAX) {
            self.tags.push(cut(tag).into());
        }
        self
    }

    /// Its value.
    pub const fn value(&self) -> &V {
        &self.value
    }
}

impl<V> From<V> for Item<V> {
    fn from(value: V) -> Self {
        Self::new(value)
    }
}

/// A tag's name as far as it counts.
pub(super) fn cut(tag: &[u8]) -> &[u8] {
    &tag[..tag.len().min(u16::MAX.into())]
}

/// The tags of an entry; one word, if there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tags(Option<Arc<Vec<Box<[u8]>>>>);

impl Tags {
    pub(super) fn new(tags: Vec<Box<[u8]>>) -> Self {
        Self((!tags.is_empty()).then(|| Arc::new(tags)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flat_map(|tags| tags.iter()).map(|tag| &**tag)
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |tags| tags.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// A value as a tier holds it in its own cache: what a
/// [`CacheBuilder`](crate::cache::CacheBuilder) for a tier is about.
#[derive(Debug, Clone)]
pub struct Tiered<V> {
    pub(super) value: V,
    pub(super) version: Version,
    /// The node's generation before the value was read or loaded: what has
    /// happened since is held against it.
    pub(super) born: u64,
    /// When it leaves the cache; not later than now if it shall not enter it.
    pub(super) expires: Instant,
    pub(super) tags: Tags,
}

impl<V> Tiered<V> {
    /// The value.
    pub const fn value(&self) -> &V {
        &self.value
    }

    /// Of the change that made it.
    pub const fn version(&self) -> Version {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_costs_forty_bytes_more_than_its_value() {
        assert_eq!(size_of::<Tiered<u64>>() - size_of::<u64>(), 40);
    }

    #[test]
    fn tags_that_are_too_long_or_too_many_are_cut() {
        let long = Item::new(1).tag(vec![b'x'; 70_000]);
        assert_eq!(long.tags[0].len(), 65_535);
        let many = (0..70_000u32).fold(Item::new(1), |item, tag| item.tag(tag.to_be_bytes()));
        assert_eq!(many.tags.len(), 65_535);
    }
}
