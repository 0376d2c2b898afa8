use std::collections::VecDeque;

/// The hits of a queue of `capacity` keys whose oldest falls out. `keys` are
/// numbers below `unique`.
pub(crate) fn fifo_hits(keys: &[u32], unique: usize, capacity: usize) -> u64 {
    let mut queue = VecDeque::new();
    let mut stored = vec![false; unique];
    let mut hits = 0;
    for &key in keys {
        if stored[key as usize] {
            hits += 1;
            continue;
        }
        if queue.len() >= capacity
            && let Some(oldest) = queue.pop_front()
        {
            stored[oldest as usize] = false;
        }
        if capacity > 0 {
            queue.push_back(key);
            stored[key as usize] = true;
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_falls_out_however_often_it_was_asked_for() {
        assert_eq!(fifo_hits(&[0, 1, 0, 0, 2, 0], 3, 2), 2);
        assert_eq!(fifo_hits(&[0, 0, 0], 1, 0), 0);
        assert_eq!(fifo_hits(&[0, 0, 0], 1, 9), 2);
    }
}
