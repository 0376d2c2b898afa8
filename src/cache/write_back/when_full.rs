/// What a change does for which there is no room, since
/// [`max_dirty`](super::WriteBackBuilder::max_dirty) records wait for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// Its caller flushes until there is room. While the store is left alone
    /// after a failure, it waits.
    #[default]
    Flush,
    /// It waits until [`flush_every`](super::WriteBackBuilder::flush_every) has
    /// made room, and has that begin at once. The caller never calls the store.
    Wait,
    /// It is turned away, with
    /// [`NotAccepted`](super::NotAccepted).
    Refuse,
}
