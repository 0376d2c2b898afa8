//! Getting back what a dead PostgreSQL primary had not sent, after another one was promoted.

#[path = "postgres/cluster.rs"]
mod cluster;
#[path = "postgres/loss.rs"]
mod loss;
#[path = "postgres/workload.rs"]
mod workload;

use std::num::NonZeroU32;
use std::time::Instant;

use cluster::tell;
use loss::Loss;
use tenfold::postgres::recovery::{PostgresRecovery, Transaction};
use tenfold::replica::recovery::{AsyncEntries, AsyncEntrySource, Incomplete, Read};
use tenfold::replica::{AsyncConnector, AsyncPromoter};

/// Asynchronous replication, availability first: a replica is promoted at once, the application goes on, and what the
/// old primary had not sent is decoded from its log.
#[test]
fn what_was_not_sent_is_decoded_after_the_promotion() {
    let lost = Loss::new(true);
    let (cluster, connector, servers) = (&lost.cluster, &lost.connector, &lost.servers);
    lost.runtime.block_on(async {
        let recovery = PostgresRecovery::open(connector, &servers[0], &servers[1])
            .await
            .unwrap();
        let begun = Instant::now();
        let report = recovery.run(connector).await.unwrap();
        tell(format_args!(
            "decoded and applied in {:?}\n{report}",
            begun.elapsed()
        ));
        assert_eq!(report.recovered(), 56);
        assert_eq!(report.sources().len(), 2);
        let complete = report.complete().unwrap();
        assert_eq!(lost.digest(1), lost.expected);

        let again = recovery.run(connector).await.unwrap();
        assert_eq!((again.recovered(), again.already()), (0, 56));
        assert_eq!(lost.digest(1), lost.expected);

        connector
            .rejoin(&servers[0], &servers[1], &complete)
            .await
            .unwrap();
    });
    // No number is given twice.
    workload::write_more(cluster.server(1));
    cluster.wait_until_applied(1, 0);
    assert_eq!(lost.digest(0), lost.digest(1));
}

/// The same without a slot: rows are found by what the log says of where they lie.
#[test]
fn what_was_not_sent_is_found_without_a_slot() {
    let lost = Loss::new(false);
    let (connector, servers) = (&lost.connector, &lost.servers);
    lost.runtime.block_on(async {
        let recovery = PostgresRecovery::open(connector, &servers[0], &servers[1])
            .await
            .unwrap();
        assert_eq!(recovery.lost(), 56);
        let begun = Instant::now();
        let report = recovery.run(connector).await.unwrap();
        tell(format_args!(
            "inspected and applied in {:?}\n{report}",
            begun.elapsed()
        ));
        assert_eq!(report.recovered(), 56);
        report.complete().unwrap();
        assert_eq!(lost.digest(1), lost.expected);

        let again = recovery.run(connector).await.unwrap();
        assert_eq!((again.recovered(), again.already()), (0, 56));
        assert_eq!(lost.digest(1), lost.expected);
    });
}

/// What both lines have written stays as the new primary has it, and is told with both sides.
#[test]
fn what_the_new_primary_has_changed_is_not_overwritten() {
    for kept in [true, false] {
        let lost = Loss::new(kept);
        let (connector, servers) = (&lost.connector, &lost.servers);
        let new = lost.cluster.server(1);
        new.sql("UPDATE account SET balance = 7777 WHERE id = 105");
        new.sql("DELETE FROM account WHERE id = 301");
        new.sql("UPDATE account SET note = 'kept' WHERE id = 203");
        let row = "SELECT balance, coalesce(note, '') = 'kept' FROM account WHERE id IN (105, 203, 301) ORDER BY id";
        let before = new.sql(row);
        lost.runtime.block_on(async {
            let recovery = PostgresRecovery::open(connector, &servers[0], &servers[1])
                .await
                .unwrap();
            let report = recovery.run(connector).await.unwrap();
            assert!(report.complete().is_err());
            assert!(report.recovered() < 56);
            if kept {
                let told: Vec<&str> = report
                    .conflicts()
                    .flat_map(|conflict| &conflict.conflicts)
                    .map(|conflict| &*conflict.what)
                    .collect();
                assert!(
                    told.iter().any(|what| what.contains("id='105'")),
                    "{told:?}"
                );
                assert!(
                    told.iter().any(|what| what.contains("id='301'")),
                    "{told:?}"
                );
                assert!(
                    told.iter().any(|what| what.contains("id='203'")),
                    "{told:?}"
                );
            }
        });
        assert_eq!(new.sql(row), before);
    }
}

/// What cannot be recovered is in the report, by the name of its table; what can be is recovered.
#[test]
fn what_cannot_be_recovered_is_refused_by_name() {
    for slot in [true, false] {
        let lost = Loss::with(
            slot,
            &[
                "CREATE TABLE event (what text)",
                "INSERT INTO event VALUES ('first')",
                "CREATE TABLE cart (id int PRIMARY KEY)",
                "INSERT INTO cart VALUES (1)",
                "CREATE SEQUENCE ticket",
                "SELECT nextval('ticket')",
            ],
            &[
                "INSERT INTO event VALUES ('second')",
                "UPDATE event SET what = 'third' WHERE what = 'first'",
                "DELETE FROM event WHERE what = 'third'",
                "TRUNCATE cart",
                "CREATE TABLE added (id int PRIMARY KEY)",
                "INSERT INTO added VALUES (1)",
                "SELECT setval('ticket', 4711)",
            ],
        );
        let (connector, servers) = (&lost.connector, &lost.servers);
        let report = lost.runtime.block_on(async {
            let recovery = PostgresRecovery::open(connector, &servers[0], &servers[1])
                .await
                .unwrap();
            recovery.run(connector).await.unwrap()
        });
        assert!(report.complete().is_err());
        let told = report.to_string();
        for named in [
            // Without a slot only what a row was last is found, and this one is gone.
            if slot {
                "table public.event has no primary key"
            } else {
                "a row of table public.event was deleted"
            },
            if slot {
                "table public.cart was truncated"
            } else {
                "it truncated, dropped or wrote anew a table"
            },
            "there is no table public.added",
        ] {
            assert!(told.contains(named), "{named}: {told}");
        }
        // To truncate a table is no change of what it is.
        assert!(!told.contains("not recovered: changed"), "{told}");
        let new = lost.cluster.server(1);
        assert_eq!(
            new.sql("SELECT what FROM event ORDER BY 1"),
            "first\nsecond"
        );
        assert_eq!(new.sql("SELECT count(*) FROM cart"), "1");
        assert_eq!(new.sql("SELECT nextval('ticket')"), "4712");
    }
}

/// Changes of the schema are in no source; each transaction with one is told of, by the names of what it changed, and its rows are
/// recovered.
#[test]
fn lost_changes_of_the_schema_are_told_by_name() {
    for slot in [true, false] {
        let lost = Loss::with(
            slot,
            &[
                "CREATE TABLE event (id int PRIMARY KEY, what text)",
                "CREATE TABLE cart (id int PRIMARY KEY)",
            ],
            &[
                "CREATE TABLE added (id int PRIMARY KEY, what text)",
                "INSERT INTO added VALUES (1, 'row')",
                "BEGIN; ALTER TABLE account ADD COLUMN nick text; INSERT INTO event VALUES (1, 'beside'); COMMIT",
                "DROP TABLE cart",
                "CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n'",
                "CREATE ROLE clerk",
                "SELECT lo_from_bytea(4711, 'large')",
                "ALTER TABLE event ALTER what SET DEFAULT 'x'",
                // Nothing of these is a change of the schema.
                "ANALYZE account",
                "CREATE TEMPORARY TABLE scratch (id int)",
                "INSERT INTO event VALUES (2, 'as ever')",
                r"\c template1",
                "CREATE TABLE far (id int)",
            ],
        );
        let (connector, servers) = (&lost.connector, &lost.servers);
        let recover = || {
            lost.runtime.block_on(async {
                let recovery = PostgresRecovery::open(connector, &servers[0], &servers[1])
                    .await
                    .unwrap();
                recovery.run(connector).await.unwrap()
            })
        };
        let report = recover();
        // Without a slot, what was in a table that is gone is told besides.
        let rows_gone = "it truncated, dropped or wrote anew a table, and the log does not say what was lost with that; and ";
        let told = report.losses().map(|loss| &*loss.why);
        let told: Vec<&str> = told
            .map(|why| why.strip_prefix(rows_gone).unwrap_or(why))
            .collect();
        let changed = |what: &str| format!("it changed the schema, which is not recovered: {what}");
        let expected = [
            changed("created index public.added_pkey, table public.added"),
            "there is no table public.added".to_owned(),
            changed("created table column public.account.nick; changed table public.account"),
            changed("dropped index public.cart_pkey, table public.cart"),
            changed("created function public.twice(integer)"),
            changed("created role clerk"),
            changed("created large object 4711"),
            changed(
                "created default value for public.event.what; changed table column public.event.what",
            ),
            "it wrote to another database than the one that is recovered: template1".to_owned(),
        ];
        assert_eq!(told, expected, "{report}");
        assert_eq!(report.complete(), Err(Incomplete::Lost(9)));
        let new = lost.cluster.server(1);
        assert_eq!(
            new.sql("SELECT id, what FROM event ORDER BY id"),
            "1|beside\n2|as ever"
        );

        // What can be made by hand, is; and what had to wait for it comes.
        new.sql("CREATE TABLE added (id int PRIMARY KEY, what text)");
        let again = recover();
        assert_eq!(again.recovered(), 1, "{again}");
        assert_eq!(again.lost(), 8, "{again}");
        assert_eq!(new.sql("SELECT id, what FROM added"), "1|row");
    }
}

/// Ten thousand rows in two thousand transactions: the source holds no more of them than it was told to.
#[test]
fn many_lost_transactions_are_read_in_slices() {
    const TRANSACTIONS: u32 = 2_000;
    const LOST: u64 = TRANSACTIONS as u64 + 1;
    const AT_ONCE: u32 = 70;
    let write = format!(
        "DO $$ BEGIN FOR n IN 1..{TRANSACTIONS} LOOP \
         INSERT INTO reading SELECT n, part, 'v' || n FROM generate_series(1, 5) part; COMMIT; END LOOP; END $$"
    );
    let lost = Loss::with(
        true,
        &["CREATE TABLE reading (number int, part int, value text, PRIMARY KEY (number, part))"],
        &[
            "SET synchronous_commit = off",
            &write,
            // All before it are on disk with this one.
            "SET synchronous_commit = on",
            "INSERT INTO reading VALUES (0, 0, 'last')",
        ],
    );
    let (connector, servers) = (&lost.connector, &lost.servers);
    let report = lost.runtime.block_on(async {
        let recovery = PostgresRecovery::open(connector, &servers[0], &servers[1])
            .await
            .unwrap();
        assert_eq!(recovery.lost() as u64, LOST);
        // Whoever holds everything goes on when the server has gone.
        let quarantined = recovery.quarantine(connector).await.unwrap();
        let decoded = recovery.decoded(connector, &quarantined).await.unwrap();
        let decoded = decoded.rows_at_once(NonZeroU32::new(AT_ONCE).unwrap());
        let mut entries = decoded.entries_after(recovery.fork()).await.unwrap();
        assert!(matches!(entries.next().await, Some(Ok(Read::Entry(_)))));
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'FETCH%'";
        let other = connector.connect(&quarantined).await.unwrap();
        assert_eq!(other.execute(end, &[]).await.unwrap(), 1);
        let mut held = 0;
        while let Some(Ok(read)) = entries.next().await {
            held += rows_of(&read);
        }
        assert!(held > 0 && held < AT_ONCE as usize, "{held}");

        let begun = Instant::now();
        let report = recovery.run(connector).await.unwrap();
        tell(format_args!(
            "{} writes recovered in {:?}",
            report.recovered(),
            begun.elapsed()
        ));
        let again = recovery.run(connector).await.unwrap();
        assert_eq!((again.recovered(), again.already()), (0, LOST));
        report
    });
    report.complete().unwrap();
    assert_eq!(report.recovered(), LOST);
    let counted = lost
        .cluster
        .server(1)
        .sql("SELECT count(*), sum(length(value)) FROM reading");
    assert_eq!(counted, "10001|44469");
}

fn rows_of(read: &Read<Transaction>) -> usize {
    match read {
        Read::Entry(entry) => entry.write.changes.len(),
        other => panic!("{other:?}"),
    }
}
