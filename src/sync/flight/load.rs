//! The calls that load: join or lead, run the loader, land or hand on.

use std::any::Any;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use super::LoadError;
use super::line::{Verdict, Waiter};
use super::running::{FlightId, Running, Stage, ThreadNumber};
use super::table::{Caller, Flights, Follower, Start, Ticket};
use super::waits::{Circle, Wait};

/// Who holds the values and the flights, in the same shard under one lock.
pub(crate) trait Owner {
    type Key: Eq;
    type Value: Clone;

    /// Under one lock: looks the value up, and if there is none returns
    /// [`Flights::start`].
    fn start(&self, hash: u64, key: Self::Key, caller: Caller) -> Start<Self::Key, Self::Value>;

    /// Ends a flight: clones what is to be stored; under one lock calls
    /// [`Flights::land`] and, if the landing yields the key, stores; lets the
    /// lock go and calls [`deliver`](super::Landing::deliver); then runs listeners and drops
    /// what was evicted. A panic anywhere in it harms no waiter.
    fn land(&self, hash: u64, ticket: &Ticket, outcome: &Outcome<Self::Value>);

    /// Runs `act` on the flights of the shard of `hash`, under its lock.
    fn with_flights<R>(
        &self,
        hash: u64,
        act: impl FnOnce(&mut Flights<Self::Key, Self::Value>) -> R,
    ) -> R;
}

/// What a loader gave, in the form in which all its callers share it.
#[derive(Clone)]
pub(crate) enum Outcome<V> {
    Value(V),
    /// There is nothing under this key.
    Absent,
    /// The error, whose type only the caller's own code knows.
    Failed(Arc<dyn Any + Send + Sync>),
}

/// Whether a caller can take "there is nothing" for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expects {
    /// It cannot; told so by another caller's loader, it runs its own.
    Value,
    /// It can, as its own loader may say so.
    MaybeAbsent,
    /// It wants to run its own loader whatever the others bring, after them.
    Turn,
}

/// What a load answers: `Ok(None)` only to those who expect it.
pub(crate) type Answer<V, E> = Result<Option<V>, LoadError<E>>;

/// Returns the value of a key, loading it if need be; blocks while another
/// caller loads it. The loader runs on this thread, at most once.
pub(crate) fn load_sync<O: Owner, E: Send + Sync + 'static>(
    owner: &O,
    hash: u64,
    mut key: O::Key,
    expects: Expects,
    loader: impl FnOnce() -> Result<Option<O::Value>, E>,
) -> Answer<O::Value, E> {
    for _ in 0..expects.patience() {
        let (mut place, own_key) = match begin(owner, hash, key, Caller::Thread)? {
            Begun::Found(value) => return Ok(Some(value)),
            Begun::Lead(lead) => return lead.run_sync(loader),
            // To take its turn it would have to wait for itself.
            Begun::Alone(_) if expects == Expects::Turn => return Err(LoadError::Cycle),
            Begun::Alone(id) => {
                let _running = Running::enter(id);
                return loader().map_err(|error| LoadError::Failed(Arc::new(error)));
            }
            Begun::Follow(place, own_key) => (place, own_key),
        };
        let verdict = place.waiter.wait();
        match place.resolve(verdict, expects) {
            Resolved::Answer(answer) => return answer,
            Resolved::Lead(lead) => return lead.run_sync(loader),
            Resolved::Again => key = own_key,
        }
    }
    loader().map_err(|error| LoadError::Failed(Arc::new(error)))
}

/// The twin of [`load_sync`] for tasks: waits on wakers and needs no runtime.
/// Dropping the future cancels this caller and nobody else.
pub(crate) async fn load_async<O: Owner, E: Send + Sync + 'static, F>(
    owner: &O,
    hash: u64,
    mut key: O::Key,
    expects: Expects,
    loader: impl FnOnce() -> F,
) -> Answer<O::Value, E>
where
    F: Future<Output = Result<Option<O::Value>, E>>,
{
    // One place runs the loader, so that this future holds one loader's state.
    let (lead, known) = 'lead: {
        for _ in 0..expects.patience() {
            let (mut place, own_key) = match begin(owner, hash, key, Caller::Task)? {
                Begun::Found(value) => return Ok(Some(value)),
                Begun::Lead(lead) => break 'lead (Some(lead), ThreadNumber::here()),
                Begun::Alone(_) => break 'lead (None, None),
                Begun::Follow(place, own_key) => (place, own_key),
            };
            let verdict = poll_fn(|context| place.waiter.poll(context.waker())).await;
            match place.resolve(verdict, expects) {
                Resolved::Answer(answer) => return answer,
                Resolved::Lead(lead) => break 'lead (Some(lead), None),
                Resolved::Again => key = own_key,
            }
        }
        (None, None)
    };
    let Some(lead) = lead else {
        return loader()
            .await
            .map_err(|error| LoadError::Failed(Arc::new(error)));
    };
    lead.run_async(loader, known).await
}

/// Asks the owner and puts a guard around what came back.
fn begin<O: Owner, E>(
    owner: &O,
    hash: u64,
    key: O::Key,
    caller: Caller,
) -> Result<Begun<'_, O>, LoadError<E>> {
    match owner.start(hash, key, caller) {
        Start::Found(value) => Ok(Begun::Found(value)),
        Start::Lead(ticket, spare_key) => {
            // The guard first, for dropping a key is user code.
            let lead = Lead::new(owner, hash, ticket);
            drop(spare_key);
            Ok(Begun::Lead(lead))
        }
        Start::Alone(bypassed, _key) => Ok(Begun::Alone(bypassed.0)),
        Start::Reentrant(_key) => Err(LoadError::Reentrant),
        Start::Follow(Follower(waiter), key) => {
            let mut place = InLine {
                owner,
                hash,
                waiter,
                wait: None,
            };
            match place.waiter.id().map(Wait::new).transpose() {
                Ok(wait) => place.wait = wait,
                Err(Circle) => return Err(LoadError::Cycle),
            }
            Ok(Begun::Follow(place, key))
        }
    }
}

enum Begun<'a, O: Owner> {
    Found(O::Value),
    Lead(Lead<'a, O>),
    Follow(InLine<'a, O>, O::Key),
    Alone(FlightId),
}

/// A place in line that is left properly on every way out.
struct InLine<'a, O: Owner> {
    owner: &'a O,
    hash: u64,
    waiter: Waiter<O::Value>,
    wait: Option<Wait>,
}

impl<'a, O: Owner> InLine<'a, O> {
    fn resolve<E: Send + Sync + 'static>(
        mut self,
        verdict: Verdict<O::Value>,
        expects: Expects,
    ) -> Resolved<'a, O, E> {
        self.wait = None;
        match verdict {
            Verdict::Promoted(ticket) => Resolved::Lead(Lead::new(self.owner, self.hash, ticket)),
            Verdict::Landed(_) if expects == Expects::Turn => Resolved::Again,
            Verdict::Landed(Outcome::Value(value)) => Resolved::Answer(Ok(Some(value))),
            Verdict::Landed(Outcome::Absent) if expects == Expects::MaybeAbsent => {
                Resolved::Answer(Ok(None))
            }
            Verdict::Landed(Outcome::Failed(error)) => match error.downcast() {
                Ok(error) => Resolved::Answer(Err(LoadError::Failed(error))),
                Err(_foreign) => Resolved::Again,
            },
            Verdict::Landed(Outcome::Absent) | Verdict::Lost => Resolved::Again,
        }
    }
}

impl<O: Owner> Drop for InLine<'_, O> {
    fn drop(&mut self) {
        if let Some(ticket) = self.waiter.leave() {
            drop(Lead::new(self.owner, self.hash, ticket));
        }
    }
}

enum Resolved<'a, O: Owner, E> {
    Answer(Answer<O::Value, E>),
    Lead(Lead<'a, O>),
    /// The leader's outcome says nothing to this caller.
    Again,
}

/// A leader. Dropped before it has landed, as by a panic or a cancellation, it
/// hands the flight on.
struct Lead<'a, O: Owner> {
    owner: &'a O,
    hash: u64,
    /// `None` once landed.
    ticket: Option<Ticket>,
    id: FlightId,
}

impl<'a, O: Owner> Lead<'a, O> {
    fn new(owner: &'a O, hash: u64, ticket: Ticket) -> Self {
        let id = ticket.0;
        Self {
            owner,
            hash,
            ticket: Some(ticket),
            id,
        }
    }

    fn run_sync<E: Send + Sync + 'static>(
        self,
        loader: impl FnOnce() -> Result<Option<O::Value>, E>,
    ) -> Answer<O::Value, E> {
        let running = Running::enter(self.id);
        let result = loader();
        drop(running);
        self.land(result)
    }

    /// `known` is the thread that the table believes to poll this task.
    async fn run_async<E: Send + Sync + 'static, F>(
        self,
        loader: impl FnOnce() -> F,
        mut known: Option<ThreadNumber>,
    ) -> Answer<O::Value, E>
    where
        F: Future<Output = Result<Option<O::Value>, E>>,
    {
        let result = {
            // Declared around the future, so that it is dropped between them.
            let stage = Stage::enter(self.id);
            let mut future = pin!(loader());
            let _again = stage.enter_on_drop();
            poll_fn(|context| {
                stage.resume();
                let polled = future.as_mut().poll(context);
                if polled.is_pending() {
                    stage.suspend();
                    let here = ThreadNumber::here();
                    if known != here {
                        self.polled_on(here);
                        known = here;
                    }
                }
                polled
            })
            .await
        };
        self.land(result)
    }

    fn polled_on(&self, thread: Option<ThreadNumber>) {
        if let Some(ticket) = &self.ticket {
            self.owner.with_flights(self.hash, |flights| {
                flights.polled_on(self.hash, ticket, thread);
            });
        }
    }

    fn land<E: Send + Sync + 'static>(
        mut self,
        result: Result<Option<O::Value>, E>,
    ) -> Answer<O::Value, E> {
        let (outcome, error) = match result {
            Ok(Some(value)) => (Outcome::Value(value), None),
            Ok(None) => (Outcome::Absent, None),
            Err(error) => {
                let error = Arc::new(error);
                (Outcome::Failed(Arc::clone(&error) as _), Some(error))
            }
        };
        // The ticket is put away after the landing: a panic in it comes to
        // `drop`, which finds either the flight still there or nothing to do.
        if let Some(ticket) = &self.ticket {
            self.owner.land(self.hash, ticket, &outcome);
        }
        self.ticket = None;
        match (outcome, error) {
            (_, Some(error)) => Err(LoadError::Failed(error)),
            (Outcome::Value(value), None) => Ok(Some(value)),
            (Outcome::Absent | Outcome::Failed(_), None) => Ok(None),
        }
    }
}

impl<O: Owner> Drop for Lead<'_, O> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.owner
                .with_flights(self.hash, |flights| flights.abandon(self.hash, &ticket))
                .announce();
        }
    }
}

impl Expects {
    /// How often a caller stands in line for outcomes that say nothing to it
    /// (the error of another type, the absence it did not expect) before it
    /// loads for itself, its value unstored.
    fn patience(self) -> usize {
        match self {
            Self::Value | Self::MaybeAbsent => 3,
            Self::Turn => usize::MAX,
        }
    }
}
