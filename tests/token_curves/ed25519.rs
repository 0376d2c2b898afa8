//! Ed25519 (RFC 8032), with everything that a signer may choose to choose.

use std::sync::LazyLock;

use ring::digest;

use super::number::{Number, ONE, Prime, ZERO, small};

pub(crate) static FIELD: LazyLock<Prime> = LazyLock::new(|| {
    Prime(Number::hex(
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed",
    ))
});
/// Of the base point.
pub(crate) static ORDER: LazyLock<Prime> = LazyLock::new(|| {
    Prime(Number::hex(
        "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed",
    ))
});
static D: LazyLock<Number> = LazyLock::new(|| {
    let f = *FIELD;
    f.div(f.sub(ZERO, small(121_665)), small(121_666))
});

/// x and y.
pub(crate) type Point = (Number, Number);

pub(crate) const NEUTRAL: Point = (ZERO, ONE);

pub(crate) fn base() -> Point {
    at(FIELD.div(small(4), small(5))).unwrap()
}

/// The point with this y and an even x, if there is one.
pub(crate) fn at(y: Number) -> Option<Point> {
    let f = *FIELD;
    let square = f.mul(y, y);
    let x2 = f.div(f.sub(square, ONE), f.add(f.mul(*D, square), ONE));
    // The prime is 5 modulo 8: a root of the square, or of its negative.
    let root = f.pow(
        x2,
        Number::hex("0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe"),
    );
    let of_minus_one = f.pow(
        small(2),
        Number::hex("1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffb"),
    );
    let roots = [root, f.mul(root, of_minus_one)];
    let x = roots.into_iter().find(|&x| f.mul(x, x) == x2)?;
    let x = if x.bit(0) { f.sub(ZERO, x) } else { x };
    Some((x, y))
}

pub(crate) fn sum(one: Point, two: Point) -> Point {
    affine(add(extended(one), extended(two)))
}

pub(crate) fn times(number: Number, point: Point) -> Point {
    let point = extended(point);
    affine((0..256).rev().fold(extended(NEUTRAL), |sum, at| {
        let sum = add(sum, sum);
        if number.bit(at) { add(sum, point) } else { sum }
    }))
}

pub(crate) fn encoded((x, y): Point) -> [u8; 32] {
    let mut bytes = y.to_le();
    bytes[31] |= u8::from(x.bit(0)) << 7;
    bytes
}

/// What stands for a message under a key, in a signature that begins with `r`.
pub(crate) fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Number {
    let bytes = [&r[..], key, message].concat();
    let mut hash = digest::digest(&digest::SHA512, &bytes).as_ref().to_vec();
    hash.reverse();
    ORDER.of(&hash)
}

/// The second half of a signature: with a nonce, for a challenge, of a secret.
pub(crate) fn answer(nonce: Number, challenge: Number, secret: Number) -> Number {
    ORDER.add(nonce, ORDER.mul(challenge, secret))
}

pub(crate) fn signature(r: &[u8; 32], s: Number) -> [u8; 64] {
    [*r, s.to_le()].concat().try_into().unwrap()
}

/// X/Z, Y/Z, and T = XY/Z.
type Extended = [Number; 4];

fn extended((x, y): Point) -> Extended {
    [x, y, ONE, FIELD.mul(x, y)]
}

fn affine([x, y, z, _]: Extended) -> Point {
    (FIELD.div(x, z), FIELD.div(y, z))
}

/// Right for all points, the same ones too.
fn add([x1, y1, z1, t1]: Extended, [x2, y2, z2, t2]: Extended) -> Extended {
    let f = *FIELD;
    let less = f.mul(f.sub(y1, x1), f.sub(y2, x2));
    let more = f.mul(f.add(y1, x1), f.add(y2, x2));
    let bent = f.times(f.mul(*D, f.mul(t1, t2)), 2);
    let plain = f.times(f.mul(z1, z2), 2);
    let (e, h) = (f.sub(more, less), f.add(more, less));
    let (down, up) = (f.sub(plain, bent), f.add(plain, bent));
    [f.mul(e, down), f.mul(up, h), f.mul(down, up), f.mul(e, h)]
}

/// As in `p256`.
pub(crate) fn check() {
    assert_eq!(times(ORDER.0, base()), NEUTRAL);
    assert_ne!(times(small(8), base()), NEUTRAL);
    assert_eq!(sum(base(), base()), times(small(2), base()));
}
