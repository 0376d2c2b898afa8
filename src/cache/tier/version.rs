use std::hash::BuildHasher;

use crate::hash::TableHasher;
use crate::sync::Mutex;
use crate::time::Clock;

/// Says which of two changes of a key is the newer one, on whatever node they
/// were made.
///
/// A version is a hybrid of a wall clock and a counter: it follows the time, and
/// it is always larger than every version that its node had seen when it was
/// drawn. Two nodes never draw the same one.
///
/// ```
/// use tenfold::cache::tier::{NodeId, Version};
///
/// let (a, b) = (NodeId::new(1), NodeId::new(2));
/// assert!(Version::new(5, b) > Version::new(5, a));
/// assert!(Version::new(6, a) > Version::new(5, b));
/// // An engine may compare the bytes instead.
/// assert!(Version::new(256, a).to_bytes() > Version::new(255, b).to_bytes());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    tick: u64,
    node: NodeId,
}

impl Version {
    /// A version with this time, in nanoseconds, of this node.
    pub const fn new(tick: u64, node: NodeId) -> Self {
        Self { tick, node }
    }

    /// Its time, in nanoseconds since the epoch of the nodes' wall clocks.
    pub const fn tick(self) -> u64 {
        self.tick
    }

    /// The node that drew it.
    pub const fn node(self) -> NodeId {
        self.node
    }

    /// Sixteen bytes that compare as the version does.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.tick) << 64 | u128::from(self.node.0)).to_be_bytes()
    }

    /// The version of these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self::new((both >> 64) as u64, NodeId(both as u64))
    }
}

/// Names a tier among those that share an L2 and a backplane, for as long as it
/// lives: one that is started again is another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// A node of this number. No two that share a tier may have the same, nor
    /// may one that is started again have its old one.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// A number drawn at random: what a builder does that was given none.
    pub fn random() -> Self {
        Self(TableHasher::random().hash_one(0))
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Draws the versions of one node.
#[derive(Debug)]
pub(super) struct VersionClock {
    clock: Clock,
    node: NodeId,
    /// What to add to the clock to get the time of day, in nanoseconds.
    epoch: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: u64,
    /// How far the fastest clock that was heard of is ahead of this one. Who
    /// only remembered `last` would fall behind again as that clock goes on.
    ahead: u64,
}

/// Half of all time: a version beyond it is a mistake, and following it would
/// leave no room for newer ones.
const NONSENSE: u64 = u64::MAX / 2;

impl VersionClock {
    pub(super) fn new(clock: Clock, epoch: u64, node: NodeId) -> Self {
        let state = State { last: 0, ahead: 0 };
        Self {
            clock,
            node,
            epoch,
            state: Mutex::new(state),
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// A version newer than all that were drawn or observed here.
    pub(super) fn next(&self) -> Version {
        let now = self.now();
        let mut state = self.state.lock();
        state.last = now
            .saturating_add(state.ahead)
            .max(state.last.saturating_add(1));
        Version::new(state.last, self.node)
    }

    /// Takes note of a version of another node; those drawn from now on are
    /// newer. Tells whether it was one to believe.
    pub(super) fn observe(&self, version: Version) -> bool {
        if version.tick > NONSENSE {
            return false;
        }
        let now = self.now();
        let mut state = self.state.lock();
        state.last = state.last.max(version.tick);
        state.ahead = state.ahead.max(version.tick.saturating_sub(now));
        true
    }

    fn now(&self) -> u64 {
        self.clock.now().as_nanos().saturating_add(self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::ManualClock;

    #[test]
    fn versions_of_a_node_only_grow() {
        let time = ManualClock::new();
        let versions = VersionClock::new(time.clock(), 0, NodeId::new(1));
        let first = versions.next();
        let second = versions.next();
        time.advance(Duration::from_nanos(1));
        let third = versions.next();
        assert!(first < second && second < third);
    }

    #[test]
    fn what_is_drawn_after_a_version_was_observed_is_newer() {
        let (early, late) = (ManualClock::new(), ManualClock::new());
        late.advance(Duration::from_secs(100));
        let fast = VersionClock::new(late.clock(), 0, NodeId::new(1));
        let slow = VersionClock::new(early.clock(), 0, NodeId::new(2));
        let heard = fast.next();
        assert!(slow.next() < heard);
        assert!(slow.observe(heard));
        assert!(slow.next() > heard);
    }

    #[test]
    fn a_slow_clock_keeps_up_with_the_fastest_it_has_heard() {
        let (early, late) = (ManualClock::new(), ManualClock::new());
        late.advance(Duration::from_secs(100));
        let fast = VersionClock::new(late.clock(), 0, NodeId::new(2));
        let slow = VersionClock::new(early.clock(), 0, NodeId::new(1));
        slow.observe(fast.next());
        for time in [&early, &late] {
            time.advance(Duration::from_secs(1));
        }
        let unheard = fast.next();
        early.advance(Duration::from_nanos(1));
        assert!(slow.next() > unheard);
    }

    #[test]
    fn a_version_from_the_end_of_time_is_not_followed() {
        let time = ManualClock::new();
        let versions = VersionClock::new(time.clock(), 0, NodeId::new(1));
        assert!(!versions.observe(Version::new(u64::MAX, NodeId::new(2))));
        assert!(versions.next().tick() < NONSENSE);
    }

    #[test]
    fn bytes_are_those_of_the_version() {
        let version = Version::new(0x0102, NodeId::new(0x0304));
        assert_eq!(
            version.to_bytes(),
            [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4]
        );
        assert_eq!(Version::from_bytes(version.to_bytes()), version);
    }
}
