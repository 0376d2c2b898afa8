//! How many calls a second there are, on this machine: `cargo test --release --features postgres-sessions --test
//! session_postgres -- --ignored --nocapture`. Nothing is judged by it.

use std::sync::Arc;
use std::time::Instant;

use tenfold::postgres::sessions::PostgresStore;
use tenfold::session::{AsyncSessionStore, SessionToken, Version};

use crate::Postgres;
use crate::cluster::tell;
use crate::session_store::{Bed as _, Knobs, run};

#[test]
#[ignore = "a measurement"]
fn calls_per_second() {
    run(async {
        let bed = Postgres::new();
        let store = Arc::new(bed.store(Knobs::default()).await);
        for tasks in [1, 8] {
            let users = each(tasks, "create, of users", async |at| {
                let user = format!("user {tasks} {at}").into();
                store.create(Some(user), DATA).await.unwrap()
            })
            .await;
            each(tasks, "create, of nobody", async |_| {
                store.create(None, DATA).await.unwrap();
            })
            .await;
            let of = |at: usize| -> &(SessionToken, Version) { &users[at] };
            each(tasks, "load", async |at| {
                assert!(store.load(&of(at).0).await.unwrap().is_some());
            })
            .await;
            each(tasks, "save", async |at| {
                let (token, version) = of(at);
                store.save(token, *version, DATA).await.unwrap();
            })
            .await;
        }
        let size = format!(
            "SELECT pg_table_size('{0}') / count(*), pg_indexes_size('{0}') / count(*) FROM {0}",
            bed.table
        );
        bed.server.sql(&format!("VACUUM FULL {}", bed.table));
        tell(format_args!(
            "bytes per session of {} bytes, table|indexes: {}",
            DATA.len(),
            bed.server.sql(&size)
        ));
        let _: &PostgresStore = &store;
    });
}

/// Makes so many calls, by so many tasks in one thread.
async fn each<T>(tasks: usize, what: &str, call: impl AsyncFn(usize) -> T) -> Vec<T> {
    let begun = Instant::now();
    let mut lines: Vec<_> = (0..tasks)
        .map(|line| {
            let call = &call;
            Box::pin(async move {
                let mut answers = Vec::new();
                for at in (line..CALLS).step_by(tasks) {
                    answers.push((at, call(at).await));
                }
                answers
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(CALLS);
    std::future::poll_fn(|context| {
        lines.retain_mut(|line| match line.as_mut().poll(context) {
            std::task::Poll::Ready(found) => {
                answers.extend(found);
                false
            }
            std::task::Poll::Pending => true,
        });
        if lines.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    let rate = CALLS as f64 / begun.elapsed().as_secs_f64();
    tell(format_args!(
        "{tasks} at a time, {what}: {rate:.0} a second"
    ));
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

const CALLS: usize = 4000;
const DATA: &[u8] = &[7; 256];
