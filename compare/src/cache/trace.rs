//! Recorded requests.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use tenfold::hash::TableHasher;

use crate::arguments::{Arguments, TraceFormat};

/// A recorded sequence of requests.
pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) keys: Vec<u64>,
    /// The same requests with the keys numbered from zero, in the order in
    /// which they first appear.
    pub(crate) numbers: Vec<u32>,
    pub(crate) unique: usize,
}

impl Trace {
    /// The files that the user named, or else those of the folder.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) fn files(arguments: &Arguments) -> Result<Vec<PathBuf>, String> {
        if arguments.traces.is_empty() {
            in_folder()
        } else {
            Ok(arguments.traces.clone())
        }
    }

    /// Reads the files, of each the first `longest` requests at most.
    ///
    /// # Errors
    ///
    /// If one cannot be read as what it should be.
    pub(crate) fn read_all(
        files: &[PathBuf],
        format: Option<TraceFormat>,
        longest: usize,
    ) -> Result<Vec<Self>, String> {
        files
            .iter()
            .map(|file| Self::read(file, format, longest))
            .collect()
    }

    fn read(file: &Path, format: Option<TraceFormat>, longest: usize) -> Result<Self, String> {
        let bytes =
            std::fs::read(file).map_err(|e| format!("{} cannot be read: {e}", file.display()))?;
        let keys = keys(&bytes, format.unwrap_or_else(|| guess(file)), longest)
            .map_err(|reason| format!("{}: {reason}", file.display()))?;
        let name = file
            .file_stem()
            .unwrap_or(file.as_os_str())
            .to_string_lossy()
            .into_owned();
        Ok(Self::new(name, keys))
    }

    fn new(name: String, keys: Vec<u64>) -> Self {
        let mut known: HashMap<u64, u32, TableHasher> = HashMap::default();
        let numbers = keys
            .iter()
            .map(|&key| {
                // There are at most as many as requests, fewer than 2^32.
                let next = known.len() as u32;
                *known.entry(key).or_insert(next)
            })
            .collect();
        Self {
            name,
            unique: known.len(),
            keys,
            numbers,
        }
    }

    /// The capacity that is this share of the unique keys.
    pub(crate) fn capacity(&self, share: f64) -> usize {
        ((self.unique as f64 * share).round() as usize).max(1)
    }
}

/// The folder where traces are looked for when none is named.
fn in_folder() -> Result<Vec<PathBuf>, String> {
    let folder = match std::env::var_os("TENFOLD_TRACES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces"),
    };
    let nothing = |why: String| {
        format!("no traces: {why}; name some with --trace FILE or their folder in TENFOLD_TRACES")
    };
    let entries = folder
        .read_dir()
        .map_err(|e| nothing(format!("{}: {e}", folder.display())))?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "u64"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(nothing(format!("{} holds no *.u64", folder.display())));
    }
    Ok(files)
}

fn guess(file: &Path) -> TraceFormat {
    let extension = file
        .extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("u64" | "bin") => TraceFormat::U64,
        Some("arc" | "lis") => TraceFormat::Arc,
        _ => TraceFormat::Text,
    }
}

/// The first `longest` keys at most.
fn keys(bytes: &[u8], format: TraceFormat, longest: usize) -> Result<Vec<u64>, String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let longest = longest.min(LONGEST);
    let keys = match format {
        TraceFormat::U64 => u64_keys(bytes, longest)?,
        TraceFormat::Text => text_keys(bytes, longest),
        TraceFormat::Arc => arc_keys(bytes, longest)?,
    };
    if keys.is_empty() {
        return Err("there is no key in it".to_owned());
    }
    Ok(keys)
}

fn u64_keys(bytes: &[u8], longest: usize) -> Result<Vec<u64>, String> {
    let (words, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(format!(
            "expected 8 bytes a key, found {} bytes after key {}: the file is cut off, or of another format",
            rest.len(),
            words.len()
        ));
    }
    Ok(words
        .iter()
        .take(longest)
        .map(|&word| u64::from_le_bytes(word))
        .collect())
}

fn text_keys(bytes: &[u8], longest: usize) -> Vec<u64> {
    let hasher = TableHasher::with_seed(1);
    let keys = lines(bytes)
        .filter(|(_, line)| !line.is_empty())
        .map(|(_, line)| hasher.hash_one(line));
    keys.take(longest).collect()
}

fn arc_keys(bytes: &[u8], longest: usize) -> Result<Vec<u64>, String> {
    let mut keys = Vec::new();
    for (number, line) in lines(bytes).filter(|(_, line)| !line.is_empty()) {
        let blocks = arc_blocks(line).ok_or_else(|| {
            let line: String = String::from_utf8_lossy(line).chars().take(60).collect();
            format!("line {number}: expected \"start count ignored ignored\", found \"{line}\"")
        })?;
        keys.extend(blocks.take(longest - keys.len()));
        if keys.len() == longest {
            break;
        }
    }
    Ok(keys)
}

fn arc_blocks(line: &[u8]) -> Option<std::ops::Range<u64>> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let start: u64 = words.next()?.parse().ok()?;
    let count: u64 = words.next()?.parse().ok()?;
    (words.count() == 2).then_some(start..start.checked_add(count)?)
}

/// The lines with their numbers, without surrounding blanks.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..).zip(bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii))
}

/// Numbers of requests and keys are 32 bits wide.
const LONGEST: usize = u32::MAX as usize - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arc_lines_are_runs_of_blocks() {
        let keys = keys(b"10 3 0 1\r\n\n7 1 0 2\n", TraceFormat::Arc, 100).unwrap();
        assert_eq!(keys, [10, 11, 12, 7]);
    }

    #[test]
    fn u64_keys_are_little_endian() {
        let keys = keys(
            &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
            TraceFormat::U64,
            100,
        )
        .unwrap();
        assert_eq!(keys, [1, 256]);
    }

    #[test]
    fn equal_lines_are_equal_keys() {
        let keys = keys(b"/a\n/b\n/a", TraceFormat::Text, 100).unwrap();
        assert!(keys[0] == keys[2] && keys[0] != keys[1]);
    }

    #[test]
    fn only_as_many_as_asked_for() {
        assert_eq!(
            keys(b"5 1000000000000 0 0", TraceFormat::Arc, 3).unwrap(),
            [5, 6, 7]
        );
        assert_eq!(keys(b"a\nb\nc", TraceFormat::Text, 2).unwrap().len(), 2);
    }

    #[test]
    fn what_cannot_be_a_trace_says_why() {
        for (bytes, format, named) in [
            (&b""[..], TraceFormat::Text, "empty"),
            (b"\n\n", TraceFormat::Text, "no key"),
            (b"123456789", TraceFormat::U64, "1 bytes after key 1"),
            (b"1 2 3 4\n5 six 7 8", TraceFormat::Arc, "line 2"),
            (b"1 2 3 4\n5 6", TraceFormat::Arc, "line 2"),
            (b"1 18446744073709551615 3 4", TraceFormat::Arc, "line 1"),
            (b"\xff\xfe", TraceFormat::Arc, "line 1"),
        ] {
            let error = keys(bytes, format, 100).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn keys_are_numbered_by_first_appearance() {
        let trace = Trace::new("t".into(), vec![9, 5, 9, 7]);
        assert_eq!(trace.numbers, [0, 1, 0, 2]);
        assert_eq!(trace.unique, 3);
        assert_eq!(trace.capacity(0.001), 1);
    }
}
