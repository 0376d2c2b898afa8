//! A shop as a log of events. Six readers go through all orders, each at its own pace: three
//! are read models (stock, search, analytics), which are folds, and three do something in the
//! world (billing, mail, audit). The power goes in the middle; later a seventh comes, and
//! begins with the first order.
//!
//! `cargo run --features queue,test-util --example events`

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use tenfold::queue::projection::{MemoryStore, Projection};
use tenfold::queue::storage::SimDisk;
use tenfold::queue::{Consumer, Event, Queue, Retention, Start};
use tenfold::rng::Rng;

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let (disk, mut rng) = (SimDisk::new(1), Rng::with_seed(3));
    let stores = MODELS.map(|_| MemoryStore::new()); // in a program a file or a table each
    let (mut sold, mut world) = (Vec::new(), World::new());

    println!("1. Orders are taken, and six readers go through them");
    let mut shop = Shop::open(&disk, &stores)?;
    for round in 1..=300 {
        sold.push(shop.sell(&mut rng)?);
        shop.read(round, 1, &mut world)?;
    }
    shop.print(&world);

    println!("2. The power goes");
    disk.power_cut();
    shop = Shop::open(&disk, &stores)?;
    println!("   opened again: {}", shop.orders.recovery());

    println!("3. More orders come, and everybody catches up");
    for _ in 0..300 {
        sold.push(shop.sell(&mut rng)?);
    }
    shop.read(0, usize::MAX, &mut world)?;
    shop.print(&world);
    for ((name, adds), model) in MODELS.iter().zip(&shop.models) {
        assert_eq!(model.state(), Some(&Model::of(&sold, *adds)?), "{name}");
    }
    for (name, seen) in &world {
        let all = sold.iter().map(|(id, _)| *id);
        assert!(first_times(seen).eq(all), "{name} has all, in order");
    }

    println!("4. A seventh comes, for customers' points, and begins with the first order");
    let points: Adds = |(_, customer, cents, _)| vec![(customer.into(), cents / 100)];
    let mut loyalty = shop.model("loyalty", points, MemoryStore::new())?;
    println!("   {}", loyalty.catch_up(100)?);
    assert_eq!(loyalty.state(), Some(&Model::of(&sold, points)?));
    println!("   {:?}", rows(loyalty.state()));

    println!("5. Search takes “Tea” and “tea” for two words: it is made anew, by another fold");
    println!("   before: {:?}", rows(shop.models.swap_remove(1).state()));
    let lower: Adds = |(_, _, _, item)| words(&item.to_lowercase());
    let mut search = shop.model("search", lower, stores[1].clone())?;
    search.rebuild(100)?; // the old one is there until the new one is done
    println!("   after:  {:?}", rows(search.state()));
    assert_eq!(search.state(), Some(&Model::of(&sold, lower)?));
    Ok(())
}

/// Day, customer, cents and item: an event is a line of them.
type Order<'a> = (&'a str, &'a str, u64, &'a str);

/// What an order adds to which rows of a read model.
type Adds = fn(Order<'_>) -> Vec<(String, u64)>;

const MODELS: [(&str, Adds); 3] = [
    ("stock", |(_, _, _, item)| vec![(item.into(), 1)]),
    ("search", |(_, _, _, item)| words(item)),
    ("analytics", |(day, _, cents, _)| vec![(day.into(), cents)]),
];
const WORKERS: [&str; 3] = ["billing", "mail", "audit"];

/// The orders for which each worker did something, as they came. Nothing takes that back.
type World = BTreeMap<&'static str, Vec<u64>>;

type ReadModel = Projection<Model, SimDisk>;
type Store = MemoryStore<Model>;

/// The log, and the six who read it.
struct Shop {
    orders: Queue<SimDisk>,
    models: Vec<ReadModel>,
    workers: Vec<Consumer<SimDisk>>,
}

impl Shop {
    fn open(disk: &SimDisk, stores: &[Store]) -> Result<Self, Failed> {
        // All is kept, for readers to come. In a program: `.open("orders")`.
        let log = Queue::builder().retention(Retention::All);
        let (orders, models) = (log.open_on(disk.clone())?, Vec::new());
        let workers = WORKERS.map(|name| orders.group(name, Start::Earliest));
        let workers = workers.into_iter().collect::<Result<_, _>>()?;
        let mut shop = Self {
            orders,
            models,
            workers,
        };
        for ((name, adds), store) in MODELS.into_iter().zip(stores) {
            shop.models.push(shop.model(name, adds, store.clone())?);
        }
        Ok(shop)
    }

    fn model(&self, name: &str, adds: Adds, store: Store) -> Result<ReadModel, Failed> {
        let fold = move |model: &mut Model, event: &Event| {
            model.add(event.id(), std::str::from_utf8(event.payload())?, adds)
        };
        Ok(Projection::builder(name, fold).open(&self.orders, store)?)
    }

    fn sell(&self, rng: &mut Rng) -> Result<(u64, String), Failed> {
        let mut one_of = |names: [&'static str; 4]| names[rng.below(4) as usize];
        let customer = one_of(["ann", "bob", "eve", "joe"]);
        let item = one_of(["Green Tea", "Black Tea", "tea pot", "cup"]);
        let day = one_of(["mon", "tue", "wed", "thu"]);
        let order = format!("{day} {customer} {} {item}", 100 + rng.below(900));
        let published = self.orders.publish(order.clone())?; // on the disk when it returns
        Ok((published.id, order))
    }

    /// Has readers go on, the first of each kind in every round, the second in every other.
    fn read(&mut self, round: usize, most: usize, world: &mut World) -> Result<(), Failed> {
        let models = self.models.iter_mut().zip(1..);
        for (model, _) in models.filter(|(_, slow)| round.is_multiple_of(*slow)) {
            model.run_once(most)?;
        }
        let workers = WORKERS.iter().zip(&self.workers).zip(1..);
        for ((name, orders), _) in workers.filter(|(_, slow)| round.is_multiple_of(*slow)) {
            for order in orders.recv_batch_timeout(most, Duration::ZERO)? {
                world.entry(name).or_default().push(order.id());
                order.ack()?; // after a power cut those of the last moment come again
            }
        }
        Ok(())
    }

    fn print(&self, world: &World) {
        for ((name, _), model) in MODELS.iter().zip(&self.models) {
            let position = model.position().unwrap_or(0);
            println!("   {name:9} {position} orders, {} behind", model.lag());
        }
        for (name, seen) in world {
            let (done, came) = (first_times(seen).count(), seen.len());
            println!("   {name:9} {done} orders, {} came again", came - done);
        }
    }
}

fn rows(model: Option<&Model>) -> BTreeMap<String, u64> {
    model.cloned().unwrap_or_default().rows
}

/// Leaves out what came again: whoever does something knows an order by its number.
fn first_times(seen: &[u64]) -> impl Iterator<Item = u64> {
    let mut known = BTreeSet::new();
    seen.iter().copied().filter(move |id| known.insert(*id))
}

/// A read model: its rows, and the last order in them.
#[derive(Debug, Default, Clone, PartialEq)]
struct Model {
    rows: BTreeMap<String, u64>,
    last: u64,
}

impl Model {
    fn add(&mut self, id: u64, order: &str, adds: Adds) -> Result<(), Failed> {
        assert!(self.last < id, "order {id} came after order {}", self.last);
        self.last = id;
        for (row, amount) in adds(parse(order).ok_or("not an order")?) {
            *self.rows.entry(row).or_default() += amount;
        }
        Ok(())
    }

    /// The same without any log.
    fn of(sold: &[(u64, String)], adds: Adds) -> Result<Self, Failed> {
        let (mut model, mut all) = (Self::default(), sold.iter());
        all.try_for_each(|(id, order)| model.add(*id, order, adds))?;
        Ok(model)
    }
}

fn parse(order: &str) -> Option<Order<'_>> {
    let mut words = order.splitn(4, ' ');
    let mut next = || words.next();
    Some((next()?, next()?, next()?.parse().ok()?, next()?))
}

fn words(text: &str) -> Vec<(String, u64)> {
    text.split(' ').map(|word| (word.into(), 1)).collect()
}
