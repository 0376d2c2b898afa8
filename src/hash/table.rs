use std::fmt;
use std::hash::{BuildHasher, Hash};

use foldhash::quality::{FoldHasher, SeedableRandomState};

/// A keyed hasher for in-memory tables.
///
/// ```
/// use std::hash::BuildHasher;
/// use tenfold::hash::TableHasher;
///
/// let hasher = TableHasher::with_seed(1);
/// assert_eq!(hasher.hash_one("key"), TableHasher::with_seed(1).hash_one("key"));
/// assert_ne!(hasher.hash_one("key"), TableHasher::with_seed(2).hash_one("key"));
/// ```
#[derive(Clone)]
pub struct TableHasher(SeedableRandomState);

impl TableHasher {
    /// A hasher with a secret of its own, different in every process and table.
    pub fn random() -> Self {
        Self(SeedableRandomState::random())
    }

    /// A hasher that gives the same hashes for the same seed in this build of
    /// the program: for tests and simulations, not for keys that strangers
    /// choose.
    pub fn with_seed(seed: u64) -> Self {
        Self(SeedableRandomState::with_seed(
            seed,
            foldhash::SharedSeed::global_fixed(),
        ))
    }
}

impl Default for TableHasher {
    fn default() -> Self {
        Self::random()
    }
}

impl fmt::Debug for TableHasher {
    /// Keeps the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableHasher(..)")
    }
}

impl BuildHasher for TableHasher {
    type Hasher = TableHashState;

    #[inline]
    fn build_hasher(&self) -> TableHashState {
        TableHashState(self.0.build_hasher())
    }

    #[inline]
    fn hash_one<T: Hash>(&self, value: T) -> u64 {
        self.0.hash_one(value)
    }
}

/// One hash of [`TableHasher`] being computed.
#[derive(Clone)]
pub struct TableHashState(FoldHasher<'static>);

impl fmt::Debug for TableHashState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableHashState(..)")
    }
}

macro_rules! forward {
    ($($write:ident: $int:ty),*) => {
        impl std::hash::Hasher for TableHashState {
            #[inline]
            fn write(&mut self, bytes: &[u8]) {
                self.0.write(bytes);
            }
            $(#[inline]
            fn $write(&mut self, value: $int) {
                self.0.$write(value);
            })*
            #[inline]
            fn finish(&self) -> u64 {
                self.0.finish()
            }
        }
    };
}

forward!(write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64, write_u128: u128, write_usize: usize);
