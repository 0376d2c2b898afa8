//! Belady's optimum: the most hits that any policy can have.

use std::collections::BinaryHeap;

/// The hits of an all-knowing cache that evicts what is needed last, and
/// doesn't even store what is needed later than everything it holds.
///
/// The keys are the numbers below `unique`. O(n log n) time.
pub(crate) fn hits(keys: &[u32], unique: usize, capacity: usize) -> usize {
    let next = next_uses(keys, unique);
    // When the key is needed next if it is held, else NEVER.
    let mut needed = vec![NEVER; unique];
    // Latest first. An entry is stale unless it tells what `needed` tells.
    let mut latest: BinaryHeap<(u32, u32)> = BinaryHeap::new();
    let mut held = 0;
    let mut hits = 0;
    for (&key, &next) in keys.iter().zip(&next) {
        if needed[key as usize] != NEVER {
            hits += 1;
            // Taken out, to come back in like a new key: it is now the first
            // to be let go if it is the last to be needed.
            needed[key as usize] = NEVER;
            held -= 1;
        }
        if next == NEVER {
            continue;
        }
        if held == capacity {
            let (time, other) = loop {
                let &(time, other) = latest.peek().expect("every held key has an entry");
                if needed[other as usize] == time {
                    break (time, other);
                }
                latest.pop();
            };
            if time <= next {
                continue;
            }
            needed[other as usize] = NEVER;
            held -= 1;
        }
        needed[key as usize] = next;
        latest.push((next, key));
        held += 1;
    }
    hits
}

/// For each request, the place of the next one with the same key.
fn next_uses(keys: &[u32], unique: usize) -> Vec<u32> {
    let mut seen = vec![NEVER; unique];
    let mut next = vec![NEVER; keys.len()];
    for (place, &key) in keys.iter().enumerate().rev() {
        next[place] = seen[key as usize];
        seen[key as usize] =
            u32::try_from(place).expect("traces have fewer than 2^32 - 1 requests");
    }
    next
}

const NEVER: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tenfold::rng::Rng;

    use super::*;

    /// Tries everything: at each request, every choice of what to let go.
    fn best_by_search(
        keys: &[u32],
        held: u32,
        capacity: u32,
        known: &mut HashMap<(usize, u32), usize>,
    ) -> usize {
        let [key, rest @ ..] = keys else { return 0 };
        if let Some(&best) = known.get(&(keys.len(), held)) {
            return best;
        }
        let with = held | 1 << key;
        let mut best = best_by_search(rest, held, capacity, known);
        if with.count_ones() <= capacity {
            best = best.max(best_by_search(rest, with, capacity, known));
        }
        for other in 0..8 {
            if held & 1 << other != 0 {
                best = best.max(best_by_search(rest, with & !(1 << other), capacity, known));
            }
        }
        best += usize::from(held & 1 << key != 0);
        known.insert((keys.len(), held), best);
        best
    }

    #[test]
    fn no_choice_of_evictions_has_more_hits() {
        let mut rng = Rng::with_seed(3);
        for round in 0..60 {
            let keys: Vec<u32> = (0..24).map(|_| rng.below(8) as u32).collect();
            let capacity = 1 + round % 5;
            let best = best_by_search(&keys, 0, capacity, &mut HashMap::new());
            assert_eq!(
                hits(&keys, 8, capacity as usize),
                best,
                "{keys:?} with {capacity}"
            );
        }
    }

    #[test]
    fn a_cache_that_holds_everything_misses_each_key_once() {
        assert_eq!(hits(&[0, 1, 2, 0, 1, 2, 2], 3, 3), 4);
    }
}
