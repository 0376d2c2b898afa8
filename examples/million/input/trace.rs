//! Cache traces: sequences of keys without times.

use std::io::{BufRead, Read};

use super::access_log::is_log;
use super::lines::{InputError, Line, Lines, Skipped, excerpt};
use super::requests::{Collector, Requests};

/// How a trace is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Little-endian 64-bit keys, one after the other.
    U64,
    /// Lines of `start count ignored ignored`: `count` consecutive blocks.
    Arc,
    /// One key a line.
    Text,
}

impl Format {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "u64" => Some(Self::U64),
            "arc" => Some(Self::Arc),
            "text" => Some(Self::Text),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::U64 => "little-endian 64-bit keys",
            Self::Arc => "ARC lines",
            Self::Text => "one key a line",
        }
    }

    /// Tells the format by the end of the file's name, or else by the
    /// beginning of its content.
    fn detect(path: &str, beginning: &[u8]) -> Result<Self, InputError> {
        if ends_with(path, ".u64") {
            return Ok(Self::U64);
        }
        if beginning.starts_with(b"\x1f\x8b") {
            return Err(InputError::File(
                "is compressed by gzip; unpack it first (gunzip -k FILE)".into(),
            ));
        }
        if beginning.contains(&0) {
            return Ok(Self::U64);
        }
        let first = beginning
            .split(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        if is_log(first.trim_ascii_end()) {
            return Err(InputError::Line {
                line: 1,
                reason: "expected a key, found a line of an access log: use --log FILE".into(),
            });
        }
        Ok(if arc_fields(first).is_some() {
            Self::Arc
        } else {
            Self::Text
        })
    }
}

/// Reads up to `limit` requests of a trace. `path` is looked at only for how
/// it ends.
///
/// # Errors
/// If the file cannot be read, holds no requests, or if more than half of its
/// lines are not understood.
pub(crate) fn read(
    mut reader: impl BufRead,
    path: &str,
    format: Option<Format>,
    limit: usize,
) -> Result<Requests, InputError> {
    let told = format.is_some() || ends_with(path, ".u64");
    let format = match format {
        Some(format) => format,
        None => Format::detect(path, reader.fill_buf()?)?,
    };
    let mut collector = Collector::default();
    let mut skipped = Skipped::default();
    match format {
        Format::U64 => read_numbers(reader, &mut collector, &mut skipped, limit)?,
        Format::Arc | Format::Text => {
            read_lines(reader, format, &mut collector, &mut skipped, limit)?;
        }
    }
    if collector.len() == 0 {
        return Err(InputError::File(format!(
            "has no requests (read as {})",
            format.name()
        )));
    }
    let requests = collector.finish(skipped, Vec::new());
    let all_differ = requests.len() > 1 && requests.unique() == requests.len();
    if format == Format::U64 && !told && all_differ {
        // Nearly any file can be read as numbers; a trace repeats some.
        return Err(InputError::File(format!(
            "expected 64-bit keys, of which some repeat, found {} different ones \
             (--trace-format u64 if that is what it is)",
            requests.len()
        )));
    }
    let mut notes = vec![format!("read as {}", format.name())];
    if requests.len() >= limit {
        notes.push(format!(
            "only the first {limit} requests were read; --limit N reads more"
        ));
    }
    Ok(Requests { notes, ..requests })
}

fn ends_with(path: &str, end: &str) -> bool {
    let at = path.len().checked_sub(end.len());
    at.and_then(|at| path.get(at..))
        .is_some_and(|last| last.eq_ignore_ascii_case(end))
}

fn read_numbers(
    mut reader: impl Read,
    collector: &mut Collector,
    skipped: &mut Skipped,
    limit: usize,
) -> Result<(), InputError> {
    while collector.len() < limit {
        let mut key = Vec::with_capacity(8);
        (&mut reader).take(8).read_to_end(&mut key)?;
        match <[u8; 8]>::try_from(key) {
            Ok(key) => collector.push(u64::from_le_bytes(key).to_string().as_bytes(), None, 0),
            Err(rest) if rest.is_empty() => return Ok(()),
            Err(rest) if collector.len() == 0 => {
                return Err(InputError::File(format!(
                    "expected little-endian keys of 8 bytes, found {} bytes in all",
                    rest.len()
                )));
            }
            Err(rest) => {
                let after = collector.len() as u64;
                let reason = format!("truncated: {} of a key's 8 bytes at the end", rest.len());
                skipped.add(after + 1, reason);
                return Ok(());
            }
        }
    }
    Ok(())
}

fn read_lines(
    reader: impl BufRead,
    format: Format,
    collector: &mut Collector,
    skipped: &mut Skipped,
    limit: usize,
) -> Result<(), InputError> {
    let mut lines = Lines::new(reader);
    let mut understood = 0u64;
    while collector.len() < limit {
        let number = lines.number() + 1;
        let line = match lines.next_line()? {
            None => break,
            Some(Line::TooLong) => {
                skipped.add(number, "longer than 64 KiB".into());
                continue;
            }
            Some(Line::Whole(line)) => line.trim_ascii(),
        };
        if line.is_empty() {
            continue;
        }
        let blocks = match format {
            Format::Arc => arc_fields(line),
            Format::U64 | Format::Text => None,
        };
        match blocks {
            Some((start, count)) => {
                for block in start..start + count {
                    if collector.len() < limit {
                        collector.push(block.to_string().as_bytes(), None, 0);
                    }
                }
            }
            None if format == Format::Text && !line.iter().any(|&byte| is_no_text(byte)) => {
                collector.push(line, None, 0);
            }
            None => {
                let expected = match format {
                    Format::Text => "a key in printable characters",
                    _ => "`start count x y` with a count of at most 1048576",
                };
                skipped.add(
                    number,
                    format!("expected {expected}, found `{}`", excerpt(line)),
                );
                continue;
            }
        }
        understood += 1;
    }
    skipped.judge(understood)
}

/// `start count ignored ignored`; no sane request reads a million blocks.
fn arc_fields(line: &[u8]) -> Option<(u64, u64)> {
    const MOST_BLOCKS: u64 = 1 << 20;
    let text = std::str::from_utf8(line).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let mut next = || numbers.next().and_then(Result::ok);
    let (start, count, _, _) = (next()?, next()?, next()?, next()?);
    let sane =
        numbers.next().is_none() && count <= MOST_BLOCKS && start.checked_add(count).is_some();
    sane.then_some((start, count))
}

fn is_no_text(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(path: &str, bytes: &[u8]) -> Result<Requests, InputError> {
        read(bytes, path, None, 1000)
    }

    #[test]
    fn each_format_is_told_from_its_name_or_content() {
        let numbers: Vec<u8> = [7u64, 8, 7]
            .iter()
            .flat_map(|key| key.to_le_bytes())
            .collect();
        for path in ["a.u64", "a.U64", "a.bin", ""] {
            assert_eq!(read_all(path, &numbers).unwrap().keys, [0, 1, 0], "{path}");
        }
        assert_eq!(
            read_all("x", b"10 3 0 0\n11 2 0 1\n").unwrap().keys,
            [0, 1, 2, 1, 2]
        );
        assert_eq!(read_all("x", b"/a\n/b\r\n/a").unwrap().keys, [0, 1, 0]);
        assert_eq!(
            read(&b"1 2 3 4\n"[..], "x", Some(Format::Text), 9)
                .unwrap()
                .keys,
            [0]
        );
    }

    #[test]
    fn a_torn_key_at_the_end_is_counted() {
        let requests = read_all("a.u64", &[1; 21]).unwrap();
        assert_eq!(requests.keys, [0, 0]);
        assert_eq!(requests.skipped.count, 1);
    }

    #[test]
    fn absurd_block_counts_do_not_take_all_memory() {
        let text =
            b"0 5 0 0\n0 18446744073709551615 0 0\n18446744073709551615 2 0 0\n9 1 0 0\n7 1 0 0\n";
        let requests = read_all("x", text).unwrap();
        assert_eq!(requests.len(), 7);
        assert_eq!(requests.skipped.count, 2);
        assert_eq!(read_all("x", b"0 1048576 0 0\n").unwrap().len(), 1000);
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        for (path, bytes, expected) in [
            ("a.u64", &b""[..], "no requests"),
            ("a.u64", b"abc", "found 3 bytes"),
            ("x", b"", "no requests"),
            (
                "x",
                b"h - - [01/Aug/1995:00:00:01 -0400] \"GET /\" 200 1",
                "use --log",
            ),
            ("x", b"host\ttime\turl\n", "use --log"),
            ("x", b"\x00garbage of 24 bytes....", "some repeat, found 3"),
            ("x", b"\x01\x02\n\x03\x04\n", "line 1: expected a key"),
            ("x", b"\x1f\x8b\x08", "gzip"),
            ("x", b"1 2 3 4\nx\ny\n", "line 2: expected `start count"),
        ] {
            let error = read_all(path, bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, numbers: [u64; 4]) {
            for format in [None, Some(Format::U64), Some(Format::Arc), Some(Format::Text)] {
                let _ = read(&bytes[..], "x", format, 1000);
                let [a, b, c, d] = numbers;
                let _ = read(format!("{a} {b} {c} {d}").as_bytes(), "x", format, 1000);
            }
        }
    }
}
