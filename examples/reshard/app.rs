//! A service that keeps users on shards: how it writes and reads while they move.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use tenfold::rng::Rng;
use tenfold::router::migration::Row;
use tenfold::router::{Router, Topology};

use super::NODES;
use super::shards::Shards;

const USERS: u64 = 10_000;

/// The service. It also remembers what it told its users, to compare.
pub(crate) struct App {
    pub(crate) router: Router,
    pub(crate) shards: Arc<Shards>,
    version: u64,
    rng: Rng,
    /// The last version of every user, unless deleted.
    told: BTreeMap<String, u64>,
    reads: u64,
    wrong_reads: u64,
}

impl App {
    pub(crate) fn new(directory: &Path, old: &Topology) -> Result<Self, Box<dyn Error>> {
        std::fs::create_dir_all(directory)?;
        let mut app = Self {
            router: Router::new(old.clone()),
            shards: Arc::new(Shards::open(directory, &NODES)?),
            version: 0,
            rng: Rng::with_seed(42),
            told: BTreeMap::new(),
            reads: 0,
            wrong_reads: 0,
        };
        for user in 0..USERS {
            app.save(&format!("user:{user}"), Some("name"))?;
        }
        Ok(app)
    }

    /// Writes a user, or deletes one: to one node or, while its part moves, to two.
    pub(crate) fn save(&mut self, user: &str, value: Option<&str>) -> Result<(), Box<dyn Error>> {
        self.version += 1;
        let row = Row {
            key: user.as_bytes().into(),
            version: self.version,
            value: value.map(|value| value.as_bytes().into()),
        };
        let route = self.router.write_route(user);
        let first = route.name(route.first()).unwrap_or_default();
        if row.value.is_some() || route.keep_tombstone() {
            self.shards.put(first, &row)?;
        } else {
            self.shards.delete(first, &row.key, row.version)?;
        }
        // From here on it counts. If the second write fails, the route is dropped,
        // and the migration sees to it.
        if let Some(second) = route.second() {
            self.shards
                .put(route.name(second).unwrap_or_default(), &row)?;
        }
        route.written();
        match value {
            Some(_) => self.told.insert(user.to_owned(), row.version),
            None => self.told.remove(user),
        };
        Ok(())
    }

    /// Reads a user: from one node or, before its part is cut over, from two.
    pub(crate) fn find(&self, user: &str) -> Result<Option<Row>, Box<dyn Error>> {
        loop {
            let route = self.router.read_route(user);
            let mut newest: Option<Row> = None;
            for node in route.nodes() {
                let shard = route.name(node).unwrap_or_default();
                let row = self.shards.find(shard, user.as_bytes())?;
                newest = newest.into_iter().chain(row).max_by_key(|row| row.version);
            }
            if route.is_current() {
                return Ok(newest.filter(|row| row.value.is_some()));
            }
        }
    }

    /// Some users come: most look, some change their name, a few go or are new.
    pub(crate) fn visit(&mut self, visits: u64) -> Result<(), Box<dyn Error>> {
        for _ in 0..visits {
            let user = format!("user:{}", self.rng.below(USERS + USERS / 10));
            match self.rng.below(20) {
                0 => self.save(&user, None)?,
                1..6 => self.save(&user, Some("another name"))?,
                _ => {
                    self.reads += 1;
                    let found = self.find(&user)?.map(|row| row.version);
                    self.wrong_reads += u64::from(found != self.told.get(&user).copied());
                }
            }
        }
        Ok(())
    }

    pub(crate) fn print_rows(&self, when: &str) {
        let rows = |node| self.shards.rows(node).map_or(0, |rows| rows.len());
        let rows = NODES.map(|node| format!("{node}: {}", rows(node)));
        println!("  {when:<7} {}", rows.join(", "));
    }

    /// Compares what lies on all nodes with what was told.
    pub(crate) fn print_verdict(&self) {
        let (mut doubled, mut old, mut undead) = (0, 0, 0);
        let mut lost = self.told.clone();
        let mut seen = BTreeSet::new();
        for row in NODES
            .iter()
            .flat_map(|node| self.shards.rows(node).unwrap_or_default())
        {
            let user = String::from_utf8_lossy(&row.key).into_owned();
            lost.remove(&user);
            match self.told.get(&user) {
                Some(version) => old += u64::from(row.version < *version),
                None => undead += 1,
            }
            doubled += u64::from(!seen.insert(user));
        }
        println!(
            "  of {} reads {} were answered wrongly",
            self.reads, self.wrong_reads
        );
        println!(
            "  of {} users: {} lost, {doubled} doubled, {old} changes undone, {undead} deleted users are back",
            self.told.len(),
            lost.len(),
        );
    }
}
