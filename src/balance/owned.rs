use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::MemberId;
use super::pick::Report;
use super::slot::{Lease, OwnedLease};

/// A [`Pick`](super::Pick) that borrows nothing: for tasks that are spawned, and for structs.
///
/// Made by [`Balancer::pick_owned`](super::Balancer::pick_owned), or of any pick by
/// [`Pick::into_owned`](super::Pick::into_owned). It keeps the balancer alive, which takes two more locked instructions, on
/// a line that all threads share; where a pick can borrow, let it.
///
/// ```
/// use tenfold::balance::{Balancer, OwnedPick};
///
/// struct Connection(OwnedPick<&'static str>);
///
/// let balancer = Balancer::new();
/// balancer.add("10.0.0.1")?;
/// let connection = Connection(balancer.pick_owned()?);
/// let thread = std::thread::spawn(move || {
///     assert_eq!(*connection.0, "10.0.0.1");
///     connection.0.succeed();
/// });
/// assert!(thread.join().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a pick that is dropped at once counts as a request that was given up"]
pub struct OwnedPick<M> {
    pub(super) lease: OwnedLease<M>,
    pub(super) report: Report,
}

impl<M> OwnedPick<M> {
    #[inline]
    pub(super) fn new((lease, began): (Lease<'_, M>, u64)) -> Self {
        Self::resume(lease.into_owned(), Report::since(began))
    }

    /// Goes on where another pick ends.
    #[inline]
    pub(super) fn resume(lease: OwnedLease<M>, report: Report) -> Self {
        Self { lease, report }
    }

    /// Whom this is a use of.
    pub fn id(&self) -> MemberId {
        self.lease.slot().id()
    }

    /// The request was answered.
    #[inline]
    pub fn succeed(mut self) {
        self.report.succeed(self.lease.owner(), self.lease.slot());
    }

    /// The request was answered, and took so long; see [`Pick::succeed_after`](super::Pick::succeed_after).
    pub fn succeed_after(mut self, took: Duration) {
        let (owner, slot) = (self.lease.owner(), self.lease.slot());
        self.report.succeed_after(owner, slot, took);
    }

    /// The request failed, and the member is to blame; see [`Pick::fail`](super::Pick::fail).
    pub fn fail(mut self) {
        self.report.fail(self.lease.owner(), self.lease.slot());
    }

    /// [`succeed`](Self::succeed) or [`fail`](Self::fail), as the result says.
    pub fn note<T, E>(self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.succeed(),
            Err(_) => self.fail(),
        }
    }
}

impl<M> Deref for OwnedPick<M> {
    type Target = M;

    #[inline]
    fn deref(&self) -> &M {
        &self.lease
    }
}

impl<M> Drop for OwnedPick<M> {
    #[inline]
    fn drop(&mut self) {
        self.report.end(self.lease.owner(), self.lease.slot());
        // The lease, dropped after this, gives the member back.
    }
}

impl<M: fmt::Debug> fmt::Debug for OwnedPick<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPick")
            .field("id", &self.id())
            .field("member", &**self)
            .finish_non_exhaustive()
    }
}
