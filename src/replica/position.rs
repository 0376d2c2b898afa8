use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// How far a log has come: a byte or entry offset, an LSN. Compared as a number.
///
/// Written as PostgreSQL writes it, and read from there:
///
/// ```
/// use tenfold::replica::Position;
///
/// let ahead: Position = "A/0".parse()?;
/// let behind: Position = "9/FFFFFFFF".parse()?;
/// assert!(ahead > behind); // as strings it would be the other way round
/// assert_eq!(ahead.to_string(), "A/0");
/// assert_eq!(ahead.bytes_after(behind), 1);
/// assert!("16".parse::<Position>().is_err());
/// # Ok::<(), tenfold::replica::InvalidPosition>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// How much `self` is ahead of `other`, zero if it is not.
    pub fn bytes_after(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let invalid = || InvalidPosition(text.chars().take(40).collect());
        let half = |digits: &str| {
            let plain = digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain
                .then(|| u64::from_str_radix(digits, 16).ok())
                .flatten()
        };
        let (high, low) = text.split_once('/').ok_or_else(invalid)?;
        match (half(high), half(low)) {
            (Some(high), Some(low)) => Ok(Self(high << 32 | low)),
            _ => Err(invalid()),
        }
    }
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a position is two hexadecimal numbers of 32 bits with a slash between, like 16/B374D848, found {0:?}"
)]
pub struct InvalidPosition(pub(super) Box<str>);

/// Which cluster a server belongs to: two servers with different ones have nothing in common, whatever their names.
/// PostgreSQL's system identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(pub u64);

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How many times the role of the primary has gone to another server. Of two that call themselves
/// primary, the one with the older epoch is a former one.
///
/// `term` decides where it is known (a lease's fencing number, a consensus term; 0 where there is none) only
/// between equal timelines: a timeline is written into the log by the promotion itself, and a term is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch {
    /// The line of the log, one more after each promotion: PostgreSQL's timeline.
    pub timeline: u64,
    /// The number of whoever hands out the role, if anybody does.
    pub term: u64,
}

impl Epoch {
    /// Whether this one is certainly after the other. Of two that differ in a term which one of them does not know,
    /// neither is.
    ///
    /// ```
    /// use tenfold::replica::Epoch;
    ///
    /// let epoch = |timeline, term| Epoch { timeline, term };
    /// assert!(epoch(2, 0).is_after(epoch(1, 9)));
    /// assert!(epoch(2, 4).is_after(epoch(2, 3)));
    /// assert!(!epoch(2, 4).is_after(epoch(2, 0)));
    /// ```
    pub fn is_after(self, other: Self) -> bool {
        match self.timeline.cmp(&other.timeline) {
            Ordering::Equal => other.term != 0 && self.term > other.term,
            order => order.is_gt(),
        }
    }
}

/// Where a line of the log left the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fork {
    /// The line that began there.
    pub timeline: u64,
    /// The line that it left.
    pub parent: u64,
    /// What of that one is on both: everything up to here.
    pub at: Position,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.term {
            0 => write!(f, "timeline {}", self.timeline),
            term => write!(f, "timeline {}, term {term}", self.timeline),
        }
    }
}
