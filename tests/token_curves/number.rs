//! Numbers below a modulus of up to 256 bits.

/// Lowest part first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) [u64; 4]);

pub(crate) const ZERO: Number = small(0);
pub(crate) const ONE: Number = small(1);

pub(crate) const fn small(number: u64) -> Number {
    Number([number, 0, 0, 0])
}

impl Number {
    /// From 64 hex digits.
    pub(crate) fn hex(digits: &str) -> Self {
        assert_eq!(digits.len(), 64);
        let part = |at: usize| u64::from_str_radix(&digits[16 * at..16 * (at + 1)], 16).unwrap();
        Self([part(3), part(2), part(1), part(0)])
    }

    pub(crate) fn from_be(bytes: &[u8]) -> Self {
        let part = |at: usize| u64::from_be_bytes(bytes[8 * at..8 * (at + 1)].try_into().unwrap());
        Self([part(3), part(2), part(1), part(0)])
    }

    pub(crate) fn to_be(self) -> [u8; 32] {
        let mut bytes = self.to_le();
        bytes.reverse();
        bytes
    }

    pub(crate) fn to_le(self) -> [u8; 32] {
        let parts: Vec<u8> = self.0.iter().flat_map(|part| part.to_le_bytes()).collect();
        parts.try_into().unwrap()
    }

    pub(crate) fn bit(self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    /// The sum, and whether it has another bit.
    pub(crate) fn plus(self, other: Self) -> (Self, bool) {
        let mut carry = false;
        let parts = std::array::from_fn(|at| {
            let (sum, over) = self.0[at].overflowing_add(other.0[at]);
            let (sum, again) = sum.overflowing_add(carry.into());
            carry = over || again;
            sum
        });
        (Self(parts), carry)
    }

    /// The difference, and whether it is below zero.
    pub(crate) fn minus(self, other: Self) -> (Self, bool) {
        let mut borrow = false;
        let parts = std::array::from_fn(|at| {
            let (rest, under) = self.0[at].overflowing_sub(other.0[at]);
            let (rest, again) = rest.overflowing_sub(borrow.into());
            borrow = under || again;
            rest
        });
        (Self(parts), borrow)
    }
}

/// A prime: what is added, multiplied and divided is below it, and so is what comes out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prime(pub(crate) Number);

impl Prime {
    pub(crate) fn add(self, one: Number, two: Number) -> Number {
        let (sum, carry) = one.plus(two);
        let (less, borrow) = sum.minus(self.0);
        if carry || !borrow { less } else { sum }
    }

    pub(crate) fn sub(self, one: Number, two: Number) -> Number {
        let (rest, borrow) = one.minus(two);
        if borrow { rest.plus(self.0).0 } else { rest }
    }

    pub(crate) fn mul(self, one: Number, two: Number) -> Number {
        (0..256).rev().fold(ZERO, |sum, at| {
            let sum = self.add(sum, sum);
            if two.bit(at) { self.add(sum, one) } else { sum }
        })
    }

    pub(crate) fn times(self, number: Number, times: u64) -> Number {
        self.mul(number, small(times))
    }

    pub(crate) fn pow(self, number: Number, power: Number) -> Number {
        (0..256).rev().fold(ONE, |product, at| {
            let product = self.mul(product, product);
            if power.bit(at) {
                self.mul(product, number)
            } else {
                product
            }
        })
    }

    pub(crate) fn div(self, one: Number, two: Number) -> Number {
        // By Fermat's little theorem.
        let inverse = self.pow(two, self.0.minus(small(2)).0);
        self.mul(one, inverse)
    }

    /// Of any number of bytes, the highest first.
    pub(crate) fn of(self, bytes: &[u8]) -> Number {
        bytes.iter().fold(ZERO, |number, byte| {
            let number = (0..8).fold(number, |number, _| self.add(number, number));
            self.add(number, small(u64::from(*byte)))
        })
    }
}
