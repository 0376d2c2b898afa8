//! Reads that are asked twice: a second time, of another server, where the first takes its time.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::core::Core;
use super::lending;
use super::op::Attempts;
use super::{Lent, ReplicaError};
use crate::replica::pool::Deadline;
use crate::replica::ways::{Awaiting, within};
use crate::replica::{Async, AsyncConnector, Fault, ReadPreference};

/// What an attempt has come to, and with which connection.
type Answered<C, T> = (Lent<Async<C>>, Result<T, <C as AsyncConnector>::Error>);

/// What the operation has come to, if there is to be no other attempt.
type Outcome<C, T> = Option<Result<T, ReplicaError<<C as AsyncConnector>::Error>>>;

/// A read, and when and where it may be asked for a second time.
pub(super) struct Hedge<'a, C: AsyncConnector> {
    pub(super) core: &'a Arc<Core<Async<C>>>,
    pub(super) preference: &'a ReadPreference,
    pub(super) deadline: Deadline,
    pub(super) after: Duration,
}

impl<C: AsyncConnector> Hedge<'_, C> {
    /// Makes one attempt, or two at the same time: what the first of them answers counts.
    pub(super) async fn attempt<T>(
        &self,
        attempts: &mut Attempts<'_, Async<C>>,
        lent: Lent<Async<C>>,
        work: &impl AsyncFn(&mut C::Connection) -> Result<T, C::Error>,
    ) -> Outcome<C, T> {
        let avoid = attempts.tried.with(lent.node());
        let mut first = pin!(ask(lent, work));
        let until = self.core.now() + self.after;
        if let Some((lent, answer)) = within(first.as_mut(), until, &self.core.times).await {
            return attempts.over(lent, answer);
        }
        // A second question to the same server would only add to what it has to do.
        if !lending::is_another(self.core, self.preference, avoid) || !self.core.budget.take() {
            let (lent, answer) = first.await;
            return attempts.over(lent, answer);
        }
        let second = async {
            let (deadline, preference) = (self.deadline, self.preference);
            let lent = lending::read(self.core, Awaiting, preference, deadline, avoid, None).await;
            Some(ask(lent.ok()?, work).await)
        };
        race(attempts, first, pin!(second)).await
    }
}

/// Waits for whoever answers first. One that fails leaves the matter to the other.
async fn race<C: AsyncConnector, T>(
    attempts: &mut Attempts<'_, Async<C>>,
    mut first: Pin<&mut impl Future<Output = Answered<C, T>>>,
    mut second: Pin<&mut impl Future<Output = Option<Answered<C, T>>>>,
) -> Outcome<C, T> {
    let earlier = poll_fn(|context| {
        if let Poll::Ready(answered) = first.as_mut().poll(context) {
            return Poll::Ready(Earlier::First(answered));
        }
        second.as_mut().poll(context).map(Earlier::Second)
    });
    match earlier.await {
        Earlier::First((lent, Err(error))) => {
            let fault = attempts.failed(lent, &error);
            if fault == Fault::Query {
                return attempts.again(fault, error);
            }
            match second.await {
                Some((lent, answer)) => attempts.over(lent, answer),
                None => attempts.again(fault, error),
            }
        }
        Earlier::Second(Some((lent, Err(error)))) => {
            let fault = attempts.failed(lent, &error);
            if fault == Fault::Query {
                return attempts.again(fault, error);
            }
            let (lent, answer) = first.await;
            attempts.over(lent, answer)
        }
        // There was no connection for it.
        Earlier::Second(None) => {
            let (lent, answer) = first.await;
            attempts.over(lent, answer)
        }
        Earlier::First((lent, answer)) | Earlier::Second(Some((lent, answer))) => {
            attempts.over(lent, answer)
        }
    }
}

enum Earlier<C: AsyncConnector, T> {
    First(Answered<C, T>),
    Second(Option<Answered<C, T>>),
}

/// An answer that nobody waits for any more leaves its connection in the middle of it.
async fn ask<C: AsyncConnector, T>(
    mut lent: Lent<Async<C>>,
    work: &impl AsyncFn(&mut C::Connection) -> Result<T, C::Error>,
) -> Answered<C, T> {
    lent.begin();
    let answer = work(&mut lent).await;
    lent.end();
    (lent, answer)
}
