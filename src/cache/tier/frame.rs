//! A value as it lies in the L2: its tags, its bytes, and a checksum.
//!
//! ```text
//! 0   1  format, 1
//! 1   8  checksum of all that follows: FNV-1a, 64 bits, big endian
//! 9   2  number of tags; each is 2 bytes of length and its bytes
//!        the value's bytes, to the end
//! ```

use super::item::Tags;

pub(super) struct Frame<'a> {
    pub(super) tags: Tags,
    pub(super) value: &'a [u8],
}

const FORMAT: u8 = 1;

pub(super) fn to_bytes(tags: &Tags, value: &[u8]) -> Vec<u8> {
    let named: usize = tags.iter().map(|tag| 2 + tag.len()).sum();
    let mut bytes = Vec::with_capacity(11 + named + value.len());
    bytes.push(FORMAT);
    bytes.extend([0; 8]);
    // `Item` allows neither more tags nor longer ones.
    bytes.extend((tags.len() as u16).to_be_bytes());
    for tag in tags.iter() {
        bytes.extend((tag.len() as u16).to_be_bytes());
        bytes.extend(tag);
    }
    bytes.extend(value);
    let sum = checksum(&bytes[9..]);
    bytes[1..9].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// `None` if these bytes are no frame, or not the one that was written.
pub(super) fn from_bytes(bytes: &[u8]) -> Option<Frame<'_>> {
    let (format, rest) = bytes.split_first()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    if *format != FORMAT || u64::from_be_bytes(*sum) != checksum(rest) {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<2>()?;
    let mut tags = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (tag, tail) = tail.split_at_checked(u16::from_be_bytes(*length).into())?;
        tags.push(tag.into());
        rest = tail;
    }
    Some(Frame {
        tags: Tags::new(tags),
        value: rest,
    })
}

/// Not against forgers, who could write what they like anyway: against halves
/// of values and other programs' keys.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let tags = Tags::new(vec![b"a"[..].into(), b""[..].into()]);
        let bytes = to_bytes(&tags, b"value");
        let frame = from_bytes(&bytes).unwrap();
        assert_eq!(frame.tags, tags);
        assert_eq!(frame.value, b"value");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = to_bytes(&Tags::new(vec![b"tag"[..].into()]), b"value");
        for at in 0..bytes.len() {
            assert!(from_bytes(&bytes[..at]).is_none());
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(from_bytes(&flipped).is_none());
            }
        }
    }

    proptest! {
        #[test]
        fn strange_bytes_are_refused(bytes: Vec<u8>) {
            prop_assert!(from_bytes(&bytes).is_none());
        }
    }
}
