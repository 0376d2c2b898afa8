//! The filter's bad days, in virtual time: what happens without it, and with it.
//!
//! ```text
//! cargo run --example bloom
//! ```
//!
//! Nothing here sleeps, and the program fails if one of its claims does not hold.

use std::collections::HashSet;
use std::error::Error;
use std::time::Duration;

use tenfold::bloom::{AtomicBloomFilter, BloomFilter, RotatingBloomFilter};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const PAGES: u64 = 100_000;
const REQUESTS: u64 = 1_000_000;
const MINUTE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "Penetration: {REQUESTS} requests for pages that do not exist, another one each time."
    );
    let pages = AtomicBloomFilter::with_rate(PAGES, 0.01)?;
    (0..PAGES).for_each(|page| {
        pages.insert(&page);
    });
    let mut rng = Rng::with_seed(1);
    let absent = || PAGES + rng.next_u64() / 2;
    let asked: Vec<u64> = std::iter::repeat_with(absent)
        .take(REQUESTS as usize)
        .collect();
    let with = asked.iter().filter(|page| pages.contains(*page)).count();
    println!("  queries without a filter, cache or no cache: {REQUESTS}");
    println!(
        "  with one of {} KiB in front of the loader:   {with}",
        pages.bits() / 8192
    );
    check(
        with as u64 <= REQUESTS / 90,
        "one in a hundred gets through",
    )?;
    check(
        (0..PAGES).all(|page| pages.contains(&page)),
        "and every page that exists",
    )?;

    println!("\nThe same event again: a sender repeats what it sent within the last hour.");
    let time = ManualClock::new();
    let seen = RotatingBloomFilter::builder()
        .items(60_000)
        .rate(0.001)
        .lifetime(60 * MINUTE)
        .clock(time.clock())
        .build()?;
    let mut all = HashSet::new();
    let (mut events, mut repeated) = (0u64, 0);
    for minute in 0..24 * 60 {
        for event in 0..1000 {
            // Every second one repeats one of the half hour before.
            let repeats = event % 2 == 1 && minute > 30;
            let key = if repeats { events - 29_999 } else { events };
            let key = Rng::with_seed(key).next_u64();
            repeated += u64::from(!seen.insert(&key));
            all.insert(key);
            events += 1;
        }
        time.advance(MINUTE);
    }
    let set = all.len() * size_of::<u64>() / 1024;
    println!(
        "  a set of all {} events of a day: {set} KiB, and growing",
        all.len()
    );
    println!(
        "  a filter that forgets after an hour:  {} KiB, {repeated} repeats found",
        seen.bits() / 8192
    );
    check(repeated > events * 45 / 100, "repeats are found")?;
    check(repeated < events * 51 / 100, "and hardly anything else")?;

    println!("\nA restart: the filter comes back from its bytes, or not at all.");
    let mut bytes = BloomFilter::from(pages).to_bytes();
    let read = BloomFilter::from_bytes(&bytes)?;
    check(
        (0..PAGES).all(|page| read.contains(&page)),
        "no page is lost",
    )?;
    bytes[1000] ^= 1;
    match BloomFilter::from_bytes(&bytes) {
        Err(error) => println!("  one bit flipped on the disk: {error}"),
        Ok(_) => return Err("a damaged filter was read".into()),
    }
    println!("  {}", read.stats());
    Ok(())
}

fn check(holds: bool, claim: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("this should hold and does not: {claim}"))
    }
}
