/// What shall become of a record.
///
/// ```
/// use tenfold::cache::writer::Change;
///
/// assert_eq!(Change::Put(7).value(), Some(&7));
/// assert_eq!(Change::<u32>::Delete.into_value(), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change<V> {
    /// It gets this value, whether or not it had one.
    Put(V),
    /// It goes, if it was there.
    Delete,
}

impl<V> Change<V> {
    /// The value that the record shall have; `None` if it shall go.
    pub fn value(&self) -> Option<&V> {
        match self {
            Self::Put(value) => Some(value),
            Self::Delete => None,
        }
    }

    /// The value that the record shall have; `None` if it shall go.
    pub fn into_value(self) -> Option<V> {
        match self {
            Self::Put(value) => Some(value),
            Self::Delete => None,
        }
    }
}
