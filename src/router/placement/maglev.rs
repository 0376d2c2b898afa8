use super::Member;
use crate::hash::xxh3_64;

/// The owner of each entry of a Maglev table, as an index into `permutations`.
///
/// Each backend visits the entries in an order of its own, given by its offset
/// and skip: `offset`, `offset + skip`, … modulo `entries`, which must be prime
/// for the order to reach all of them. In turn they take the first that is
/// still free (Eisenbud et al., *Maglev*, NSDI 2016, section 3.4). A skip of zero
/// is taken for one, and offsets count modulo `entries`.
///
/// ```
/// use tenfold::router::placement::maglev;
///
/// // The paper's example: seven entries, three backends.
/// assert_eq!(maglev(7, &[(3, 4), (0, 2), (3, 1)]), [1, 0, 1, 0, 2, 2, 0]);
/// assert_eq!(maglev(7, &[(3, 4), (3, 1)]), [0, 0, 0, 0, 1, 1, 1]);
/// ```
pub fn maglev(entries: u32, permutations: &[(u32, u32)]) -> Vec<u32> {
    let weights = vec![1; permutations.len()];
    fill(entries, permutations, &weights)
}

/// The owner of each slot: offsets and skips are hashes of the names, and a
/// node of twice the weight has twice the turns.
pub(super) fn owners(slots: u32, members: &[Member<'_>]) -> Vec<u16> {
    let permutation = |member: &Member<'_>| {
        let offset = xxh3_64(member.name.as_bytes(), OFFSET) % u64::from(slots);
        let skip = xxh3_64(member.name.as_bytes(), SKIP) % u64::from(slots - 1) + 1;
        (offset as u32, skip as u32)
    };
    let permutations: Vec<_> = members.iter().map(permutation).collect();
    let weights: Vec<_> = members.iter().map(|member| member.weight).collect();
    fill(slots, &permutations, &weights)
        .into_iter()
        .map(|index| members[index as usize].id)
        .collect()
}

fn fill(entries: u32, permutations: &[(u32, u32)], weights: &[u64]) -> Vec<u32> {
    let mut table = vec![FREE; entries as usize];
    let Some(&heaviest) = weights.iter().max() else {
        return Vec::new();
    };
    let step = |at: u32, skip: u32| ((u64::from(at) + u64::from(skip)) % u64::from(entries)) as u32;
    let mut at: Vec<u32> = permutations.iter().map(|p| p.0 % entries.max(1)).collect();
    let mut turns = vec![0_u128; permutations.len()];
    let mut free = entries;
    while free > 0 {
        for index in 0..permutations.len() {
            // A turn costs the heaviest node's weight, and each round brings one's own.
            turns[index] += u128::from(weights[index]);
            if turns[index] < u128::from(heaviest) {
                continue;
            }
            turns[index] -= u128::from(heaviest);
            let skip = permutations[index].1.max(1);
            let mut tried = 0;
            while table[at[index] as usize] != FREE && tried < entries {
                at[index] = step(at[index], skip);
                tried += 1;
            }
            if tried == entries {
                // Not prime, and this order does not reach what is free.
                at[index] = (at[index] + 1) % entries;
                continue;
            }
            table[at[index] as usize] = index as u32;
            at[index] = step(at[index], skip);
            free -= 1;
            if free == 0 {
                break;
            }
        }
    }
    table
}

/// The smallest prime that is not below this number.
pub(super) fn prime_from(number: u32) -> u32 {
    // There is one before twice the number.
    (number.max(2)..=u32::MAX)
        .find(|&n| is_prime(n))
        .unwrap_or(2)
}

pub(super) fn is_prime(number: u32) -> bool {
    let divides = |divisor| number.is_multiple_of(divisor);
    number >= 2 && !(2..=number.isqrt()).any(divides)
}

const FREE: u32 = u32::MAX;
/// Two hashes of a name that have nothing to do with each other, nor with a key's.
const OFFSET: u64 = 0x6d61_676c_6576_2031;
const SKIP: u64 = 0x6d61_676c_6576_2032;
