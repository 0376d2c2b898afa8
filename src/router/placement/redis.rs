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
    crc16(tag(key)) & (REDIS_SLOTS as u16 - 1)
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

/// CRC-16/XMODEM: polynomial 0x1021, starts at zero, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)]
    })
}

/// Slots of a Redis Cluster.
pub(in crate::router) const REDIS_SLOTS: u32 = 1 << 14;

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};
