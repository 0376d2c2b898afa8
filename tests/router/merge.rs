//! Merges against sorting, joins against nested loops.

use std::cell::Cell;
use std::cmp::{Ordering, Reverse};

use crate::support::{panics, quiet_panic};
use proptest::prelude::*;
use tenfold::router::scatter::{join, left_join, merge_by, merge_by_key};

/// Lists of keys, each element with the number of its list and its place there.
fn numbered(lists: Vec<Vec<u8>>) -> Vec<Vec<(u8, usize, usize)>> {
    let number = |(list, keys): (usize, Vec<u8>)| {
        let keys = keys.into_iter().enumerate();
        keys.map(|(place, key)| (key, list, place)).collect()
    };
    lists.into_iter().enumerate().map(number).collect()
}

fn lists() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(0..20_u8, 0..12), 0..8)
}

proptest! {
    #[test]
    fn a_merge_is_a_stable_sort(lists in lists(), limit in 0..40_usize, descending: bool) {
        let compare = |a: &u8, b: &u8| if descending { b.cmp(a) } else { a.cmp(b) };
        let mut lists = lists;
        for list in &mut lists {
            list.sort_by(compare);
        }
        let lists = numbered(lists);
        let mut expected = lists.concat();
        expected.sort_by(|a, b| compare(&a.0, &b.0));
        expected.truncate(limit);

        let merged = merge_by(lists.clone(), |a, b| compare(&a.0, &b.0));
        prop_assert_eq!(merged.size_hint(), (lists.concat().len(), Some(lists.concat().len())));
        prop_assert_eq!(&merged.take(limit).collect::<Vec<_>>(), &expected);
        let by_key: Vec<_> = if descending {
            merge_by_key(lists, |element| Reverse(element.0)).take(limit).collect()
        } else {
            merge_by_key(lists, |element| element.0).take(limit).collect()
        };
        prop_assert_eq!(by_key, expected);
    }

    #[test]
    fn a_merge_takes_no_more_than_it_needs(lists in lists(), limit in 1..40_usize) {
        let mut lists = lists;
        for list in &mut lists {
            list.sort_unstable();
        }
        let (taken, count) = (Cell::new(0), lists.len());
        let counted = lists.into_iter().map(|list| {
            let taken = &taken;
            list.into_iter().inspect(move |_| taken.set(taken.get() + 1))
        });
        let mut merged = merge_by(counted, u8::cmp);
        prop_assert_eq!(taken.get(), 0);
        let given = merged.by_ref().take(limit).count();
        prop_assert!(taken.get() < given.max(1) + count);
    }

    #[test]
    fn what_is_not_sorted_or_panics_is_not_lost(
        lists in lists(),
        panics_at in prop::collection::btree_set(0..60_u32, 0..6),
    ) {
        let mut expected = lists.concat();
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            if panics_at.contains(&asked.get()) {
                quiet_panic();
            }
        };
        let lists = lists.into_iter().map(|list| {
            let mut list = list.into_iter();
            std::iter::from_fn(move || {
                ask();
                list.next()
            })
        });
        let mut merged = merge_by(lists, |a: &u8, b: &u8| {
            ask();
            a.cmp(b)
        });
        let mut found = Vec::new();
        let mut over = false;
        while !over {
            // A panic is the caller's, who may ask again.
            panics(|| match merged.next() {
                Some(element) => found.push(element),
                None => over = true,
            });
        }
        expected.sort_unstable();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_join_is_two_nested_loops(
        left in prop::collection::vec((0..6_u8, any::<u8>()), 0..20),
        right in prop::collection::vec((0..6_u8, any::<u8>()), 0..20),
    ) {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        for one in &left {
            let before = inner.len();
            for other in &right {
                if one.0 == other.0 {
                    inner.push((one, other));
                    outer.push((one, Some(other)));
                }
            }
            if inner.len() == before {
                outer.push((one, None));
            }
        }
        let joined = join(&left, &right, |row| row.0, |row| row.0);
        prop_assert_eq!(joined.collect::<Vec<_>>(), inner);
        let joined = left_join(&left, &right, |row| row.0, |row| row.0);
        prop_assert_eq!(joined.collect::<Vec<_>>(), outer);
    }
}

#[test]
fn a_merge_compares_no_more_than_its_page_says() {
    let lists: Vec<Vec<u32>> = (0..64)
        .map(|list| (0..1000).map(|place| 64 * place + list).collect())
        .collect();
    let count = Cell::new(0_u32);
    let compare = |a: &u32, b: &u32| -> Ordering {
        count.set(count.get() + 1);
        a.cmp(b)
    };
    assert_eq!(merge_by(lists, compare).count(), 64_000);
    // Three times the logarithm of 64, for each.
    assert!(count.get() <= 64_000 * 3 * 6, "{}", count.get());
}
