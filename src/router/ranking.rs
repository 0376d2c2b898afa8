use std::cmp::Ordering;

use super::node::Node;
use crate::hash::{StableKey, xxh3_64};
use crate::rng::mix;

/// All nodes in each key's own order of preference, by weighted rendezvous hashing.
///
/// A [`Topology`](super::Topology) looks keys up in a table, where only the first of that order
/// lies. Here it is computed for each key, all of it, so that taking nodes away
/// leaves the others in the order they had: whoever is second for a key is who will be first without
/// the first. That is what a copy wants that shall take over. A hash and a comparison per
/// node and call (of nodes of different weights about 100 ns each), so for tens of nodes rather than thousands.
///
/// ```
/// use tenfold::router::Ranking;
///
/// let five = Ranking::new(["a", "b", "c", "d", "e"]);
/// let order = five.order("user:42");
/// assert_eq!(five.first_where("user:42", |node| node != order[0]), Some(order[1]));
///
/// // The same without the first node: the second is first, and so on.
/// let others = (0..5).filter(|&node| node != order[0]);
/// let four = Ranking::new(others.map(|node| five.nodes()[node].clone()));
/// let names = |ranking: &Ranking, order: &[usize]| -> Vec<String> {
///     order.iter().map(|&node| ranking.nodes()[node].name().to_owned()).collect()
/// };
/// assert_eq!(names(&four, &four.order("user:42")), names(&five, &order[1..]));
/// ```
#[derive(Debug, Clone)]
pub struct Ranking {
    nodes: Vec<Node>,
    /// What each node's name foretells, in the order of nodes.
    seeds: Vec<u64>,
}

impl Ranking {
    /// Ranks these nodes. Their names and weights decide, not where they stand; one
    /// that weighs nothing comes last. Two of one name are in the order given.
    pub fn new(nodes: impl IntoIterator<Item = impl Into<Node>>) -> Self {
        let nodes: Vec<Node> = nodes.into_iter().map(Into::into).collect();
        let seed = |node: &Node| xxh3_64(node.name().as_bytes(), SEED);
        let seeds = nodes.iter().map(seed).collect();
        Self { nodes, seeds }
    }

    /// The nodes, in the order given: what the others answer are places in it.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The first node in the key's order that is accepted. `accept` is asked about
    /// each node once.
    pub fn first_where(
        &self,
        key: impl StableKey,
        mut accept: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let hash = mix(key.stable_hash(0));
        let scores = (0..self.nodes.len()).filter(|&node| accept(node));
        let first = scores.map(|node| self.score(hash, node)).min();
        first.map(|score| score.node)
    }

    /// All nodes in the key's order.
    pub fn order(&self, key: impl StableKey) -> Vec<usize> {
        let hash = mix(key.stable_hash(0));
        let scores = (0..self.nodes.len()).map(|node| self.score(hash, node));
        let mut scores: Vec<Score> = scores.collect();
        scores.sort_unstable();
        scores.into_iter().map(|score| score.node).collect()
    }

    fn score(&self, hash: u64, node: usize) -> Score {
        Score {
            bits: mix(self.seeds[node] ^ hash),
            weight: self.nodes[node].relative_weight(),
            node,
        }
    }
}

/// How soon a node comes for a key: a draw from the exponential distribution, at the
/// pace of its weight. The lowest is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Score {
    bits: u64,
    weight: u64,
    node: usize,
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_bits = || (other.bits, self.node).cmp(&(self.bits, other.node));
        if self.weight == other.weight {
            return by_bits();
        }
        // -log(bits) / weight, compared without a division.
        let mine = u128::from(minus_log2(self.bits)) * u128::from(other.weight);
        let others = u128::from(minus_log2(other.bits)) * u128::from(self.weight);
        mine.cmp(&others).then_with(by_bits)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `-log2(bits / 2^64)` in 2^-32ths, by squaring: in integers, so that all machines agree
/// to the last bit. Never zero.
fn minus_log2(bits: u64) -> u64 {
    let bits = bits | 1;
    let zeros = bits.leading_zeros();
    let mut rest = bits << zeros;
    let mut log = u64::from(63 - zeros);
    for _ in 0..32 {
        let square = u128::from(rest) * u128::from(rest);
        let is_two = square >> 127 == 1;
        log = log << 1 | u64::from(is_two);
        rest = (square >> if is_two { 64 } else { 63 }) as u64;
    }
    (64_u64 << 32) - log
}

/// Sets these hashes apart from those of the policies.
const SEED: u64 = 0x7261_6e6b_696e_6773;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_right_to_a_millionth() {
        for bits in [1, 3, 1 << 20 | 1, u64::MAX >> 1, (1 << 63) + 1, u64::MAX] {
            let right = 64.0 - (bits as f64).log2();
            let found = minus_log2(bits) as f64 / f64::from(1 << 16) / f64::from(1 << 16);
            assert!((found - right).abs() < 1e-6, "{bits}: {found}, not {right}");
        }
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let nodes = [("a", 1), ("b", 2), ("c", 5), ("idle", 0)];
        let ranking = Ranking::new(nodes.map(|(name, weight)| Node::new(name).weight(weight)));
        let mut first = [0; 4];
        for key in 0..80_000_u64 {
            let order = ranking.order(key);
            assert_eq!(ranking.first_where(key, |_| true), Some(order[0]));
            assert_eq!(order[3], 3, "who weighs nothing is last");
            first[order[0]] += 1;
        }
        for (keys, (_, weight)) in first.into_iter().zip(nodes) {
            let share: u64 = weight * 10_000;
            assert!(share.abs_diff(keys) < 500, "{first:?}");
        }
    }

    #[test]
    fn the_order_never_changes() {
        // Other processes compute it too.
        let ranking = Ranking::new((0..5).map(|n| format!("node-{n}")));
        let orders: Vec<_> = (0..4_u64).map(|key| ranking.order(key)).collect();
        assert_eq!(orders, GOLDEN);
    }

    const GOLDEN: [[usize; 5]; 4] = [
        [0, 4, 2, 1, 3],
        [0, 1, 4, 3, 2],
        [0, 2, 1, 4, 3],
        [2, 3, 1, 0, 4],
    ];
}
