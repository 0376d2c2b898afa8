//! Any bytes, with and without a right checksum: read without a panic, and
//! what is read writes the same bytes and routes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenfold::hash::StableKey;
use tenfold::router::Topology;

fuzz_target!(|input: &[u8]| {
    let _ = Topology::from_bytes(input);
    // Most of the reader lies behind the checksum.
    let mut bytes = b"10fold\x00T\x01\x00".to_vec();
    bytes.extend_from_slice(input);
    let checksum = bytes.stable_hash(0);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    let Ok(topology) = Topology::from_bytes(&bytes) else {
        return;
    };
    for key in 0..16_u64 {
        let copies = topology.replicas(key);
        assert_eq!(copies[0], topology.route(key));
        assert!(copies.iter().all(|id| topology.name(*id).is_some()));
    }
    let written = topology.to_bytes();
    let again = Topology::from_bytes(&written).expect("what was written can be read");
    assert_eq!(again.to_bytes(), written);
    assert_eq!(again.fingerprint(), topology.fingerprint());
});
