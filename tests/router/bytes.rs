//! A topology that is written down: what is refused, and why.

use std::error::Error;

use crate::nodes::of;
use tenfold::hash::StableKey;
use tenfold::router::{DecodeError, Policy, Topology, TopologyError};

/// Reads a topology of three nodes, of whose bytes some were replaced and the
/// checksum made right again.
fn with(at: usize, bytes: &[u8]) -> Result<Topology, DecodeError> {
    let mut content = content();
    content[at..at + bytes.len()].copy_from_slice(bytes);
    signed(content)
}

fn content() -> Vec<u8> {
    let bytes = of(Policy::Balanced, 3).to_bytes();
    bytes[..bytes.len() - 8].to_vec()
}

fn signed(mut content: Vec<u8>) -> Result<Topology, DecodeError> {
    let checksum = content.stable_hash(0);
    content.extend_from_slice(&checksum.to_le_bytes());
    Topology::from_bytes(&content)
}

#[test]
fn whatever_is_wrong_has_an_error_of_its_own() {
    assert_eq!(
        signed(content()).unwrap().to_bytes(),
        of(Policy::Balanced, 3).to_bytes()
    );
    assert_eq!(
        with(HASH, &[9]).unwrap_err(),
        DecodeError::UnknownHash { found: 9, known: 1 }
    );
    for (at, byte, expected) in [
        (SLOTS_CHOSEN, 2, "yes or no"),
        (SPREAD, 7, "a spread over zones"),
        (POLICY, 99, "a policy"),
        (NEXT_ID, 1, "a distinct id of each node"),
        (NAME, b'x', "nodes in the order of names"),
        (NAME, 0xff, "a name in UTF-8"),
    ] {
        let error = with(at, &[byte]).unwrap_err();
        assert_eq!(error, DecodeError::Malformed { expected });
    }
    let expected = "more bytes";
    for len in 19..content().len() - 1 {
        let error = signed(content()[..len].to_vec()).unwrap_err();
        assert_eq!(error, DecodeError::Malformed { expected }, "{len} bytes");
    }
    let last = content().len() - 4;
    let expected = "an owner for each slot";
    for run in [0, 1, u32::MAX] {
        let error = with(last, &run.to_le_bytes()).unwrap_err();
        assert_eq!(error, DecodeError::Malformed { expected });
    }
    let expected = "slots of nodes that there are";
    assert_eq!(
        with(last - 2, &[77, 0]).unwrap_err(),
        DecodeError::Malformed { expected }
    );
    let expected = "nothing after the end";
    let longer = [content(), vec![0]].concat();
    assert_eq!(
        signed(longer).unwrap_err(),
        DecodeError::Malformed { expected }
    );
    assert_eq!(
        Topology::from_bytes(&content()[..18]).unwrap_err(),
        DecodeError::TooShort {
            expected: 19,
            found: 18
        }
    );
}

#[test]
fn what_cannot_be_built_cannot_be_read() {
    let name = || "node-0".into();
    for (at, bytes, expected) in [
        (
            REPLICAS,
            vec![9],
            TopologyError::Replicas { found: 9, max: 8 },
        ),
        (
            REPLICAS,
            vec![4],
            TopologyError::TooFewNodes {
                replicas: 4,
                nodes: 3,
            },
        ),
        (
            SPREAD,
            vec![2],
            TopologyError::NodeWithoutZone { name: name() },
        ),
        (
            WEIGHT,
            vec![0; 8],
            TopologyError::ZeroWeight { name: name() },
        ),
        (WEIGHT, vec![0xff; 8], TopologyError::WeightOverflow),
    ] {
        let error = with(at, &bytes).unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), expected.to_string());
        assert_eq!(error, DecodeError::Invalid(expected));
    }
}

/// Where things are, after eight bytes of magic and two of the version.
const HASH: usize = 10;
const SLOTS_CHOSEN: usize = 23;
const REPLICAS: usize = 24;
const SPREAD: usize = 25;
const POLICY: usize = 26;
const NEXT_ID: usize = 27;
/// Of the first node.
const NAME: usize = 39;
const WEIGHT: usize = 45;
