use std::fmt;

use crate::sync::atomic::{AtomicU64, Ordering};

/// What a [`StickyRouter`](super::StickyRouter) has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RoutingStats {
    /// Requests that went where their cookie says.
    pub pinned: u64,
    /// Requests without a cookie of ours.
    pub new: u64,
    /// Those among them that brought one which we had not signed: of another site, of a secret
    /// that was dropped, or forged.
    pub refused: u64,
    /// Requests that went elsewhere than their cookie says.
    pub repinned: u64,
}

impl fmt::Display for RoutingStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pinned, {} new ({} with a cookie that was refused), {} repinned",
            self.pinned, self.new, self.refused, self.repinned
        )
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; 4]);

impl Counts {
    pub(super) fn pinned(&self) {
        self.add(0);
    }

    pub(super) fn placed(&self, is_refused: bool) {
        self.add(1);
        if is_refused {
            self.add(2);
        }
    }

    pub(super) fn repinned(&self) {
        self.add(3);
    }

    pub(super) fn get(&self) -> RoutingStats {
        let [pinned, new, refused, repinned] =
            [0, 1, 2, 3].map(|place: usize| self.0[place].load(Ordering::Relaxed));
        RoutingStats {
            pinned,
            new,
            refused,
            repinned,
        }
    }

    fn add(&self, place: usize) {
        self.0[place].fetch_add(1, Ordering::Relaxed);
    }
}
