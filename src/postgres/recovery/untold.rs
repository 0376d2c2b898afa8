//! What lost transactions did that no source of rows tells of: changes of the schema, and writes to other databases.
//!
//! The log says which rows of the catalogue they touched; the old primary, in quarantine, what these rows are now, and the new
//! primary what they were. Where both are the same there was no change of the schema: to truncate a table touches its row, too.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::catalogue::{self, Described};
use super::change::Transaction;
use super::scan::{Scan, TableFile};
use super::trace::{Trace, traces};
use crate::postgres::{PostgresConnection, PostgresError};
use crate::replica::Position;
use crate::replica::recovery::Read;

/// What cannot be had of lost transactions, by where their commits end.
pub(super) type Untold = BTreeMap<Position, String>;

/// A transaction as a source has it, and what it does not have of it.
pub(super) fn with_missing(read: Read<Transaction>, missing: Option<&String>) -> Read<Transaction> {
    let Some(missing) = missing.cloned() else {
        return read;
    };
    match read {
        Read::Entry(entry) => Read::Partly {
            position: entry.id.position,
            rest: (!entry.write.changes.is_empty()).then_some(entry),
            missing,
        },
        Read::Unreadable { position, why } => Read::Unreadable {
            position,
            why: format!("{why}; and {missing}"),
        },
        other => other,
    }
}

/// Finds it.
///
/// # Errors
/// The client's.
pub(super) async fn find(
    scan: &Scan,
    quarantined: &PostgresConnection,
    primary: &PostgresConnection,
) -> Result<Untold, PostgresError> {
    let traces = traces(scan);
    let mut told = Told::default();
    let files: BTreeSet<TableFile> = traces.iter().map(|trace| trace.file).collect();
    for (file, database) in catalogue::elsewhere(quarantined, &files).await? {
        for trace in traces.iter().filter(|trace| trace.file == file) {
            for xid in &trace.by {
                told.elsewhere(*xid, &database);
            }
        }
    }
    for (file, name) in catalogue::of_schema(quarantined, &files).await? {
        let traces: Vec<&Trace> = traces.iter().filter(|trace| trace.file == file).collect();
        let last = traces.iter().filter_map(|trace| trace.last);
        let now = catalogue::rows_at(quarantined, &name, file, last, None).await?;
        let origins = traces.iter().filter_map(|trace| trace.origin);
        let own_since = Some(scan.first_of_new_line());
        let before = catalogue::rows_at(primary, &name, file, origins, own_since).await?;
        for trace in &traces {
            told.trace(&name, trace, &now, &before);
        }
        if traces.iter().any(|trace| trace.is_of_many) {
            let known = traces.iter().filter_map(|trace| trace.last).collect();
            let numbers: Vec<u32> = scan.numbers().collect();
            for (xid, row) in catalogue::rows_by(quarantined, &name, &numbers, &known).await? {
                if let Some(xid) = scan.lost_by(xid) {
                    told.note(xid, Verb::Created, &row);
                }
            }
        }
    }
    let sentences = scan.lost.iter().filter_map(|lost| {
        let sentence = told.sentence(lost.xid)?;
        Some((lost.position, sentence))
    });
    Ok(sentences.collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Verb {
    Created,
    Changed,
    Dropped,
}

/// What is to be told of each transaction.
#[derive(Default)]
struct Told {
    /// By transaction: what it did to what, once each.
    schema: HashMap<u32, BTreeSet<(Verb, Described)>>,
    elsewhere: HashMap<u32, BTreeSet<String>>,
}

impl Told {
    fn elsewhere(&mut self, xid: u32, database: &str) {
        let databases = self.elsewhere.entry(xid).or_default();
        databases.insert(database.to_owned());
    }

    fn trace(
        &mut self,
        catalogue: &str,
        trace: &Trace,
        now: &catalogue::Rows,
        before: &catalogue::Rows,
    ) {
        let was = trace.origin.and_then(|origin| before.get(&origin));
        let is = trace.last.and_then(|last| now.get(&last));
        let is_new = trace.origin.is_none() || (was.is_none() && trace.is_of_many);
        if (is_new && trace.last.is_none()) || was.zip(is).is_some_and(|(was, is)| was.same(is)) {
            return;
        }
        let row = match is.or(was) {
            Some(row) => row.clone(),
            None => Described::unknown(catalogue),
        };
        let (first, last) = (trace.by.first(), trace.by.last());
        for xid in &trace.by {
            let verb = if trace.last.is_none() && Some(xid) == last {
                Verb::Dropped
            } else if is_new && Some(xid) == first {
                Verb::Created
            } else {
                Verb::Changed
            };
            self.note(*xid, verb, &row);
        }
    }

    fn note(&mut self, xid: u32, verb: Verb, row: &Described) {
        if row.is_told {
            let done = self.schema.entry(xid).or_default();
            done.insert((verb, row.clone()));
        }
    }

    fn sentence(&self, xid: u32) -> Option<String> {
        let schema = self.schema.get(&xid).map(|done| {
            let things = [Verb::Created, Verb::Changed, Verb::Dropped]
                .into_iter()
                .filter_map(|verb| list(verb, done));
            let things: Vec<String> = things.collect();
            format!(
                "it changed the schema, which is not recovered: {}",
                things.join("; ")
            )
        });
        let elsewhere = self.elsewhere.get(&xid).map(|databases| {
            let names: Vec<&str> = databases.iter().map(String::as_str).collect();
            format!(
                "it wrote to another database than the one that is recovered: {}",
                names.join(", ")
            )
        });
        match (schema, elsewhere) {
            (Some(schema), Some(elsewhere)) => Some(format!("{schema}; and {elsewhere}")),
            (one, other) => one.or(other),
        }
    }
}

/// `created table public.added, index public.added_pkey`: what belongs to something else that is listed is left out.
fn list(verb: Verb, done: &BTreeSet<(Verb, Described)>) -> Option<String> {
    let of_verb = || {
        done.iter()
            .filter(|(of, _)| *of == verb)
            .map(|(_, row)| row)
    };
    let names: BTreeSet<String> = of_verb()
        .filter(|row| !of_verb().any(|other| row.belongs_to(other)))
        .map(Described::name)
        .collect();
    if names.is_empty() {
        return None;
    }
    let verb = match verb {
        Verb::Created => "created",
        Verb::Changed => "changed",
        Verb::Dropped => "dropped",
    };
    let shown: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
    let more = names.len() - shown.len();
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{verb} {}{more}", shown.join(", ")))
}

/// So many things are named for each of what was done.
const LISTED: usize = 10;
