use crate::queue::{PublishError, RecvError, SettleError};

/// What a [`QueueJournal`](super::QueueJournal) says when it fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The queue did not take the changes, or nobody knows whether they last.
    #[error("the changes could not be kept")]
    Append(#[source] PublishError),
    /// An earlier append may or may not be there: none is taken before that is found
    /// out.
    #[error("an earlier append may or may not last: open the journal anew")]
    Uncertain,
    /// Changes that are in the store may come again after a crash.
    #[error("changes could not be let go of")]
    Ack(#[source] SettleError),
    /// The changes that were kept could not be read. They are still there.
    #[error("the changes that were kept could not be read")]
    Read(#[source] RecvError),
    /// A message that is none of this journal's, or that the codec does not understand.
    #[error("message {id} is no change of this journal: {what}")]
    Foreign {
        /// The message.
        id: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A key that is longer than 4 GiB. Nothing was kept.
    #[error("a key may have {most} bytes, found {found}", most = u32::MAX)]
    KeyTooLong {
        /// How many it has.
        found: usize,
    },
}
