//! Signatures and keys at the edges of what they may be, made by the curves' own equations: what a library never signs, but a
//! stranger may send.

mod token_curves;

use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use ring::{digest, hmac, rand::SystemRandom};
use tenfold::session::token::{KeyError, KeyRing, KeyRingBuilder, TokenError};
use token_curves::number::{Number, ONE, ZERO, small};
use token_curves::{ed25519, p256};

/// {"alg":"ES256"}, {"alg":"EdDSA"}, {"alg":"HS256"}; and any payload.
const NIST: &str = "eyJhbGciOiJFUzI1NiJ9.e30";
const EDWARDS: &str = "eyJhbGciOiJFZERTQSJ9.e30";
const MAC: &str = "eyJhbGciOiJIUzI1NiJ9.e30";

fn verify(key: KeyRingBuilder, message: &str, signature: &[u8]) -> Result<(), TokenError> {
    let ring = key.build().unwrap();
    let read = ring.verify_jws(&format!("{message}.{}", encode(signature)), 0);
    read.map(|payload| assert_eq!(payload, b"{}"))
}

fn nist(key: p256::Affine, signature: &[u8]) -> Result<(), TokenError> {
    let ring = KeyRing::builder().es256_public("k", &p256::uncompressed(key));
    verify(ring, NIST, signature)
}

fn edwards(key: &[u8; 32], signature: &[u8]) -> Result<(), TokenError> {
    verify(
        KeyRing::builder().ed25519_public("k", key),
        EDWARDS,
        signature,
    )
}

const WRONG: Result<(), TokenError> = Err(TokenError::BadSignature);

/// The first point whose x is at least that.
fn first_over(mut x: Number) -> p256::Affine {
    loop {
        if let Some(point) = p256::over(x) {
            return Some(point);
        }
        x = x.plus(ONE).0;
    }
}

#[test]
fn the_equations_here_are_those_of_the_curves() {
    p256::check();
    ed25519::check();
    let base = ed25519::encoded(ed25519::base());
    assert_eq!((base[0], &base[1..]), (0x58, &[0x66; 31][..]));
}

/// r as small as a point has it, and as the base point has it; s at both ends.
#[test]
fn the_smallest_and_largest_numbers_of_p256_are_right_where_they_fit() {
    let digest = p256::digest(NIST.as_bytes());
    let n = *p256::ORDER;
    let last = n.0.minus(ONE).0;
    for point in [first_over(ONE), p256::base()] {
        let r = point.unwrap().0;
        for s in [ONE, last] {
            let key = p256::key_for(point, r, s, digest);
            assert_eq!(nist(key, &p256::signature(r, s)), Ok(()));
            // The negative of s belongs to the negative of the point, which has the same r.
            let twin = n.sub(ZERO, s);
            assert_eq!(nist(key, &p256::signature(r, twin)), Ok(()));
            assert_eq!(nist(key, &p256::signature(s, r)), WRONG);
            assert_eq!(nist(key, &p256::signature(r, small(2))), WRONG);
            // One more round of the order is the same number, spelled otherwise.
            let (more, carry) = s.plus(n.0);
            if !carry {
                assert_eq!(nist(key, &p256::signature(r, more)), WRONG, "s + n");
            }
            let (more, carry) = r.plus(n.0);
            if !carry {
                assert_eq!(nist(key, &p256::signature(more, s)), WRONG, "r + n");
            }
        }
    }
}

/// Coordinates go up to the field's size, which is larger than the order: r is what is left of x.
#[test]
fn an_x_beyond_the_order_is_reduced_and_never_written() {
    let digest = p256::digest(NIST.as_bytes());
    let n = p256::ORDER.0;
    let point = first_over(n);
    let x = point.unwrap().0;
    let (r, is_less) = x.minus(n);
    assert!(!is_less && r != ZERO);
    let s = small(7);
    let key = p256::key_for(point, r, s, digest);
    assert_eq!(nist(key, &p256::signature(r, s)), Ok(()));
    assert_eq!(nist(key, &p256::signature(x, s)), WRONG);
    // Of a point with another x, though it differs by the order only.
    let key = p256::key_for(first_over(r.plus(ONE).0), r, s, digest);
    assert_eq!(nist(key, &p256::signature(r, s)), WRONG);
}

/// Both terms of the sum that is verified the same point, or opposite ones; the key the base point, or its opposite.
#[test]
fn sums_that_a_careless_addition_gets_wrong() {
    let digest = p256::digest(NIST.as_bytes());
    let n = *p256::ORDER;
    let nonce = small(3);
    let r = p256::times(nonce, p256::base()).unwrap().0;
    let key = |secret| p256::times(secret, p256::base());
    let same = n.div(digest, r);
    let s = n.div(n.times(digest, 2), nonce);
    assert_eq!(nist(key(same), &p256::signature(r, s)), Ok(()));
    // The sum is no point: there is no r, and no s that makes one.
    let opposite = n.sub(ZERO, same);
    for s in [ONE, r, s] {
        assert_eq!(nist(key(opposite), &p256::signature(r, s)), WRONG);
    }
    for secret in [ONE, n.sub(ZERO, ONE)] {
        let s = n.div(n.add(digest, n.mul(r, secret)), nonce);
        assert_eq!(nist(key(secret), &p256::signature(r, s)), Ok(()));
        assert_eq!(
            nist(key(n.sub(ZERO, secret)), &p256::signature(r, s)),
            WRONG
        );
    }
}

/// 64 bytes, r and s, the highest first: nothing else, though it means the same.
#[test]
fn a_signature_of_p256_has_one_spelling() {
    let digest = p256::digest(NIST.as_bytes());
    let (point, s) = (p256::base(), small(0x0080_7f01));
    let r = point.unwrap().0;
    let key = p256::key_for(point, r, s, digest);
    let right = p256::signature(r, s);
    assert_eq!(nist(key, &right), Ok(()));
    let (r, s) = right.split_at(32);
    let short = &s[29..];
    let der = |r: &[u8], s: &[u8]| {
        let body = [&[2, r.len() as u8], r, &[2, s.len() as u8], s].concat();
        [&[0x30, body.len() as u8], &body[..]].concat()
    };
    let backwards = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<_>>();
    for wrong in [
        vec![0; 64],
        vec![0xff; 64],
        der(r, short),
        der(&[&[0], r].concat(), s),
        [r, short].concat(),
        [&[0], r, s].concat(),
        [r, &[0], s].concat(),
        [r, s, &[0]].concat(),
        [s, r].concat(),
        [backwards(r), backwards(s)].concat(),
        [r, s, r, s].concat(),
    ] {
        assert_eq!(nist(key, &wrong), WRONG, "{wrong:?}");
    }
}

/// A signature of Ed25519 with a nonce, for a key that need not be that of the secret.
fn sign(nonce: Number, secret: Number, r: &[u8; 32], key: &[u8; 32]) -> [u8; 64] {
    let challenge = ed25519::challenge(r, key, EDWARDS.as_bytes());
    ed25519::signature(r, ed25519::answer(nonce, challenge, secret))
}

#[test]
fn a_signature_of_ed25519_has_one_spelling() {
    let (secret, nonce) = (small(0x1234_5678), small(0x8765_4321));
    let key = ed25519::encoded(ed25519::times(secret, ed25519::base()));
    let r = ed25519::encoded(ed25519::times(nonce, ed25519::base()));
    let right = sign(nonce, secret, &r, &key);
    assert_eq!(edwards(&key, &right), Ok(()));
    // The order added to s, as often as it has room.
    let mut s = Number::from_be(&right[32..].iter().rev().copied().collect::<Vec<_>>());
    let mut spelled = 0;
    loop {
        let (more, carry) = s.plus(ed25519::ORDER.0);
        if carry {
            break;
        }
        (s, spelled) = (more, spelled + 1);
        assert_eq!(edwards(&key, &ed25519::signature(&r, s)), WRONG);
    }
    assert_eq!(spelled, 15);
    for bit in [0x20, 0x40, 0x80, 0xe0] {
        let mut high = right;
        high[63] |= bit;
        assert_eq!(edwards(&key, &high), WRONG);
    }
    // The other root: the opposite point.
    let mut opposite = right;
    opposite[31] ^= 0x80;
    assert_eq!(edwards(&key, &opposite), WRONG);
    let halves = right.split_at(32);
    for wrong in [
        vec![0; 64],
        vec![0xff; 64],
        right[..63].to_vec(),
        [&right[..], &[0]].concat(),
        [halves.1, halves.0].concat(),
    ] {
        assert_eq!(edwards(&key, &wrong), WRONG, "{wrong:?}");
    }
}

/// Points beside the base point's multiples, and points spelled as no encoder does: the signer knows the secret, and chooses
/// them. What two verifiers may differ in is refused.
#[test]
fn first_halves_of_ed25519_are_points_of_the_base_spelled_right() {
    let secret = small(0x1234_5678);
    let key = ed25519::encoded(ed25519::times(secret, ed25519::base()));
    // The neutral point, whose y is 1: as it is, which is right by the equation, but a nonce that is nothing would
    // give the secret away; spelled with the field's size added; and with a sign that its x has not.
    let plain = ed25519::encoded(ed25519::NEUTRAL);
    let beyond = ed25519::FIELD.0.plus(ONE).0.to_le();
    let mut negative = ed25519::encoded(ed25519::NEUTRAL);
    negative[31] |= 0x80;
    for r in [plain, beyond, negative] {
        assert_eq!(edwards(&key, &sign(ZERO, secret, &r, &key)), WRONG);
    }
    // A nonce's point, with the point of order two added: eight times that is nothing.
    let two = (ZERO, ed25519::FIELD.sub(ZERO, ONE));
    let nonce = small(99);
    let shifted = ed25519::sum(ed25519::times(nonce, ed25519::base()), two);
    let r = ed25519::encoded(shifted);
    assert_eq!(edwards(&key, &sign(nonce, secret, &r, &key)), WRONG);
    // No point at all.
    let off = (2..100)
        .map(small)
        .find(|&y| ed25519::at(y).is_none())
        .unwrap();
    assert_eq!(
        edwards(&key, &sign(nonce, secret, &off.to_le(), &key)),
        WRONG
    );
}

/// A point of order 8, of which the other seven of small order are multiples. Any point is one of the base's multiples and one
/// of those eight: the order times it is the latter.
fn order_8() -> ed25519::Point {
    let order_8 = (2..).map(small).filter_map(ed25519::at).find_map(|point| {
        let small_order = ed25519::times(ed25519::ORDER.0, point);
        let fourth = ed25519::times(small(4), small_order);
        (fourth != ed25519::NEUTRAL).then_some(small_order)
    });
    order_8.unwrap()
}

/// To a multiple of the base a key can have one of the eight points added that cancels a first half of small order: the equation
/// is right, for this verifier and not for one that multiplies it by eight. Such a half is refused, whichever it is.
#[test]
fn first_halves_of_small_order_are_refused_where_the_equation_is_right() {
    let order_8 = order_8();
    let eight = (0..8).map(|number| ed25519::times(small(number), order_8));
    let eight: Vec<_> = eight.map(ed25519::encoded).collect();
    let mut seen = [false; 8];
    for secret in (0x1234_5678..).map(small) {
        let point = ed25519::times(secret, ed25519::base());
        let key = ed25519::encoded(ed25519::sum(point, order_8));
        for (number, r) in eight.iter().enumerate() {
            let challenge = ed25519::challenge(r, &key, EDWARDS.as_bytes());
            let low = (0..3).map(|at| usize::from(challenge.bit(at)) << at);
            if (number + low.sum::<usize>()).is_multiple_of(8) {
                assert_eq!(edwards(&key, &sign(ZERO, secret, r, &key)), WRONG);
                seen[number] = true;
            }
        }
        if seen == [true; 8] {
            break;
        }
    }
}

/// Half of all numbers are the y of a point. The others are no key, nor are those that stand for a smaller number.
#[test]
fn what_is_no_point_of_ed25519_is_no_key() {
    let field = ed25519::FIELD.0;
    let plain = (2..40).map(|low| (small(low), false));
    let high = (2..20).map(|low| (field.minus(small(low)).0, false));
    let beyond = (0..19).map(|low| (field.plus(small(low)).0, true));
    let mut points = 0;
    for (y, is_beyond) in plain.chain(high).chain(beyond) {
        let is_point = ed25519::at(if is_beyond { y.minus(field).0 } else { y }).is_some();
        for sign in [0, 0x80] {
            let mut key = y.to_le();
            key[31] |= sign;
            let set = format!(
                r#"{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{}"}}"#,
                encode(&key)
            );
            let ring = KeyRing::builder().ed25519_public("k", &key).build();
            for read in [ring, import(&set)] {
                let expected = match (is_point, is_beyond) {
                    (false, _) => "a point of Ed25519",
                    (true, true) => "a point of Ed25519 in its one spelling",
                    (true, false) => {
                        assert!(read.is_ok(), "{y:?}");
                        points += 1;
                        continue;
                    }
                };
                let kid = "k".to_owned();
                assert_eq!(read.err(), Some(KeyError::BadKey { kid, expected }));
            }
        }
    }
    assert!((80..150).contains(&points), "{points} of 224");
}

/// The secret of a key of small order is known to all: there is none.
#[test]
fn all_eight_points_that_anybody_signs_for_are_no_keys() {
    let f = *ed25519::FIELD;
    let order_8 = order_8();
    let mut point = ed25519::NEUTRAL;
    for _ in 0..8 {
        // With the field's size added too, where there is room for it.
        let more = Some(point.1.plus(f.0).0).filter(|more| !more.bit(255));
        for y in [Some(point.1), more].into_iter().flatten() {
            for sign in [0, 0x80] {
                let mut key = y.to_le();
                key[31] |= sign;
                let ring = KeyRing::builder().ed25519_public("k", &key).build();
                assert!(is_bad(ring), "{key:?}");
            }
        }
        point = ed25519::sum(point, order_8);
    }
    assert_eq!(point, ed25519::NEUTRAL);
}

/// Longer than a block, a secret is hashed first; shorter than 32 bytes, it is none.
#[test]
fn secrets_and_tags_of_every_length() {
    let secret: Vec<u8> = (0..130).collect();
    for len in [32, 33, 63, 64, 65, 128, 130] {
        let secret = &secret[..len];
        let ring = || KeyRing::builder().hs256("k", secret);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), MAC.as_bytes());
        let tag = tag.as_ref();
        assert_eq!(verify(ring(), MAC, tag), Ok(()));
        if len > 64 {
            let hashed = digest::digest(&digest::SHA256, secret);
            let hashed = KeyRing::builder().hs256("k", hashed.as_ref());
            assert_eq!(verify(hashed, MAC, tag), Ok(()));
        }
        for part in 1..32 {
            assert_eq!(verify(ring(), MAC, &tag[..part]), WRONG, "{part} bytes");
            assert_eq!(verify(ring(), MAC, &tag[32 - part..]), WRONG);
        }
        for longer in [
            [tag, &[0]].concat(),
            [tag, tag].concat(),
            [&[0], tag].concat(),
        ] {
            assert_eq!(verify(ring(), MAC, &longer), WRONG);
        }
        // Of the right length, by another function or under another secret.
        let sha512 = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, secret), MAC.as_bytes());
        assert_eq!(verify(ring(), MAC, &sha512.as_ref()[..32]), WRONG);
        assert_eq!(verify(ring(), MAC, sha512.as_ref()), WRONG);
        let other = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &secret[1..]),
            MAC.as_bytes(),
        );
        assert_eq!(verify(ring(), MAC, other.as_ref()), WRONG);
        let hash = digest::digest(&digest::SHA256, MAC.as_bytes());
        assert_eq!(verify(ring(), MAC, hash.as_ref()), WRONG);
    }
    for len in 0..32 {
        let short = KeyRing::builder().hs256("k", &secret[..len]).build();
        assert_eq!(
            short.err(),
            Some(KeyError::KeyTooShort { got: len, min: 32 })
        );
    }
}

fn jwk_of(x: &[u8], y: &[u8]) -> String {
    let (x, y) = (encode(x), encode(y));
    format!(r#"{{"kty":"EC","crv":"P-256","kid":"k","x":"{x}","y":"{y}"}}"#)
}

fn import(key: &str) -> Result<KeyRing, KeyError> {
    let set = format!(r#"{{"keys":[{key}]}}"#);
    KeyRing::builder().jwks(&set).build()
}

fn is_bad<T>(read: Result<T, KeyError>) -> bool {
    read.is_err_and(|wrong| matches!(wrong, KeyError::BadKey { .. }))
}

/// A coordinate has 32 bytes, zeros in front included, whatever number it is.
#[test]
fn coordinates_of_keys_are_written_whole() {
    // x is 5 or so, and y any.
    let (x, y) = first_over(small(1)).unwrap();
    let (x, y) = (x.to_be(), y.to_be());
    let ring = import(&jwk_of(&x, &y)).unwrap();
    let again = KeyRing::builder().jwks(&ring.to_jwks()).build().unwrap();
    assert_eq!(again.to_jwks(), ring.to_jwks());
    assert!(ring.to_jwks().contains(&encode(&x)));
    for (x, y) in [
        (&x[31..], &y[..]),
        (&x[1..], &y[..]),
        (&[&[0], &x[..]].concat(), &y[..]),
        (&x[..], &y[..31]),
        (&x[..], &[&y[..], &[0]].concat()),
        (&x[..], &[]),
        (&[&x[..], &y[..]].concat(), &y[..]),
    ] {
        assert!(is_bad(import(&jwk_of(x, y))), "{x:?} {y:?}");
    }
    // One that signs, and has such a coordinate.
    let (random, signing) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let (pair, signer) = loop {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        if point[1] == 0 || point[33] == 0 {
            break (pkcs8, pair);
        }
    };
    let ring = KeyRing::builder()
        .es256("k", pair.as_ref())
        .build()
        .unwrap();
    let public = KeyRing::builder().jwks(&ring.to_jwks());
    let signature = signer.sign(&random, NIST.as_bytes()).unwrap();
    assert_eq!(verify(public, NIST, signature.as_ref()), Ok(()));
}

#[test]
fn what_is_no_point_of_p256_is_no_key() {
    let (x, y) = p256::base().unwrap();
    let off = y.plus(ONE).0;
    // The same point, with the field's size added to its x: there is room for that where x is small.
    let (low, its_y) = first_over(small(1)).unwrap();
    let beyond = low.plus(p256::FIELD.0).0;
    // On the curve's twin: no y belongs to that x.
    let lonely = (1..100)
        .map(small)
        .find(|&x| p256::over(x).is_none())
        .unwrap();
    for (x, y) in [
        (x, off),
        (y, x),
        (x, ZERO),
        (ZERO, y),
        (ZERO, ZERO),
        (beyond, its_y),
        (lonely, y),
        (p256::FIELD.0, y),
        (Number([u64::MAX; 4]), Number([u64::MAX; 4])),
    ] {
        assert!(
            is_bad(import(&jwk_of(&x.to_be(), &y.to_be()))),
            "{x:?} {y:?}"
        );
        let mut point = [4; 65];
        point[1..33].copy_from_slice(&x.to_be());
        point[33..].copy_from_slice(&y.to_be());
        assert!(is_bad(KeyRing::builder().es256_public("k", &point).build()));
    }
    let good = p256::uncompressed(p256::base());
    assert!(KeyRing::builder().es256_public("k", &good).build().is_ok());
    for first in [0, 1, 2, 3, 5, 6, 7, 0xff] {
        let mut point = good;
        point[0] = first;
        assert!(is_bad(KeyRing::builder().es256_public("k", &point).build()));
    }
}

/// Keys for something else are passed over, whatever else is right about them; those that contradict themselves are refused.
#[test]
fn keys_of_a_set_say_what_they_are_for() {
    let (x, y) = p256::base().unwrap();
    let (x, y) = (encode(&x.to_be()), encode(&y.to_be()));
    let ed = encode(&ed25519::encoded(ed25519::base()));
    let ec = |more: &str| format!(r#"{{"kid":"k","x":"{x}","y":"{y}",{more}}}"#);
    let okp = |more: &str| format!(r#"{{"kid":"k","x":"{ed}",{more}}}"#);
    for right in [
        ec(r#""kty":"EC","crv":"P-256""#),
        ec(r#""kty":"EC","crv":"P-256","alg":"ES256","use":"sig","key_ops":["verify"]"#),
        ec(r#""kty":"EC","crv":"P-256","x5c":["MIIB"],"ext":true"#),
        okp(r#""kty":"OKP","crv":"Ed25519""#),
        okp(r#""kty":"OKP","crv":"Ed25519","alg":"EdDSA","key_ops":["sign","verify"]"#),
    ] {
        assert_eq!(import(&right).unwrap().kids().count(), 1, "{right}");
    }
    for other in [
        ec(r#""kty":"EC","crv":"P-384""#),
        ec(r#""kty":"EC","crv":"secp256k1""#),
        ec(r#""kty":"EC","crv":"p-256""#),
        ec(r#""kty":"EC""#),
        ec(r#""crv":"P-256""#),
        ec(r#""kty":"OKP","crv":"P-256""#),
        ec(r#""kty":"EC","crv":"Ed25519""#),
        ec(r#""kty":"EC","crv":"P-256","alg":"ES384""#),
        ec(r#""kty":"EC","crv":"P-256","alg":"ECDH-ES""#),
        ec(r#""kty":"EC","crv":"P-256","alg":"HS256""#),
        ec(r#""kty":"EC","crv":"P-256","use":"enc""#),
        ec(r#""kty":"EC","crv":"P-256","key_ops":[]"#),
        ec(r#""kty":"EC","crv":"P-256","key_ops":["deriveBits"]"#),
        okp(r#""kty":"OKP","crv":"X25519""#),
        okp(r#""kty":"OKP","crv":"Ed448""#),
        okp(r#""kty":"OKP","crv":"Ed25519","alg":"ES256""#),
        r#"{"kty":"oct","kid":"k","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"}"#.into(),
        r#"{"kty":"RSA","kid":"k","n":"AQAB","e":"AQAB"}"#.into(),
    ] {
        assert_eq!(import(&other).err(), Some(KeyError::NoKeys), "{other}");
    }
    for bad in [
        ec(r#""kty":"EC","crv":"P-256","d":"AQ""#),
        okp(r#""kty":"OKP","crv":"Ed25519","d":"AQ""#),
        okp(r#""kty":"EC","crv":"P-256""#),
        ec(r#""kty":"EC","crv":"P-256","alg":5"#),
        ec(r#""kty":"EC","crv":"P-256","use":["sig"]"#),
        ec(r#""kty":"EC","crv":"P-256","key_ops":"verify""#),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k","x":["{ed}"]}}"#),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{ed}A"}}"#),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{ed}="}}"#),
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{}"}}"#,
            &ed[1..]
        ),
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{}"}}"#,
            encode(&[0; 31])
        ),
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{}"}}"#,
            encode(&[0; 32])
        ),
    ] {
        assert!(is_bad(import(&bad)), "{bad}");
    }
    // One name for two keys, one of which might verify what the other signed.
    let twice = format!(
        "{},{}",
        ec(r#""kty":"EC","crv":"P-256""#),
        okp(r#""kty":"OKP","crv":"Ed25519""#)
    );
    assert_eq!(
        import(&twice).err(),
        Some(KeyError::DuplicateKid { kid: "k".into() })
    );
    // A member twice, however it is spelled.
    for twice in [r#""kty":"EC","kty":"EC""#, r#""kty":"EC","k\u0074y":"OKP""#] {
        let read = import(&ec(&format!(r#"{twice},"crv":"P-256""#)));
        assert!(matches!(read, Err(KeyError::Jwks { .. })));
    }
}

/// A public key is a secret for nobody: under its name an HS256 tag with it is another algorithm.
#[test]
fn a_key_serves_one_algorithm() {
    let point = p256::uncompressed(p256::base());
    let ed = ed25519::encoded(ed25519::base());
    for (ring, bytes) in [
        (KeyRing::builder().es256_public("k", &point), &point[..]),
        (KeyRing::builder().ed25519_public("k", &ed), &ed[..]),
    ] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), MAC.as_bytes());
        assert_eq!(
            verify(ring, MAC, tag.as_ref()),
            Err(TokenError::AlgorithmMismatch)
        );
    }
    let ring = || KeyRing::builder().hs256("k", &[7; 32]);
    for message in [NIST, EDWARDS] {
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]),
            message.as_bytes(),
        );
        assert_eq!(
            verify(ring(), message, tag.as_ref()),
            Err(TokenError::AlgorithmMismatch)
        );
    }
}

fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letters = |three: &[u8]| {
        let byte = |at: usize| usize::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        (0..=three.len())
            .map(|at| char::from(LETTERS[bits >> (18 - 6 * at) & 63]))
            .collect::<String>()
    };
    bytes.chunks(3).map(letters).collect()
}
