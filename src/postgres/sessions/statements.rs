//! What the server is asked.
//!
//! Under READ COMMITTED a statement sees what was committed when it began. If it then waits for a row that somebody is changing, it
//! goes on with what that has become, and looks at its condition again. So a save, a touch, a cycle and an end of one session, by its
//! key, need nothing more: whoever comes second finds another key, another version, or nothing.
//!
//! What it does not see is a row that is *added* to those of a user meanwhile. So who adds one (`Create`, `LogIn`) and who ends
//! all (`RevokeUser`) take a lock of the user first, in a statement of its own, so that the next begins after it was had.
//! It is an advisory lock: there is no row of the user that could be locked, and none to be cleared away. It is given back when the
//! transaction has ended for everybody's eyes. A cycle needs no such lock: it changes the row that the end of all waits for.

use super::table::Table;

/// What the server does in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statement {
    Create,
    Load,
    Touch,
    Save,
    Version,
    Cycle,
    LogIn,
    Revoke,
    RevokeUser,
    List,
    Sweep,
    Check,
}

/// The texts of all statements, for one table.
pub(super) struct Statements {
    texts: Vec<String>,
    lock: String,
}

impl Statements {
    pub(super) fn new(table: &Table) -> Self {
        let fill = |text: &str| {
            // The name last: it may hold whatever looks like one of the others.
            let text = text.replace("{now}", NOW).replace("{moment}", MOMENT);
            let text = text.replace("{sessions_as_text}", &table.literal());
            text.replace("{sessions}", table.name())
        };
        Self {
            texts: ALL.into_iter().map(|it| fill(it.template())).collect(),
            lock: table.literal(),
        }
    }

    pub(super) fn text(&self, statement: Statement) -> &str {
        self.texts
            .get(statement as usize)
            .map_or("", String::as_str)
    }

    /// Begins a transaction that has the lock of this number, of those of the table.
    pub(super) fn begin(&self, number: i32) -> String {
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; \
             SELECT pg_catalog.pg_advisory_xact_lock({}::regclass::oid::integer, {number})",
            self.lock
        )
    }
}

impl Statement {
    /// Whether it changes nothing, and can be asked twice.
    pub(super) fn reads(self) -> bool {
        matches!(self, Self::Load | Self::Version | Self::List | Self::Check)
    }

    fn template(self) -> &'static str {
        match self {
            Self::Create => CREATE,
            Self::Load => LOAD,
            Self::Touch => TOUCH,
            Self::Save => SAVE,
            Self::Version => VERSION,
            Self::Cycle => CYCLE,
            Self::LogIn => LOG_IN,
            Self::Revoke => REVOKE,
            Self::RevokeUser => REVOKE_USER,
            Self::List => LIST,
            Self::Sweep => SWEEP,
            Self::Check => CHECK,
        }
    }
}

/// In the order of their numbers.
pub(super) const ALL: [Statement; 12] = [
    Statement::Create,
    Statement::Load,
    Statement::Touch,
    Statement::Save,
    Statement::Version,
    Statement::Cycle,
    Statement::LogIn,
    Statement::Revoke,
    Statement::RevokeUser,
    Statement::List,
    Statement::Sweep,
    Statement::Check,
];

/// The moment at which it is evaluated: after any wait, so that what has ended meanwhile has ended.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The moment at which the statement began: one for all rows, so that an index can be asked.
const MOMENT: &str = "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint";

/// Key, name, data, idle, absolute, how many sessions the user may have, whether one more is refused. Answers the version, or no row
/// if it is. A version is a time, so that a server that has forgotten its latest writes gives none twice.
const CREATE: &str = "\
WITH clock AS MATERIALIZED (SELECT {now} AS now),
live AS MATERIALIZED (SELECT id, created FROM {sessions}, clock WHERE name = $2::bytea AND ends > now),
spare AS MATERIALIZED (
    SELECT id FROM live ORDER BY created, id
    LIMIT greatest((SELECT count(*) FROM live) + 1 - $6::bigint, 0)
),
evicted AS (
    DELETE FROM {sessions} AS s USING spare
    WHERE NOT $7::boolean AND s.name = $2::bytea AND s.id = spare.id
)
INSERT INTO {sessions} (key, name, data, version, created, seen, ends, last, filed)
SELECT $1::bytea, $2::bytea, $3::bytea, now, now, now, now + $4::bigint, now + $5::bigint, now + $4::bigint
FROM clock WHERE NOT $7::boolean OR NOT EXISTS (SELECT FROM spare)
RETURNING version";

/// Key. Answers a row in any case: one without a session says too whether this is a server that would know.
const LOAD: &str = "\
SELECT current_setting('transaction_read_only') = 'on', s.key IS NOT NULL, s.version, s.created, s.seen, s.ends, s.data, s.name, s.last, {now}
FROM (VALUES (1)) AS one LEFT JOIN {sessions} AS s ON s.key = $1::bytea AND s.ends > {now}";

/// Key, idle, and how long ago the last one was, at least. Answers when it was seen and ends.
const TOUCH: &str = "\
UPDATE {sessions} SET seen = {now}, ends = least({now} + $2::bigint, last)
WHERE key = $1::bytea AND ends > {now} AND seen <= {now} - $3::bigint
RETURNING seen, ends";

/// Key, the version it has to have, idle, data. Answers the new version.
const SAVE: &str = "\
UPDATE {sessions}
SET data = $4::bytea, version = greatest(version + 1, {now}), seen = {now}, ends = least({now} + $3::bigint, last)
WHERE key = $1::bytea AND version = $2::bigint AND ends > {now}
RETURNING version";

/// Key.
const VERSION: &str = "\
SELECT version FROM {sessions} WHERE key = $1::bytea AND ends > {now}";

/// Key, the key it gets, idle. Answers the new version.
const CYCLE: &str = "\
UPDATE {sessions}
SET key = $2::bytea, version = greatest(version + 1, {now}), seen = {now}, ends = least({now} + $3::bigint, last),
    filed = least({now} + $3::bigint, last)
WHERE key = $1::bytea AND ends > {now}
RETURNING version";

/// Key, name, the key it gets, idle, absolute, how many sessions the user may have, whether one more is refused. Answers
/// whether there was a session, and its new version. It takes no room that it is about to leave.
const LOG_IN: &str = "\
WITH clock AS MATERIALIZED (SELECT {now} AS now),
old AS MATERIALIZED (SELECT id FROM {sessions} WHERE key = $1::bytea AND ends > {now} FOR UPDATE),
live AS MATERIALIZED (
    SELECT id, created FROM {sessions}, clock
    WHERE name = $2::bytea AND ends > now AND id NOT IN (SELECT id FROM old)
),
spare AS MATERIALIZED (
    SELECT id FROM live ORDER BY created, id
    LIMIT greatest((SELECT count(*) FROM live) + 1 - $6::bigint, 0)
),
evicted AS (
    DELETE FROM {sessions} AS s USING spare
    WHERE NOT $7::boolean AND s.name = $2::bytea AND s.id = spare.id AND EXISTS (SELECT FROM old)
),
moved AS (
    UPDATE {sessions} AS s
    SET key = $3::bytea, name = $2::bytea, version = greatest(s.version + 1, now), created = now, seen = now,
        ends = now + $4::bigint, last = now + $5::bigint, filed = now + $4::bigint
    FROM clock
    WHERE s.key = $1::bytea AND EXISTS (SELECT FROM old) AND (NOT $7::boolean OR NOT EXISTS (SELECT FROM spare))
    RETURNING s.version
)
SELECT EXISTS (SELECT FROM old), (SELECT version FROM moved)";

/// Key. Answers whether it was live.
const REVOKE: &str = "\
DELETE FROM {sessions} WHERE key = $1::bytea RETURNING ends > {now}";

/// Name, and the key to spare. Answers for each whether it was live.
const REVOKE_USER: &str = "\
DELETE FROM {sessions} WHERE name = $1::bytea AND key <> $2::bytea RETURNING ends > {now}";

/// Name. Answers a row in any case.
const LIST: &str = "\
SELECT current_setting('transaction_read_only') = 'on', s.key IS NOT NULL, s.version, s.created, s.seen, s.ends, s.data, s.key
FROM (VALUES (1)) AS one LEFT JOIN {sessions} AS s ON s.name = $1::bytea AND s.ends > {now}
ORDER BY s.created, s.id";

/// How many to look at. Answers how many were over, and how many were not yet. What somebody else has locked is in use, or
/// being swept.
const SWEEP: &str = "\
WITH due AS MATERIALIZED (
    SELECT key, ends FROM {sessions} WHERE filed <= {moment} ORDER BY filed LIMIT $1::bigint FOR UPDATE SKIP LOCKED
),
removed AS (
    DELETE FROM {sessions} AS s USING due WHERE s.key = due.key AND due.ends <= {moment} RETURNING 1
),
refiled AS (
    UPDATE {sessions} AS s SET filed = due.ends FROM due WHERE s.key = due.key AND due.ends > {moment} RETURNING 1
)
SELECT (SELECT count(*) FROM removed), (SELECT count(*) FROM refiled)";

const CHECK: &str = "\
SELECT current_setting('server_version_num')::integer, current_setting('fsync'), current_setting('synchronous_commit'),
    (SELECT relpersistence::text FROM pg_catalog.pg_class WHERE oid = to_regclass({sessions_as_text}))";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_lies_where_its_number_says_and_names_the_table() {
        let table = Table::new("app", "a {now} b").unwrap();
        let statements = Statements::new(&table);
        for (at, statement) in ALL.into_iter().enumerate() {
            assert_eq!(statement as usize, at);
            let text = statements.text(statement);
            assert!(text.contains(r#""app"."a {now} b""#), "{text}");
            let text = text.replace(table.name(), "");
            assert!(!text.contains(['{', '}']), "{text}");
        }
    }
}
