use std::ffi::OsString;
use std::path::PathBuf;

use crate::input::{Synthetic, TraceFormat};

/// What was asked for on the command line.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) source: Source,
    /// `None`: to be found out.
    pub(crate) trace_format: Option<TraceFormat>,
    /// The most requests to read.
    pub(crate) limit: usize,
    pub(crate) seed: u64,
    pub(crate) report: PathBuf,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Source {
    Synthetic,
    Log(PathBuf),
    Trace(PathBuf),
}

impl Options {
    /// `None` if help was asked for.
    ///
    /// # Errors
    /// A sentence that says which argument is wrong.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<Self>, String> {
        let mut options = Self {
            source: Source::Synthetic,
            trace_format: None,
            limit: 5_000_000,
            seed: Synthetic::default().seed,
            report: PathBuf::from("target/tenfold-report.html"),
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (flag, value) = split(&argument)?;
            if matches!(flag.as_str(), "--help" | "-h") {
                return Ok(None);
            }
            if !FLAGS.contains(&flag.as_str()) {
                return Err(format!("unknown argument `{flag}`"));
            }
            let value = value
                .or_else(|| arguments.next())
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("`{flag}` needs a value"))?;
            options.set(&flag, value)?;
        }
        Ok(Some(options))
    }

    fn set(&mut self, flag: &str, value: OsString) -> Result<(), String> {
        let text = value.to_string_lossy().into_owned();
        let wrong = |expected: &str| format!("`{flag}` expects {expected}, found `{text}`");
        match flag {
            "--log" | "--trace" => {
                if self.source != Source::Synthetic {
                    return Err("give one --log or one --trace".into());
                }
                self.source = if flag == "--log" {
                    Source::Log(value.into())
                } else {
                    Source::Trace(value.into())
                };
            }
            "--trace-format" => {
                let format = TraceFormat::from_name(&text);
                self.trace_format = Some(format.ok_or_else(|| wrong("arc, u64 or text"))?);
            }
            "--limit" => {
                // Places of requests are 32-bit numbers.
                let limit = text
                    .parse()
                    .ok()
                    .filter(|limit| (1..=1_000_000_000).contains(limit));
                self.limit = limit.ok_or_else(|| wrong("a number from 1 to 1000000000"))?;
            }
            "--seed" => self.seed = text.parse().map_err(|_| wrong("a 64-bit number"))?,
            _ => self.report = value.into(),
        }
        Ok(())
    }
}

/// Takes `--flag=value` apart. Values may be any bytes, as paths are.
fn split(argument: &OsString) -> Result<(String, Option<OsString>), String> {
    let Some(text) = argument.to_str() else {
        return Err(format!("unknown argument `{}`", argument.to_string_lossy()));
    };
    Ok(match text.split_once('=') {
        Some((flag, value)) => (flag.to_owned(), Some(value.into())),
        None => (text.to_owned(), None),
    })
}

const FLAGS: [&str; 6] = [
    "--log",
    "--trace",
    "--trace-format",
    "--limit",
    "--seed",
    "--report",
];

pub(crate) const USAGE: &str = "\
What a cache does for your traffic.

cargo run --release --example million -- [options]

  --log FILE       an access log: Common or Combined Log Format, or tab-separated
                   columns with a header that names at least `time` and `url`
  --trace FILE     a cache trace: little-endian 64-bit keys (.u64), ARC lines
                   (`start count x y`), or one key a line
  --trace-format   arc, u64 or text, where the file does not tell
  --limit N        read at most N requests (5000000)
  --seed N         another made-up day, when there is neither log nor trace
  --report FILE    where to write the page (target/tenfold-report.html)
  --help           this text
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Option<Options>, String> {
        Options::parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn values_come_after_the_flag_or_after_an_equals_sign() {
        for arguments in [&["--log", "a=b.log"][..], &["--log=a=b.log"]] {
            let options = parse(arguments).unwrap().unwrap();
            assert_eq!(options.source, Source::Log("a=b.log".into()));
        }
        let options = parse(&["--trace", "x", "--trace-format", "arc", "--limit=7"]);
        let options = options.unwrap().unwrap();
        assert_eq!(options.trace_format, Some(TraceFormat::Arc));
        assert_eq!(options.limit, 7);
        assert_eq!(parse(&[]).unwrap().unwrap().source, Source::Synthetic);
        assert_eq!(parse(&["--log", "x", "--help"]).unwrap(), None);
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, expected) in [
            (&["--lgo", "x"][..], "unknown argument `--lgo`"),
            (&["x.log"], "unknown argument `x.log`"),
            (&["--log"], "`--log` needs a value"),
            (&["--log="], "`--log` needs a value"),
            (&["--limit", "0"], "`--limit` expects"),
            (&["--limit", "99999999999999999999"], "`--limit` expects"),
            (&["--seed", "x"], "`--seed` expects"),
            (&["--trace-format", "csv"], "`--trace-format` expects"),
            (&["--log", "a", "--trace", "b"], "give one"),
        ] {
            let mistake = parse(arguments).unwrap_err();
            assert!(mistake.starts_with(expected), "{mistake}");
        }
    }
}
