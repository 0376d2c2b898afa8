//! The bytes of a session.

use std::ops::Deref;
use std::sync::Arc;

/// What a session holds for its application: in its slot if it is short, as most are, so that
/// whoever has found the slot has found the data; in an allocation of its own if it is long.
///
/// To copy a hundred bytes takes less time than to count who shares them, where that count is yet to be fetched.
#[derive(Clone)]
pub(super) enum Data {
    /// So many bytes of these.
    Short(u8, [u8; SHORT]),
    Long(Arc<[u8]>),
}

impl Data {
    pub(super) fn to_arc(&self) -> Arc<[u8]> {
        match self {
            Self::Short(..) => Arc::from(&**self),
            Self::Long(bytes) => Arc::clone(bytes),
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self::Short(0, [0; SHORT])
    }
}

impl From<Arc<[u8]>> for Data {
    fn from(data: Arc<[u8]>) -> Self {
        let mut bytes = [0; SHORT];
        let Some(start) = bytes.get_mut(..data.len()) else {
            return Self::Long(data);
        };
        start.copy_from_slice(&data);
        Self::Short(data.len() as u8, bytes)
    }
}

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => &bytes[..usize::from(*len).min(SHORT)],
            Self::Long(bytes) => bytes,
        }
    }
}

/// What is left of three cache lines.
const SHORT: usize = 118;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_what_it_was_made_of() {
        assert!(Data::default().is_empty());
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 1000] {
            let bytes: Arc<[u8]> = (0..len).map(|at| at as u8).collect();
            let data = Data::from(Arc::clone(&bytes));
            assert_eq!(*data, *bytes);
            assert_eq!(data.to_arc(), bytes);
            let is_shared = matches!(&data, Data::Long(long) if Arc::ptr_eq(long, &bytes));
            assert_eq!(is_shared, len > SHORT);
        }
    }
}
