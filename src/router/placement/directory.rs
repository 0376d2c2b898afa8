use std::ops::Range;
use std::sync::Arc;

use super::Member;
use crate::router::error::TopologyError;

/// Slots given to nodes by hand: which range of slots lies where.
///
/// Slots are numbered in the order of hashes, so a range of slots is a range of
/// hashes. Every slot must be in exactly one range; that is looked at when the
/// topology is built.
///
/// ```
/// use tenfold::router::{Policy, Topology, TopologyError, placement::Directory};
///
/// let directory = Directory::new().assign(0..12_288, "big").assign(12_288..16_384, "small");
/// let builder = Topology::builder().node("big").node("small").slots(16_384);
/// let topology = builder.clone().policy(Policy::Directory(directory.clone())).build()?;
/// assert_eq!(topology.slots_of(topology.id_of("big").unwrap()), 12_288);
///
/// let twice = directory.assign(0..1, "small");
/// let error = builder.policy(Policy::Directory(twice)).build().unwrap_err();
/// assert!(matches!(error, TopologyError::OverlappingRanges { .. }));
/// # Ok::<(), TopologyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    ranges: Vec<(Range<u32>, Arc<str>)>,
}

impl Directory {
    /// A directory of nothing.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// All of these at once.
    pub(in crate::router) fn from_ranges(mut ranges: Vec<(Range<u32>, Arc<str>)>) -> Self {
        ranges.sort_by_key(|(range, _)| (range.start, range.end));
        Self { ranges }
    }

    /// Gives these slots to the node of this name.
    #[must_use]
    pub fn assign(mut self, slots: Range<u32>, node: impl Into<Arc<str>>) -> Self {
        self.ranges.push((slots, node.into()));
        self.ranges
            .sort_by_key(|(range, _)| (range.start, range.end));
        self
    }

    /// The ranges, by their first slot.
    pub fn ranges(&self) -> impl Iterator<Item = (Range<u32>, &str)> {
        self.ranges
            .iter()
            .map(|(range, name)| (range.clone(), &**name))
    }

    /// The owner of each slot.
    pub(super) fn owners(
        &self,
        slots: u32,
        members: &[Member<'_>],
    ) -> Result<Vec<u16>, TopologyError> {
        let mut owners = Vec::with_capacity(slots as usize);
        let mut last = 0..0;
        for (range, name) in &self.ranges {
            if range.is_empty() || range.end > slots {
                return Err(TopologyError::Range {
                    range: format!("{range:?}"),
                    expected: format!("{slots} slots"),
                });
            }
            if range.start < last.end {
                return Err(TopologyError::OverlappingRanges {
                    first: format!("{last:?}"),
                    second: format!("{range:?}"),
                });
            }
            no_gap(last.end..range.start)?;
            owners.resize(range.end as usize, super::id_of(members, name)?);
            last = range.clone();
        }
        no_gap(last.end..slots)?;
        Ok(owners)
    }
}

fn no_gap(slots: Range<u32>) -> Result<(), TopologyError> {
    if slots.is_empty() {
        return Ok(());
    }
    Err(TopologyError::Gap {
        gap: format!("slots {slots:?}"),
    })
}
