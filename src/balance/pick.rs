use std::fmt;
use std::ops::Deref;

use super::MemberId;
use super::slot::Lease;

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
    lease: Lease<'a, M>,
    began: u64,
    told: bool,
    sticky: bool,
}

impl<'a, M> Pick<'a, M> {
    #[inline]
    pub(super) fn new((lease, began): (Lease<'a, M>, u64)) -> Self {
        Self {
            lease,
            began,
            told: false,
            sticky: false,
        }
    }

    pub(super) fn sticky((lease, began): (Lease<'a, M>, u64)) -> Self {
        Self {
            lease,
            began,
            told: false,
            sticky: true,
        }
    }

    /// A use that tells nothing.
    pub(super) fn silent(lease: Lease<'a, M>) -> Self {
        Self {
            lease,
            began: 0,
            told: true,
            sticky: false,
        }
    }

    /// Whom this is a use of.
    pub fn id(&self) -> MemberId {
        self.lease.slot.id()
    }

    /// The request was answered.
    #[inline]
    pub fn succeed(mut self) {
        if !self.told {
            self.told = true;
            self.lease.owner().succeeded(self.lease.slot, self.began);
        }
    }

    /// The request failed, and the member is to blame: an error of the connection, a 5xx, a
    /// time-out. What the caller did wrong (a 4xx) is a success.
    pub fn fail(mut self) {
        if !self.told {
            self.told = true;
            self.lease.owner().failed(self.lease.slot, self.began);
        }
    }

    /// [`succeed`](Self::succeed) or [`fail`](Self::fail), as the result says.
    #[inline]
    pub fn note<T, E>(self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.succeed(),
            Err(_) => self.fail(),
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
        if !self.told {
            self.lease.owner().abandoned(self.lease.slot, self.began);
        }
        if self.sticky {
            self.lease.owner().sticky.left();
        }
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
