//! What threads do to each other, under every interleaving that a scheduler tried.

use shuttle::sync::Arc;
use shuttle::thread;

use super::{AtomicBloomFilter, Layout, RotatingBloomFilter};

#[test]
fn threads_that_insert_into_one_line_lose_no_bit() {
    for layout in [Layout::Blocked, Layout::Paired] {
        shuttle::check_random(
            move || {
                let builder = AtomicBloomFilter::builder().bits(512).layout(layout);
                let filter = Arc::new(builder.build_atomic().unwrap());
                let threads: Vec<_> = (0..3u64)
                    .map(|thread| {
                        let filter = Arc::clone(&filter);
                        thread::spawn(move || {
                            for key in [thread, thread + 10] {
                                filter.insert(&key);
                                assert!(filter.contains(&key));
                            }
                        })
                    })
                    .collect();
                threads.into_iter().for_each(|t| t.join().unwrap());
                for key in [0, 1, 2, 10, 11, 12u64] {
                    assert!(filter.contains(&key));
                }
            },
            300,
        );
    }
}

#[test]
fn a_key_inserted_during_a_rotation_outlives_it() {
    shuttle::check_random(
        || {
            let builder = RotatingBloomFilter::builder().items(1).rate(0.01);
            let filter = Arc::new(builder.generations(3).build().unwrap());
            let turner = {
                let filter = Arc::clone(&filter);
                thread::spawn(move || (0..3).for_each(|_| filter.rotate()))
            };
            let before = filter.rotations();
            filter.insert(&1u64);
            let found = filter.contains(&1u64);
            // Its generation is emptied by the third rotation from its epoch on, which
            // begins when two are over.
            let turns = filter.rotations() - before;
            assert!(found || turns >= 2, "lost after {turns} rotations");
            turner.join().unwrap();
            filter.insert(&2u64);
            assert!(filter.contains(&2u64));
        },
        2000,
    );
}
