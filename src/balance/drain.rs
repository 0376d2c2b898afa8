use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;
use crate::task::block_on;

/// A member on its way out: a future that is ready with the member when nobody uses it any more.
///
/// Made by [`Balancer::drain`](super::Balancer::drain), which has already seen to it that
/// the member is not picked again. A drain that is dropped only means that nobody waits: the
/// member is dropped by whoever used it last. A pick that is leaked is waited for without end.
#[must_use = "the member goes either way; await it to know when it is gone"]
pub struct Drain<M>(Arc<Handover<M>>);

/// Where the last to use a member leaves it for whoever waits.
pub(super) struct Handover<M>(Mutex<State<M>>);

struct State<M> {
    member: Option<M>,
    waker: Option<Waker>,
}

impl<M> Drain<M> {
    pub(super) fn new() -> (Self, Arc<Handover<M>>) {
        let handover = Arc::new(Handover(Mutex::new(State {
            member: None,
            waker: None,
        })));
        (Self(Arc::clone(&handover)), handover)
    }

    /// Waits on this thread until nobody uses the member, which must not be the thread that does.
    pub fn wait(self) -> M {
        block_on(self)
    }
}

impl<M> Handover<M> {
    pub(super) fn deliver(&self, member: M) {
        let waker = {
            let mut state = self.0.lock();
            state.member = Some(member);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<M> Future for Drain<M> {
    type Output = M;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<M> {
        let fresh = context.waker().clone();
        let mut state = self.0.0.lock();
        if let Some(member) = state.member.take() {
            drop(state);
            return Poll::Ready(member);
        }
        let old = state.waker.replace(fresh);
        drop(state);
        // A waker may run its owner's code when it is dropped.
        drop(old);
        Poll::Pending
    }
}

impl<M> fmt::Debug for Drain<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drain(..)")
    }
}
