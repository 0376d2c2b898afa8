use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What a session holds for its application: bytes.
///
/// Up to 118 of them lie in the value itself, so that whoever has found a session has found its data, and a load
/// allocates nothing; more are shared, and counted. To copy a hundred bytes takes less time than to count
/// who shares them, where that count is yet to be fetched.
///
/// Made of whatever holds bytes; a long `Arc<[u8]>` is not copied.
///
/// ```
/// use tenfold::session::SessionData;
///
/// let data = SessionData::from(b"1 lamp".as_slice());
/// assert_eq!(&data[..], b"1 lamp");
/// assert_eq!(SessionData::from(vec![7; 1000]).len(), 1000);
/// ```
#[derive(Clone)]
pub struct SessionData(Bytes);

#[derive(Clone)]
enum Bytes {
    /// So many of these.
    Short(u8, [u8; SHORT]),
    Long(Arc<[u8]>),
}

impl Default for SessionData {
    fn default() -> Self {
        Self(Bytes::Short(0, [0; SHORT]))
    }
}

impl<T: AsRef<[u8]> + Into<Arc<[u8]>>> From<T> for SessionData {
    fn from(data: T) -> Self {
        let from = data.as_ref();
        let mut bytes = [0; SHORT];
        Self(match bytes.get_mut(..from.len()) {
            None => Bytes::Long(data.into()),
            Some(start) => {
                start.copy_from_slice(from);
                Bytes::Short(from.len() as u8, bytes)
            }
        })
    }
}

impl From<SessionData> for Arc<[u8]> {
    fn from(data: SessionData) -> Self {
        match data.0 {
            Bytes::Short(..) => Self::from(&*data),
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl Deref for SessionData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short(len, bytes) => &bytes[..usize::from(*len).min(SHORT)],
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for SessionData {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SessionData {}

impl fmt::Debug for SessionData {
    /// Keeps the bytes to itself, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionData")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// What is left of three cache lines.
const SHORT: usize = 118;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_what_it_was_made_of() {
        assert!(SessionData::default().is_empty());
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 1000] {
            let bytes: Arc<[u8]> = (0..len).map(|at| at as u8).collect();
            let data = SessionData::from(Arc::clone(&bytes));
            assert_eq!(*data, *bytes);
            assert!(data == SessionData::from(bytes.to_vec()));
            let again = Arc::from(data);
            assert_eq!(again, bytes);
            assert_eq!(Arc::ptr_eq(&again, &bytes), len > SHORT);
        }
    }
}
