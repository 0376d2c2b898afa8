//! Readers against swaps, under every interleaving that shuttle's scheduler tries.

use std::sync::Arc;

use shuttle::thread;

use super::placement::Directory;
use super::published::Published;
use super::{Policy, Topology};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::explore;

/// Tables of 16 slots, all of one owner, and five copies, which take two words.
/// Three tables, so that a buffer is written over by another than it had.
fn tables() -> Vec<Topology> {
    let table = |owner: usize| {
        let directory = Directory::new().assign(0..16, format!("{owner}"));
        // Each has nodes of its own, so that no word of a row is another's.
        let nodes = (8 * owner..8 * owner + 8).map(|node| match node % 8 {
            0 => format!("{owner}"),
            _ => format!("{owner}.{node}"),
        });
        let strangers = (0..8 * owner).map(|node| format!("!{node}"));
        let first = Topology::builder()
            .nodes(strangers.clone())
            .node("!")
            .build();
        let edit = first.unwrap().edit().nodes(nodes).remove("!");
        let edit = strangers.fold(edit, |edit, name| edit.remove(name));
        let edit = edit.policy(Policy::Directory(directory));
        edit.slots(16).replicas(5).build().unwrap()
    };
    (0..3).map(table).collect()
}

#[test]
fn a_reader_gets_an_owner_that_was_current_while_it_asked() {
    let tables = Arc::new(tables());
    let check = move || {
        let published = Arc::new(Published::new());
        let publish = |swap: u64| published.publish(&tables[swap as usize % 3].0, |_| false);
        publish(0);
        // How many swaps have begun, and how many are done.
        let swaps = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let reader = {
            let (published, swaps) = (published.clone(), swaps.clone());
            let tables = tables.clone();
            thread::spawn(move || {
                let hash = 1 << 63;
                let done = swaps[1].load(Ordering::SeqCst);
                let copies = published.replicas(hash).unwrap();
                let begun = swaps[0].load(Ordering::SeqCst);
                // All of a row, and not half of one and half of another.
                let mut current = (done..=begun).map(|swap| &tables[swap as usize % 3]);
                assert!(current.any(|table| table.0.replicas_at(8) == copies));
            })
        };
        for swap in 1..=3_u64 {
            swaps[0].store(swap, Ordering::SeqCst);
            publish(swap);
            swaps[1].store(swap, Ordering::SeqCst);
        }
        reader.join().unwrap();
    };
    // Random schedules alone never let a reader sleep through whole swaps.
    explore(3000, check);
}

/// Whose answer needs more than the table must not get the table's, and no mark
/// may be taken for a node: neither while slots become slow nor while they cease to be.
#[test]
fn a_slow_slot_is_never_answered_by_the_table() {
    let tables = Arc::new(tables());
    let check = move || {
        let published = Arc::new(Published::new());
        // Slow in the second table only.
        let publish = {
            let (published, tables) = (published.clone(), tables.clone());
            move |swap: u64| {
                let table = &tables[swap as usize % 3].0;
                published.publish(table, |slot| swap == 1 && slot == 8);
            }
        };
        publish(0);
        let swaps = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let reader = {
            let (published, swaps) = (published.clone(), swaps.clone());
            let tables = tables.clone();
            thread::spawn(move || {
                let done = swaps[1].load(Ordering::SeqCst);
                let owner = published.owner(1 << 63);
                let begun = swaps[0].load(Ordering::SeqCst);
                let mut current = done..=begun;
                assert!(current.any(|swap| {
                    let table = &tables[swap as usize % 3].0;
                    owner == (swap != 1).then(|| table.owner(8))
                }));
                // Its neighbour is not slow.
                assert!(published.replicas(0).is_some());
            })
        };
        for swap in 1..=3_u64 {
            swaps[0].store(swap, Ordering::SeqCst);
            publish(swap);
            swaps[1].store(swap, Ordering::SeqCst);
        }
        reader.join().unwrap();
    };
    explore(3000, check);
}
