use std::time::Duration;

use super::log::millis;

/// What is kept of messages that every group is done with, for groups that begin later
/// and for [replays](super::Queue::replay).
///
/// It goes by whole segments, from the newest back, so that somewhat more may be kept.
/// Messages that some group is not done with are kept whatever this says.
///
/// An event log, which anybody reads from its beginning at any time, keeps
/// [`All`](Self::All), or what is younger than some [`Time`](Self::Time), and has no
/// consumers of its own, only groups:
///
#[cfg_attr(feature = "test-util", doc = "```")]
#[cfg_attr(not(feature = "test-util"), doc = "```ignore")]
/// use tenfold::queue::{Queue, Retention, Start, storage::SimDisk};
///
/// let events = Queue::builder().retention(Retention::All).open_on(SimDisk::new(1))?;
/// events.remove_group("default")?; // whose consumers nobody asks for
/// for event in ["created", "paid", "sent"] {
///     events.publish(event)?;
/// }
/// let late = events.group("audit", Start::Earliest)?;
/// assert_eq!(late.recv_batch(10)?.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Retention {
    /// Nothing beyond need: room is given back as messages are done.
    #[default]
    Acked,
    /// The newest so many bytes of segments.
    Bytes(u64),
    /// What was published within this time.
    Time(Duration),
    /// What was published within this time, as far as it is among the newest so many
    /// bytes.
    Both {
        /// How long.
        time: Duration,
        /// How many bytes.
        bytes: u64,
    },
    /// Everything, for ever.
    All,
}

impl Retention {
    /// Whether a segment is kept whose newest message was published then. `bytes` is
    /// what is kept of it and all newer ones without being needed.
    pub(super) fn keeps(self, bytes: u64, newest: u64, now: u64) -> bool {
        let is_young = |time| newest.saturating_add(millis(time)) > now;
        match self {
            Self::Acked => false,
            Self::Bytes(most) => bytes <= most,
            Self::Time(time) => is_young(time),
            Self::Both { time, bytes: most } => bytes <= most && is_young(time),
            Self::All => true,
        }
    }
}
