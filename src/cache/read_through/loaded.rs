use std::sync::Arc;
use std::time::Duration;

/// What a loader brings for a key: a value, the news that there is none, or
/// that the old one still holds; and how this entry differs from the others.
///
/// A loader may return the bare value or an `Option` of it instead.
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::read_through::Loaded;
///
/// let plain = Loaded::value("text");
/// assert_eq!(plain, Loaded::from("text"));
/// assert_eq!(Loaded::<&str>::absent(), Loaded::from(None));
/// let detailed = Loaded::value("text")
///     .time_to_live(Duration::from_secs(5))
///     .tag("user:7")
///     .validator("\"33a64df5\"");
/// assert_ne!(plain, detailed);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the loader returns it"]
pub struct Loaded<V> {
    pub(in crate::cache) news: News<V>,
    pub(in crate::cache) time_to_live: Option<Duration>,
    pub(in crate::cache) weight: Option<u32>,
    pub(in crate::cache) tags: Option<Vec<Arc<str>>>,
    pub(in crate::cache) validator: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cache) enum News<V> {
    Value(V),
    Absent,
    NotModified,
}

impl<V> Loaded<V> {
    /// A value.
    pub fn value(value: V) -> Self {
        Self::new(News::Value(value))
    }

    /// The source has nothing under this key. Remembered for the layer's
    /// [`negative_ttl`](super::ReadThroughBuilder::negative_ttl), or not at
    /// all.
    pub fn absent() -> Self {
        Self::new(News::Absent)
    }

    /// The value that the request showed is still the source's: it becomes
    /// fresh again. Weight, tags and validator stay as they were unless set
    /// here. Where the request showed none, callers get
    /// [`GetError::NothingToRenew`](super::GetError::NothingToRenew).
    pub fn not_modified() -> Self {
        Self::new(News::NotModified)
    }

    fn new(news: News<V>) -> Self {
        Self {
            news,
            time_to_live: None,
            weight: None,
            tags: None,
            validator: None,
        }
    }

    /// Whether there is a value, new or old.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self.news, News::Absent)
    }

    /// How long this entry is fresh, instead of the layer's time. Zero: those
    /// who wait get the value, and the next caller asks the source again.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// What this entry weighs; counts if the cache has a `max_weight` and no
    /// weigher.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// A tag by which this entry can be invalidated with others; may be given
    /// several times.
    pub fn tag(mut self, tag: impl Into<Arc<str>>) -> Self {
        self.tags.get_or_insert_default().push(tag.into());
        self
    }

    /// What the next load can ask the source with whether the value has
    /// changed: an `ETag`, a version, a time.
    pub fn validator(mut self, validator: impl Into<Arc<str>>) -> Self {
        self.validator = Some(validator.into());
        self
    }
}

impl<V> From<V> for Loaded<V> {
    fn from(value: V) -> Self {
        Self::value(value)
    }
}

impl<V> From<Option<V>> for Loaded<V> {
    fn from(value: Option<V>) -> Self {
        value.map_or_else(Self::absent, Self::value)
    }
}
