use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::error::Cause;
use super::store::ErasedStore;
use super::{Poison, ProjectionBuilder, ProjectionError};
use crate::queue::book::DEFAULT;
use crate::queue::storage::{Disk, RealDisk};
use crate::queue::waiting;
use crate::queue::{Consumer, Event, Queue, Reader, Start};

/// A fold over the events of a queue, saved with the number of the last event in it.
///
/// See the [module's documentation](super) for what it promises and costs.
///
/// ```
/// use std::collections::BTreeMap;
/// use tenfold::queue::projection::{MemoryStore, Poison, Projection};
/// use tenfold::queue::{Event, Queue, Retention};
///
/// # let path = std::env::temp_dir().join(format!("tenfold-projection-{}", std::process::id()));
/// let words = Queue::builder().retention(Retention::All).open(&path)?;
/// words.publish_batch(&["to".into(), "be".into(), vec![0xff].into(), "to".into()])?;
///
/// let count = |counts: &mut BTreeMap<String, u32>, event: &Event| {
///     let word = std::str::from_utf8(event.payload())?;
///     *counts.entry(word.to_owned()).or_default() += 1;
///     Ok::<(), std::str::Utf8Error>(())
/// };
/// let mut counts = Projection::builder("counts", count)
///     .on_poison(Poison::DeadLetters)
///     .open(&words, MemoryStore::new())?;
/// let caught = counts.catch_up(100)?;
/// assert_eq!((caught.folded, caught.dead), (3, 1));
/// assert_eq!(counts.state().unwrap()["to"], 2);
/// assert_eq!(words.dead_letters_of("counts").unwrap().list()[0].id, 3);
/// # drop((words, counts));
/// # std::fs::remove_dir_all(path).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Projection<S, D: Disk = RealDisk> {
    queue: Queue<D>,
    name: String,
    group: Consumer<D>,
    reader: Reader<D>,
    fold: Fold<S>,
    store: Box<dyn ErasedStore<S>>,
    poison: Poison,
    accept_gone: bool,
    /// `None` from a failure on, until it is loaded again.
    place: Option<Place<S>>,
}

pub(super) type Fold<S> = Box<dyn FnMut(&mut S, &Event) -> Result<(), Cause> + Send>;

/// How much was caught up with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caught {
    /// Events folded.
    pub folded: u64,
    /// Events that the fold refused, now with the dead letters.
    pub dead: u64,
    /// Numbers without an event: never confirmed, lost by the medium, or given up.
    pub missing: u64,
}

/// A state, and how far it is.
#[derive(Clone)]
struct Place<S> {
    position: u64,
    state: S,
    /// Since it was saved last.
    caught: Caught,
}

impl<S> Place<S> {
    fn at(position: u64, state: S) -> Self {
        Self {
            position,
            state,
            caught: Caught::default(),
        }
    }
}

/// Where to go back to from a state that a refused event may have changed.
enum Before<'a, S> {
    /// To what was saved.
    Saved,
    /// To a copy, which this makes.
    Copy(&'a dyn Fn() -> Place<S>),
}

/// An event that was refused, and why.
type Refused = (u64, Cause);

enum Halt {
    Refused(Refused),
    Failed(ProjectionError),
}

impl<S: Default> Projection<S> {
    /// Says how a projection shall be. The name is that of its group in the queue; the fold
    /// changes the state by one event, always in the same way. It runs under no lock.
    pub fn builder<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        name: impl Into<String>,
        fold: impl FnMut(&mut S, &Event) -> Result<(), E> + Send + 'static,
    ) -> ProjectionBuilder<S> {
        ProjectionBuilder::new(name.into(), fold)
    }
}

impl<S: Default, D: Disk> Projection<S, D> {
    pub(super) fn open(
        builder: ProjectionBuilder<S>,
        queue: &Queue<D>,
        store: Box<dyn ErasedStore<S>>,
    ) -> Result<Self, ProjectionError> {
        if builder.name == DEFAULT {
            let name = builder.name;
            return Err(ProjectionError::Reserved { name });
        }
        let group = queue.group(&builder.name, Start::Earliest);
        let mut projection = Self {
            group: group.map_err(ProjectionError::Group)?,
            reader: queue.reader(),
            queue: queue.clone(),
            name: builder.name,
            fold: builder.fold,
            store,
            poison: builder.poison,
            accept_gone: builder.accept_gone,
            place: None,
        };
        let place = projection.load()?;
        projection.release(place.position);
        projection.place = Some(place);
        Ok(projection)
    }

    /// The state: the fold of all events up to [`position`](Self::position). `None` after a
    /// failure of the store, until a call loads it again.
    pub fn state(&self) -> Option<&S> {
        self.place.as_ref().map(|place| &place.state)
    }

    /// The number of the last event in the state, 0 before the first.
    pub fn position(&self) -> Option<u64> {
        self.place.as_ref().map(|place| place.position)
    }

    /// How many events there are behind the state, missing ones counted.
    pub fn lag(&self) -> u64 {
        let last = self.group.core.log.next_id() - 1;
        last.saturating_sub(self.position().unwrap_or(0))
    }

    /// Blocks until there is an event behind the state, or this long; whether there is.
    pub fn wait(&self, timeout: Duration) -> bool {
        let core = &self.group.core;
        let deadline = core.wall.clock().now() + timeout;
        loop {
            let listening = waiting::Place::take(core);
            if self.lag() > 0 {
                return true;
            }
            if deadline <= core.wall.clock().now() {
                return false;
            }
            listening.park(core, Some(deadline));
        }
    }

    /// Folds the next events, so many at most, and saves. Nothing to do is no error.
    ///
    /// # Errors
    /// [`ProjectionError`]. What was saved before stays, and the next call goes on from there.
    pub fn run_once(&mut self, batch: usize) -> Result<Caught, ProjectionError> {
        let mut place = match self.place.take() {
            Some(place) => place,
            None => self.load()?,
        };
        place.caught = Caught::default();
        let end = self.end();
        if place.position >= end {
            let position = place.position;
            self.place = Some(place);
            return Err(ProjectionError::Ahead { position, end });
        }
        let mut caught = Caught::default();
        let until = end.min((place.position + 1).saturating_add(batch.max(1) as u64));
        while place.position + 1 < until {
            let from = place.position;
            let (next, refused) = self.advance(place, until, &Before::Saved)?;
            place = next;
            let stop = match refused {
                Some((id, source)) if self.poison == Poison::Stop => Some((id, source)),
                Some(refused) => {
                    self.leave_out(&mut place, &refused)?;
                    None
                }
                None => None,
            };
            // Not again for an event that was refused before.
            if place.position > from {
                let saved = self.store.save(place.position, &mut place.state);
                saved.map_err(ProjectionError::Save)?;
                self.release(place.position);
            }
            caught.add(std::mem::take(&mut place.caught));
            if let Some((id, source)) = stop {
                self.place = Some(place);
                return Err(ProjectionError::Poisoned { id, source });
            }
        }
        self.place = Some(place);
        Ok(caught)
    }

    /// Folds all events that there are when it is called, so many between two saves.
    ///
    /// # Errors
    /// As [`run_once`](Self::run_once).
    pub fn catch_up(&mut self, batch: usize) -> Result<Caught, ProjectionError> {
        let mut caught = self.run_once(batch)?;
        let end = self.end();
        while self.position().is_some_and(|position| position + 1 < end) {
            let rest = usize::try_from(end - 1 - self.position().unwrap_or(0));
            caught.add(self.run_once(batch.min(rest.unwrap_or(batch)))?);
        }
        Ok(caught)
    }

    /// Makes the state anew from the first event on, in memory, and saves it in the place of
    /// the old one when it has caught up with the events that there were when it was called. Until then the old
    /// one stays, after a crash as well. The dead letters are collected anew.
    ///
    /// A copy of the state is made every `batch` events, to go back to from one that is
    /// refused.
    ///
    /// # Errors
    /// [`ProjectionError`]. The old state stays.
    pub fn rebuild(&mut self, batch: usize) -> Result<Caught, ProjectionError>
    where
        S: Clone,
    {
        // From now on its group keeps all that there is.
        let anew = self.queue.replay(&self.name, Start::Earliest);
        self.group = anew.map_err(ProjectionError::Group)?;
        let rebuilt = self.fold_anew(batch.max(1) as u64);
        let place = match rebuilt {
            Ok(place) => place,
            Err(error) => {
                if let Some(position) = self.position() {
                    self.release(position);
                }
                return Err(error);
            }
        };
        let caught = place.caught;
        self.release(place.position);
        self.place = Some(place);
        Ok(caught)
    }

    fn fold_anew(&mut self, batch: u64) -> Result<Place<S>, ProjectionError>
    where
        S: Clone,
    {
        let mut place = Place::at(0, S::default());
        let end = self.end();
        while place.position + 1 < end {
            let before = place.clone();
            let until = end.min((place.position + 1).saturating_add(batch));
            let copy = || before.clone();
            let (next, refused) = self.advance(place, until, &Before::Copy(&copy))?;
            place = next;
            match refused {
                Some((id, source)) if self.poison == Poison::Stop => {
                    return Err(ProjectionError::Poisoned { id, source });
                }
                Some(refused) => self.leave_out(&mut place, &refused)?,
                None => {}
            }
        }
        self.place = None; // it is loaded again, if saving fails
        let saved = self.store.replace(place.position, &mut place.state);
        saved.map_err(ProjectionError::Save)?;
        Ok(place)
    }

    /// Folds up to this number, or to one before an event that is refused.
    fn advance(
        &mut self,
        mut place: Place<S>,
        mut until: u64,
        before: &Before<'_, S>,
    ) -> Result<(Place<S>, Option<Refused>), ProjectionError> {
        let mut refused = None;
        loop {
            match self.fold_until(&mut place, until) {
                Ok(()) => return Ok((place, refused)),
                Err(Halt::Failed(error)) => return Err(error),
                Err(Halt::Refused((id, cause))) => {
                    // It may have changed a part: once more, without it.
                    place = match before {
                        Before::Saved => self.load()?,
                        Before::Copy(copy) => copy(),
                    };
                    until = id;
                    refused = Some((id, cause));
                }
            }
        }
    }

    fn fold_until(&mut self, place: &mut Place<S>, until: u64) -> Result<(), Halt> {
        let oldest = self.reader.range().start;
        let wanted = place.position + 1;
        if wanted < oldest {
            if !self.accept_gone {
                return Err(Halt::Failed(ProjectionError::Gone { wanted, oldest }));
            }
            let next = oldest.min(until);
            place.caught.missing += next - wanted;
            place.position = next - 1;
        }
        while place.position + 1 < until {
            let id = place.position + 1;
            let event = self.reader.read(id);
            let event = event.map_err(|error| Halt::Failed(ProjectionError::Read(error)))?;
            if let Some(event) = event {
                let fold = AssertUnwindSafe(|| (self.fold)(&mut place.state, &event));
                // A state that a panic left behind is thrown away.
                let folded = catch_unwind(fold).unwrap_or_else(|panic| Err(said(&*panic)));
                folded.map_err(|cause| Halt::Refused((id, cause)))?;
                place.caught.folded += 1;
            } else {
                place.caught.missing += 1;
            }
            place.position = id;
        }
        Ok(())
    }

    /// Puts an event that was refused with the dead letters, before it is passed over.
    fn leave_out(
        &mut self,
        place: &mut Place<S>,
        (id, cause): &Refused,
    ) -> Result<(), ProjectionError> {
        let id = *id;
        let buried = self.group.bury(id, cause.to_string());
        buried.map_err(|source| ProjectionError::NotBuried { id, source })?;
        place.position = id;
        place.caught.dead += 1;
        Ok(())
    }

    fn load(&mut self) -> Result<Place<S>, ProjectionError> {
        let loaded = self.store.load().map_err(ProjectionError::Load)?;
        let (position, state) = loaded.unwrap_or_default();
        Ok(Place::at(position, state))
    }

    /// One behind the last event that no crash takes back.
    fn end(&self) -> u64 {
        // If the disk failed, what is durable goes on being folded.
        let _ = self.queue.flush();
        self.reader.range().end
    }

    /// Tells the queue up to where events are not needed any more. If that fails or is lost,
    /// they are kept for longer.
    fn release(&self, position: u64) {
        let _ = self.group.ack_below(position + 1);
    }
}

impl Caught {
    fn add(&mut self, more: Self) {
        self.folded += more.folded;
        self.dead += more.dead;
        self.missing += more.missing;
    }
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events folded, {} dead, {} missing",
            self.folded, self.dead, self.missing
        )
    }
}

impl<S, D: Disk> fmt::Debug for Projection<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projection")
            .field("name", &self.name)
            .field("position", &self.place.as_ref().map(|place| place.position))
            .finish_non_exhaustive()
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> Cause {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the fold panicked: {}", text.unwrap_or("without words")).into()
}
