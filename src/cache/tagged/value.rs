use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A value as a [`Tagged`](super::Tagged) cache holds it: what weighers,
/// listeners and expiry hooks of the cache underneath are shown.
///
/// A word larger than the value alone.
#[derive(Clone)]
pub struct TaggedValue<V> {
    value: V,
    /// `None` without tags, as long as nothing was cleared.
    mark: Option<Arc<Mark>>,
}

/// What an entry must be held against before it is given out.
pub(super) struct Mark {
    /// The generation in which the load of the value began, or an earlier one.
    pub(super) born: u64,
    pub(super) tags: Box<[u64]>,
}

impl<V> TaggedValue<V> {
    pub(super) fn new(value: V, mark: Option<Arc<Mark>>) -> Self {
        Self { value, mark }
    }

    /// The value alone.
    pub fn into_value(self) -> V {
        self.value
    }

    #[inline]
    pub(super) fn mark(&self) -> Option<&Mark> {
        self.mark.as_deref()
    }
}

impl<V> Deref for TaggedValue<V> {
    type Target = V;

    #[inline]
    fn deref(&self) -> &V {
        &self.value
    }
}

impl<V: fmt::Debug> fmt::Debug for TaggedValue<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.value, f)
    }
}
