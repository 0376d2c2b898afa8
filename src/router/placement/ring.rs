use super::Member;
use crate::hash::xxh3_64;

/// The owner of each slot on a ring of virtual nodes: that of the first point
/// at or after the slot's middle.
///
/// A node's points are numbered, and a heavier node has more of them, so a change
/// of weight adds or takes its last ones and leaves everybody else's alone. All
/// points count, even those that fall together: the lower name comes first.
pub(super) fn owners(slots: u32, vnodes: u32, members: &[Member<'_>]) -> Vec<u16> {
    let mut points: Vec<(u64, u16, u16)> = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let seed = xxh3_64(member.name.as_bytes(), SEED);
        for point in 0..member.weight * u64::from(vnodes) {
            points.push((xxh3_64(&point.to_le_bytes(), seed), index as u16, member.id));
        }
    }
    points.sort_unstable();
    let mut next = 0;
    let owner = |slot: u32| {
        let middle = (((2 * u128::from(slot) + 1) << 63) / u128::from(slots)) as u64;
        while points.get(next).is_some_and(|point| point.0 < middle) {
            next += 1;
        }
        // Past the last point the ring begins again.
        points.get(next).unwrap_or(&points[0]).2
    };
    (0..slots).map(owner).collect()
}

/// The points that a ring would have, or nothing if they cannot be counted.
pub(super) fn points(vnodes: u32, members: &[Member<'_>]) -> u64 {
    members.iter().fold(0_u64, |sum, member| {
        sum.saturating_add(member.weight.saturating_mul(u64::from(vnodes)))
    })
}

/// Sets the hashes of points apart from those of keys. (A ring whose points and
/// keys shared one hash was seen to give a node 98 % too much: numbered keys fell
/// exactly onto its numbered points.)
const SEED: u64 = 0x7269_6e67_2070_6f69;
