//! Any bytes as a filter: refused, or read as one that works and is written as
//! the same bytes again. The checksum is put right first, on request, so that
//! what lies behind it is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenfold::bloom::{AtomicBloomFilter, BloomFilter, SplitBlockFilter};
use tenfold::hash::StableKey;

fuzz_target!(|input: &[u8]| {
    let Some((&how, bytes)) = input.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if how & 1 == 1
        && let Some(body) = bytes.len().checked_sub(8)
    {
        let checksum = bytes[..body].stable_hash(0);
        bytes[body..].copy_from_slice(&checksum.to_le_bytes());
    }
    let seed = u64::from(how >> 1);
    if let Ok(mut filter) = BloomFilter::from_bytes_with_seed(&bytes, seed) {
        assert_eq!(
            without_estimate(&filter.to_bytes()),
            without_estimate(&bytes)
        );
        assert!((0.0..=1.0).contains(&filter.current_rate()));
        assert!((0.0..=1.0).contains(&filter.fill()));
        let _ = filter.stats().to_string();
        let shared = AtomicBloomFilter::from_bytes_with_seed(&bytes, seed)
            .expect("both types read the same bytes");
        for key in 0..40u64 {
            assert_eq!(shared.contains(&key), filter.contains(&key));
            assert_eq!(shared.insert(&key), filter.insert(&key));
            assert!(shared.contains(&key) && filter.contains(&key));
        }
        let mut found = 0;
        filter.contains_many(&(0..40u64).collect::<Vec<_>>(), |_, there| {
            found += usize::from(there);
        });
        assert_eq!(found, 40);
        filter
            .union(&BloomFilter::from(shared))
            .expect("they are alike");
    }
    if let Ok(mut filter) = SplitBlockFilter::from_bytes(&bytes) {
        assert_eq!(
            without_estimate(&filter.to_bytes()),
            without_estimate(&bytes)
        );
        filter.insert("key");
        assert!(filter.contains("key"));
    }
    if let Ok(filter) = SplitBlockFilter::from_bitset(&bytes) {
        assert_eq!(filter.to_bitset(), bytes);
    }
});

/// All that must come back: neither the estimate of keys, which is computed anew,
/// nor the checksum, which covers it.
fn without_estimate(bytes: &[u8]) -> (&[u8], &[u8]) {
    (&bytes[..32], &bytes[40..bytes.len() - 8])
}
