//! Tests and sets the eight bits of a blocked line at once.
//!
//! A rotation finds the bit of each word, and one vector test answers for all
//! eight. Measured beside the portable code, filter in L2, hash included:
//! `contains` 2.5 ns instead of 8. The single operation on AVX-512 is inline
//! assembly, because functions built for other instructions are not inlined into
//! callers, and with a call it is 3.6 ns: the hash's constants and the filter's
//! fields are then loaded for each key. Besides, it uses only registers whose upper
//! halves need no clearing afterwards. AVX2 has none of those, so there a call it is.
#![cfg_attr(
    target_arch = "x86_64",
    allow(
        unsafe_code,
        reason = "vector instructions and prefetch: a third of the time of the portable twin"
    )
)]

use super::InstructionSet;
use super::line::{Line, Spot, blocked};
use super::split_block::Block;

/// Proof that this processor has the instructions inside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel(InstructionSet);

impl Kernel {
    /// The fastest that this processor has.
    pub(super) fn best() -> Self {
        InstructionSet::ALL
            .into_iter()
            .find_map(Self::of)
            .unwrap_or(Self(InstructionSet::Portable))
    }

    /// These instructions, if this processor has them.
    pub(super) fn of(set: InstructionSet) -> Option<Self> {
        set.is_available().then_some(Self(set))
    }

    pub(super) const fn instruction_set(self) -> InstructionSet {
        self.0
    }

    /// The kernel for single keys that needs no call, if this processor has it.
    pub(super) const fn inline(self) -> Option<InlineKernel> {
        match self.0 {
            InlineKernel::SET => Some(InlineKernel(())),
            _ => None,
        }
    }

    /// Whether every bit of the key is set in its line.
    #[inline]
    pub(super) fn contains(self, line: &Line, bits: u64) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => InlineKernel(()).contains(line, bits),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => {
                // SAFETY: a `Kernel` of AVX2 exists only where it was detected.
                unsafe { avx2::contains(line, bits) }
            }
            _ => contains(line, bits),
        }
    }

    /// Sets the bits of the key in its line; whether one was not set.
    #[inline]
    pub(super) fn insert(self, line: &mut Line, bits: u64) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => InlineKernel(()).insert(line, bits),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => {
                // SAFETY: a `Kernel` of AVX2 exists only where it was detected.
                unsafe { avx2::insert(line, bits) }
            }
            _ => insert(line, bits),
        }
    }

    /// [`contains`](Self::contains) for up to 32 keys, as bits.
    #[inline]
    pub(super) fn contains_group(self, lines: &[Line], spots: &[Spot]) -> u32 {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => {
                // SAFETY: a `Kernel` of AVX-512 exists only where it was detected.
                unsafe { avx512::contains_group(lines, spots) }
            }
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => {
                // SAFETY: as above, for AVX2.
                unsafe { avx2::contains_group(lines, spots) }
            }
            _ => group(spots, |spot| lines[spot.line].has_all(blocked(spot.bits))),
        }
    }

    /// [`insert`](Self::insert) for up to 32 keys, as bits.
    #[inline]
    pub(super) fn insert_group(self, lines: &mut [Line], spots: &[Spot]) -> u32 {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => {
                // SAFETY: a `Kernel` of AVX-512 exists only where it was detected.
                unsafe { avx512::insert_group(lines, spots) }
            }
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => {
                // SAFETY: as above, for AVX2.
                unsafe { avx2::insert_group(lines, spots) }
            }
            _ => group(spots, |spot| lines[spot.line].set_all(blocked(spot.bits))),
        }
    }

    /// Whether every bit of the key is set in its block of a split-block filter.
    #[inline]
    pub(super) fn contains_split(self, block: &Block, hash: u32) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 | InstructionSet::Avx2 => {
                // SAFETY: either was detected; who has AVX-512 has AVX2.
                unsafe { avx2::contains_split(block, hash) }
            }
            _ => block.contains(hash),
        }
    }

    /// Sets the bits of the key in its block; whether one was not set.
    #[inline]
    pub(super) fn insert_split(self, block: &mut Block, hash: u32) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 | InstructionSet::Avx2 => {
                // SAFETY: either was detected; who has AVX-512 has AVX2.
                unsafe { avx2::insert_split(block, hash) }
            }
            _ => block.insert(hash),
        }
    }
}

/// Proof that single keys need no call: that this processor has the instructions
/// whose code becomes part of any caller. A type of its own, so that no caller
/// has the code of the others beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct InlineKernel(());

#[allow(
    clippy::unused_self,
    reason = "it is the proof that the instructions exist"
)]
impl InlineKernel {
    #[cfg(target_arch = "x86_64")]
    const SET: InstructionSet = InstructionSet::Avx512;
    #[cfg(not(target_arch = "x86_64"))]
    const SET: InstructionSet = InstructionSet::Portable;

    /// [`Kernel::contains`].
    #[inline]
    pub(super) fn contains(self, line: &Line, bits: u64) -> bool {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this kernel is made only of one of AVX-512, which exists only
        // where it was detected.
        let found = unsafe { avx512::contains(line, bits) };
        #[cfg(not(target_arch = "x86_64"))]
        let found = contains(line, bits);
        found
    }

    /// [`Kernel::insert`].
    #[inline]
    pub(super) fn insert(self, line: &mut Line, bits: u64) -> bool {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        let new = unsafe { avx512::insert(line, bits) };
        #[cfg(not(target_arch = "x86_64"))]
        let new = insert(line, bits);
        new
    }
}

/// The portable twin. Where there are others it is not inlined beside them.
#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline)]
fn contains(line: &Line, bits: u64) -> bool {
    line.has_all(blocked(bits))
}

/// The portable twin. Where there are others it is not inlined beside them.
#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline)]
fn insert(line: &mut Line, bits: u64) -> bool {
    line.set_all(blocked(bits))
}

/// Asks the processor to bring this value near. Reads and changes nothing.
#[inline]
pub(super) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint that cannot fault, and SSE is part of
        // every x86-64 processor.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// The answers for up to 32 spots, as bits.
#[inline]
fn group(spots: &[Spot], mut answer: impl FnMut(&Spot) -> bool) -> u32 {
    let answers = spots.iter().enumerate();
    answers.fold(0, |all, (i, spot)| all | u32::from(answer(spot)) << i)
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::asm;
    use std::arch::x86_64::{
        __m512i, _mm512_load_si512, _mm512_or_si512, _mm512_rolv_epi64, _mm512_set1_epi64,
        _mm512_srlv_epi64, _mm512_store_si512, _mm512_testn_epi64_mask,
    };

    use super::group;
    use crate::bloom::line::{Line, SHIFTS, Spot};

    /// # Safety
    ///
    /// The processor has AVX-512F.
    #[inline]
    pub(super) unsafe fn contains(line: &Line, bits: u64) -> bool {
        let missing: u32;
        // SAFETY: by contract the instructions exist. They read 64 bytes of the
        // line and 72 of `CONSTANTS`, whose order is that of C; both live, and are
        // aligned to 64. Every register written is named.
        unsafe {
            asm!(
                "vpbroadcastq zmm16, {bits}",
                "vpsrlvq zmm16, zmm16, zmmword ptr [{constants}]",
                "vpbroadcastq zmm17, qword ptr [{constants} + 64]",
                "vprolvq zmm16, zmm17, zmm16",
                "vptestnmq k1, zmm16, zmmword ptr [{line}]",
                "kmovw {missing:e}, k1",
                bits = in(reg) bits,
                constants = in(reg) &CONSTANTS,
                line = in(reg) line,
                missing = lateout(reg) missing,
                out("zmm16") _,
                out("zmm17") _,
                out("k1") _,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        missing == 0
    }

    /// # Safety
    ///
    /// The processor has AVX-512F.
    #[inline]
    pub(super) unsafe fn insert(line: &mut Line, bits: u64) -> bool {
        let missing: u32;
        // SAFETY: as in `contains`; besides, 64 bytes are written to the line,
        // which is borrowed for that.
        unsafe {
            asm!(
                "vpbroadcastq zmm16, {bits}",
                "vpsrlvq zmm16, zmm16, zmmword ptr [{constants}]",
                "vpbroadcastq zmm17, qword ptr [{constants} + 64]",
                "vprolvq zmm16, zmm17, zmm16",
                "vmovdqa64 zmm17, zmmword ptr [{line}]",
                "vptestnmq k1, zmm16, zmm17",
                "vporq zmm17, zmm17, zmm16",
                "vmovdqa64 zmmword ptr [{line}], zmm17",
                "kmovw {missing:e}, k1",
                bits = in(reg) bits,
                constants = in(reg) &CONSTANTS,
                line = in(reg) line,
                missing = lateout(reg) missing,
                out("zmm16") _,
                out("zmm17") _,
                out("k1") _,
                options(nostack, preserves_flags),
            );
        }
        missing != 0
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn contains_group(lines: &[Line], spots: &[Spot]) -> u32 {
        group(spots, |spot| {
            _mm512_testn_epi64_mask(load(&lines[spot.line]), mask(spot.bits)) == 0
        })
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn insert_group(lines: &mut [Line], spots: &[Spot]) -> u32 {
        group(spots, |spot| {
            let line = &mut lines[spot.line];
            let (old, mask) = (load(line), mask(spot.bits));
            store(line, _mm512_or_si512(old, mask));
            _mm512_testn_epi64_mask(old, mask) != 0
        })
    }

    /// One bit in each word.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn mask(bits: u64) -> __m512i {
        let bits = _mm512_set1_epi64(bits.cast_signed());
        // A rotation takes the lowest six bits of each count.
        _mm512_rolv_epi64(
            _mm512_set1_epi64(1),
            _mm512_srlv_epi64(bits, load(&CONSTANTS.shifts)),
        )
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load(line: &Line) -> __m512i {
        // SAFETY: a line is 64 bytes, aligned to 64.
        unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn store(line: &mut Line, value: __m512i) {
        // SAFETY: a line is 64 bytes, aligned to 64, and borrowed for writing.
        unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), value) }
    }

    /// In one place, so that one register leads to both. No statics: a copy near
    /// the caller's code is found without a load.
    #[repr(C)]
    struct Constants {
        shifts: Line,
        one: u64,
    }

    const CONSTANTS: Constants = Constants {
        shifts: Line(SHIFTS),
        one: 1,
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_load_si256, _mm256_or_si256, _mm256_set1_epi64x,
        _mm256_sllv_epi64, _mm256_srlv_epi64, _mm256_store_si256, _mm256_testc_si256,
    };

    use super::group;
    use crate::bloom::line::{Line, SHIFTS, Spot};
    use crate::bloom::split_block::Block;

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn contains(line: &Line, bits: u64) -> bool {
        let [low, high] = load(line);
        let [low_mask, high_mask] = masks(bits);
        has_all(low, low_mask) && has_all(high, high_mask)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn insert(line: &mut Line, bits: u64) -> bool {
        let [low, high] = load(line);
        let [low_mask, high_mask] = masks(bits);
        store(
            line,
            [
                _mm256_or_si256(low, low_mask),
                _mm256_or_si256(high, high_mask),
            ],
        );
        !(has_all(low, low_mask) & has_all(high, high_mask))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn contains_group(lines: &[Line], spots: &[Spot]) -> u32 {
        group(spots, |spot| contains(&lines[spot.line], spot.bits))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn insert_group(lines: &mut [Line], spots: &[Spot]) -> u32 {
        group(spots, |spot| insert(&mut lines[spot.line], spot.bits))
    }

    /// The portable code, compiled for vectors.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn contains_split(block: &Block, hash: u32) -> bool {
        block.contains(hash)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn insert_split(block: &mut Block, hash: u32) -> bool {
        block.insert(hash)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn has_all(bits: __m256i, mask: __m256i) -> bool {
        _mm256_testc_si256(bits, mask) == 1
    }

    /// One bit in each word.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn masks(bits: u64) -> [__m256i; 2] {
        let bits = _mm256_set1_epi64x(bits.cast_signed());
        load(&SHIFT_LINE).map(|shifts| {
            let counts = _mm256_and_si256(_mm256_srlv_epi64(bits, shifts), _mm256_set1_epi64x(63));
            _mm256_sllv_epi64(_mm256_set1_epi64x(1), counts)
        })
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(line: &Line) -> [__m256i; 2] {
        let half: *const __m256i = line.0.as_ptr().cast();
        // SAFETY: a line is two halves of 32 bytes, aligned to 64.
        unsafe { [_mm256_load_si256(half), _mm256_load_si256(half.add(1))] }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn store(line: &mut Line, [low, high]: [__m256i; 2]) {
        let half: *mut __m256i = line.0.as_mut_ptr().cast();
        // SAFETY: a line is two halves of 32 bytes, aligned to 64, and borrowed
        // for writing.
        unsafe {
            _mm256_store_si256(half, low);
            _mm256_store_si256(half.add(1), high);
        }
    }

    static SHIFT_LINE: Line = Line(SHIFTS);
}

#[cfg(test)]
mod tests;
