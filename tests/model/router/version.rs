use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use tenfold::router::placement::{Directory, Ketama, Ranges};
use tenfold::router::{
    Node, NodeId, Policy, Replicas, Spread, Topology, TopologyBuilder, TopologyError,
};

use super::{Op, hash_of, slot_of};

/// A topology, and what it should be.
pub(super) struct Version {
    pub(super) topology: Topology,
    pub(super) model: Model,
    pub(super) bytes: Vec<u8>,
    /// Of each slot.
    pub(super) owners: Vec<NodeId>,
}

#[derive(Clone)]
pub(super) struct Model {
    pub(super) nodes: BTreeMap<String, (u64, Option<String>)>,
    pub(super) policy: Policy,
    pub(super) slots: u32,
    pub(super) copies: usize,
    pub(super) spread: Spread,
}

impl Version {
    pub(super) fn first() -> Self {
        let model = Model {
            nodes: BTreeMap::from([("n0".to_owned(), (1, None))]),
            policy: Policy::Balanced,
            slots: SLOTS,
            copies: 1,
            spread: Spread::Nodes,
        };
        let first = Topology::builder().node("n0").slots(SLOTS).build();
        Self::new(first.unwrap(), model)
    }

    fn new(topology: Topology, model: Model) -> Self {
        let owners = (0..topology.slots()).map(|slot| topology.owner_of_slot(slot).unwrap());
        let version = Self {
            bytes: topology.to_bytes(),
            owners: owners.collect(),
            topology,
            model,
        };
        version.check();
        version
    }

    /// The next version; nothing if the edits describe none, and then the error is
    /// one that the model knows of, and this version is as it was.
    pub(super) fn edited(&self, edits: &[Op]) -> Option<Self> {
        let mut builder = self.topology.edit();
        let mut next = self.model.clone();
        let mut slots = None;
        let mut mistake = None;
        // Nodes that are not who they were, even if they have the same name.
        let mut strangers = BTreeSet::new();
        for edit in edits {
            builder = next.edit(builder, *edit, &mut slots, &mut strangers, &mut mistake);
        }
        let built = builder.build();
        let faults = match mistake {
            Some(mistake) => vec![mistake],
            None => next.faults(&self.model, slots),
        };
        assert_eq!(self.topology.to_bytes(), self.bytes);
        let topology = match built {
            Ok(topology) => topology,
            Err(error) => {
                let known = |fault: &TopologyError| discriminant(fault) == discriminant(&error);
                assert!(faults.iter().any(known), "{error}, expected {faults:?}");
                return None;
            }
        };
        assert!(faults.is_empty(), "built in spite of {faults:?}");
        assert_eq!(topology.epoch(), self.topology.epoch() + 1);
        next.slots = topology.slots();
        let version = Self::new(topology, next);
        version.check_moves(self, &strangers);
        Some(version)
    }

    /// What must hold whatever came before.
    pub(super) fn check(&self) {
        let Self {
            topology, model, ..
        } = self;
        assert_eq!(topology.to_bytes(), self.bytes);
        let node = |(_, node): (NodeId, &Node)| {
            let zone = node.zone_name().map(str::to_owned);
            (node.name().to_owned(), (node.relative_weight(), zone))
        };
        assert!(topology.nodes().map(node).eq(model.nodes.clone()));
        for (id, node) in topology.nodes() {
            assert_eq!(topology.id_of(node.name()), Some(id));
            let owned = self.owners.iter().filter(|owner| **owner == id).count();
            assert_eq!(topology.slots_of(id), owned);
        }
        if model.policy.is_history_free() {
            let mut same = Topology::builder().policy(model.policy.clone());
            if model.slots > 0 {
                same = same.slots(model.slots);
            }
            for (name, (weight, zone)) in model.nodes.iter().rev() {
                same = same.node(node_of(name, *weight, zone.as_deref()));
            }
            let same = same.replicas(model.copies).distinct_zones(model.spread);
            assert_eq!(same.build().unwrap().fingerprint(), topology.fingerprint());
        }
        for key in 0..64 {
            let copies = topology.replicas(key);
            assert_eq!(copies[0], topology.route(key));
            model.check_copies(topology, &copies);
            let name = topology.name(copies[0]).map(str::to_owned);
            if let Some(owner) = self.owner_of(key) {
                assert_eq!(name, Some(owner));
            }
        }
    }

    /// Who a key lies on, where the model can tell.
    pub(super) fn owner_of(&self, key: u64) -> Option<String> {
        match self.model.policy {
            Policy::Ketama(_) | Policy::RedisCluster(_) => None,
            Policy::Range(_) => {
                let range = RANGES.iter().rev().find(|range| range.0 <= key)?;
                Some(range.1.to_owned())
            }
            _ => {
                let owner = self.owners[slot_of(hash_of(key), self.owners.len())];
                self.topology.name(owner).map(str::to_owned)
            }
        }
    }

    /// What must hold about the slots that moved.
    fn check_moves(&self, before: &Self, strangers: &BTreeSet<String>) {
        let (old, new) = (&before.owners, &self.owners);
        match self.model.policy {
            Policy::Balanced | Policy::RedisCluster(None) => {
                let of_redis = |model: &Model| matches!(model.policy, Policy::RedisCluster(_));
                let comparable = of_redis(&before.model) == of_redis(&self.model)
                    && !old.is_empty()
                    && new.len().is_multiple_of(old.len());
                let times = new.len() / old.len().max(1);
                let old: Vec<_> = old
                    .iter()
                    .flat_map(|owner| std::iter::repeat_n(*owner, times))
                    .collect();
                let same_policy =
                    discriminant(&before.model.policy) == discriminant(&self.model.policy);
                if comparable && times > 1 && same_policy && self.same_shares(before, strangers) {
                    assert_eq!(old, *new, "doubling moved a slot");
                    return;
                }
                self.check_shares(1);
                if comparable {
                    self.check_least(&old);
                }
            }
            Policy::Maglev if self.model.is_even() => self.check_shares(1),
            Policy::Maglev => self.check_shares(self.model.nodes.len() as u128),
            Policy::Modulo => self.check_shares(1),
            Policy::Jump
                if matches!(before.model.policy, Policy::Jump) && old.len() == new.len() =>
            {
                for (old, new) in old.iter().zip(new) {
                    let gone = self.topology.node(*old).is_none();
                    let came = before.topology.node(*new).is_none();
                    assert!(old == new || gone || came);
                }
            }
            _ => {}
        }
    }

    fn same_shares(&self, before: &Self, strangers: &BTreeSet<String>) -> bool {
        let share = |(name, (weight, _)): (&String, &(u64, _))| (name.clone(), *weight);
        let old = before.model.nodes.iter().map(share);
        let came = |name: &String| strangers.contains(name);
        old.eq(self.model.nodes.iter().map(share)) && !self.model.nodes.keys().any(came)
    }

    /// Every node has its share of slots to within so many.
    fn check_shares(&self, within: u128) {
        let slots = self.owners.len() as u128;
        let total: u128 = self.model.weights().sum();
        for (id, node) in self.topology.nodes() {
            let owned = self.owners.iter().filter(|owner| **owner == id).count() as u128;
            let share = u128::from(node.relative_weight()) * slots;
            assert!((owned * total).abs_diff(share) < within * total);
        }
    }

    /// No more moved than the best even division had to move: each node
    /// keeps what it has up to its share rounded down, and as many as there are
    /// slots left over keep one more.
    fn check_least(&self, old: &[NodeId]) {
        let slots = old.len() as u128;
        let total: u128 = self.model.weights().sum();
        let (mut kept, mut floors, mut keepers) = (0, 0, 0);
        for (id, node) in self.topology.nodes() {
            let had = old.iter().filter(|owner| **owner == id).count() as u128;
            let share = u128::from(node.relative_weight()) * slots;
            let floor = share / total;
            floors += floor;
            kept += had.min(floor);
            keepers += u128::from(had > floor && !share.is_multiple_of(total));
        }
        kept += keepers.min(slots - floors);
        let stayed = old.iter().zip(&self.owners).filter(|(a, b)| a == b).count();
        assert_eq!(stayed as u128, kept, "of {slots} slots");
    }
}

impl Model {
    pub(super) fn weights(&self) -> impl Iterator<Item = u128> {
        self.nodes.values().map(|(weight, _)| u128::from(*weight))
    }

    fn is_even(&self) -> bool {
        self.weights().collect::<BTreeSet<_>>().len() <= 1
    }

    /// All distinct, as many as asked for, in as many zones as they must be.
    pub(super) fn check_copies(&self, topology: &Topology, copies: &Replicas) {
        assert_eq!(copies.len(), self.copies);
        assert_eq!(copies.iter().collect::<BTreeSet<_>>().len(), self.copies);
        // A node in no zone is one of its own.
        let zone = |name: &str| match &self.nodes[name].1 {
            Some(zone) => zone.clone(),
            None => format!("only {name}"),
        };
        let all: BTreeSet<_> = self.nodes.keys().map(|name| zone(name)).collect();
        let names = copies.iter().map(|id| topology.name(*id).unwrap());
        let found = names.map(zone).collect::<BTreeSet<_>>().len();
        if self.spread != Spread::Nodes {
            assert_eq!(found, self.copies.min(all.len()));
        }
    }

    fn edit(
        &mut self,
        builder: TopologyBuilder,
        edit: Op,
        slots: &mut Option<u32>,
        strangers: &mut BTreeSet<String>,
        mistake: &mut Option<TopologyError>,
    ) -> TopologyBuilder {
        let name = |number: u8| format!("n{}", number % 12);
        let unknown = |name: &str| TopologyError::UnknownNode { name: name.into() };
        match edit {
            Op::Add(number, weight, zone) => {
                let (name, weight, zone) = (name(number), weight_of(weight), zone_of(zone));
                let node = node_of(&name, weight, zone.as_deref());
                if self.nodes.insert(name.clone(), (weight, zone)).is_some() {
                    let name = (*name).into();
                    mistake.get_or_insert(TopologyError::DuplicateNode { name });
                }
                strangers.insert(name);
                builder.node(node)
            }
            Op::Update(number, weight, zone) => {
                let (name, weight, zone) = (name(number), weight_of(weight), zone_of(zone));
                let node = node_of(&name, weight, zone.as_deref());
                if self.nodes.insert(name.clone(), (weight, zone)).is_none() {
                    mistake.get_or_insert(unknown(&name));
                }
                builder.update(node)
            }
            Op::Remove(number) => {
                let name = name(number);
                if self.nodes.remove(&name).is_none() {
                    mistake.get_or_insert(unknown(&name));
                }
                builder.remove(name)
            }
            Op::Policy(number) => {
                let (policy, asked) = policy(number);
                self.policy = policy.clone();
                *slots = asked.or(*slots);
                let builder = builder.policy(policy);
                match asked {
                    Some(slots) => builder.slots(slots),
                    None => builder,
                }
            }
            Op::Double => {
                let doubled = (2 * slots.unwrap_or(self.slots)).min(8 * SLOTS);
                *slots = Some(doubled);
                builder.slots(doubled)
            }
            Op::Copies(copies) => {
                self.copies = usize::from(copies % 10);
                builder.replicas(self.copies)
            }
            Op::Spread(spread) => {
                self.spread =
                    [Spread::Nodes, Spread::Prefer, Spread::Require][usize::from(spread % 3)];
                builder.distinct_zones(self.spread)
            }
            _ => builder,
        }
    }

    /// All that is wrong with a topology, as this describes it.
    fn faults(&self, before: &Self, asked: Option<u32>) -> Vec<TopologyError> {
        let mut faults = Vec::new();
        let nodes = self.nodes.len();
        let slots = asked.unwrap_or(self.slots);
        let same_policy = discriminant(&self.policy) == discriminant(&before.policy);
        let policy = "";
        let suits = match self.policy {
            Policy::Range(_) | Policy::Ketama(_) => asked.is_none(),
            Policy::RedisCluster(_) => asked.is_none() || slots == 16_384,
            Policy::Maglev => [PRIME, 3].contains(&slots),
            _ => slots.is_power_of_two(),
        };
        if !suits {
            let expected = "";
            faults.push(TopologyError::Slots {
                policy,
                expected,
                found: slots,
            });
        }
        if same_policy && matches!(self.policy, Policy::Balanced) && slots < before.slots {
            let have = before.slots;
            faults.push(TopologyError::FewerSlotsThanBefore { have, found: slots });
        }
        if nodes == 0 {
            faults.push(TopologyError::NoNodes);
        }
        if self.weights().any(|weight| weight == 0) {
            faults.push(TopologyError::ZeroWeight { name: "".into() });
        }
        if self.weights().sum::<u128>() > u128::from(u64::MAX) {
            faults.push(TopologyError::WeightOverflow);
        }
        let replicas = self.copies;
        if !(1..=8).contains(&replicas) {
            let max = 8;
            faults.push(TopologyError::Replicas {
                found: replicas,
                max,
            });
        }
        if replicas > nodes {
            faults.push(TopologyError::TooFewNodes { replicas, nodes });
        }
        if self.spread == Spread::Require {
            let zones: BTreeSet<_> = self.nodes.values().map(|(_, zone)| zone).collect();
            if zones.contains(&None) {
                faults.push(TopologyError::NodeWithoutZone { name: "".into() });
            } else if zones.len() < replicas {
                let zones = zones.len();
                faults.push(TopologyError::TooFewZones { replicas, zones });
            }
        }
        self.faults_of_policy(slots, &mut faults);
        faults
    }

    fn faults_of_policy(&self, slots: u32, faults: &mut Vec<TopologyError>) {
        let unknown = |names: &[&str], faults: &mut Vec<TopologyError>| {
            if names.iter().any(|name| !self.nodes.contains_key(*name)) {
                faults.push(TopologyError::UnknownNode { name: "".into() });
            }
        };
        let per_weight = match &self.policy {
            Policy::Ring { vnodes } => u128::from(*vnodes),
            Policy::Ketama(Ketama::Nginx) => 160,
            Policy::Directory(directory) => {
                let ranges: Vec<_> = directory.ranges().collect();
                unknown(&[ranges[0].1, ranges[1].1], faults);
                match ranges[0].0.end.cmp(&ranges[1].0.start) {
                    std::cmp::Ordering::Less => {
                        faults.push(TopologyError::Gap { gap: String::new() });
                    }
                    std::cmp::Ordering::Greater => {
                        let (first, second) = (String::new(), String::new());
                        faults.push(TopologyError::OverlappingRanges { first, second });
                    }
                    std::cmp::Ordering::Equal => {}
                }
                if slots != SLOTS {
                    faults.push(TopologyError::Gap { gap: String::new() });
                }
                0
            }
            Policy::Range(_) => {
                unknown(&RANGES.map(|range| range.1), faults);
                0
            }
            Policy::Jump | Policy::Modulo | Policy::Ketama(Ketama::Libmemcached)
                if !self.is_even() =>
            {
                faults.push(TopologyError::Unweighted { policy: "" });
                0
            }
            _ => 0,
        };
        let points = per_weight * self.weights().sum::<u128>();
        if points > 1 << 21 {
            let (found, max) = (u64::MAX, 1 << 21);
            faults.push(TopologyError::Points { found, max });
        }
    }
}

fn node_of(name: &str, weight: u64, zone: Option<&str>) -> Node {
    let node = Node::new(name).weight(weight);
    match zone {
        Some(zone) => node.zone(zone),
        None => node,
    }
}

/// Mostly small weights; none, and far too much of it, too.
fn weight_of(number: u8) -> u64 {
    match number {
        0..200 => u64::from(number % 9 + 1),
        200..250 => 1,
        250 => 0,
        251..254 => 1 << 40,
        _ => u64::MAX,
    }
}

fn zone_of(number: u8) -> Option<String> {
    (!number.is_multiple_of(5)).then(|| format!("z{}", number % 5))
}

/// A policy, and slots that suit it.
fn policy(number: u8) -> (Policy, Option<u32>) {
    let halves = |end, start| {
        Directory::new()
            .assign(0..end, "n0")
            .assign(start..SLOTS, "n1")
    };
    let ranges = RANGES[1..]
        .iter()
        .fold(Ranges::all(RANGES[0].1), |ranges, (at, name)| {
            ranges.split(*at, *name)
        });
    match number % 16 {
        0 => (Policy::Rendezvous, Some(SLOTS)),
        1 => (Policy::Ring { vnodes: 3 }, Some(SLOTS)),
        2 => (Policy::Jump, Some(SLOTS)),
        3 => (Policy::Maglev, Some(PRIME)),
        4 => (Policy::Modulo, Some(SLOTS)),
        5 => (Policy::Range(ranges), None),
        6 => (Policy::Directory(halves(40, 40)), Some(SLOTS)),
        7 => (Policy::Directory(halves(40, 39)), Some(SLOTS)),
        8 => (Policy::Directory(halves(39, 40)), Some(SLOTS)),
        9 => (Policy::RedisCluster(None), None),
        10 => (Policy::Ketama(Ketama::Nginx), None),
        11 => (Policy::Ketama(Ketama::Libmemcached), None),
        12 => (Policy::Ketama(Ketama::LibmemcachedWeighted), None),
        _ => (Policy::Balanced, Some(SLOTS)),
    }
}

/// The ranges of keys under `Policy::Range`, by their first key.
const RANGES: [(u64, &str); 3] = [(0, "n0"), (64, "n1"), (128, "n2")];
/// Few, since the model counts them one by one.
pub(super) const SLOTS: u32 = 64;
/// Slots of `Policy::Maglev`.
const PRIME: u32 = 67;
