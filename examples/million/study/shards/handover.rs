use tenfold::hash::StableKey;
use tenfold::router::{NodeId, Router, Span, Topology};

/// Rows on their way to the shards that a new topology gives them to.
///
/// This is the plain way: the table is swapped first, and the rows are copied
/// after it, in the order of the plan. Meanwhile a row is looked for
/// where it will be. A handover that does better answers the same
/// questions: where a request goes, whether its row is there, and which
/// two shards the next row is work for.
#[derive(Debug)]
pub(super) struct Handover {
    router: Router,
    old: Topology,
    /// Rows that must move, by hash, as `(hash, from, to)`.
    rows: Vec<(u64, NodeId, NodeId)>,
    copied: usize,
}

impl Handover {
    /// Swaps the table. The rows are those of users `0..users`.
    ///
    /// # Errors
    /// What the plan and the routes disagree on: then the router has a bug.
    pub(super) fn swap_first(router: Router, new: Topology, users: u64) -> Result<Self, String> {
        let old = router.topology();
        let rows = rows_that_move(&old, &new, users)?;
        router.swap(new).map_err(|refused| refused.to_string())?;
        Ok(Self {
            router,
            old,
            rows,
            copied: 0,
        })
    }

    /// The shard that a request for this user's row goes to, and whether the row
    /// is there.
    pub(super) fn find(&self, user: u64) -> (NodeId, bool) {
        let shard = self.router.route(user);
        let copied = || match self.rows.get(self.copied) {
            Some(&(next, ..)) => user.stable_hash(0) < next,
            None => true,
        };
        (shard, self.old.route(user) == shard || copied())
    }

    /// Copies the next row: it is read from the first of these shards and written
    /// to the second. Nothing if all are where they belong.
    pub(super) fn copy_next(&mut self) -> Option<(NodeId, NodeId)> {
        let &(_, from, to) = self.rows.get(self.copied)?;
        self.copied += 1;
        Some((from, to))
    }
}

/// The rows in the plan's ranges of hashes, each of which must be routed as the
/// plan says, and no other row elsewhere than before.
fn rows_that_move(
    old: &Topology,
    new: &Topology,
    users: u64,
) -> Result<Vec<(u64, NodeId, NodeId)>, String> {
    let plan = old.plan(new).map_err(|error| error.to_string())?;
    let mut rows: Vec<_> = (0..users)
        .map(|user| (user.stable_hash(0), old.route(user), new.route(user)))
        .filter(|(_, from, to)| from != to)
        .collect();
    rows.sort_unstable();
    let mut listed = 0;
    for part in plan.moves() {
        let Span::Hashes(hashes) = part.span() else {
            return Err(format!("{} is no range of hashes", part.span()));
        };
        let ends = [old.id_of(part.from()), new.id_of(part.to())];
        let first = rows.partition_point(|row| row.0 < *hashes.start());
        let end = rows.partition_point(|row| row.0 <= *hashes.end());
        for (hash, from, to) in &rows[first..end] {
            if [Some(*from), Some(*to)] != ends {
                return Err(format!("hash {hash:016x} does not move as planned"));
            }
        }
        listed += end - first;
    }
    if listed != rows.len() {
        return Err(format!(
            "the plan moves {listed} rows, the routes of {} differ",
            rows.len()
        ));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_once_they_are_copied() {
        let four = Topology::builder()
            .nodes(["a", "b", "c", "d"])
            .build()
            .unwrap();
        let five = four.edit().node("e").build().unwrap();
        let new = five.id_of("e").unwrap();
        let mut handover = Handover::swap_first(Router::new(four), five, 1_000).unwrap();
        let missing =
            |handover: &Handover| (0..1_000).filter(|&user| !handover.find(user).1).count();
        let rows = handover.rows.len();
        assert_eq!(missing(&handover), rows);
        for copied in 1..=rows {
            let (from, to) = handover.copy_next().unwrap();
            assert!(from != new && to == new);
            assert_eq!(missing(&handover), rows - copied);
        }
        assert_eq!(handover.copy_next(), None);
    }
}
