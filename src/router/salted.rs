use crate::hash::{CanonicalBytes, StableKey};

/// A part of a key that is too much for one node: the key with a number.
///
/// Part 0 is the key itself, with the key's own bytes, so that what was stored before it
/// was [split](super::TopologyBuilder::split) is still found. Other parts have keys of
/// their own, the bytes of the tuple `(key, "part", number)`: what is stored of
/// them is stored under those. While the topology says that the key is split, its parts lie on
/// distinct nodes, as far as there are enough.
///
/// Writes go to one part each, and reads gather them all, where parts add up (a
/// counter, a timeline); or writes go to all of them, and reads to any one.
///
/// ```
/// use tenfold::router::{Salted, Topology};
///
/// let nodes = Topology::builder().nodes(["a", "b", "c", "d"]);
/// let topology = nodes.split("celebrity", 3).build()?;
/// // A hundred writes, each to a part that a number chooses, here the writer's own.
/// let mut written = vec![0; topology.node_bound()];
/// for writer in 0..99 {
///     let part = topology.part("celebrity", writer);
///     written[topology.route(part).index()] += 1;
/// }
/// assert_eq!(written.iter().filter(|&&writes| writes == 33).count(), 3);
/// // A read asks three nodes; of a key that is not split, one.
/// let asked: Vec<_> = topology.parts("celebrity").map(|part| topology.route(part)).collect();
/// assert_eq!((asked.len(), asked[0]), (3, topology.route("celebrity")));
/// assert_eq!(topology.parts("anyone").collect::<Vec<_>>(), [Salted::new("anyone", 0)]);
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salted<K> {
    key: K,
    part: u32,
}

impl<K> Salted<K> {
    /// This part of a key.
    pub const fn new(key: K, part: u32) -> Self {
        Self { key, part }
    }

    /// The key that it is a part of.
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// Its number.
    pub const fn part(&self) -> u32 {
        self.part
    }
}

impl<K: StableKey> StableKey for Salted<K> {
    fn write_canonical(&self, bytes: &mut CanonicalBytes) {
        if self.part == 0 {
            return self.key.write_canonical(bytes);
        }
        (&self.key, "part", self.part).write_canonical(bytes);
    }

    /// Parts sort right behind their key, unless that is the beginning of another.
    fn write_ordered(&self, bytes: &mut CanonicalBytes) {
        self.key.write_ordered(bytes);
        if self.part > 0 {
            bytes.append(b"\0part");
            bytes.append(&self.part.to_be_bytes());
        }
    }

    #[inline]
    fn stable_hash(&self, seed: u64) -> u64 {
        if self.part == 0 {
            return self.key.stable_hash(seed);
        }
        let mut bytes = CanonicalBytes::new();
        self.write_canonical(&mut bytes);
        crate::hash::xxh3_64(bytes.as_slice(), seed)
    }
}

/// Into how many parts to split a key that has this share of all load, so that no node
/// has more than 1.3 times the mean, all else being even: 1 if it is light enough as it
/// is, and never more than there are nodes.
///
/// ```
/// use tenfold::router::parts_for;
///
/// assert_eq!([parts_for(0.5, 10), parts_for(0.5, 100), parts_for(0.001, 100)], [7, 63, 1]);
/// ```
pub fn parts_for(share: f64, nodes: usize) -> u32 {
    // A node that holds a part has `(1 - share) / nodes + share / parts`.
    let share = share.clamp(0.0, 1.0);
    let parts = (share * nodes as f64 / (MOST - 1.0 + share)).ceil();
    (parts as u32).max(1)
}

/// The load of the fullest node over the mean that parts are chosen for.
const MOST: f64 = 1.3;
