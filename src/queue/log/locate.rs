//! Finds a message in a segment that nobody keeps an index of: it was written by an
//! earlier process. Numbers only grow from record to record, so a guess by their
//! distance, and a header near it, say on which side to go on.

use std::io;

use super::format::{Kind, PAGE, RECORD_HEADER, RecordHeader, SyncPoint, is_payload_of};
use crate::queue::storage::DiskFile;

/// A record: where it begins, and its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) id: u64,
    pub(super) at: u64,
}

/// What is read from record to record rather than guessed about.
const NEAR: u64 = 8 << 10;
/// What is read for a guess: as much as finds the next header, mostly.
const WINDOW: u64 = 1 << 10;
const WIDEST: u64 = 64 << 10;

/// A record shortly before this message, at or before it in any case. `low` is a record
/// that is, and all at or behind `high` have higher numbers.
///
/// What it says is a hint, since headers are checked and payloads are not: who does
/// not find the message there looks for it from `low` on.
pub(super) fn locate<F: DiskFile>(
    file: &F,
    salt: u64,
    mut low: Mark,
    mut high: Mark,
    id: u64,
) -> io::Result<u64> {
    let mut halve = false;
    loop {
        let span = high.at.saturating_sub(low.at);
        let steps = u128::from(high.id.saturating_sub(low.id).max(1));
        let ahead = u128::from(id.saturating_sub(low.id));
        let ahead = (u128::from(span) * ahead / steps) as u64;
        if id <= low.id || span <= NEAR || ahead <= NEAR {
            return Ok(low.at);
        }
        // Every second guess is the middle, lest sizes that grow make it a long way.
        let guess = if halve { span / 2 } else { ahead - NEAR / 2 };
        halve = !halve;
        let guess = (low.at + guess.clamp(8, span - 8)) & !7;
        match next_mark(file, salt, guess, low, high)? {
            Some(mark) if mark.id <= id => low = mark,
            Some(mark) => high = Mark { at: guess, ..mark },
            None => high.at = guess,
        }
    }
}

/// The first record at or behind this place with a number that fits between the two.
fn next_mark<F: DiskFile>(
    file: &F,
    salt: u64,
    from: u64,
    low: Mark,
    high: Mark,
) -> io::Result<Option<Mark>> {
    let mut window = Vec::new();
    let (mut start, mut size) = (from, WINDOW);
    while start + RECORD_HEADER as u64 <= high.at {
        let len = size.min(high.at - start) as usize;
        window.resize(len, 0);
        let read = file.read_full_at(&mut window, start)?;
        let mut at = 0;
        while at + RECORD_HEADER <= read {
            let offset = start + at as u64;
            let bytes = &window[at..at + RECORD_HEADER];
            let header = RecordHeader::verify(bytes, salt, offset, high.at - offset);
            if let Some(header) = header
                && grows(header.kind)
                && (low.id..=high.id).contains(&header.id)
            {
                let id = header.id;
                return Ok(Some(Mark { id, at: offset }));
            }
            at += 8;
        }
        if read < len {
            break;
        }
        start += at as u64;
        size = (2 * size).min(WIDEST);
    }
    Ok(None)
}

/// A time that is not known.
pub(super) const UNKNOWN: u64 = 0;

/// The time of messages at this place: what the last sync point before it says.
pub(super) fn time_before<F: DiskFile>(file: &F, salt: u64, mut end: u64) -> io::Result<u64> {
    let (mut window, mut size) = (Vec::new(), WINDOW);
    while end > PAGE {
        let start = (end.saturating_sub(size) & !7).max(PAGE);
        // The last one that begins in here may go on behind it.
        window.resize((end - start + SyncPoint::SIZE) as usize, 0);
        let read = file.read_full_at(&mut window, start)?;
        for at in (0..(end - start) as usize).step_by(8).rev() {
            let Some(bytes) = window[..read].get(at..at + SyncPoint::SIZE as usize) else {
                continue;
            };
            let offset = start + at as u64;
            let header = RecordHeader::verify(bytes, salt, offset, SyncPoint::SIZE);
            let payload = &bytes[RECORD_HEADER..];
            if header.is_some_and(|h| h.kind == Kind::Sync && is_payload_of(&h, payload))
                && let Some(time) = SyncPoint::time(payload)
            {
                return Ok(time);
            }
        }
        end = start;
        size = (2 * size).min(WIDEST);
    }
    Ok(UNKNOWN)
}

/// Whether records of this kind have numbers that only grow: a message's own, or that
/// of the next one.
fn grows(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Publish | Kind::Ack | Kind::Nack | Kind::Dead | Kind::Sync
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::log::format::{BEGIN, END, PAGE, seal};
    use crate::queue::storage::{Disk, SimDisk};
    use crate::rng::Rng;

    #[test]
    fn it_leads_near_every_message_whatever_sizes_they_have_and_whatever_lies_between() {
        for seed in 0..8 {
            let mut rng = Rng::with_seed(seed);
            let salt = rng.next_u64();
            let mut file = vec![0; PAGE as usize];
            let mut messages = Vec::new();
            let mut id = 1;
            while file.len() < 400 << 10 {
                let is_message = rng.below(4) > 0;
                let most = [100, 1000, 30_000][rng.below(3) as usize];
                let payload = vec![7; rng.below(if is_message { most } else { 60 }) as usize];
                let kind = if is_message { Kind::Publish } else { Kind::Ack };
                let mut header = RecordHeader::new(kind, BEGIN | END, 0, &payload);
                header.id = id;
                let mut record = header.encode().to_vec();
                seal(&mut record, salt, file.len() as u64);
                if is_message {
                    messages.push(Mark {
                        id,
                        at: file.len() as u64,
                    });
                    // Some numbers are missing.
                    id += 1 + rng.below(2) * rng.below(2);
                }
                file.extend(record.into_iter().chain(payload));
                file.resize(file.len().next_multiple_of(8), 0);
                if rng.below(50) == 0 {
                    file.extend([0xa5; 3000]);
                }
            }
            let disk = SimDisk::new(seed);
            disk.set_contents("a", &file);
            let on_disk = disk.open("a").unwrap();
            let low = Mark { id: 1, at: PAGE };
            let high = Mark {
                id,
                at: file.len() as u64,
            };
            for message in &messages {
                let found = locate(&on_disk, salt, low, high, message.id).unwrap();
                assert!(found <= message.at, "behind it");
                let far = messages
                    .iter()
                    .filter(|m| (found..message.at).contains(&m.at));
                assert!(
                    message.at - found < 200_000 && far.count() < 400,
                    "far before it"
                );
            }
        }
    }
}
