//! Where members lie: the count of who uses one is also what keeps it alive.
//!
//! A slot's life is one word: how many use its member, whether more may come
//! (`OPEN`), and whether there is a member at all (`FULL`). To enter is one addition and to
//! leave one subtraction, and nothing else has to be counted: a table of what to pick from
//! may be as stale as it likes, since the word decides.
//!
//! ```text
//! enter   count += 1; was it OPEN? then the member is there until we leave.  else count -= 1
//! close   not OPEN any more
//! leave   count -= 1
//! take    FULL, not OPEN, count 0 -> BUSY; take the member out; not BUSY any more
//! fill    neither OPEN nor FULL nor BUSY -> BUSY; put a member in; OPEN and FULL, not BUSY
//! ```
//!
//! Whoever's step may have been the last before a `take` is told so, and takes. An `Arc` per member,
//! fetched from a shared snapshot, would need two to four locked instructions more per pick: as
//! much again as a whole pick costs here.
#![allow(
    unsafe_code,
    reason = "a member is lent by counting, without a lock: see above"
)]

use std::cell::UnsafeCell;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::MemberId;
use super::core::Core;
use super::estimate::Pulse;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A place for one member at a time, and what is known of it.
#[repr(align(64))]
pub(super) struct Slot<M> {
    life: AtomicU64,
    /// What picks compare; beside the word that they change anyway.
    pub(super) pulse: Pulse,
    number: u32,
    /// Which of the members that lay here this is; changes only while nobody can enter.
    generation: AtomicU32,
    /// Written and taken by whoever has set `BUSY`, and read only while the count holds it.
    member: UnsafeCell<Option<M>>,
}

// SAFETY: a slot lends `&M` to every thread (so `M: Sync`) and gives the `M` itself to the
// thread that takes it (so `M: Send`). `life` orders both: see `fill`, `Lease` and `take`.
unsafe impl<M: Send + Sync> Sync for Slot<M> {}

/// A use of a slot's member, which stays there until this is dropped.
pub(super) struct Lease<'a, M> {
    pub(super) slot: &'a Slot<M>,
    owner: &'a Arc<Core<M>>,
}

/// A use that is counted, and has to be made a lease: dropped as it is, it would never end.
#[must_use = "a use that is not made a lease never ends"]
pub(super) struct Entered<'a, M>(&'a Slot<M>);

/// A use that borrows nothing: it keeps all slots alive as well.
pub(super) struct OwnedLease<M> {
    number: u32,
    owner: Arc<Core<M>>,
}

impl<M> Slot<M> {
    fn new(number: u32) -> Self {
        Self {
            life: AtomicU64::new(0),
            pulse: Pulse::default(),
            number,
            generation: AtomicU32::new(0),
            member: UnsafeCell::new(None),
        }
    }

    /// Uses the member, unless the slot is closed.
    #[inline]
    pub(super) fn enter(&self, owner: &Core<M>) -> Option<Entered<'_, M>> {
        // Acquire pairs with the Release of `fill`.
        let before = self.life.fetch_add(1, Ordering::Acquire);
        // Half of what the count can hold, so that no number of threads carries it into the flags.
        if before & OPEN != 0 && before & COUNT < MOST {
            return Some(Entered(self));
        }
        self.leave(owner);
        None
    }

    #[inline]
    fn leave(&self, owner: &Core<M>) {
        // Release pairs with the Acquire of `take`.
        if self.life.fetch_sub(1, Ordering::Release) == FULL | 1 {
            owner.vacated(self);
        }
    }

    /// Lets nobody in any more. Answers whether nobody is in, so that the member must be taken.
    #[must_use = "whoever closes an unused slot takes the member out"]
    pub(super) fn close(&self) -> bool {
        self.life.fetch_and(!OPEN, Ordering::AcqRel) & !OPEN == FULL
    }

    /// Takes the member out of a closed slot that nobody uses. One caller at most gets it.
    pub(super) fn take(&self) -> Option<M> {
        self.life
            .compare_exchange(FULL, BUSY, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        // SAFETY: the slot was full, closed and unused. Whoever sets BUSY is alone until it is
        // cleared: `take` and `fill` refuse, and without OPEN there are no leases. Acquire
        // pairs with the Release of every `leave`, so all uses of the member happened before.
        let member = unsafe { (*self.member.get()).take() };
        self.life.fetch_and(!BUSY, Ordering::Release);
        member
    }

    /// Puts a member into an empty slot and opens it, or gives the member back.
    pub(super) fn fill(&self, member: M, generation: u32) -> Result<(), M> {
        // The count may change under our hands: strangers come and are sent away.
        let claimed = self
            .life
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |life| {
                (life & (OPEN | FULL | BUSY) == 0).then_some(life | BUSY)
            });
        if claimed.is_err() {
            return Err(member);
        }
        self.generation.store(generation, Ordering::Relaxed);
        // SAFETY: as in `take`: the slot was empty, and we have set BUSY.
        unsafe { *self.member.get() = Some(member) };
        // BUSY goes and the others come in one step: each of the three bits changes.
        self.life.fetch_xor(OPEN | FULL | BUSY, Ordering::Release);
        Ok(())
    }

    /// The member.
    ///
    /// # Safety
    ///
    /// While the answer lives, the caller is counted by an `enter` that let it in.
    #[inline]
    unsafe fn member(&self) -> &M {
        // SAFETY: the caller's: there is a member, and nobody writes to it.
        unsafe { (*self.member.get()).as_ref().unwrap_unchecked() }
    }

    /// How many use the member now.
    #[inline]
    pub(super) fn in_flight(&self) -> u32 {
        // Strangers that are about to be sent away count for a moment.
        (self.life.load(Ordering::Relaxed) & COUNT) as u32
    }

    /// Whether there is a member that may be used; by the time this is read it may have changed.
    pub(super) fn is_open(&self) -> bool {
        self.life.load(Ordering::Relaxed) & OPEN != 0
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn id(&self) -> MemberId {
        MemberId {
            slot: self.number,
            generation: self.generation.load(Ordering::Relaxed),
        }
    }
}

impl<'a, M> Entered<'a, M> {
    /// The owner is the one whose slot was entered.
    #[inline]
    pub(super) fn lease(self, owner: &'a Arc<Core<M>>) -> Lease<'a, M> {
        Lease {
            slot: self.0,
            owner,
        }
    }
}

impl<M> Deref for Lease<'_, M> {
    type Target = M;

    #[inline]
    fn deref(&self) -> &M {
        // SAFETY: a lease is made by `enter`, which saw OPEN and so everything before the Release of
        // `fill`: there is a member. While the lease is counted, `take` fails, and so nobody writes.
        unsafe { self.slot.member() }
    }
}

impl<M> Drop for Lease<'_, M> {
    #[inline]
    fn drop(&mut self) {
        self.slot.leave(self.owner);
    }
}

impl<'a, M> Lease<'a, M> {
    #[inline]
    pub(super) fn owner(&self) -> &'a Arc<Core<M>> {
        self.owner
    }

    /// The same use, borrowing nothing.
    #[inline]
    pub(super) fn into_owned(self) -> OwnedLease<M> {
        let number = self.slot.number;
        let owner = Arc::clone(self.owner);
        // It stays counted, and whom it was handed to leaves in its place.
        std::mem::forget(self);
        OwnedLease { number, owner }
    }

    /// One more use of the same member, which may have been closed meanwhile: it stays while we are here.
    pub(super) fn again(&self) -> OwnedLease<M> {
        self.slot.life.fetch_add(1, Ordering::Relaxed);
        let number = self.slot.number;
        let owner = Arc::clone(self.owner);
        OwnedLease { number, owner }
    }
}

impl<M> OwnedLease<M> {
    #[inline]
    pub(super) fn slot(&self) -> &Slot<M> {
        let slot = self.owner.slots.get(self.number);
        // SAFETY: the number is that of a slot of this owner, which never takes one back.
        unsafe { slot.unwrap_unchecked() }
    }

    #[inline]
    pub(super) fn owner(&self) -> &Arc<Core<M>> {
        &self.owner
    }
}

impl<M> Deref for OwnedLease<M> {
    type Target = M;

    #[inline]
    fn deref(&self) -> &M {
        // SAFETY: as for a lease: it took over one's count, or was counted while one was there.
        unsafe { self.slot().member() }
    }
}

impl<M> Drop for OwnedLease<M> {
    #[inline]
    fn drop(&mut self) {
        self.slot().leave(&self.owner);
    }
}

/// A use that keeps nothing alive but its member. Dropped as it is, it never ends.
#[must_use = "a use that is put aside and not resumed never ends"]
pub(super) struct ParkedLease {
    number: u32,
    /// The [`serial`] of whose slot it is.
    owner: NonZeroU64,
}

#[allow(dead_code, reason = "for blocks that lend what they have picked")]
impl<M> Lease<'_, M> {
    /// The same use, to be resumed.
    ///
    /// # Safety
    ///
    /// The lease is forgotten, and not dropped: it stays counted, and whoever resumes it leaves in its place.
    #[inline]
    pub(super) unsafe fn park(&self) -> ParkedLease {
        ParkedLease {
            number: self.slot.number,
            owner: self.owner.serial,
        }
    }
}

#[allow(dead_code, reason = "as above")]
impl<M> OwnedLease<M> {
    /// One more use, to be resumed.
    pub(super) fn park(&self) -> ParkedLease {
        // One more, since this one has an end of its own.
        self.slot().life.fetch_add(1, Ordering::Relaxed);
        ParkedLease {
            number: self.number,
            owner: self.owner.serial,
        }
    }
}

impl ParkedLease {
    /// The use that was put aside, if it was one of this owner's slots: the number alone may be that of another's slot,
    /// whose uses must not be ended in its place.
    #[inline]
    pub(super) fn resume<M>(self, owner: &Arc<Core<M>>) -> Option<Lease<'_, M>> {
        if self.owner != owner.serial {
            return None;
        }
        let slot = owner.slots.get(self.number)?;
        Some(Lease { slot, owner })
    }
}

/// A number that no other owner of slots has.
pub(super) fn serial() -> NonZeroU64 {
    static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let last = LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // After 580 years at one in a nanosecond it would wrap.
    NonZeroU64::MIN.saturating_add(last)
}

/// Slots that never move, made in blocks when they are first needed.
pub(super) struct Slots<M> {
    blocks: Box<[OnceLock<Block<M>>]>,
}

type Block<M> = Box<[Slot<M>; BLOCK]>;

impl<M> Slots<M> {
    pub(super) fn new(most: usize) -> Self {
        let blocks = most.div_ceil(BLOCK);
        Self {
            blocks: (0..blocks).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The slot, if its block was made.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&Slot<M>> {
        let block = self.blocks.get(number as usize / BLOCK)?.get()?;
        Some(&block[number as usize % BLOCK])
    }

    /// All slots whose blocks were made, which happens in their order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Slot<M>> + Clone {
        let made = self.blocks.iter().map_while(OnceLock::get);
        made.flat_map(|block| block.iter())
    }

    /// The slot; its block is made if it is the first of it.
    pub(super) fn make(&self, number: u32) -> Option<&Slot<M>> {
        let place = number as usize;
        let block = self.blocks.get(place / BLOCK)?.get_or_init(|| {
            let first = number - (place % BLOCK) as u32;
            Box::new(std::array::from_fn(|n| Slot::new(first + n as u32)))
        });
        Some(&block[place % BLOCK])
    }
}

const OPEN: u64 = 1 << 63;
const FULL: u64 = 1 << 62;
const BUSY: u64 = 1 << 61;
const COUNT: u64 = (1 << 32) - 1;
const MOST: u64 = 1 << 31;
/// Few enough that a balancer of ten members is small, enough that blocks are few.
const BLOCK: usize = 16;
