use std::hash::BuildHasher;
use std::sync::Arc;

use super::claims::{ClaimsRef, KeptClaims};
use crate::hash::TableHasher;
use crate::sync::Mutex;

/// Tokens whose signature was right, and their claims, in sets of a few; one that is asked for seldom leaves
/// a full set.
///
/// The whole token is kept and compared, so that no collision makes a forged one
/// right. Whether the claims are still good is looked at each time.
pub(super) struct VerifiedCache {
    sets: Vec<Mutex<Set>>,
    hasher: TableHasher,
}

/// Who is asked for moves up.
type Set = [Option<Verified>; WAYS];

struct Verified {
    hash: u64,
    token: Box<str>,
    claims: Arc<KeptClaims>,
}

impl VerifiedCache {
    pub(super) fn new(tokens: usize) -> Self {
        let sets = tokens.clamp(1, MOST).div_ceil(WAYS).next_power_of_two();
        Self {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            hasher: TableHasher::random(),
        }
    }

    pub(super) fn get(&self, token: &str) -> Option<Arc<KeptClaims>> {
        let hash = self.hasher.hash_one(token);
        let mut set = self.set(hash).lock();
        let is_it = |other: &Option<Verified>| {
            let other = other.as_ref();
            other.is_some_and(|other| other.hash == hash && *other.token == *token)
        };
        let place = set.iter().position(is_it)?;
        // The one before it may have been asked for earlier; who is asked for often gets to the front all the same.
        set.swap(place, place.saturating_sub(1));
        let found = set[place.saturating_sub(1)].as_ref();
        found.map(|found| Arc::clone(&found.claims))
    }

    pub(super) fn insert(&self, token: &str, claims: &ClaimsRef<'_>) {
        if token.len() > MOST_BYTES {
            return;
        }
        let Some(claims) = KeptClaims::of(claims) else {
            return;
        };
        let hash = self.hasher.hash_one(token);
        let (token, claims) = (token.into(), Arc::new(claims));
        let mut set = self.set(hash).lock();
        set.rotate_right(1);
        let old = set[0].replace(Verified {
            hash,
            token,
            claims,
        });
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

    fn insert(cache: &VerifiedCache, token: &str) {
        let claims = ClaimsRef::read(br#"{"sub":"ada","exp":5}"#).unwrap();
        cache.insert(token, &claims);
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_leaves() {
        let cache = VerifiedCache::new(WAYS);
        let token = |number: usize| format!("token {number}");
        insert(&cache, "asked for");
        for number in 0..100 {
            assert!(cache.get(&token(number)).is_none());
            insert(&cache, &token(number));
            let found = cache.get("asked for").unwrap();
            assert_eq!(found.get().subject().as_deref(), Some("ada"));
        }
        let stayed = (0..100).filter(|&number| cache.get(&token(number)).is_some());
        assert_eq!(stayed.count(), WAYS - 1);
        assert!(cache.get("asked fo").is_none() && cache.get("asked for.").is_none());
    }

    #[test]
    fn as_many_as_it_is_for_are_kept_but_for_a_few() {
        let cache = VerifiedCache::new(1024);
        (0..1024).for_each(|number| insert(&cache, &number.to_string()));
        let kept = (0..1024).filter(|number| cache.get(&number.to_string()).is_some());
        assert!(kept.count() > 800);
    }

    #[test]
    fn a_long_token_is_not_remembered() {
        let cache = VerifiedCache::new(1);
        let long = "x".repeat(MOST_BYTES + 1);
        insert(&cache, &long);
        assert!(cache.get(&long).is_none());
    }
}
