//! Keys: borrowed forms, and keys that somebody chose to do harm.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};

use tenfold::cache::{Cache, Policy};
use tenfold::hash::TableHasher;

#[test]
fn a_key_is_found_by_its_borrowed_form() {
    let cache: Cache<String, u32> = Cache::new(10);
    cache.insert("a".to_owned(), 1);
    assert_eq!(cache.get("a"), Some(1));
    assert_eq!(cache.peek("a"), Some(1));
    assert_eq!(*cache.get_ref("a").unwrap(), 1);
    assert!(cache.contains_key("a"));
    assert_eq!(cache.remove_entry("a"), Some(("a".to_owned(), 1)));
    cache.insert("a".to_owned(), 2);
    cache.invalidate("a");
    assert_eq!(cache.remove("a"), None);
    let cache: Cache<Vec<u8>, u32> = Cache::new(10);
    cache.insert(vec![1, 2], 3);
    assert_eq!(cache.get([1, 2].as_slice()), Some(3));
}

/// Hashes to what it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Colliding {
    number: u32,
    hash: u8,
}

impl Hash for Colliding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

#[test]
fn keys_that_all_collide_are_still_told_apart() {
    for hashes in [1, 3] {
        for policy in Policy::ALL {
            let cache: Cache<Colliding, u32> = Cache::builder()
                .max_entries(150)
                .policy(policy)
                .shards(2)
                .build()
                .unwrap();
            let mut written = HashMap::new();
            let key = |number: u32| Colliding {
                number,
                hash: (number % hashes) as u8,
            };
            for step in 0..2_000u32 {
                let number = step.wrapping_mul(0x9e37_79b9) % 400;
                if step % 5 == 0 {
                    let removed = cache.remove(&key(number));
                    assert!(removed.is_none() || removed == written.remove(&number));
                    continue;
                }
                cache.insert(key(number), step);
                written.insert(number, step);
                assert_eq!(cache.get(&key(number)), Some(step));
            }
            assert_eq!(cache.len(), 150);
            for entry in &cache {
                assert_eq!(written.get(&entry.key.number), Some(&entry.value));
            }
        }
    }
}

/// `HashDoS`: who knows one process's hashes prepares keys that fall together
/// there; in another they must lie apart.
#[test]
fn keys_chosen_against_one_seed_do_not_collide_under_another() {
    let known = TableHasher::with_seed(1);
    // The top half of a hash chooses shard and bucket.
    let place = |hasher: &TableHasher, key: u64| hasher.hash_one(key) >> 48;
    let chosen: Vec<u64> = (0..)
        .filter(|&key| place(&known, key) % 256 == 0)
        .take(1_000)
        .collect();
    let places = |hasher: &TableHasher| {
        let places = chosen.iter().map(|&key| place(hasher, key) % 256);
        places.collect::<HashSet<_>>().len()
    };
    assert_eq!(places(&known), 1);
    for other in [TableHasher::with_seed(2), TableHasher::random()] {
        // A thousand balls into 256 bins leave five empty.
        assert!(places(&other) > 230, "in {} places", places(&other));
    }
    assert_ne!(
        TableHasher::random().hash_one(1),
        TableHasher::random().hash_one(1),
        "every table has a secret of its own"
    );
}
