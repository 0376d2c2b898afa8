//! Keys of Ed25519. What can be checked or computed once is, when a key comes in; a signature costs what it must.

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::Sha512;

/// A point that has a secret, spelled as encoders do, and taken apart already.
pub(super) struct EdPublic(VerifyingKey);

impl EdPublic {
    /// Or what the bytes would have to be.
    pub(super) fn new(bytes: &[u8; 32]) -> Result<Self, &'static str> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| "a point of Ed25519")?;
        // The library takes numbers beyond the field, and a sign where x is 0. Keys are equal by their bytes.
        if VerifyingKey::from(key.to_edwards()) != key {
            return Err("a point of Ed25519 in its one spelling");
        }
        // One of the eight of small order: for those a signature is found without a secret.
        if key.is_weak() {
            return Err("a point of Ed25519 that has a secret");
        }
        Ok(Self(key))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// What `verify_strict` says, in seven eighths of its time: that takes the first half apart to see whether it is a
    /// point of small order, where all that could pass are known by their bytes. The rest it does is done by `new`.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else {
            return false;
        };
        !is_of_small_order(signature.r_bytes()) && self.0.verify(message, &signature).is_ok()
    }
}

/// Whether it is one of the eight points of small order, in the spelling that the equation is compared with.
fn is_of_small_order(point: &[u8; 32]) -> bool {
    let mut y = *point;
    // The sign.
    y[31] &= 0x7f;
    SMALL_ORDER.contains(&y)
}

/// A secret, hashed already, and the public key that is its own: to sign with another's would give the secret
/// away, so nothing here puts the two together but what computes the one from the other. Wiped when dropped.
pub(super) struct EdPair {
    /// Where it stays, so that there is nothing else to wipe when the pair is moved.
    secret: Box<ExpandedSecretKey>,
    public: VerifyingKey,
}

impl EdPair {
    /// PKCS #8 as ring reads it: version 1, or version 2, whose public half has to be the secret's.
    pub(super) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let read = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
        let secret = Box::new(ExpandedSecretKey::from(seed(der)?));
        let public = VerifyingKey::from(&*secret);
        // Read by two libraries, it is one key.
        let is_one = public.as_bytes()[..] == *read.public_key().as_ref();
        is_one.then_some(Self { secret, public })
    }

    pub(super) fn public(&self) -> EdPublic {
        EdPublic(self.public)
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        raw_sign::<Sha512>(&self.secret, message, &self.public).to_bytes()
    }
}

/// The secret in a key that ring has read, which does not give it away. All before it has one length, but for
/// the length of the whole: that takes a byte, or, where the key has attributes, two or three.
fn seed(der: &[u8]) -> Option<&[u8; 32]> {
    let header = match der.get(1)? {
        0x81 => 3,
        0x82 => 4,
        _ => 2,
    };
    der.get(header + BEFORE_SEED..)?.first_chunk()
}

/// The version (3 bytes), the algorithm (7), and that a text of bytes in a text of bytes follows (2 and 2).
const BEFORE_SEED: usize = 14;

/// The y of the points whose order is 1, 2, 4 and 8.
const SMALL_ORDER: [[u8; 32]; 5] = [
    ends(1, 0, 0),
    ends(0xec, 0xff, 0x7f),
    ends(0, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

const fn ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, 7: of the key, the version, the algorithm, the secret and what follows it.
    fn der(version: u8, algorithm: u8, secret: &[u8], rest: &[u8]) -> Vec<u8> {
        let algorithm = [0x30, 5, 6, 3, 0x2b, 0x65, algorithm];
        let secret = tagged(4, &tagged(4, secret));
        let whole = [&[2, 1, version], &algorithm[..], &secret, rest].concat();
        tagged(0x30, &whole)
    }

    fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let [high, low] = (bytes.len() as u16).to_be_bytes();
        let len = match bytes.len() {
            0..128 => &[low][..],
            128..256 => &[0x81, low],
            _ => &[0x82, high, low],
        };
        [&[tag], len, bytes].concat()
    }

    const SECRET: [u8; 32] = [7; 32];

    /// Eight with the signs; where x is 0 the sign is a spelling, and stands for the same.
    #[test]
    fn the_points_of_small_order_are_those_the_library_knows() {
        for y in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut point = y;
                point[31] |= sign;
                assert!(is_of_small_order(&point));
                assert!(VerifyingKey::from_bytes(&point).unwrap().is_weak());
            }
        }
        assert!(!is_of_small_order(&public()));
    }

    fn public() -> [u8; 32] {
        *VerifyingKey::from(&ExpandedSecretKey::from(&SECRET)).as_bytes()
    }

    fn half(public: &[u8]) -> Vec<u8> {
        tagged(0x81, &[&[0], public].concat())
    }

    #[test]
    fn a_key_is_found_in_every_form_it_comes_in() {
        let half = half(&public());
        // As they were written before the RFC: a text of bits within the tag.
        let old = tagged(0xa1, &tagged(3, &[&[0], &public()[..]].concat()));
        let mut forms = vec![der(0, 0x70, &SECRET, &[])];
        for len in [0, 1, 30, 100, 125, 126, 127, 128, 200, 255, 256, 400] {
            let attributes = tagged(0xa0, &vec![5; len]);
            forms.push(der(0, 0x70, &SECRET, &attributes));
            for half in [&half, &old] {
                let rest = [&attributes[..], half].concat();
                forms.push(der(1, 0x70, &SECRET, &rest));
            }
        }
        forms.extend([&half, &old].map(|half| der(1, 0x70, &SECRET, half)));
        for form in forms {
            let pair = EdPair::from_pkcs8(&form).unwrap();
            assert_eq!(pair.public().as_bytes(), &public(), "{form:?}");
            // One key makes one signature, whoever makes it.
            let ring = Ed25519KeyPair::from_seed_unchecked(&SECRET).unwrap();
            let signed = pair.sign(b"message");
            assert_eq!(signed, ring.sign(b"message").as_ref());
            assert!(pair.public().verify(b"message", &signed));
        }
    }

    #[test]
    fn halves_of_two_keys_and_forms_of_others_are_no_key() {
        let right = half(&public());
        let other = *VerifyingKey::from(&ExpandedSecretKey::from(&[8; 32])).as_bytes();
        let whole = der(1, 0x70, &SECRET, &right);
        let bare = [
            &[2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70][..],
            &tagged(4, &SECRET),
        ];
        for wrong in [
            der(1, 0x70, &SECRET, &half(&other)),
            der(1, 0x70, &SECRET, &half(&public()[1..])),
            der(1, 0x70, &SECRET, &[]),
            der(0, 0x70, &SECRET, &right),
            der(2, 0x70, &SECRET, &right),
            // Of X25519, and of Ed448.
            der(0, 0x6e, &SECRET, &[]),
            der(0, 0x71, &SECRET, &[]),
            der(0, 0x70, &SECRET[1..], &[]),
            der(0, 0x70, &[7; 33], &[]),
            der(0, 0x70, &[7; 64], &[]),
            der(1, 0x70, &SECRET, &[&right[..], &[0]].concat()),
            [&whole[..], &[0]].concat(),
            [&[0x30, 0x81], &whole[1..]].concat(),
            tagged(0x30, &bare.concat()),
            SECRET.to_vec(),
            [SECRET, public()].concat(),
        ] {
            assert!(EdPair::from_pkcs8(&wrong).is_none(), "{wrong:?}");
        }
        for len in 0..whole.len() {
            assert!(EdPair::from_pkcs8(&whole[..len]).is_none(), "{len} bytes");
        }
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(EdPair::from_pkcs8(&changed).is_none(), "bit {bit}");
        }
    }
}
