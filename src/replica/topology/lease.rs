use std::future::Future;

use crate::time::Instant;

/// The right to promote, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Larger than that of every grant before, to anybody: a fencing number. That of an extension is the one of the grant that it
    /// extends; if it is larger, the failover begins anew, because somebody else may have had the lease in between.
    pub term: u64,
    /// Until when, by the clock of whoever calls `step`, counted from *before* it was asked for.
    pub until: Instant,
    /// What the lease does to the primary itself.
    pub old_primary: OldPrimary,
}

/// What is known of the primary that a lease ends the time of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OldPrimary {
    /// Nothing: it takes writes whoever has the lease, as beside an advisory lock. Only
    /// [`Promoter::fence`](crate::replica::Promoter::fence) makes certain that it does not, and only of the one that this
    /// process takes for the primary: if it has missed a failover, that is another one.
    Unknown,
    /// It takes writes only while somebody renews a lease for it, and nobody does any more.
    Stops {
        /// The server that it was renewed for last. If that is not the one that this process takes for the
        /// primary, or not known, it is waited for.
        name: Option<Box<str>>,
        /// When it has run out.
        at: Instant,
    },
}

/// Makes sure that of all processes that watch a cluster one at most promotes: a row in another
/// database, a key in etcd. Held for the time of a failover only.
pub trait Lease: Send + Sync + 'static {
    /// What goes wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Asks for the lease, or extends it: a failover does so at half of the lease's time, and ends when that is over.
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
