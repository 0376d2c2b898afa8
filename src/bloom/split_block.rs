use std::fmt;

use super::builder::check_rate;
use super::bytes::{Header, PARQUET, SPLIT_BLOCK};
use super::kernel::Kernel;
use super::line::scale;
use super::memory::filled;
use super::sizing::{LINE_HASHES, keys_by_zeros, split_block_rate, split_blocks_for};
use super::{BuildError, BytesError, Mismatch};
use crate::hash::{StableKey, xxh64};

/// The filter of Apache Parquet files: blocks of 256 bits, one bit in each of
/// eight words of 32, keys hashed by XXH64.
///
/// For reading and writing what other programs read and write. A key's
/// [canonical bytes](StableKey) are Parquet's plain encoding for integers, strings and
/// byte arrays; for others pass the encoded bytes. Where no other program is
/// involved, [`BloomFilter`](super::BloomFilter) has fewer false positives in the same memory.
///
/// ```
/// use tenfold::bloom::SplitBlockFilter;
///
/// let mut column = SplitBlockFilter::with_rate(1000, 0.01)?;
/// column.insert(&42i64);
/// column.insert("text");
/// column.insert(&1.5f64.to_le_bytes());
///
/// // As it stands in the file, after Parquet's own header.
/// let bitset = column.to_bitset();
/// let read = SplitBlockFilter::from_bitset(&bitset)?;
/// assert!(read.contains(&42i64) && read.contains("text"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SplitBlockFilter {
    kernel: Kernel,
    /// 1 to 2^32 - 1.
    blocks: Vec<Block>,
}

impl SplitBlockFilter {
    /// A filter that with `items` keys takes at most this share of strangers for
    /// members.
    ///
    /// # Errors
    ///
    /// If the rate is not between 0 and 1, or too low; if the memory cannot be
    /// had.
    pub fn with_rate(items: u64, rate: f64) -> Result<Self, BuildError> {
        let items = items.max(1);
        check_rate(items, rate)?;
        Self::with_blocks(split_blocks_for(items, rate))
    }

    /// A filter of so many blocks of 32 bytes each; zero counts as one.
    ///
    /// # Errors
    ///
    /// If there are 2^32 or more, which the layout cannot tell apart; if the
    /// memory cannot be had.
    pub fn with_blocks(blocks: u64) -> Result<Self, BuildError> {
        let too_large = BuildError::TooLarge {
            bits: u128::from(blocks) * 256,
        };
        let blocks = u32::try_from(blocks.max(1)).map_err(|_| too_large)?;
        Self::empty(blocks as usize).map_err(|bytes| BuildError::OutOfMemory { bytes })
    }

    fn empty(blocks: usize) -> Result<Self, usize> {
        Ok(Self {
            kernel: Kernel::best(),
            blocks: filled(blocks, || Block::EMPTY)?,
        })
    }

    /// Inserts a key. Returns whether it was new.
    #[inline]
    pub fn insert<K: StableKey + ?Sized>(&mut self, key: &K) -> bool {
        self.insert_hash(xxh64(key))
    }

    /// Whether the key was inserted: surely not if `false`.
    #[inline]
    pub fn contains<K: StableKey + ?Sized>(&self, key: &K) -> bool {
        self.contains_hash(xxh64(key))
    }

    /// [`insert`](Self::insert) for callers who have the XXH64 of seed 0.
    #[inline]
    pub fn insert_hash(&mut self, hash: u64) -> bool {
        let block = self.block(hash);
        self.kernel
            .insert_split(&mut self.blocks[block], hash as u32)
    }

    /// [`contains`](Self::contains) for callers who have the XXH64 of seed 0.
    #[inline]
    pub fn contains_hash(&self, hash: u64) -> bool {
        self.kernel
            .contains_split(&self.blocks[self.block(hash)], hash as u32)
    }

    /// Parquet's rule: the upper half of the hash, scaled to the blocks.
    #[inline]
    fn block(&self, hash: u64) -> usize {
        scale(hash >> 32 << 32, self.blocks.len() as u64) as usize
    }

    /// Adds every key of the other filter.
    ///
    /// # Errors
    ///
    /// If the sizes differ. Nothing is changed then.
    pub fn union(&mut self, other: &Self) -> Result<(), Mismatch> {
        if self.blocks.len() != other.blocks.len() {
            return Err(Mismatch::Bits {
                expected: self.bits(),
                found: other.bits(),
            });
        }
        for (block, other) in self.blocks.iter_mut().zip(&other.blocks) {
            for (word, other) in block.0.iter_mut().zip(&other.0) {
                *word |= other;
            }
        }
        Ok(())
    }

    /// Forgets every key. Keeps the memory.
    pub fn clear(&mut self) {
        self.blocks.fill(Block::EMPTY);
    }

    /// The size in bits.
    pub const fn bits(&self) -> u64 {
        self.blocks.len() as u64 * 256
    }

    /// The share of bits that are set. Reads the whole filter.
    pub fn fill(&self) -> f64 {
        1.0 - self.zeros() as f64 / self.bits() as f64
    }

    /// How many different keys were inserted, estimated from the bits.
    pub fn len_estimate(&self) -> u64 {
        keys_by_zeros(self.zeros(), self.bits(), LINE_HASHES)
    }

    /// The rate of false positives now, computed from every bit.
    pub fn current_rate(&self) -> f64 {
        let ones = |word: &u32| f64::from(word.count_ones()) / 32.0;
        let block = |block: &Block| block.0.iter().map(ones).product::<f64>();
        self.blocks.iter().map(block).sum::<f64>() / self.blocks.len() as f64
    }

    /// The rate of false positives by theory once it holds so many keys.
    pub fn expected_rate(&self, items: u64) -> f64 {
        split_block_rate(items, self.blocks.len() as u64)
    }

    /// The bits as Parquet writes them.
    pub fn to_bitset(&self) -> Vec<u8> {
        self.bytes().collect()
    }

    /// The filter of these bits, without a check but that of their number:
    /// Parquet's format has none.
    ///
    /// # Errors
    ///
    /// If they are no whole number of blocks of 32 bytes, from one on.
    pub fn from_bitset(bitset: &[u8]) -> Result<Self, BytesError> {
        let (blocks, rest) = bitset.as_chunks::<32>();
        if blocks.is_empty() || !rest.is_empty() || u32::try_from(blocks.len()).is_err() {
            return Err(BytesError::Length {
                expected: blocks.len().max(1) as u128 * 32,
                found: bitset.len(),
            });
        }
        let mut filter =
            Self::empty(blocks.len()).map_err(|bytes| BytesError::OutOfMemory { bytes })?;
        for (block, bytes) in filter.blocks.iter_mut().zip(blocks) {
            let (words, _) = bytes.as_chunks();
            block.0 = std::array::from_fn(|word| u32::from_le_bytes(words[word]));
        }
        Ok(filter)
    }

    /// The filter with a header and a checksum, as the other filters.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = Header {
            layout: SPLIT_BLOCK,
            hash: PARQUET,
            hashes: LINE_HASHES as u8,
            seed: 0,
            units: self.blocks.len() as u64,
            keys: self.len_estimate(),
        };
        header.write(self.bytes(), self.blocks.len() * 32)
    }

    /// The filter that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// If the bytes were cut or changed, or are those of another filter.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BytesError> {
        let header = Header::read(bytes)?;
        if header.layout != SPLIT_BLOCK {
            return Err(BytesError::Layout {
                expected: "a split-block filter",
                found: header.layout,
            });
        }
        if u32::from(header.hashes) != LINE_HASHES {
            return Err(BytesError::Hashes {
                found: header.hashes,
            });
        }
        Self::from_bitset(header.bits(bytes, 32, PARQUET, 0)?)
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        let words = self.blocks.iter().flat_map(|block| block.0);
        words.flat_map(u32::to_le_bytes)
    }

    fn zeros(&self) -> u64 {
        let words = self.blocks.iter().flat_map(|block| block.0);
        words.map(|word| u64::from(word.count_zeros())).sum()
    }
}

impl PartialEq for SplitBlockFilter {
    /// Whether both find the same keys.
    fn eq(&self, other: &Self) -> bool {
        self.blocks == other.blocks
    }
}

impl Eq for SplitBlockFilter {}

impl fmt::Debug for SplitBlockFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitBlockFilter")
            .field("bits", &self.bits())
            .finish_non_exhaustive()
    }
}

/// 256 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(32))]
pub(super) struct Block(pub(super) [u32; 8]);

impl Block {
    const EMPTY: Self = Self([0; 8]);

    /// Whether every bit of the key is set.
    #[inline]
    pub(super) fn contains(&self, hash: u32) -> bool {
        let words = self.0.iter().zip(masks(hash));
        words.fold(0, |missing, (word, mask)| missing | (mask & !word)) == 0
    }

    /// Sets the bits of the key; whether one was not set.
    #[inline]
    pub(super) fn insert(&mut self, hash: u32) -> bool {
        let mut missing = 0;
        for (word, mask) in self.0.iter_mut().zip(masks(hash)) {
            missing |= mask & !*word;
            *word |= mask;
        }
        missing != 0
    }
}

/// A bit in each word.
#[inline]
fn masks(hash: u32) -> [u32; 8] {
    SALTS.map(|salt| 1 << (hash.wrapping_mul(salt) >> 27))
}

/// Parquet's.
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];
