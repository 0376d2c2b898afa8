//! An allocator that counts the bytes it has given out, and how often, when
//! asked to.

#![allow(
    unsafe_code,
    reason = "implementing GlobalAlloc is unsafe; it only counts and forwards"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

/// Forwards to the system's allocator. Counting is off until [`start`], so
/// that the measurements of time pay one predictable branch for it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Counts from now on.
pub fn start() {
    COUNTS.store(true, Ordering::SeqCst);
}

/// Stops counting, so that what is timed next does not pay for it.
pub fn stop() {
    COUNTS.store(false, Ordering::SeqCst);
}

/// How often memory was asked for, or asked to grow, while counting was on.
pub fn allocations() -> usize {
    CALLS.load(Ordering::SeqCst)
}

/// The bytes allocated and not freed since [`start`]: what the program asked
/// for, without the allocator's own overhead. Negative if more was freed that
/// was allocated before.
pub fn live_bytes() -> isize {
    LIVE.load(Ordering::SeqCst)
}

fn count(bytes: isize) {
    if COUNTS.load(Ordering::Relaxed) {
        LIVE.fetch_add(bytes, Ordering::Relaxed);
        // Shrinking and freeing are not counted.
        CALLS.fetch_add(usize::from(bytes > 0), Ordering::Relaxed);
    }
}

// SAFETY: every call goes to `System` with the caller's own arguments and its
// answer is returned unchanged; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A layout's size is at most isize::MAX.
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`, which is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is ours.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: `pointer` came from `System` through `alloc` with `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: `pointer` came from `System` through `alloc` with `layout`,
        // and the caller keeps the contract for `size`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
