//! The numbers of a log that is read: which message comes next, and which are missing.

use super::absent::Absent;
use super::format::{BEGIN, END, Kind, RECORD_HEADER, RecordHeader, SyncPoint};
use super::report::Recovery;
use super::writer::sync_record;

/// What is followed from record to record.
#[derive(Default)]
pub(super) struct Course {
    /// The number that the next message should have.
    pub(super) next_id: u64,
    pub(super) time: u64,
    pub(super) report: Recovery,
    pub(super) has_begun: bool,
    /// Damage behind which no record was read yet.
    pub(super) open: Option<usize>,
    /// Numbers that were passed over, until a message that was moved turns up.
    pub(super) absent: Absent,
}

/// More messages than may be missing within a segment: it is the number that is wrong.
pub(super) const JUMP: u64 = 1 << 24;

impl Course {
    /// At the first message of a log.
    pub(super) fn new() -> Self {
        Self {
            next_id: 1,
            ..Self::default()
        }
    }

    /// Goes on to a record, and finds out what is missing before it. False if it is a
    /// message that was there before: a write that failed may have left a copy.
    pub(super) fn follow(&mut self, record: &RecordHeader) -> bool {
        let expected = self.next_id;
        if record.id.saturating_sub(expected) > JUMP {
            return false;
        }
        self.reach(record.id, record.kind != Kind::Skip);
        self.open = None;
        let is_message = record.kind == Kind::Publish;
        self.next_id += u64::from(is_message && record.id >= expected);
        !is_message || record.id >= expected
    }

    /// Goes on to this number. What was expected before is nowhere, and lost if anybody
    /// was promised it.
    pub(super) fn reach(&mut self, id: u64, was_promised: bool) {
        let missing = self.next_id..id;
        if missing.is_empty() {
            return;
        }
        self.absent.miss(missing.clone());
        self.next_id = id;
        if was_promised {
            match self.open.take() {
                Some(damage) => self.report.damage[damage].messages = missing,
                None => self.report.gaps.push(missing),
            }
        }
    }
}

/// Says before each jump of the numbers that what is missing was never confirmed. Of
/// sync points only the times are kept, and only before messages.
pub(super) fn with_skips(records: &[u8], mut next_id: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(records.len());
    let (mut at, mut time) = (0, None);
    while let Some(record) = RecordHeader::decode(&records[at..]) {
        let end = at + record.size() as usize;
        if record.kind == Kind::Sync {
            let payload = at + RECORD_HEADER;
            let payload = &records[payload..payload + record.len as usize];
            time = SyncPoint::time(payload).or(time);
            at = end;
            continue;
        }
        if record.id > next_id {
            let mut skip = RecordHeader::new(Kind::Skip, BEGIN | END, 0, &[]);
            skip.id = record.id;
            bytes.extend_from_slice(&skip.encode());
        }
        next_id = next_id.max(record.id + u64::from(record.kind == Kind::Publish));
        if record.kind == Kind::Publish
            && let Some(time) = time.take()
        {
            let point = SyncPoint { durable: 0, time };
            bytes.extend_from_slice(&sync_record(point, record.id, 0));
        }
        bytes.extend_from_slice(&records[at..end]);
        at = end;
    }
    bytes
}
