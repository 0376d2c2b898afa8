use std::fmt::Write;
use std::sync::Arc;

use super::Member;
use crate::hash::{CanonicalBytes, StableKey};
use crate::router::error::TopologyError;

/// Keys given to nodes by range, in the order of the keys themselves: by date, by
/// number, by the alphabet.
///
/// The whole space is covered at every step: there is one range to begin with, and
/// it is split. A boundary belongs to the range that it begins. Keys compare as
/// their [ordered bytes](StableKey::write_ordered), so boundaries must be of the
/// type that is routed.
///
/// ```
/// use tenfold::router::{Policy, Topology, placement::Ranges};
///
/// let ranges = Ranges::all("old").split(2000_u64, "recent").split(3000_u64, "newest");
/// let topology = Topology::builder()
///     .nodes(["old", "recent", "newest"])
///     .policy(Policy::Range(ranges))
///     .build()?;
/// let name = |key: u64| topology.name(topology.route(key)).unwrap();
/// assert_eq!([name(1999), name(2000), name(9999)], ["old", "recent", "newest"]);
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// Where each range begins and whose it is, sorted; the first begins with
    /// nothing, which is before everything.
    starts: Vec<(Box<[u8]>, Arc<str>)>,
}

impl Ranges {
    /// One range with all keys.
    pub fn all(node: impl Into<Arc<str>>) -> Self {
        Self {
            starts: vec![(Box::default(), node.into())],
        }
    }

    /// Lets a range begin at this key: what was the rest of another range up
    /// to its end is this node's now. A range that begins there already
    /// changes its owner.
    #[must_use]
    pub fn split(self, at: impl StableKey, node: impl Into<Arc<str>>) -> Self {
        self.split_bytes(&ordered(&at), node.into())
    }

    /// Ranges by where each begins, if they begin with nothing and then in order.
    pub(in crate::router) fn from_starts(starts: Vec<(Box<[u8]>, Arc<str>)>) -> Option<Self> {
        let whole = starts.first().is_some_and(|(start, _)| start.is_empty());
        let ordered = starts.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (whole && ordered).then_some(Self { starts })
    }

    pub(in crate::router) fn split_bytes(mut self, at: &[u8], node: Arc<str>) -> Self {
        match self.find(at) {
            Ok(range) => self.starts[range].1 = node,
            Err(range) => self.starts.insert(range, (at.into(), node)),
        }
        self
    }

    /// Divides the range that this key lies in: from here to its end, it is this node's.
    /// No other key goes elsewhere, and [`merge`](Self::merge) undoes it.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Boundary`] if a range begins there already.
    ///
    /// ```
    /// use tenfold::router::{TopologyError, placement::Ranges};
    ///
    /// let ranges = Ranges::all("a").divide("m", "b")?;
    /// assert_eq!(ranges.node_of("zebra"), "b");
    /// assert!(matches!(ranges.clone().divide("m", "c"), Err(TopologyError::Boundary { .. })));
    /// assert_eq!(ranges.merge("m")?, Ranges::all("a"));
    /// # Ok::<(), TopologyError>(())
    /// ```
    pub fn divide(
        self,
        at: impl StableKey,
        node: impl Into<Arc<str>>,
    ) -> Result<Self, TopologyError> {
        let at = ordered(&at);
        match self.find(&at) {
            Err(_) => Ok(self.split_bytes(&at, node.into())),
            Ok(_) => Err(TopologyError::Boundary { at: show(&at) }),
        }
    }

    /// Gives the range that this key lies in, as it is, to another node.
    #[must_use]
    pub fn assign(mut self, key: impl StableKey, node: impl Into<Arc<str>>) -> Self {
        let range = self.position(&ordered(&key));
        self.starts[range].1 = node.into();
        self
    }

    /// Takes away the boundary at this key: the range before it goes on to
    /// the end of the one that began here.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoBoundary`] if no range begins there.
    pub fn merge(mut self, at: impl StableKey) -> Result<Self, TopologyError> {
        let at = ordered(&at);
        match self.find(&at) {
            Ok(range) if range > 0 => {
                self.starts.remove(range);
                Ok(self)
            }
            _ => Err(TopologyError::NoBoundary { at: show(&at) }),
        }
    }

    /// Ranges that were written down elsewhere, in any order: where each
    /// begins, where the next one begins, and whose it is. The first begins with
    /// nothing, and the last ends with nothing.
    ///
    /// # Errors
    ///
    /// [`TopologyError::OverlappingRanges`], [`TopologyError::Gap`], or
    /// [`TopologyError::Range`] for one that holds nothing.
    ///
    /// ```
    /// use tenfold::router::{TopologyError, placement::Ranges};
    ///
    /// let ranges = Ranges::from_bounds([(None, Some("m"), "a"), (Some("m"), None, "b")])?;
    /// assert_eq!(ranges, Ranges::all("a").split("m", "b"));
    ///
    /// let overlap = Ranges::from_bounds([(None, Some("n"), "a"), (Some("m"), None, "b")]);
    /// assert!(matches!(overlap, Err(TopologyError::OverlappingRanges { .. })));
    /// # Ok::<(), TopologyError>(())
    /// ```
    pub fn from_bounds<K: StableKey, N: Into<Arc<str>>>(
        bounds: impl IntoIterator<Item = (Option<K>, Option<K>, N)>,
    ) -> Result<Self, TopologyError> {
        let mut ranges: Vec<_> = bounds
            .into_iter()
            .map(|(from, to, node)| {
                let from = from.map_or_else(Vec::new, |key| ordered(&key));
                (from, to.map(|key| ordered(&key)), node.into())
            })
            .collect();
        ranges.sort();
        let mut starts = Vec::with_capacity(ranges.len());
        // Where the next range must begin; nothing once one went to the end.
        let mut end = Some(Vec::new());
        for (from, to, node) in ranges {
            match &end {
                Some(end) if *end == from => {}
                Some(end) if *end < from => {
                    return Err(TopologyError::Gap {
                        gap: format!("keys from {} to {}", show(end), show(&from)),
                    });
                }
                _ => {
                    return Err(TopologyError::OverlappingRanges {
                        first: format!("the range of {node:?} or the one before it"),
                        second: format!("the one from {}", show(&from)),
                    });
                }
            }
            if to.as_ref().is_some_and(|to| *to <= from) {
                return Err(TopologyError::Range {
                    range: format!("{} to {}", show(&from), show(&to.unwrap_or_default())),
                    expected: "keys in ascending order".to_owned(),
                });
            }
            starts.push((from.into_boxed_slice(), node));
            end = to;
        }
        match end {
            None => Ok(Self { starts }),
            Some(end) => Err(TopologyError::Gap {
                gap: format!("keys from {} on", show(&end)),
            }),
        }
    }

    /// The name of the node whose range a key lies in.
    pub fn node_of(&self, key: impl StableKey) -> &str {
        &self.starts[self.position(&ordered(&key))].1
    }

    /// How many ranges there are.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Where each range begins, as ordered bytes, and its node's name.
    pub fn starts(&self) -> impl Iterator<Item = (&[u8], &str)> {
        self.starts.iter().map(|(start, name)| (&**start, &**name))
    }

    pub(super) fn bytes(&self) -> usize {
        let keys: usize = self.starts.iter().map(|(start, _)| start.len()).sum();
        size_of_val(&*self.starts) + keys
    }

    pub(super) fn owners(&self, members: &[Member<'_>]) -> Result<Vec<u16>, TopologyError> {
        let owner = |(_, name): &(_, Arc<str>)| super::id_of(members, name);
        self.starts.iter().map(owner).collect()
    }

    /// The range that these ordered bytes lie in.
    pub(in crate::router) fn position(&self, key: &[u8]) -> usize {
        match self.find(key) {
            Ok(range) => range,
            // The first range begins before everything.
            Err(next) => next.saturating_sub(1),
        }
    }

    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.starts
            .binary_search_by(|(start, _)| (**start).cmp(key))
    }
}

/// A key's bytes in the order of keys.
pub(super) fn ordered(key: &impl StableKey) -> Vec<u8> {
    let mut bytes = CanonicalBytes::new();
    key.write_ordered(&mut bytes);
    bytes.as_slice().to_vec()
}

/// Ordered bytes for people: as text where they are.
pub(in crate::router) fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "the first key".to_owned(),
        Ok(text) if !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => format!("0x{}", hex(bytes)),
    }
}

/// Two digits for each byte.
pub(in crate::router) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a text cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
