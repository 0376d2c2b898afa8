//! Filters as bytes: the format does not change, and nothing but a whole filter of
//! the expected kind is read.

use std::fmt::Write;

use tenfold::bloom::{AtomicBloomFilter, BloomFilter, BytesError, Layout, SplitBlockFilter};

/// One line with three keys.
fn small(layout: Layout, seed: u64) -> BloomFilter {
    let builder = BloomFilter::builder().bits(512).items(40).layout(layout);
    let mut filter = builder.seed(seed).build().unwrap();
    filter.extend(["ada", "bob", "eve"]);
    filter
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file of today is read by every later version. If this fails the format
/// has changed: give it another version, and go on reading this one.
#[test]
fn the_format_of_files_does_not_change() {
    let header = |layout, hash, bits_per_key, seed: u8| {
        format!(
            "74656e626c6f6f6d0100{layout:02x}{hash:02x}{bits_per_key:02x}000000{seed:02x}00000000000000{}{}{}",
            "0100000000000000",
            "0300000000000000",
            "00".repeat(24)
        )
    };
    for (layout, id, hashes, seed, golden) in GOLDEN {
        let bytes = hex(&small(layout, seed).to_bytes());
        let (head, rest) = bytes.split_at(128);
        assert_eq!(head, header(id, 1, hashes, seed as u8), "{layout}");
        assert_eq!(rest, golden, "{layout}");
    }
    let mut split = SplitBlockFilter::with_blocks(1).unwrap();
    for key in ["ada", "bob", "eve"] {
        split.insert(key);
    }
    let bytes = hex(&split.to_bytes());
    let (head, rest) = bytes.split_at(128);
    assert_eq!(head, header(4, 2, 8, 0));
    assert_eq!(rest, GOLDEN_SPLIT);
}

#[test]
fn every_cut_is_refused() {
    for layout in Layout::ALL {
        let bytes = small(layout, 0).to_bytes();
        for end in 0..bytes.len() {
            let error = BloomFilter::from_bytes(&bytes[..end]).unwrap_err();
            assert!(matches!(error, BytesError::Length { .. }), "{end}: {error}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(BloomFilter::from_bytes(&longer).is_err());
    }
    let split = SplitBlockFilter::with_blocks(2).unwrap();
    let (bytes, bitset) = (split.to_bytes(), split.to_bitset());
    assert!((0..bytes.len()).all(|end| SplitBlockFilter::from_bytes(&bytes[..end]).is_err()));
    let cut =
        (0..bitset.len()).filter(|&end| SplitBlockFilter::from_bitset(&bitset[..end]).is_ok());
    // A bitset carries no length: any whole number of blocks is one.
    assert_eq!(cut.collect::<Vec<_>>(), [32]);
}

#[test]
fn every_changed_bit_is_refused() {
    for layout in Layout::ALL {
        let bytes = small(layout, 0).to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let error = BloomFilter::from_bytes(&changed).unwrap_err();
            if bit / 8 >= 64 {
                assert!(matches!(error, BytesError::Checksum { .. }), "bit {bit}");
            }
            assert!(AtomicBloomFilter::from_bytes(&changed).is_err());
        }
    }
    let mut split = SplitBlockFilter::with_blocks(1).unwrap();
    split.insert("ada");
    let bytes = split.to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(SplitBlockFilter::from_bytes(&changed).is_err(), "bit {bit}");
    }
}

/// A filter read with another seed would find none of its keys: false negatives,
/// silently.
#[test]
fn a_filter_of_another_seed_hash_layout_or_version_is_refused() {
    let bytes = small(Layout::Blocked, 7).to_bytes();
    assert_eq!(
        BloomFilter::from_bytes(&bytes).unwrap_err(),
        BytesError::Seed {
            expected: 0,
            found: 7
        }
    );
    assert!(BloomFilter::from_bytes_with_seed(&bytes, 7).is_ok());

    let plain = small(Layout::Blocked, 0).to_bytes();
    let with = |at: usize, value: u8| {
        let mut bytes = plain.clone();
        bytes[at] = value;
        BloomFilter::from_bytes(&bytes).unwrap_err().to_string()
    };
    assert_eq!(with(8, 2), "expected version 1 of the format, found 2");
    assert_eq!(
        with(10, 9),
        "expected a blocked, paired or standard filter, found a layout of number 9"
    );
    assert_eq!(
        with(11, 2),
        "expected keys hashed by hash number 1, found number 2"
    );
    assert_eq!(
        with(0, b'x'),
        "these are not the bytes of a filter: they do not start with its mark"
    );
    let split = SplitBlockFilter::with_blocks(1).unwrap().to_bytes();
    assert!(matches!(
        BloomFilter::from_bytes(&split).unwrap_err(),
        BytesError::Layout { found: 4, .. }
    ));
    assert!(matches!(
        SplitBlockFilter::from_bytes(&plain).unwrap_err(),
        BytesError::Layout { found: 1, .. }
    ));
}

/// With no bits to look at every key is found; with too many, or none, of them
/// others read filters that say yes to everything.
#[test]
fn a_filter_of_no_bits_per_key_or_no_lines_is_refused() {
    for layout in Layout::ALL {
        let bytes = small(layout, 0).to_bytes();
        for hashes in [0, 65, 255] {
            let mut changed = bytes.clone();
            changed[12] = hashes;
            let error = BloomFilter::from_bytes(&changed).unwrap_err();
            assert_eq!(error, BytesError::Hashes { found: hashes });
        }
    }
    let mut none = small(Layout::Blocked, 0).to_bytes();
    none[24] = 0;
    none.drain(64..128);
    let error = BloomFilter::from_bytes(&none).unwrap_err();
    assert!(matches!(error, BytesError::Length { .. }), "{error}");
}

/// A header that claims exabytes must not make anybody allocate them.
#[test]
fn a_header_that_claims_too_much_allocates_nothing() {
    let mut bytes = small(Layout::Standard, 0).to_bytes();
    for claim in [u64::MAX, 1 << 58, 1 << 40, 2] {
        bytes[24..32].copy_from_slice(&claim.to_le_bytes());
        let error = BloomFilter::from_bytes(&bytes).unwrap_err();
        let expected = u128::from(claim) * 64 + 72;
        assert_eq!(
            error,
            BytesError::Length {
                expected,
                found: bytes.len()
            }
        );
    }
}

/// Parquet's own numbers: the place of a hash, worked out by hand from its
/// specification.
#[test]
fn a_split_block_filter_sets_the_bits_that_parquet_asks_for() {
    let salts: [u32; 8] = [
        0x47b6_137b,
        0x4497_4d91,
        0x8824_ad5b,
        0xa2b7_289d,
        0x7054_95c7,
        0x2df1_424b,
        0x9efc_4947,
        0x5c6b_fb31,
    ];
    for hash in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef, 0x8000_0000_0000_0001] {
        let mut filter = SplitBlockFilter::with_blocks(7).unwrap();
        assert!(filter.insert_hash(hash));
        let mut expected = [0u32; 7 * 8];
        let block = (((hash >> 32) * 7) >> 32) as usize;
        for (i, salt) in salts.iter().enumerate() {
            expected[block * 8 + i] = 1 << ((hash as u32).wrapping_mul(*salt) >> 27);
        }
        let expected: Vec<u8> = expected
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(filter.to_bitset(), expected);
    }
    // XXH64 of the sanity buffer's first four bytes and of nothing, seed 0.
    let (mut by_key, mut by_hash) = (
        SplitBlockFilter::with_blocks(99).unwrap(),
        SplitBlockFilter::with_blocks(99).unwrap(),
    );
    by_key.insert("");
    by_hash.insert_hash(0xef46_db37_51d8_e999);
    assert_eq!(by_key, by_hash);
}

const GOLDEN: [(Layout, u8, u8, u64, &str); 3] = [
    (
        Layout::Blocked,
        1,
        8,
        0,
        "002008000000000800800000200010000400004000000100010010000000400004000000090000000000000088004000000000100400000100804002000000003efad286cd098c69",
    ),
    (
        Layout::Paired,
        2,
        8,
        5,
        "00000004000100000100001004008000000001000000010000008200000800100000000000000000280100000400000600004000000000400440000000400080dfd47fecc69ded77",
    ),
    (
        Layout::Standard,
        3,
        9,
        0,
        "0000000000040000000010148000000000000000302001000040400000c0000008000010000000000200100000000000800000000000100000008000000224006a56dddfe35278d6",
    ),
];

const GOLDEN_SPLIT: &str =
    "80050000008800040800040880020008200080010c010000200180003100000014a446e5fb65ea7d";
