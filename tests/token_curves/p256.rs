//! NIST P-256 (FIPS 186-5, SP 800-186) and ECDSA on it.

use std::sync::LazyLock;

use ring::digest;

use super::number::{Number, ONE, Prime, ZERO, small};

/// Coordinates are below it.
pub(crate) static FIELD: LazyLock<Prime> = LazyLock::new(|| {
    Prime(Number::hex(
        "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
    ))
});
/// So often the base point makes nothing.
pub(crate) static ORDER: LazyLock<Prime> = LazyLock::new(|| {
    Prime(Number::hex(
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    ))
});
static B: LazyLock<Number> = LazyLock::new(|| {
    Number::hex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
});

/// None: the point at infinity.
pub(crate) type Affine = Option<(Number, Number)>;

#[allow(clippy::unnecessary_wraps, reason = "a point like all others")]
pub(crate) fn base() -> Affine {
    Some((
        Number::hex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
        Number::hex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
    ))
}

/// The point over `x` with an even `y`, if there is one.
pub(crate) fn over(x: Number) -> Affine {
    let f = *FIELD;
    let cube = f.mul(f.mul(x, x), x);
    let square = f.add(f.sub(cube, f.times(x, 3)), *B);
    // The prime is 3 modulo 4.
    let (mut power, _) = f.0.plus(ONE);
    for _ in 0..2 {
        let parts = power.0;
        let next = |at: usize| parts.get(at + 1).map_or(0, |next| next << 63);
        power = Number(std::array::from_fn(|at| parts[at] >> 1 | next(at)));
    }
    let y = f.pow(square, power);
    let y = if y.bit(0) { f.sub(ZERO, y) } else { y };
    (f.mul(y, y) == square).then_some((x, y))
}

pub(crate) fn negative(point: Affine) -> Affine {
    point.map(|(x, y)| (x, FIELD.sub(ZERO, y)))
}

pub(crate) fn sum(one: Affine, two: Affine) -> Affine {
    affine(add(jacobian(one), jacobian(two)))
}

pub(crate) fn times(number: Number, point: Affine) -> Affine {
    let point = jacobian(point);
    affine((0..256).rev().fold(INFINITY, |sum, at| {
        let sum = double(sum);
        if number.bit(at) { add(sum, point) } else { sum }
    }))
}

/// As keys are written: uncompressed.
pub(crate) fn uncompressed(point: Affine) -> [u8; 65] {
    let (x, y) = point.expect("it is no key");
    [&[4][..], &x.to_be(), &y.to_be()]
        .concat()
        .try_into()
        .unwrap()
}

pub(crate) fn digest(message: &[u8]) -> Number {
    ORDER.of(digest::digest(&digest::SHA256, message).as_ref())
}

/// The key under which (r, s) is a signature of that digest, where `point` has r as its x.
pub(crate) fn key_for(point: Affine, r: Number, s: Number, digest: Number) -> Affine {
    let n = *ORDER;
    let of_point = times(n.div(s, r), point);
    let of_base = times(n.div(digest, r), base());
    sum(of_point, negative(of_base))
}

pub(crate) fn signature(r: Number, s: Number) -> [u8; 64] {
    [r.to_be(), s.to_be()].concat().try_into().unwrap()
}

/// X/Z², Y/Z³.
type Jacobian = [Number; 3];

const INFINITY: Jacobian = [ONE, ONE, ZERO];

fn jacobian(point: Affine) -> Jacobian {
    point.map_or(INFINITY, |(x, y)| [x, y, ONE])
}

fn affine([x, y, z]: Jacobian) -> Affine {
    let f = *FIELD;
    if z == ZERO {
        return None;
    }
    let square = f.mul(z, z);
    Some((f.div(x, square), f.div(y, f.mul(square, z))))
}

fn double([x, y, z]: Jacobian) -> Jacobian {
    let f = *FIELD;
    let (delta, gamma) = (f.mul(z, z), f.mul(y, y));
    let beta = f.mul(x, gamma);
    let alpha = f.times(f.mul(f.sub(x, delta), f.add(x, delta)), 3);
    let x3 = f.sub(f.mul(alpha, alpha), f.times(beta, 8));
    let slope = f.mul(alpha, f.sub(f.times(beta, 4), x3));
    let y3 = f.sub(slope, f.times(f.mul(gamma, gamma), 8));
    [x3, y3, f.times(f.mul(y, z), 2)]
}

fn add(one: Jacobian, two: Jacobian) -> Jacobian {
    let f = *FIELD;
    let ([x1, y1, z1], [x2, y2, z2]) = (one, two);
    if z1 == ZERO {
        return two;
    }
    if z2 == ZERO {
        return one;
    }
    let (square1, square2) = (f.mul(z1, z1), f.mul(z2, z2));
    let (u1, u2) = (f.mul(x1, square2), f.mul(x2, square1));
    let (s1, s2) = (f.mul(y1, f.mul(z2, square2)), f.mul(y2, f.mul(z1, square1)));
    let (h, r) = (f.sub(u2, u1), f.sub(s2, s1));
    if h == ZERO {
        return if r == ZERO { double(one) } else { INFINITY };
    }
    let square = f.mul(h, h);
    let (cube, v) = (f.mul(square, h), f.mul(u1, square));
    let x3 = f.sub(f.sub(f.mul(r, r), cube), f.add(v, v));
    let y3 = f.sub(f.mul(r, f.sub(v, x3)), f.mul(s1, cube));
    [x3, y3, f.mul(h, f.mul(z1, z2))]
}

/// What this file computes is what the curve is: or every test that uses it proves nothing.
pub(crate) fn check() {
    let n = ORDER.0;
    assert_eq!(times(n, base()), None);
    assert_eq!(times(n.minus(ONE).0, base()), negative(base()));
    assert_eq!(sum(base(), base()), times(small(2), base()));
    let (x, y) = base().unwrap();
    let found = over(x);
    assert!(found == Some((x, y)) || found == negative(Some((x, y))));
}
