/// How a member is chosen from those that may be.
///
/// Members' weights count with all of them. For a choice of one, see the table in the
/// [module's page](super#which-policy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Three at random, of whom the one with the least expected wait: its latency, as late requests
    /// found it, times the requests it has in flight, one more included. A failure counts as a very
    /// long latency.
    #[default]
    Adaptive,
    /// Two at random, of whom the one with fewer requests in flight.
    LeastRequest,
    /// Two at random, of whom the one with the lower peak-sensitive latency times requests in flight,
    /// as Finagle and tower have it. It does not know failures from successes: use it to compare.
    PeakEwma,
    /// One after the other. If weights differ it is a smooth weighted round robin: a heavy member's
    /// turns are spread evenly among those of the others.
    RoundRobin,
    /// Anyone, by weight.
    Random,
}

impl Policy {
    /// Whether it asks how long requests take.
    #[inline]
    pub(super) const fn is_timed(self) -> bool {
        matches!(self, Self::Adaptive | Self::PeakEwma)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::LeastRequest => "least request",
            Self::PeakEwma => "peak-EWMA",
            Self::RoundRobin => "round robin",
            Self::Random => "random",
        }
    }
}
