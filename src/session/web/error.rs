use std::io;

use http::StatusCode;

use crate::session::{CreateError, CycleError, LogError, RevokeError, SaveError, Unavailable};

/// Something that could not be done to the session of a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The store gave no answer to go by; nobody knows whether there is a session.
    #[error("the sessions are not available now")]
    Unavailable(#[from] Unavailable),
    /// The session ended while the request was under way: somebody logged out, or in. Nothing was saved.
    #[error("the session ended while the request was under way")]
    Gone,
    /// Others have changed it at the same time, again and again. Nothing was saved.
    #[error("the session was changed by too many others at once")]
    Busy,
    /// More data than a session may have.
    #[error("a session may have {max} bytes of data, found {len}")]
    TooLarge {
        /// How many bytes there were.
        len: usize,
        /// How many there may be.
        max: usize,
    },
    /// As many sessions as there may be, of this user or of all.
    #[error("there are as many sessions as there may be: {max}")]
    Full {
        /// How many.
        max: usize,
    },
    /// The data is no map of keys: something else has written it.
    #[error("the data of the session is no map of keys")]
    NotAMap,
    /// The system gave no random bits.
    #[error("the system gave no random bits")]
    Entropy(#[source] io::Error),
    /// A revocation that holds until a restart.
    #[error("the end of a session could not be logged")]
    Log(#[source] io::Error),
    /// The same, of sessions that were ended.
    #[error(transparent)]
    Revoked(#[from] LogError),
}

impl SessionError {
    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Gone | Self::Busy => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAMap => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_)
            | Self::Full { .. }
            | Self::Entropy(_)
            | Self::Log(_)
            | Self::Revoked(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<CreateError> for SessionError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Entropy(error) => Self::Entropy(error),
            CreateError::TooLarge { len, max } => Self::TooLarge { len, max },
            CreateError::Full { max } | CreateError::UserFull { max } => Self::Full { max },
            CreateError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl From<SaveError> for SessionError {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Gone => Self::Gone,
            SaveError::Conflict { .. } => Self::Busy,
            SaveError::TooLarge { len, max } => Self::TooLarge { len, max },
            SaveError::NotAMap => Self::NotAMap,
            SaveError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl From<CycleError> for SessionError {
    fn from(error: CycleError) -> Self {
        match error {
            CycleError::Gone => Self::Gone,
            CycleError::Entropy(error) => Self::Entropy(error),
            CycleError::UserFull { max } => Self::Full { max },
            CycleError::Log(error) => Self::Log(error),
            CycleError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl From<RevokeError> for SessionError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Log(error) => Self::Revoked(error),
            RevokeError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}
