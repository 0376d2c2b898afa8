//! Rows of PostgreSQL's own catalogue, by the names of what they stand for.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio_postgres::SimpleQueryRow;

use super::application::older;
use super::scan::{TableFile, Tuple};
use crate::postgres::connection::{identifier, literal};
use crate::postgres::{PostgresConnection, PostgresError};

/// Rows by where they lie.
pub(super) type Rows = HashMap<Tuple, Described>;

/// A row of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Described {
    /// `table`
    kind: String,
    /// `public.added`
    identity: String,
    /// Worth to be told: not of a temporary table, nor what comes with each table.
    pub(super) is_told: bool,
    /// What it says, but for what says nothing of the schema.
    image: String,
}

impl Described {
    pub(super) fn unknown(catalogue: &str) -> Self {
        Self {
            kind: "something of".to_owned(),
            identity: format!("pg_catalog.{catalogue} that cannot be told any more"),
            is_told: true,
            image: String::new(),
        }
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.kind, self.identity)
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.image == other.image
    }

    /// Whether it is a column, a constraint, a default, a trigger of the other.
    pub(super) fn belongs_to(&self, other: &Self) -> bool {
        let (it, of) = (&self.identity, &other.identity);
        it != of
            && (it.starts_with(&format!("{of}."))
                || it.ends_with(&format!(" on {of}"))
                || it.starts_with(&format!("for {of}.")))
    }
}

/// Of these files, those of tables of the catalogue that make the schema, with the tables' names.
pub(super) async fn of_schema(
    connection: &PostgresConnection,
    files: &BTreeSet<TableFile>,
) -> Result<Vec<(TableFile, String)>, PostgresError> {
    let listed = |file: &TableFile| format!("({}, {}, {})", file.space, file.database, file.file);
    let values: Vec<String> = files.iter().map(listed).collect();
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let ignored: Vec<String> = IGNORED.iter().map(|name| literal(name)).collect();
    let rows = connection
        .rows(&format!(
            "SELECT f.space, f.database, f.file, c.relname FROM (VALUES {}) f(space, database, file) \
             JOIN pg_class c ON c.oid = pg_filenode_relation(f.space::oid, f.file::oid) \
             WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND c.relname NOT IN ({}) \
             AND f.database IN (0, (SELECT oid::bigint FROM pg_database WHERE datname = current_database()))",
            values.join(", "),
            ignored.join(", ")
        ))
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let file = TableFile {
                space: number(row, 0)?,
                database: number(row, 1)?,
                file: number(row, 2)?,
            };
            Some((file, row.get(3)?.to_owned()))
        })
        .collect())
}

/// They change with what is measured, or together with others.
const IGNORED: [&str; 5] = [
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_depend",
    "pg_shdepend",
    "pg_init_privs",
];

/// Of these files, those of other databases, with the databases' names.
pub(super) async fn elsewhere(
    connection: &PostgresConnection,
    files: &BTreeSet<TableFile>,
) -> Result<Vec<(TableFile, String)>, PostgresError> {
    let rows = connection
        .rows("SELECT oid, datname FROM pg_database WHERE datname <> current_database()")
        .await?;
    let databases: HashMap<u32, String> = rows
        .iter()
        .filter_map(|row| Some((number(row, 0)?, row.get(1)?.to_owned())))
        .collect();
    Ok(files
        .iter()
        .filter(|file| !MEASURED.contains(&file.file))
        .filter_map(|file| Some((*file, databases.get(&file.database)?.clone())))
        .collect())
}

/// What ANALYZE writes, which nobody misses, as long as nobody has put it into other files: statistics and their values out of line.
const MEASURED: [u32; 4] = [2619, 2840, 3429, 3430];

/// The rows at these places; those of transactions before a number, if there is one, and only as long as the
/// table is in this file.
pub(super) async fn rows_at(
    connection: &PostgresConnection,
    catalogue: &str,
    file: TableFile,
    places: impl Iterator<Item = Tuple>,
    before: Option<u32>,
) -> Result<Rows, PostgresError> {
    let places: Vec<String> = places
        .map(|tuple| format!("\"({},{})\"", tuple.block, tuple.offset))
        .collect();
    if places.is_empty() {
        return Ok(Rows::new());
    }
    let old = before.map_or_else(String::new, |xid| format!(" AND {}", older("t.xmin", xid)));
    let rows = connection
        .rows(&format!(
            "{} WHERE t.ctid = ANY ('{{{}}}'::tid[]) AND pg_relation_filenode('pg_catalog.{catalogue}') = {}{old}",
            select(catalogue),
            places.join(","),
            file.file
        ))
        .await?;
    let place = |row: &SimpleQueryRow| {
        Some(Tuple {
            file,
            block: number(row, 0)?,
            offset: number(row, 1)?,
        })
    };
    Ok(rows
        .iter()
        .filter_map(|row| Some((place(row)?, described(row))))
        .collect())
}

/// The rows that these transactions have written and that are not known yet, with who did.
pub(super) async fn rows_by(
    connection: &PostgresConnection,
    catalogue: &str,
    numbers: &[u32],
    known: &HashSet<Tuple>,
) -> Result<Vec<(u32, Described)>, PostgresError> {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    let rows = connection
        .rows(&format!(
            "{} WHERE t.xmin::text::bigint = ANY ('{{{}}}'::bigint[])",
            select(catalogue),
            numbers.join(",")
        ))
        .await?;
    let is_known = |row: &SimpleQueryRow| {
        let place = (number(row, 0), number(row, 1));
        known
            .iter()
            .any(|tuple| place == (Some(tuple.block), Some(tuple.offset)))
    };
    Ok(rows
        .iter()
        .filter(|row| !is_known(row))
        .filter_map(|row| Some((number(row, 2)?, described(row))))
        .collect())
}

/// Block, offset, who wrote it, kind, identity, whether it is told, image.
fn select(catalogue: &str) -> String {
    let (object, told) = object(catalogue);
    format!(
        "SELECT (t.ctid::text::point)[0]::bigint, (t.ctid::text::point)[1]::bigint, t.xmin, \
         coalesce(o.type, 'a row of'), coalesce(o.identity, 'pg_catalog.{catalogue}'), \
         ({told}) AND coalesce(o.identity !~ '(^|[ (])pg_(toast|(toast_)?temp_[0-9]+)(\\.|$)', true), \
         md5(({})::text) FROM pg_catalog.{} t LEFT JOIN LATERAL ({object}) o ON true",
        image(catalogue),
        identifier(catalogue),
    )
}

/// What a row of the catalogue stands for, as SQL that has its type and identity; and which rows are told of.
fn object(catalogue: &str) -> (String, &'static str) {
    let identified = |class: &str, object: &str, part: &str| {
        format!(
            "SELECT type, identity FROM pg_identify_object('pg_catalog.{class}'::regclass, {object}, {part})"
        )
    };
    let of_class = |column: &str| identified("pg_class", column, "0");
    match catalogue {
        "pg_attribute" => (
            identified("pg_class", "t.attrelid", "t.attnum"),
            "t.attnum > 0",
        ),
        "pg_index" => (of_class("t.indexrelid"), "true"),
        "pg_sequence" => (of_class("t.seqrelid"), "true"),
        "pg_inherits" => (of_class("t.inhrelid"), "true"),
        "pg_partitioned_table" => (of_class("t.partrelid"), "true"),
        "pg_foreign_table" => (of_class("t.ftrelid"), "true"),
        "pg_aggregate" => (identified("pg_proc", "t.aggfnoid::oid", "0"), "true"),
        "pg_range" => (identified("pg_type", "t.rngtypid", "0"), "true"),
        "pg_description" => (
            "SELECT 'the comment on ' || type AS type, identity \
             FROM pg_identify_object(t.classoid, t.objoid, t.objsubid)"
                .to_owned(),
            "true",
        ),
        "pg_largeobject" => (
            "SELECT 'large object' AS type, t.loid::text AS identity".to_owned(),
            "true",
        ),
        "pg_largeobject_metadata" => (
            "SELECT 'large object' AS type, t.oid::text AS identity".to_owned(),
            "true",
        ),
        "pg_enum" => (identified("pg_type", "t.enumtypid", "0"), "true"),
        // Each table has a type of its rows, and each type one of its arrays.
        "pg_type" => (
            identified("pg_type", "t.oid", "0"),
            "t.typcategory <> 'A' AND (t.typrelid = 0 OR EXISTS \
             (SELECT FROM pg_catalog.pg_class r WHERE r.oid = t.typrelid AND r.relkind = 'c'))",
        ),
        name if WITH_NUMBERS.contains(&name) => (identified(name, "t.oid", "0"), "true"),
        _ => (
            "SELECT NULL::text AS type, NULL::text AS identity".to_owned(),
            "true",
        ),
    }
}

/// Whose rows are objects of their own.
const WITH_NUMBERS: [&str; 28] = [
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_authid",
    "pg_cast",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_database",
    "pg_default_acl",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_language",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_rewrite",
    "pg_statistic_ext",
    "pg_tablespace",
    "pg_trigger",
];

fn image(catalogue: &str) -> &'static str {
    match catalogue {
        // Where its file is, what was measured, how old it is, and what says that there are others.
        "pg_class" => {
            "to_jsonb(t) - '{relfilenode,relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid,\
             relhasindex,relhasrules,relhastriggers,relhassubclass,relrewrite}'::text[]"
        }
        "pg_database" => "to_jsonb(t) - '{datfrozenxid,datminmxid}'::text[]",
        _ => "t",
    }
}

fn described(row: &SimpleQueryRow) -> Described {
    let text = |column| row.get(column).unwrap_or_default().to_owned();
    Described {
        kind: text(3),
        identity: text(4),
        is_told: row.get(5) == Some("t"),
        image: text(6),
    }
}

fn number(row: &SimpleQueryRow, column: usize) -> Option<u32> {
    row.get(column)?.parse().ok()
}
