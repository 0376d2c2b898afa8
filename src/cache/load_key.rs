use std::sync::Arc;

/// The key of a load. Where the user's code wants to see the key of a value
/// that is being stored, the loader and the table of flights share it, since
/// that code must not run under the table's lock.
pub(super) enum LoadKey<K> {
    Own(K),
    Shared(Arc<K>),
}

impl<K> LoadKey<K> {
    pub(super) fn get(&self) -> &K {
        match self {
            Self::Own(key) => key,
            Self::Shared(key) => key,
        }
    }

    /// The key itself, unless somebody else has it too.
    pub(super) fn into_key(self) -> Option<K> {
        match self {
            Self::Own(key) => Some(key),
            Self::Shared(key) => Arc::into_inner(key),
        }
    }
}

impl<K: PartialEq> PartialEq for LoadKey<K> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<K: Eq> Eq for LoadKey<K> {}
