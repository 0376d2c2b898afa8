//! Four databases become five while they are used: once in place, and once the way
//! it is often done, to see what that loses.
//!
//! `cargo run --release --features router --example reshard`
//!
//! The databases are `SQLite` files; `shards.rs` has the SQL. Reads and writes happen between
//! the steps of the move, from one thread, so that two runs print the same. How it is with
//! threads, failing calls and crashes, `tests/router/resharding/` tries.

mod app;
mod shards;

use std::error::Error;

use app::App;
use tenfold::router::Topology;
use tenfold::router::migration::{Driver, FileJournal, Migration, Step};
use tenfold::task::block_on;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("tenfold-reshard-{}", std::process::id()));
    let four = Topology::builder().nodes(NODES.into_iter().take(4));
    let four = four.slots(256).build()?;
    let five = four.edit().node("db-5").build()?;
    let plan = four.plan(&five)?;
    let percent = |share: Option<f64>| 100.0 * share.unwrap_or_default();
    println!(
        "The plan: {:.1} % of all users move, and {:.1} % must.\n",
        percent(plan.moved_share()),
        percent(plan.lower_bound())
    );

    println!("With a migration:");
    let mut app = App::new(&directory.join("migration"), &four)?;
    app.print_rows("before");
    let journal = FileJournal::open(directory.join("journal"))?;
    let migration = Migration::begin(&app.router, &five, journal)?;
    let mut driver = Driver::new(migration, app.shards.clone()).page(50);
    // While it goes on, everybody reads and writes: see `App::save` and `App::find`.
    let mut steps = 0;
    while !matches!(block_on(driver.step())?, Step::Over(_)) {
        app.visit(20)?;
        steps += 1;
        if steps % 150 == 0 {
            let stats = driver.stats();
            println!(
                "  {:>2} parts cut over, {:>2} done, {:>4} rows copied",
                stats.cut_over, stats.done, stats.rows_copied
            );
        }
    }
    app.print_rows("after");
    app.print_verdict();

    println!("\nBy swapping the topology, then copying:");
    let mut app = App::new(&directory.join("naive"), &four)?;
    app.router.swap(five.clone())?;
    for old in &NODES[..4] {
        for page in app.shards.rows(old)?.chunks(50) {
            app.visit(20)?;
            for row in page {
                let user = std::str::from_utf8(&row.key)?;
                let new = five.name(five.route(user)).unwrap_or_default();
                if new != *old {
                    app.shards.delete(new, &row.key, LAST_VERSION)?;
                    app.shards.put(new, row)?;
                    app.shards.delete(old, &row.key, LAST_VERSION)?;
                }
            }
        }
    }
    app.print_rows("after");
    app.print_verdict();
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

const NODES: [&str; 5] = ["db-1", "db-2", "db-3", "db-4", "db-5"];
/// Higher than any: `SQLite` has 63 bits for it.
const LAST_VERSION: u64 = i64::MAX as u64;
