use super::Member;
use crate::hash::xxh3_64;
use crate::rng::mix;

/// The owner of each slot by weighted rendezvous: every node has a score for
/// every slot, which depends on nothing but its name, its weight and the slot,
/// and the best score has it.
///
/// To score each node for each slot would cost nodes × slots. But a score can be
/// a time, and times can be made in order: picture every node as throwing darts
/// at the table, as many a second as it weighs, each at a slot and a
/// moment that its name foretells. A node's score for a slot is when it first
/// hits it, and a slot belongs to who hits it first. Once every slot is hit,
/// later darts change nothing: so about slots × ln slots darts do, however many
/// nodes there are.
pub(super) fn owners(slots: u32, members: &[Member<'_>]) -> Vec<u16> {
    let total: u128 = members.iter().map(|m| u128::from(m.weight)).sum();
    let mut throwers: Vec<Thrower> = members.iter().map(Thrower::new).collect();
    let mut first: Vec<Option<Hit>> = vec![None; slots as usize];
    let mut open = slots;
    // In each round all nodes together throw about one dart per slot.
    for round in 1_u128.. {
        for (index, thrower) in throwers.iter_mut().enumerate() {
            // Rounds end at the same moment for all, whatever they weigh. The sum
            // of weights is below 2^64, slots are at most 2^20, and the rounds few.
            let scaled = u128::from(thrower.weight) * u128::from(slots) * round;
            let end = ((scaled / total) << 32) + (((scaled % total) << 32) / total);
            while let Some((slot, at)) = thrower.next_before(end, slots) {
                let hit = Hit {
                    at,
                    weight: thrower.weight,
                    index: index as u16,
                };
                match &mut first[slot as usize] {
                    Some(earlier) if !hit.is_before(earlier) => {}
                    Some(later) => *later = hit,
                    none => {
                        *none = Some(hit);
                        open -= 1;
                    }
                }
            }
        }
        if open == 0 {
            break;
        }
    }
    let owner = |hit: Option<Hit>| members[usize::from(hit.map_or(0, |hit| hit.index))].id;
    first.into_iter().map(owner).collect()
}

/// A node and the darts it has thrown.
struct Thrower {
    seed: u64,
    weight: u64,
    thrown: u64,
}

impl Thrower {
    fn new(member: &Member<'_>) -> Self {
        Self {
            seed: xxh3_64(member.name.as_bytes(), SEED),
            weight: member.weight,
            thrown: 0,
        }
    }

    /// The next dart's slot and moment, if it comes before this one. Moments
    /// are in 2^-32ths of the node's own pace; the dart number n is thrown
    /// between n and n + 1.
    #[inline]
    fn next_before(&mut self, end: u128, slots: u32) -> Option<(u32, u64)> {
        let bits = mix(self.seed.wrapping_add(self.thrown.wrapping_mul(STEP)));
        let at = (self.thrown << 32) | (bits & u64::from(u32::MAX));
        if u128::from(at) >= end {
            return None;
        }
        self.thrown += 1;
        let slot = ((bits >> 32) * u64::from(slots)) >> 32;
        Some((slot as u32, at))
    }
}

/// A slot that was hit.
#[derive(Clone, Copy)]
struct Hit {
    at: u64,
    weight: u64,
    index: u16,
}

impl Hit {
    /// Who weighs more throws faster: moments are compared as `at` / `weight`.
    /// Of two at once the lower name is first.
    #[inline]
    fn is_before(&self, other: &Self) -> bool {
        let mine = u128::from(self.at) * u128::from(other.weight);
        let others = u128::from(other.at) * u128::from(self.weight);
        (mine, self.index) < (others, other.index)
    }
}

/// Sets the hashes of names apart from those of keys: a key that is called like
/// a node must not be drawn to it.
const SEED: u64 = 0x7265_6e64_657a_766f;
/// From one number of a node's sequence to the next.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
