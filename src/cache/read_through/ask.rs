//! A call for a key that the cache could not answer: who leads, who waits, and
//! for how long. Threads and tasks take the same steps.

use std::hash::Hash;
use std::sync::Arc;

use super::cached::{Cached, StandIn};
use super::rules::Moment;
use super::shared::{Failure, Result as LoadResult, Shared};
use super::stats::Count;
use super::{Answer, Because, GetError, Origin};
use crate::cache::load_key::LoadKey;
use crate::sync::flight::{Begun, Bypassed, Caller, InLine, Lead, Refusal, Until, Waited, begin};
use crate::task::{Task, block_on};
use crate::time::Instant;

/// One call for one key.
pub(super) struct Ask<K, V> {
    pub(super) hash: u64,
    pub(super) key: K,
    at: Moment,
    /// The generation of the tags when the call came.
    generation: u64,
    /// What may be served if the load fails or is slow.
    stale: Option<Cached<V>>,
    waits_until: Instant,
    /// Whether the load that it waits for is its own.
    leads: bool,
    rounds: u8,
}

impl<K, V> Ask<K, V> {
    /// Until when it waits; [`Instant::NEVER`] if it has time.
    pub(super) fn waits_until(&self) -> Instant {
        self.waits_until
    }

    /// The same call, whose own load it is that goes on elsewhere.
    pub(super) fn leading(mut self) -> Self {
        self.leads = true;
        self
    }
}

/// How a call goes on.
pub(super) enum Step<K, V, E>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    Done(Result<Answer<V>, GetError<E>>),
    /// Run the loader, and land.
    Lead(Lead<Arc<Shared<K, V, E>>>),
    /// Run the loader beside the flight, whose leader is suspended below.
    Alone(Bypassed),
    /// Run the loader for this call alone.
    Unshared,
    /// Nobody else runs the task of this call's load: run it, then wait.
    Run(Task, InLine<Arc<Shared<K, V, E>>>),
    Wait(InLine<Arc<Shared<K, V, E>>>),
}

impl<K, V, E> Shared<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn ask(&self, hash: u64, key: K, at: Moment, stale: Option<Cached<V>>) -> Ask<K, V> {
        // Read after the moment: an entry that was good then may be thought
        // to be outdated, never the other way round.
        let generation = self.tags.generation();
        let stale = stale.filter(|stale| self.rules.may_stand_in(stale, at.now));
        let soft = self.rules.soft_timeout.filter(|_| stale.is_some());
        let until = |limit: Option<_>| limit.map_or(Instant::NEVER, |limit| at.now + limit);
        Ask {
            hash,
            key,
            at,
            generation,
            stale,
            waits_until: until(soft).min(until(self.rules.hard_timeout)),
            leads: false,
            rounds: 0,
        }
    }

    /// Blocks the thread until there is an answer.
    pub(super) fn fetch(self: &Arc<Self>, mut ask: Ask<K, V>) -> Result<Answer<V>, GetError<E>> {
        let step = self.begin(&mut ask, Caller::Thread);
        self.drive(ask, step)
    }

    pub(super) fn drive(
        self: &Arc<Self>,
        mut ask: Ask<K, V>,
        mut step: Step<K, V, E>,
    ) -> Result<Answer<V>, GetError<E>> {
        loop {
            step = match step {
                Step::Done(answer) => return answer,
                Step::Lead(lead) => {
                    let result = lead.call(|| block_on(self.load(ask.hash, &ask.key)));
                    return self.answer(&ask, Self::land(lead, result), Origin::Loaded);
                }
                Step::Alone(bypassed) => {
                    let result = bypassed.call(|| block_on(self.load(ask.hash, &ask.key)));
                    return self.answer(&ask, result, Origin::Loaded);
                }
                Step::Unshared => {
                    let result = block_on(self.load(ask.hash, &ask.key));
                    return self.answer(&ask, result, Origin::Loaded);
                }
                Step::Run(task, place) => {
                    task.run();
                    Step::Wait(place)
                }
                Step::Wait(mut place) => {
                    let waited = if ask.waits_until == Instant::NEVER {
                        place.wait()
                    } else {
                        place.wait_until(&self.until(&ask))
                    };
                    self.resolve(&mut ask, waited, Caller::Thread)
                }
            };
        }
    }

    /// Waits until there is an answer.
    pub(super) async fn fetch_async(
        self: &Arc<Self>,
        mut ask: Ask<K, V>,
    ) -> Result<Answer<V>, GetError<E>> {
        let step = self.begin(&mut ask, Caller::Task);
        self.drive_async(ask, step).await
    }

    pub(super) async fn drive_async(
        self: &Arc<Self>,
        mut ask: Ask<K, V>,
        mut step: Step<K, V, E>,
    ) -> Result<Answer<V>, GetError<E>> {
        loop {
            step = match step {
                Step::Done(answer) => return answer,
                Step::Lead(lead) => {
                    let loader = || self.load(ask.hash, &ask.key);
                    let result = lead.poll_through(loader, None).await;
                    return self.answer(&ask, Self::land(lead, result), Origin::Loaded);
                }
                Step::Alone(_) | Step::Unshared => {
                    let result = self.load(ask.hash, &ask.key).await;
                    return self.answer(&ask, result, Origin::Loaded);
                }
                Step::Run(task, place) => {
                    task.await;
                    Step::Wait(place)
                }
                Step::Wait(mut place) => {
                    let waited = if ask.waits_until == Instant::NEVER {
                        place.wait_async().await
                    } else {
                        let until = self.until(&ask);
                        place.wait_until_async(&until, &self.timer).await
                    };
                    self.resolve(&mut ask, waited, Caller::Task)
                }
            };
        }
    }

    fn until(&self, ask: &Ask<K, V>) -> Until<'_> {
        Until {
            clock: &self.core().clock,
            deadline: ask.waits_until,
            lease: None,
        }
    }

    /// Joins the flight of the key, or leads a new one.
    fn begin(self: &Arc<Self>, ask: &mut Ask<K, V>, caller: Caller) -> Step<K, V, E> {
        if ask.rounds == PATIENCE {
            return Step::Unshared;
        }
        ask.rounds += 1;
        let key = LoadKey::Own(ask.key.clone());
        match begin(Arc::clone(self), ask.hash, key, caller) {
            Ok(begun) => self.begun(ask, begun, caller),
            Err(refusal) => Step::Done(Err(refusal.into())),
        }
    }

    fn begun(
        self: &Arc<Self>,
        ask: &mut Ask<K, V>,
        begun: Begun<Arc<Self>>,
        caller: Caller,
    ) -> Step<K, V, E> {
        match begun {
            Begun::Found(cached) => Step::Done(self.answer(ask, Ok(cached), Origin::Fresh)),
            Begun::Lead(lead) => self.led(ask, lead, caller),
            Begun::Follow(place, _key) => Step::Wait(place),
            Begun::Alone(bypassed, _key) => Step::Alone(bypassed),
        }
    }

    /// A leader runs its loader itself, unless it may have to leave before the
    /// loader is done.
    fn led(
        self: &Arc<Self>,
        ask: &mut Ask<K, V>,
        lead: Lead<Arc<Self>>,
        caller: Caller,
    ) -> Step<K, V, E> {
        if ask.waits_until == Instant::NEVER {
            return Step::Lead(lead);
        }
        let Some(place) = lead.follow(caller) else {
            return Step::Lead(lead);
        };
        ask.leads = true;
        let task = Task::new(Arc::clone(self).lead(lead, ask.hash, ask.key.clone()));
        self.hand_over(task, place)
    }

    /// Gives a load to the executor; if that is full, to the caller.
    pub(super) fn hand_over(&self, task: Task, place: InLine<Arc<Self>>) -> Step<K, V, E> {
        match self.spawn(task) {
            Ok(()) => Step::Wait(place),
            Err(task) => Step::Run(task, place),
        }
    }

    /// Gives a task to the executor, if there is one with room.
    pub(super) fn spawn(&self, task: Task) -> Result<(), Task> {
        let Some(executor) = &self.executor else {
            return Err(task);
        };
        let spawned = executor.spawn(task);
        if spawned.is_err() {
            self.tally.count(Count::ExecutorFull);
        }
        spawned
    }

    fn resolve(
        self: &Arc<Self>,
        ask: &mut Ask<K, V>,
        waited: Waited<Arc<Self>>,
        caller: Caller,
    ) -> Step<K, V, E> {
        match waited {
            Waited::Lead(lead) => self.led(ask, lead, caller),
            Waited::Lost => self.begin(ask, caller),
            Waited::LeaderDropped => {
                Step::Done(self.stale_or(ask, Because::Failed, || GetError::Abandoned))
            }
            Waited::TimedOut => Step::Done(self.timed_out(ask)),
            Waited::Landed(outcome, _) => match Self::received(outcome) {
                Some(Ok(cached)) if !ask.leads && self.is_outdated(ask, &cached) => {
                    self.begin(ask, caller)
                }
                Some(result) => {
                    let origin = if ask.leads {
                        Origin::Loaded
                    } else {
                        Origin::Joined
                    };
                    Step::Done(self.answer(ask, result, origin))
                }
                None => self.begin(ask, caller),
            },
        }
    }

    /// Whether what another caller's load brought was declared stale or
    /// invalid between the begin of that load and this call.
    fn is_outdated(&self, ask: &Ask<K, V>, cached: &Cached<V>) -> bool {
        let by_tag = cached
            .extra
            .as_ref()
            .is_some_and(|extra| extra.born < ask.generation && !cached.has_valid_tags(&self.tags));
        by_tag || cached.epoch < ask.at.expired
    }

    /// The answer of a load; a stale value in place of an error, if there is
    /// one that is not too old.
    pub(super) fn answer(
        &self,
        ask: &Ask<K, V>,
        result: LoadResult<V, E>,
        origin: Origin,
    ) -> Result<Answer<V>, GetError<E>> {
        match result {
            Ok(cached) => {
                let age = cached.age(self.core().clock.now());
                let origin = self.count_stand_in(cached.stand_in).unwrap_or(origin);
                Ok(Answer {
                    value: cached.value,
                    origin,
                    age,
                })
            }
            Err(failure) => self.stale_or(ask, Because::Failed, || GetError::from(&*failure)),
        }
    }

    /// Counts a stand-in, and says what that makes of an answer.
    pub(super) fn count_stand_in(&self, stand_in: StandIn) -> Option<Origin> {
        let (count, because) = match stand_in {
            StandIn::No => return None,
            StandIn::ForFailed => (Count::StaleForFailed, Because::Failed),
            StandIn::ForSlow => (Count::StaleForSlow, Because::Slow),
        };
        self.tally.count(count);
        Some(Origin::Stale(because))
    }

    fn timed_out(&self, ask: &Ask<K, V>) -> Result<Answer<V>, GetError<E>> {
        let now = self.core().clock.now();
        if let Some(stale) = &ask.stale {
            // Who comes next need not wait as long.
            let until = self.rules.stands_in_until(stale, now);
            self.core()
                .let_stand_in(ask.hash, &ask.key, stale, until, ask.generation);
        }
        self.stale_or(ask, Because::Slow, || {
            self.tally.count(Count::Timeouts);
            GetError::TimedOut {
                waited: now.saturating_since(ask.at.now),
            }
        })
    }

    fn stale_or(
        &self,
        ask: &Ask<K, V>,
        because: Because,
        error: impl FnOnce() -> GetError<E>,
    ) -> Result<Answer<V>, GetError<E>> {
        let now = self.core().clock.now();
        let stale = ask.stale.as_ref();
        let Some(stale) = stale.filter(|stale| self.rules.may_stand_in(stale, now)) else {
            return Err(error());
        };
        self.count_stand_in(match because {
            Because::Failed => StandIn::ForFailed,
            Because::Slow => StandIn::ForSlow,
        });
        Ok(Answer {
            value: stale.value.clone(),
            origin: Origin::Stale(because),
            age: stale.age(now),
        })
    }
}

impl<E> From<&Failure<E>> for GetError<E> {
    fn from(failure: &Failure<E>) -> Self {
        match failure {
            Failure::Source(error) => Self::Failed(Arc::clone(error)),
            Failure::NothingToRenew => Self::NothingToRenew,
        }
    }
}

impl<E> From<Refusal> for GetError<E> {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Reentrant => Self::Reentrant,
            Refusal::Cycle | Refusal::Full => Self::Cycle,
        }
    }
}

/// How often a call joins loads that say nothing to it before it loads for
/// itself, its value unstored.
const PATIENCE: u8 = 3;
