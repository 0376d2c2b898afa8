//! Migrations from the outside: one race a test, and mistakes.

use tenfold::router::migration::{
    Driver, Follower, Journal, MemoryJournal, MemoryStore, Migration, MigrationError, Outcome,
    Part, PartId, Phase, Row, Step,
};
use tenfold::router::{Policy, Router, SwapError, Topology};
use tenfold::task::block_on;
use tenfold::time::ManualClock;

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
    let key = (0..9_999).find(|key: &u64| router.topology().route(key) != new.route(key));
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

/// A migration with its first part prepared, and a key in that part.
fn prepared() -> (Router, Migration, u64, PartId) {
    let (router, new) = two_to_three();
    let mut migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let part = migration.part_ids().next().unwrap();
    let key = (0..9_999).find(|key: &u64| migration.part_of(*key).map(Part::id) == Some(part));
    migration.prepare(part).unwrap();
    (router, migration, key.unwrap(), part)
}

/// The same, copied and verified.
fn verified() -> (Router, Migration, u64, PartId) {
    let (router, mut migration, key, part) = prepared();
    migration.start_copying(part).unwrap();
    migration.copied(part).unwrap();
    let seen = migration.verification(part).unwrap();
    migration.verified(seen).unwrap();
    (router, migration, key, part)
}

#[test]
fn a_leaked_writer_holds_up_its_part_alone_and_is_seen() {
    let (router, mut migration, key, part) = prepared();
    std::mem::forget(router.write_route(key));
    migration.start_copying(part).unwrap();
    assert!(migration.copied(part).is_err());
    assert_eq!(migration.stats().parts_with_writers, 1);
    for other in migration.part_ids().skip(1) {
        migration.prepare(other).unwrap();
        migration.start_copying(other).unwrap();
        migration.copied(other).unwrap();
    }
}

#[test]
fn a_failed_second_write_refuses_the_cut_over_until_it_is_repaired() {
    let (router, mut migration, key, part) = verified();
    router.write_route(key).failed_second();
    assert!(matches!(
        migration.switch(part).unwrap_err(),
        MigrationError::Dirty { keys: 1, .. }
    ));
    let listed = migration.dirty(part).unwrap();
    // It fails again while it is repaired.
    router.write_route(key).failed_second();
    migration.repaired(&listed[0]);
    assert!(migration.switch(part).is_err());
    let listed = migration.dirty(part).unwrap();
    migration.repaired(&listed[0]);
    migration.switch(part).unwrap();
}

#[test]
fn a_cancelled_writer_leaves_its_key_dirty() {
    let (router, mut migration, key, part) = verified();
    drop(router.write_route(key));
    assert!(matches!(
        migration.switch(part).unwrap_err(),
        MigrationError::Dirty { keys: 1, .. }
    ));
    router.write_route(key).not_written();
    router.write_route(key).written();
    assert_eq!(migration.dirty(part).unwrap().len(), 1);
}

#[test]
fn a_copier_that_read_before_a_deletion_does_not_bring_the_row_back() {
    let (router, mut migration, key, part) = prepared();
    migration.start_copying(part).unwrap();
    let names = migration.part(part).unwrap().clone();
    let store = MemoryStore::new(migration.old());
    let bytes: Box<[u8]> = key.to_le_bytes().into();
    let row = |version, value: Option<&[u8]>| Row {
        key: bytes.clone(),
        version,
        value: value.map(Into::into),
    };
    store.write(names.from_name(), row(1, Some(b"old")));
    let copied = store.read(names.from_name(), &bytes).unwrap();
    let route = router.write_route(key);
    assert!(route.keep_tombstone() && route.second().is_some());
    store.write(names.from_name(), row(2, None));
    store.write(names.to_name(), row(2, None));
    route.written();
    store.write(names.to_name(), copied);
    assert_eq!(store.read(names.to_name(), &bytes), Some(row(2, None)));
}

#[test]
fn a_phase_waits_for_a_process_that_has_not_acknowledged() {
    let (router, new) = two_to_three();
    let there = Router::new(router.topology());
    let mut migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let stale = migration.join("there", 0).unwrap_err();
    assert!(matches!(stale, MigrationError::Stale(stale) if (stale.have, stale.need) == (0, 1)));
    let told = migration.join("there", there.epoch()).unwrap();
    let mut follower = Follower::join(&there, &new, "there", &told).unwrap();
    let part = migration.part_ids().next().unwrap();
    let key = (0..9_999).find(|key: &u64| migration.part_of(*key).map(Part::id) == Some(part));
    let writer = there.write_route(key.unwrap());
    migration.prepare(part).unwrap();
    let held = migration.start_copying(part).unwrap_err();
    let MigrationError::Draining {
        writers: 0,
        members,
        ..
    } = held
    else {
        panic!("{held}");
    };
    assert_eq!(*members[0], *"there");
    // It has heard, but someone there goes by what was before.
    follower.apply(&migration.announcement()).unwrap();
    migration.acknowledge(&follower.acknowledgement()).unwrap();
    assert!(migration.start_copying(part).is_err());
    assert!(matches!(
        migration.leave("there"),
        Err(MigrationError::Busy { .. })
    ));
    writer.written();
    migration.acknowledge(&follower.acknowledgement()).unwrap();
    migration.start_copying(part).unwrap();
    // Left out of two phases, it must not go on.
    migration.lost("there").unwrap();
    migration.copied(part).unwrap();
    assert!(matches!(
        follower.apply(&migration.announcement()).unwrap_err(),
        MigrationError::LeftBehind { .. }
    ));
}

#[test]
fn a_lost_process_voids_what_was_verified() {
    let (router, new) = two_to_three();
    let mut migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let there = Router::new(router.topology());
    let told = migration.join("there", 1).unwrap();
    let mut follower = Follower::join(&there, &new, "there", &told).unwrap();
    let part = migration.part_ids().next().unwrap();
    let mut hear = |migration: &mut Migration| {
        follower.apply(&migration.announcement()).unwrap();
        migration.acknowledge(&follower.acknowledgement()).unwrap();
    };
    migration.prepare(part).unwrap();
    hear(&mut migration);
    migration.start_copying(part).unwrap();
    hear(&mut migration);
    migration.copied(part).unwrap();
    hear(&mut migration);
    let early = migration.verification(part).unwrap();
    let seen = migration.verification(part).unwrap();
    migration.verified(seen).unwrap();
    migration.lost("there").unwrap();
    assert!(matches!(
        migration.switch(part),
        Err(MigrationError::Unverified { .. })
    ));
    // What was begun before does not count either.
    assert!(matches!(
        migration.verified(early),
        Err(MigrationError::Overtaken { .. })
    ));
    let seen = migration.verification(part).unwrap();
    migration.verified(seen).unwrap();
    migration.switch(part).unwrap();
}

#[test]
fn a_crash_between_journal_and_effect_finds_the_step_done() {
    let (router, new) = two_to_three();
    let old = router.topology();
    let kept = MemoryJournal::new();
    let store = fill(&router, 60);
    let migration = Migration::begin(&router, &new, kept.clone()).unwrap();
    let mut driver = Driver::new(migration, store.clone());
    block_on(driver.run()).unwrap();
    let records = kept.len();
    // After every record: only what is in the journal is known, and the rows are as
    // far as they got, which is further.
    for record in 1..=records {
        let router = Router::new(old.clone());
        let store = fill(&router, 60);
        let journal = MemoryJournal::new();
        let migration = Migration::begin(&router, &new, journal.clone()).unwrap();
        let mut driver = Driver::new(migration, store.clone());
        while journal.len() < record {
            block_on(driver.step()).unwrap();
        }
        drop(driver);
        let fresh = Router::new(old.clone());
        let resumed = Migration::resume(&fresh, journal).unwrap();
        assert_eq!(
            block_on(Driver::new(resumed, store.clone()).run()).unwrap(),
            Step::Over(Outcome::Completed)
        );
        assert_eq!(fresh.topology().to_bytes(), new.to_bytes());
        assert_all_in_place(&store, &new, 60);
    }
}

#[test]
fn resuming_twice_and_a_second_migration_are_refused() {
    let (router, new) = two_to_three();
    let kept = MemoryJournal::new();
    let empty = Migration::resume(&router, MemoryJournal::new()).unwrap_err();
    assert!(matches!(empty, MigrationError::NoJournal));
    let migration = Migration::begin(&router, &new, kept.clone()).unwrap();
    let under_way = |error: MigrationError| matches!(error, MigrationError::UnderWay { to: 2 });
    assert!(under_way(
        Migration::resume(&router, kept.clone()).unwrap_err()
    ));
    assert!(under_way(
        Migration::begin(&router, &new, MemoryJournal::new()).unwrap_err()
    ));
    let used = Migration::begin(&Router::new(router.topology()), &new, kept.clone()).unwrap_err();
    assert!(matches!(
        used,
        MigrationError::JournalInUse { from: 1, to: 2 }
    ));
    assert_eq!(
        router.swap(new.clone()).unwrap_err(),
        SwapError::Migrating { to: 2 }
    );
    drop(migration);
    let mut migration = Migration::resume(&router, kept.clone()).unwrap();
    migration.abandon().unwrap();
    assert!(matches!(migration.abandon(), Err(MigrationError::Over)));
    drop(migration);
    // What is over can be followed by another, in the same journal.
    let mut migration = Migration::begin(&router, &new, kept).unwrap();
    migration.abandon().unwrap();
    router.swap(new).unwrap();
}

#[test]
fn a_wrong_epoch_and_steps_out_of_order_change_nothing() {
    let (router, new) = two_to_three();
    let begin = |new: &Topology| Migration::begin(&router, new, MemoryJournal::new());
    let old = router.topology();
    assert!(matches!(begin(&old).unwrap_err(), MigrationError::Stale(_)));
    let stranger = Topology::builder().nodes(["x", "y", "z"]).build().unwrap();
    let stranger = stranger.edit().build().unwrap();
    assert!(matches!(
        begin(&stranger).unwrap_err(),
        MigrationError::Unrelated { .. }
    ));
    let other = old
        .edit()
        .policy(Policy::RedisCluster(None))
        .slots(16_384)
        .build()
        .unwrap();
    assert!(matches!(
        begin(&other).unwrap_err(),
        MigrationError::Incomparable(_)
    ));
    let mut migration = begin(&new).unwrap();
    let part = migration.part_ids().next().unwrap();
    let version = migration.version();
    assert!(matches!(
        migration.cut_over(part),
        Err(MigrationError::OutOfOrder { .. })
    ));
    assert!(matches!(
        migration.step_back(part),
        Err(MigrationError::OutOfOrder { .. })
    ));
    assert!(matches!(
        migration.verification(part),
        Err(MigrationError::OutOfOrder { .. })
    ));
    assert!(matches!(
        migration.finish(),
        Err(MigrationError::Unfinished { .. })
    ));
    let unknown = 9_999.into();
    assert!(matches!(
        migration.prepare(unknown),
        Err(MigrationError::UnknownPart { .. })
    ));
    migration.limit_in_flight(0);
    assert!(matches!(
        migration.prepare(part),
        Err(MigrationError::TooManyInFlight { limit: 0 })
    ));
    assert_eq!(migration.version(), version);
    // A journal of another migration.
    let kept = MemoryJournal::new();
    drop(Migration::begin(&Router::new(old), &new, kept.clone()).unwrap());
    let later = Router::new(new.edit().build().unwrap());
    assert!(matches!(
        Migration::resume(&later, kept).unwrap_err(),
        MigrationError::OtherMigration {
            from: 1,
            to: 2,
            found: 3
        }
    ));
}

#[test]
fn keys_that_stay_are_routed_as_before_and_keys_that_move_to_who_has_the_say() {
    let (router, mut migration, key, part) = verified();
    let (old, new) = (migration.old().clone(), migration.new_topology().clone());
    for key in 0..1000_u64 {
        assert_eq!(router.route(key), old.route(key));
        assert_eq!(router.replicas(key), old.replicas(key));
    }
    assert_eq!(router.read_route(key).nodes().count(), 2);
    let slow_reader = router.read_route(key);
    migration.switch(part).unwrap();
    assert!(!slow_reader.is_current());
    assert_eq!(router.route(key), new.route(key));
    migration.cut_over(part).unwrap();
    assert_eq!(
        router.read_route(key).nodes().collect::<Vec<_>>(),
        [new.route(key)]
    );
}

#[test]
fn more_dirty_keys_than_are_remembered_void_what_was_verified() {
    let (router, migration, _, part) = verified();
    for key in 0..1_000_000_u64 {
        if migration.part_of(key).map(Part::id) == Some(part) {
            router.write_route(key).failed_second();
        }
        if !migration.is_verified(part).unwrap() {
            assert!(migration.dirty(part).unwrap().is_empty());
            return;
        }
    }
    panic!("all of them are remembered");
}

#[test]
fn rows_are_moved_no_faster_than_the_throttle_allows() {
    let (router, new) = two_to_three();
    let store = fill(&router, 300);
    let time = ManualClock::new();
    let migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let driver = Driver::new(migration, store.clone()).page(10);
    let mut driver = driver.throttle(Some(10), None, time.clock(), time.timer());
    let mut seconds = 0;
    loop {
        match block_on(driver.step()).unwrap() {
            Step::Throttled(wait) => {
                assert!(driver.stats().rows_copied <= 10 * (seconds + 1) + 10);
                time.advance(wait);
                seconds = (time.now().saturating_since(ManualClock::new().now())).as_secs();
            }
            Step::Over(_) => break,
            _ => {}
        }
    }
    assert!(seconds >= 10, "{seconds} s for {}", driver.stats());
    assert_all_in_place(&store, &new, 300);
}

#[test]
fn a_journal_that_panics_leaves_the_router_as_it_was() {
    struct Panicking;
    impl Journal for Panicking {
        type Error = std::convert::Infallible;
        fn append(&mut self, _: &[u8]) -> Result<(), Self::Error> {
            panic!("no disk")
        }
        fn replay(&mut self) -> Result<Vec<Vec<u8>>, Self::Error> {
            Ok(Vec::new())
        }
        fn replace(&mut self, _: &[Vec<u8>]) -> Result<(), Self::Error> {
            panic!("no disk")
        }
    }
    let (router, new) = two_to_three();
    let begin = std::panic::AssertUnwindSafe(|| Migration::begin(&router, &new, Panicking));
    assert!(std::panic::catch_unwind(begin).is_err());
    router.swap(new).unwrap();
}

/// What is pinned stays where it is, whatever else goes, and is no part of it.
#[test]
fn a_pinned_key_stays_where_it_is_while_others_move() {
    let (router, _) = two_to_three();
    let pinned = (0..64).find_map(|key| {
        let home = router.topology().route(format!("user:{key}"));
        let other = if router.topology().name(home) == Some("a") {
            "b"
        } else {
            "a"
        };
        let key = format!("user:{key}");
        let old = router
            .topology()
            .edit()
            .pin(key.as_str(), other)
            .build()
            .unwrap();
        let new = old.edit().node("c").build().unwrap();
        // In a slot that stays.
        let plan = old.plan(&new).unwrap();
        (plan.exceptions().len() == 0).then_some((key, other, old, new))
    });
    let (key, other, old, new) = pinned.unwrap();
    router.swap(old).unwrap();
    let store = fill(&router, 200);
    let migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let there = router.topology().id_of(other).unwrap();
    let goes_there = || {
        assert_eq!(router.route(key.as_str()), there);
        assert_eq!(router.replicas(key.as_str())[0], there);
        assert_eq!(router.read_route(key.as_str()).first(), there);
        let write = router.write_route(key.as_str());
        assert_eq!((write.first(), write.second()), (there, None));
        write.not_written();
    };
    goes_there();
    let mut driver = Driver::new(migration, store.clone());
    while !matches!(block_on(driver.step()).unwrap(), Step::Over(_)) {
        goes_there();
    }
    goes_there();
    assert_all_in_place(&store, &new, 200);
}

/// Rows of single keys would be copied, or removed, with the slot that they lie in.
#[test]
fn a_migration_that_concerns_single_keys_is_refused() {
    let (router, new) = two_to_three();
    let topology = router.topology();
    let refused = |old: &Topology, new: &Topology| {
        let router = Router::new(old.clone());
        let began = Migration::begin(&router, new, MemoryJournal::new());
        assert!(
            matches!(began, Err(MigrationError::SingleKeys { found: 1, .. })),
            "{began:?}"
        );
        // Nothing was changed.
        assert!(router.swap(new.clone()).is_ok());
    };
    let moves = |key: &u64| topology.route(*key) != new.route(*key);
    let key = (0..1000_u64).find(moves).unwrap();
    // It stays, though its slot moves.
    let home = topology.name(topology.route(key)).unwrap();
    let pinned = topology.edit().pin(key, home).build().unwrap();
    refused(&pinned, &pinned.edit().node("c").build().unwrap());
    // It moves, though its slot stays.
    let other = if home == "a" { "b" } else { "a" };
    refused(&topology, &topology.edit().pin(key, other).build().unwrap());
    let there = topology.edit().pin(key, other).build().unwrap();
    refused(&there, &there.edit().release(key).build().unwrap());
}

/// A step that failed and is in the journal all the same is not found done once a
/// later one was taken: other processes would acknowledge that one, and seem to have
/// heard of both.
#[test]
fn a_step_of_which_the_journal_was_not_sure_is_not_found_done_later() {
    struct Unsure(MemoryJournal, std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl Journal for Unsure {
        type Error = std::io::Error;
        fn append(&mut self, record: &[u8]) -> Result<(), Self::Error> {
            let Ok(()) = self.0.append(record);
            let fails = self.1.swap(false, std::sync::atomic::Ordering::SeqCst);
            if fails {
                return Err(std::io::Error::other("kept, and yet"));
            }
            Ok(())
        }
        fn replay(&mut self) -> Result<Vec<Vec<u8>>, Self::Error> {
            let Ok(records) = self.0.replay();
            Ok(records)
        }
        fn replace(&mut self, records: &[Vec<u8>]) -> Result<(), Self::Error> {
            let Ok(()) = self.0.replace(records);
            Ok(())
        }
    }
    let (router, new) = two_to_three();
    let (kept, fails) = (MemoryJournal::new(), std::sync::Arc::default());
    let journal = Unsure(kept.clone(), std::sync::Arc::clone(&fails));
    let mut migration = Migration::begin(&router, &new, journal).unwrap();
    let parts: Vec<_> = migration.part_ids().collect();
    fails.store(true, std::sync::atomic::Ordering::SeqCst);
    let failed = migration.prepare(parts[0]).unwrap_err();
    assert!(matches!(failed, MigrationError::Journal(_)));
    assert_eq!(migration.phase(parts[0]).unwrap(), Phase::Stable);
    migration.prepare(parts[1]).unwrap();
    drop(migration);
    let fresh = Router::new(router.topology());
    let resumed = Migration::resume(&fresh, kept).unwrap();
    assert_eq!(resumed.phase(parts[0]).unwrap(), Phase::Stable);
    assert_eq!(resumed.phase(parts[1]).unwrap(), Phase::Preparing);
}

#[test]
fn once_the_new_node_had_the_say_going_back_needs_equal_nodes() {
    let (router, mut migration, key, part) = verified();
    migration.switch(part).unwrap();
    router.write_route(key).failed_second(); // the old node lacks it
    assert_eq!(migration.step_back(part).unwrap(), Phase::Verifying);
    assert!(matches!(
        migration.step_back(part).unwrap_err(),
        MigrationError::Dirty { keys: 1, .. }
    ));
    let listed = migration.dirty(part).unwrap();
    migration.repaired(&listed[0]);
    assert_eq!(migration.step_back(part).unwrap(), Phase::Copying);
    // Where it never had, a node that fails is no reason to stay.
    let (router, mut migration, key, part) = verified();
    router.write_route(key).failed_second();
    assert_eq!(migration.step_back(part).unwrap(), Phase::Copying);
}

/// Rows that were removed from their old nodes were looked for there, by whoever
/// asked for many keys at once, until the last part was done.
#[test]
fn many_keys_at_once_are_looked_for_where_each_one_is() {
    let (router, new) = two_to_three();
    let store = fill(&router, 300);
    let migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let mut driver = Driver::new(migration, store.clone()).page(7).in_flight(2);
    let keys: Vec<_> = (0..300).map(|key| format!("user:{key}")).collect();
    let name = |node| new.name(node).unwrap();
    let mut steps = 0;
    loop {
        let mut nodes = Vec::new();
        router.route_many(&keys, &mut nodes);
        let groups = router.group_by_node(&keys);
        for (key, node) in keys.iter().zip(&nodes) {
            assert_eq!(*node, router.route(key.as_str()));
            assert_eq!(router.route_where(key.as_str(), |_| true), Some(*node));
            assert!(store.read(name(*node), key.as_bytes()).is_some(), "{key}");
        }
        for (node, positions) in groups.iter() {
            assert!(positions.iter().all(|at| nodes[*at as usize] == node));
        }
        let (rows, names) = (store.clone(), new.clone());
        let read = router.scatter(keys.clone()).run(move |node, keys| {
            let row = |key: &String| rows.read(names.name(node).unwrap(), key.as_bytes());
            let found: Vec<_> = keys.iter().map(row).collect();
            std::future::ready(Ok::<_, std::convert::Infallible>(found))
        });
        let gathered = block_on(read).unwrap();
        assert!(
            gathered
                .answers()
                .iter()
                .all(|row| matches!(row, Some(Some(_))))
        );
        // Every row is on one of them, at least.
        let all = router.scatter_all().run(|node| {
            let rows = store.rows(name(node));
            std::future::ready(Ok::<_, std::convert::Infallible>(rows))
        });
        let found = block_on(all)
            .unwrap()
            .into_answers()
            .into_iter()
            .flatten()
            .flatten();
        let found: std::collections::BTreeSet<_> = found.map(|row| row.key).collect();
        assert_eq!(found.len(), 300);
        steps += 1;
        if matches!(block_on(driver.step()).unwrap(), Step::Over(_)) {
            break;
        }
    }
    assert!(steps > 20);
}
