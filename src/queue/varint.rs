//! Numbers of as many bytes as they need.

/// Bytes of the largest number.
pub(super) const LONGEST: usize = 10;

/// Writes a number, seven bits a byte, the lowest first.
pub(super) fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

pub(super) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..LONGEST {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Makes small numbers of small differences, whatever their sign.
pub(super) fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ ((difference as i64) >> 63) as u64
}

pub(super) fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        let all = [
            0,
            1,
            63,
            64,
            127,
            128,
            1 << 32,
            u64::MAX / 2,
            u64::MAX - 1,
            u64::MAX,
        ];
        for number in all {
            push_number(&mut bytes, number);
            push_number(&mut bytes, zigzag(number));
        }
        let mut rest = &bytes[..];
        for number in all {
            assert_eq!(take_number(&mut rest), Some(number));
            assert_eq!(take_number(&mut rest).map(unzigzag), Some(number));
        }
        assert_eq!(take_number(&mut rest), None);
        assert_eq!(take_number(&mut &[0xff; 11][..]), None);
        assert!(zigzag(5) < 16 && zigzag(5_u64.wrapping_neg()) < 16);
    }
}
