//! Finds a byte, or the lowest byte, among the 32 of a bucket, 16 at a time.
#![cfg_attr(target_arch = "x86_64", allow(unsafe_code))]

/// Slots in a bucket.
pub(super) const WAYS: usize = 32;

/// The set of slots whose tag equals this one, as bits.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn matches(tags: &[u8; WAYS], tag: u8) -> u32 {
    // SAFETY: SSE2, which is all that the function asks for, is part of every
    // x86-64 processor.
    unsafe { matches_sse2(tags, tag) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn matches_sse2(tags: &[u8; WAYS], tag: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set1_epi8};

    let [low, high] = halves(tags);
    let wanted = _mm_set1_epi8(tag.cast_signed());
    let low = _mm_movemask_epi8(_mm_cmpeq_epi8(low, wanted)).cast_unsigned();
    let high = _mm_movemask_epi8(_mm_cmpeq_epi8(high, wanted)).cast_unsigned();
    low | high << 16
}

/// The bytes in two registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn halves(bytes: &[u8; WAYS]) -> [std::arch::x86_64::__m128i; 2] {
    use std::arch::x86_64::_mm_loadu_si128;

    let (halves, _) = bytes.as_chunks::<16>();
    [0, 1].map(|half| {
        let half: &[u8; 16] = &halves[half];
        // SAFETY: the reference is valid for reads of 16 bytes, and the load
        // asks for no alignment.
        unsafe { _mm_loadu_si128(half.as_ptr().cast()) }
    })
}

/// The lowest byte, and the first place that has it.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn lowest(bytes: &[u8; WAYS]) -> (u8, usize) {
    // SAFETY: as above.
    let lowest = unsafe { lowest_sse2(bytes) };
    (lowest, matches(bytes, lowest).trailing_zeros() as usize)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn lowest_sse2(bytes: &[u8; WAYS]) -> u8 {
    use std::arch::x86_64::{_mm_cvtsi128_si32, _mm_min_epu8, _mm_srli_si128};

    let [low, high] = halves(bytes);
    let mut least = _mm_min_epu8(low, high);
    // Folds 16 bytes into one.
    least = _mm_min_epu8(least, _mm_srli_si128::<8>(least));
    least = _mm_min_epu8(least, _mm_srli_si128::<4>(least));
    least = _mm_min_epu8(least, _mm_srli_si128::<2>(least));
    least = _mm_min_epu8(least, _mm_srli_si128::<1>(least));
    _mm_cvtsi128_si32(least) as u8
}

/// The lowest byte, and the first place that has it: the portable twin.
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(super) fn lowest_portable(bytes: &[u8; WAYS]) -> (u8, usize) {
    let lowest = bytes.iter().fold(u8::MAX, |least, &byte| least.min(byte));
    (lowest, matches(bytes, lowest).trailing_zeros() as usize)
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) use lowest_portable as lowest;

/// The set of slots whose tag equals this one, as bits: the portable twin.
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(super) fn matches_portable(tags: &[u8; WAYS], tag: u8) -> u32 {
    tags.iter()
        .enumerate()
        .fold(0, |set, (i, &t)| set | u32::from(t == tag) << i)
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) use matches_portable as matches;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_twins_agree(tags: [u8; WAYS], tag: u8) {
            prop_assert_eq!(matches(&tags, tag), matches_portable(&tags, tag));
            prop_assert_eq!(lowest(&tags), lowest_portable(&tags));
        }
    }
}
