use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::{cmp, fmt};

/// Who is logged in, by the application's own name for them.
///
/// Stored, and written to snapshots, as it is: prefer a number to an address. A name of up to
/// 22 bytes, and so any 64-bit number, lies in the session itself; a longer one
/// beside it, to be fetched with every load.
///
/// ```
/// use tenfold::session::UserId;
///
/// let ada = UserId::from("ada");
/// assert_eq!(ada.as_str(), "ada");
/// assert_eq!(UserId::from(u64::MAX.to_string()).to_string(), "18446744073709551615");
/// ```
#[derive(Clone)]
pub struct UserId(Name);

#[derive(Clone)]
enum Name {
    /// So many bytes of these, which are UTF-8.
    Short(u8, [u8; SHORT]),
    Long(Arc<str>),
}

impl UserId {
    /// The name.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // Made of a str: there is nothing else for it to be.
            Name::Short(..) => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Name::Long(name) => name,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Name::Short(len, bytes) => &bytes[..usize::from(*len).min(SHORT)],
            Name::Long(name) => name.as_bytes(),
        }
    }
}

impl<T: AsRef<str>> From<T> for UserId {
    fn from(name: T) -> Self {
        let name = name.as_ref();
        let mut bytes = [0; SHORT];
        let Some(start) = bytes.get_mut(..name.len()) else {
            return Self(Name::Long(name.into()));
        };
        start.copy_from_slice(name.as_bytes());
        Self(Name::Short(name.len() as u8, bytes))
    }
}

impl PartialEq for UserId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for UserId {}

impl PartialOrd for UserId {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UserId {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for UserId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?})", self.as_str())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// With its length and which it is, a short name takes as much as three words.
const SHORT: usize = 22;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn short_and_long_names_are_compared_alike() {
        let names = [
            "",
            "a",
            "ab",
            "b",
            "é",
            &"c".repeat(22),
            &"c".repeat(23),
            "d",
        ];
        let ids = names.map(UserId::from);
        assert_eq!(ids.each_ref().map(UserId::as_str), names);
        for (one, name) in ids.iter().zip(names) {
            for (two, other) in ids.iter().zip(names) {
                assert_eq!(one.cmp(two), name.cmp(other), "{name} {other}");
                assert_eq!(one == two, name == other);
            }
        }
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), names.len());
        assert_eq!(size_of::<Option<UserId>>(), 24);
    }
}
