use std::fmt;

/// What a [`Pool`](super::Pool) has done, and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PoolStats {
    /// How many connections there may be.
    pub max_size: usize,
    /// Connections that lie idle.
    pub idle: usize,
    /// Connections that are lent.
    pub lent: usize,
    /// Connections that are being made.
    pub connecting: usize,
    /// Connections that are being closed.
    pub closing: usize,
    /// Callers that wait.
    pub waiting: usize,
    /// How often everything was [purged](super::Pool::purge).
    pub generation: u64,
    /// Connections that were made.
    pub connected: u64,
    /// Attempts to connect that failed.
    pub failed: u64,
    /// Callers that had to wait or to connect.
    pub waited: u64,
    /// Connections that went from one caller to the next without lying idle.
    pub handed_over: u64,
    /// Callers that gave up at their deadline.
    pub timed_out: u64,
    /// Callers that were dropped while they waited.
    pub cancelled: u64,
    /// Connections that were closed because they were too old or idle for too long.
    pub expired: u64,
    /// Connections that were closed because they were broken, discarded, or failed their test.
    pub broken: u64,
    /// Connections that were closed because they were made before a purge.
    pub purged: u64,
}

impl fmt::Display for PoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            max_size,
            idle,
            lent,
            connecting,
            closing,
            waiting,
            generation,
            connected,
            failed,
            waited,
            handed_over,
            timed_out,
            cancelled,
            expired,
            broken,
            purged,
        } = self;
        write!(
            f,
            "{lent} lent, {idle} idle, {connecting} being made, {closing} being closed, of {max_size}; {waiting} waiting; \
             {connected} made, {failed} attempts failed; {waited} had to wait, {handed_over} handed over, \
             {timed_out} timed out, {cancelled} cancelled; closed: {expired} expired, {broken} broken, \
             {purged} purged in generation {generation}"
        )
    }
}
