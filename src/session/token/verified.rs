use std::hash::BuildHasher;

use crate::hash::TableHasher;
use crate::sync::Mutex;

/// Tokens whose signature was right. A place each, which the next to fall there takes.
///
/// The whole token is kept and compared, so that no collision makes a forged one
/// right. Of the claims it knows nothing: they are looked at each time.
pub(super) struct VerifiedCache {
    places: Vec<Mutex<Option<Box<str>>>>,
    hasher: TableHasher,
}

impl VerifiedCache {
    pub(super) fn new(tokens: usize) -> Self {
        let places = tokens.clamp(1, MOST).next_power_of_two();
        Self {
            places: (0..places).map(|_| Mutex::new(None)).collect(),
            hasher: TableHasher::random(),
        }
    }

    pub(super) fn contains(&self, token: &str) -> bool {
        self.place(token).lock().as_deref() == Some(token)
    }

    pub(super) fn insert(&self, token: &str) {
        if token.len() > MOST_BYTES {
            return;
        }
        let old = self.place(token).lock().replace(token.into());
        drop(old);
    }

    fn place(&self, token: &str) -> &Mutex<Option<Box<str>>> {
        let hash = self.hasher.hash_one(token) as usize;
        &self.places[hash & (self.places.len() - 1)]
    }
}

const MOST: usize = 1 << 24;
/// Bytes of a token that is remembered.
const MOST_BYTES: usize = 2048;
