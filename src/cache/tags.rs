//! Finds a one-byte tag among the 32 of a bucket, 16 at a time.
//!
//! What the unsafe code buys: a look-up of a resident `u64` key costs a third
//! fewer instructions than with the portable twin below.
#![cfg_attr(target_arch = "x86_64", allow(unsafe_code))]

use super::table::WAYS;

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
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};

    let (words, _) = tags.as_chunks::<8>();
    let word = |i: usize| i64::from_le_bytes(words[i]);
    let wanted = _mm_set1_epi8(tag.cast_signed());
    let low = _mm_cmpeq_epi8(_mm_set_epi64x(word(1), word(0)), wanted);
    let high = _mm_cmpeq_epi8(_mm_set_epi64x(word(3), word(2)), wanted);
    let low = _mm_movemask_epi8(low).cast_unsigned();
    let high = _mm_movemask_epi8(high).cast_unsigned();
    low | high << 16
}

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
        }
    }
}
