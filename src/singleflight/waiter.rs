use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use super::core::Core;
use super::work::{Turn, read};
use super::{FlightError, Outcome};
use crate::sync::flight::{Caller, InLine, Refusal, Waited, join};

/// A place in the line of a key, for one who brought no work; made by
/// [`Group::join`](super::Group::join). Dropping it leaves the line.
///
/// ```
/// use std::convert::Infallible;
/// use std::future::poll_fn;
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
/// use tenfold::singleflight::Group;
///
/// let group: Group<u64, u32> = Group::new();
/// let mut answers = [Poll::Pending, Poll::Ready(7)].into_iter();
/// let work = move || poll_fn(move |_| answers.next().unwrap());
/// let mut leader = pin!(group.work_async(1, work));
/// let mut context = Context::from_waker(Waker::noop());
/// assert!(leader.as_mut().poll(&mut context).is_pending());
/// let waiter = group.join(&1).expect("somebody works");
/// assert!(leader.as_mut().poll(&mut context).is_ready());
/// assert_eq!(waiter.wait::<Infallible>()?.value, 7);
/// # Ok::<(), tenfold::singleflight::FlightError<Infallible>>(())
/// ```
#[must_use = "it stands in line and nobody waits for the outcome"]
pub struct Waiter<K: Hash + Eq, V: Clone> {
    place: Result<InLine<Arc<Core<K, V>>>, Refusal>,
    core: Arc<Core<K, V>>,
    hash: u64,
}

impl<K: Hash + Eq, V: Clone> Waiter<K, V> {
    pub(super) fn new<Q>(core: &Arc<Core<K, V>>, key: &Q) -> Option<Self>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = core.hash(key);
        let joined = join(
            Arc::clone(core),
            hash,
            |known| known.borrow() == key,
            Caller::Task,
            core.settings.max_waiters,
        );
        core.count(hash, |counts| match &joined {
            Ok(Some(_)) => counts.joined += 1,
            Err(Refusal::Full) => counts.refused += 1,
            Ok(None) | Err(_) => {}
        });
        Some(Self {
            place: joined.transpose()?,
            core: Arc::clone(core),
            hash,
        })
    }

    /// Blocks the thread until the work is done.
    ///
    /// # Errors
    /// As [`Group::try_work`](super::Group::try_work). Where the work failed
    /// with an error that is no `E`, that is
    /// [`LeaderFailed`](FlightError::LeaderFailed). Where a task does the work
    /// that was last polled on this thread, and so could not go on, that is
    /// [`Cycle`](FlightError::Cycle).
    pub fn wait<E: Send + Sync + 'static>(self) -> Result<Outcome<V>, FlightError<E>> {
        let mut place = self.place?;
        if place.waits_for_itself() {
            return Err(FlightError::Cycle);
        }
        let waited = self.core.wait(&mut place);
        answer(&self.core, self.hash, waited)
    }

    /// The twin of [`wait`](Self::wait) for tasks.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_async<E: Send + Sync + 'static>(self) -> Result<Outcome<V>, FlightError<E>> {
        let mut place = self.place?;
        let waited = self.core.stand_async(&mut place).await;
        answer(&self.core, self.hash, waited)
    }
}

fn answer<K: Hash + Eq, V: Clone, E: Send + Sync + 'static>(
    core: &Core<K, V>,
    hash: u64,
    waited: Waited<Arc<Core<K, V>>>,
) -> Result<Outcome<V>, FlightError<E>> {
    if let Waited::Landed(outcome, callers) = waited {
        let foreign = FlightError::LeaderFailed { attempts: 1 };
        return read(outcome, callers).unwrap_or(Err(foreign));
    }
    match core.turn(hash, waited) {
        Some(Turn::Answer(answer)) => answer,
        // It cannot lead, and so it is at its end like the leader.
        Some(Turn::Lead(..)) | None => Err(FlightError::LeaderDropped),
    }
}

impl<K: Hash + Eq, V: Clone> fmt::Debug for Waiter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter(..)")
    }
}
