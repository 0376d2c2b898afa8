use std::hash::BuildHasher;

use crate::hash::TableHasher;
use crate::sync::Mutex;

/// Tokens whose signature was right, in sets of a few; the one that was not asked for the longest leaves a full set.
///
/// The whole token is kept and compared, so that no collision makes a forged one
/// right. Of the claims it knows nothing: they are looked at each time.
pub(super) struct VerifiedCache {
    sets: Vec<Mutex<Set>>,
    hasher: TableHasher,
}

/// The last asked for comes first.
type Set = [Option<Verified>; WAYS];

struct Verified {
    hash: u64,
    token: Box<str>,
}

impl VerifiedCache {
    pub(super) fn new(tokens: usize) -> Self {
        let sets = tokens.clamp(1, MOST).div_ceil(WAYS).next_power_of_two();
        Self {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            hasher: TableHasher::random(),
        }
    }

    pub(super) fn contains(&self, token: &str) -> bool {
        let hash = self.hasher.hash_one(token);
        let mut set = self.set(hash).lock();
        let is_it = |other: &Option<Verified>| {
            let other = other.as_ref();
            other.is_some_and(|other| other.hash == hash && *other.token == *token)
        };
        let Some(place) = set.iter().position(is_it) else {
            return false;
        };
        set[..=place].rotate_right(1);
        true
    }

    pub(super) fn insert(&self, token: &str) {
        if token.len() > MOST_BYTES {
            return;
        }
        let hash = self.hasher.hash_one(token);
        let token = token.into();
        let mut set = self.set(hash).lock();
        set.rotate_right(1);
        let old = set[0].replace(Verified { hash, token });
        drop(set);
        drop(old);
    }

    fn set(&self, hash: u64) -> &Mutex<Set> {
        // The low bits of the hash are as good as any.
        &self.sets[hash as usize & (self.sets.len() - 1)]
    }
}

const WAYS: usize = 8;
const MOST: usize = 1 << 24;
/// Bytes of a token that is remembered.
const MOST_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_leaves() {
        let cache = VerifiedCache::new(WAYS);
        let token = |number: usize| format!("token {number}");
        cache.insert("asked for");
        for number in 0..100 {
            assert!(!cache.contains(&token(number)));
            cache.insert(&token(number));
            assert!(cache.contains("asked for"));
        }
        // The last of the others, and no more.
        let stayed = (0..100).filter(|&number| cache.contains(&token(number)));
        assert_eq!(stayed.collect::<Vec<_>>(), (93..100).collect::<Vec<_>>());
        assert!(!cache.contains("asked fo") && !cache.contains("asked for."));
    }

    #[test]
    fn as_many_as_it_is_for_are_kept_but_for_a_few() {
        let cache = VerifiedCache::new(1024);
        (0..1024).for_each(|number| cache.insert(&format!("{number}")));
        let kept = (0..1024).filter(|number| cache.contains(&format!("{number}")));
        assert!(kept.count() > 800);
    }

    #[test]
    fn a_long_token_is_not_remembered() {
        let cache = VerifiedCache::new(1);
        cache.insert(&"x".repeat(MOST_BYTES + 1));
        assert!(!cache.contains(&"x".repeat(MOST_BYTES + 1)));
    }
}
