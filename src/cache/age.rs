//! Time as the default policy counts it: in insertions, scaled to the shard.

use super::ghosts::Past;
use super::learner::AGES;

/// An age in 128ths of a turnover, the time in which as many entries are
/// inserted as the shard holds; plus one.
#[derive(Clone, Copy)]
pub(super) struct Age(pub(super) f32);

impl Age {
    /// Half octaves: the exponent and the first bit of the fraction, as a float
    /// has them.
    #[inline]
    pub(super) fn bin(self) -> u16 {
        // At least 1.0 and at most 2^24, so this fits 16 signed bits, whose
        // minimum every processor has an instruction for.
        let bin = (self.0.to_bits() >> 22) as i16 - (127 << 1);
        bin.min(AGES as i16 - 1).cast_unsigned()
    }

    /// Up to an eighth, a half, one and a half of a turnover, or longer.
    #[inline]
    pub(super) fn step(self) -> u8 {
        u8::from(self.0 >= 17.0) + u8::from(self.0 >= 65.0) + u8::from(self.0 >= 193.0)
    }
}

/// How a shard of some size counts time.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// Entries the shard holds when full.
    pub(super) entries: f32,
    /// A stamp counts `1 << unit_shift` insertions: between a 1024th and a
    /// 2048th of a turnover.
    pub(super) unit_shift: u32,
    /// 128ths of a turnover in a unit of stamps, and in one of ghosts.
    pub(super) per_unit: f32,
    pub(super) per_ghost_unit: f32,
}

/// A ghost's unit of time is `1 << GHOST_SHIFT` stamps.
pub(super) const GHOST_SHIFT: u32 = 3;

impl Scale {
    pub(super) fn for_entries(entries: usize) -> Self {
        let entries = entries.max(1);
        let unit_shift = (entries / 1024).max(1).ilog2();
        let per_unit = 128.0 * (1u64 << unit_shift) as f32 / entries as f32;
        Self {
            entries: entries as f32,
            unit_shift,
            per_unit,
            per_ghost_unit: per_unit * (1 << GHOST_SHIFT) as f32,
        }
    }

    #[inline]
    pub(super) fn stamp(&self, insertions: u32) -> u16 {
        (insertions >> self.unit_shift) as u16
    }

    #[inline]
    pub(super) fn age(&self, stamps: u16) -> Age {
        Age(f32::from(stamps) * self.per_unit + 1.0)
    }

    pub(super) fn ghost_time(&self, insertions: u32) -> u16 {
        (insertions >> (self.unit_shift + GHOST_SHIFT)) as u16 & Past::STAMPS
    }
}
