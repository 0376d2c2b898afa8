use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::core::{Core, LATEST, UNTIMED};
use super::slot::{Lease, Slot};
use super::{MemberId, OwnedPick};

/// A member in use: send it the request, then say how that went.
///
/// While it is held it counts as one request in flight, and the member is not let go of. Dropped
/// without a word it is neither a success nor a failure (the caller was cancelled, or gave up):
/// the policy only learns that the request took at least so long.
///
/// ```
/// use tenfold::balance::Balancer;
///
/// let balancer = Balancer::new();
/// balancer.add(|n: u32| n.checked_add(1).ok_or("overflow"))?;
///
/// let server = balancer.pick()?;
/// let answer = server(41);
/// server.note(&answer);
/// assert_eq!(answer, Ok(42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a pick that is dropped at once counts as a request that was given up"]
pub struct Pick<'a, M> {
    pub(super) lease: Lease<'a, M>,
    pub(super) report: Report,
}

/// What is still to be said of a use: when it began, or [`UNTIMED`], and in the highest bits what else is known. One word, so
/// that a pick that is moved is three.
pub(super) struct Report(u64);

impl<'a, M> Pick<'a, M> {
    #[inline]
    pub(super) fn new((lease, began): (Lease<'a, M>, u64)) -> Self {
        let report = Report::since(began);
        Self { lease, report }
    }

    pub(super) fn sticky((lease, began): (Lease<'a, M>, u64)) -> Self {
        let report = Report(began | STICKY);
        Self { lease, report }
    }

    /// A use that tells nothing.
    pub(super) fn silent(lease: Lease<'a, M>) -> Self {
        let report = Report(TOLD);
        Self { lease, report }
    }

    /// Whom this is a use of.
    #[inline]
    pub fn id(&self) -> MemberId {
        self.lease.slot.id()
    }

    /// The request was answered.
    // What is left of it where it is inlined is three comparisons and a subtraction; a call would write all of the
    // pick to memory first, and the subtraction wait for that.
    #[allow(clippy::inline_always, reason = "see above")]
    #[inline(always)]
    pub fn succeed(mut self) {
        self.report.succeed(self.lease.owner(), self.lease.slot);
    }

    /// The request was answered, and took so long: for who knows better than the time for which the member is held. An
    /// answer that is streamed for a minute says nothing against the member if it began at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tenfold::balance::Balancer;
    ///
    /// let balancer = Balancer::new();
    /// balancer.add("10.0.0.1")?;
    /// let server = balancer.pick()?;
    /// let first_byte = Duration::from_millis(12);
    /// // … the answer is passed on, as slowly as the client reads …
    /// server.succeed_after(first_byte);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn succeed_after(mut self, took: Duration) {
        let (owner, slot) = (self.lease.owner(), self.lease.slot);
        self.report.succeed_after(owner, slot, took);
    }

    /// The request failed, and the member is to blame: an error of the connection, a 5xx, a
    /// time-out. What the caller did wrong (a 4xx) is a success.
    pub fn fail(mut self) {
        self.report.fail(self.lease.owner(), self.lease.slot);
    }

    /// [`succeed`](Self::succeed) or [`fail`](Self::fail), as the result says.
    #[inline]
    pub fn note<T, E>(self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.succeed(),
            Err(_) => self.fail(),
        }
    }

    /// The same use, borrowing nothing: of a pick by key, say, or among some. For picks by policy
    /// [`Balancer::pick_owned`](super::Balancer::pick_owned) is a little cheaper.
    ///
    /// ```
    /// use tenfold::balance::{Balancer, OwnedPick};
    ///
    /// let balancer = Balancer::new();
    /// balancer.add("10.0.0.1")?;
    /// let held: OwnedPick<&str> = balancer.pick_sticky("session:7")?.into_owned();
    /// assert_eq!(balancer.stats().in_flight, 1);
    /// held.succeed();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_owned(mut self) -> OwnedPick<M> {
        let report = self.report.take();
        OwnedPick::resume(self.lease.again(), report)
    }
}

impl Report {
    #[inline]
    pub(super) fn since(began: u64) -> Self {
        Self(began)
    }

    /// What is left to be said, by somebody else from now on.
    #[inline]
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self(TOLD))
    }

    #[inline]
    fn began(&self) -> u64 {
        self.0 & LATEST
    }

    /// Whether nothing was said before.
    #[inline]
    fn tell(&mut self) -> bool {
        let first = self.0 & TOLD == 0;
        self.0 |= TOLD;
        first
    }

    #[inline]
    pub(super) fn succeed<M>(&mut self, owner: &Core<M>, slot: &Slot<M>) {
        // A use that was not timed, of a member that is well, needs no word more.
        let plain = self.began() == UNTIMED && !slot.pulse.is_troubled();
        if self.tell() && !plain {
            owner.succeeded(slot, self.began());
        }
    }

    pub(super) fn succeed_after<M>(&mut self, owner: &Core<M>, slot: &Slot<M>, took: Duration) {
        if self.tell() {
            owner.succeeded_after(slot, took);
        }
    }

    pub(super) fn fail<M>(&mut self, owner: &Core<M>, slot: &Slot<M>) {
        if self.tell() {
            owner.failed(slot, self.began());
        }
    }

    /// The use is over, told or not.
    #[inline]
    pub(super) fn end<M>(&self, owner: &Core<M>, slot: &Slot<M>) {
        if self.0 & (TOLD | STICKY) != TOLD {
            self.end_of_another_kind(owner, slot);
        }
    }

    #[inline(never)]
    fn end_of_another_kind<M>(&self, owner: &Core<M>, slot: &Slot<M>) {
        if self.0 & TOLD == 0 {
            owner.abandoned(slot, self.began());
        }
        if self.0 & STICKY != 0 {
            owner.sticky.left();
        }
    }
}

impl<M> Deref for Pick<'_, M> {
    type Target = M;

    #[inline]
    fn deref(&self) -> &M {
        &self.lease
    }
}

impl<M> Drop for Pick<'_, M> {
    #[inline]
    fn drop(&mut self) {
        self.report.end(self.lease.owner(), self.lease.slot);
        // The lease, dropped after this, gives the member back.
    }
}

impl<M: fmt::Debug> fmt::Debug for Pick<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pick")
            .field("id", &self.id())
            .field("member", &**self)
            .finish_non_exhaustive()
    }
}

/// The use was told of.
const TOLD: u64 = 1 << 63;
/// It was a pick by key.
const STICKY: u64 = 1 << 62;
const _: () = assert!(LATEST & (TOLD | STICKY) == 0);
