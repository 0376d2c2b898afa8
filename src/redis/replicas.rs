//! Changes that are not answered before replicas have them.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use crate::session::{Made, NotReplicated, Unavailable};
use crate::sync::atomic::{AtomicU64, Ordering};

/// How many replicas have to have a change, and how long they have for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replicas {
    pub(super) wanted: u32,
    pub(super) limit: Duration,
}

/// A connection for changes, beside the one for loads: whoever waits for replicas holds it up. It is never made
/// again under the same name, because `WAIT` is about what the same connection has done.
pub(super) struct Line {
    pub(super) connection: MultiplexedConnection,
    pub(super) turns: Turns,
}

/// Who waits for replicas, and who shares another's answer.
#[derive(Default)]
pub(super) struct Turns {
    /// Changes that were made and are to be waited for.
    made: AtomicU64,
    /// The last answer. Held while one is waited for, so that all who come meanwhile share the next.
    waited: tokio::sync::Mutex<Waited>,
}

#[derive(Clone, Copy, Default)]
struct Waited {
    /// How many of `made` were made when it was asked for.
    covers: u64,
    acknowledged: u32,
}

impl Turns {
    /// How many replicas have what was changed before, by `wait`, which asks the server. Two such calls at most are waited
    /// for, however many changes come at once.
    pub(super) async fn acknowledged<E>(
        &self,
        wait: impl Future<Output = Result<u32, E>>,
    ) -> Result<u32, E> {
        let own = self.made.fetch_add(1, Ordering::AcqRel) + 1;
        let mut waited = self.waited.lock().await;
        if waited.covers < own {
            let covers = self.made.load(Ordering::Acquire);
            let acknowledged = wait.await?;
            *waited = Waited {
                covers,
                acknowledged,
            };
        }
        Ok(waited.acknowledged)
    }
}

impl Replicas {
    /// Whether that is enough.
    pub(super) fn judge(
        self,
        made: Made,
        acknowledged: Result<u32, Unavailable>,
    ) -> Result<(), Unavailable> {
        match acknowledged {
            Ok(acknowledged) if acknowledged >= self.wanted => Ok(()),
            Ok(acknowledged) => Err(NotReplicated::new(made, self.wanted, acknowledged).into()),
            Err(why) => Err(NotReplicated::new(made, self.wanted, 0).because(why).into()),
        }
    }
}

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Goes on as far as it can.
    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn all_who_come_while_one_waits_share_the_next_answer() {
        let (turns, asked, is_open) = (Turns::default(), Cell::new(0), Cell::new(false));
        let wait = || async {
            asked.set(asked.get() + 1);
            std::future::poll_fn(|_| {
                if is_open.get() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            Ok::<u32, Unavailable>(asked.get())
        };
        let mut first = pin!(turns.acknowledged(wait()));
        assert!(poll(first.as_mut()).is_pending());
        let mut later: Vec<_> = (0..5)
            .map(|_| Box::pin(turns.acknowledged(wait())))
            .collect();
        for one in &mut later {
            assert!(poll(one.as_mut()).is_pending());
        }
        is_open.set(true);
        // What was asked for before they came says nothing about them.
        assert_eq!(poll(first), Poll::Ready(Ok(1)));
        for one in &mut later {
            assert_eq!(poll(one.as_mut()), Poll::Ready(Ok(2)));
        }
        assert_eq!(asked.get(), 2);
    }

    #[test]
    fn who_is_dropped_while_waiting_leaves_the_turn_to_the_next() {
        let turns = Turns::default();
        let never = std::future::pending::<Result<u32, Unavailable>>();
        let mut dropped = Box::pin(turns.acknowledged(never));
        assert!(poll(dropped.as_mut()).is_pending());
        let mut next = pin!(turns.acknowledged(async { Ok::<u32, Unavailable>(3) }));
        assert!(poll(next.as_mut()).is_pending());
        drop(dropped);
        assert_eq!(poll(next), Poll::Ready(Ok(3)));
        let failed = Unavailable::Malformed { expected: "one" };
        let mut failing = pin!(turns.acknowledged(async { Err(failed.clone()) }));
        assert_eq!(poll(failing.as_mut()), Poll::Ready(Err(failed.clone())));
    }
}
