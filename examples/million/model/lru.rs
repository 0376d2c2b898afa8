/// The hits of an exact LRU cache, for all sizes at once.
///
/// A request hits an LRU cache of `n` entries if fewer than `n` other keys
/// were asked for since its key was last. That number, the stack distance, is
/// counted for every request in one pass, with a binary indexed tree over the
/// sequence that marks where each key was last asked for.
///
/// R. L. Mattson et al.: *Evaluation techniques for storage hierarchies*, IBM
/// Systems Journal 9(2), 1970.
#[derive(Debug)]
pub(crate) struct LruCurve {
    /// `hits[n]`: hits with `n` entries.
    hits: Vec<u64>,
}

impl LruCurve {
    /// `keys` are numbers below `unique`.
    pub(crate) fn new(keys: &[u32], unique: usize) -> Self {
        let mut at_distance = vec![0u64; unique + 1];
        let mut last = vec![None; unique];
        let mut marks = Marks(vec![0; keys.len() + 1]);
        let mut marked = 0u32;
        for (at, &key) in keys.iter().enumerate() {
            match last[key as usize].replace(at) {
                Some(before) => {
                    let others = marked - marks.up_to(before);
                    at_distance[others as usize + 1] += 1;
                    marks.add(before, false);
                }
                None => marked += 1,
            }
            marks.add(at, true);
        }
        let mut sum = 0;
        let hits = at_distance
            .into_iter()
            .map(|count| {
                sum += count;
                sum
            })
            .collect();
        Self { hits }
    }

    /// Hits with room for `capacity` keys.
    pub(crate) fn hits(&self, capacity: usize) -> u64 {
        let last = self.hits.len().saturating_sub(1);
        self.hits.get(capacity.min(last)).copied().unwrap_or(0)
    }

    /// The smallest capacity with at least this many hits.
    pub(crate) fn smallest(&self, hits: u64) -> Option<usize> {
        let capacity = self.hits.partition_point(|&reached| reached < hits);
        (capacity < self.hits.len()).then_some(capacity)
    }
}

/// P. M. Fenwick: *A new data structure for cumulative frequency tables*,
/// Software: Practice and Experience 24(3), 1994.
struct Marks(Vec<u32>);

impl Marks {
    fn add(&mut self, place: usize, mark: bool) {
        let mut node = place + 1;
        while node < self.0.len() {
            // An unmarked place was marked before, so no node goes below zero.
            self.0[node] = if mark {
                self.0[node] + 1
            } else {
                self.0[node] - 1
            };
            node += node & node.wrapping_neg();
        }
    }

    /// Marks at `place` and before.
    fn up_to(&self, place: usize) -> u32 {
        let (mut node, mut sum) = (place + 1, 0);
        while node > 0 {
            sum += self.0[node];
            node &= node - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(keys: &[u32], capacity: usize) -> u64 {
        let (mut newest_last, mut hits) = (Vec::new(), 0);
        for key in keys {
            if let Some(at) = newest_last.iter().position(|stored| stored == key) {
                newest_last.remove(at);
                hits += 1;
            }
            newest_last.push(*key);
            if newest_last.len() > capacity {
                newest_last.remove(0);
            }
        }
        hits
    }

    proptest! {
        #[test]
        fn equals_a_naive_lru_at_every_size(keys in prop::collection::vec(0u32..12, 0..200)) {
            let curve = LruCurve::new(&keys, 12);
            for capacity in 0..15 {
                prop_assert_eq!(curve.hits(capacity), naive(&keys, capacity));
            }
            if let Some(capacity) = curve.smallest(20) {
                prop_assert!(curve.hits(capacity) >= 20);
                prop_assert!(capacity == 0 || curve.hits(capacity - 1) < 20);
            }
        }
    }
}
