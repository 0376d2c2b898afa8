//! Where statements go: a table of them, and what holds of any text.

#[path = "../model/statement.rs"]
mod model;

use model::{GAPS, PARTS};
use proptest::prelude::*;
use tenfold::replica::Access::{self, Begin, End, Read, Session, Within, Write};
use tenfold::replica::StatementClassifier;

const READS: Access = Begin { read_only: true };
const BEGIN: Access = Begin { read_only: false };

const TABLE: &[(Access, &str)] = &[
    // Queries.
    (Read, "SELECT 1"),
    (Read, "select * from users where id = $1;"),
    (Read, "\n\t SELECT 1 ; ; "),
    (Read, "((SELECT 1) UNION (SELECT 2)) ORDER BY 1"),
    (Read, "VALUES (1, 'a'), (2, 'b')"),
    (Read, "TABLE users"),
    (
        Read,
        "WITH recent AS (SELECT * FROM posts) SELECT count(*) FROM recent",
    ),
    (
        Read,
        "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t) SELECT sum(n) FROM t",
    ),
    (Read, "WITH a AS MATERIALIZED (TABLE b) TABLE a"),
    (Read, "SHOW search_path"),
    (Read, "SELECT substring(name FROM 2 FOR 3) FROM users"),
    (Read, "SELECT overlay(a PLACING 'x' FROM 1 FOR 2) FROM t"),
    (Read, "SELECT share, key FROM stocks"),
    (
        Read,
        "SELECT updated_at, deleted, is_insert, inserts FROM log",
    ),
    (Read, "SELECT a$into, b$update FROM t"),
    (
        Read,
        "SELECT replace(a, 'x', 'y'), now(), random(), lower(b) FROM t",
    ),
    (
        Read,
        "SELECT * FROM a WHERE b->>'c' = 'd' AND e @> ARRAY[1, 2]::int[]",
    ),
    (Read, "SELECT 1; SELECT 2; TABLE c"),
    (Read, "SELECT größe FROM maße"),
    // What only looks like a write.
    (Read, "SELECT 'INSERT INTO users' AS text"),
    (Read, "SELECT 'it''s; DELETE FROM users'"),
    (Read, r"SELECT E'it\'s; DELETE FROM users'"),
    (Read, r"SELECT E'\\', 'UPDATE'"),
    (Read, r"SELECT * FROM t WHERE a ~ '^\d+\s'"),
    (Read, "SELECT $$DELETE FROM users$$"),
    (Read, "SELECT $tag$ it's $$ DELETE $$ $ta$ $tag$, 1"),
    (Read, "SELECT $1::text, $2, a FROM t"),
    (Read, "SELECT \"update\", \"into\" FROM \"delete\""),
    (Read, "SELECT \"a\"\"; DELETE FROM b\" FROM c"),
    (Read, "SELECT 1 -- DELETE FROM users"),
    (Read, "-- UPDATE\nSELECT 1"),
    (
        Read,
        "/* DELETE /* nested */ FROM users */ SELECT 1 /* INTO */",
    ),
    (Read, "SELECT 1 /* -- */ + 2 -- /*"),
    (Read, "SELECT B'01', X'ff', N'insert'"),
    (Read, "SELECT 2 * -1, a - - 1, 4/2*3 FROM t"),
    // Locks.
    (Write, "SELECT * FROM jobs FOR UPDATE"),
    (Write, "SELECT * FROM jobs FOR NO KEY UPDATE NOWAIT"),
    (Write, "SELECT * FROM jobs FOR SHARE"),
    (Write, "SELECT * FROM jobs FOR KEY SHARE SKIP LOCKED"),
    (Write, "SELECT * FROM jobs for /* x */ -- y\n share of jobs"),
    (Write, "SELECT * FROM (SELECT * FROM jobs FOR UPDATE) AS j"),
    (Write, "LOCK TABLE users IN SHARE MODE"),
    // Changes of data.
    (Write, "INSERT INTO users VALUES (1)"),
    (Write, "insert into a select * from b"),
    (Write, "UPDATE users SET a = 1"),
    (Write, "DELETE FROM users"),
    (
        Write,
        "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DO NOTHING",
    ),
    (Write, "TRUNCATE users"),
    (
        Write,
        "WITH x AS (INSERT INTO a VALUES (1) RETURNING *) SELECT * FROM x",
    ),
    (Write, "WITH x AS (SELECT 1) UPDATE a SET b = 1"),
    (
        Write,
        "WITH x AS (UPDATE a SET b = 1 RETURNING *), y AS (SELECT 1) TABLE x",
    ),
    (Write, "SELECT * INTO copy FROM users"),
    (Write, "SELECT 1INTO t"),
    (Write, "/* a read */ DELETE FROM users"),
    (Write, "SELECT 1; DELETE FROM users"),
    (Write, "DELETE FROM users; SELECT 1"),
    (Write, "SELECT '';DELETE FROM users;--'"),
    (Write, "SELECT $a$ $a$;DELETE FROM users;--$a$"),
    (Write, "SELECT 1 /* /* */ */; DELETE FROM users"),
    // Changes of the schema, and of the server.
    (Write, "CREATE TABLE a (b int)"),
    (Write, "CREATE TEMP TABLE a AS SELECT 1"),
    (Write, "CREATE MATERIALIZED VIEW a AS SELECT 1"),
    (Write, "REFRESH MATERIALIZED VIEW a"),
    (Write, "ALTER TABLE a ADD b int"),
    (Write, "DROP TABLE a"),
    (Write, "GRANT SELECT ON a TO b"),
    (Write, "COMMENT ON TABLE a IS 'b'"),
    (Write, "VACUUM ANALYZE a"),
    (Write, "ANALYZE a"),
    (Write, "CLUSTER a"),
    (Write, "REINDEX TABLE a"),
    (Write, "CHECKPOINT"),
    (Write, "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c"),
    // What nobody can see into.
    (Write, "CALL refresh()"),
    (Write, "DO $$ BEGIN DELETE FROM users; END $$"),
    (Write, "EXECUTE find_user(1)"),
    (Write, "NOTIFY jobs, 'one'"),
    // Explained.
    (Read, "EXPLAIN SELECT 1"),
    (Read, "EXPLAIN ANALYZE VERBOSE SELECT 1"),
    (Read, "EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT 1"),
    (Read, "EXPLAIN (SELECT 1)"),
    (Read, "EXPLAIN ((SELECT 1))"),
    (Read, "EXPLAIN (COSTS off) (SELECT 1)"),
    (Write, "EXPLAIN ANALYZE DELETE FROM users"),
    (Write, "EXPLAIN (ANALYZE) INSERT INTO a VALUES (1)"),
    (Write, "EXPLAIN ANALYZE CREATE TABLE a AS SELECT 1"),
    (Write, "EXPLAIN ANALYZE EXECUTE delete_user(1)"),
    (Write, "EXPLAIN (ANALYZE"),
    (Write, "EXPLAIN"),
    // Copies.
    (Read, "COPY users TO STDOUT"),
    (Read, "COPY users (id, name) TO STDOUT WITH (FORMAT csv)"),
    (Read, "COPY (SELECT * FROM users) TO STDOUT"),
    (Write, "COPY users FROM STDIN"),
    (Write, "COPY \"to\" FROM STDIN"),
    (Write, "COPY users TO '/tmp/users'"),
    (Write, "COPY users TO PROGRAM 'gzip'"),
    (Write, "COPY (DELETE FROM users RETURNING *) TO STDOUT"),
    (Write, "COPY users"),
    // Functions.
    (Write, "SELECT nextval('ids')"),
    (Write, "SELECT pg_catalog . NextVal('ids')"),
    (Write, "SELECT \"nextval\"('ids')"),
    (Write, "SELECT setval('ids', 1)"),
    (Write, "SELECT currval('ids'), lastval()"),
    (Write, "VALUES (nextval('ids'))"),
    (Write, "SELECT pg_advisory_lock(1)"),
    (Write, "SELECT pg_try_advisory_xact_lock(1)"),
    (Write, "SELECT pg_notify('a', 'b')"),
    (Write, "SELECT lo_unlink(1)"),
    (Write, "SELECT set_config('a.b', 'c', false)"),
    (Write, "SELECT txid_current()"),
    (Write, "SELECT pg_current_wal_lsn()"),
    (Write, "SELECT * FROM dblink('b', 'DELETE FROM c')"),
    // Transactions.
    (BEGIN, "BEGIN"),
    (BEGIN, "begin work"),
    (BEGIN, "START TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
    (BEGIN, "BEGIN READ WRITE"),
    (BEGIN, "BEGIN ISOLATION LEVEL READ COMMITTED"),
    (
        BEGIN,
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
    ),
    (READS, "BEGIN READ ONLY"),
    (
        READS,
        "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;",
    ),
    (
        READS,
        "BEGIN TRANSACTION /* a report */ READ -- only\n ONLY",
    ),
    (End, "COMMIT"),
    (End, "END TRANSACTION"),
    (End, "ROLLBACK;"),
    (End, "ABORT AND NO CHAIN"),
    (End, "PREPARE TRANSACTION 'a'"),
    (Write, "COMMIT PREPARED 'a'"),
    (Within, "COMMIT AND CHAIN"),
    (Within, "ROLLBACK TO SAVEPOINT a"),
    (Within, "SAVEPOINT a"),
    (Within, "RELEASE a"),
    (Within, "SET LOCAL work_mem = '1GB'"),
    (Within, "SET TRANSACTION READ ONLY"),
    (Within, "DECLARE c CURSOR FOR SELECT 1"),
    (Write, "DECLARE c CURSOR FOR SELECT * FROM jobs FOR UPDATE"),
    (Within, "FETCH 10 FROM c"),
    (Session, "BEGIN; SELECT 1; COMMIT"),
    (Session, "BEGIN READ ONLY; SELECT 1"),
    // The connection.
    (Session, "SET search_path = a"),
    (
        Session,
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    ),
    (Session, "RESET ALL"),
    (Session, "DISCARD ALL"),
    (Session, "PREPARE a AS DELETE FROM b"),
    (Session, "DEALLOCATE a"),
    (Session, "LISTEN jobs"),
    (Session, "SELECT 1; SET a.b = 'c'"),
    // In doubt.
    (Write, ""),
    (Write, " ; -- nothing\n"),
    (Write, "gibberish"),
    (Write, "{call f()}"),
    (Write, "SELECT 'no end"),
    (Write, "SELECT \"no end"),
    (Write, "SELECT $$ no end $"),
    (Write, "SELECT 1 /* no /* end */"),
    // With the old way of reading strings this is two statements.
    (Write, r"SELECT '\'; DELETE FROM users; --'"),
    (Write, r"SELECT '\' -- ' INTO users"),
    (Write, r"SELECT U&'d!0061t!+000061' UESCAPE '!'"),
];

#[test]
fn every_statement_goes_where_it_belongs() {
    assert!(TABLE.len() >= 80);
    for (expected, sql) in TABLE {
        assert_eq!(Access::of(sql), *expected, "{sql}");
    }
}

#[test]
fn letter_case_does_not_matter() {
    for (expected, sql) in TABLE {
        // A tag of a string in dollars has its case.
        if !sql.contains('$') {
            assert_eq!(Access::of(&sql.to_ascii_uppercase()), *expected, "{sql}");
            assert_eq!(Access::of(&sql.to_ascii_lowercase()), *expected, "{sql}");
        }
    }
}

#[test]
fn only_what_changes_nothing_fits_a_replica() {
    for (access, fits) in [(Read, true), (READS, true), (BEGIN, false), (Write, false)] {
        assert_eq!(access.fits_replica(), fits);
    }
    for access in [Within, End, Session] {
        assert!(!access.fits_replica());
    }
}

#[test]
fn functions_that_were_named_are_seen_in_any_spelling() {
    let classifier = StatementClassifier::new()
        .writes("Count_Visit")
        .writes("audit");
    for sql in [
        "SELECT count_visit(1)",
        "SELECT app.COUNT_VISIT(1)",
        "SELECT app.\"count_visit\" (1)",
        "SELECT * FROM users WHERE audit(id)",
        "WITH a AS (SELECT audit/**/(1)) TABLE a",
    ] {
        assert_eq!(classifier.classify(sql), Write, "{sql}");
        assert_eq!(Access::of(sql), Read, "{sql}");
    }
    assert_eq!(
        classifier.classify("SELECT 'audit', auditor FROM count_visits"),
        Read
    );
}

/// A megabyte of the worst that was thought of is looked at a few times, not a million times.
#[test]
fn the_time_grows_with_the_length_of_the_text_and_not_faster() {
    let many = |part: &str| part.repeat((1 << 20) / part.len());
    for part in [
        "/*",
        "$a$b",
        "$a",
        "$",
        "'",
        "''",
        "\"",
        "E'\\'",
        "for ",
        "for/**/",
        "(",
        "explain (",
        "-- ",
        ";",
        "select ",
        "u&'",
        "*/",
    ] {
        let _ = Access::of(&many(part));
        let _ = Access::of(&format!("select {}", many(part)));
    }
    let tag = format!("${}$", "a".repeat(1 << 19));
    let _ = Access::of(&format!("select {tag}{}", many("$aaaaaaa")));
}

fn joined(parts: &[(usize, usize)], gap: impl Fn(usize) -> &'static str) -> String {
    let parts = parts.iter().map(|&(part, number)| {
        let part = PARTS[part % PARTS.len()];
        format!("{part}{}", gap(number))
    });
    parts.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn comments_and_white_space_change_nothing(parts in prop::collection::vec((any::<usize>(), any::<usize>()), 0..24)) {
        let plain = joined(&parts, |_| " ");
        let spaced = joined(&parts, |number| GAPS[number % GAPS.len()]);
        prop_assert_eq!(Access::of(&plain), Access::of(&spaced), "{:?} {:?}", plain, spaced);
        let around = format!("/* a */ -- b\n{plain}\n-- c\n/* d */");
        prop_assert_eq!(Access::of(&plain), Access::of(&around));
    }

    #[test]
    fn a_text_with_a_word_that_writes_is_never_a_read(parts in prop::collection::vec((any::<usize>(), any::<usize>()), 0..24)) {
        let text = joined(&parts, |_| " ");
        let writes = |&(part, _): &(usize, usize)| {
            matches!(PARTS[part % PARTS.len()], "insert" | "into" | "update" | "delete" | "merge" | "nextval" | "\"nextval\"")
        };
        if parts.iter().any(writes) {
            prop_assert!(!Access::of(&text).fits_replica(), "{}", text);
        }
    }

    #[test]
    fn any_text_is_classified(text in ".{0,200}", sql in "[-/*$'\"eE\\\\;a(). \n]{0,60}") {
        let _ = (Access::of(&text), Access::of(&sql));
        let _ = Access::of(&format!("select {sql}"));
    }
}
