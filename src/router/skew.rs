use std::fmt;

use super::node::NodeId;
use super::salted::parts_for;
use super::top_keys::{HotKey, TopKeys};
use super::topology::Topology;
use crate::hash::StableKey;

/// How even a shard key would be: from a sample of real requests or rows, before
/// it is chosen.
///
/// ```
/// use tenfold::router::Topology;
///
/// let topology = Topology::builder().nodes(["a", "b", "c", "d"]).build()?;
/// // By country: every second row is from the same one.
/// let countries = (0..10_000).map(|row| if row % 2 == 0 { 0 } else { row });
/// let report = topology.skew_report(countries);
/// assert!(report.max_over_mean() > 2.0);
/// assert!((report.share_of_heaviest() - 0.5).abs() < 0.02);
/// assert_eq!(report.parts_for_heaviest(), 3);
/// // By row: even.
/// assert!(topology.skew_report(0..10_000).max_over_mean() < 1.1);
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SkewReport {
    keys: u64,
    /// Keys of each node, by weight: 1 is its share.
    loads: Vec<(NodeId, String, u64, f64)>,
    heaviest: Vec<HotKey>,
}

impl SkewReport {
    /// How many keys were given.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The keys of each node.
    pub fn loads(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.loads.iter().map(|(id, _, keys, _)| (*id, *keys))
    }

    /// The load of the fullest node over its share: 1 is even. Zero without keys.
    pub fn max_over_mean(&self) -> f64 {
        self.loads.iter().map(|load| load.3).fold(0.0, f64::max)
    }

    /// The ten keys that came most often, as an estimate: see [`TopKeys`].
    pub fn heaviest(&self) -> &[HotKey] {
        &self.heaviest
    }

    /// The share of all keys that the one has that came most often.
    pub fn share_of_heaviest(&self) -> f64 {
        let count = self.heaviest.first().map_or(0, HotKey::count);
        count as f64 / self.keys.max(1) as f64
    }

    /// Into how many parts to [split](super::TopologyBuilder::split) that key so that, all
    /// else being even, no node has more than 1.3 times the mean: 1 if it is
    /// light enough as it is.
    pub fn parts_for_heaviest(&self) -> usize {
        parts_for(self.share_of_heaviest(), self.loads.len()) as usize
    }
}

impl fmt::Display for SkewReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} keys, the fullest of {} nodes has {:.2} times its share",
            self.keys,
            self.loads.len(),
            self.max_over_mean()
        )?;
        for (_, name, keys, times) in &self.loads {
            writeln!(f, "  {name}: {keys} keys, {times:.2} times its share")?;
        }
        let percent = 100.0 * self.share_of_heaviest();
        match self.parts_for_heaviest() {
            1 => writeln!(
                f,
                "the heaviest key is {percent:.2} % of all: leave it whole"
            ),
            parts => writeln!(
                f,
                "the heaviest key is {percent:.2} % of all: split it into {parts} parts"
            ),
        }
    }
}

impl Topology {
    /// Routes a sample of keys and says how even that is, and which come too often.
    ///
    /// A key that is split or has copies of its own counts for each of their nodes in turn.
    pub fn skew_report<K: StableKey>(&self, keys: impl IntoIterator<Item = K>) -> SkewReport {
        let mut counts = vec![0_u64; self.node_bound()];
        let mut top = TopKeys::new(1000);
        // How often each key came about which something is said.
        let mut turns = vec![0; self.0.overrides.exact.len()];
        for key in keys {
            let node = match self.0.numbered(&key) {
                Some((number, load)) => {
                    turns[number] += 1;
                    load[turns[number] % load.len()]
                }
                None => self.route(&key),
            };
            counts[node.index()] += 1;
            top.count(&key, 1);
        }
        let total = self.0.total_weight as f64;
        let loads = self.nodes().map(|(id, node)| {
            let keys = counts[id.index()];
            let share = node.relative_weight() as f64 / total * top.total() as f64;
            let times = if keys == 0 { 0.0 } else { keys as f64 / share };
            (id, node.name().to_owned(), keys, times)
        });
        SkewReport {
            keys: top.total(),
            loads: loads.collect(),
            heaviest: top.top(10),
        }
    }

    /// The nodes that a celebrity's parts or copies lie on, or would: as many as asked
    /// for, or all there are, distinct, its home and copies first; so that one part
    /// more changes no other.
    ///
    /// [Split](super::TopologyBuilder::split) it, where it is written more than read, and
    /// [copy](super::TopologyBuilder::replicate) it, where it is read more.
    ///
    /// ```
    /// use tenfold::router::Topology;
    ///
    /// let topology = Topology::builder().nodes(["a", "b", "c", "d"]).build()?;
    /// let nodes = topology.spread_over("celebrity", 3);
    /// assert_eq!((nodes.len(), nodes[0]), (3, topology.route("celebrity")));
    ///
    /// let split = topology.edit().split("celebrity", 3).build()?;
    /// let parts = split.parts("celebrity").map(|part| split.route(part));
    /// assert_eq!(parts.collect::<Vec<_>>(), nodes);
    /// # Ok::<(), tenfold::router::TopologyError>(())
    /// ```
    pub fn spread_over(&self, key: impl StableKey, parts: usize) -> Vec<NodeId> {
        let place = self.0.place(&key);
        let copies = match self.0.exact(&key) {
            Some(exact) => exact.copies,
            None => self.0.replicas_at(place),
        };
        self.0.spread_from(&copies, place, parts)
    }
}
