use std::time::Duration;

use bytes::Bytes;

/// What is published: bytes, and how they shall be delivered.
///
/// ```
/// use std::time::Duration;
/// use tenfold::queue::{Message, Priority};
///
/// let message = Message::new("charge card 17")
///     .priority(Priority::HIGH)
///     .delay(Duration::from_secs(5))
///     .dedup_id("order-17");
/// assert_eq!(message.payload(), "charge card 17");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub(super) payload: Bytes,
    pub(super) priority: Priority,
    pub(super) delay: Duration,
    pub(super) ttl: Option<Duration>,
    pub(super) dedup_id: Option<Bytes>,
}

impl Message {
    /// A message to be delivered at once.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: payload.into(),
            priority: Priority::NORMAL,
            delay: Duration::ZERO,
            ttl: None,
            dedup_id: None,
        }
    }

    /// The bytes.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Comes before messages of lower priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Is not delivered before this long has passed, restarts included.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Is not delivered once this long has passed; it counts as done then.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Is taken once: what is published again with the same bytes here, within the
    /// queue's window, is not taken. At most 255 bytes.
    #[must_use]
    pub fn dedup_id(mut self, id: impl AsRef<[u8]>) -> Self {
        self.dedup_id = Some(Bytes::copy_from_slice(id.as_ref()));
        self
    }
}

impl<T: Into<Bytes>> From<T> for Message {
    fn from(payload: T) -> Self {
        Self::new(payload)
    }
}

/// One of eight levels. Whatever is ready at a higher one comes first.
///
/// ```
/// use tenfold::queue::Priority;
///
/// assert!(Priority::HIGH > Priority::NORMAL && Priority::NORMAL > Priority::LOW);
/// assert_eq!(Priority::new(99), Priority::new(7));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// Level 1.
    pub const LOW: Self = Self(1);
    /// Level 3, where a message is if nothing else is said.
    pub const NORMAL: Self = Self(3);
    /// Level 5.
    pub const HIGH: Self = Self(5);

    /// A level from 0, the last to be served, to 7.
    pub const fn new(level: u8) -> Self {
        Self(if level > 7 { 7 } else { level })
    }

    /// The level.
    pub const fn level(self) -> u8 {
        self.0
    }
}

/// What became of a message that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Its number: messages are numbered in the order in which they were taken.
    pub id: u64,
    /// Whether it was not taken since one with its dedup id was: the number is that
    /// one's.
    pub duplicate: bool,
}
