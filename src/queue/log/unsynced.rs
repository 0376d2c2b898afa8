//! What was written and not synced yet, so that it can be written again elsewhere.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::scan::{Found, Scan};
use super::segments::Chunk;
use crate::queue::storage::DiskFile;

/// The newest part is kept in memory. Of what comes before it, which nobody waits for,
/// only the file has the bytes: after a sync that failed they are read from there, and
/// are believed where their checksums say so.
#[derive(Default)]
pub(super) struct Unsynced {
    kept: VecDeque<Chunk>,
    bytes: u64,
}

impl Unsynced {
    /// Notes what was written at the end of a segment.
    pub(super) fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.bytes.len() as u64;
        self.kept.push_back(chunk);
    }

    /// Forgets the oldest bytes, but for this many.
    pub(super) fn shrink(&mut self, most: u64) {
        while let Some(oldest) = self.kept.front()
            && self.bytes - oldest.bytes.len() as u64 >= most
        {
            self.bytes -= oldest.bytes.len() as u64;
            self.kept.pop_front();
        }
    }

    /// All of it is durable, or lies elsewhere.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// All records behind the durable end of their segment, in their order.
    ///
    /// # Errors
    /// The file's, and `InvalidData` if it does not have what was written to it.
    pub(super) fn collect<F: DiskFile>(
        &self,
        file: &F,
        salt: u64,
        durable: u64,
    ) -> io::Result<Vec<u8>> {
        let mut records = match self.kept.front() {
            Some(oldest) => read_back(file, salt, durable..oldest.offset)?,
            None => Vec::new(),
        };
        for chunk in &self.kept {
            records.extend_from_slice(&chunk.bytes);
        }
        Ok(records)
    }
}

/// The records of this part of a segment, all of them.
fn read_back<F: DiskFile>(file: &F, salt: u64, part: Range<u64>) -> io::Result<Vec<u8>> {
    let mut records = Vec::new();
    let mut scan = Scan::new(file, salt, part.start, part.end, part.end);
    while let Some(found) = scan.next()? {
        let Found::Record { bytes, .. } = found else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        records.extend_from_slice(bytes);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::log::format::{Kind, PAGE};
    use crate::queue::log::tests::{open_with, options, publish};
    use crate::queue::log::{Log, Mark, Options, ReadAhead, Record};
    use crate::queue::storage::{Disk, SimDisk};

    /// Far less than a segment is kept in memory.
    fn keeping_little() -> Options {
        Options {
            smallest_segment: 256 << 10,
            largest_segment: 256 << 10,
            undurable: 4 << 10,
            tail: 0,
            ..options()
        }
    }

    fn written(log: &Log<SimDisk>, payload: &[u8]) -> u64 {
        let batch = [Record::new(Kind::Publish, 0, &[], payload)];
        let (ticket, id) = log.append(&batch, true, false).unwrap();
        log.wait(ticket, Mark::Written).unwrap();
        id
    }

    fn payload(id: u64) -> Vec<u8> {
        vec![id as u8; 300]
    }

    /// One message that is durable, and 100 that are not.
    fn log_with_unsynced(disk: &SimDisk) -> Log<SimDisk> {
        let (log, ..) = open_with(disk, &keeping_little()).unwrap();
        assert_eq!(publish(&log, &payload(1)), 1);
        let syncs = disk.syncs();
        (2..=101).for_each(|id| assert_eq!(written(&log, &payload(id)), id));
        assert_eq!(disk.syncs(), syncs);
        log
    }

    #[test]
    fn after_a_failed_sync_the_file_has_what_is_not_kept_in_memory() {
        for fails in [0, 1] {
            let disk = SimDisk::new(3);
            let log = log_with_unsynced(&disk);
            {
                let tip = log.line.sink.tip.lock();
                let kept = tip.writer.unsynced.bytes;
                assert!((4 << 10..8 << 10).contains(&kept), "{kept} bytes");
            }
            disk.fail_syncs(fails);
            assert_eq!(publish(&log, &payload(102)), 102);
            assert_eq!(log.failovers(), u64::from(fails));
            drop(log);
            disk.power_cut();
            let (_, state, report) = open_with(&disk, &keeping_little()).unwrap();
            assert!(report.is_clean(), "{report}");
            let expected = (1..=102).map(|id| (id, payload(id)));
            assert!(state.messages.into_iter().eq(expected));
        }
    }

    #[test]
    fn what_cannot_be_read_back_is_never_said_to_last() {
        for (from, bytes) in [(6000, 1), (6100, 1), (6200, 1), (6300, 1), (6000, 20_000)] {
            let disk = SimDisk::new(4);
            let log = log_with_unsynced(&disk);
            let flushed = log.last();
            // Somewhere among the records that are not in memory any more.
            let names = disk.list().unwrap();
            let name = names.iter().find(|name| name.ends_with(".segment"));
            let file = disk.open(name.unwrap()).unwrap();
            file.write_all_at(&vec![0xa5; bytes], PAGE + from).unwrap();
            disk.fail_syncs(1);
            assert!(log.wait(flushed, Mark::Durable).is_err());
            let batch = [Record::new(Kind::Publish, 0, &[], b"never")];
            assert!(log.append(&batch, true, true).is_err());
            assert_eq!(
                log.read(1, &mut ReadAhead::default()).unwrap().bytes,
                payload(1)
            );
            drop((log, file));
            disk.power_cut();
            let (_, state, _) = open_with(&disk, &keeping_little()).unwrap();
            assert_eq!(state.messages[&1], payload(1));
        }
    }
}
