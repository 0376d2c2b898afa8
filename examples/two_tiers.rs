//! Three bad days of a shop with two nodes: a change that the other node does
//! not hear of, an L2 that dies in the middle of one, and a message that is lost.
//! Everything happens in virtual time.
//!
//! ```text
//! cargo run --example two_tiers
//! ```

use std::error::Error;
use std::time::Duration;

use tenfold::cache::Cache;
use tenfold::cache::tier::{
    Faults, MemoryBackplane, MemoryL2, PlainCodec, Reached, Tier, TierBuildError,
};
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn main() -> Result<(), Box<dyn Error>> {
    println!("A price is changed on one node; the other has it in its cache, for an hour.");
    let time = ManualClock::new();
    let alone = || {
        let cache = Cache::builder().max_entries(100).time_to_live(HOUR);
        cache.clock(time.clock()).build()
    };
    let (a, b) = (alone()?, alone()?);
    a.insert("apple", 3);
    b.insert("apple", 3);
    a.insert("apple", 4);
    let mut wrong = 0;
    while b.get("apple") == Some(3) {
        time.advance(SECOND);
        wrong += 1;
    }
    println!("  a cache each: sells at the old price for {wrong} s");
    check(wrong == 3600, "nobody tells it")?;

    let shop = Shop::new();
    let (a, b) = (shop.node()?, shop.node()?);
    a.tier.insert("apple".to_owned(), 3);
    check(b.tier.get("apple") == Some(3), "b reads the L2")?;
    a.tier.insert("apple".to_owned(), 4);
    check(b.tier.get("apple") == Some(4), "b was told")?;
    println!("  two tiers:    for 0 s");

    println!("\nThe L2 dies while a changes a price, and nobody is told.");
    a.l2.cut(true);
    a.backplane.cut(true);
    let reached = a.tier.insert("apple".to_owned(), 5);
    check(reached == Reached::Here, "nobody else can know")?;
    check(a.tier.get("apple") == Some(5), "a knows its own price")?;
    println!("  meanwhile: {}", a.tier.stats());
    a.l2.cut(false);
    a.backplane.cut(false);
    let healed = shop.time.now();
    let mut seconds = 0;
    while b.tier.get("apple") != Some(5) {
        shop.time.advance(SECOND);
        seconds += 1;
        a.tier.tend();
        b.tier.tend();
        check(seconds < 60, "this takes seconds, not the life of an entry")?;
    }
    let took = shop.time.now().saturating_since(healed);
    println!("  b has the new price {took:?} after the L2 is back");

    println!("\nA message is lost on its way to b.");
    shop.backplane.set_faults(Faults::with_seed(1).lost(1.0));
    a.tier.insert("apple".to_owned(), 6);
    shop.backplane.set_faults(Faults::none());
    check(b.tier.get("apple") == Some(5), "b cannot know yet")?;
    let mut heartbeats = 0;
    while b.tier.get("apple") != Some(6) {
        shop.time.advance(SECOND);
        heartbeats += 1;
        a.tier.tend();
        b.tier.tend();
        check(heartbeats <= 2, "the next sign of life shows the gap")?;
    }
    println!("  b misses its number after {heartbeats} heartbeats, and asks the L2");
    println!("  in the end: {}", b.tier.stats());
    Ok(())
}

struct Shop {
    time: ManualClock,
    l2: MemoryL2,
    backplane: MemoryBackplane,
}

struct Node {
    tier: Tier<String, u32>,
    l2: MemoryL2,
    backplane: MemoryBackplane,
}

impl Shop {
    fn new() -> Self {
        let time = ManualClock::new();
        Self {
            l2: MemoryL2::new(1000, time.clock()),
            backplane: MemoryBackplane::new(time.clock()),
            time,
        }
    }

    fn node(&self) -> Result<Node, TierBuildError> {
        let (l2, backplane) = (self.l2.connect(), self.backplane.connect());
        let cache = Cache::builder().max_entries(100).clock(self.time.clock());
        let tier = Tier::builder(cache, l2.clone(), PlainCodec)
            .backplane(backplane.clone())
            .l1_ttl(HOUR)
            .l2_ttl(24 * HOUR)
            .build()?;
        Ok(Node {
            tier,
            l2,
            backplane,
        })
    }
}

fn check(holds: bool, claim: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("this should hold and does not: {claim}"))
    }
}
