//! What the cache is held against: the best that is possible, and naive
//! versions of the policies that have an exact definition.

mod belady;
mod fifo;
mod lru;

pub(crate) use belady::Belady;
pub(crate) use fifo::fifo_hits;
pub(crate) use lru::LruCurve;
