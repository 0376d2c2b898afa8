use std::fmt;

/// What a [`Group`](super::Group) has done so far.
///
/// Counted under locks that are held anyway, and so exact and free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GroupStats {
    /// Calls that found nobody at work and led.
    pub led: u64,
    /// Calls that stood in another's line.
    pub joined: u64,
    /// Calls that were given an outcome that lingered.
    pub lingered: u64,
    /// Calls that led after the caller at work was lost.
    pub promoted: u64,
    /// Leaders that were dropped before they had landed.
    pub dropped: u64,
    /// Leaders whose work panicked.
    pub panicked: u64,
    /// Calls that waited as long as they might.
    pub timed_out: u64,
    /// Calls refused because too many waited.
    pub refused: u64,
    /// Flights under way now.
    pub in_flight: u64,
}

impl GroupStats {
    /// The share of calls that did no work of their own, from 0 to 1.
    pub fn coalesced(&self) -> f64 {
        let spared = (self.joined + self.lingered).saturating_sub(self.promoted);
        let calls = self.led + self.joined + self.lingered;
        if calls == 0 {
            return 0.0;
        }
        spared as f64 / calls as f64
    }
}

impl fmt::Display for GroupStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} led, {} joined, {} lingered ({:.1} % spared); {} promoted for {} dropped and {} panicked; \
             {} timed out, {} refused; {} in flight",
            self.led,
            self.joined,
            self.lingered,
            self.coalesced() * 100.0,
            self.promoted,
            self.dropped,
            self.panicked,
            self.timed_out,
            self.refused,
            self.in_flight,
        )
    }
}
