use std::fmt;
use std::io::{self, BufRead, Read};

/// A line longer than this is skipped, and never held in memory as a whole.
pub(crate) const LONGEST_LINE: usize = 64 * 1024;

/// Lines that were not understood: how many, and the first few with reasons.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    pub(crate) count: u64,
    /// Line numbers, counted from 1, and what was wrong with them.
    pub(crate) first: Vec<(u64, String)>,
}

impl Skipped {
    /// As many reasons as fit on a screen beside the results.
    const KEPT: usize = 5;

    pub(crate) fn add(&mut self, line: u64, reason: String) {
        self.count += 1;
        if self.first.len() < Self::KEPT {
            self.first.push((line, reason));
        }
    }

    /// Refuses input of which less than half was understood: its numbers
    /// would describe the parser and not the traffic.
    pub(crate) fn judge(&self, understood: u64) -> Result<(), InputError> {
        match self.first.first() {
            Some((line, reason)) if self.count > understood => Err(InputError::Line {
                line: *line,
                reason: format!(
                    "{reason} ({} of {} lines are like this)",
                    self.count,
                    self.count + understood
                ),
            }),
            _ => Ok(()),
        }
    }
}

/// Why a file holds no usable requests.
#[derive(Debug)]
pub(crate) enum InputError {
    /// The file cannot be read.
    Io(io::Error),
    /// This line is not what was expected, and most others are not either.
    Line {
        /// Counted from 1.
        line: u64,
        /// What was expected, and what was found.
        reason: String,
    },
    /// The file as a whole is wrong.
    File(String),
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be read: {error}"),
            Self::Line { line, reason } => write!(f, "line {line}: {reason}"),
            Self::File(reason) => f.write_str(reason),
        }
    }
}

impl From<io::Error> for InputError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads lines of any bytes, with a bound on how much of one is kept.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
}

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Line<'a> {
    Whole(&'a [u8]),
    /// Longer than [`LONGEST_LINE`].
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
            number: 0,
        }
    }

    /// The number, counted from 1, of the line last given out.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line, or `None` at the end of the file.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let most = LONGEST_LINE as u64 + 2;
        let read = (&mut self.reader)
            .take(most)
            .read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > LONGEST_LINE {
            self.skip_rest()?;
        }
        if self.line.len() > LONGEST_LINE + 1 {
            return Ok(Some(Line::TooLong));
        }
        let mut line = self.line.as_slice();
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.number == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        Ok(Some(if line.len() > LONGEST_LINE {
            Line::TooLong
        } else {
            Line::Whole(line)
        }))
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// What a message may show of a line: its beginning, without bytes that a
/// terminal would obey.
pub(crate) fn excerpt(line: &[u8]) -> String {
    const SHOWN: usize = 60;
    let text = String::from_utf8_lossy(&line[..line.len().min(4 * SHOWN)]);
    let mut shown: String = text.chars().map(visible).take(SHOWN).collect();
    if line.len() > shown.len() {
        shown.push('…');
    }
    shown
}

/// Replaces control characters, and those that change the direction of the
/// text around them.
pub(crate) fn visible(c: char) -> char {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c == '\t' {
        ' '
    } else if c.is_control() || turns {
        '\u{fffd}'
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Result<Vec<u8>, ()>> {
        let mut lines = Lines::new(io::BufReader::with_capacity(7, bytes));
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push(match line {
                Line::Whole(line) => Ok(line.to_vec()),
                Line::TooLong => Err(()),
            });
        }
        found
    }

    #[test]
    fn ends_of_lines_and_a_byte_order_mark_are_removed() {
        let found = all(b"\xef\xbb\xbfone\r\ntwo\n\nlast");
        assert_eq!(
            found,
            [&b"one"[..], b"two", b"", b"last"].map(|line| Ok(line.to_vec()))
        );
    }

    #[test]
    fn a_line_without_end_is_not_held_in_memory() {
        for excess in 0..4 {
            let mut bytes = vec![b'x'; LONGEST_LINE + excess];
            bytes.extend(b"\nnext\n");
            let found = all(&bytes);
            assert_eq!(found.len(), 2, "{excess}");
            assert_eq!(found[0].is_ok(), excess == 0);
            assert_eq!(found[1], Ok(b"next".to_vec()));
        }
        assert_eq!(all(&vec![b'x'; 5 * LONGEST_LINE]), [Err(())]);
    }

    #[test]
    fn an_excerpt_cannot_command_a_terminal() {
        let shown = excerpt(b"\x1b[2Jbad \xff\xfe\x07");
        assert!(shown.chars().all(|c| !c.is_control()), "{shown:?}");
        assert!(excerpt(&[b'a'; 500]).chars().count() <= 61);
        assert_eq!(excerpt(b"short"), "short");
    }

    #[test]
    fn mostly_bad_input_is_refused_by_its_first_bad_line() {
        let mut skipped = Skipped::default();
        skipped.add(4, "no time".into());
        assert!(skipped.judge(1).is_ok());
        skipped.add(9, "no url".into());
        let error = skipped.judge(1).unwrap_err().to_string();
        assert_eq!(error, "line 4: no time (2 of 3 lines are like this)");
    }
}
