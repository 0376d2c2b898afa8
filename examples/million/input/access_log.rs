//! Access logs: Common Log Format, Combined Log Format, and tab-separated
//! values with a header line.

use std::io::BufRead;

use super::civil;
use super::lines::{InputError, Line, Lines, Skipped, excerpt};
use super::requests::{Collector, Requests};
use crate::show::count;

/// Reads up to `limit` requests of an access log, whatever its format.
///
/// Only `GET` and `HEAD` count: a cache does not answer the others.
///
/// # Errors
/// If the file cannot be read, holds no requests, or if more than half of its
/// lines are not understood.
pub(crate) fn read(reader: impl BufRead, limit: usize) -> Result<Requests, InputError> {
    let mut lines = Lines::new(reader);
    let mut log = Log::default();
    while log.collector.len() < limit {
        let number = lines.number() + 1;
        match lines.next_line()? {
            None => return log.finish(None),
            Some(Line::TooLong) => log.skipped.add(number, "longer than 64 KiB".into()),
            Some(Line::Whole(line)) => log.line(number, line)?,
        }
    }
    log.finish(Some(limit))
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Log {
    /// Unknown until a line has been understood.
    format: Option<Format>,
    collector: Collector,
    skipped: Skipped,
    uncacheable: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Common or Combined: they differ only after the last field used here.
    Common,
    Tabs(Columns),
}

impl Log {
    fn line(&mut self, number: u64, line: &[u8]) -> Result<(), InputError> {
        if line.is_empty() {
            return Ok(());
        }
        if number == 1 {
            if line.starts_with(b"\x1f\x8b") {
                return Err(InputError::File(
                    "is compressed by gzip; unpack it first (gunzip -k FILE)".into(),
                ));
            }
            if let Some(columns) = Columns::from_header(line) {
                self.format = Some(Format::Tabs(columns));
                return Ok(());
            }
        }
        let parsed = match self.format {
            Some(Format::Common) => parse_common(line),
            Some(Format::Tabs(columns)) => columns.parse(line),
            None => self.guess(line),
        };
        match parsed {
            Ok(request) if matches!(request.method, b"GET" | b"HEAD") => {
                self.collector
                    .push(request.url, Some(request.second), request.bytes);
                if let Some(host) = request.host {
                    self.collector.push_host(host);
                }
            }
            Ok(_) => self.uncacheable += 1,
            // Comments, as the W3C format has them, are no damage.
            Err(_) if line[0] == b'#' => {}
            Err(reason) => {
                self.skipped
                    .add(number, format!("{reason}, found `{}`", excerpt(line)));
            }
        }
        Ok(())
    }

    /// Settles on the first format that understands a line.
    fn guess<'a>(&mut self, line: &'a [u8]) -> Result<Request<'a>, &'static str> {
        for format in [Format::Common, Format::Tabs(Columns::USUAL)] {
            let parsed = match format {
                Format::Common => parse_common(line),
                Format::Tabs(columns) => columns.parse(line),
            };
            if parsed.is_ok() {
                self.format = Some(format);
                return parsed;
            }
        }
        if find(line, b"] \"").is_some() {
            // Near enough to the format to say what is wrong.
            return parse_common(line);
        }
        Err("expected a line of the Common or Combined Log Format \
             (host - user [01/Aug/1995:00:00:01 -0400] \"GET /path HTTP/1.0\" 200 1234) \
             or a header of tab-separated columns with `time` and `url`")
    }

    fn finish(self, cut_at: Option<usize>) -> Result<Requests, InputError> {
        let understood = self.collector.len() as u64 + self.uncacheable;
        self.skipped.judge(understood)?;
        if understood == 0 {
            return Err(InputError::File(match self.format {
                Some(_) => "has no requests: nothing follows the header in line 1".into(),
                None => "has no requests: line 1 is missing or blank".into(),
            }));
        }
        if self.collector.len() == 0 {
            return Err(InputError::File(
                "has no GET or HEAD requests, and a cache answers no others".into(),
            ));
        }
        let mut notes = Vec::new();
        if self.uncacheable > 0 {
            notes.push(format!(
                "{} of {} requests left out: neither GET nor HEAD",
                count(self.uncacheable),
                count(understood)
            ));
        }
        if let Some(limit) = cut_at {
            notes.push(format!(
                "only the first {limit} requests were read; --limit N reads more"
            ));
        }
        Ok(self.collector.finish(self.skipped, notes))
    }
}

/// Whether this first line of a file speaks for an access log.
pub(super) fn is_log(line: &[u8]) -> bool {
    parse_common(line).is_ok() || Columns::from_header(line).is_some()
}

/// What is used of a line.
#[derive(Debug, PartialEq)]
struct Request<'a> {
    host: Option<&'a [u8]>,
    method: &'a [u8],
    url: &'a [u8],
    second: u64,
    bytes: u64,
}

/// `host logname user [time] "request" status bytes …`; whatever follows the
/// size is not looked at.
fn parse_common(line: &[u8]) -> Result<Request<'_>, &'static str> {
    let open = find(line, b" [").ok_or("expected a time in brackets after the host")? + 2;
    let close = open + find(&line[open..], b"] \"").ok_or("expected `] \"` after the time")?;
    let second = civil::parse(&line[open..close])
        .ok_or("expected a time like 01/Aug/1995:00:00:01 -0400")?;
    let quoted = &line[close + 3..];
    let end = end_of_quote(quoted).ok_or("the request in quotes does not end")?;
    let (method, url) = parse_request(&quoted[..end])?;
    let mut rest = quoted[end + 1..]
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let status = rest.next().and_then(digits);
    if !status.is_some_and(|status| (100..=999).contains(&status)) {
        return Err("expected a status of three digits after the request");
    }
    let bytes = match rest.next() {
        Some(b"-") => 0,
        Some(word) => digits(word).ok_or("expected a number of bytes or `-` after the status")?,
        None => return Err("the line ends before the number of bytes"),
    };
    let host = line.split(|&byte| byte == b' ').next();
    Ok(Request {
        host: host.filter(|host| !host.is_empty()),
        method,
        url,
        second,
        bytes,
    })
}

/// `GET /path HTTP/1.0`; the protocol may be missing (HTTP/0.9), and a path
/// that was never encoded may hold spaces.
fn parse_request(request: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    const EXPECTED: &str = "expected a request like GET /path HTTP/1.1";
    let space = find(request, b" ").ok_or(EXPECTED)?;
    let (method, rest) = (&request[..space], request[space..].trim_ascii());
    let url = match rest.iter().rposition(|&byte| byte == b' ') {
        Some(last) if rest[last + 1..].starts_with(b"HTTP/") => rest[..last].trim_ascii(),
        _ => rest,
    };
    if url.is_empty() || !method.iter().all(u8::is_ascii_alphabetic) || method.is_empty() {
        return Err(EXPECTED);
    }
    Ok((method, url))
}

/// Where the quote that opened before `text` closes; `\"` does not close it.
fn end_of_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// Which tab-separated column holds what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    host: Option<usize>,
    method: Option<usize>,
    url: usize,
    time: usize,
    bytes: Option<usize>,
    /// How many there must be: a line with fewer was cut off, perhaps in the
    /// middle of a URL.
    count: usize,
}

impl Columns {
    /// `host logname time method url response bytes referer useragent`: what a
    /// file without header is taken to have.
    const USUAL: Self = Self {
        host: Some(0),
        method: Some(3),
        url: 4,
        time: 2,
        bytes: Some(6),
        count: 7,
    };

    /// Reads a header; `None` if this line is none.
    fn from_header(line: &[u8]) -> Option<Self> {
        let place = |name: &[u8]| {
            line.split(|&byte| byte == b'\t')
                .position(|column| column.trim_ascii().eq_ignore_ascii_case(name))
        };
        Some(Self {
            host: place(b"host"),
            method: place(b"method"),
            url: place(b"url")?,
            time: place(b"time")?,
            bytes: place(b"bytes"),
            count: line.split(|&byte| byte == b'\t').count(),
        })
    }

    fn parse(self, line: &[u8]) -> Result<Request<'_>, &'static str> {
        let column = |place: usize| line.split(|&byte| byte == b'\t').nth(place);
        if column(self.count - 1).is_none() {
            return Err("expected as many tab-separated columns as the header has");
        }
        let time = column(self.time).ok_or("expected a tab-separated column for the time")?;
        // Fractions of a second are of no use here.
        let whole = time.split(|&byte| byte == b'.').next().unwrap_or(time);
        let second = digits(whole)
            .filter(|&second| second <= civil::LATEST)
            .ok_or("expected a time in seconds since 1970")?;
        let url = column(self.url)
            .filter(|url| !url.is_empty())
            .ok_or("expected a tab-separated column for the url")?;
        let method = match self.method {
            None => b"GET",
            Some(place) => column(place)
                .filter(|method| !method.is_empty() && method.iter().all(u8::is_ascii_alphabetic))
                .ok_or("expected a method like GET")?,
        };
        let bytes = self.bytes.and_then(column).and_then(digits).unwrap_or(0);
        let host = self.host.and_then(column);
        Ok(Request {
            host: host.filter(|host| !host.is_empty()),
            method,
            url,
            second,
            bytes,
        })
    }
}

/// An unsigned decimal number and nothing else.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len())
        .position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMON: &str = r#"in24.inetnebr.com - - [01/Aug/1995:00:00:01 -0400] "GET /shuttle/missions.html HTTP/1.0" 200 1839"#;
    const COMBINED: &str = r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326 "http://e.com/\"x\"" "Mozilla/4.08 [en]""#;

    fn read_all(text: impl AsRef<[u8]>) -> Result<Requests, InputError> {
        read(text.as_ref(), 1000)
    }

    fn names(requests: &Requests) -> Vec<String> {
        requests
            .names
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    #[test]
    fn common_and_combined_lines_are_read() {
        let requests = read_all(format!("{COMMON}\n{COMBINED}\n{COMMON}\n")).unwrap();
        assert_eq!(names(&requests), ["/shuttle/missions.html", "/a.gif"]);
        assert_eq!(requests.keys, [0, 0, 1]);
        assert_eq!(requests.skipped.count, 0);
    }

    #[test]
    fn tab_separated_columns_follow_their_header() {
        let text = "url\ttime\tmethod\n/a\t5\tGET\n/b\t6.25\tHEAD\n/a\t7\tPOST\n";
        let requests = read_all(text).unwrap();
        assert_eq!(requests.keys, [0, 1]);
        assert_eq!(requests.seconds, Some(vec![5, 6]));
        assert_eq!(requests.notes.len(), 1);
        let usual = "host\t-\t807256800\tGET\t/images/x.gif\t200\t1713\t\t\n";
        let requests = read_all(usual).unwrap();
        assert_eq!(names(&requests), ["/images/x.gif"]);
        assert_eq!(requests.mean_bytes, Some(1713.0));
    }

    #[test]
    fn hosts_are_known_if_every_request_has_one() {
        let hosts = |text: &str| {
            let hosts = read_all(text).unwrap().hosts?;
            let names = hosts.names.iter().map(|name| String::from_utf8_lossy(name));
            Some((names.collect::<Vec<_>>().join(" "), hosts.requests))
        };
        let both = hosts(&format!("{COMMON}\n{COMBINED}\n{COMMON}\n"));
        let expected = "in24.inetnebr.com 127.0.0.1".to_owned();
        assert_eq!(both, Some((expected, vec![0, 1, 0])));
        let header = "url\ttime\thost";
        let one = hosts(&format!("{header}\n/a\t5\tme\n"));
        assert_eq!(one, Some(("me".to_owned(), vec![0])));
        assert_eq!(hosts(&format!("{header}\n/a\t5\tme\n/a\t6\t\n")), None);
        assert_eq!(hosts("url\ttime\n/a\t5\n"), None);
    }

    #[test]
    fn odd_requests_that_servers_do_log_are_read() {
        for (request, method, url) in [
            (r"GET /", "GET", "/"),
            (r"GET /two words HTTP/1.0", "GET", "/two words"),
            (r#"GET /quo\"te HTTP/1.0"#, "GET", r#"/quo\"te"#),
            ("GET /caf\u{e9} HTTP/1.1", "GET", "/caf\u{e9}"),
        ] {
            let line = format!("h - - [01/Aug/1995:00:00:01 -0400] \"{request}\" 200 -");
            let parsed = parse_common(line.as_bytes()).unwrap();
            assert_eq!(
                (parsed.method, parsed.url),
                (method.as_bytes(), url.as_bytes())
            );
            assert_eq!(parsed.bytes, 0);
        }
    }

    #[test]
    fn a_line_cut_off_is_not_taken_for_a_shorter_url() {
        let text = "time\turl\tbytes\n1\t/a\t5\n2\t/abc\t6\n3\t/ab";
        let requests = read_all(text).unwrap();
        assert_eq!(names(&requests), ["/a", "/abc"]);
        assert_eq!(requests.skipped.first[0].0, 4);
    }

    #[test]
    fn bad_lines_among_good_ones_are_skipped_and_counted() {
        let cut = &COMMON[..70];
        let long = "x".repeat(100_000);
        let text = format!("{COMMON}\n{COMMON}\nnonsense\n{COMMON}\n{long}\n{COMMON}\n{cut}");
        let requests = read_all(text).unwrap();
        assert_eq!(requests.len(), 4);
        assert_eq!(requests.skipped.count, 3);
        let lines: Vec<u64> = requests
            .skipped
            .first
            .iter()
            .map(|(line, _)| *line)
            .collect();
        assert_eq!(lines, [3, 5, 7]);
    }

    #[test]
    fn hopeless_files_are_refused_with_the_line() {
        for (text, expected) in [
            (&b""[..], "no requests"),
            (b"\n\n\n", "no requests"),
            (b"host\ttime\turl\n", "nothing follows the header"),
            (
                b"h - - [01/Aug/1995:00:00:01 -0400] \"GET /\" 200 99999999999999999999",
                "line 1: expected a number of bytes",
            ),
            (b"\x00\xff\xfe\x01garbage\nmore", "line 1: expected"),
            (b"<html>\n<body>\n", "line 1: expected"),
            (b"\x1f\x8b\x08\x00", "gzip"),
            (
                b"time\turl\n99999999999999999999999\t/a\n",
                "line 2: expected a time",
            ),
            (b"time\turl\tmethod\n1\t/a\tPOST\n", "no GET"),
        ] {
            let error = read_all(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn reading_stops_at_the_limit_and_says_so() {
        let requests = read(format!("{COMMON}\n").repeat(9).as_bytes(), 4).unwrap();
        assert_eq!(requests.len(), 4);
        assert!(requests.notes[0].contains("first 4"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut in 0usize..200, flip in 0usize..200, to: u8) {
            let _ = read_all(&bytes);
            for line in [COMMON, COMBINED] {
                let mut line = line.as_bytes().to_vec();
                let at = flip % line.len();
                line[at] = to;
                line.truncate(cut);
                let _ = read_all(&line);
                let _ = parse_common(&line);
                let _ = Columns::USUAL.parse(&line);
            }
        }
    }
}
