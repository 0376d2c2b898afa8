//! What lies in the table, when it is written, and when it goes.

use std::time::Duration;

use tenfold::session::{AsyncSessionStore, CycleError, SaveError, Unavailable};

use crate::Postgres;
use crate::cluster::wait_until;
use crate::outages::{Damages, what_no_store_has_written_is_an_error_and_can_be_revoked};
use crate::session_store::{Bed as _, Knobs, begin, is_there, run};

#[test]
fn rows_hold_no_secret() {
    run(async {
        let bed = Postgres::new();
        let store = bed.store(Knobs::default()).await;
        let (first, _) = begin(&store, Some("ada"), b"data").await;
        let second = store.cycle(&first).await.unwrap();
        let (guest, _) = begin(&store, None, b"data").await;
        let third = store.log_in(&guest, "ada").await.unwrap();
        let all = format!("SELECT * FROM {}", bed.table);
        let rows = bed.server.sql(&all);
        assert_eq!(rows.lines().count(), 2);
        for token in [&first, &second, &guest, &third] {
            let secret = hex(&base64url(&token.reveal()));
            assert!(!rows.contains(&secret[..16]) && !rows.contains(&token.reveal()));
        }
        for token in [second, third] {
            assert!(rows.contains(&hex(&token.key().to_bytes())));
        }
    });
}

fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef".map(char::from);
    let both = |byte: &u8| {
        [
            digits[usize::from(byte >> 4)],
            digits[usize::from(byte & 15)],
        ]
    };
    bytes.iter().flat_map(both).collect()
}

/// What 43 characters of base64url stand for.
fn base64url(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for character in text.bytes() {
        let six = alphabet.iter().position(|&it| it == character).unwrap();
        (bits, held) = (bits << 6 | six as u32, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

#[test]
fn sessions_end_by_the_servers_clock() {
    run(async {
        let bed = Postgres::new();
        let knobs = Knobs {
            idle: Duration::from_secs(1),
            touch_every: Duration::ZERO,
            ..Knobs::default()
        };
        let store = bed.store(knobs).await;
        let (token, version) = begin(&store, Some("ada"), b"").await;
        while is_there(&store, &token).await {
            tokio::task::yield_now().await;
        }
        let late = store.save(&token, version, b"".as_slice()).await;
        assert_eq!(late, Err(SaveError::Gone));
        assert!(store.sessions_of("ada").await.unwrap().is_empty());
    });
}

#[test]
fn a_version_does_not_come_again_when_the_server_forgot_writes() {
    run(async {
        let bed = Postgres::new();
        let store = bed.store(Knobs::default()).await;
        let (token, version) = begin(&store, None, b"").await;
        let lost = store.save(&token, version, b"lost".as_slice()).await;
        // A replica takes over that had not heard of the save.
        let (table, number) = (&bed.table, version.to_u64());
        bed.server
            .sql(&format!("UPDATE {table} SET version = {number}"));
        let other = store.save(&token, version, b"other".as_slice()).await;
        let (lost, other) = (lost.unwrap(), other.unwrap());
        assert!(other > lost);
        let late = store.save(&token, lost, b"late".as_slice()).await;
        assert_eq!(late, Err(SaveError::Conflict { current: other }));
    });
}

/// Which version of its row there is, and where the index by deadline has it.
fn written(bed: &Postgres) -> (String, String) {
    let row = bed
        .server
        .sql(&format!("SELECT xmin, ctid, filed FROM {}", bed.table));
    let (version, filed) = row.rsplit_once('|').unwrap();
    (version.to_owned(), filed.to_owned())
}

#[test]
fn a_load_writes_now_and_then_and_touches_no_index() {
    run(async {
        let bed = Postgres::new();
        let store = bed.store(Knobs::default()).await;
        let (token, version) = begin(&store, Some("ada"), b"data").await;
        let begun = written(&bed);
        for _ in 0..3 {
            store.load(&token).await.unwrap();
        }
        assert_eq!(written(&bed), begun);
        bed.pass(&store, 19).await;
        let passed = written(&bed);
        store.load(&token).await.unwrap();
        assert_eq!(written(&bed), passed);

        bed.pass(&store, 20).await;
        let passed = written(&bed);
        store.peek(&token).await.unwrap();
        assert_eq!(written(&bed), passed);
        store.load(&token).await.unwrap();
        let moved = written(&bed);
        assert_ne!(moved.0, passed.0);
        assert_eq!(moved.1, passed.1, "an indexed column");
        store.load(&token).await.unwrap();
        assert_eq!(written(&bed), moved);
        store
            .save(&token, version, b"more".as_slice())
            .await
            .unwrap();
        assert_eq!(written(&bed).1, passed.1, "an indexed column");

        // No use moves what ends at the latest then.
        bed.pass(&store, 500).await;
        store.load(&token).await.unwrap();
        bed.pass(&store, 400).await;
        store.load(&token).await.unwrap();
        bed.pass(&store, 100).await;
        let last = written(&bed);
        assert!(store.load(&token).await.unwrap().is_some());
        assert_eq!(written(&bed), last);

        // A connection that ends says what it has done: three moves and a save.
        drop(store);
        let hot = format!(
            "SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = '{}'",
            bed.table
        );
        wait_until("it is counted", || bed.server.sql(&hot) == "4");
    });
}

#[test]
fn of_many_loads_at_once_one_writes() {
    run(async {
        let bed = Postgres::new();
        let store = std::sync::Arc::new(bed.store(Knobs::default()).await);
        let (token, _) = begin(&*store, None, b"").await;
        bed.pass(&store, 30).await;
        let count = format!("CREATE SEQUENCE {}_writes", bed.table);
        let (table, writes) = (&bed.table, format!("{}_writes", bed.table));
        bed.server.sql_each(&[
            count,
            format!(
                "CREATE FUNCTION {writes}_count() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN PERFORM nextval(''{writes}''); RETURN NULL; END'"
            ),
            format!(
                "CREATE TRIGGER count AFTER UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {writes}_count()"
            ),
        ]);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (store, token) = (std::sync::Arc::clone(&store), token.clone());
            tasks.spawn(async move { store.load(&token).await.unwrap().unwrap().ends() });
        }
        let ends = tasks.join_all().await;
        assert!(ends.iter().all(|&end| end == ends[0]), "{ends:?}");
        let counted = bed.server.sql(&format!("SELECT last_value FROM {writes}"));
        assert_eq!(counted, "1");
    });
}

fn count(bed: &Postgres) -> usize {
    let count = format!("SELECT count(*) FROM {}", bed.table);
    bed.server.sql(&count).parse().unwrap()
}

#[test]
fn what_is_over_is_swept_in_batches_and_what_lives_is_filed_anew() {
    run(async {
        let bed = Postgres::new();
        let store = bed.store(Knobs::default()).await;
        let mut tokens = Vec::new();
        for _ in 0..10 {
            tokens.push(begin(&store, Some("ada"), b"").await.0);
        }
        assert_eq!(store.sweep(100).await.unwrap().looked, 0);
        bed.pass(&store, 300).await;
        store.load(&tokens[0]).await.unwrap();
        store.load(&tokens[1]).await.unwrap();
        bed.pass(&store, 300).await;
        let mut sizes = Vec::new();
        loop {
            let swept = store.sweep(4).await.unwrap();
            assert!(swept.looked <= 4);
            if swept.looked == 0 {
                break;
            }
            sizes.push(swept.looked);
        }
        assert_eq!(sizes, [4, 4, 2]);
        assert_eq!(count(&bed), 2);
        for (at, token) in tokens.iter().enumerate() {
            assert_eq!(is_there(&store, token).await, at < 2);
        }
        bed.pass(&store, 300).await;
        assert_eq!(store.sweep(100).await.unwrap().removed, 2);
        assert_eq!(count(&bed), 0);
    });
}

#[test]
fn whoever_begins_sessions_sweeps_so_that_the_table_stays_bounded() {
    run(async {
        let bed = Postgres::new();
        let store = bed.store(Knobs::default()).await;
        for _ in 0..3 {
            for _ in 0..50 {
                begin(&store, None, b"").await;
            }
            bed.pass(&store, 600).await;
        }
        for _ in 0..16 {
            begin(&store, None, b"").await;
        }
        assert!(count(&bed) <= 16, "{}", count(&bed));
    });
}

#[test]
fn the_sweep_asks_the_index() {
    run(async {
        let bed = Postgres::new();
        let store = bed.store(Knobs::default()).await;
        begin(&store, Some("ada"), b"").await;
        let (table, moment) = (
            &bed.table,
            "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint",
        );
        let plan = |condition: &str| {
            bed.server.sql_each(&[
                "SET enable_seqscan = off".to_owned(),
                format!("EXPLAIN SELECT key FROM {table} WHERE {condition}"),
            ])
        };
        let found = plan(&format!("filed <= {moment} ORDER BY filed LIMIT 5"));
        assert!(found.contains("filed_idx"), "{found}");
        let found = plan("name = '\\x61'");
        assert!(found.contains("name_idx"), "{found}");
    });
}

impl Damages for Postgres {
    const DAMAGES: &[&str] = &[
        "name = '\\xff'",
        "name = 'ada', version = -5",
        "created = -1",
        "ends = 9223372036854775807, seen = -1",
    ];
    const CHANGES_READ: bool = false;

    fn damage(&self, how: &str) -> bool {
        let damage = format!("UPDATE {} SET {how}", self.table);
        self.server.sql(&damage);
        !how.contains("\\xff")
    }
}

#[test]
fn a_row_that_no_store_has_written_is_an_error_and_can_be_revoked() {
    run(what_no_store_has_written_is_an_error_and_can_be_revoked(
        Postgres::new,
    ));
}

#[test]
fn a_table_that_is_another_is_an_error() {
    run(async {
        let changes = [
            "ALTER TABLE {} ALTER COLUMN data TYPE text USING 'x'",
            "ALTER TABLE {} ALTER COLUMN version TYPE text",
            "ALTER TABLE {} ALTER COLUMN version DROP NOT NULL; UPDATE {} SET version = NULL",
            "ALTER TABLE {} DROP COLUMN ends",
            "ALTER TABLE {} RENAME TO {}_elsewhere",
        ];
        for change in changes {
            let bed = Postgres::new();
            let store = bed.store(Knobs::default()).await;
            // Even a cycle may succeed.
            let one = begin(&store, Some("ada"), b"data").await;
            let two = begin(&store, Some("ada"), b"data").await;
            assert!(is_there(&store, &one.0).await);
            bed.server.sql(&change.replace("{}", &bed.table));
            let stores = [store, bed.builder().build().unwrap()];
            for (store, (token, version)) in stores.into_iter().zip([one, two]) {
                let loaded = store.load(&token).await;
                assert!(
                    matches!(
                        loaded,
                        Err(Unavailable::Malformed { .. } | Unavailable::Refused(_))
                    ),
                    "{change}: {loaded:?}"
                );
                let saved = store.save(&token, version, b"".as_slice()).await;
                assert!(
                    !matches!(saved, Err(SaveError::Gone)),
                    "{change}: {saved:?}"
                );
                let cycled = store.cycle(&token).await;
                assert!(
                    !matches!(cycled, Err(CycleError::Gone)),
                    "{change}: {cycled:?}"
                );
            }
        }
    });
}

/// A constraint of somebody else's fails, and the server quotes the row: the error does not.
#[test]
fn errors_quote_no_rows() {
    run(async {
        let bed = Postgres::new();
        let store = bed.store(Knobs::default()).await;
        let (token, version) = begin(&store, Some("ada"), b"").await;
        bed.server.sql(&format!(
            "ALTER TABLE {} ADD CONSTRAINT small CHECK (octet_length(data) < 5)",
            bed.table
        ));
        let saved = store.save(&token, version, b"password".as_slice()).await;
        let Err(SaveError::Unavailable(Unavailable::Refused(why))) = &saved else {
            panic!("{saved:?}")
        };
        let hex = "70617373776f7264";
        for told in [format!("{why} {why:?}"), format!("{saved:?}")] {
            assert!(told.contains("23514") && !told.contains(hex), "{told}");
        }
    });
}
