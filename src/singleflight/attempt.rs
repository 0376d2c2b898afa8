//! One caller's work for a flight, and what becomes of the flight when that
//! fails.

use std::any::Any;
use std::hash::Hash;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

use super::core::{Core, End};
use super::{FlightError, LeaderDrop, OnPanic, Outcome, Role};
use crate::sync::flight::{self, Lead, Owner};

/// What a call to a group comes back with.
pub(super) type Answer<V, E> = Result<Outcome<V>, FlightError<E>>;

/// A leader at work. Dropped before its work is done, it does with the flight
/// what the group's settings say.
pub(super) struct Attempt<P>
where
    P: Deref,
    P::Target: LosesLeaders,
{
    lead: Lead<P>,
    role: Role,
}

impl<K: Hash + Eq, V: Clone, P: Deref<Target = Core<K, V>>> Attempt<P> {
    #[inline]
    pub(super) fn new(lead: Lead<P>, role: Role) -> Self {
        Self { lead, role }
    }

    #[inline]
    pub(super) fn run<E: Send + Sync + 'static>(
        self,
        work: impl FnOnce() -> Result<V, E>,
    ) -> Answer<V, E> {
        let result = catch_unwind(AssertUnwindSafe(|| self.lead.call(work)));
        self.finish(result)
    }

    #[inline]
    pub(super) fn lead(&self) -> &Lead<P> {
        &self.lead
    }

    /// Ends a flight whose callers all stand in its line: a panic is theirs.
    pub(super) fn finish_in_task<E: Send + Sync + 'static>(
        self,
        result: thread::Result<Result<V, E>>,
    ) {
        // No caller of this task's is there to see it unwind.
        let _ = catch_unwind(AssertUnwindSafe(|| self.finish(result)));
    }

    #[inline]
    pub(super) fn finish<E: Send + Sync + 'static>(
        mut self,
        result: thread::Result<Result<V, E>>,
    ) -> Answer<V, E> {
        match result {
            Ok(Ok(value)) => {
                let outcome = flight::Outcome::Value(value);
                let callers = self.land(&outcome);
                let flight::Outcome::Value(value) = outcome else {
                    return Err(FlightError::LeaderDropped);
                };
                Ok(Outcome {
                    value,
                    role: self.role,
                    shared: callers > 1,
                })
            }
            Ok(Err(error)) => {
                let error = Arc::new(error);
                self.land(&flight::Outcome::Failed(Arc::clone(&error) as _));
                Err(FlightError::Failed(error))
            }
            Err(panic) => self.fall(panic),
        }
    }

    #[inline]
    fn land(&mut self, outcome: &flight::Outcome<V>) -> usize {
        let landed = self
            .lead
            .land_by(|core, hash, ticket| core.land(hash, ticket, outcome));
        landed.unwrap_or(1)
    }

    #[cold]
    fn fall<E>(mut self, panic: Box<dyn Any + Send>) -> Answer<V, E> {
        let (core, hash) = self.lead.home();
        core.count(hash, |counts| counts.panicked += 1);
        let attempts = match core.settings.on_panic {
            OnPanic::PromoteOnce => {
                let falls = self.lead.count_fall();
                if falls > 1 {
                    let attempts = u32::from(falls);
                    self.end(End::Failed { attempts });
                } else {
                    self.lead.give_up();
                }
                resume_unwind(panic)
            }
            OnPanic::PropagateAll => {
                self.end(End::Panicked(message(&*panic)));
                resume_unwind(panic)
            }
            OnPanic::Error => 1,
        };
        self.end(End::Failed { attempts });
        Err(FlightError::LeaderFailed { attempts })
    }

    fn end(&mut self, end: End) {
        self.lead
            .land_by(|core, hash, ticket| core.land_end(hash, ticket, end));
    }
}

impl<P> Drop for Attempt<P>
where
    P: Deref,
    P::Target: LosesLeaders,
{
    #[inline]
    fn drop(&mut self) {
        if self.lead.is_flying() {
            P::Target::lose(&mut self.lead);
        }
    }
}

/// What an owner does with a flight whose leader was dropped.
pub(super) trait LosesLeaders: Owner {
    fn lose<P: Deref<Target = Self>>(lead: &mut Lead<P>);
}

impl<K: Hash + Eq, V: Clone> LosesLeaders for Core<K, V> {
    #[cold]
    fn lose<P: Deref<Target = Self>>(lead: &mut Lead<P>) {
        let (core, hash) = lead.home();
        core.count(hash, |counts| counts.dropped += 1);
        match core.settings.leader_drop {
            LeaderDrop::Promote | LeaderDrop::Detach(_) => lead.give_up(),
            LeaderDrop::Fail => {
                lead.land_by(|core, hash, ticket| core.land_end(hash, ticket, End::Dropped));
            }
        }
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the work panicked").to_owned()
}
