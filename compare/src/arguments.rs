//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What the user asked for.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// Print how to use the program.
    Help,
    /// Measure.
    Measure(Arguments),
}

/// A block to measure and how.
#[derive(Debug, PartialEq)]
pub struct Arguments {
    pub block: Block,
    pub quick: bool,
    pub instructions: bool,
    pub json: Option<PathBuf>,
    pub traces: Vec<PathBuf>,
    pub trace_format: Option<TraceFormat>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    Balance,
    Bloom,
    CacheHitRatio,
    CacheThroughput,
    CacheMemory,
    Queue,
    Replica,
    Router,
    Session,
    Singleflight,
    Token,
}

impl Block {
    pub const ALL: [Self; 11] = [
        Self::Balance,
        Self::Bloom,
        Self::CacheHitRatio,
        Self::CacheThroughput,
        Self::CacheMemory,
        Self::Queue,
        Self::Replica,
        Self::Router,
        Self::Session,
        Self::Singleflight,
        Self::Token,
    ];

    /// The feature of this crate that brings the block's rivals.
    pub const fn feature(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Bloom => "bloom",
            Self::CacheHitRatio | Self::CacheThroughput | Self::CacheMemory => "cache",
            Self::Queue => "queue",
            Self::Replica => "replica",
            Self::Router => "router",
            Self::Session => "session",
            Self::Singleflight => "singleflight",
            Self::Token => "token",
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Balance => "balance",
            Self::Bloom => "bloom",
            Self::CacheHitRatio => "cache-hit-ratio",
            Self::CacheThroughput => "cache-throughput",
            Self::CacheMemory => "cache-memory",
            Self::Queue => "queue",
            Self::Replica => "replica",
            Self::Router => "router",
            Self::Session => "session",
            Self::Singleflight => "singleflight",
            Self::Token => "token",
        })
    }
}

/// How the keys of a trace are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceFormat {
    /// Lines `start count ignored ignored`: `count` consecutive block numbers.
    Arc,
    /// Little-endian 64-bit keys.
    U64,
    /// One key a line.
    Text,
}

/// Parses the arguments that follow the program's name.
///
/// # Errors
///
/// One sentence that says what was expected.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    use lexopt::prelude::*;

    let mut block = None;
    let mut quick = false;
    let mut instructions = false;
    let mut json = None;
    let mut traces = Vec::new();
    let mut trace_format = None;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        match argument {
            Short('h') | Long("help") => return Ok(Request::Help),
            Long("quick") => quick = true,
            Long("instructions") => instructions = true,
            Long("json") => json = Some(file(&mut parser, "--json")?),
            Long("trace") => traces.push(file(&mut parser, "--trace")?),
            Long("trace-format") => {
                let name = parser.value().map_err(|e| e.to_string())?;
                trace_format = Some(format_named(&name.to_string_lossy())?);
            }
            Value(name) if block.is_none() => block = Some(block_named(&name.to_string_lossy())?),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let Some(block) = block else {
        return Err(format!("expected a block to measure: {}", blocks()));
    };
    if block != Block::CacheHitRatio && (!traces.is_empty() || trace_format.is_some()) {
        return Err(format!(
            "--trace and --trace-format belong to {}, not to {block}",
            Block::CacheHitRatio
        ));
    }
    if instructions && block != Block::CacheThroughput {
        return Err(format!(
            "--instructions belongs to {}, not to {block}",
            Block::CacheThroughput
        ));
    }
    Ok(Request::Measure(Arguments {
        block,
        quick,
        instructions,
        json,
        traces,
        trace_format,
    }))
}

/// How to use the program.
pub fn usage() -> String {
    format!(
        "\
Measures tenfold beside its rivals.

Usage: cargo run --release -p compare -- <block> [options]

Blocks: {}

Options:
  --quick                fewer operations: ends within 50 s once built, queue within 90 s
  --json FILE            also writes every figure to FILE
  --trace FILE           a trace for cache-hit-ratio, as often as you like; without it every *.u64
                         in the folder $TENFOLD_TRACES, or else in ../shared/traces
  --trace-format FORMAT  arc, u64 or text; guessed from each file's name when not given
  --instructions         cache-throughput: only count instructions, under valgrind
  -h, --help             this text",
        blocks()
    )
}

fn blocks() -> String {
    Block::ALL.map(|block| block.to_string()).join(", ")
}

fn block_named(name: &str) -> Result<Block, String> {
    Block::ALL
        .into_iter()
        .find(|block| block.to_string() == name)
        .ok_or_else(|| format!("there is no block \"{name}\" to measure, only {}", blocks()))
}

fn format_named(name: &str) -> Result<TraceFormat, String> {
    match name {
        "arc" => Ok(TraceFormat::Arc),
        "u64" => Ok(TraceFormat::U64),
        "text" => Ok(TraceFormat::Text),
        _ => Err(format!(
            "there is no trace format \"{name}\", only arc, u64 and text"
        )),
    }
}

fn file(parser: &mut lexopt::Parser, option: &str) -> Result<PathBuf, String> {
    parser
        .value()
        .map(PathBuf::from)
        .map_err(|_| format!("expected a file after {option}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Request, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn all_options_are_understood() {
        let words = "cache-hit-ratio --quick --json out.json --trace a.u64 --trace b.lis --trace-format arc";
        let parsed = parse_words(&words.split(' ').collect::<Vec<_>>()).unwrap();
        let expected = Arguments {
            block: Block::CacheHitRatio,
            quick: true,
            instructions: false,
            json: Some("out.json".into()),
            traces: vec!["a.u64".into(), "b.lis".into()],
            trace_format: Some(TraceFormat::Arc),
        };
        assert_eq!(parsed, Request::Measure(expected));
    }

    #[test]
    fn an_unknown_block_is_answered_with_the_known_ones() {
        let error = parse_words(&["stack"]).unwrap_err();
        for block in Block::ALL {
            assert!(error.contains(&block.to_string()), "{error}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (words, named) in [
            (&[][..], "expected a block"),
            (&["cache-memory", "cache-memory"], "cache-memory"),
            (&["cache-memory", "--trace", "x"], "--trace"),
            (&["cache-memory", "--slow"], "--slow"),
            (&["cache-hit-ratio", "--trace-format", "csv"], "csv"),
            (&["cache-hit-ratio", "--trace"], "--trace"),
        ] {
            let error = parse_words(words).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
