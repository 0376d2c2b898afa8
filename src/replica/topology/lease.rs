use std::future::Future;

use crate::time::Instant;

/// The right to promote, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Larger than that of every grant before, to anybody: a fencing number.
    pub term: u64,
    /// Until when, by the clock of whoever calls `step`, counted from *before* it was asked for.
    pub until: Instant,
    /// When the old primary has certainly stopped taking writes, because it takes them only while somebody renews a
    /// lease for it, and that one has run out then. `None` if the lease says nothing about that, as an
    /// advisory lock does not: then only [`Promoter::fence`](crate::replica::Promoter::fence) can make it certain.
    pub old_primary_stops: Option<Instant>,
}

/// Makes sure that of all processes that watch a cluster one at most promotes: a row in another
/// database, a key in etcd.
pub trait Lease: Send + Sync + 'static {
    /// What goes wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Asks for the lease, or extends it.
    ///
    /// # Errors
    /// Somebody else has it, or whether that is so could not be found out.
    fn acquire(&self, now: Instant) -> Result<Grant, Self::Error>;

    /// Gives it back.
    ///
    /// # Errors
    /// It runs out by itself then.
    fn release(&self, term: u64) -> Result<(), Self::Error>;
}

/// [`Lease`] for clients that are futures.
pub trait AsyncLease: Send + Sync + 'static {
    /// What goes wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// See [`Lease::acquire`].
    fn acquire(&self, now: Instant) -> impl Future<Output = Result<Grant, Self::Error>> + Send;

    /// See [`Lease::release`].
    fn release(&self, term: u64) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
