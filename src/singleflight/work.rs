//! The calls: lead, or follow who leads.

use std::convert::{Infallible, identity};
use std::future::poll_fn;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;

use super::attempt::{Answer, Attempt};
use super::core::{Begins, Core, End};
use super::{FlightError, Group, Outcome, Role};
use crate::sync::flight::{self, Begun, Caller, InLine, Lead, Refusal, ThreadNumber, Waited};

impl<K: Hash + Eq, V: Clone> Group<K, V> {
    /// Returns the value of a key: runs `work` for it, or waits for the caller
    /// that does so already.
    ///
    /// If that caller is lost, exactly one of those who wait runs its own work
    /// and the others go on waiting, unless the group was built to do otherwise.
    /// Threads and tasks that ask for one key wait for the same work.
    ///
    /// # Errors
    /// Those of [`try_work`](Self::try_work), except `Failed`.
    ///
    /// ```
    /// use tenfold::singleflight::Group;
    ///
    /// let group: Group<String, usize> = Group::new();
    /// assert_eq!(group.work("seven".to_owned(), || 7)?.value, 7);
    /// # Ok::<(), tenfold::singleflight::FlightError<std::convert::Infallible>>(())
    /// ```
    pub fn work(
        &self,
        key: K,
        work: impl FnOnce() -> V,
    ) -> Result<Outcome<V>, FlightError<Infallible>> {
        self.try_work(key, || Ok(work()))
    }

    /// As [`work`](Self::work), with work that may fail.
    ///
    /// # Errors
    /// [`Failed`](FlightError::Failed) carries the work's error, shared by all
    /// who waited for it. [`Reentrant`](FlightError::Reentrant) and
    /// [`Cycle`](FlightError::Cycle) if the work asks, through itself or others,
    /// for its own key. [`LeaderFailed`](FlightError::LeaderFailed),
    /// [`LeaderDropped`](FlightError::LeaderDropped),
    /// [`TimedOut`](FlightError::TimedOut) and
    /// [`TooManyWaiters`](FlightError::TooManyWaiters) as the group was built.
    ///
    /// ```
    /// use tenfold::singleflight::{FlightError, Group};
    ///
    /// let group: Group<&str, u16> = Group::new();
    /// let failed = group.try_work("port", || "eighty".parse());
    /// assert!(matches!(failed, Err(FlightError::Failed(_))));
    /// // Nothing is kept of a failure: the next caller works again.
    /// assert_eq!(group.try_work("port", || "80".parse()).unwrap().value, 80);
    /// ```
    #[inline]
    pub fn try_work<E: Send + Sync + 'static>(
        &self,
        key: K,
        work: impl FnOnce() -> Result<V, E>,
    ) -> Result<Outcome<V>, FlightError<E>> {
        let core = &*self.core;
        let hash = core.hash(&key);
        match core.begin(hash, key, Caller::Thread).guard(core, hash)? {
            Begins::Begun(Begun::Lead(lead)) => Attempt::new(lead, Role::Leader).run(work),
            begins => core.wait_or_work(begins, hash, work),
        }
    }

    /// The twin of [`work`](Self::work) for tasks. Needs no runtime; dropping
    /// the future takes this caller out of the flight and nobody else.
    ///
    /// # Errors
    /// As [`work`](Self::work).
    pub fn work_async<F: Future<Output = V>>(
        &self,
        key: K,
        work: impl FnOnce() -> F,
    ) -> impl Future<Output = Result<Outcome<V>, FlightError<Infallible>>> {
        self.call_async(key, work, Ok)
    }

    /// The twin of [`try_work`](Self::try_work) for tasks.
    ///
    /// # Errors
    /// As [`try_work`](Self::try_work).
    ///
    /// ```
    /// # tenfold::task::block_on(async {
    /// use tenfold::singleflight::Group;
    ///
    /// let group: Group<&str, u16> = Group::new();
    /// let port = group.try_work_async("port", || async { "80".parse() }).await;
    /// assert_eq!(port.unwrap().value, 80);
    /// # });
    /// ```
    pub fn try_work_async<E, F>(
        &self,
        key: K,
        work: impl FnOnce() -> F,
    ) -> impl Future<Output = Result<Outcome<V>, FlightError<E>>>
    where
        E: Send + Sync + 'static,
        F: Future<Output = Result<V, E>>,
    {
        self.call_async(key, work, identity)
    }

    /// Both of them, in one future: every future inside another is one more copy
    /// of what it was given, and a herd keeps thousands of them.
    async fn call_async<E: Send + Sync + 'static, F: Future>(
        &self,
        key: K,
        work: impl FnOnce() -> F,
        result: impl FnOnce(F::Output) -> Result<V, E>,
    ) -> Answer<V, E> {
        let core = &*self.core;
        let hash = core.hash(&key);
        let mut patience = PATIENCE;
        let mut begins = core.begin(hash, key, Caller::Task).guard(core, hash)?;
        let attempt = loop {
            let (mut place, key) = match begins {
                Begins::Begun(Begun::Lead(lead)) => {
                    break Some((Attempt::new(lead, Role::Leader), ThreadNumber::here()));
                }
                Begins::Begun(Begun::Follow(place, key)) if patience > 0 => (place, key),
                Begins::Begun(_) => break None,
                Begins::Kept(outcome) => match read(outcome, 2) {
                    Some(answer) => return answer,
                    None => break None,
                },
            };
            let waited = core.stand_async(&mut place).await;
            match core.turn(hash, waited) {
                Some(Turn::Answer(answer)) => return answer,
                Some(Turn::Lead(lead, role)) => break Some((Attempt::new(lead, role), None)),
                None => {
                    patience -= 1;
                    begins = core.begin(hash, key, Caller::Task).guard(core, hash)?;
                }
            }
        };
        let Some((attempt, mut known)) = attempt else {
            return alone(result(work().await));
        };
        let worked = {
            // Declared around the future, so that it is dropped between them.
            let stage = attempt.lead().stage();
            match catch_unwind(AssertUnwindSafe(work)) {
                Ok(future) => {
                    let mut future = pin!(future);
                    let _again = stage.enter_on_drop();
                    let lead = attempt.lead();
                    poll_fn(|context| {
                        lead.poll_staged(&stage, &mut known, future.as_mut(), context)
                    })
                    .await
                }
                Err(panic) => Err(panic),
            }
        };
        attempt.finish(worked.map(result))
    }
}

impl<K: Hash + Eq, V: Clone> Core<K, V> {
    /// The rest of a call that does not lead from the start.
    #[cold]
    fn wait_or_work<'a, E: Send + Sync + 'static>(
        &'a self,
        mut begins: Begins<&'a Self>,
        hash: u64,
        work: impl FnOnce() -> Result<V, E>,
    ) -> Answer<V, E> {
        for _ in 0..PATIENCE {
            let (mut place, key) = match begins {
                Begins::Kept(outcome) => match read(outcome, 2) {
                    Some(answer) => return answer,
                    None => break,
                },
                Begins::Begun(Begun::Lead(lead)) => {
                    return Attempt::new(lead, Role::Leader).run(work);
                }
                Begins::Begun(Begun::Alone(bypassed, _)) => return alone(bypassed.call(work)),
                Begins::Begun(Begun::Follow(place, key)) => (place, key),
                Begins::Begun(Begun::Found(_)) => break,
            };
            match self.turn(hash, self.wait(&mut place)) {
                Some(Turn::Answer(answer)) => return answer,
                Some(Turn::Lead(lead, role)) => return Attempt::new(lead, role).run(work),
                None => begins = self.begin(hash, key, Caller::Thread).guard(self, hash)?,
            }
        }
        alone(work())
    }

    pub(super) fn wait<P>(&self, place: &mut InLine<P>) -> Waited<P>
    where
        P: std::ops::Deref<Target = Self> + Clone,
    {
        match self.until() {
            Some(until) => place.wait_until(&until),
            None => place.wait(),
        }
    }

    pub(super) async fn stand_async<P>(&self, place: &mut InLine<P>) -> Waited<P>
    where
        P: std::ops::Deref<Target = Self> + Clone,
    {
        match self.until() {
            Some(until) => place.wait_until_async(&until, self.settings.timer()).await,
            None => place.wait_async().await,
        }
    }

    /// What a caller does after it has waited; `None` if the outcome says
    /// nothing to it, so that it starts again.
    pub(super) fn turn<P, E>(&self, hash: u64, waited: Waited<P>) -> Option<Turn<P, V, E>>
    where
        P: std::ops::Deref<Target = Self>,
        E: Send + Sync + 'static,
    {
        Some(match waited {
            Waited::Landed(outcome, callers) => Turn::Answer(read(outcome, callers)?),
            Waited::Lead(lead) => {
                self.count(hash, |counts| counts.promoted += 1);
                if let Some(lease) = self.settings.lease {
                    lead.renew(self.settings.clock.now() + lease);
                }
                Turn::Lead(lead, Role::Promoted)
            }
            Waited::Lost => return None,
            Waited::LeaderDropped => Turn::Answer(Err(FlightError::LeaderDropped)),
            Waited::TimedOut => {
                self.count(hash, |counts| counts.timed_out += 1);
                Turn::Answer(Err(FlightError::TimedOut))
            }
        })
    }
}

/// What a caller that waited has to do.
pub(super) enum Turn<P, V, E>
where
    P: std::ops::Deref,
    P::Target: super::attempt::LosesLeaders,
{
    Answer(Answer<V, E>),
    Lead(Lead<P>, Role),
}

/// Reads another's outcome; `None` if its error is of a type of its own.
pub(super) fn read<V, E: Send + Sync + 'static>(
    outcome: flight::Outcome<V>,
    callers: usize,
) -> Option<Answer<V, E>> {
    let error = match outcome {
        flight::Outcome::Value(value) => {
            return Some(Ok(Outcome {
                value,
                role: Role::Follower,
                shared: callers > 1,
            }));
        }
        flight::Outcome::Failed(error) => error,
        flight::Outcome::Absent => return None,
    };
    let error = match error.downcast::<E>() {
        Ok(error) => return Some(Err(FlightError::Failed(error))),
        Err(other) => other,
    };
    Some(match error.downcast_ref::<End>()? {
        End::Dropped => Err(FlightError::LeaderDropped),
        End::Failed { attempts } => Err(FlightError::LeaderFailed {
            attempts: *attempts,
        }),
        // The hook has reported it already, where it was raised.
        End::Panicked(message) => resume_unwind(Box::new(message.clone())),
    })
}

fn alone<V, E>(result: Result<V, E>) -> Answer<V, E> {
    match result {
        Ok(value) => Ok(Outcome {
            value,
            role: Role::Leader,
            shared: false,
        }),
        Err(error) => Err(FlightError::Failed(Arc::new(error))),
    }
}

impl<E> From<Refusal> for FlightError<E> {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Reentrant => Self::Reentrant,
            Refusal::Cycle => Self::Cycle,
            Refusal::Full => Self::TooManyWaiters,
        }
    }
}

/// How often a caller stands in line for outcomes that say nothing to it, errors
/// of another type, before it works beside the flights.
const PATIENCE: usize = 3;
