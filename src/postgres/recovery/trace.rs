//! What became of each row that lost transactions touched.

use std::collections::{HashMap, HashSet};

use super::scan::{Scan, TableFile, Touch, Tuple};

/// One row, from where it was as the lines parted to where it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) file: TableFile,
    /// Where it was; nothing if it was not.
    pub(super) origin: Option<Tuple>,
    /// Where it is; nothing if it is no more, or is one of many.
    pub(super) last: Option<Tuple>,
    /// One of several that were inserted at once, or may be: the log does not say in words which those are.
    pub(super) is_of_many: bool,
    /// Who touched it, in this order.
    pub(super) by: Vec<u32>,
}

pub(super) fn traces(scan: &Scan) -> Vec<Trace> {
    let mut traces: Vec<Trace> = Vec::new();
    // Which trace is at a place now; and the places of rows that are gone, where others may come.
    let mut at: HashMap<Tuple, usize> = HashMap::new();
    let mut left: HashSet<Tuple> = HashSet::new();
    let mut many: HashSet<(TableFile, u32)> = HashSet::new();
    for (xid, touch) in scan.touches() {
        let (old, new) = match touch {
            Touch::Insert(new) => (None, Some(new)),
            Touch::Update { old, new } => (Some(old), Some(new)),
            Touch::Delete(old) => (Some(old), None),
            Touch::InsertMany(file, block) => {
                many.insert((file, block));
                traces.push(Trace {
                    file,
                    origin: None,
                    last: None,
                    is_of_many: true,
                    by: vec![xid],
                });
                continue;
            }
        };
        let Some(place) = old.or(new) else {
            continue;
        };
        let known = old.and_then(|old| at.remove(&old));
        let number = known.unwrap_or_else(|| {
            traces.push(Trace {
                file: place.file,
                origin: old.filter(|old| !left.contains(old)),
                last: None,
                is_of_many: many.contains(&(place.file, place.block)),
                by: Vec::new(),
            });
            traces.len() - 1
        });
        left.extend(old);
        let trace = &mut traces[number];
        trace.last = new;
        if trace.by.last() != Some(&xid) {
            trace.by.push(xid);
        }
        if let Some(new) = new {
            at.insert(new, number);
        }
    }
    traces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Position;

    fn played(lines: &[(&str, u32, &str)]) -> Vec<Trace> {
        let mut scan = Scan::new(Position(0x1000), 1 << 20);
        let mut start = 0x2000;
        for (manager, xid, description) in lines {
            scan.line(&format!(
                "rmgr: {manager} len (rec/tot): 54/ 54, tx: {xid}, lsn: 0/{start:X}, prev 0/0, desc: {description}"
            ));
            start += 0x40;
        }
        traces(&scan)
    }

    const COMMIT: &str = "COMMIT 2026-01-01 00:00:00 UTC";
    const FILE: TableFile = TableFile {
        space: 1663,
        database: 5,
        file: 1259,
    };

    fn place(block: u32, offset: u32) -> Tuple {
        Tuple {
            file: FILE,
            block,
            offset,
        }
    }

    #[test]
    fn a_row_is_followed_through_all_who_touched_it() {
        let on = |block: u32| format!("blkref #0: rel 1663/5/1259 blk {block}");
        let update = format!(
            "UPDATE off 1 xmax 7 flags 0x10 ; new off 2 xmax 0, {}",
            on(3)
        );
        let delete = format!("DELETE off 2 flags 0x00 KEYS_UPDATED , {}", on(3));
        let insert = format!("INSERT off 2 flags 0x00, {}", on(3));
        let found = played(&[
            ("Heap", 7, &update),
            ("Transaction", 7, COMMIT),
            ("Heap", 8, &delete),
            ("Transaction", 8, COMMIT),
            ("Heap", 9, &insert),
            ("Transaction", 9, COMMIT),
            // Not lost: it never ended.
            ("Heap", 10, &delete),
        ]);
        let trace = |origin, last, by: &[u32]| Trace {
            file: FILE,
            origin,
            last,
            is_of_many: false,
            by: by.to_vec(),
        };
        let old = trace(Some(place(3, 1)), None, &[7, 8]);
        let new = trace(None, Some(place(3, 2)), &[9]);
        assert_eq!(found, [old, new]);
    }

    #[test]
    fn what_takes_the_place_of_a_row_is_not_what_was_there() {
        let delete = "DELETE off 1 flags 0x00 , blkref #0: rel 1663/5/1259 blk 3";
        let many = "MULTI_INSERT 2 tuples flags 0x02, blkref #0: rel 1663/5/1259 blk 3";
        let found = played(&[
            ("Heap", 7, delete),
            ("Heap2", 7, many),
            ("Heap", 7, delete),
            ("Transaction", 7, COMMIT),
        ]);
        let origins: Vec<_> = found.iter().map(|t| (t.origin, t.is_of_many)).collect();
        let expected = [(Some(place(3, 1)), false), (None, true), (None, true)];
        assert_eq!(origins, expected);
    }
}
