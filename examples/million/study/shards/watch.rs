use tenfold::router::{HotKeys, NodeId, Topology};

/// Watches the live stream for a key that is too heavy for one shard, a window
/// of requests at a time.
#[derive(Debug)]
pub(super) struct Watch {
    hot: HotKeys,
    /// The keys of this window: a sample to judge by how far to spread.
    window: Vec<u64>,
}

/// A celebrity, and the shards to spread it over.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: u64,
    pub(super) shards: Vec<NodeId>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            hot: HotKeys::new(),
            window: Vec::with_capacity(WINDOW),
        }
    }

    /// Notes a request; at the end of a window, says if there is a
    /// celebrity.
    pub(super) fn note(&mut self, key: u64, topology: &Topology) -> Option<Found> {
        self.hot.note(key);
        self.window.push(key);
        if self.window.len() < WINDOW {
            return None;
        }
        let window = std::mem::take(&mut self.window);
        let counted = self.hot.take();
        let top = counted.top(1).pop()?;
        let sure = top.count() - top.error();
        if (sure as f64) < heaviest_share(topology.nodes().len()) * counted.total() as f64 {
            return None;
        }
        let key = u64::from_le_bytes(top.bytes().try_into().ok()?);
        let parts = topology.skew_report(window).parts_for_heaviest();
        Some(Found {
            key,
            shards: topology.spread_over(key, parts),
        })
    }
}

/// The share of all requests with which a key on its own lifts its shard to 1.3
/// times the mean, all else being even.
pub(crate) fn heaviest_share(shards: usize) -> f64 {
    0.3 / (shards - 1).max(1) as f64
}

/// Requests that are looked at together: enough for a key that matters to come a hundred
/// times, on eight shards.
pub(super) const WINDOW: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_celebrity_is_found_in_its_first_window_and_nobody_else() {
        let topology = Topology::builder()
            .nodes(["a", "b", "c", "d", "e", "f", "g", "h"])
            .build()
            .unwrap();
        let mut watch = Watch::new();
        let quiet = (0..10 * WINDOW as u64).find_map(|key| watch.note(key, &topology));
        assert!(quiet.is_none(), "{quiet:?}");
        let mut stream = (0..WINDOW as u64).map(|key| if key % 4 == 0 { 7 } else { key });
        let found = stream.find_map(|key| watch.note(key, &topology)).unwrap();
        assert_eq!((found.key, found.shards.len()), (7, 4));
    }
}
