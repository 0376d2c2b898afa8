use std::collections::BTreeSet;

use super::Member;
use crate::rng::mix;
use crate::router::topology::NOBODY;

/// The bucket of a hash among `buckets`, as *jump consistent hash* has it: of
/// `n` + 1 buckets' keys, those of the new bucket are new there, and all others
/// are where they were among `n`. Zero buckets are taken for one.
///
/// The numbers are those of the paper's code (Lamping, Veach, 2014), and so of
/// Guava and many others. Steps: about ln `n`.
///
/// ```
/// use tenfold::router::placement::jump;
///
/// assert_eq!(jump(1, 100), 55);
/// assert_eq!(jump(0xdead_beef, 16), 5);
/// ```
#[allow(
    clippy::cast_lossless,
    reason = "the paper's arithmetic, number for number"
)]
pub fn jump(mut hash: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0_i64, 0_i64);
    while next < i64::from(buckets) {
        bucket = next;
        hash = hash.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let draw = ((hash >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * ((1_u64 << 31) as f64 / draw)) as i64;
    }
    bucket as u32
}

/// Buckets by number, each of a node or, where one was removed, of nobody.
///
/// Jump itself can only take away the last bucket. A node in the middle leaves
/// its bucket empty, and slots that land there jump again: so only they move. A
/// node that comes takes the first empty bucket.
pub(super) fn buckets(previous: &[Option<u16>], members: &[Member<'_>]) -> Vec<Option<u16>> {
    let present: BTreeSet<u16> = members.iter().map(|member| member.id).collect();
    let stays = |id: &u16| present.contains(id);
    let mut buckets: Vec<_> = previous.iter().map(|id| id.filter(stays)).collect();
    let settled: BTreeSet<u16> = buckets.iter().flatten().copied().collect();
    let mut empty = 0;
    for member in members {
        if settled.contains(&member.id) {
            continue;
        }
        while buckets.get(empty).is_some_and(Option::is_some) {
            empty += 1;
        }
        match buckets.get_mut(empty) {
            Some(bucket) => *bucket = Some(member.id),
            None => buckets.push(Some(member.id)),
        }
    }
    buckets
}

/// The owner of each slot.
pub(super) fn owners(slots: u32, buckets: &[Option<u16>]) -> Vec<u16> {
    let taken: Vec<(u64, u16)> = (0..)
        .zip(buckets)
        .filter_map(|(number, id)| Some((number, (*id)?)))
        .collect();
    let owner = |slot: u32| {
        let mut hash = mix(u64::from(slot));
        for _ in 0..JUMPS {
            if let Some(id) = buckets[jump(hash, buckets.len() as u32) as usize] {
                return id;
            }
            hash = mix(hash.wrapping_add(AGAIN));
        }
        // Nearly all buckets are empty. The best score of the others moves as little.
        let score = |&&(number, _): &&(u64, u16)| mix(hash ^ mix(number));
        taken.iter().max_by_key(score).map_or(NOBODY, |best| best.1)
    };
    (0..slots).map(owner).collect()
}

/// Sets a slot's second jump apart from its first.
const AGAIN: u64 = 0x9e37_79b9_7f4a_7c15;
/// After so many jumps into empty buckets, which take a microsecond, there are
/// more empty ones than it is worth to go on.
const JUMPS: u32 = 32;
