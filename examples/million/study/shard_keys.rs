use tenfold::hash::StableKey;
use tenfold::router::{NodeId, Topology};

use super::shards::heaviest_share;
use crate::input::Requests;

/// How even the requests' own keys would be as shard keys, and which of them are
/// celebrities.
#[derive(Debug)]
pub(crate) struct ShardKeys {
    pub(crate) keys: Vec<ShardKey>,
}

/// One choice of a shard key.
#[derive(Debug)]
pub(crate) struct ShardKey {
    /// What is sharded by.
    pub(crate) name: &'static str,
    pub(crate) distinct: usize,
    /// The busiest shard's requests over the mean.
    pub(crate) max_over_mean: f64,
    /// The same with every celebrity spread.
    pub(crate) spread: f64,
    /// Over how many shards.
    pub(crate) parts: usize,
    /// Keys that on their own lift their shard to 1.3 times the mean, with their share of
    /// all requests.
    pub(crate) celebrities: Vec<(Box<[u8]>, f64)>,
    /// The share of the key that came most often.
    pub(crate) heaviest: f64,
}

impl ShardKeys {
    pub(crate) const SHARDS: usize = 8;

    pub(crate) fn of(requests: &Requests) -> Self {
        let topology = Topology::builder()
            .nodes((1..=Self::SHARDS).map(|number| format!("pg-{number}")))
            .build()
            .expect("eight distinct names are a topology");
        let judge = |name, numbers: &[u32], names: &[Box<[u8]>]| {
            ShardKey::judge(name, numbers, names, &topology)
        };
        let hosts = requests.hosts.as_ref();
        let url = if hosts.is_some() { "URL" } else { "key" };
        let mut keys = vec![judge(url, &requests.keys, &requests.names)];
        keys.extend(hosts.map(|hosts| judge("host", &hosts.requests, &hosts.names)));
        Self { keys }
    }
}

impl ShardKey {
    fn judge(
        name: &'static str,
        numbers: &[u32],
        names: &[Box<[u8]>],
        topology: &Topology,
    ) -> Self {
        let key_of = |number: &u32| &*names[*number as usize];
        let report = topology.skew_report(numbers.iter().map(key_of));
        let share = |count: u64| count as f64 / report.keys().max(1) as f64;
        let too_heavy = heaviest_share(topology.nodes().len());
        let parts = report.parts_for_heaviest();

        // The report knows a long key by its hash only.
        let heavy: Vec<_> = report
            .heaviest()
            .iter()
            .filter(|key| {
                let sure = key.count() - key.error();
                sure >= LEAST && share(sure) >= too_heavy
            })
            .collect();
        // Where each celebrity lies, and how often it was asked for.
        let mut spread_over: Vec<Option<(Vec<NodeId>, usize)>> = vec![None; names.len()];
        let mut celebrities = Vec::new();
        for (key, nodes) in names.iter().zip(&mut spread_over) {
            let hash = key.stable_hash(0);
            if let Some(hot) = heavy.iter().find(|hot| hot.hash() == hash) {
                celebrities.push((key.clone(), share(hot.count())));
                *nodes = Some((topology.spread_over(&**key, parts), 0));
            }
        }
        celebrities.sort_by(|a, b| b.1.total_cmp(&a.1));

        let mut loads = vec![0_u64; topology.node_bound()];
        for number in numbers {
            let node = match &mut spread_over[*number as usize] {
                Some((nodes, turn)) => {
                    *turn += 1;
                    nodes[*turn % nodes.len()]
                }
                None => topology.route(key_of(number)),
            };
            loads[node.index()] += 1;
        }
        let most = loads.into_iter().max().unwrap_or(0);
        Self {
            name,
            distinct: names.len(),
            max_over_mean: report.max_over_mean(),
            spread: share(most) * topology.nodes().len() as f64,
            parts,
            celebrities,
            heaviest: report.share_of_heaviest(),
        }
    }
}

/// Who was asked for less often is no celebrity, whatever the share: it is chance.
const LEAST: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Hosts;

    #[test]
    fn a_celebrity_makes_its_key_a_bad_one_until_it_is_spread() {
        let names: Vec<Box<[u8]>> = (0..40_000)
            .map(|n| format!("/{n}").into_bytes().into())
            .collect();
        // Every fourth request is for the first page; the hosts are all different.
        let keys = (0..40_000).map(|n| if n % 4 == 0 { 0 } else { n });
        let requests = Requests {
            keys: keys.collect(),
            names: names.clone(),
            seconds: None,
            mean_bytes: None,
            hosts: Some(Hosts {
                requests: (0..40_000).collect(),
                names,
            }),
            skipped: crate::input::Skipped::default(),
            notes: Vec::new(),
        };
        let found = ShardKeys::of(&requests);
        let [url, host] = &found.keys[..] else {
            panic!("{found:?}");
        };
        assert!(url.max_over_mean > 2.5 && url.spread <= 1.3, "{url:?}");
        assert_eq!((url.parts, url.celebrities.len()), (4, 1));
        assert_eq!(*url.celebrities[0].0, *b"/0");
        assert!(host.max_over_mean < 1.1, "{host:?}");
        assert_eq!((host.parts, host.celebrities.len()), (1, 0));
    }
}
