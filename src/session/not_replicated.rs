use std::fmt;
use std::sync::Arc;

use super::{SessionToken, Unavailable, Version};

/// A change that was made, and that too few replicas are known to have: see
/// [`Unavailable::NotReplicated`].
///
/// It holds what the call would have answered: a token that nobody else knows, above all.
///
/// ```
/// use tenfold::session::{Made, NotReplicated, Unavailable, Version};
///
/// let short = NotReplicated::new(Made::Saved(Version::from_u64(7)), 1, 0);
/// assert_eq!(short.to_string(), "the change is made, but 0 of 1 replicas are known to have it");
/// assert!(short.token().is_none());
/// assert!(Unavailable::from(short).may_have_happened());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReplicated {
    made: Made,
    wanted: u32,
    acknowledged: u32,
    why: Option<Arc<Unavailable>>,
}

/// What was done all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Made {
    /// A session was begun.
    Begun {
        /// Its token.
        token: SessionToken,
        /// Its version.
        version: Version,
    },
    /// A session got this token; the old one is good no more.
    Renewed(SessionToken),
    /// Data was saved.
    Saved(Version),
    /// So many sessions were ended.
    Ended(usize),
}

impl NotReplicated {
    /// Of the replicas wanted, so many acknowledged.
    pub fn new(made: Made, wanted: u32, acknowledged: u32) -> Self {
        Self {
            made,
            wanted,
            acknowledged,
            why: None,
        }
    }

    /// Says why it is not known how many did.
    #[must_use]
    pub fn because(mut self, why: Unavailable) -> Self {
        self.why = Some(Arc::new(why));
        self
    }

    /// What was done.
    pub fn made(&self) -> &Made {
        &self.made
    }

    /// The token of the session, if the call drew one: it is good as long as no failover undoes it.
    pub fn token(&self) -> Option<&SessionToken> {
        match &self.made {
            Made::Begun { token, .. } | Made::Renewed(token) => Some(token),
            Made::Saved(_) | Made::Ended(_) => None,
        }
    }

    /// How many replicas were to have it.
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// How many are known to.
    pub fn acknowledged(&self) -> u32 {
        self.acknowledged
    }
}

impl fmt::Display for NotReplicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wanted,
            acknowledged,
            ..
        } = self;
        write!(
            f,
            "the change is made, but {acknowledged} of {wanted} replicas are known to have it"
        )
    }
}

impl std::error::Error for NotReplicated {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let why = self.why.as_deref()?;
        Some(why)
    }
}

impl From<NotReplicated> for Unavailable {
    fn from(short: NotReplicated) -> Self {
        Self::NotReplicated(Box::new(short))
    }
}
