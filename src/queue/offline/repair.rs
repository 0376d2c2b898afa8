use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::examine::examine;
use super::verification::{Messages, Verification};
use super::verify::report;
use crate::queue::error::OpenError;
use crate::queue::log::format::Kind;
use crate::queue::log::{Damage, DamageKind, LOCK, Mended, mend};
use crate::queue::queue::Queue;
use crate::queue::records::{joined, ranges};
use crate::queue::retention::Retention;
use crate::queue::settling::unsettled;
use crate::queue::storage::Disk;

/// What a repair found and what it did about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// What was there before.
    pub found: Verification,
    /// What was done, in this order. Nothing, if nothing had to be.
    pub fixes: Vec<Fix>,
}

/// Something that a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fix {
    /// A segment's file has its size again. What it had there is gone.
    Size {
        /// The segment's number.
        segment: u64,
        /// Where there are zeros now.
        bytes: Range<u64>,
    },
    /// A copy of a segment's header was written again, from the other one.
    HeaderCopy {
        /// The segment's number.
        segment: u64,
        /// The file that has the damaged copy.
        saved: String,
    },
    /// Bytes of a segment in which no record can be read are passed over from now on.
    Record {
        /// The segment's number.
        segment: u64,
        /// Where in its file.
        bytes: Range<u64>,
        /// The file that has what was there.
        saved: String,
    },
    /// A segment without a header was given another name.
    Segment {
        /// The segment's number.
        segment: u64,
        /// Its file's name now.
        saved: String,
    },
    /// A checkpoint that cannot be used was given another name.
    Checkpoint {
        /// Its name before.
        file: String,
        /// Its name now.
        saved: String,
    },
    /// The end of an unfinished write was left behind, and what was whole of it was
    /// written again.
    Torn {
        /// The segment's number.
        segment: u64,
        /// The file that has what was not whole, if there was more than filling.
        saved: Option<String>,
    },
    /// Messages that nobody can read count as done.
    GaveUp {
        /// Their numbers.
        messages: Range<u64>,
    },
}

pub(super) fn repair<D: Disk>(disk: Arc<D>) -> Result<Repair, OpenError> {
    let mut fixes = Vec::new();
    let found = {
        let _lock = disk.lock(LOCK)?;
        let mut examined = examine(Arc::clone(&disk), true)?;
        let inspected = examined.log.inspect()?;
        let found = report(&mut examined, &inspected)?;
        if found.is_clean() && found.torn.is_none() {
            return Ok(Repair { found, fixes });
        }
        for segment in &inspected {
            let number = segment.header.number;
            let mended = mend(&*disk, segment)?;
            fixes.extend(mended.into_iter().map(|mended| fix(number, mended)));
        }
        for file in &found.checkpoints_lost {
            let saved = set_aside(&*disk, file)?;
            let file = file.clone();
            fixes.push(Fix::Checkpoint { file, saved });
        }
        found
    };
    // What is left is done by an opening. Whoever comes in between does the same.
    let queue = Queue::builder()
        .segments(16 << 10, 1 << 34)
        .retention(Retention::All)
        .open_on(disk)?;
    fixes.extend(queue.recovery().damage.iter().filter_map(segment_set_aside));
    if let Some(torn) = &queue.recovery().torn {
        let (segment, saved) = (torn.segment, torn.saved.clone());
        fixes.push(Fix::Torn { segment, saved });
    }
    give_up(&queue, &found.lost)?;
    let gave_up = found.lost.iter().cloned();
    fixes.extend(gave_up.map(|messages| Fix::GaveUp { messages }));
    queue.close().map_err(io::Error::other)?;
    Ok(Repair { found, fixes })
}

/// Has all groups be done with what nobody can read.
fn give_up<D: Disk>(queue: &Queue<D>, lost: &[Range<u64>]) -> io::Result<()> {
    let core = queue.core();
    if lost.is_empty() {
        return Ok(());
    }
    let groups = core.book.lock().groups.len() as u32;
    for group in 0..groups {
        let ids: Vec<u64> = lost.iter().cloned().flatten().collect();
        core.finish(group, &ids);
        let payload = ranges(group, &joined(ids));
        core.append_one(Kind::Ack, 0, &payload, true)
            .map_err(|error| io::Error::other(unsettled(error, 0)))?;
    }
    Ok(())
}

fn fix(segment: u64, mended: Mended) -> Fix {
    match mended {
        Mended::Size(bytes) => Fix::Size { segment, bytes },
        Mended::Header { saved } => Fix::HeaderCopy { segment, saved },
        Mended::Hole { bytes, saved } => Fix::Record {
            segment,
            bytes,
            saved,
        },
    }
}

fn segment_set_aside(damage: &Damage) -> Option<Fix> {
    let saved = damage.saved.clone()?;
    let segment = damage.segment;
    (damage.kind == DamageKind::Header).then_some(Fix::Segment { segment, saved })
}

/// Gives a file a name that nobody reads.
fn set_aside<D: Disk>(disk: &D, file: &str) -> io::Result<String> {
    let names = disk.list()?;
    let mut saved = format!("{file}.damaged");
    let mut copy = 1;
    while names.contains(&saved) {
        copy += 1;
        saved = format!("{file}-{copy}.damaged");
    }
    disk.rename(file, &saved)?;
    disk.sync_dir()?;
    Ok(saved)
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fixes.is_empty() {
            return f.write_str("nothing had to be done");
        }
        for (index, fix) in self.fixes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fix.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { segment, bytes } => write!(
                f,
                "segment {segment}: {} bytes that were cut off are zeros now",
                bytes.end - bytes.start
            ),
            Self::HeaderCopy { segment, saved } => {
                write!(
                    f,
                    "segment {segment}: wrote a copy of the header, the old one is {saved}"
                )
            }
            Self::Record {
                segment,
                bytes,
                saved,
            } => {
                let (start, end) = (bytes.start, bytes.end);
                write!(
                    f,
                    "segment {segment}: passed over bytes {start}..{end}, they are {saved}"
                )
            }
            Self::Segment { segment, saved } => {
                write!(f, "segment {segment}: set aside as {saved}")
            }
            Self::Checkpoint { file, saved } => write!(f, "{file}: set aside as {saved}"),
            Self::Torn { segment, saved } => {
                write!(f, "segment {segment}: left an unfinished write behind")?;
                saved
                    .iter()
                    .try_for_each(|saved| write!(f, ", it is {saved}"))
            }
            Self::GaveUp { messages } => write!(f, "gave up {}", Messages(messages)),
        }
    }
}
