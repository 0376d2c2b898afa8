use std::error::Error;

use super::{Applied, Conflict, Coverage, Digest, Entry, ForkPoint, LogRange, Read};
use crate::replica::Position;

/// [`EntrySource`](super::EntrySource) for clients that are futures.
pub trait AsyncEntrySource: Send + Sync {
    /// What was written.
    type Write: Send;
    /// What goes wrong with reading.
    type Error: Error + Send + Sync + 'static;

    /// See [`EntrySource::entries_after`](super::EntrySource::entries_after). What has been read as a whole can be given as [`Ready`].
    fn entries_after(
        &self,
        from: ForkPoint,
    ) -> impl Future<
        Output = Result<
            impl AsyncEntries<Write = Self::Write, Error = Self::Error> + Send,
            Self::Error,
        >,
    > + Send;

    /// See [`EntrySource::coverage`](super::EntrySource::coverage).
    fn coverage(&self, from: ForkPoint) -> Coverage {
        let _ = from;
        Coverage::Whole
    }
}

impl<S: AsyncEntrySource> AsyncEntrySource for &S {
    type Write = S::Write;
    type Error = S::Error;

    async fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl AsyncEntries<Write = Self::Write, Error = Self::Error> + Send, Self::Error>
    {
        S::entries_after(self, from).await
    }

    fn coverage(&self, from: ForkPoint) -> Coverage {
        S::coverage(self, from)
    }
}

/// Entries that come one at a time.
pub trait AsyncEntries {
    /// What was written.
    type Write;
    /// What goes wrong with reading.
    type Error;

    /// The next one, if there is one. Nothing is asked after an end or an error.
    fn next(
        &mut self,
    ) -> impl Future<Output = Option<Result<Read<Self::Write>, Self::Error>>> + Send;
}

/// Entries that are in memory, or are read by blocking.
#[derive(Debug, Clone)]
pub struct Ready<I>(pub I);

impl<W, E, I> AsyncEntries for Ready<I>
where
    W: Send,
    E: Send,
    I: Iterator<Item = Result<Read<W>, E>> + Send,
{
    type Write = W;
    type Error = E;

    async fn next(&mut self) -> Option<Result<Read<W>, E>> {
        self.0.next()
    }
}

/// [`ReplicationLog`](super::ReplicationLog) for clients that are futures.
pub trait AsyncReplicationLog: AsyncEntrySource {
    /// See [`ReplicationLog::last_applied`](super::ReplicationLog::last_applied).
    fn last_applied(&self) -> impl Future<Output = Result<Position, Self::Error>> + Send;

    /// See [`ReplicationLog::apply`](super::ReplicationLog::apply). It may be dropped before it is ready, and must have happened
    /// whole or not at all then too.
    fn apply(
        &self,
        entry: &Entry<Self::Write>,
    ) -> impl Future<Output = Result<Applied, Self::Error>> + Send;

    /// See [`ReplicationLog::overwrite`](super::ReplicationLog::overwrite).
    fn overwrite(
        &self,
        entry: &Entry<Self::Write>,
        conflicts: &[Conflict],
    ) -> impl Future<Output = Result<Applied, Self::Error>> + Send;

    /// See [`ReplicationLog::digest`](super::ReplicationLog::digest).
    fn digest(&self, range: LogRange) -> impl Future<Output = Result<Digest, Self::Error>> + Send;
}
