use std::error::Error;

use crate::queue::{PublishError, RecvError};

/// What the fold or the store said.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// Why a projection did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// The name is that of the queue's own consumers, whose messages it would take.
    #[error("a projection needs a name of its own, found {name:?}, which is the workers' group")]
    Reserved {
        /// The name.
        name: String,
    },
    /// The group of its name could not be begun.
    #[error("the group of the projection could not be begun")]
    Group(#[source] PublishError),
    /// The store could not load.
    #[error("the state could not be loaded")]
    Load(#[source] Cause),
    /// The store could not save, or not say whether it did: it is loaded again before
    /// anything else.
    #[error("the state could not be saved")]
    Save(#[source] Cause),
    /// An event could not be read. It is tried again with the next call.
    #[error("an event could not be read")]
    Read(#[source] RecvError),
    /// The fold refused an event, and the projection stops at the one before it.
    #[error("event {id} was refused")]
    Poisoned {
        /// The event.
        id: u64,
        /// What the fold said, or panicked with.
        source: Cause,
    },
    /// An event that the fold refused could not be put with the dead letters, so that it
    /// stops there.
    #[error("event {id}, which was refused, could not be noted as dead")]
    NotBuried {
        /// The event.
        id: u64,
        /// Why not.
        source: PublishError,
    },
    /// Events that the fold needs are given up.
    #[error(
        "event {wanted} is gone, and the oldest one kept is {oldest}: a fold needs all of them"
    )]
    Gone {
        /// The first that is needed.
        wanted: u64,
        /// The first that is there.
        oldest: u64,
    },
    /// The state knows events that the queue has not: it is another queue's, or the queue
    /// has lost its end. A rebuild settles it.
    #[error("the state is at event {position}, and the queue ends before {end}")]
    Ahead {
        /// Of the state.
        position: u64,
        /// One behind the queue's last event.
        end: u64,
    },
}
