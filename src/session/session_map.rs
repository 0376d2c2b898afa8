use std::collections::{BTreeMap, BTreeSet};

use super::SaveError;

/// Data of a session as keys and values, which remembers what was changed: two
/// requests that change different keys at once both get their way.
///
/// ```
/// use tenfold::session::{MemoryStore, SessionMap};
///
/// let store = MemoryStore::builder().build()?;
/// let (token, _) = store.create(None, SessionMap::new().to_bytes())?;
/// // Two tabs load the same session, and each changes a key.
/// let load = || store.load(&token).and_then(|loaded| SessionMap::from_bytes(&loaded));
/// let (mut one, mut two) = (load().unwrap_or_default(), load().unwrap_or_default());
/// one.insert("cart", "lamp");
/// two.insert("language", "de");
/// store.merge(&token, &one)?;
/// store.merge(&token, &two)?;
/// let both = load().unwrap_or_default();
/// assert_eq!(both.get("cart"), Some(&b"lamp"[..]));
/// assert_eq!(both.get("language"), Some(&b"de"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionMap {
    values: BTreeMap<Box<str>, Box<[u8]>>,
    /// Keys inserted or removed since the map was read.
    changed: BTreeSet<Box<str>>,
}

impl SessionMap {
    /// A map without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, or empty data; none if it is
    /// something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut map = Self::new();
        let Some((&MARK, mut rest)) = bytes.split_first() else {
            return bytes.is_empty().then_some(map);
        };
        while !rest.is_empty() {
            let key = take(&mut rest)?;
            let key = std::str::from_utf8(key).ok()?;
            let value = take(&mut rest)?;
            let is_next = map.values.last_key_value().is_none_or(|(l, _)| **l < *key);
            if !is_next {
                return None;
            }
            map.values.insert(key.into(), value.into());
        }
        Some(map)
    }

    /// Writes all keys and values: a mark, then for each in the order of keys
    /// two lengths (4 bytes, little-endian) before the two.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![MARK];
        for (key, value) in &self.values {
            for part in [key.as_bytes(), value] {
                bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
                bytes.extend_from_slice(part);
            }
        }
        bytes
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key).map(|value| &**value)
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: &str, value: impl AsRef<[u8]>) {
        self.values.insert(key.into(), value.as_ref().into());
        self.changed.insert(key.into());
    }

    /// Removes a key; says whether it was there. Removed it is either way, when
    /// the changes are merged.
    pub fn remove(&mut self, key: &str) -> bool {
        self.changed.insert(key.into());
        self.values.remove(key).is_some()
    }

    /// The keys and values, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.values.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether there is anything to merge.
    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The data with the changes of this map made in it; none if there are none. What
    /// [`modify`](super::MemoryStore::modify) wants to hear.
    pub(super) fn merged_into(&self, data: &[u8]) -> (Option<Vec<u8>>, Result<(), SaveError>) {
        let Some(mut map) = Self::from_bytes(data) else {
            return (None, Err(SaveError::NotAMap));
        };
        if !self.is_changed() {
            return (None, Ok(()));
        }
        self.apply_to(&mut map);
        (Some(map.to_bytes()), Ok(()))
    }

    /// Makes the changes of this map in another.
    fn apply_to(&self, other: &mut Self) {
        for key in &self.changed {
            match self.values.get(key) {
                Some(value) => other.values.insert(key.clone(), value.clone()),
                None => other.values.remove(key),
            };
        }
    }
}

/// A part behind its length.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *rest = after;
    Some(part)
}

/// Begins a map, version 1.
const MARK: u8 = 0xa1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_that_were_written_are_read() {
        let mut map = SessionMap::new();
        map.insert("b", "2");
        map.insert("a", "");
        let bytes = map.to_bytes();
        let again = SessionMap::from_bytes(&bytes).unwrap();
        assert_eq!(again.values, map.values);
        assert!(!again.is_changed() && map.is_changed());
        assert!(SessionMap::from_bytes(b"").is_some());
        for end in 1..bytes.len() {
            let cut = SessionMap::from_bytes(&bytes[..end]);
            assert!(cut.is_none_or(|cut| cut.values.len() < 2), "{end}");
        }
        assert!(SessionMap::from_bytes(b"{}").is_none());
        // The same key twice, and a length past the end.
        let twice = [&bytes[..10], &bytes[1..10]].concat();
        assert!(SessionMap::from_bytes(&twice).is_none());
        assert!(SessionMap::from_bytes(&[MARK, 255, 255, 255, 255]).is_none());
    }
}
