use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use super::registry::{DEFAULT_CAPACITY, MAX_CAPACITY};
use super::{Tagged, TaggedValue, Tags};
use crate::cache::{BuildError, CacheBuilder};

/// Configures a [`Tagged`] cache; made by [`Tagged::builder`].
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::tagged::{Tagged, TaggedValue};
///
/// let pages: Tagged<String, String> = Tagged::builder(
///     Cache::builder()
///         .max_weight(1 << 20)
///         .weigher(|path: &String, page: &TaggedValue<String>| (path.len() + page.len()) as u32),
/// )
/// .tag_capacity(1000)
/// .build()?;
/// # Ok::<(), tenfold::cache::tagged::TaggedBuildError>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct TaggedBuilder<K, V> {
    cache: CacheBuilder<K, TaggedValue<V>>,
    tag_capacity: Option<usize>,
    tags: Option<Arc<Tags>>,
}

/// A tagged cache that cannot be built as configured.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TaggedBuildError {
    /// The cache underneath cannot be built.
    #[error("the cache under the tags cannot be built")]
    Cache(#[source] BuildError),
    /// The number of tags to remember is out of range.
    #[error("tag_capacity must be between 1 and {max}, found {found}")]
    TagCapacity {
        /// What was asked for.
        found: usize,
        /// The most there may be.
        max: usize,
    },
    /// A registry was given, and a capacity for one that would be made.
    #[error(
        "tag_capacity was set beside tags: the registry that was given has its capacity already"
    )]
    TagCapacityOfGivenTags,
}

impl<K, V> TaggedBuilder<K, V> {
    pub(super) fn new(cache: CacheBuilder<K, TaggedValue<V>>) -> Self {
        Self {
            cache,
            tag_capacity: None,
            tags: None,
        }
    }

    /// How many invalidated tags are told apart, at 16 bytes each from the first
    /// invalidation on; the default is 65 536. See [`Tags`] for what happens
    /// beyond.
    pub fn tag_capacity(mut self, tags: usize) -> Self {
        self.tag_capacity = Some(tags);
        self
    }

    /// A registry to share with other caches: an invalidation of a tag, or a
    /// clear of the registry, reaches all of them.
    pub fn tags(mut self, tags: Arc<Tags>) -> Self {
        self.tags = Some(tags);
        self
    }

    /// Builds the cache.
    ///
    /// # Errors
    /// [`TaggedBuildError`] if the knobs do not fit together.
    pub fn build(self) -> Result<Tagged<K, V>, TaggedBuildError>
    where
        K: Hash + Eq,
        V: Clone,
    {
        if self.tags.is_some() && self.tag_capacity.is_some() {
            return Err(TaggedBuildError::TagCapacityOfGivenTags);
        }
        let capacity = self.tag_capacity.unwrap_or(DEFAULT_CAPACITY);
        if capacity == 0 || capacity > MAX_CAPACITY {
            return Err(TaggedBuildError::TagCapacity {
                found: capacity,
                max: MAX_CAPACITY,
            });
        }
        let cache = self.cache.build().map_err(TaggedBuildError::Cache)?;
        let tags = self.tags.unwrap_or_else(|| {
            // Keyed as the cache is, so that its seed governs both.
            Arc::new(Tags::with_hasher(capacity, cache.core.hasher.clone()))
        });
        Ok(Tagged::from_parts(cache, tags))
    }
}

impl<K, V> fmt::Debug for TaggedBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaggedBuilder")
            .field("cache", &self.cache)
            .field("tag_capacity", &self.tag_capacity)
            .field("tags", &self.tags)
            .finish()
    }
}
