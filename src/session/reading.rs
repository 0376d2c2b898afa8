//! Numbers read from bytes that somebody else may have written.

/// A version, stamp or generation, if there can be one that high.
pub(super) fn count(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes)
        .map(u64::from_le_bytes)
        .filter(|&count| count <= MAX_COUNT)
}

pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

/// The highest version, stamp or generation that is believed. They begin with the second in their upper half, so this is the year 2097,
/// and there is room to count on: a revocation whose number came round to 0 would end nothing.
pub(super) const MAX_COUNT: u64 = 0xf << 60;
