//! A shop as a log of events: orders are published, and two read models are folds over them,
//! the revenue of each day in a file and the stock in a database. The process that does it is
//! killed in the middle, and nothing is counted twice or not at all.
//!
//! `cargo run --features queue --example events`

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tenfold::queue::projection::{FileStore, MemoryStore, Poison, Projection, ProjectionStore};
use tenfold::queue::storage::RealDisk;
use tenfold::queue::{Event, Queue, QueueBuilder, Retention};
use tenfold::rng::Rng;

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    if let Some(directory) = std::env::var_os(CHILD) {
        return sell(&PathBuf::from(directory));
    }
    let directory = std::env::temp_dir().join(format!("tenfold-events-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;

    let mut confirmed = 0;
    for life in 1..=3 {
        confirmed = sell_until_killed(&directory, 200 * life)?;
        println!("killed after {confirmed} confirmed orders");
    }

    let orders = event_log().open(directory.join("orders"))?;
    println!("opened again: {}", orders.recovery());
    let mut reader = orders.reader();
    let last = reader.range().end - 1;
    assert!(last >= confirmed, "a confirmed order is lost");

    let (mut revenue, mut stock) = (revenue(&orders, &directory)?, stock(&orders, &directory)?);
    for (name, position, lag) in [
        ("revenue", revenue.position(), revenue.lag()),
        ("stock", stock.position(), stock.lag()),
    ] {
        println!(
            "{name}: saved at order {}, {lag} behind",
            position.unwrap_or(0)
        );
    }
    println!("revenue: {}", revenue.catch_up(100)?);
    println!("stock:   {}", stock.catch_up(100)?);

    // The same by hand, over all orders at once.
    let (mut by_day, mut pieces) = (BTreeMap::new(), BTreeMap::new());
    for number in 1..=last {
        let Some(event) = reader.read(number)? else {
            continue;
        };
        if let Ok(order) = Order::parse(&event) {
            *by_day.entry(order.day).or_insert(0) += order.cents;
            *pieces.entry(order.item).or_insert(FIRST_STOCK) -= order.pieces;
        }
    }
    assert_eq!(revenue.state(), Some(&by_day));
    assert_eq!(stock.state().map(|stock| &stock.pieces), Some(&pieces));
    println!("both are what a fold by hand gives: {by_day:?}");

    // An order that nobody can read is set aside, and the others go on.
    orders.publish("three of those, please")?;
    orders.publish(Order::random(&mut Rng::with_seed(1)).to_string())?;
    revenue.catch_up(100)?;
    let dead = orders.dead_letters_of("revenue").map(|dead| dead.list());
    println!("not understood: {dead:?}");
    assert_eq!(dead.map(|dead| dead.len()), Some(1));

    // A question that nobody had thought of: from the first order on.
    let count = |busiest: &mut BTreeMap<u32, u32>, event: &Event| {
        *busiest.entry(Order::parse(event)?.item).or_default() += 1;
        Ok::<(), Failed>(())
    };
    let mut popular = Projection::builder("popular", count)
        .on_poison(Poison::DeadLetters)
        .open(&orders, MemoryStore::new())?;
    println!("a late model: {}", popular.catch_up(1000)?);
    let sold = popular.state().map(|items| items.values().sum::<u32>());
    assert_eq!(sold.map(u64::from), Some(last + 1));

    // And one made anew: the old one is there until it is done.
    let before = revenue.state().cloned();
    println!("rebuilt: {}", revenue.rebuild(1000)?);
    assert_eq!(revenue.state(), before.as_ref());

    drop((revenue, stock, popular, reader, orders));
    fs::remove_dir_all(directory)?;
    Ok(())
}

/// An event log keeps what everybody is done with: for models to come.
fn event_log() -> QueueBuilder {
    Queue::builder().retention(Retention::All)
}

fn revenue(orders: &Queue, directory: &Path) -> Result<Projection<BTreeMap<u32, u64>>, Failed> {
    let encode = |days: &BTreeMap<u32, u64>| {
        let line = |(day, cents): (&u32, &u64)| format!("{day} {cents}\n");
        days.iter().map(line).collect::<String>().into_bytes()
    };
    let decode = |bytes: &[u8]| {
        let line = |line: &str| {
            let (day, cents) = line.split_once(' ')?;
            Some((day.parse().ok()?, cents.parse().ok()?))
        };
        std::str::from_utf8(bytes).ok()?.lines().map(line).collect()
    };
    let disk = RealDisk::new(directory.join("models"))?;
    let fold = |days: &mut BTreeMap<u32, u64>, event: &Event| {
        let order = Order::parse(event)?;
        *days.entry(order.day).or_default() += order.cents;
        Ok::<(), Failed>(())
    };
    Ok(Projection::builder("revenue", fold)
        .on_poison(Poison::DeadLetters)
        .open(orders, FileStore::new(disk, "revenue", encode, decode))?)
}

fn stock(orders: &Queue, directory: &Path) -> Result<Projection<Stock>, Failed> {
    let fold = |stock: &mut Stock, event: &Event| {
        let order = Order::parse(event)?;
        *stock.pieces.entry(order.item).or_insert(FIRST_STOCK) -= order.pieces;
        stock.touched.insert(order.item);
        Ok::<(), Failed>(())
    };
    let connection = Connection::open(directory.join("stock.sqlite"))?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS stock (item INTEGER PRIMARY KEY, pieces INTEGER);
         CREATE TABLE IF NOT EXISTS place (id INTEGER PRIMARY KEY, position INTEGER);",
    )?;
    Ok(Projection::builder("stock", fold)
        .on_poison(Poison::DeadLetters)
        .open(orders, Table(connection))?)
}

#[derive(Debug, Default, Clone)]
struct Stock {
    pieces: BTreeMap<u32, i64>,
    /// Rows that the table does not have yet.
    touched: BTreeSet<u32>,
}

/// Rows and position, in one transaction.
struct Table(Connection);

impl Table {
    fn write(
        transaction: Transaction<'_>,
        position: u64,
        stock: &mut Stock,
    ) -> Result<(), rusqlite::Error> {
        for item in &stock.touched {
            let row = params![item, stock.pieces[item]];
            transaction.execute("INSERT OR REPLACE INTO stock VALUES (?1, ?2)", row)?;
        }
        let place = "INSERT OR REPLACE INTO place VALUES (1, ?1)";
        transaction.execute(place, [position.cast_signed()])?;
        transaction.commit()?;
        stock.touched.clear();
        Ok(())
    }
}

impl ProjectionStore<Stock> for Table {
    type Error = rusqlite::Error;

    fn load(&mut self) -> Result<Option<(u64, Stock)>, rusqlite::Error> {
        let place = self
            .0
            .query_row("SELECT position FROM place", [], |row| row.get(0));
        let Some(position) = place.optional()?.map(i64::cast_unsigned) else {
            return Ok(None);
        };
        let mut rows = self.0.prepare("SELECT item, pieces FROM stock")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let pieces = rows.collect::<Result<_, _>>()?;
        let touched = BTreeSet::new();
        Ok(Some((position, Stock { pieces, touched })))
    }

    fn save(&mut self, position: u64, stock: &mut Stock) -> Result<(), rusqlite::Error> {
        Self::write(self.0.transaction()?, position, stock)
    }

    fn replace(&mut self, position: u64, stock: &mut Stock) -> Result<(), rusqlite::Error> {
        let transaction = self.0.transaction()?;
        transaction.execute("DELETE FROM stock", [])?;
        stock.touched = stock.pieces.keys().copied().collect();
        Self::write(transaction, position, stock)
    }
}

/// Has another process sell, and kills it once it has confirmed so many orders; how many it
/// has by then.
fn sell_until_killed(directory: &Path, orders: u64) -> Result<u64, Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("the child has no output")?;
    let mut confirmed = 0;
    let mut is_alive = true;
    for line in BufReader::new(output).lines() {
        confirmed = line?.parse()?;
        if is_alive && confirmed >= orders {
            child.kill()?; // -9
            is_alive = false;
        }
    }
    child.wait()?;
    if is_alive {
        return Err("the child died by itself".into());
    }
    Ok(confirmed)
}

/// What the other process does until it is killed.
fn sell(directory: &Path) -> Result<(), Failed> {
    let orders = event_log().open(directory.join("orders"))?;
    let (mut revenue, mut stock) = (revenue(&orders, directory)?, stock(&orders, directory)?);
    let mut rng = Rng::with_seed(orders.reader().range().end);
    loop {
        let order = orders.publish(Order::random(&mut rng).to_string())?;
        // In one call: a line is there whole or not at all.
        std::io::stdout().write_all(format!("{}\n", order.id).as_bytes())?;
        match rng.below(20) {
            0 => revenue.catch_up(5)?,
            1 => stock.catch_up(7)?,
            _ => continue,
        };
    }
}

struct Order {
    day: u32,
    item: u32,
    pieces: i64,
    cents: u64,
}

impl Order {
    fn random(rng: &mut Rng) -> Self {
        let pieces = 1 + rng.below(4);
        Self {
            day: 1 + rng.below(7) as u32,
            item: rng.below(12) as u32,
            pieces: pieces.cast_signed(),
            cents: pieces * (100 + rng.below(900)),
        }
    }

    fn parse(event: &Event) -> Result<Self, Failed> {
        let text = std::str::from_utf8(event.payload())?;
        let [day, item, pieces, cents] = text.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("expected four numbers, found {text:?}").into());
        };
        Ok(Self {
            day: day.parse()?,
            item: item.parse()?,
            pieces: pieces.parse()?,
            cents: cents.parse()?,
        })
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            day,
            item,
            pieces,
            cents,
        } = self;
        write!(f, "{day} {item} {pieces} {cents}")
    }
}

const FIRST_STOCK: i64 = 10_000;
const CHILD: &str = "TENFOLD_EVENTS_CHILD";
