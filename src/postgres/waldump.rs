//! The lines that `pg_waldump` writes, one per record of the log.

use crate::replica::Position;

/// One record of the log, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The part of PostgreSQL that wrote it: `Heap`, `Transaction`.
    pub(super) manager: &'a str,
    pub(super) length: u64,
    pub(super) transaction: u32,
    pub(super) start: Position,
    /// What it does, in words of its manager, and behind a comma the blocks it touches.
    pub(super) description: &'a str,
}

impl<'a> Record<'a> {
    /// `rmgr: Heap len (rec/tot): 54/ 54, tx: 742, lsn: 0/03000148, prev 0/03000110, desc: DELETE off 3 …`
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let rest = line.strip_prefix("rmgr: ")?;
        let (manager, rest) = rest.split_once(" len (rec/tot):")?;
        let (lengths, rest) = rest.split_once(", tx:")?;
        let (transaction, rest) = rest.split_once(", lsn: ")?;
        let (start, rest) = rest.split_once(", prev ")?;
        let (_, description) = rest.split_once(", desc: ")?;
        Some(Self {
            manager: manager.trim(),
            length: lengths.split_once('/')?.1.trim().parse().ok()?,
            transaction: transaction.trim().parse().ok()?,
            start: start.parse().ok()?,
            description,
        })
    }

    /// Where the record ends, in a log of files of so many bytes: records begin at multiples of eight, and go on behind the
    /// header of each page that they reach into.
    pub(super) fn end(&self, segment: u64) -> Position {
        let mut at = self.start.0;
        let mut left = self.length;
        loop {
            let page_left = PAGE - at % PAGE;
            if left <= page_left {
                return Position((at + left).next_multiple_of(8));
            }
            left -= page_left;
            at += page_left;
            at += if at.is_multiple_of(segment) {
                LONG_HEADER
            } else {
                SHORT_HEADER
            };
        }
    }
}

const PAGE: u64 = 8192;
/// Of a page, and of the first page of a file.
const SHORT_HEADER: u64 = 24;
const LONG_HEADER: u64 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_to_its_parts() {
        let line = "rmgr: Heap        len (rec/tot):     54/   150, tx:        742, lsn: 0/03000148, \
                    prev 0/03000110, desc: DELETE off 3 flags 0x00 KEYS_UPDATED , blkref #0: rel 1663/5/16384 blk 0";
        let record = Record::parse(line).unwrap();
        assert_eq!((record.manager, record.length), ("Heap", 150));
        assert_eq!(
            (record.transaction, record.start),
            (742, Position(0x0300_0148))
        );
        assert!(record.description.starts_with("DELETE off 3"));
        assert_eq!(
            Record::parse("pg_waldump: error: error in WAL record at 0/1"),
            None
        );
    }

    #[test]
    fn a_record_ends_behind_the_headers_of_the_pages_it_reaches_into() {
        let end = |start: u64, length| {
            let record = Record {
                manager: "Heap",
                length,
                transaction: 1,
                start: Position(start),
                description: "",
            };
            record.end(1 << 20).0
        };
        assert_eq!(end(0x100, 54), 0x138);
        assert_eq!(end(8192 - 56, 50), 8192);
        assert_eq!(end(8192 - 48, 50), 8192 + 24 + 8);
        assert_eq!(end((1 << 20) - 48, 50), (1 << 20) + 40 + 8);
        assert_eq!(end(8192 - 48, 48 + 8168 + 8), 2 * 8192 + 24 + 8);
    }
}
