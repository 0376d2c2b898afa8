//! Signatures by themselves: published known answers, and what is no signature.

use super::KeyRing;
use super::keys::{Key, KeyRingBuilder};

fn key(ring: KeyRingBuilder) -> Key {
    ring.build().unwrap().keys.remove(0)
}

fn ed25519(public: &str) -> Key {
    let public = bytes(public).try_into().unwrap();
    key(KeyRing::builder().ed25519_public("k", &public))
}

fn es256(x: &str, y: &str) -> Key {
    let point = bytes(&format!("04{x}{y}")).try_into().unwrap();
    key(KeyRing::builder().es256_public("k", &point))
}

/// RFC 4231, 4.7 and 4.8: those with keys that are long enough.
#[test]
fn known_macs() {
    let key = key(KeyRing::builder().hs256("k", &[0xaa; 131]));
    for (message, mac) in [
        (
            "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            "This is a test using a larger than block-size key and a larger than block-size data. \
             The key needs to be hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ] {
        let (message, mac) = (message.as_bytes(), bytes(mac));
        assert!(key.verify(message, &mac));
        let (signed, len) = key.sign(message).unwrap();
        assert_eq!(signed[..len], mac);
        only_the_whole_is_right(&key, message, &mac);
    }
}

/// RFC 8032, 7.1.
#[test]
fn known_signatures_of_ed25519() {
    for (secret, public, message, signature) in RFC_8032 {
        let (message, signature) = (bytes(message), bytes(signature));
        let pkcs8 = bytes(&format!("302e020100300506032b657004220420{secret}"));
        let signs = key(KeyRing::builder().ed25519("k", &pkcs8));
        assert_eq!(signs.sign(&message).unwrap().0[..], signature);
        let key = ed25519(public);
        assert!(key.sign(&message).is_none());
        assert!(key.verify(&message, &signature));
        only_the_whole_is_right(&key, &message, &signature);
    }
}

/// RFC 6979, A.2.5.
#[test]
fn known_signatures_of_p256() {
    let key = es256(
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
    );
    for (message, r, s) in [
        (
            "sample",
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
            "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        ),
        (
            "test",
            "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
            "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
        ),
    ] {
        let signature = [bytes(r), bytes(s)].concat();
        assert!(key.verify(message.as_bytes(), &signature));
        only_the_whole_is_right(&key, message.as_bytes(), &signature);
        // Numbers that are 0, the order, or more than that, in either place and in both.
        let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
        let beyond = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632552";
        let all = "f".repeat(64);
        for number in ["0".repeat(64), order.into(), beyond.into(), all] {
            for (r, s) in [(&*number, s), (r, &*number), (&number, &number)] {
                let signature = [bytes(r), bytes(s)].concat();
                assert!(!key.verify(message.as_bytes(), &signature), "{r} {s}");
            }
        }
    }
}

/// One signature, one spelling: the order added to the second half gives the same point.
#[test]
fn a_number_beyond_the_order_of_ed25519_is_none() {
    let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    for (_, public, message, signature) in RFC_8032 {
        let (key, message, mut signature) = (ed25519(public), bytes(message), bytes(signature));
        let mut carry = 0;
        for (byte, more) in signature[32..].iter_mut().zip(&order) {
            carry += u16::from(*byte) + u16::from(*more);
            *byte = carry as u8;
            carry >>= 8;
        }
        assert_eq!(carry, 0);
        assert!(!key.verify(&message, &signature));
    }
}

/// For a point of small order there are signatures of anything, made without a secret.
#[test]
fn points_that_anybody_signs_for_are_no_keys() {
    let (zeros, ones) = ("00".repeat(31), "ff".repeat(30));
    for point in [
        format!("00{zeros}"),
        format!("01{zeros}"),
        format!("ec{ones}7f"),
        // The first two, spelled with the field's size added.
        format!("ed{ones}7f"),
        format!("ee{ones}7f"),
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05".into(),
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a".into(),
    ] {
        let mut point: [u8; 32] = bytes(&point).try_into().unwrap();
        for sign in [0, 0x80] {
            point[31] = point[31] & 0x7f | sign;
            let ring = KeyRing::builder().ed25519_public("k", &point).build();
            assert!(ring.is_err(), "{point:?}");
        }
    }
}

/// Longer, shorter, and with any byte changed: wrong.
fn only_the_whole_is_right(key: &Key, message: &[u8], signature: &[u8]) {
    for len in 0..signature.len() {
        assert!(!key.verify(message, &signature[..len]), "{len} bytes");
    }
    assert!(!key.verify(message, &[signature, &[0]].concat()));
    for place in 0..signature.len() {
        let mut changed = signature.to_vec();
        changed[place] ^= 0x10;
        assert!(!key.verify(message, &changed), "byte {place}");
    }
    assert!(!key.verify(&[message, b"."].concat(), signature));
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Secret, public key, message, signature.
const RFC_8032: [(&str, &str, &str, &str); 3] = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
];
