use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::application::older;
use super::change::{Change, ChangeKind, Row, Transaction, Value};
use super::log::entry;
use super::scan::{Fate, Origin, Scan, TableFile, Tuple};
use super::table::Table;
use super::untold::{Untold, with_missing};
use crate::postgres::connection::{identifier, literal};
use crate::postgres::{PostgresConnection, PostgresError};

use crate::replica::recovery::{AsyncEntries, AsyncEntrySource, ForkPoint, Read, Ready};

/// Lost transactions as they can be found without a slot: by what is left of them.
///
/// The log says which transactions were lost and where the rows they touched lie; the old primary, in quarantine, what these
/// rows are now; the new primary, which has them where they were, what those were that are gone. So a transaction
/// appears with what has not been overwritten by a later lost one, which applied in order ends in the same state. Rows of the new primary
/// that were changed or moved since cannot be told; who deleted one is then unreadable, by name of the table.
#[derive(Debug)]
pub struct InspectedLog {
    scan: Arc<Scan>,
    untold: Untold,
    quarantined: Mutex<PostgresConnection>,
    primary: Mutex<PostgresConnection>,
}

impl InspectedLog {
    pub(super) fn new(
        scan: Arc<Scan>,
        untold: Untold,
        quarantined: PostgresConnection,
        primary: PostgresConnection,
    ) -> Self {
        Self {
            scan,
            untold,
            quarantined: Mutex::new(quarantined),
            primary: Mutex::new(primary),
        }
    }
}

impl AsyncEntrySource for InspectedLog {
    type Write = Transaction;
    type Error = PostgresError;

    async fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl AsyncEntries<Write = Transaction, Error = PostgresError> + Send, PostgresError>
    {
        let quarantined = self.quarantined.lock().await;
        let primary = self.primary.lock().await;
        let fate = self.scan.fate();
        let mut inspection = Inspection {
            scan: &self.scan,
            fate: &fate,
            quarantined: &quarantined,
            primary: &primary,
            found: HashMap::new(),
            unreadable: HashMap::new(),
        };
        let tables = inspection.tables().await?;
        inspection.deletions(&tables).await?;
        for (file, table) in &tables {
            inspection.rows(*file, table).await?;
        }
        let Inspection {
            mut found,
            mut unreadable,
            ..
        } = inspection;
        let applied = super::log::applied(&primary, from.timeline).await?;
        let mut reads = Vec::new();
        for lost in &self.scan.lost {
            let changes = found.remove(&lost.xid).unwrap_or_default();
            if lost.position <= from.position {
                continue;
            }
            let position = lost.position;
            let xid = lost.xid;
            let early = (!self.scan.has_all_of(xid))
                .then(|| "it began before the part of the log that was read".to_owned());
            let emptied = self.scan.emptied_a_table(xid).then(|| {
                "it truncated, dropped or wrote anew a table, and the log does not say what was lost with that".to_owned()
            });
            let read = if let Some(why) = unreadable.remove(&xid).or(early).or(emptied)
                // What it deleted cannot be told any more because the recovery has deleted it.
                && !applied.contains(&position)
            {
                Read::Unreadable { position, why }
            } else {
                entry(from.timeline, position, Transaction { xid, changes })
            };
            let missing = self.untold.get(&position);
            reads.push(Ok(with_missing(read, missing)));
        }
        if self.scan.end > from.position {
            reads.push(Ok(Read::Upto(self.scan.end)));
        }
        Ok(Ready(reads.into_iter()))
    }
}

struct Inspection<'a> {
    scan: &'a Scan,
    fate: &'a Fate,
    quarantined: &'a PostgresConnection,
    primary: &'a PostgresConnection,
    /// By transaction; what is deleted comes first, so that a key used again is free.
    found: HashMap<u32, Vec<Change>>,
    unreadable: HashMap<u32, String>,
}

impl Inspection<'_> {
    /// The tables of users that lie in the files that were touched.
    async fn tables(&self) -> Result<Vec<(TableFile, Table)>, PostgresError> {
        let mut tables = Vec::new();
        for file in &self.fate.files {
            let name = self
                .quarantined
                .value(&format!(
                    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c \
                     JOIN pg_namespace n ON n.oid = c.relnamespace \
                     WHERE c.oid = pg_filenode_relation({}, {}) AND c.relkind = 'r' \
                     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
                     AND {} = (SELECT oid FROM pg_database WHERE datname = current_database())",
                    file.space, file.file, file.database
                ))
                .await?;
            if let Some(name) = name
                && let Some(table) = Table::look_up(self.quarantined, &name).await?
            {
                tables.push((*file, table));
            }
        }
        Ok(tables)
    }

    async fn deletions(&mut self, tables: &[(TableFile, Table)]) -> Result<(), PostgresError> {
        for &(tuple, xid) in &self.fate.deleted {
            let Some((_, table)) = tables.iter().find(|(file, _)| *file == tuple.file) else {
                continue;
            };
            let key = if table.has_key() {
                self.key_before(table, tuple).await?
            } else {
                None
            };
            match key {
                Some(key) => {
                    let kind = ChangeKind::Delete { key: Some(key) };
                    self.note(xid, table, kind);
                }
                // One of several that were inserted at once, and that the new line never had.
                None if self.fate.many.contains(&(tuple.file, tuple.block)) => {}
                None => {
                    let why = format!(
                        "a row of table {} was deleted, and which cannot be told any more",
                        table.name
                    );
                    self.unreadable.insert(xid, why);
                }
            }
        }
        Ok(())
    }

    /// What lost transactions have written of a table and nobody has overwritten.
    async fn rows(&mut self, file: TableFile, table: &Table) -> Result<(), PostgresError> {
        let columns: Vec<&str> = table
            .columns
            .iter()
            .filter(|column| !column.generated)
            .map(|column| &*column.name)
            .collect();
        let texts: Vec<String> = columns
            .iter()
            .map(|name| format!("{}::text", identifier(name)))
            .collect();
        let numbers: Vec<String> = self.scan.numbers().map(|xid| xid.to_string()).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let rows = self
            .quarantined
            .rows(&format!(
                "SELECT t.xmin, (t.ctid::text::point)[0]::bigint, (t.ctid::text::point)[1]::bigint, {} FROM ONLY {} t \
                 WHERE t.xmin::text::bigint = ANY ('{{{}}}'::bigint[]) ORDER BY t.ctid",
                texts.join(", "),
                table.name,
                numbers.join(",")
            ))
            .await?;
        for row in &rows {
            let number = |column: usize| row.get(column).and_then(|text| text.parse::<u32>().ok());
            let (Some(xmin), Some(block), Some(offset)) = (number(0), number(1), number(2)) else {
                continue;
            };
            let Some(xid) = self.scan.lost_by(xmin) else {
                continue;
            };
            let values: Row = columns
                .iter()
                .enumerate()
                .map(|(at, name)| {
                    let value = row.get(at + 3).map(str::to_owned);
                    ((*name).to_owned(), value.map_or(Value::Null, Value::Text))
                })
                .collect();
            let tuple = Tuple {
                file,
                block,
                offset,
            };
            let kind = self.kind(table, tuple, values).await?;
            self.note(xid, table, kind);
        }
        Ok(())
    }

    async fn kind(
        &self,
        table: &Table,
        tuple: Tuple,
        row: Row,
    ) -> Result<ChangeKind, PostgresError> {
        let many = |at: Tuple| self.fate.many.contains(&(at.file, at.block));
        Ok(match self.fate.created.get(&tuple) {
            Some(Origin::New) => ChangeKind::Insert(row),
            None if many(tuple) => ChangeKind::Insert(row),
            Some(&Origin::Old(old)) if table.has_key() => {
                match self.key_before(table, old).await? {
                    Some(key) if key == table.key_of(&row) => {
                        ChangeKind::Update { old_key: None, row }
                    }
                    Some(key) => ChangeKind::Update {
                        old_key: Some(key),
                        row,
                    },
                    None if many(old) => ChangeKind::Insert(row),
                    // Changed since; the target will say how.
                    None => ChangeKind::Update { old_key: None, row },
                }
            }
            _ => ChangeKind::Update { old_key: None, row },
        })
    }

    /// The key of the row that lay there as the lines parted: on the new line it still does, unless it was changed. What
    /// the new line has put there since has the number of one of its own transactions.
    async fn key_before(&self, table: &Table, tuple: Tuple) -> Result<Option<Row>, PostgresError> {
        let names: Vec<&str> = table
            .columns
            .iter()
            .filter(|column| column.key)
            .map(|column| &*column.name)
            .collect();
        let texts: Vec<String> = names
            .iter()
            .map(|name| format!("{}::text", identifier(name)))
            .collect();
        let same_file = format!(
            "pg_relation_filenode(to_regclass({})) = {}",
            literal(&table.name),
            tuple.file.file
        );
        let rows = self
            .primary
            .rows(&format!(
                "SELECT {} FROM ONLY {} WHERE ctid = '({},{})' AND {same_file} AND {}",
                texts.join(", "),
                table.name,
                tuple.block,
                tuple.offset,
                older("xmin", self.scan.first_of_new_line())
            ))
            .await?;
        Ok(rows.first().map(|row| {
            let value = |at: usize| row.get(at).map(str::to_owned);
            names
                .iter()
                .enumerate()
                .map(|(at, name)| {
                    (
                        (*name).to_owned(),
                        value(at).map_or(Value::Null, Value::Text),
                    )
                })
                .collect()
        }))
    }

    fn note(&mut self, xid: u32, table: &Table, kind: ChangeKind) {
        let table = table.name.clone();
        self.found
            .entry(xid)
            .or_default()
            .push(Change { table, kind });
    }
}
