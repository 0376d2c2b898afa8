//! Locks and atomics behind one path, so that a model checker can take their
//! place: under `--cfg tenfold_shuttle` every lock, atomic and parked thread
//! below is shuttle's, and its scheduler explores the interleavings.

pub(crate) mod flight;

#[cfg(not(tenfold_shuttle))]
pub(crate) use parking_lot::{Mutex, MutexGuard};

#[cfg(tenfold_shuttle)]
pub(crate) use checked::{Mutex, MutexGuard};

pub(crate) mod atomic {
    #[cfg(all(test, tenfold_shuttle))]
    pub(crate) use shuttle::sync::atomic::AtomicUsize;
    #[cfg(tenfold_shuttle)]
    pub(crate) use shuttle::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
    #[cfg(not(tenfold_shuttle))]
    pub(crate) use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
}

pub(crate) mod thread {
    #[cfg(tenfold_shuttle)]
    pub(crate) use shuttle::thread::{Thread, current, park};
    #[cfg(tenfold_shuttle)]
    pub(crate) use shuttle::thread_local;
    #[cfg(not(tenfold_shuttle))]
    pub(crate) use std::thread::{Thread, current, park};
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
