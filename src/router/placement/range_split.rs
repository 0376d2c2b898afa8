use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Placed;
use super::ranges::{Ranges, ordered, show};
use crate::hash::StableKey;
use crate::router::error::TopologyError;
use crate::router::node::Node;
use crate::router::topology::Topology;

/// How to split a range that gets more than its share: where, and which node takes which
/// piece. It is a proposal; [`ranges`](Self::ranges) is what to edit the topology with.
///
/// ```
/// use tenfold::router::{Policy, Topology, placement::Ranges};
///
/// let ranges = Ranges::all("old").split(1000_u64, "new");
/// let topology = Topology::builder()
///     .nodes(["old", "new", "idle"])
///     .policy(Policy::Range(ranges))
///     .build()?;
/// // All that is asked for lately is in the second range.
/// let lately = (0..1000_u64).map(|n| 1000 + n * 7919 % 600);
/// let split = topology.propose_split(lately)?.expect("one range has it all");
/// assert_eq!((split.node(), split.share()), ("new", 1.0));
/// assert_eq!(split.pieces().len(), 3);
/// println!("{split}");
///
/// let next = topology.edit().policy(Policy::Range(split.ranges().clone())).build()?;
/// assert_eq!(next.route(1100_u64), topology.route(1100_u64));
/// assert_ne!(next.route(1300_u64), next.route(1500_u64));
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RangeSplit {
    epoch: u64,
    range: (Box<[u8]>, Option<Box<[u8]>>),
    node: Arc<str>,
    share: f64,
    fair: f64,
    pieces: Vec<RangePiece>,
    in_order: bool,
    ranges: Ranges,
}

/// A piece of a range that is to be split.
#[derive(Debug, Clone, PartialEq)]
pub struct RangePiece {
    from: Box<[u8]>,
    node: Arc<str>,
    share: f64,
}

impl RangePiece {
    /// Where it begins, as ordered bytes.
    pub fn from(&self) -> &[u8] {
        &self.from
    }

    /// The node that takes it.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The share of the whole sample that lies in it.
    pub fn share(&self) -> f64 {
        self.share
    }
}

impl RangeSplit {
    /// The epoch of the topology that it is made for.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Where the range begins, and where the next one does if there is one, as
    /// ordered bytes.
    pub fn range(&self) -> (&[u8], Option<&[u8]>) {
        (&self.range.0, self.range.1.as_deref())
    }

    /// The node that has the range.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The share of the sample that lies in the range.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// The share of all load that its node should have by weight.
    pub fn fair_share(&self) -> f64 {
        self.fair
    }

    /// The pieces, in the order of keys. The first stays where it is.
    pub fn pieces(&self) -> &[RangePiece] {
        &self.pieces
    }

    /// Whether the sample's keys grow as time goes by, as when a timestamp or a counter is the
    /// key. Whatever the boundaries, the newest keys are then in the last piece, all at once:
    /// the split is proposed behind the newest key, so that it moves no data and the
    /// next node takes its turn. Only another key spreads such load, one that begins with a
    /// part: see [`Salted`](crate::router::Salted).
    pub fn is_in_order(&self) -> bool {
        self.in_order
    }

    /// All ranges once it is done: no key outside of the range goes elsewhere.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }
}

impl fmt::Display for RangeSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| 100.0 * share;
        write!(f, "keys from {}", show(&self.range.0))?;
        if let Some(to) = &self.range.1 {
            write!(f, " to before {}", show(to))?;
        }
        writeln!(
            f,
            " on {} are {:.1} % of all, its share is {:.1} %",
            self.node,
            percent(self.share),
            percent(self.fair)
        )?;
        for piece in &self.pieces {
            writeln!(
                f,
                "  from {} on {}: {:.1} %",
                show(&piece.from),
                piece.node,
                percent(piece.share)
            )?;
        }
        if self.in_order {
            writeln!(
                f,
                "  keys come in order: a split hands the newest on, only another key spreads them"
            )?;
        }
        Ok(())
    }
}

impl Topology {
    /// Looks at a sample of keys as they come, the latest last, whether one range has more
    /// than half as much again as its node should have of all load, and if so how to split
    /// it: into pieces of a fair share at most, at quantiles of the sample; each to the node
    /// that is the lightest with it, for its weight. Nothing if all is well, or if one key is
    /// all there is to it, which [can be split itself](crate::router::TopologyBuilder::split).
    ///
    /// Takes time and memory in proportion to the sample; a few thousand keys will do.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRanges`] unless the policy is
    /// [`Policy::Range`](crate::router::Policy::Range).
    pub fn propose_split<K: StableKey>(
        &self,
        sample: impl IntoIterator<Item = K>,
    ) -> Result<Option<RangeSplit>, TopologyError> {
        let Placed::Ranges(ranges, _) = &self.0.placed else {
            return Err(TopologyError::NotRanges {
                policy: self.policy().name(),
            });
        };
        let sample: Vec<Vec<u8>> = sample.into_iter().map(|key| ordered(&key)).collect();
        let mut counts = vec![0_usize; ranges.count()];
        for key in &sample {
            counts[ranges.position(key)] += 1;
        }
        let total = sample.len() as f64;
        let mut loads: BTreeMap<&str, f64> = BTreeMap::new();
        for ((_, name), &count) in ranges.starts().zip(&counts) {
            *loads.entry(name).or_default() += count as f64 / total;
        }
        let weight = |node: &Node| node.relative_weight() as f64 / self.0.total_weight as f64;
        let weights: BTreeMap<&str, f64> = self
            .nodes()
            .map(|(_, node)| (node.name(), weight(node)))
            .collect();
        // The one that has most for its node's weight.
        let times = |((_, name), count): ((_, &str), &usize)| *count as f64 / weights[name];
        let times = ranges.starts().zip(&counts).map(times).enumerate();
        let Some((at, _)) = times.max_by(|(_, a), (_, b)| a.total_cmp(b)) else {
            return Ok(None);
        };
        let Some((from, node)) = ranges.starts().nth(at) else {
            return Ok(None);
        };
        let count = counts[at];
        let share = count as f64 / total;
        let fair = weights[node];
        if count < ENOUGH || share <= TOO_MUCH * fair {
            return Ok(None);
        }
        let within: Vec<&[u8]> = sample.iter().map(|key| &**key).collect();
        let within: Vec<&[u8]> = within
            .into_iter()
            .filter(|key| ranges.position(key) == at)
            .collect();
        let in_order = grows(&within);
        let (bounds, pieces) = cut(
            &within,
            in_order,
            (share / fair).ceil() as usize,
            weights.len(),
        );
        if bounds.is_empty() {
            return Ok(None);
        }
        // The first piece stays; each other goes to who has least with it, for its weight.
        *loads.entry(node).or_default() -= share - pieces[0] * share;
        let mut split = RangeSplit {
            epoch: self.epoch(),
            range: (
                from.into(),
                ranges.starts().nth(at + 1).map(|next| next.0.into()),
            ),
            node: node.into(),
            share,
            fair,
            pieces: vec![RangePiece {
                from: from.into(),
                node: node.into(),
                share: pieces[0] * share,
            }],
            in_order,
            ranges: ranges.clone(),
        };
        for (from, piece) in bounds.into_iter().zip(&pieces[1..]) {
            let piece = piece * share;
            let load = |name: &str| {
                let has = loads.get(name).copied().unwrap_or(0.0);
                (has + piece) / weights[name]
            };
            // Of equals, the one that has it.
            let nodes = [node].into_iter().chain(weights.keys().copied());
            let lightest = nodes.min_by(|a, b| load(a).total_cmp(&load(b)));
            let lightest = lightest.unwrap_or(node);
            *loads.entry(lightest).or_default() += piece;
            split.ranges = split.ranges.split_bytes(&from, lightest.into());
            split.pieces.push(RangePiece {
                from,
                node: lightest.into(),
                share: piece,
            });
        }
        Ok(Some(split))
    }
}

/// Whether keys grow as they come: nearly all of the last quarter are above nearly all of the
/// first three.
fn grows(keys: &[&[u8]]) -> bool {
    let (before, lately) = keys.split_at(keys.len() - keys.len() / 4);
    let mut before = before.to_vec();
    before.sort_unstable();
    let high = before[before.len() * 9 / 10];
    let above = lately.iter().filter(|key| **key > high).count();
    above * 10 >= lately.len() * 9
}

/// Where to cut a range, and the share of its load that each piece then has: one more than
/// cuts.
fn cut(keys: &[&[u8]], in_order: bool, pieces: usize, nodes: usize) -> (Vec<Box<[u8]>>, Vec<f64>) {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    let pieces = pieces.clamp(2, nodes.max(2));
    if in_order {
        // Behind the newest key: what is stored stays.
        let bound = [keys[keys.len() - 1], &[0]].concat();
        return (vec![bound.into()], vec![1.0, 0.0]);
    }
    let mut cuts: Vec<usize> = Vec::new();
    for piece in 1..pieces {
        let key = keys[piece * keys.len() / pieces];
        // A boundary is before all that are equal; if that is no cut, behind them.
        let last = cuts.last().copied().unwrap_or(0);
        let mut cut = keys.partition_point(|other| *other < key);
        if cut <= last {
            cut = keys.partition_point(|other| *other <= key);
        }
        if last < cut && cut < keys.len() {
            cuts.push(cut);
        }
    }
    let ends = cuts.iter().copied().chain([keys.len()]);
    let mut begin = 0;
    let shares = ends.map(|end| {
        let share = (end - begin) as f64 / keys.len() as f64;
        begin = end;
        share
    });
    let shares = shares.collect();
    (cuts.iter().map(|&cut| keys[cut].into()).collect(), shares)
}

/// A range that gets so many times what its node should have is split.
const TOO_MUCH: f64 = 1.5;
/// A sample of fewer keys in a range says nothing about where to split it.
const ENOUGH: usize = 20;
