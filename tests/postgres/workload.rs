//! Data that is written before a failover, and looked for after it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program that has this module uses a part"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tenfold::postgres::PostgresConnector;
use tenfold::replica::{AsyncConnector, Endpoint};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::cluster::Server;

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub fn on_runtime<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// Tables with what makes recovery hard: keys of two columns, names that need quotes, generated columns, values too
/// large for their row, a sequence.
///
/// 1 000 accounts, and 20 rows of the other table.
pub fn create(primary: &Server) {
    create_tables(primary);
    write_replicated(primary);
}

fn create_tables(primary: &Server) {
    primary.sql(
        r#"CREATE TABLE account (
                   id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                   owner varchar(40) NOT NULL, code char(4), balance numeric(12, 2) NOT NULL,
                   double numeric GENERATED ALWAYS AS (balance * 2) STORED,
                   note text, seen timestamptz, tags text[], bits bit(5));
               CREATE TABLE "Odd ""Table""" ("A key" text, part int, "it's" bytea, large text,
                   PRIMARY KEY ("A key", part));
               ALTER TABLE "Odd ""Table""" ALTER COLUMN large SET STORAGE EXTERNAL;
               ALTER TABLE account ALTER COLUMN note SET STORAGE EXTERNAL"#,
    );
}

fn write_replicated(primary: &Server) {
    primary.sql(
            r#"INSERT INTO account (owner, code, balance, note, seen, tags, bits)
                   SELECT 'owner ' || n, 'c' || n % 10, n, repeat('x', n * 5), '2026-01-01 00:00+00', ARRAY['a', 'b'], B'10101'
                   FROM generate_series(1, 1000) n;
               INSERT INTO "Odd ""Table""" SELECT 'k' || n, n, '\xdeadbeef', repeat('y', 4000) FROM generate_series(1, 20) n"#,
        );
}

/// 50 inserts, 20 updates and 10 deletes in 52 transactions, and some that are harder.
pub fn write_unsent(primary: &Server) {
    let mut statements: Vec<String> = (1..=50)
        .map(|n| {
            format!(
                "INSERT INTO account (owner, code, balance, tags) \
                 VALUES ('lost {n}', 'new', {n}.50, ARRAY['it''s', 'a\"b\\'])"
            )
        })
        .collect();
    statements.extend(
        [
            "UPDATE account SET balance = balance + 1 WHERE id BETWEEN 101 AND 120",
            "DELETE FROM account WHERE id BETWEEN 201 AND 210",
            // A value that stays where it is, out of the row; a key that changes; one row, again and again.
            r#"UPDATE "Odd ""Table""" SET "it's" = '\x00ff' WHERE part = 3"#,
            r#"UPDATE "Odd ""Table""" SET "A key" = 'moved' WHERE part = 4"#,
            "BEGIN; UPDATE account SET balance = 0 WHERE id = 301; \
             UPDATE account SET note = NULL, tags = NULL WHERE id = 301; \
             DELETE FROM account WHERE id = 302; COMMIT",
            "UPDATE account SET balance = -1 WHERE id = 301",
            // What is rolled back is not lost.
            "BEGIN; UPDATE account SET balance = 99; ROLLBACK",
        ]
        .map(str::to_owned),
    );
    primary.sql_each(&statements);
}

pub fn write_more(primary: &Server) {
    primary.sql("INSERT INTO account (owner, balance) VALUES ('later', 1)");
}

/// Count and checksum of every row.
pub fn digest(server: &Server) -> String {
    server.sql(
            r#"SELECT count(*), md5(string_agg(a::text, ',' ORDER BY id)) FROM account a
               UNION ALL SELECT count(*), md5(string_agg(o::text, ',' ORDER BY part)) FROM "Odd ""Table""" o"#,
        )
}

/// Tasks that write until they fail, and remember what they were told is done.
pub struct Writers {
    tasks: Vec<JoinHandle<()>>,
    acknowledged: Arc<Mutex<Vec<(i32, i32)>>>,
    count: Arc<AtomicUsize>,
}

impl Writers {
    pub async fn start(connector: &PostgresConnector, primary: &Endpoint, writers: i32) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let count = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for writer in 0..writers {
            let connection = connector.connect(primary).await.unwrap();
            let (acknowledged, count) = (Arc::clone(&acknowledged), Arc::clone(&count));
            tasks.push(tokio::spawn(async move {
                let insert = "INSERT INTO written VALUES ($1, $2)";
                for number in 0.. {
                    if connection
                        .execute(insert, &[&writer, &number])
                        .await
                        .is_err()
                    {
                        break;
                    }
                    acknowledged.lock().unwrap().push((writer, number));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        Self {
            tasks,
            acknowledged,
            count,
        }
    }

    pub fn acknowledged(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// What was acknowledged, once every writer has failed.
    pub async fn finish(self) -> Vec<(i32, i32)> {
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut self.acknowledged.lock().unwrap())
    }
}
