use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::overlay::Overlay;
use crate::queue::bell::Bell;
use crate::queue::book::Book;
use crate::queue::error::OpenError;
use crate::queue::ids::Ids;
use crate::queue::log::format::Kind;
use crate::queue::log::{Log, Options, ReadAhead, ReadError, Recovery, Replay, Replayed, Wall};
use crate::queue::records::{joined, read_group, read_ranges};
use crate::queue::storage::Disk;
use crate::time::Clock;

/// What an opening would have made of a directory, which is as it was.
pub(super) struct Examined<D: Disk> {
    pub(super) log: Log<Overlay<D>>,
    pub(super) book: Book,
    pub(super) recovery: Recovery,
    /// Messages that a group waited for and that the opening found to be gone.
    pub(super) gone: Ids,
}

/// `locked` says that the caller has the directory locked, and is going to write there.
pub(super) fn examine<D: Disk>(disk: Arc<D>, locked: bool) -> Result<Examined<D>, OpenError> {
    let options = Options {
        smallest_segment: 16 << 10,
        largest_segment: 16 << 10,
        undurable: u64::MAX,
        tail: 0,
        seed: 1,
        only_reads: !locked,
    };
    let mut witness = Witness {
        book: Book::new(0),
        wanted: BTreeMap::new(),
    };
    let overlay = Overlay::new(disk, locked);
    let (wall, bell) = (Wall::new(Clock::default()), Arc::new(Bell::default()));
    let (log, recovery, _) = Log::open(overlay, &options, wall, bell, &mut witness)?;
    let mut gone = witness.gone(&recovery);
    let mut book = witness.book;
    let (extents, moved) = (log.extents(), log.moved());
    let held = |id: u64| {
        let is_moved = moved.binary_search_by_key(&id, |(id, _)| *id).is_ok();
        is_moved || extents.iter().any(|e| (e.first..e.next).contains(&id))
    };
    let mut wanted = Wanted::new(1..log.next_id());
    while let Some(id) = wanted.next(&mut book) {
        if !held(id) {
            gone.insert(id);
        }
    }
    book.forget_all_but(&extents, &moved, log.next_id());
    Ok(Examined {
        log,
        book,
        recovery,
        gone,
    })
}

impl<D: Disk> Examined<D> {
    /// The messages that a group waits for and that cannot be read: those that the
    /// opening would miss, and those that it would miss when it comes to them.
    pub(super) fn lost(&mut self) -> Result<Vec<Range<u64>>, OpenError> {
        let mut lost = self.gone.clone();
        let mut ahead = ReadAhead::default();
        let mut wanted = Wanted::new(1..self.log.next_id());
        while let Some(id) = wanted.next(&mut self.book) {
            match self.log.read(id, &mut ahead) {
                Ok(_) => {}
                Err(ReadError::Lost) => drop(lost.insert(id)),
                Err(ReadError::Io(error)) => return Err(error.into()),
            }
        }
        Ok(joined(lost.iter()))
    }
}

/// Goes through the messages that some group is not done with.
pub(super) struct Wanted {
    rest: Range<u64>,
}

impl Wanted {
    pub(super) fn new(messages: Range<u64>) -> Self {
        Self { rest: messages }
    }

    pub(super) fn next(&mut self, book: &mut Book) -> Option<u64> {
        let start = self.rest.start;
        let id = book.all().map(|group| group.next_open(start)).min()?;
        self.rest.start = id + 1;
        (id < self.rest.end).then_some(id)
    }
}

/// Has a book replay a log, and remembers what groups waited for when it was found to be
/// missing: the book takes that for done.
struct Witness {
    book: Book,
    /// By group.
    wanted: BTreeMap<u32, Ids>,
}

impl Witness {
    /// What is lost: of what is missing the rest was never confirmed to anybody.
    fn gone(&self, recovery: &Recovery) -> Ids {
        let mut gone = Ids::default();
        for messages in recovery.lost() {
            for wanted in self.wanted.values() {
                for id in wanted.within(messages.clone()) {
                    gone.insert(id);
                }
            }
        }
        gone
    }
}

impl Replay for Witness {
    fn restore(&mut self, body: &[u8]) {
        self.book.restore(body);
    }

    fn missing(&mut self, messages: Range<u64>) {
        for number in 0..self.book.groups.len() as u32 {
            let Some(group) = self.book.group(number) else {
                continue;
            };
            let wanted = self.wanted.entry(number).or_default();
            let mut id = group.next_open(messages.start);
            while id < messages.end {
                wanted.insert(id);
                id = group.next_open(id + 1);
            }
        }
        self.book.missing(messages);
    }

    fn record(&mut self, record: &Replayed<'_>) {
        match record.header.kind {
            Kind::Ack => {
                if let Some((number, ranges)) = read_ranges(record.payload)
                    && let Some(wanted) = self.wanted.get_mut(&number)
                {
                    for id in ranges
                        .into_iter()
                        .flat_map(|r| wanted.within(r))
                        .collect::<Vec<_>>()
                    {
                        wanted.remove(id);
                    }
                }
            }
            // What it waited for before counts no more.
            Kind::Group => {
                if let Some((number, ..)) = read_group(record.payload) {
                    self.wanted.remove(&number);
                }
            }
            _ => {}
        }
        self.book.record(record);
    }
}
