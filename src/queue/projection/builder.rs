use std::fmt;

use super::error::Cause;
use super::projection::Fold;
use super::{Projection, ProjectionError, ProjectionStore};
use crate::queue::storage::Disk;
use crate::queue::{Event, Queue};

/// What becomes of an event that the fold refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Poison {
    /// The projection stops before it, and says so at every call: for states in which
    /// nothing may be missing.
    #[default]
    Stop,
    /// It is left out, and put with the [dead letters](Queue::dead_letters_of) of the
    /// projection's group with what the fold said. Once the fold is mended, a
    /// [rebuild](Projection::rebuild) takes it in, in its place; to redrive it changes nothing.
    DeadLetters,
}

/// Says how a [`Projection`] shall be, and opens it; made by [`Projection::builder`].
#[must_use = "a builder does nothing until it opens a projection"]
pub struct ProjectionBuilder<S> {
    pub(super) name: String,
    pub(super) fold: Fold<S>,
    pub(super) poison: Poison,
    pub(super) accept_gone: bool,
}

impl<S: Default> ProjectionBuilder<S> {
    pub(super) fn new<E: Into<Cause>>(
        name: String,
        mut fold: impl FnMut(&mut S, &Event) -> Result<(), E> + Send + 'static,
    ) -> Self {
        Self {
            name,
            fold: Box::new(move |state, event| fold(state, event).map_err(Into::into)),
            poison: Poison::Stop,
            accept_gone: false,
        }
    }

    /// What becomes of an event that the fold refuses: [`Poison::Stop`].
    pub fn on_poison(mut self, poison: Poison) -> Self {
        self.poison = poison;
        self
    }

    /// Begins with the oldest event that is there, if those before it are given up.
    pub fn accept_gone(mut self) -> Self {
        self.accept_gone = true;
        self
    }

    /// Opens the projection: a group of its name is begun, unless there is one, and the
    /// state is loaded. One of a name at a time, and no consumers of that group.
    ///
    /// # Errors
    /// [`ProjectionError::Reserved`], [`ProjectionError::Group`] and [`ProjectionError::Load`].
    pub fn open<D: Disk>(
        self,
        queue: &Queue<D>,
        store: impl ProjectionStore<S>,
    ) -> Result<Projection<S, D>, ProjectionError> {
        Projection::open(self, queue, Box::new(store))
    }
}

impl<S> fmt::Debug for ProjectionBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectionBuilder")
            .field("name", &self.name)
            .field("poison", &self.poison)
            .field("accept_gone", &self.accept_gone)
            .finish_non_exhaustive()
    }
}
