use std::fmt;
use std::ops::Range;

/// What opening a queue found, and what it did about it.
///
/// ```
/// use tenfold::queue::Recovery;
///
/// let nothing = Recovery::default();
/// assert!(nothing.is_clean());
/// assert_eq!(nothing.to_string(), "0 records read, 0 carried over, nothing lost");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Records read, from the newest checkpoint on.
    pub records: u64,
    /// Records that were written again, since nobody could say whether they last.
    pub carried: u64,
    /// What was damaged where it had been durable.
    pub damage: Vec<Damage>,
    /// Messages that are missing without a trace of where they were.
    pub gaps: Vec<Range<u64>>,
    /// What an unclean end left half-written, of which nothing was confirmed.
    pub torn: Option<Damage>,
    /// Checkpoints that could not be used. If that were all, what was acknowledged
    /// before may be delivered once more.
    pub checkpoints_lost: usize,
}

/// A part of a segment that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The segment's number.
    pub segment: u64,
    /// Where in its file.
    pub bytes: Range<u64>,
    /// What it was.
    pub kind: DamageKind,
    /// The messages that were in there.
    pub messages: Range<u64>,
    /// The file that has the damaged bytes now.
    pub saved: Option<String>,
}

/// What was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// Both copies of a segment's header: the file was set aside as a whole.
    Header,
    /// One copy of a segment's header: the other one is used.
    HeaderCopy,
    /// A record that had been durable.
    Record,
    /// The file is shorter than it was made.
    Truncated,
    /// The end of the log, in a crash.
    Torn,
}

impl Recovery {
    /// Whether nothing that had been durable is missing.
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty() && self.gaps.is_empty() && self.checkpoints_lost == 0
    }

    /// The numbers of messages that are known to be lost.
    pub fn lost(&self) -> impl Iterator<Item = Range<u64>> {
        let damaged = self.damage.iter().map(|damage| damage.messages.clone());
        let lost = damaged.chain(self.gaps.iter().cloned());
        lost.filter(|messages| !messages.is_empty())
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (records, carried) = (self.records, self.carried);
        write!(f, "{records} records read, {carried} carried over, ")?;
        if self.is_clean() {
            f.write_str("nothing lost")?;
        } else {
            let (messages, places) = (self.lost().map(|m| m.end - m.start), self.damage.len());
            let messages = messages.fold(0, u64::saturating_add);
            write!(f, "{messages} messages lost in {places} damaged places")?;
        }
        if let Some(torn) = &self.torn {
            let bytes = torn.bytes.end - torn.bytes.start;
            write!(f, ", {bytes} bytes of an unfinished write dropped")?;
        }
        if self.checkpoints_lost > 0 {
            write!(f, ", {} checkpoints unusable", self.checkpoints_lost)?;
        }
        Ok(())
    }
}
