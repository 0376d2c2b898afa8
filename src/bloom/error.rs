use super::{InstructionSet, Layout};

/// A filter that cannot be built as asked.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The rate of false positives is no fraction.
    #[error("the rate of false positives must lie between 0 and 1, both excluded, found {found}")]
    Rate {
        /// What was asked for.
        found: f64,
    },
    /// The rate is lower than that of two keys having the same hash.
    #[error(
        "a rate of {rate:e} cannot be met with {items} keys: their 64-bit hashes alone coincide at {least:e}"
    )]
    RateBelowHashes {
        /// What was asked for.
        rate: f64,
        /// The keys expected.
        items: u64,
        /// The lowest rate that 64-bit hashes allow for so many keys.
        least: f64,
    },
    /// Too little is said to choose a size.
    #[error("a filter needs a size: set items and rate, or bits")]
    Unsized,
    /// Both a rate and a size in bits were given.
    #[error("rate and bits were both set: each decides the size, so leave one out")]
    RateAndBits,
    /// A standard layout of given bits has no best number of hashes without
    /// the number of keys.
    #[error("a standard filter of given bits needs items too, to choose how many bits a key sets")]
    HashesUnknown,
    /// The filter exceeds what this machine can address.
    #[error("a filter of {bits} bits exceeds what this machine can address")]
    TooLarge {
        /// The bits it needs.
        bits: u128,
    },
    /// The filter exceeds the bound that was set.
    #[error("a filter of {bits} bits exceeds max_bytes, which is {most}")]
    OverMaxBytes {
        /// The bits it needs.
        bits: u128,
        /// The bytes it may have.
        most: u64,
    },
    /// The memory could not be had.
    #[error("{bytes} bytes for the filter could not be allocated")]
    OutOfMemory {
        /// The bytes it needs.
        bytes: usize,
    },
    /// The processor does not have these instructions.
    #[error("this processor does not have {asked}")]
    InstructionSet {
        /// What was asked for.
        asked: InstructionSet,
    },
    /// A rotating filter of fewer than two generations, or too many.
    #[error("a rotating filter needs 2 to {max} generations, found {found}")]
    Generations {
        /// What was asked for.
        found: usize,
        /// The most there may be.
        max: usize,
    },
    /// A lifetime of zero: nothing could ever be found.
    #[error("the lifetime must be longer than zero: a key would age out as it is inserted")]
    ZeroLifetime,
}

/// Bytes that are not the filter that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BytesError {
    /// Fewer or more bytes than the header calls for.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// What a filter of this header takes.
        expected: u128,
        /// How many there are.
        found: usize,
    },
    /// The first bytes are not those of a filter.
    #[error("these are not the bytes of a filter: they do not start with its mark")]
    Magic,
    /// Written by a version that this one does not know.
    #[error("expected version {expected} of the format, found {found}")]
    Version {
        /// The version this code reads.
        expected: u16,
        /// The version written.
        found: u16,
    },
    /// The bits are laid out in another way.
    #[error("expected {expected}, found a layout of number {found}")]
    Layout {
        /// What this type reads.
        expected: &'static str,
        /// The number written.
        found: u8,
    },
    /// Filled with another hash: none of its keys would be found.
    #[error("expected keys hashed by hash number {expected}, found number {found}")]
    Hash {
        /// The hash of this type.
        expected: u8,
        /// The number written.
        found: u8,
    },
    /// Filled with another seed: none of its keys would be found.
    #[error("expected keys hashed with seed {expected:#x}, found {found:#x}")]
    Seed {
        /// What the caller gave, or zero.
        expected: u64,
        /// What was written.
        found: u64,
    },
    /// A number of bits per key that the layout cannot have: zero would find
    /// every key.
    #[error("{found} bits per key do not belong to this layout")]
    Hashes {
        /// What was written.
        found: u8,
    },
    /// What must be zero is not.
    #[error("a byte of the header that must be zero is {found}")]
    Reserved {
        /// What was written.
        found: u8,
    },
    /// The bytes were changed since they were written.
    #[error("expected checksum {expected:#018x}, found {found:#018x}")]
    Checksum {
        /// The checksum of what was read.
        expected: u64,
        /// The checksum written.
        found: u64,
    },
    /// The memory could not be had.
    #[error("{bytes} bytes for the filter could not be allocated")]
    OutOfMemory {
        /// The bytes it needs.
        bytes: usize,
    },
}

/// Two filters that cannot be united, since they do not place keys alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The layouts differ.
    #[error("expected a filter of the {expected} layout, found {found}")]
    Layout {
        /// This filter's.
        expected: Layout,
        /// The other's.
        found: Layout,
    },
    /// The sizes differ.
    #[error("expected a filter of {expected} bits, found {found}")]
    Bits {
        /// This filter's.
        expected: u64,
        /// The other's.
        found: u64,
    },
    /// The numbers of bits per key differ.
    #[error("expected a filter that sets {expected} bits per key, found {found}")]
    Hashes {
        /// This filter's.
        expected: u32,
        /// The other's.
        found: u32,
    },
    /// The seeds differ.
    #[error("expected a filter of seed {expected:#x}, found {found:#x}")]
    Seed {
        /// This filter's.
        expected: u64,
        /// The other's.
        found: u64,
    },
}
