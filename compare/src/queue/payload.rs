//! Messages that can be told apart, and a ledger of which have come.

use std::ops::Range;

use super::subject::Answer;

/// Message `number`: the number, the same bytes for all, and the number again.
pub(super) fn message(number: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&FILLER[..size - 16]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes
}

/// Calls' worth of messages, made before the clock starts.
pub(super) fn batches(numbers: Range<u64>, size: usize, batch: usize) -> Vec<Vec<Vec<u8>>> {
    let all: Vec<_> = numbers.collect();
    let of = |numbers: &[u64]| numbers.iter().map(|n| message(*n, size)).collect();
    all.chunks(batch).map(of).collect()
}

/// The number of a message whose contents are right.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    let (filler, last) = rest.split_last_chunk::<8>()?;
    let is_right = first == last && FILLER.get(..filler.len()) == Some(filler);
    is_right.then(|| u64::from_le_bytes(*first))
}

/// Which of a range of messages have come.
pub(super) struct Ledger {
    numbers: Range<u64>,
    seen: Vec<u64>,
    count: u64,
    wrong: u64,
    twice: u64,
}

impl Ledger {
    pub(super) fn new(numbers: Range<u64>) -> Self {
        let words = (numbers.end - numbers.start).div_ceil(64);
        Self {
            numbers,
            seen: vec![0; words as usize],
            count: 0,
            wrong: 0,
            twice: 0,
        }
    }

    pub(super) fn see(&mut self, bytes: &[u8]) {
        let Some(number) = number(bytes).filter(|number| self.numbers.contains(number)) else {
            self.wrong += 1;
            return;
        };
        let index = number - self.numbers.start;
        let (word, bit) = (&mut self.seen[(index / 64) as usize], 1 << (index % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.count += 1;
        } else {
            self.twice += 1;
        }
    }

    /// How many have come, each once.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many came that nobody sent.
    pub(super) fn wrong(&self) -> u64 {
        self.wrong
    }

    /// Whether every message came once, with its contents, and nothing else.
    pub(super) fn check(&self) -> Answer<()> {
        let missing = self.numbers.end - self.numbers.start - self.count;
        if missing == 0 && self.wrong == 0 && self.twice == 0 {
            return Ok(());
        }
        let (wrong, twice) = (self.wrong, self.twice);
        Err(format!(
            "{missing} messages missing, {wrong} with wrong contents, {twice} delivered twice"
        ))
    }
}

/// Bytes that do not repeat within a message.
static FILLER: [u8; 4096] = filler();

const fn filler() -> [u8; 4096] {
    let mut bytes = [0; 4096];
    let mut state: u32 = 1;
    let mut index = 0;
    while index < bytes.len() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes[index] = (state >> 24) as u8;
        index += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_its_number_unless_it_is_damaged() {
        let mut bytes = message(77, 100);
        assert_eq!(number(&bytes), Some(77));
        bytes[50] ^= 1;
        assert_eq!(number(&bytes), None);
    }

    #[test]
    fn a_ledger_finds_what_is_missing_or_comes_twice() {
        let mut ledger = Ledger::new(10..12);
        ledger.see(&message(10, 100));
        assert!(ledger.check().is_err());
        ledger.see(&message(11, 100));
        assert_eq!(ledger.check(), Ok(()));
        ledger.see(&message(11, 100));
        assert!(ledger.check().is_err());
    }
}
