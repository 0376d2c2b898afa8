//! The figures: rows for programs to read, tables for people.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// One figure of ours beside the rivals'.
#[derive(Debug, Clone)]
pub struct Row {
    pub block: &'static str,
    pub workload: String,
    pub metric: &'static str,
    pub unit: &'static str,
    pub better: Better,
    pub ours: f64,
    pub peers: Vec<(String, f64)>,
    pub floor: Option<f64>,
    pub goal: Option<f64>,
    /// Peers that are shown but not what we are judged by, and why.
    pub context: Vec<(String, String)>,
    pub capacity: Option<usize>,
}

/// Which way a figure is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

impl Row {
    /// The best of the peers that we are judged by.
    pub fn best_peer(&self) -> Option<&(String, f64)> {
        let judged = self
            .peers
            .iter()
            .filter(|(name, _)| !self.context.iter().any(|(peer, _)| peer == name));
        match self.better {
            Better::Higher => judged.max_by(|a, b| a.1.total_cmp(&b.1)),
            Better::Lower => judged.min_by(|a, b| a.1.total_cmp(&b.1)),
        }
    }

    /// How many times better than the best peer we are: above one is ahead.
    pub fn ratio(&self) -> Option<f64> {
        self.best_peer()
            .and_then(|&(_, best)| ratio(self.ours, best, self.better))
    }

    fn to_json(&self) -> Value {
        let mut row = json!({
            "block": self.block,
            "workload": self.workload,
            "metric": self.metric,
            "unit": self.unit,
            "better": match self.better { Better::Higher => "higher", Better::Lower => "lower" },
            "ours": self.ours,
            "peers": self.peers.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>(),
            "best_peer": self.best_peer().map(|(name, _)| name),
            "floor": self.floor,
            "goal": self.goal,
            "context": self.context.iter().map(|(name, why)| (name.clone(), json!(why))).collect::<Map<_, _>>(),
            "ratio": self.ratio(),
        });
        if let Some(capacity) = self.capacity {
            row["capacity"] = json!(capacity);
        }
        row
    }
}

/// Prints a table for each metric, in the order in which they came, and why somebody is not judged or missing.
pub fn print(rows: &[Row]) {
    let mut metrics: Vec<&str> = Vec::new();
    for row in rows {
        if !metrics.contains(&row.metric) {
            metrics.push(row.metric);
        }
    }
    for metric in metrics {
        let rows: Vec<_> = rows.iter().filter(|row| row.metric == metric).collect();
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in rows.iter().flat_map(|row| &row.peers) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let head = ["", "goal", "reached", "ahead", "tenfold"].into_iter();
        let mut table = Table::new(head.chain(names.iter().copied()));
        for row in &rows {
            let reached = row.goal.map(|goal| match row.better {
                Better::Higher => row.ours >= goal,
                Better::Lower => row.ours <= goal,
            });
            let own = [
                row.goal.map(figure),
                reached.map(|is| if is { "yes" } else { "no" }.to_owned()),
                row.ratio().map(|ratio| format!("{ratio:.2}x")),
                Some(figure(row.ours)),
            ];
            let peer = |name: &&str| row.peers.iter().find(|(peer, _)| peer == name);
            let peers = names
                .iter()
                .map(|name| peer(name).map(|(_, value)| figure(*value)));
            table.row(&row.workload, own.into_iter().chain(peers));
        }
        let unit = rows.first().map_or("", |row| row.unit);
        table.print(&format!("{metric}: {unit}"));
    }
    let mut said: Vec<&(String, String)> = Vec::new();
    for reason in rows.iter().flat_map(|row| &row.context) {
        if !said.contains(&reason) {
            said.push(reason);
        }
    }
    if !said.is_empty() {
        println!();
    }
    for (name, why) in said {
        println!("  {name}: {why}");
    }
}

fn figure(value: f64) -> String {
    match value {
        _ if value.is_nan() => "-".into(),
        _ if value >= 1e6 => format!("{:.2} M", value / 1e6),
        _ if value >= 100e3 => format!("{:.0} k", value / 1e3),
        _ if value >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

/// How many times better `ours` is than `other`, unless that has no answer.
pub fn ratio(ours: f64, other: f64, better: Better) -> Option<f64> {
    let ratio = match better {
        _ if ours.total_cmp(&other).is_eq() => 1.0,
        Better::Higher => ours / other,
        Better::Lower => other / ours,
    };
    ratio.is_finite().then_some(ratio)
}

/// The file that `--json` names, opened before the work begins.
pub struct JsonFile {
    path: PathBuf,
    file: File,
}

impl JsonFile {
    /// Creates or empties the file.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn create(path: &Path) -> Result<Self, String> {
        match File::create(path) {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file,
            }),
            Err(e) => Err(format!("{} cannot be written: {e}", path.display())),
        }
    }

    /// Writes the rows, one a line.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(mut self, rows: &[Row]) -> Result<(), String> {
        let lines: Vec<_> = rows.iter().map(|row| row.to_json().to_string()).collect();
        writeln!(self.file, "[\n{}\n]", lines.join(",\n"))
            .map_err(|e| format!("{} cannot be written: {e}", self.path.display()))
    }
}

/// A table whose first column is text and whose others are figures.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            rows: vec![head.into_iter().map(Into::into).collect()],
        }
    }

    pub fn row(&mut self, name: &str, figures: impl IntoIterator<Item = Option<String>>) {
        let figures = figures
            .into_iter()
            .map(|figure| figure.unwrap_or_else(|| "-".to_owned()));
        self.rows
            .push(std::iter::once(name.to_owned()).chain(figures).collect());
    }

    /// Prints the table under a title.
    pub fn print(&self, title: &str) {
        println!("\n{title}");
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let cell = if column == 0 {
                    format!("  {cell:<width$}")
                } else {
                    format!("  {cell:>width$}")
                };
                line.push_str(&cell);
            }
            println!("{}", line.trim_end());
        }
    }
}

/// Says on stderr how far the work is: in place on a terminal, and in a few
/// lines otherwise.
pub struct Progress {
    what: &'static str,
    total: usize,
    done: usize,
    terminal: bool,
}

impl Progress {
    pub fn new(what: &'static str, total: usize) -> Self {
        Self {
            what,
            total,
            done: 0,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// One more of the total is done.
    pub fn step(&mut self, name: &str) {
        self.done += 1;
        let (what, done, total) = (self.what, self.done, self.total);
        if self.terminal {
            eprint!("\r\x1b[K{what}: {done} of {total}, {name}");
            if done == total {
                eprintln!();
            }
        } else if done * 10 / total != (done - 1) * 10 / total {
            eprintln!("{what}: {done} of {total}");
        }
    }
}

/// The middle of the values, or the mean of the two in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(better: Better) -> Row {
        Row {
            block: "cache-memory",
            workload: "fresh".into(),
            metric: "bytes_per_entry",
            unit: "B",
            better,
            ours: 2.0,
            peers: vec![("a".into(), 4.0), ("b".into(), 1.0), ("c".into(), 3.0)],
            floor: None,
            goal: Some(2.5),
            context: vec![("b".into(), "evicts nothing".into())],
            capacity: None,
        }
    }

    #[test]
    fn the_best_peer_is_a_judged_one() {
        assert_eq!(row(Better::Lower).best_peer().unwrap().0, "c");
        assert_eq!(row(Better::Higher).best_peer().unwrap().0, "a");
    }

    #[test]
    fn ratios_above_one_are_ahead_either_way() {
        assert_eq!(row(Better::Lower).ratio(), Some(1.5));
        assert_eq!(row(Better::Higher).ratio(), Some(0.5));
        assert_eq!(ratio(0.0, 0.0, Better::Lower), Some(1.0));
        assert_eq!(ratio(1.0, 0.0, Better::Higher), None);
    }

    #[test]
    fn a_row_has_every_field() {
        let json = row(Better::Lower).to_json();
        for field in [
            "block",
            "workload",
            "metric",
            "unit",
            "better",
            "ours",
            "peers",
            "best_peer",
            "floor",
            "goal",
            "context",
            "ratio",
        ] {
            assert!(json.get(field).is_some(), "{field}");
        }
        assert_eq!(json["best_peer"], "c");
    }
}
