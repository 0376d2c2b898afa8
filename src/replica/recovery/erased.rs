use std::error::Error;
use std::pin::Pin;

use super::{
    Applied, AsyncEntries, AsyncEntrySource, AsyncReplicationLog, Conflict, Coverage, Digest,
    Entry, EntrySource, ForkPoint, LogRange, Read, Ready, ReplicationLog,
};
use crate::replica::Position;

/// What went wrong with a source, whichever it was.
pub(super) type AnyError = Box<dyn Error + Send + Sync>;
type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source, whichever it is: what a recovery keeps a list of.
pub(super) trait AnySource<W>: Send + Sync {
    fn open(&self, from: ForkPoint) -> Later<'_, Result<Box<dyn AnyEntries<W> + '_>, AnyError>>;
    fn coverage(&self, from: ForkPoint) -> Coverage;
}

pub(super) trait AnyEntries<W>: Send {
    fn next(&mut self) -> Later<'_, Option<Result<Read<W>, AnyError>>>;
}

/// A source whose writes are put into the target's words.
pub(super) struct Converted<S, F> {
    pub(super) source: S,
    pub(super) convert: F,
}

struct ConvertedEntries<'a, E, F> {
    entries: E,
    convert: &'a F,
}

impl<S, F, W> AnySource<W> for Converted<S, F>
where
    S: AsyncEntrySource,
    F: Fn(S::Write) -> W + Send + Sync,
    W: Send,
{
    fn open(&self, from: ForkPoint) -> Later<'_, Result<Box<dyn AnyEntries<W> + '_>, AnyError>> {
        Box::pin(async move {
            let entries = self.source.entries_after(from).await?;
            let convert = &self.convert;
            Ok(Box::new(ConvertedEntries { entries, convert }) as Box<dyn AnyEntries<W>>)
        })
    }

    fn coverage(&self, from: ForkPoint) -> Coverage {
        self.source.coverage(from)
    }
}

impl<E, F, W> AnyEntries<W> for ConvertedEntries<'_, E, F>
where
    E: AsyncEntries + Send,
    E::Write: Send,
    E::Error: Error + Send + Sync + 'static,
    F: Fn(E::Write) -> W + Send + Sync,
    W: Send,
{
    fn next(&mut self) -> Later<'_, Option<Result<Read<W>, AnyError>>> {
        Box::pin(async {
            let read = match self.entries.next().await? {
                Ok(read) => read,
                Err(error) => return Some(Err(error.into())),
            };
            Some(Ok(match read {
                Read::Entry(entry) => Read::Entry(entry.map(self.convert)),
                Read::Unreadable { position, why } => Read::Unreadable { position, why },
                Read::Partly {
                    position,
                    rest,
                    missing,
                } => Read::Partly {
                    position,
                    rest: rest.map(|entry| entry.map(self.convert)),
                    missing,
                },
                Read::Upto(position) => Read::Upto(position),
            }))
        })
    }
}

/// A log that blocks, as one of futures that are ready at once.
pub(super) struct Blocking<'a, L>(pub(super) &'a L);

impl<L: EntrySource> AsyncEntrySource for Blocking<'_, L> {
    type Write = L::Write;
    type Error = L::Error;

    async fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl AsyncEntries<Write = L::Write, Error = L::Error> + Send, L::Error> {
        self.0.entries_after(from).map(Ready)
    }

    fn coverage(&self, from: ForkPoint) -> Coverage {
        self.0.coverage(from)
    }
}

impl<L> AsyncReplicationLog for Blocking<'_, L>
where
    L: ReplicationLog,
    L::Write: Sync,
{
    async fn last_applied(&self) -> Result<Position, L::Error> {
        self.0.last_applied()
    }

    async fn apply(&self, entry: &Entry<L::Write>) -> Result<Applied, L::Error> {
        self.0.apply(entry)
    }

    async fn overwrite(
        &self,
        entry: &Entry<L::Write>,
        conflicts: &[Conflict],
    ) -> Result<Applied, L::Error> {
        self.0.overwrite(entry, conflicts)
    }

    async fn digest(&self, range: LogRange) -> Result<Digest, L::Error> {
        self.0.digest(range)
    }
}
