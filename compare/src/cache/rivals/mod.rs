//! The rivals, one adapter each, in their best documented configuration.

mod arc;
mod foyer;
mod locked_map;
mod mini_moka;
mod moka;
mod quick_cache;
mod scc;
mod schnellru;
mod stretto;
mod tiny_ufo;

use tenfold::hash::TableHasher;

use super::subject::{Contender, Key};

pub(crate) use locked_map::LockedMap;
pub(crate) use moka::Moka;
pub(crate) use quick_cache::QuickCache;

/// Every rival that is a cache with a policy of its own.
pub(crate) fn all<K: Key>() -> Vec<Contender<K>> {
    vec![
        Contender::judged("moka", |n| Box::new(Moka::new(n))),
        Contender::judged("mini-moka", |n| Box::new(mini_moka::MiniMoka::new(n))),
        Contender::judged("quick_cache", |n| Box::new(QuickCache::new(n))),
        Contender::judged("foyer-s3fifo", |n| Box::new(foyer::Foyer::s3_fifo(n))),
        Contender::judged("foyer-lfu", |n| Box::new(foyer::Foyer::lfu(n))),
        Contender::judged("foyer-lru", |n| Box::new(foyer::Foyer::lru(n))),
        Contender::judged("TinyUFO", |n| Box::new(tiny_ufo::TinyUfo::new(n))),
        Contender::judged(STRETTO, |n| Box::new(stretto::Stretto::new(n))),
        Contender::shown(
            ARC,
            |n| Box::new(arc::Arc::new(n)),
            "single-threaded: one mutex around all of it",
        ),
        Contender::shown(
            "schnellru-1",
            |n| Box::new(schnellru::Schnellru::new(n, 1)),
            "plain LRU and nothing else, behind one mutex",
        ),
        Contender::shown(
            SCHNELLRU_16,
            |n| Box::new(schnellru::Schnellru::new(n, 16)),
            "plain LRU and nothing else, behind sixteen mutexes",
        ),
        Contender::shown(
            SCC,
            |n| Box::new(scc::Scc::new(n)),
            "holds more: rounds its capacity up to a power of two, at least 64",
        ),
    ]
}

pub(crate) const ARC: &str = "arc";
pub(crate) const STRETTO: &str = "stretto";
pub(crate) const SCC: &str = "scc";
pub(crate) const SCHNELLRU_16: &str = "schnellru-16";

/// The hasher of every rival that lets us choose.
fn hasher() -> TableHasher {
    TableHasher::with_seed(0x7e4f_01d5)
}

/// `TinyUFO`'s leaner variant, for the measurement of memory.
pub(crate) fn tiny_ufo_compact() -> Contender<u64> {
    Contender::judged("TinyUFO-compact", |n| {
        Box::new(tiny_ufo::TinyUfo::compact(n))
    })
}
