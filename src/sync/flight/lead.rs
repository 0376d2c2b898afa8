//! Who leads a flight, and who owns it.

use std::any::Any;
use std::future::poll_fn;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::LoadError;
use super::place::InLine;
use super::running::{FlightId, Running, Stage, ThreadNumber};
use super::start::{Caller, Start, Terms};
use super::table::{Flights, Ticket};
use crate::time::Instant;

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

/// What a load answers: `Ok(None)` only to those who expect it.
pub(crate) type Answer<V, E> = Result<Option<V>, LoadError<E>>;

/// A leader. Dropped before it has landed, as by a panic or a cancellation, it
/// hands the flight on.
///
/// `P` points to the owner: a borrow where the leader stays with its caller, an
/// `Arc` ([`OwnedLead`]) where it goes into a [`Task`](crate::task::Task).
pub(crate) struct Lead<P>
where
    P: Deref,
    P::Target: Owner,
{
    owner: P,
    hash: u64,
    /// `None` once landed.
    ticket: Option<Ticket>,
    id: FlightId,
}

/// A leader that may outlive the call that began its flight.
pub(crate) type OwnedLead<O> = Lead<Arc<O>>;

/// Leads a flight of a key for which nobody waits yet, whether or not there is
/// a value; `None` if one is under way.
pub(crate) fn try_lead<O: Owner, P: Deref<Target = O>>(
    owner: P,
    hash: u64,
    key: O::Key,
) -> Option<Lead<P>> {
    let ticket = owner.with_flights(hash, |flights| flights.lead(hash, key, &Terms::NONE));
    // A key that comes back is dropped here, outside of the lock.
    ticket.ok().map(|ticket| Lead::new(owner, hash, ticket))
}

impl<O: Owner, P: Deref<Target = O>> Lead<P> {
    #[inline]
    pub(crate) fn new(owner: P, hash: u64, ticket: Ticket) -> Self {
        let id = ticket.id;
        Self {
            owner,
            hash,
            ticket: Some(ticket),
            id,
        }
    }

    pub(super) fn id(&self) -> FlightId {
        self.id
    }

    /// Runs the loader on this thread and lands with what it brings.
    #[inline]
    pub(crate) fn run_sync<E: Send + Sync + 'static>(
        self,
        loader: impl FnOnce() -> Result<Option<O::Value>, E>,
    ) -> Answer<O::Value, E> {
        let result = self.call(loader);
        self.land_with(result)
    }

    /// Runs the loader as a future and lands with what it brings.
    pub(crate) async fn run_async<E: Send + Sync + 'static, F>(
        self,
        loader: impl FnOnce() -> F,
    ) -> Answer<O::Value, E>
    where
        F: Future<Output = Result<Option<O::Value>, E>>,
    {
        let result = self.poll_through(loader, None).await;
        self.land_with(result)
    }

    /// Runs code as the loader of this flight: asking for its key is re-entry.
    #[inline]
    pub(crate) fn call<R>(&self, loader: impl FnOnce() -> R) -> R {
        let _running = Running::enter(self.id);
        loader()
    }

    /// The same for a future. `known` is the thread that the table believes to
    /// poll this task.
    pub(crate) async fn poll_through<F: Future>(
        &self,
        loader: impl FnOnce() -> F,
        mut known: Option<ThreadNumber>,
    ) -> F::Output {
        // Declared around the future, so that it is dropped between them.
        let stage = Stage::enter(self.id);
        let mut future = pin!(loader());
        let _again = stage.enter_on_drop();
        poll_fn(|context| {
            stage.resume();
            let polled = future.as_mut().poll(context);
            if polled.is_pending() {
                self.suspend(&stage, &mut known);
            }
            polled
        })
        .await
    }

    /// As [`poll_through`](Self::poll_through), for one who decides himself what
    /// becomes of a panic, be it of the loader or of its future.
    #[inline]
    pub(crate) async fn poll_caught<F: Future>(
        &self,
        loader: impl FnOnce() -> F,
        mut known: Option<ThreadNumber>,
    ) -> std::thread::Result<F::Output> {
        let stage = self.stage();
        let mut future = pin!(match catch_unwind(AssertUnwindSafe(loader)) {
            Ok(future) => future,
            Err(panic) => return Err(panic),
        });
        let _again = stage.enter_on_drop();
        poll_fn(|context| self.poll_staged(&stage, &mut known, future.as_mut(), context)).await
    }

    /// Enters the stage of this flight, for one who makes its loader's future in
    /// a future of his own; declared before it, see [`Stage::enter_on_drop`].
    #[inline]
    pub(crate) fn stage(&self) -> Stage {
        Stage::enter(self.id)
    }

    /// Polls the loader on its stage, and catches its panic.
    #[inline]
    pub(crate) fn poll_staged<F: Future>(
        &self,
        stage: &Stage,
        known: &mut Option<ThreadNumber>,
        future: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<std::thread::Result<F::Output>> {
        stage.resume();
        match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => {
                self.suspend(stage, known);
                Poll::Pending
            }
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }

    fn suspend(&self, stage: &Stage, known: &mut Option<ThreadNumber>) {
        stage.suspend();
        let here = ThreadNumber::here();
        if *known != here {
            self.polled_on(here);
            *known = here;
        }
    }

    /// Lets the flight end when nobody waits for it any more; the leader learns
    /// of it by [`stays`](Self::stays).
    pub(crate) fn make_cancellable(&self) {
        if let Some(ticket) = &self.ticket {
            self.owner.with_flights(self.hash, |flights| {
                flights.make_cancellable(self.hash, ticket);
            });
        }
    }

    /// Tells whether anybody still wants what this leader, in a task of its own,
    /// will bring; wakes the task when that changes.
    pub(crate) fn stays(&self, waker: &Waker) -> bool {
        let Some(ticket) = &self.ticket else {
            return false;
        };
        // Cloning and dropping a waker is user code.
        let waker = waker.clone();
        let old = self
            .owner
            .with_flights(self.hash, |flights| flights.stays(self.hash, ticket, waker));
        old.is_ok()
    }

    /// Counts a panic of this leader's loader: how many there were in its flight.
    pub(crate) fn count_fall(&self) -> u16 {
        self.ticket.as_ref().map_or(1, |ticket| {
            self.owner
                .with_flights(self.hash, |flights| flights.count_fall(self.hash, ticket))
        })
    }

    pub(super) fn polled_on(&self, thread: Option<ThreadNumber>) {
        if let Some(ticket) = &self.ticket {
            self.owner.with_flights(self.hash, |flights| {
                flights.polled_on(self.hash, ticket, thread);
            });
        }
    }

    /// Whether what it lands with would still be stored.
    pub(crate) fn is_attached(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| {
            self.owner.with_flights(self.hash, |flights| {
                flights.attached_key(self.hash, ticket).is_some()
            })
        })
    }

    /// The owner, and the hash of the key.
    pub(crate) fn home(&self) -> (&O, u64) {
        (&self.owner, self.hash)
    }

    /// Starts a new lease, as a leader does that was promoted.
    pub(crate) fn renew(&self, lease_ends: Instant) {
        if let Some(ticket) = &self.ticket {
            self.owner.with_flights(self.hash, |flights| {
                flights.renew(self.hash, ticket, lease_ends);
            });
        }
    }

    /// Ends the flight as the owner does it.
    #[inline]
    pub(crate) fn land(mut self, outcome: &Outcome<O::Value>) {
        self.land_by(|owner, hash, ticket| owner.land(hash, ticket, outcome));
    }

    /// Ends the flight by a landing of the caller's own.
    #[inline]
    pub(crate) fn land_by<R>(&mut self, land: impl FnOnce(&O, u64, &Ticket) -> R) -> Option<R> {
        // The ticket is put away after the landing: a panic in it comes to
        // `drop`, which finds either the flight still there or nothing to do.
        let landed = self
            .ticket
            .as_ref()
            .map(|ticket| land(&self.owner, self.hash, ticket));
        self.ticket = None;
        landed
    }

    #[inline]
    pub(super) fn land_with<E: Send + Sync + 'static>(
        self,
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
        self.land(&outcome);
        match (outcome, error) {
            (_, Some(error)) => Err(LoadError::Failed(error)),
            (Outcome::Value(value), None) => Ok(Some(value)),
            (Outcome::Absent | Outcome::Failed(_), None) => Ok(None),
        }
    }
}

impl<O: Owner, P: Deref<Target = O> + Clone> Lead<P> {
    /// A place in this leader's own line, for a caller that gives the leader
    /// away and waits. `None` if the leader was replaced meanwhile.
    pub(crate) fn follow(&self, caller: Caller) -> Option<InLine<P>> {
        let ticket = self.ticket.as_ref()?;
        let follower = self.owner.with_flights(self.hash, |flights| {
            flights.follow(self.hash, ticket, caller)
        })?;
        // Nothing waits for a flight that has not begun, so this is no circle.
        InLine::enter(self.owner.clone(), self.hash, follower).ok()
    }
}

impl<P> Lead<P>
where
    P: Deref,
    P::Target: Owner,
{
    /// Hands the flight on, as a drop does.
    pub(crate) fn give_up(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            abandon(&*self.owner, self.hash, &ticket);
        }
    }

    /// Whether the flight has not been landed by this leader, nor handed on.
    #[inline]
    pub(crate) fn is_flying(&self) -> bool {
        self.ticket.is_some()
    }
}

impl<P> Drop for Lead<P>
where
    P: Deref,
    P::Target: Owner,
{
    #[inline]
    fn drop(&mut self) {
        if self.is_flying() {
            self.give_up();
        }
    }
}

/// Gives a ticket up.
pub(super) fn abandon<O: Owner + ?Sized>(owner: &O, hash: u64, ticket: &Ticket) {
    owner
        .with_flights(hash, |flights| flights.abandon(hash, ticket))
        .announce();
}
