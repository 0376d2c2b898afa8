//! Filters as bytes. The format is in the block's page.

use super::line::{LINE_BYTES, WORDS};
use super::shape::Shape;
use super::sizing::{LINE_HASHES, MOST_HASHES};
use super::{BytesError, Layout};
use crate::hash::xxh3_64;

/// The first 64 bytes, as written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) layout: u8,
    pub(super) hash: u8,
    pub(super) hashes: u8,
    pub(super) seed: u64,
    pub(super) units: u64,
    pub(super) keys: u64,
}

impl Header {
    /// The header, the bits, and the checksum of both.
    pub(super) fn write(&self, bits: impl Iterator<Item = u8>, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + size + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[self.layout, self.hash, self.hashes, 0, 0, 0]);
        for number in [self.seed, self.units, self.keys] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.resize(HEADER, 0);
        bytes.extend(bits);
        let checksum = xxh3_64(&bytes, 0);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// What the first bytes say, before anything of it is believed.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, BytesError> {
        let short = BytesError::Length {
            expected: (HEADER + CHECKSUM) as u128,
            found: bytes.len(),
        };
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(short)?;
        if bytes.len() < HEADER + CHECKSUM {
            return Err(short);
        }
        let (words, _) = header.as_chunks::<8>();
        let number = |word: usize| u64::from_le_bytes(words[word]);
        if words[0] != *MAGIC {
            return Err(BytesError::Magic);
        }
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version != VERSION {
            return Err(BytesError::Version {
                expected: VERSION,
                found: version,
            });
        }
        let mut reserved = header[13..16].iter().chain(&header[40..]);
        if let Some(&found) = reserved.find(|&&byte| byte != 0) {
            return Err(BytesError::Reserved { found });
        }
        Ok(Self {
            layout: header[10],
            hash: header[11],
            hashes: header[12],
            seed: number(2),
            units: number(3),
            keys: number(4),
        })
    }

    /// The bits, if there are as many as the header says, the checksum is
    /// right, and hash and seed are those expected.
    pub(super) fn bits<'b>(
        &self,
        bytes: &'b [u8],
        unit: usize,
        hash: u8,
        seed: u64,
    ) -> Result<&'b [u8], BytesError> {
        if self.hash != hash {
            return Err(BytesError::Hash {
                expected: hash,
                found: self.hash,
            });
        }
        // At least one line or block, or there would be nowhere to look.
        let size = u128::from(self.units.max(1)) * unit as u128;
        let expected = size + (HEADER + CHECKSUM) as u128;
        let whole = bytes.len() as u128 == expected && self.units > 0;
        let (Some((body, &checksum)), true) = (bytes.split_last_chunk(), whole) else {
            return Err(BytesError::Length {
                expected,
                found: bytes.len(),
            });
        };
        let (expected, found) = (xxh3_64(body, 0), u64::from_le_bytes(checksum));
        if expected != found {
            return Err(BytesError::Checksum { expected, found });
        }
        if self.seed != seed {
            return Err(BytesError::Seed {
                expected: seed,
                found: self.seed,
            });
        }
        Ok(&body[HEADER..])
    }
}

pub(super) fn encode(shape: &Shape, keys: u64, words: impl Iterator<Item = u64>) -> Vec<u8> {
    let header = Header {
        layout: shape.layout.id(),
        hash: CANONICAL,
        hashes: shape.hashes as u8,
        seed: shape.seed,
        units: shape.lines as u64,
        keys,
    };
    header.write(words.flat_map(u64::to_le_bytes), shape.lines * LINE_BYTES)
}

/// A filter that was read and found to be whole.
pub(super) struct Decoded<'b> {
    pub(super) shape: Shape,
    bits: &'b [u8],
}

impl Decoded<'_> {
    pub(super) fn lines(&self) -> impl Iterator<Item = [u64; WORDS]> {
        let (lines, _) = self.bits.as_chunks::<LINE_BYTES>();
        lines.iter().map(|line| {
            let (words, _) = line.as_chunks();
            std::array::from_fn(|word| u64::from_le_bytes(words[word]))
        })
    }
}

pub(super) fn decode(bytes: &[u8], seed: u64) -> Result<Decoded<'_>, BytesError> {
    let header = Header::read(bytes)?;
    let layout = Layout::ALL
        .into_iter()
        .find(|layout| layout.id() == header.layout)
        .ok_or(BytesError::Layout {
            expected: "a blocked, paired or standard filter",
            found: header.layout,
        })?;
    let hashes = u32::from(header.hashes);
    let possible = match layout {
        Layout::Blocked | Layout::Paired => hashes == LINE_HASHES,
        Layout::Standard => (1..=MOST_HASHES).contains(&hashes),
    };
    if !possible {
        return Err(BytesError::Hashes {
            found: header.hashes,
        });
    }
    let bits = header.bits(bytes, LINE_BYTES, CANONICAL, seed)?;
    Ok(Decoded {
        shape: Shape {
            layout,
            lines: bits.len() / LINE_BYTES,
            hashes,
            seed,
        },
        bits,
    })
}

/// XXH3-64 of canonical bytes.
const CANONICAL: u8 = 1;

/// XXH64, with which Parquet fills its filters.
pub(super) const PARQUET: u8 = 2;

/// The number of the split-block layout.
pub(super) const SPLIT_BLOCK: u8 = 4;

const MAGIC: &[u8; 8] = b"tenbloom";
const VERSION: u16 = 1;
const HEADER: usize = 64;
const CHECKSUM: usize = 8;
