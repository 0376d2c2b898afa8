use std::time::Duration;

use super::log::Mark;

/// What a publish that returned promises.
///
/// A queue has a [level](super::QueueBuilder::durability), and a call can have
/// [another](super::Queue::with_durability). A message is delivered once it is as safe as
/// both say: what a consumer has seen is not taken back by the kind of crash that the
/// stronger of the two is for.
///
/// # When a sync fails
///
/// Nothing that a call of level `Power` confirmed was waiting for that sync: it costs none
/// of it, whatever becomes of the rest. What was written since the last one that succeeded
/// is written to another file and synced there: the newest 4 MiB, and all that a call waits
/// for, from memory; what came before that from the file that failed, if all of its checksums
/// are right. Then nothing is lost and all goes on. If that cannot be read or written, the
/// queue takes nothing more, which is told as an error of the disk, and what other levels
/// confirmed since the last sync may be lost, as by a power cut: with `Interval` what came
/// in that long, with `Process` and `Memory` up to 64 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// It is on the disk: a power cut does not take it away. Callers share syncs.
    #[default]
    Power,
    /// It is in the file: a kill does not take it away, a power cut may take what came
    /// in this long. The log is synced in the background: where the
    /// [executor](super::QueueBuilder::executor) says, or by a thread that sleeps until
    /// then, is started with the first such message and ends with the queue.
    Interval(Duration),
    /// It is in the file: a kill does not take it away. The log syncs when it has to:
    /// for calls of other levels, checkpoints, and at the latest after 64 MiB.
    Process,
    /// It is in memory: a kill takes away what nobody has written yet, which consumers,
    /// [`flush`](super::Queue::flush), a full buffer and calls of other levels do.
    Memory,
}

impl Durability {
    /// How far a message must be before it is confirmed; `None` if not even written.
    pub(super) fn confirmed(self) -> Option<Mark> {
        match self {
            Self::Power => Some(Mark::Durable),
            Self::Interval(_) | Self::Process => Some(Mark::Written),
            Self::Memory => None,
        }
    }

    /// How far all messages of a queue must be before they are delivered. Those of a
    /// call that asks for more are there already when they are written: they are
    /// written and synced in one step.
    pub(super) fn delivered(self) -> Mark {
        match self {
            Self::Power => Mark::Durable,
            Self::Interval(_) | Self::Process | Self::Memory => Mark::Written,
        }
    }

    /// Within what time somebody has to see to it that it is durable.
    pub(super) fn interval(self) -> Option<Duration> {
        match self {
            Self::Interval(interval) => Some(interval),
            Self::Power | Self::Process | Self::Memory => None,
        }
    }
}
