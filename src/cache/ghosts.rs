//! What the default policy remembers of keys that were evicted.

use super::age::{Age, Scale};
use super::learner::{NO_RANK, Ranks};
use super::tags::{WAYS, lowest, matches};
use crate::rng;

/// What is kept of the entries that were evicted from a bucket: 4 bytes each.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Ghosts {
    /// 16 bits of the key's hash; zero: there is no ghost.
    pub(super) prints: [u16; WAYS],
    pub(super) pasts: [Past; WAYS],
}

/// The class an entry had, and when it was last used, in 12 bits.
#[derive(Clone, Copy)]
pub(super) struct Past(u16);

/// A key as its ghost knows it. Never zero; mixed, since the bits of the hash
/// have chosen shard and bucket already.
pub(super) fn print(hash: u64) -> u16 {
    (rng::mix(hash) >> 48) as u16 | 1
}

impl Ghosts {
    pub(super) const NONE: Self = Self {
        prints: [0; WAYS],
        pasts: [Past(0); WAYS],
    };

    /// Takes a key's ghost away, if it has one, and says where it was.
    #[inline]
    pub(super) fn take(&mut self, print: u16) -> Option<(usize, Past)> {
        // Most keys have none; counting them first is a loop without branches.
        let same = (self.prints.iter()).fold(0u16, |same, &p| same + u16::from(p == print));
        if same == 0 {
            return None;
        }
        let place = self.prints.iter().position(|&p| p == print)?;
        self.prints[place] = 0;
        Some((place, self.pasts[place]))
    }

    /// The places of the ghosts that are worth least, at least [`CHOSEN`].
    pub(super) fn least(&self, ranks: &Ranks, now: u16, scale: &Scale) -> u32 {
        let mut ranks = self.ranks(ranks, now, scale);
        let mut least = 0u32;
        while least.count_ones() < CHOSEN {
            let (lowest, _) = lowest(&ranks);
            least |= matches(&ranks, lowest);
            for rank in &mut ranks {
                *rank |= if *rank == lowest { NO_RANK } else { 0 };
            }
        }
        least
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Past> {
        let places = self.pasts.into_iter().zip(self.prints);
        places
            .filter(|&(_, print)| print != 0)
            .map(|(past, _)| past)
    }

    /// The rank of every ghost; free places come first. In arithmetic on
    /// several at once, as for the slots.
    #[inline]
    pub(super) fn ranks(&self, ranks: &Ranks, now: u16, scale: &Scale) -> [u8; WAYS] {
        let mut places = [0u16; WAYS];
        for (place, past) in places.iter_mut().zip(&self.pasts) {
            *place = Ranks::place(past.class(), past.age(now, scale).bin());
        }
        let mut ranks = ranks.at(&places);
        for (rank, &print) in ranks.iter_mut().zip(&self.prints) {
            *rank = if print == 0 { 0 } else { *rank };
        }
        ranks
    }
}

impl Past {
    /// The range of stamps; a mask too.
    pub(super) const STAMPS: u16 = 0xfff;

    pub(super) fn new(class: u8, stamp: u16) -> Self {
        Self(u16::from(class) << 12 | stamp & Self::STAMPS)
    }

    #[inline]
    pub(super) fn class(self) -> u8 {
        (self.0 >> 12) as u8
    }

    #[inline]
    pub(super) fn age(self, now: u16, scale: &Scale) -> Age {
        let age = now.wrapping_sub(self.0) & Self::STAMPS;
        Age(f32::from(age) * scale.per_ghost_unit + 1.0)
    }
}

/// So many ghosts, the ones worth least, are given up before others are chosen.
const CHOSEN: u32 = 4;
