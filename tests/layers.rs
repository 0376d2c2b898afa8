//! Who may use whom, as a test: reads `src/` and fails on an arrow that the
//! picture in `ARCHITECTURE.md` does not have.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the crate, lowest first. A new arrow starts in
/// `ARCHITECTURE.md`, comes here, and then into the code.
const MODULES: &[Module] = &[
    foundation("time", &[]),
    foundation("hash", &[]),
    foundation("rng", &[]),
    foundation("task", &[]),
    foundation("sync", &["task", "time"]),
    foundation("stats", &["sync"]),
    block("balance", &["hash", "rng", "stats", "sync", "task", "time"]),
    block("bloom", &["hash", "rng", "time"]),
    block("cache", &["hash", "rng", "stats", "sync", "task", "time"]),
    block("queue", &["hash", "rng", "sync", "task", "time"]),
    block("router", &["hash", "rng", "stats", "sync", "task", "time"]),
    block("singleflight", &["hash", "sync", "task", "time"]),
    composition("queue_journal", &["cache", "queue", "sync"]),
    composition(
        "replica",
        &["balance", "hash", "rng", "stats", "sync", "task", "time"],
    ),
    composition(
        "session",
        &["cache", "hash", "rng", "router", "stats", "sync", "time"],
    ),
    adapter("postgres", &["cache", "replica", "session", "sync", "time"]),
    adapter("redis", &["cache", "session", "sync", "time"]),
];

struct Module {
    name: &'static str,
    layer: Layer,
    uses: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    /// Knows nobody above itself.
    Foundation,
    /// Knows the foundation.
    Block,
    /// Knows the public face of blocks.
    Composition,
    /// Implements the traits of blocks on real engines.
    Adapter,
}

const fn foundation(name: &'static str, uses: &'static [&'static str]) -> Module {
    Module {
        name,
        layer: Layer::Foundation,
        uses,
    }
}

const fn block(name: &'static str, uses: &'static [&'static str]) -> Module {
    Module {
        name,
        layer: Layer::Block,
        uses,
    }
}

const fn composition(name: &'static str, uses: &'static [&'static str]) -> Module {
    Module {
        name,
        layer: Layer::Composition,
        uses,
    }
}

const fn adapter(name: &'static str, uses: &'static [&'static str]) -> Module {
    Module {
        name,
        layer: Layer::Adapter,
        uses,
    }
}

#[test]
fn every_module_uses_only_what_it_may() {
    let wrong: Vec<String> = sources()
        .iter()
        .flat_map(|path| {
            let source = fs::read_to_string(path).unwrap();
            wrong_arrows(&module_of(path), &source)
                .into_iter()
                .map(|arrow| format!("{}:{arrow}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "arrows that ARCHITECTURE.md does not have:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn of_postgres_only_the_store_of_sessions_knows_more_than_replica() {
    let postgres = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/postgres");
    let mut store = 0;
    for path in rust_files(&postgres) {
        if path.starts_with(postgres.join("sessions")) {
            store += 1;
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for arrow in arrows("postgres", &source) {
            let known = ["postgres", "replica"].contains(&arrow.to.as_str());
            assert!(known, "{}:{arrow}", path.display());
        }
    }
    assert!(store > 0, "the store was not found");
}

#[test]
fn every_module_of_the_crate_has_a_place_in_the_picture() {
    let found: BTreeSet<String> = sources().iter().map(|path| module_of(path)).collect();
    let known: BTreeSet<String> = MODULES.iter().map(|m| m.name.to_owned()).collect();
    assert_eq!(found, known);
}

#[test]
fn the_picture_itself_points_down_and_has_no_circle() {
    for (position, module) in MODULES.iter().enumerate() {
        for used in module.uses {
            let below = MODULES.iter().position(|m| m.name == *used).unwrap();
            // Only earlier lines: so no circle either.
            assert!(below < position, "{} -> {used} points up", module.name);
            let same_layer = MODULES[below].layer == module.layer;
            assert!(
                !same_layer || module.layer == Layer::Foundation,
                "{} -> {used} joins two blocks",
                module.name
            );
        }
    }
}

#[test]
fn a_planted_wrong_arrow_is_found() {
    let planted = |from: &str, source: &str| {
        let arrows = wrong_arrows(from, source);
        arrows
            .into_iter()
            .map(|arrow| (arrow.line, arrow.to))
            .collect::<Vec<_>>()
    };
    let found = |line, to: &str| vec![(line, to.to_owned())];

    assert_eq!(
        planted("time", "\nuse crate::cache::Cache;"),
        found(2, "cache")
    );
    assert_eq!(
        planted("stats", "use crate::{sync::Mutex, time::{Clock, Instant}};"),
        found(1, "time")
    );
    assert_eq!(
        planted("hash", "fn f() { crate::rng::mix(1); }"),
        found(1, "rng")
    );
    assert_eq!(planted("rng", "use super::cache;"), found(1, "cache"));
    assert_eq!(planted("sync", "use crate::*;"), found(1, "*"));
    assert_eq!(
        planted("cache", "use super::super::edge;"),
        found(1, "super")
    );
    assert_eq!(planted("cache", "use crate::edge;"), found(1, "edge"));
}

#[test]
fn what_is_no_arrow_is_not_taken_for_one() {
    let source = "
        //! See [the cache](crate::cache).
        use crate::sync::{Mutex, flight::LoadError}; // not crate::cache
        use super::line;
        pub(crate) fn f() {}
        fn g() { mycrate::cache(); }
    ";
    assert!(wrong_arrows("stats", source).is_empty());
}

#[test]
fn the_architecture_names_only_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let mut code = String::new();
    for path in rust_files(&root.join("src"))
        .into_iter()
        .chain(rust_files(&root.join("tests")))
    {
        code.push_str(&fs::read_to_string(path).unwrap());
    }
    let (_, invariants) = page.split_once("## Invariants").unwrap();
    let (invariants, _) = invariants.split_once("\n## ").unwrap();
    let mut named = 0;
    // Tests are the code spans of the table's last column.
    for row in invariants.lines().filter(|line| line.starts_with('|')) {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for test in tests.split('`').skip(1).step_by(2) {
            assert!(
                code.contains(&format!("fn {test}(")) || code.contains(&format!("fn {test}<")),
                "ARCHITECTURE.md names a test that does not exist: {test}"
            );
            named += 1;
        }
    }
    assert!(named > 10, "the table of invariants was not found");
}

/// One use of a top-level module.
#[derive(Debug, PartialEq, Eq)]
struct Arrow {
    line: usize,
    from: String,
    to: String,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.line, self.from, self.to)
    }
}

/// The arrows in a file of this module that the picture does not have.
fn wrong_arrows(module: &str, source: &str) -> Vec<Arrow> {
    let uses = MODULES
        .iter()
        .find(|m| m.name == module)
        .map_or(&[][..], |m| m.uses);
    arrows(module, source)
        .into_iter()
        .filter(|arrow| arrow.to != module && !uses.contains(&arrow.to.as_str()))
        .collect()
}

/// Every arrow in a file. `super::super` counts as one to nowhere: whoever
/// leaves a module says `crate::`, so that it can be seen.
fn arrows(module: &str, source: &str) -> Vec<Arrow> {
    let code: Vec<&str> = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""))
        .collect();
    let code = code.join("\n");
    let mut arrows = Vec::new();
    let mut note = |at: usize, to: String| {
        let line = code[..at].matches('\n').count() + 1;
        let from = module.to_owned();
        arrows.push(Arrow { line, from, to });
    };
    for at in paths(&code, "crate::") {
        for to in first_names(&code[at + "crate::".len()..]) {
            note(at, to);
        }
    }
    for at in paths(&code, "super::") {
        for to in first_names(&code[at + "super::".len()..]) {
            if to == "super" || MODULES.iter().any(|m| m.name == to && m.name != module) {
                // A file within a module may call a neighbour by the name of
                // another top-level module; none does so far.
                note(at, to);
            }
        }
    }
    arrows
}

/// Where paths that begin with this prefix begin.
fn paths<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(prefix).map(|(at, _)| at).filter(|&at| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The first name of a path, or of each path of a group in braces.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![first_name(path)];
    };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let name = group[start..at].trim();
                if !name.is_empty() {
                    names.push(first_name(name));
                }
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn first_name(path: &str) -> String {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '*';
    path.trim_start()
        .chars()
        .take_while(|&c| is_name(c))
        .collect()
}

/// Every file of `src/` except the crate's root, which names all modules.
fn sources() -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = rust_files(&src);
    files.retain(|path| *path != src.join("lib.rs"));
    files
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The top-level module that a file belongs to.
fn module_of(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(src).unwrap().iter().next().unwrap();
    let first = Path::new(first).file_stem().unwrap();
    first.to_str().unwrap().to_owned()
}
