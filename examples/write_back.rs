//! Counts visits without a database write for each, on a bad day: the database
//! goes down for a while, refuses one record, and the process is killed.
//!
//! All in virtual time: `cargo run --example write_back`.

use std::error::Error;
use std::time::Duration;

use tenfold::cache::Cache;
use tenfold::cache::write_back::{MemoryJournal, WhenFull, WriteBack};
use tenfold::cache::writer::{Change, Faults, MemoryStore};
use tenfold::time::ManualClock;

const PAGES: u32 = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let (time, faults) = (ManualClock::new(), Faults::none());
    // Page 7 has a count that the database does not want.
    let refuses = |page: &u32, _: &Change<u64>| *page == 7;
    let database = MemoryStore::refusing(faults.clone(), refuses);
    let journal = MemoryJournal::new();
    let open = || {
        WriteBack::builder(Cache::new(10), database.clone())
            .journal(journal.clone())
            .max_dirty(100)
            .batch_size(20)
            .when_full(WhenFull::Refuse)
            .retry(Duration::from_secs(1), Duration::from_secs(8))
            .on_refused(|page, change, why| println!("    page {page}: {change:?}: {why}"))
            .clock(time.clock())
            .build()
    };
    let mut visits = open()?;

    for second in 0..30_u64 {
        match second {
            5 => faults.set_down(true),
            15 => faults.set_down(false),
            _ => {}
        }
        for visit in 0..1000_u32 {
            if second == 20 && visit == 500 {
                drop(visits);
                visits = open()?;
                println!(
                    "{second:3} s: killed, and started again: {}",
                    visits.stats()
                );
            }
            let page = visit % PAGES;
            let seen = visits.get(&page).or_else(|| database.get(&page));
            visits.put(page, seen.unwrap_or(0) + 1)?;
        }
        time.advance(Duration::from_secs(1));
        let flushed = visits.flush();
        if second % 5 == 4 || flushed.is_err() != (5..15).contains(&second) {
            println!("{second:3} s: {}", visits.stats());
        }
    }
    visits.close()?;

    let counted: u64 = (0..PAGES).filter_map(|page| database.get(&page)).sum();
    println!(
        "30000 visits in {} writes; the database has {counted}",
        database.writes()
    );
    // All but those of page 7: nothing was lost when the process died.
    assert_eq!(counted, 30_000 / u64::from(PAGES) * u64::from(PAGES - 1));
    assert!(journal.is_empty());
    Ok(())
}
