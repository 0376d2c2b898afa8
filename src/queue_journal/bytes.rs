//! A change as the bytes of a message, drawn in the module's page.

use super::JournalError;
use crate::cache::tier::Codec;
use crate::cache::write_back::Record;
use crate::cache::writer::Change;

const VERSION: u8 = 1;
const PUT: u8 = 0;
const DELETE: u8 = 1;
const HEADER: usize = 14;

pub(super) fn encode<K: 'static, V: 'static>(
    record: &Record<K, V>,
    codec: &dyn Codec<K, V>,
) -> Result<Vec<u8>, JournalError> {
    let key = codec.encode_key(&record.key);
    let found = key.len();
    let len = u32::try_from(found).map_err(|_| JournalError::KeyTooLong { found })?;
    let (kind, value) = match &record.change {
        Change::Put(value) => (PUT, codec.encode(value)),
        Change::Delete => (DELETE, Vec::new()),
    };
    let mut bytes = Vec::with_capacity(HEADER + key.len() + value.len());
    bytes.extend_from_slice(&[VERSION, kind]);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&record.sequence.to_le_bytes());
    bytes.extend_from_slice(&key);
    bytes.extend_from_slice(&value);
    Ok(bytes)
}

/// What is wrong with the bytes, if they are no change.
pub(super) fn decode<K: 'static, V: 'static>(
    bytes: &[u8],
    codec: &dyn Codec<K, V>,
) -> Result<Record<K, V>, &'static str> {
    let (header, rest) = bytes
        .split_at_checked(HEADER)
        .ok_or("shorter than a change can be")?;
    let (what, header) = header.split_at(2);
    let (len, sequence) = header.split_at(4);
    if what[0] != VERSION {
        return Err("of another version than 1");
    }
    let len = len
        .iter()
        .rev()
        .fold(0, |len, byte| len << 8 | usize::from(*byte));
    let sequence = sequence
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    let (key, value) = rest
        .split_at_checked(len)
        .ok_or("its key ends behind its end")?;
    let key = codec
        .decode_key(key)
        .ok_or("the codec does not know its key")?;
    let change = match what[1] {
        PUT => Change::Put(
            codec
                .decode(value)
                .ok_or("the codec does not know its value")?,
        ),
        DELETE => Change::Delete,
        _ => return Err("it neither puts nor deletes"),
    };
    Ok(Record {
        sequence,
        key,
        change,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tier::PlainCodec;

    const CODEC: &dyn Codec<String, u32> = &PlainCodec;

    fn record(sequence: u64, key: &str, change: Change<u32>) -> Record<String, u32> {
        let key = key.to_owned();
        Record {
            sequence,
            key,
            change,
        }
    }

    #[test]
    fn a_change_is_these_bytes_and_comes_back() {
        let put = record(0x0102, "ab", Change::Put(7));
        let bytes = encode(&put, CODEC).unwrap();
        let drawn = b"\x01\x00\x02\0\0\0\x02\x01\0\0\0\0\0\0ab\0\0\0\x07";
        assert_eq!(bytes, drawn);
        assert_eq!(decode(&bytes, CODEC), Ok(put));
        let delete = record(u64::MAX, "", Change::Delete);
        assert_eq!(decode(&encode(&delete, CODEC).unwrap(), CODEC), Ok(delete));
    }

    #[test]
    fn other_bytes_are_refused_with_what_is_wrong() {
        let bytes = encode(&record(1, "ab", Change::Put(7)), CODEC).unwrap();
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], CODEC).is_err(), "{len}");
        }
        for (at, byte, what) in [
            (0, 2, "of another version than 1"),
            (1, 9, "it neither puts nor deletes"),
            (5, 9, "its key ends behind its end"),
            (14, 0xff, "the codec does not know its key"),
        ] {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            assert_eq!(decode(&bytes, CODEC), Err(what));
        }
    }
}
