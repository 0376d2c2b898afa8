use std::fmt;
use std::str::FromStr;

use super::{Position, SystemId};

/// What a client has seen or written, to be shown again with a read that must not be older: no clock, no
/// sticky seconds.
///
/// It is text to be kept in a cookie or a header, and not secret. It is not signed either: a made-up one
/// costs its maker a wait and a read on the primary, and shows nothing more.
///
/// ```
/// use tenfold::replica::{CausalToken, Position, SystemId};
///
/// let token = CausalToken::new(SystemId(7), 3, Position(0x1A0));
/// let text = token.to_string();
/// assert_eq!(text, "7.3.1a0");
/// assert_eq!(text.parse::<CausalToken>()?, token);
/// # Ok::<(), tenfold::replica::InvalidToken>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CausalToken {
    system: SystemId,
    timeline: u64,
    position: Position,
}

impl CausalToken {
    /// What is up to this position of this timeline of a cluster's log.
    pub fn new(system: SystemId, timeline: u64, position: Position) -> Self {
        Self {
            system,
            timeline,
            position,
        }
    }

    /// The cluster.
    #[inline]
    pub fn system(&self) -> SystemId {
        self.system
    }

    /// The line of its log.
    #[inline]
    pub fn timeline(&self) -> u64 {
        self.timeline
    }

    /// How far.
    #[inline]
    pub fn position(&self) -> Position {
        self.position
    }
}

impl fmt::Display for CausalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:x}.{:x}.{:x}",
            self.system.0, self.timeline, self.position.0
        )
    }
}

impl FromStr for CausalToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let mut parts = text.split('.').map(|part| {
            let plain = part.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        });
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(system)), Some(Some(timeline)), Some(Some(position)), None) => Ok(Self {
                system: SystemId(system),
                timeline,
                position: Position(position),
            }),
            _ => Err(InvalidToken(text.chars().take(60).collect())),
        }
    }
}

/// A text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a token is three hexadecimal numbers with dots between, like 7.3.1a0, found {0:?}")]
pub struct InvalidToken(Box<str>);
