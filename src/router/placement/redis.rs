use crc::{CRC_16_XMODEM, Crc, Table};

/// The slot of a key in a Redis Cluster: CRC16 of its hash tag, modulo 16,384.
///
/// The tag is what stands between the first `{` and the next `}`, if that is
/// not empty, and otherwise the whole key; so keys with one tag lie together.
///
/// ```
/// use tenfold::router::placement::redis_slot;
///
/// assert_eq!(redis_slot(b"123456789"), 12_739);
/// assert_eq!(redis_slot(b"{user1000}.following"), redis_slot(b"user1000"));
/// ```
pub fn redis_slot(key: &[u8]) -> u16 {
    CRC16.checksum(tag(key)) & (REDIS_SLOTS as u16 - 1)
}

fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let after = &key[open + 1..];
    match after.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &after[..close],
    }
}

/// Slots of a Redis Cluster.
pub(in crate::router) const REDIS_SLOTS: u32 = 1 << 14;

/// Sixteen bytes a step: slower than one a step for none, and from there on twice as fast.
static CRC16: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);
