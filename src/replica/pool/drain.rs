use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::pool::Shared;
use crate::replica::Client;
use crate::task::block_on;

/// The end of a pool: a future that is ready when nothing of it is lent and nothing being made.
///
/// Made by [`Pool::drain`](super::Pool::drain), which has closed the pool already; dropping it only means that nobody
/// waits.
#[must_use = "the pool is closed either way; await it to know when all have come back"]
pub struct PoolDrain<C: Client> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) number: u64,
}

impl<C: Client> PoolDrain<C> {
    /// Waits on this thread, which must not be the one that has the last connection.
    pub fn wait(self) {
        block_on(self);
    }
}

impl<C: Client> Future for PoolDrain<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.shared.core.is_over(self.number, context.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl<C: Client> Drop for PoolDrain<C> {
    fn drop(&mut self) {
        self.shared.core.forget_drainer(self.number);
    }
}

impl<C: Client> fmt::Debug for PoolDrain<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolDrain(..)")
    }
}
