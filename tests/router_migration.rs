//! Migrations from the outside: one race a test, and mistakes.
#![cfg(all(feature = "router", not(tenfold_shuttle)))]

use tenfold::router::migration::{
    Driver, MemoryJournal, MemoryStore, Migration, MigrationError, Outcome, Phase, Row, Step,
};
use tenfold::router::{Router, Topology};
use tenfold::task::block_on;

fn two_to_three() -> (Router, Topology) {
    let old = Topology::builder().nodes(["a", "b"]).slots(16).build();
    let router = Router::new(old.unwrap());
    let new = router.topology().edit().node("c").build().unwrap();
    (router, new)
}

fn row(key: &str, version: u64) -> Row {
    Row {
        key: key.as_bytes().into(),
        version,
        value: Some(version.to_le_bytes().into()),
    }
}

fn fill(router: &Router, keys: usize) -> MemoryStore {
    let topology = router.topology();
    let store = MemoryStore::new(&topology);
    for key in 0..keys {
        let key = format!("user:{key}");
        let node = topology.route(key.as_str());
        store.write(topology.name(node).unwrap(), row(&key, 1));
    }
    store
}

/// Every key is where this topology says, and nowhere else.
fn assert_all_in_place(store: &MemoryStore, topology: &Topology, keys: usize) {
    let mut found = 0;
    for node in ["a", "b", "c"] {
        for row in store.rows(node) {
            let key = std::str::from_utf8(&row.key).unwrap();
            let home = topology.name(topology.route(key)).unwrap();
            assert_eq!(home, node, "{key}");
            assert!(row.value.is_some(), "{key} is a tombstone");
            found += 1;
        }
    }
    assert_eq!(found, keys);
}

#[test]
fn a_driver_moves_everything_and_nothing_else() {
    let (router, new) = two_to_three();
    let store = fill(&router, 500);
    let migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let mut driver = Driver::new(migration, store.clone()).page(7).in_flight(2);
    let end = block_on(driver.run()).unwrap();
    assert_eq!(end, Step::Over(Outcome::Completed));
    assert_eq!(router.topology().to_bytes(), new.to_bytes());
    assert_all_in_place(&store, &new, 500);
}

#[test]
fn a_roll_back_leaves_everything_as_it_was() {
    let (router, new) = two_to_three();
    let old = router.topology();
    let store = fill(&router, 500);
    let migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let mut driver = Driver::new(migration, store.clone()).hold_before_clean_up();
    assert_eq!(block_on(driver.run()).unwrap(), Step::Held);
    assert_eq!(driver.stats().cut_over, driver.migration().parts().len());
    driver.roll_back().unwrap();
    let end = block_on(driver.run()).unwrap();
    assert_eq!(end, Step::Over(Outcome::RolledBack));
    assert_eq!(router.topology().to_bytes(), old.to_bytes());
    assert_all_in_place(&store, &old, 500);
}

#[test]
fn the_old_phase_is_not_over_while_a_writer_goes_by_it() {
    let (router, new) = two_to_three();
    let key = (0..).find(|key: &u64| router.topology().route(key) != new.route(key));
    let key = key.unwrap();
    let writer = router.write_route(key);
    let mut migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let part = migration.part_of(key).unwrap().id();
    assert!(matches!(
        migration.prepare(part).unwrap_err(),
        MigrationError::Draining { writers: 1, .. }
    ));
    writer.written();
    migration.prepare(part).unwrap();
    let writer = router.write_route(key);
    assert!(writer.keep_tombstone() && writer.second().is_none());
    migration.start_copying(part).unwrap();
    assert!(matches!(
        migration.copied(part).unwrap_err(),
        MigrationError::Draining { writers: 1, .. }
    ));
    writer.written();
    migration.copied(part).unwrap();
    assert_eq!(migration.phase(part).unwrap(), Phase::Verifying);
}
