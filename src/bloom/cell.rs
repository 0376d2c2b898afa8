//! Atomics and a lock, or the model checker's under `--cfg tenfold_shuttle`.

#[cfg(tenfold_shuttle)]
pub(super) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(tenfold_shuttle))]
pub(super) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
