use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::node::NodeId;
use super::placement::{Placed, show};
use super::topology::{Table, Topology};

/// What moves between two topologies: exactly which keys leave which node for
/// which other.
///
/// It is about where keys *are*, their first copy; where copies
/// change, [`Topology::replicas`] of both topologies says so.
///
/// ```
/// use tenfold::router::Topology;
///
/// let old = Topology::builder().nodes(["pg-1", "pg-2", "pg-3", "pg-4"]).build()?;
/// let new = old.edit().node("pg-5").build()?;
/// let plan = old.plan(&new).unwrap();
/// assert!((plan.moved_share().unwrap() - 0.2).abs() < 0.001);
/// // Nothing moves that need not, and all of it goes to the new node.
/// assert_eq!(plan.moved_share(), plan.lower_bound());
/// assert!(plan.moves().iter().all(|part| part.to() == "pg-5"));
/// println!("{plan}");
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    from_epoch: u64,
    to_epoch: u64,
    moves: Vec<Move>,
    exceptions: Vec<Box<[u8]>>,
    moved: Option<f64>,
    least: Option<f64>,
}

impl Plan {
    /// The epoch that it starts from.
    pub fn from_epoch(&self) -> u64 {
        self.from_epoch
    }

    /// The epoch that it leads to.
    pub fn to_epoch(&self) -> u64 {
        self.to_epoch
    }

    /// What moves, in the order of hashes, slots or keys. Neighbours that move
    /// between the same nodes are one. Behind them come [single keys](Span::Key): those
    /// that either topology [says something](Topology::override_of) about, parts of split keys
    /// among them, and that go elsewhere. Such a key is moved as its own entry says, whatever
    /// happens to the range that it lies in.
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// The canonical bytes of keys that stay where they are though the range that they lie in
    /// moves: they are pinned, say.
    pub fn exceptions(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.exceptions.iter().map(|key| &**key)
    }

    /// Whether nothing moves.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// The share of all keys that moves; nothing for ranges of keys, of which nobody
    /// knows how full they are.
    pub fn moved_share(&self) -> Option<f64> {
        self.moved
    }

    /// The least that can move until every node has the share that it has in the new
    /// topology: the sum over the nodes of what they must give away.
    pub fn lower_bound(&self) -> Option<f64> {
        self.least
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} to {}: ", self.from_epoch, self.to_epoch)?;
        if let (Some(moved), Some(least)) = (self.moved, self.least) {
            let [moved, least] = [moved, least].map(|share| 100.0 * share);
            writeln!(f, "{moved:.3} % of all keys move, {least:.3} % must")?;
        } else {
            let ranges = self.moves.iter();
            let ranges = ranges.filter(|part| !matches!(part.span, Span::Key(_)));
            writeln!(f, "{} ranges of keys move", ranges.count())?;
        }
        for part in &self.moves {
            writeln!(f, "  {} -> {}: {}", part.from, part.to, part.span)?;
        }
        for key in &self.exceptions {
            writeln!(f, "  stays: key {}", show(key))?;
        }
        Ok(())
    }
}

/// Keys that leave one node for another.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    span: Span,
    from: Arc<str>,
    to: Arc<str>,
    share: Option<f64>,
}

impl Move {
    /// Which keys.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The name of the node that they leave.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// The name of the node that they go to.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// Which share of all keys they are, if that is known.
    pub fn share(&self) -> Option<f64> {
        self.share
    }
}

/// Keys that lie next to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Span {
    /// Those whose [`stable_hash(0)`](crate::hash::StableKey::stable_hash) is in this
    /// range: `WHERE hash BETWEEN start AND end`, if rows are stored with it. Where a
    /// database has signed numbers only, store `(hash ^ 1 << 63) as i64`, and ask for
    /// both ends alike: that keeps the order.
    ///
    /// The hash of a row that is there as bytes is that of its canonical bytes:
    /// `bytes.stable_hash(0)`.
    Hashes(RangeInclusive<u64>),
    /// Slots of a Redis Cluster.
    RedisSlots(RangeInclusive<u64>),
    /// Those whose hash on a ring is in this range.
    RingHashes(RangeInclusive<u64>),
    /// Those whose [ordered bytes](crate::hash::StableKey::write_ordered) are not
    /// below `from`, and below `to` if there is one.
    Keys {
        /// The first.
        from: Box<[u8]>,
        /// The first that is not among them.
        to: Option<Box<[u8]>>,
    },
    /// The one with these canonical bytes.
    Key(Box<[u8]>),
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hashes(range) => {
                write!(f, "hashes {:016x} to {:016x}", range.start(), range.end())
            }
            Self::RedisSlots(range) => write!(f, "slots {} to {}", range.start(), range.end()),
            Self::RingHashes(range) => {
                write!(f, "points {:08x} to {:08x}", range.start(), range.end())
            }
            Self::Key(key) => write!(f, "key {}", show(key)),
            Self::Keys { from, to: None } => write!(f, "keys from {} on", show(from)),
            Self::Keys { from, to: Some(to) } => {
                write!(f, "keys from {} to before {}", show(from), show(to))
            }
        }
    }
}

/// Two topologies that place keys in ways too different to say what moves as
/// ranges: by other hashes, or by the order of keys and by hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{from} and {to} place keys by different hashes: what moves is no list of ranges")]
pub struct Incomparable {
    from: &'static str,
    to: &'static str,
}

impl Topology {
    /// What moves from this topology to another, usually its next.
    ///
    /// Takes time in proportion to the slots of both.
    ///
    /// # Errors
    ///
    /// [`Incomparable`] if they do not place keys by the same hash.
    pub fn plan(&self, new: &Self) -> Result<Plan, Incomparable> {
        let (old_table, new_table) = (&*self.0, &*new.0);
        let mut plan = Plan {
            from_epoch: old_table.epoch,
            to_epoch: new_table.epoch,
            moves: Vec::new(),
            exceptions: Vec::new(),
            moved: None,
            least: None,
        };
        let numbers = |span: fn(RangeInclusive<u64>) -> Span, all: u128, plan: &mut Plan| {
            let (old, new) = (old_table.runs(), new_table.runs());
            plan.compare_numbers(&old, &new, all, span);
        };
        match (&old_table.placed, &new_table.placed) {
            (Placed::Slots(_), Placed::Slots(_)) => numbers(Span::Hashes, 1 << 64, &mut plan),
            (Placed::Redis(_), Placed::Redis(_)) => {
                numbers(Span::RedisSlots, 1 << 14, &mut plan);
            }
            (Placed::Ring(old), Placed::Ring(new)) if old.hashes_like(new) => {
                numbers(Span::RingHashes, 1 << 32, &mut plan);
            }
            (Placed::Ranges(old, _), Placed::Ranges(new, _)) => {
                let named = |(start, name): (&[u8], &str)| (start.into(), name.into());
                let old: Vec<(Box<[u8]>, _)> = old.starts().map(named).collect();
                let new: Vec<(Box<[u8]>, _)> = new.starts().map(named).collect();
                for (from, to, [before, after]) in differences(&old, &new) {
                    let span = Span::Keys { from, to };
                    plan.push(span, before, after, None);
                }
            }
            _ => {
                return Err(Incomparable {
                    from: old_table.policy.name(),
                    to: new_table.policy.name(),
                });
            }
        }
        plan.compare_keys(old_table, new_table);
        Ok(plan)
    }
}

impl Plan {
    /// What either topology says about single keys.
    fn compare_keys(&mut self, old: &Table, new: &Table) {
        let begun = old.overrides.exact.iter();
        let begun = begun.filter(|exact| new.overrides.like(exact).is_none());
        for exact in begun.chain(&new.overrides.exact) {
            let [before, after] = [old, new].map(|table| table.name(table.owner_of(exact)));
            let key = &exact.key.canonical;
            if before != after {
                self.push(Span::Key(key.clone()), before, after, None);
                continue;
            }
            let [before, after] = [old, new].map(|table| {
                let place = table.place_of(&exact.key);
                table.name(table.owner(place))
            });
            if before != after {
                self.exceptions.push(key.clone());
            }
        }
    }

    fn compare_numbers(
        &mut self,
        old: &[(u64, Arc<str>)],
        new: &[(u64, Arc<str>)],
        all: u128,
        span: fn(RangeInclusive<u64>) -> Span,
    ) {
        let mut moved = 0_u128;
        // What each node has now less what it will have.
        let mut surplus: BTreeMap<Arc<str>, i128> = BTreeMap::new();
        for (from, to, [before, after]) in differences(old, new) {
            let end = to.map_or(all, u128::from);
            let count = end - u128::from(from);
            moved += count;
            *surplus.entry(before.clone()).or_default() += count as i128;
            *surplus.entry(after.clone()).or_default() -= count as i128;
            let share = Some(count as f64 / all as f64);
            self.push(span(from..=(end - 1) as u64), before, after, share);
        }
        let least: i128 = surplus.into_values().filter(|&count| count > 0).sum();
        self.moved = Some(moved as f64 / all as f64);
        self.least = Some(least as f64 / all as f64);
    }

    fn push(&mut self, span: Span, from: Arc<str>, to: Arc<str>, share: Option<f64>) {
        self.moves.push(Move {
            span,
            from,
            to,
            share,
        });
    }
}

impl Table {
    fn name(&self, id: NodeId) -> Arc<str> {
        let rank = usize::from(self.ranks[id.index()]);
        self.nodes[rank].1.name.clone()
    }

    /// Where runs of one owner begin, and who that is: as hashes, slots or points.
    fn runs(&self) -> Vec<(u64, Arc<str>)> {
        let name = |id: u16| self.name(NodeId::from_raw(id));
        match &self.placed {
            Placed::Slots(owners) | Placed::Redis(owners) => {
                let redis = matches!(self.placed, Placed::Redis(_));
                // The first hash of a slot: slots divide all hashes evenly.
                let first = |slot: usize| {
                    if redis {
                        return slot as u64;
                    }
                    ((slot as u128) << 64).div_ceil(owners.len() as u128) as u64
                };
                let mut slot = 0;
                let run = |run: &[u16]| {
                    let start = first(slot);
                    slot += run.len();
                    (start, name(run[0]))
                };
                owners.chunk_by(|a, b| a == b).map(run).collect()
            }
            Placed::Ring(ring) => ring.arcs().map(|(start, id)| (start, name(id))).collect(),
            Placed::Ranges(..) => Vec::new(),
        }
    }
}

/// What two divisions of the same whole disagree on, as `(from, to, owners)`,
/// neighbours with the same owners joined. Both begin at the same place.
fn differences<K: Ord + Clone>(
    old: &[(K, Arc<str>)],
    new: &[(K, Arc<str>)],
) -> Vec<(K, Option<K>, [Arc<str>; 2])> {
    let mut found: Vec<(K, Option<K>, [Arc<str>; 2])> = Vec::new();
    let (mut a, mut b) = (0, 0);
    while let (Some(before), Some(after)) = (old.get(a), new.get(b)) {
        let from = before.0.clone().max(after.0.clone());
        let ends = [old.get(a + 1), new.get(b + 1)].map(|next| next.map(|run| &run.0));
        let to = ends.into_iter().flatten().min().cloned();
        if before.1 != after.1 {
            let owners = [before.1.clone(), after.1.clone()];
            match found.last_mut() {
                Some(last) if last.1.as_ref() == Some(&from) && last.2 == owners => {
                    last.1.clone_from(&to);
                }
                _ => found.push((from, to.clone(), owners)),
            }
        }
        let Some(to) = to else { break };
        a += usize::from(ends[0] == Some(&to));
        b += usize::from(ends[1] == Some(&to));
    }
    found
}
