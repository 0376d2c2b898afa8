//! Any bytes, with and without a right checksum: read without a panic, and
//! what is read writes the same bytes and routes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenfold::hash::StableKey;
use tenfold::router::{Override, Topology};

fuzz_target!(|input: &[u8]| {
    let _ = Topology::from_bytes(input);
    // Most of the reader lies behind the checksum; the sections behind version 1.
    for version in [1, 2] {
        let mut bytes = b"10fold\x00T".to_vec();
        bytes.extend_from_slice(&[version, 0]);
        bytes.extend_from_slice(input);
        let checksum = bytes.stable_hash(0);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        if let Ok(topology) = Topology::from_bytes(&bytes) {
            check(&topology);
        }
    }
});

fn check(topology: &Topology) {
    let overridden: Vec<&[u8]> = topology.overrides().map(|(key, _)| key).collect();
    let numbers: Vec<_> = (0..16_u64).map(u64::to_le_bytes).collect();
    let keys = numbers.iter().map(|key| &key[..]).chain(overridden);
    for key in keys {
        let copies = topology.replicas(key);
        assert_eq!(copies[0], topology.route(key));
        assert!(copies.iter().all(|id| topology.name(*id).is_some()));
        for part in topology.parts(key) {
            assert!(topology.name(topology.route(part)).is_some());
        }
        match topology.override_of(key) {
            Some(Override::Pin(node)) => assert_eq!(topology.name(copies[0]), Some(&**node)),
            Some(Override::Replicate(more)) => assert!(copies.len() >= *more),
            Some(Override::Split(parts)) => {
                assert_eq!(topology.parts(key).count(), *parts as usize);
            }
            _ => assert_eq!(topology.parts(key).count(), 1),
        }
    }
    assert!(topology.plan(topology).is_ok_and(|plan| plan.is_empty()));
    let written = topology.to_bytes();
    let again = Topology::from_bytes(&written).expect("what was written can be read");
    assert_eq!(again.to_bytes(), written);
    assert_eq!(again.fingerprint(), topology.fingerprint());
}
