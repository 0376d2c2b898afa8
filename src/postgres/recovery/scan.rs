//! What the old primary's log says around the fork, read by `pg_waldump`: which transactions were lost, which rows they
//! touched, and which number the new line's transactions begin with.

use std::collections::{HashMap, HashSet};

use crate::postgres::waldump::Record;
use crate::replica::Position;

/// Where a row lies: the file of its table, the block, the place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    pub(super) file: TableFile,
    pub(super) block: u32,
    pub(super) offset: u32,
}

/// Table space, database and file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TableFile {
    pub(super) space: u32,
    pub(super) database: u32,
    pub(super) file: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    Insert(Tuple),
    /// Several rows of a block; which, the log does not say in words.
    InsertMany(TableFile, u32),
    Update {
        old: Tuple,
        new: Tuple,
    },
    Delete(Tuple),
}

/// A transaction that the new line does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) xid: u32,
    /// Where its commit ends.
    pub(super) position: Position,
}

/// Where a row that is there now came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A lost transaction inserted it.
    New,
    /// It was there as the lines parted, here.
    Old(Tuple),
}

/// Reads records one after the other.
#[derive(Debug)]
pub(super) struct Scan {
    fork: Position,
    /// How large a file of the log is.
    segment: u64,
    pub(super) lost: Vec<Lost>,
    /// Of transactions and the parts of them that can be rolled back alone, to the whole.
    whole: HashMap<u32, u32>,
    touches: Vec<(u32, Touch)>,
    /// Lost transactions that took the file of a table away: by `TRUNCATE`, `DROP`, or writing it anew.
    emptied: HashSet<u32>,
    next_xid: Option<u32>,
    /// The first number that the log said to be free: all that such a transaction did was read.
    first_free: Option<u32>,
    /// Where the last record ends.
    pub(super) end: Position,
}

/// What lost transactions did to rows, all in all.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) created: HashMap<Tuple, Origin>,
    /// Rows of before the fork, with who deleted them.
    pub(super) deleted: Vec<(Tuple, u32)>,
    pub(super) many: HashSet<(TableFile, u32)>,
    pub(super) files: HashSet<TableFile>,
}

impl Scan {
    pub(super) fn new(fork: Position, segment: u64) -> Self {
        Self {
            fork,
            segment,
            lost: Vec::new(),
            whole: HashMap::new(),
            touches: Vec::new(),
            emptied: HashSet::new(),
            next_xid: None,
            first_free: None,
            end: fork,
        }
    }

    pub(super) fn line(&mut self, line: &str) {
        let Some(record) = Record::parse(line) else {
            return;
        };
        let end = record.end(self.segment);
        self.end = self.end.max(end);
        if end <= self.fork {
            self.count(&record);
        }
        match record.manager {
            "Transaction" => self.transaction(&record, end),
            "Heap" | "Heap2" => {
                if let Some(touch) = touch(record.description) {
                    self.touches.push((record.transaction, touch));
                }
            }
            _ => {}
        }
    }

    /// The number of the first transaction that was begun after the fork on the new line: none that both lines have is as
    /// large.
    pub(super) fn first_of_new_line(&self) -> u32 {
        self.next_xid.unwrap_or(0)
    }

    /// The transaction that a number, which may be a part's, belongs to, if it was lost.
    pub(super) fn lost_by(&self, xid: u32) -> Option<u32> {
        self.whole.get(&xid).copied()
    }

    /// Whether all that a lost transaction did was read: not if it began before what was read.
    pub(super) fn has_all_of(&self, lost: u32) -> bool {
        self.first_free.is_some_and(|free| {
            let mut parts = self.whole.iter().filter(|(_, whole)| **whole == lost);
            parts.all(|(part, _)| part.wrapping_sub(free) < 1 << 31)
        })
    }

    /// Whether that is so of every one.
    pub(super) fn has_all(&self) -> bool {
        self.lost.iter().all(|lost| self.has_all_of(lost.xid))
    }

    /// Whether a lost transaction took rows away without saying which.
    pub(super) fn emptied_a_table(&self, lost: u32) -> bool {
        self.emptied.contains(&lost)
    }

    /// All numbers of lost transactions and their parts.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.whole.keys().copied()
    }

    /// What lost transactions touched, in this order.
    pub(super) fn touches(&self) -> impl Iterator<Item = (u32, Touch)> {
        let touches = self.touches.iter();
        touches.filter_map(|(xid, touch)| Some((self.lost_by(*xid)?, *touch)))
    }

    pub(super) fn fate(&self) -> Fate {
        let mut fate = Fate::default();
        for (xid, touch) in self.touches() {
            match touch {
                Touch::Insert(tuple) => {
                    fate.files.insert(tuple.file);
                    fate.created.insert(tuple, Origin::New);
                }
                Touch::InsertMany(file, block) => {
                    fate.files.insert(file);
                    fate.many.insert((file, block));
                }
                Touch::Update { old, new } => {
                    fate.files.insert(new.file);
                    let origin = fate.created.remove(&old).unwrap_or(Origin::Old(old));
                    fate.created.insert(new, origin);
                }
                Touch::Delete(tuple) => {
                    fate.files.insert(tuple.file);
                    match fate.created.remove(&tuple) {
                        Some(Origin::New) => {}
                        Some(Origin::Old(old)) => fate.deleted.push((old, xid)),
                        None => fate.deleted.push((tuple, xid)),
                    }
                }
            }
        }
        fate
    }

    /// Keeps the largest number seen, and what the log says of the next one.
    fn count(&mut self, record: &Record<'_>) {
        let said = number_after(record.description, &["nextXid "]).or_else(|| {
            // A checkpoint has it behind the number of rounds: `xid 0:742`.
            let (_, rest) = record.description.split_once("; xid ")?;
            number_after(rest, &[":"])
        });
        self.first_free = self.first_free.or(said);
        let used = (record.transaction != 0).then(|| record.transaction.wrapping_add(1));
        for next in [said, used].into_iter().flatten() {
            // Numbers go round.
            let newer = self
                .next_xid
                .is_none_or(|known| next.wrapping_sub(known) < 1 << 31);
            if newer {
                self.next_xid = Some(next);
            }
        }
    }

    fn transaction(&mut self, record: &Record<'_>, end: Position) {
        if end <= self.fork || !record.description.starts_with("COMMIT ") {
            return;
        }
        let xid = record.transaction;
        self.lost.push(Lost { xid, position: end });
        self.whole.insert(xid, xid);
        let files = record.description.split_once("; rels: ");
        let files = files.map_or("", |(_, rest)| rest.split(';').next().unwrap_or(""));
        // Those of temporary tables are called `t3_16384`.
        let mut names = files
            .split_whitespace()
            .filter_map(|path| path.rsplit('/').next());
        if names.any(|name| !name.starts_with('t')) {
            self.emptied.insert(xid);
        }
        let parts = record.description.split_once("subxacts: ");
        let parts = parts.map_or("", |(_, rest)| rest.split(';').next().unwrap_or(""));
        for part in parts
            .split_whitespace()
            .filter_map(|part| part.parse().ok())
        {
            self.whole.insert(part, xid);
        }
    }
}

/// `UPDATE off 5 xmax 742 flags 0x10 ; new off 7 xmax 0, blkref #0: rel 1663/5/16384 blk 1, blkref #1: rel … blk 0`, or
/// since PostgreSQL 16 `UPDATE old_xmax: 742, old_off: 5, …, new_off: 7, blkref …`.
fn touch(description: &str) -> Option<Touch> {
    let (kind, rest) = description.split_once(' ')?;
    let (said, blocks) = rest.split_once("blkref #0: ")?;
    let (first, second) = match blocks.split_once("blkref #1: ") {
        Some((first, second)) => (block(first)?, Some(block(second)?)),
        None => (block(blocks)?, None),
    };
    let tuple = |(file, block): (TableFile, u32), offset| Tuple {
        file,
        block,
        offset,
    };
    match kind.trim_end_matches("+INIT") {
        "INSERT" => {
            let offset = number_after(said, &["off: ", "off "])?;
            Some(Touch::Insert(tuple(first, offset)))
        }
        "MULTI_INSERT" => Some(Touch::InsertMany(first.0, first.1)),
        "UPDATE" | "HOT_UPDATE" => {
            let new = number_after(said, &["new_off: ", "new off "])?;
            let old = number_after(said, &["old_off: ", "off "])?;
            Some(Touch::Update {
                // The second block is named only if the row moved to another.
                old: tuple(second.unwrap_or(first), old),
                new: tuple(first, new),
            })
        }
        "DELETE" => {
            let offset = number_after(said, &["off: ", "off "])?;
            Some(Touch::Delete(tuple(first, offset)))
        }
        _ => None,
    }
}

/// `rel 1663/5/16384 blk 0`
fn block(text: &str) -> Option<(TableFile, u32)> {
    let rest = text.strip_prefix("rel ")?;
    let (path, rest) = rest.split_once(' ')?;
    let mut numbers = path.split('/').map(str::parse);
    let mut number = || numbers.next()?.ok();
    let file = TableFile {
        space: number()?,
        database: number()?,
        file: number()?,
    };
    // Other forks than the main one are named in between.
    let block = number_after(rest.strip_prefix("blk ").map(|_| rest)?, &["blk "])?;
    Some((file, block))
}

/// The number behind the first of these words that is there.
fn number_after(text: &str, words: &[&str]) -> Option<u32> {
    words.iter().find_map(|word| {
        let (_, rest) = text.split_once(word)?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: TableFile = TableFile {
        space: 1663,
        database: 5,
        file: 16384,
    };

    fn at(block: u32, offset: u32) -> Tuple {
        Tuple {
            file: FILE,
            block,
            offset,
        }
    }

    fn record(manager: &str, xid: u32, start: &str, description: &str) -> String {
        format!(
            "rmgr: {manager:<11} len (rec/tot):     54/    56, tx: {xid:>10}, lsn: {start}, prev 0/00, desc: {description}"
        )
    }

    #[test]
    fn rows_are_followed_from_where_they_were_when_the_lines_parted() {
        let mut scan = Scan::new(Position(0x1000), 1 << 20);
        let b = |n| format!("rel 1663/5/16384 blk {n}");
        let lines = [
            record(
                "Standby",
                0,
                "0/0F00",
                "RUNNING_XACTS nextXid 700 latestCompletedXid 699 oldestRunningXid 700",
            ),
            record(
                "Heap",
                701,
                "0/0F40",
                &format!("INSERT off 9 flags 0x00, blkref #0: {}", b(0)),
            ),
            // Lost, though it began before.
            record(
                "Heap",
                700,
                "0/0F80",
                &format!(
                    "UPDATE off 1 xmax 700 flags 0x10 ; new off 2 xmax 0, blkref #0: {}, blkref #1: {}",
                    b(3),
                    b(0)
                ),
            ),
            record(
                "Transaction",
                701,
                "0/0FC0",
                "COMMIT 2026-01-01 00:00:00 UTC",
            ),
            record(
                "Heap",
                702,
                "0/2000",
                &format!("INSERT+INIT off 1 flags 0x00, blkref #0: {} FPW", b(4)),
            ),
            record(
                "Heap",
                702,
                "0/2040",
                &format!(
                    "HOT_UPDATE off 1 xmax 702 flags 0x10 ; new off 5 xmax 0, blkref #0: {}",
                    b(4)
                ),
            ),
            record(
                "Heap",
                703,
                "0/2080",
                &format!("DELETE off 2 flags 0x00 KEYS_UPDATED , blkref #0: {}", b(3)),
            ),
            record(
                "Heap",
                704,
                "0/20C0",
                &format!("DELETE off 7 flags 0x00 KEYS_UPDATED , blkref #0: {}", b(0)),
            ),
            record(
                "Transaction",
                704,
                "0/2100",
                "ABORT 2026-01-01 00:00:00 UTC",
            ),
            record(
                "Transaction",
                700,
                "0/2140",
                "COMMIT 2026-01-01 00:00:00 UTC; subxacts: 702 703; inval msgs: x",
            ),
        ];
        for line in &lines {
            scan.line(line);
        }
        assert_eq!(scan.first_of_new_line(), 702);
        assert!(scan.has_all());
        assert_eq!(scan.lost.len(), 1);
        assert_eq!(scan.lost[0].xid, 700);
        assert_eq!(scan.lost[0].position, Position(0x2178));
        assert_eq!(scan.lost_by(703), Some(700));
        assert_eq!(scan.lost_by(701), None);
        let fate = scan.fate();
        assert_eq!(fate.created[&at(4, 5)], Origin::New);
        assert_eq!(fate.deleted, [(at(0, 1), 700)]);
    }

    #[test]
    fn a_transaction_that_began_before_what_was_read_is_known_to_have() {
        let mut scan = Scan::new(Position(0x1000), 1 << 20);
        let commit = "COMMIT 2026-01-01 00:00:00 UTC";
        let checkpoint =
            "CHECKPOINT_ONLINE redo 0/0; tli 1; prev tli 1; fpw true; xid 3:700; oid 24576; online";
        scan.line(&record("XLOG", 0, "0/0F00", checkpoint));
        scan.line(&record("Transaction", 700, "0/2000", commit));
        assert!(scan.has_all());
        scan.line(&record("Transaction", 699, "0/2040", commit));
        assert!(!scan.has_all());
        assert!(scan.has_all_of(700) && !scan.has_all_of(699));
    }

    #[test]
    fn a_transaction_that_took_a_file_away_is_known_to_have() {
        let mut scan = Scan::new(Position(0x1000), 1 << 20);
        let commit = "COMMIT 2026-01-01 00:00:00 UTC; rels: base/5/t3_16400";
        scan.line(&record("Transaction", 700, "0/2000", commit));
        let commit = format!("{commit} base/5/16384; inval msgs: relcache 16384");
        scan.line(&record("Transaction", 701, "0/2040", &commit));
        assert!(!scan.emptied_a_table(700) && scan.emptied_a_table(701));
    }

    #[test]
    fn the_words_of_later_versions_are_understood() {
        let touched = touch(
            "UPDATE old_xmax: 742, old_off: 5, old_infobits: [], flags: 0x10, new_xmax: 0, new_off: 7, \
             blkref #0: rel 1663/5/16384 blk 0",
        );
        let (old, new) = (at(0, 5), at(0, 7));
        assert_eq!(touched, Some(Touch::Update { old, new }));
        let touched = touch(
            "DELETE xmax: 742, off: 3, infobits: [KEYS_UPDATED], flags: 0x00, blkref #0: rel 1663/5/16384 blk 2",
        );
        assert_eq!(touched, Some(Touch::Delete(at(2, 3))));
        assert_eq!(
            touch("LOCK off 3: xid 742: flags 0x00 LOCK_ONLY, blkref #0: rel 1663/5/16384 blk 2"),
            None
        );
    }
}
