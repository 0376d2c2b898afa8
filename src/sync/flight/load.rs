//! The calls that load: join or lead, run the loader, land or hand on.

use std::ops::Deref;
use std::sync::Arc;

use super::LoadError;
use super::lead::{Answer, Lead, Outcome, Owner};
use super::place::{InLine, Waited};
use super::running::{Running, ThreadNumber};
use super::start::{Bypassed, Caller, Start};
use super::waits::Circle;

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
            Begun::Alone(..) if expects == Expects::Turn => return Err(LoadError::Cycle),
            Begun::Alone(bypassed, _) => {
                return bypassed
                    .call(loader)
                    .map_err(|error| LoadError::Failed(Arc::new(error)));
            }
            Begun::Follow(place, own_key) => (place, own_key),
        };
        match expects.resolve(place.wait()) {
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
                Begun::Alone(..) => break 'lead (None, None),
                Begun::Follow(place, own_key) => (place, own_key),
            };
            let waited = place.wait_async().await;
            match expects.resolve(waited) {
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
    let result = lead.poll_through(loader, known).await;
    lead.land_with(result)
}

/// Joins or leads, with a guard around what comes of it.
#[inline]
pub(crate) fn begin<O: Owner, P: Deref<Target = O>>(
    owner: P,
    hash: u64,
    key: O::Key,
    caller: Caller,
) -> Result<Begun<P>, Refusal> {
    let start = owner.start(hash, key, caller);
    Begun::guard(owner, hash, start)
}

/// As [`begin`], for a caller whose leader runs elsewhere: who leads stands in
/// its own line as well, and the leader can be given away.
pub(crate) fn start_detached<O: Owner, P: Deref<Target = O> + Clone>(
    owner: P,
    hash: u64,
    key: O::Key,
    caller: Caller,
) -> Result<Detached<P>, Refusal> {
    Ok(match begin(owner, hash, key, caller)? {
        Begun::Found(value) => Detached::Found(value),
        Begun::Follow(place, key) => Detached::Following(place, key),
        Begun::Alone(bypassed, key) => Detached::Alone(bypassed, key),
        Begun::Lead(lead) => match lead.follow(caller) {
            Some(place) => Detached::Led(lead, place),
            None => return Err(Refusal::Cycle),
        },
    })
}

/// How a call began, guarded.
pub(crate) enum Begun<P>
where
    P: Deref,
    P::Target: Owner,
{
    /// The owner had the value.
    Found(<P::Target as Owner>::Value),
    Lead(Lead<P>),
    /// The key comes back for the case that the wait brings nothing.
    Follow(InLine<P>, <P::Target as Owner>::Key),
    /// The leader is a task suspended on this blocking thread: load without it.
    Alone(Bypassed, <P::Target as Owner>::Key),
}

/// How a call began whose leader runs elsewhere.
pub(crate) enum Detached<P>
where
    P: Deref,
    P::Target: Owner,
{
    Found(<P::Target as Owner>::Value),
    /// The leader, to be given away, and this caller's place, which is never
    /// promoted: its loader goes with the leader.
    Led(Lead<P>, InLine<P>),
    /// This place may be promoted: the leader it then gets can be given away
    /// after [`Lead::follow`].
    Following(InLine<P>, <P::Target as Owner>::Key),
    Alone(Bypassed, <P::Target as Owner>::Key),
}

/// Why a call can neither lead nor wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It would wait for itself.
    Reentrant,
    /// It would wait for one that waits for it.
    Cycle,
    /// As many wait as may.
    Full,
}

impl<E> From<Refusal> for LoadError<E> {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Reentrant => Self::Reentrant,
            Refusal::Cycle => Self::Cycle,
            Refusal::Full => Self::TooManyWaiters,
        }
    }
}

impl<O: Owner, P: Deref<Target = O>> Begun<P> {
    /// Puts a guard around what came back from the table.
    #[inline]
    pub(crate) fn guard(
        owner: P,
        hash: u64,
        start: Start<O::Key, O::Value>,
    ) -> Result<Self, Refusal> {
        match start {
            Start::Found(value) => Ok(Self::Found(value)),
            Start::Lead(ticket, spare_key) => {
                // The guard first, for dropping a key is user code.
                let lead = Lead::new(owner, hash, ticket);
                drop(spare_key);
                Ok(Self::Lead(lead))
            }
            Start::Alone(bypassed, key) => Ok(Self::Alone(bypassed, key)),
            Start::Reentrant(_key) => Err(Refusal::Reentrant),
            Start::Full(_key) => Err(Refusal::Full),
            Start::Follow(follower, key) => match InLine::enter(owner, hash, follower) {
                Ok(place) => Ok(Self::Follow(place, key)),
                Err(Circle) => Err(Refusal::Cycle),
            },
        }
    }
}

impl Bypassed {
    /// Runs a loader beside the flight that is passed by.
    pub(crate) fn call<R>(&self, loader: impl FnOnce() -> R) -> R {
        let _running = Running::enter(self.0);
        loader()
    }
}

enum Resolved<P, E>
where
    P: Deref,
    P::Target: Owner,
{
    Answer(Answer<<P::Target as Owner>::Value, E>),
    Lead(Lead<P>),
    /// The leader's outcome says nothing to this caller.
    Again,
}

impl Expects {
    fn resolve<O: Owner, P: Deref<Target = O>, E: Send + Sync + 'static>(
        self,
        waited: Waited<P>,
    ) -> Resolved<P, E> {
        match waited {
            Waited::Lead(lead) => Resolved::Lead(lead),
            Waited::Landed(..) if self == Self::Turn => Resolved::Again,
            Waited::Landed(Outcome::Value(value), _) => Resolved::Answer(Ok(Some(value))),
            Waited::Landed(Outcome::Absent, _) if self == Self::MaybeAbsent => {
                Resolved::Answer(Ok(None))
            }
            Waited::Landed(Outcome::Failed(error), _) => match error.downcast() {
                Ok(error) => Resolved::Answer(Err(LoadError::Failed(error))),
                Err(_foreign) => Resolved::Again,
            },
            Waited::LeaderDropped => Resolved::Answer(Err(LoadError::LeaderDropped)),
            Waited::TimedOut => Resolved::Answer(Err(LoadError::TimedOut)),
            Waited::Landed(Outcome::Absent, _) | Waited::Lost => Resolved::Again,
        }
    }

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
