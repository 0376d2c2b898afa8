//! Work that is not lost with the caller that began it.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::attempt::Attempt;
use super::core::{Begins, Core};
use super::work::Turn;
use super::{FlightError, Group, LeaderDrop, Outcome, Role};
use crate::sync::flight::{Begun, Caller, InLine, Lead, Waited};
use crate::task::{Executor, Task};

impl<K, V> Group<K, V>
where
    K: Hash + Eq + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// As [`work`](Self::work), in a task of its own where the group was built
    /// with [`LeaderDrop::Detach`]: whoever began the work may time out, and it
    /// goes on for the others. A group without an executor works as `work` does.
    ///
    /// # Errors
    /// As [`work`](Self::work).
    pub fn work_detached(
        &self,
        key: K,
        work: impl FnOnce() -> V + Send + 'static,
    ) -> Result<Outcome<V>, FlightError<Infallible>> {
        self.try_work_detached(key, || Ok(work()))
    }

    /// As [`work_detached`](Self::work_detached), with work that may fail.
    ///
    /// # Errors
    /// As [`try_work`](Self::try_work).
    pub fn try_work_detached<E: Send + Sync + 'static>(
        &self,
        key: K,
        work: impl FnOnce() -> Result<V, E> + Send + 'static,
    ) -> Result<Outcome<V>, FlightError<E>> {
        let Some(executor) = self.executor() else {
            return self.try_work(key, work);
        };
        let mut work = Some(work);
        let mut begins = self.begin_detached(key, Caller::Thread)?;
        loop {
            let (lead, mut place, key) = match begins {
                Detaches::Follow(place, key) => (None, place, Some(key)),
                Detaches::Led(lead, place) => (Some(lead), place, None),
                Detaches::Answer(answer) => return answer,
                Detaches::Key(key) => match work {
                    Some(work) => return self.try_work(key, work),
                    None => return Err(FlightError::LeaderDropped),
                },
            };
            if let (Some(lead), Some(work)) = (lead, work.take()) {
                let task = in_task(lead, move || deferred(work));
                if let Err(task) = executor.spawn(task) {
                    task.run();
                }
            }
            let waited = self.core.wait(&mut place);
            begins = self.after(waited, key, Caller::Thread);
        }
    }

    /// The twin of [`work_detached`](Self::work_detached) for tasks.
    ///
    /// # Errors
    /// As [`work`](Self::work).
    pub async fn work_detached_async<F>(
        &self,
        key: K,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Outcome<V>, FlightError<Infallible>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        self.try_work_detached_async(key, || async { Ok(work().await) })
            .await
    }

    /// The twin of [`try_work_detached`](Self::try_work_detached) for tasks.
    ///
    /// # Errors
    /// As [`try_work`](Self::try_work).
    pub async fn try_work_detached_async<E, F>(
        &self,
        key: K,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Outcome<V>, FlightError<E>>
    where
        E: Send + Sync + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let Some(executor) = self.executor() else {
            return self.try_work_async(key, work).await;
        };
        let mut work = Some(work);
        let mut begins = self.begin_detached(key, Caller::Task)?;
        loop {
            let (lead, mut place, key) = match begins {
                Detaches::Follow(place, key) => (None, place, Some(key)),
                Detaches::Led(lead, place) => (Some(lead), place, None),
                Detaches::Answer(answer) => return answer,
                Detaches::Key(key) => match work {
                    Some(work) => return self.try_work_async(key, work).await,
                    None => return Err(FlightError::LeaderDropped),
                },
            };
            if let (Some(lead), Some(work)) = (lead, work.take())
                && let Err(task) = executor.spawn(in_task(lead, work))
            {
                task.await;
            }
            let waited = self.core.stand_async(&mut place).await;
            begins = self.after(waited, key, Caller::Task);
        }
    }

    fn executor(&self) -> Option<&Executor> {
        match &self.core.settings.leader_drop {
            LeaderDrop::Detach(executor) => Some(executor),
            LeaderDrop::Promote | LeaderDrop::Fail => None,
        }
    }

    fn begin_detached<E: Send + Sync + 'static>(
        &self,
        key: K,
        caller: Caller,
    ) -> Result<Detaches<K, V, E>, FlightError<E>> {
        let hash = self.core.hash(&key);
        let begins = self
            .core
            .begin(hash, key, caller)
            .guard(Arc::clone(&self.core), hash)?;
        Ok(match begins {
            Begins::Begun(Begun::Lead(lead)) => give_away(lead, caller),
            Begins::Begun(Begun::Follow(place, key)) => Detaches::Follow(place, key),
            Begins::Begun(Begun::Alone(_, key)) => Detaches::Key(key),
            Begins::Begun(Begun::Found(_)) => Detaches::Answer(Err(FlightError::LeaderDropped)),
            Begins::Kept(outcome) => Detaches::Answer(
                super::work::read(outcome, 2)
                    .unwrap_or(Err(FlightError::LeaderFailed { attempts: 1 })),
            ),
        })
    }

    /// What comes after a wait. Without its key a caller has given its work away.
    fn after<E: Send + Sync + 'static>(
        &self,
        waited: Waited<Arc<Core<K, V>>>,
        key: Option<K>,
        caller: Caller,
    ) -> Detaches<K, V, E> {
        let hash = key.as_ref().map_or(0, |key| self.core.hash(key));
        match (self.core.turn(hash, waited), key) {
            (Some(Turn::Answer(answer)), _) => Detaches::Answer(answer),
            (Some(Turn::Lead(lead, _)), _) => give_away(lead, caller),
            (None, Some(key)) => Detaches::Key(key),
            (None, None) => Detaches::Answer(Err(FlightError::LeaderDropped)),
        }
    }
}

type Owned<K, V> = Arc<Core<K, V>>;

/// How a call goes on whose work runs in a task.
enum Detaches<K: Hash + Eq, V: Clone, E> {
    /// Somebody works.
    Follow(InLine<Owned<K, V>>, K),
    /// This caller's work is to be put into a task, for which it waits.
    Led(Lead<Owned<K, V>>, InLine<Owned<K, V>>),
    Answer(Result<Outcome<V>, FlightError<E>>),
    /// The flights say nothing to it, so it works where it is.
    Key(K),
}

/// Puts the caller into its own leader's line.
fn give_away<K: Hash + Eq, V: Clone, E>(
    lead: Lead<Owned<K, V>>,
    caller: Caller,
) -> Detaches<K, V, E> {
    let Some(place) = lead.follow(caller) else {
        return Detaches::Answer(Err(FlightError::LeaderDropped));
    };
    lead.make_cancellable();
    Detaches::Led(lead, place)
}

/// The work as a task, which ends when nobody waits for it any more.
fn in_task<K, V, E, F>(lead: Lead<Owned<K, V>>, work: impl FnOnce() -> F + Send + 'static) -> Task
where
    K: Hash + Eq + Send + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: Future<Output = Result<V, E>> + Send + 'static,
{
    Task::new(async move {
        let attempt = Attempt::new(lead, Role::Leader);
        attempt.run_wanted(work).await;
    })
}

/// Work of a thread as a future that is done at once.
fn deferred<V, E>(work: impl FnOnce() -> Result<V, E>) -> Ready<Result<V, E>> {
    ready(work())
}

impl<K: Hash + Eq, V: Clone> Attempt<Owned<K, V>> {
    /// Works as long as anybody waits for it.
    async fn run_wanted<E: Send + Sync + 'static, F>(self, work: impl FnOnce() -> F)
    where
        F: Future<Output = Result<V, E>>,
    {
        let result = {
            let mut running = pin!(self.lead().poll_caught(work, None));
            poll_fn(|context| {
                if !self.lead().stays(context.waker()) {
                    return Poll::Ready(None);
                }
                running.as_mut().poll(context).map(Some)
            })
            .await
        };
        // If nobody wants it, the flight is gone, and the ticket opens nothing.
        if let Some(result) = result {
            self.finish_in_task(result);
        }
    }
}
