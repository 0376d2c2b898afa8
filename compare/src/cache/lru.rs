//! Exact LRU, the base line of the hit ratios: small enough to be believed.

/// The hits of a cache of `capacity` entries that evicts the least recently
/// used one. The keys are the numbers below `unique`.
pub(crate) fn hits(keys: &[u32], unique: usize, capacity: usize) -> usize {
    // A ring of neighbours in order of use; `unique` is the place between the
    // most and the least recently used. A key that isn't held is its own
    // neighbour.
    let ends = unique;
    let mut older: Vec<usize> = (0..=unique).collect();
    let mut newer = older.clone();
    let (mut held, mut hits) = (0, 0);
    for &key in keys {
        let key = key as usize;
        if older[key] != key {
            hits += 1;
            unlink(&mut older, &mut newer, key);
        } else if held == capacity {
            let oldest = newer[ends];
            unlink(&mut older, &mut newer, oldest);
        } else {
            held += 1;
        }
        let newest = older[ends];
        (older[key], newer[key]) = (newest, ends);
        (newer[newest], older[ends]) = (key, key);
    }
    hits
}

fn unlink(older: &mut [usize], newer: &mut [usize], key: usize) {
    let (before, after) = (older[key], newer[key]);
    (newer[before], older[after]) = (after, before);
    (older[key], newer[key]) = (key, key);
}

#[cfg(test)]
mod tests {
    use tenfold::rng::Rng;

    use super::*;

    #[test]
    fn hits_are_those_of_a_list_in_order_of_use() {
        let mut rng = Rng::with_seed(5);
        for capacity in 1..12 {
            let keys: Vec<u32> = (0..2_000)
                .map(|_| rng.below(4 + rng.clone().below(12)) as u32)
                .collect();
            let mut order: Vec<u32> = Vec::new();
            let mut expected = 0;
            for &key in &keys {
                if let Some(place) = order.iter().position(|&k| k == key) {
                    order.remove(place);
                    expected += 1;
                } else if order.len() == capacity {
                    order.remove(0);
                }
                order.push(key);
            }
            assert_eq!(hits(&keys, 16, capacity), expected);
        }
    }
}
