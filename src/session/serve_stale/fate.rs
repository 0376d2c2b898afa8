//! What became of a call, told from its error.

use crate::session::{CreateError, CycleError, RevokeError, SaveError, Unavailable};

/// An error of a store, which may be that it could not be asked.
pub(super) trait Failure: From<Unavailable> {
    fn unavailable(&self) -> Option<&Unavailable>;

    /// Whether the store gave no answer at all: it is down, or as good as.
    fn is_silence(&self) -> bool {
        self.unavailable().is_some_and(|why| {
            matches!(
                why,
                Unavailable::Unreachable(_)
                    | Unavailable::TimedOut { .. }
                    | Unavailable::Suspended { .. }
            )
        })
    }
}

/// Whether it is known what a change did, or that it did nothing.
pub(super) fn is_known<T, E: Failure>(result: &Result<T, E>) -> bool {
    let unavailable = result.as_ref().err().and_then(Failure::unavailable);
    unavailable.is_none_or(|why| !why.may_have_happened())
}

/// Whether a load that failed so may be answered from a copy: the store will say later how things are. What time does not
/// heal had better be noticed.
pub(super) fn may_be_stale(why: &Unavailable) -> bool {
    !matches!(
        why,
        Unavailable::Malformed { .. } | Unavailable::Misdirected { .. }
    )
}

impl Failure for Unavailable {
    fn unavailable(&self) -> Option<&Unavailable> {
        Some(self)
    }
}

macro_rules! failures {
    ($($error:ident)+) => {$(
        impl Failure for $error {
            fn unavailable(&self) -> Option<&Unavailable> {
                match self {
                    Self::Unavailable(why) => Some(why),
                    _ => None,
                }
            }
        }
    )+};
}

failures!(CreateError CycleError RevokeError SaveError);
