use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::{Lent, ReplicaError};
use crate::replica::topology::NodeSet;
use crate::replica::{Client, Fault, ReadPreference};

/// What [`ReplicaPool::run`](super::ReplicaPool::run) shall do: read or write, where, for how long, and whether it may
/// be done twice.
///
/// ```
/// use std::time::Duration;
/// use tenfold::replica::{Op, ReadPreference};
///
/// let report = Op::read().preference(ReadPreference::ReplicaOnly).within(Duration::from_secs(5));
/// let upsert = Op::write().idempotent();
/// # let _ = (report, upsert);
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is run"]
pub struct Op {
    /// Of a read.
    pub(super) preference: Option<ReadPreference>,
    pub(super) idempotent: bool,
    pub(super) wait: Option<Duration>,
}

impl Op {
    /// A read: of a replica, unless it [prefers](Self::preference) otherwise. It may be repeated, on another server,
    /// unless it is to be done [once](Self::once), and
    /// [asked of two](crate::replica::ReplicaPool::run_hedged_async) at a time.
    pub fn read() -> Self {
        Self {
            preference: Some(ReadPreference::Replica),
            idempotent: true,
            wait: None,
        }
    }

    /// A write, which is done once.
    pub fn write() -> Self {
        Self {
            preference: None,
            idempotent: false,
            wait: None,
        }
    }

    /// Where a read may go. A write goes to the primary whatever this says.
    pub fn preference(mut self, preference: ReadPreference) -> Self {
        self.preference = self.preference.map(|_| preference);
        self
    }

    /// That doing it twice is as good as once.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// That it is not to be repeated: a read with side effects, say.
    pub fn once(mut self) -> Self {
        self.idempotent = false;
        self
    }

    /// How long it waits for connections, in all attempts together;
    /// [`max_wait`](crate::replica::pool::PoolOptions::max_wait) by default.
    pub fn within(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    pub(super) fn is_read(&self) -> bool {
        self.preference.is_some()
    }
}

/// The attempts of one operation.
pub(super) struct Attempts<'a, C: Client> {
    core: &'a Arc<Core<C>>,
    op: &'a Op,
    made: u32,
    /// Servers that have failed it.
    pub(super) tried: NodeSet,
}

/// More than there are servers helps nobody.
const MOST_ATTEMPTS: u32 = 8;

impl<'a, C: Client> Attempts<'a, C> {
    pub(super) fn new(core: &'a Arc<Core<C>>, op: &'a Op) -> Self {
        core.budget.pay_in();
        Self {
            core,
            op,
            made: 0,
            tried: NodeSet::default(),
        }
    }

    /// What an attempt has come to: an answer, or another attempt.
    pub(super) fn over<T>(
        &mut self,
        lent: Lent<C>,
        answer: Result<T, C::Error>,
    ) -> Option<Result<T, ReplicaError<C::Error>>> {
        match answer {
            // Reads are what they are; a write that a former primary has acknowledged may be lost.
            Ok(answer) if self.op.is_read() => Some(Ok(answer)),
            Ok(answer) => {
                let done = lent.finish().map(|()| answer);
                Some(done.map_err(ReplicaError::RoleChanged))
            }
            Err(error) => {
                let fault = self.failed(lent, &error);
                self.again(fault, error)
            }
        }
    }

    /// An attempt has failed; answers with what.
    pub(super) fn failed(&mut self, mut lent: Lent<C>, error: &C::Error) -> Fault {
        self.made += 1;
        let fault = lent.failed(error);
        // The same server may be asked again after what was no fault of its own.
        if fault != Fault::Transient {
            self.tried = self.tried.with(lent.node());
        }
        fault
    }

    /// What follows from the last failure: that is it, or there is another attempt.
    pub(super) fn again<T>(
        &self,
        fault: Fault,
        error: C::Error,
    ) -> Option<Result<T, ReplicaError<C::Error>>> {
        let repeats = self.op.idempotent && fault != Fault::Query && self.made < MOST_ATTEMPTS;
        if repeats && self.core.budget.take() {
            return None;
        }
        let uncertain = !self.op.is_read() && !fault.not_done();
        Some(Err(if uncertain {
            ReplicaError::Uncertain(error)
        } else {
            ReplicaError::Failed(error)
        }))
    }
}
