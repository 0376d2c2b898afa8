use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use super::error::Cause;
use crate::sync::Mutex;

/// Keeps the state of a projection, and how far it is.
///
/// The module's page shows one over a table of a database.
pub trait ProjectionStore<S>: Send + 'static {
    /// What the store says when it fails.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The number of the last event in the state, and the state; `None` if nothing was saved
    /// yet. What it returns must last: events up to there may be given up.
    ///
    /// # Errors
    /// The store's own.
    fn load(&mut self) -> Result<Option<(u64, S)>, Self::Error>;

    /// Saves both, at once: after a crash there is the old pair or the new one. `Ok` says that
    /// it lasts. What the state notes for the store only, rows that were touched for example,
    /// may be cleared.
    ///
    /// # Errors
    /// The store's own. Whether it was saved may be open: it is loaded again then.
    fn save(&mut self, position: u64, state: &mut S) -> Result<(), Self::Error>;

    /// Saves both in the place of all there is: the state was made anew from the first event
    /// on. The same as [`save`](Self::save), if nothing else is said.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    fn replace(&mut self, position: u64, state: &mut S) -> Result<(), Self::Error> {
        self.save(position, state)
    }
}

/// A store of which nothing is known but that it is one.
pub(super) trait ErasedStore<S>: Send {
    fn load(&mut self) -> Result<Option<(u64, S)>, Cause>;
    fn save(&mut self, position: u64, state: &mut S) -> Result<(), Cause>;
    fn replace(&mut self, position: u64, state: &mut S) -> Result<(), Cause>;
}

impl<S, T: ProjectionStore<S>> ErasedStore<S> for T {
    fn load(&mut self) -> Result<Option<(u64, S)>, Cause> {
        Ok(ProjectionStore::load(self)?)
    }

    fn save(&mut self, position: u64, state: &mut S) -> Result<(), Cause> {
        Ok(ProjectionStore::save(self, position, state)?)
    }

    fn replace(&mut self, position: u64, state: &mut S) -> Result<(), Cause> {
        Ok(ProjectionStore::replace(self, position, state)?)
    }
}

/// A store in memory that outlives the projection, though not the process: for tests.
///
/// A clone is another handle to the same store.
pub struct MemoryStore<S> {
    saved: Arc<Mutex<Option<(u64, S)>>>,
}

impl<S: Clone> MemoryStore<S> {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            saved: Arc::new(Mutex::new(None)),
        }
    }

    /// A copy of what was saved.
    pub fn saved(&self) -> Option<(u64, S)> {
        self.saved.lock().clone()
    }
}

impl<S: Clone + Send + 'static> ProjectionStore<S> for MemoryStore<S> {
    type Error = Infallible;

    fn load(&mut self) -> Result<Option<(u64, S)>, Infallible> {
        Ok(self.saved())
    }

    fn save(&mut self, position: u64, state: &mut S) -> Result<(), Infallible> {
        let copy = state.clone();
        let old = self.saved.lock().replace((position, copy));
        drop(old);
        Ok(())
    }
}

impl<S: Clone> Default for MemoryStore<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Clone for MemoryStore<S> {
    /// Another handle to the same store.
    fn clone(&self) -> Self {
        Self {
            saved: Arc::clone(&self.saved),
        }
    }
}

impl<S> fmt::Debug for MemoryStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
