//! Locks and atomics behind one path, so that a model checker can take their
//! place: under `--cfg tenfold_shuttle` every lock, atomic and parked thread
//! below is shuttle's, and its scheduler explores the interleavings.

#[cfg(all(test, tenfold_shuttle))]
mod explore;
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each block uses the part of it that it needs"
)]
#[cfg(any(feature = "cache", feature = "singleflight"))]
pub(crate) mod flight;

#[cfg(all(test, tenfold_shuttle))]
pub(crate) use explore::explore;

#[cfg(not(tenfold_shuttle))]
#[allow(unused_imports, reason = "each block uses the part that it needs")]
pub(crate) use parking_lot::{Mutex, MutexGuard};

#[cfg(tenfold_shuttle)]
pub(crate) use checked::{Mutex, MutexGuard};

#[allow(unused_imports, reason = "each block uses the part that it needs")]
pub(crate) mod atomic {
    #[cfg(all(test, tenfold_shuttle))]
    pub(crate) use shuttle::sync::atomic::AtomicUsize;
    #[cfg(tenfold_shuttle)]
    pub(crate) use shuttle::sync::atomic::{
        AtomicI64, AtomicU16, AtomicU32, AtomicU64, Ordering, fence,
    };
    #[cfg(not(tenfold_shuttle))]
    pub(crate) use std::sync::atomic::{
        AtomicI64, AtomicU16, AtomicU32, AtomicU64, Ordering, fence,
    };
}

#[allow(unused_imports, reason = "each block uses the part that it needs")]
pub(crate) mod thread {
    #[cfg(all(feature = "cache", tenfold_shuttle))]
    pub(crate) use shuttle::thread::ThreadId;
    #[cfg(tenfold_shuttle)]
    pub(crate) use shuttle::thread::{Thread, current, park, park_timeout};
    #[cfg(tenfold_shuttle)]
    pub(crate) use shuttle::thread_local;
    #[cfg(all(feature = "cache", not(tenfold_shuttle)))]
    pub(crate) use std::thread::ThreadId;
    #[cfg(not(tenfold_shuttle))]
    pub(crate) use std::thread::{Thread, current, park, park_timeout};
    #[cfg(not(tenfold_shuttle))]
    pub(crate) use std::thread_local;
}

/// Shuttle's mutex with parking_lot's face (no poisoning).
#[cfg(tenfold_shuttle)]
mod checked {
    pub(crate) use shuttle::sync::MutexGuard;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn into_inner(self) -> T {
            self.0
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}
