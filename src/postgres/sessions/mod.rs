//! PostgreSQL, as a store of sessions that servers share.
//!
//! # The bad day
//!
//! The primary dies, and for the twenty seconds until a replica has taken over no query is answered. Each server takes the error for
//! "there is no such session", clears the cookie and shows the log-in: everybody is logged out, and all of it was in the database.
//!
//! Here those seconds are an error of its own, and the compiler asks what to do about it:
//!
//! ```no_run
//! use tenfold::postgres::sessions::PostgresStore;
//! use tenfold::session::{AsyncSessionStore, SessionToken};
//!
//! async fn page(store: &PostgresStore, cookie: &str) -> (u16, String) {
//!     let Some(token) = SessionToken::parse(cookie) else {
//!         return (401, "log in".to_owned());
//!     };
//!     match store.load(&token).await {
//!         Ok(Some(session)) => (200, format!("{} bytes", session.len())),
//!         Ok(None) => (401, "log in".to_owned()),
//!         // Nobody knows. The cookie stays.
//!         Err(unavailable) => (503, unavailable.to_string()),
//!     }
//! }
//!
//! # async fn shown() -> Result<(), Box<dyn std::error::Error>> {
//! // Both servers: whichever is the primary is asked.
//! let store = PostgresStore::builder("postgres://app@db0,db1/shop")?.schema("web").build()?;
//! store.create_table().await?;
//! store.check().await?;
//! let (token, _) = store.create(Some("ada".into()), b"1 lamp".as_slice()).await?;
//! assert_eq!(page(&store, &token.reveal()).await.0, 200);
//! # Ok(()) }
//! ```
//!
//! # The idea
//!
//! A session is a row, found by its primary key, the hash of its token: a load is one `SELECT`. A save, a new token and the end of
//! a session are one statement each on that row. If somebody else is at it the statement waits, then finds another version, another key or no
//! row, and says so.
//!
//! What waiting for rows does not catch is a row that is added: a log-in that commits just after "log out all devices" has looked would escape it. So who adds to the
//! sessions of a user, and who ends all of them, takes an advisory lock of that user first. Nobody else needs it: no load, no save, no session of nobody.
//!
//! **A load writes nothing**, unless since the deadline was last moved [`touch_every`](PostgresStoreBuilder::touch_every) has gone by, an eighth of the idle time. Then the
//! deadline is moved by an update that changes no indexed column: PostgreSQL puts the new version of the row beside the old one (HOT) and
//! touches no index. That the sweep has an index by deadline all the same is due to a second column, which says when to look at the session again,
//! and which only the sweep moves: once per idle time, for sessions in use.
//!
//! # What you can rely on
//!
//! * All that the [trait](crate::session::AsyncSessionStore) promises, the same tests run on this store, on Redis and on the one in memory: gone is gone, nobody escapes,
//!   two deadlines, one token at a time.
//! * **Never "no session" on an error.** A server that is dead, hangs, starts up, takes no connection, has no table or answers rubbish is
//!   [`Unavailable`](crate::session::Unavailable), and so is a row that no store has written. That one can be revoked.
//! * **Only the primary is asked.** A replica that lags shows sessions that were ended and misses those just begun; and a load may have to
//!   write. So a server that reads only, a primary that was fenced among them, is not believed either: another connection is made, to whichever of the
//!   servers in the address takes writes.
//! * **In time.** No call takes longer than [`op_timeout`](PostgresStoreBuilder::op_timeout), a load that moves the deadline and a save that is in conflict twice that. The server
//!   is told to give up then too, so that nothing piles up there. After [some failures](PostgresStoreBuilder::breaker) it is left alone for a while.
//! * **A connection that died is replaced.** A load on one is asked again; a change only where it is certain that it was not made. Deadlocks and serialization
//!   failures are tried up to three times.
//! * **No secret at rest.** Keys are hashes of tokens. Names and data are kept as they are given. Errors say what the server said, without the rows
//!   it said it about.
//! * **The server's clock.** It alone decides what has expired. A version is a time, and never given twice, even by a server that has forgotten its latest saves.
//! * **Any names**: of schema and table, quoted; of users, whatever bytes and however long. All else is a parameter of a prepared statement.
//!
//! # What the server can undo
//!
//! What a server has acknowledged it can forget, and then a revocation is forgotten like everything else: a session that was ended is back,
//! an old token good again, until it expires.
//!
//! | What happens | What is forgotten |
//! |---|---|
//! | crash of the server or its machine, restart | nothing acknowledged, unless `fsync` or `synchronous_commit` is off, which [`check`](PostgresStore::check) refuses |
//! | failover to an asynchronous replica | what it had not received, usually milliseconds; with a partition all that the old primary took meanwhile |
//! | failover to a synchronous one | nothing acknowledged |
//! | a backup is restored | everything since. End all sessions then: `TRUNCATE` |
//!
//! A failover is synchronous if all of this is so: `synchronous_standby_names` has a name in it on the primary and on whoever becomes one (`ANY 1 (db1, db2)`);
//! `synchronous_commit` is `on` or `remote_apply`, for `local` waits for no replica, and `remote_write` not for its disk; and no replica is promoted that has received
//! less than another, which the [replica block](crate::replica) sees to if it is told that replication is synchronous. Changes then wait for a replica, and if too few are left they are
//! [`TimedOut`](crate::session::Unavailable::TimedOut). [`check`](PostgresStore::check) sees one server and cannot tell.
//!
//! With the replica block's failover, what a dead primary had not sent can be recovered from its log: until that is done, what it ended is back. Where a log-out has to hold through an asynchronous failover, tell
//! it to a [`Denylist`](crate::session::token::Denylist) as well.
//!
//! # What it costs
//!
//! One round trip per call; two where a load moves the deadline, and for whatever needs the lock. A change waits for its commit to reach the disk, as any does. On a laptop-sized
//! machine of two cores, server and client on it, PostgreSQL 15 made 4,200 loads or 1,200 saves a second one after the other, 9,500 and 3,400 with eight at a time
//! (`cargo test --features postgres-sessions --test session_postgres -- --ignored --nocapture`).
//!
//! A row takes some 210 bytes beside its data and name, room for its next version included, and 100 in three indexes; data above 2 kB PostgreSQL stores apart, and compressed.
//! The table is for autovacuum to look after: with many saves, let it come early (`autovacuum_vacuum_scale_factor = 0.02`).
//!
//! [`sweep`](PostgresStore::sweep) takes out what is over, in batches, skipping what is locked: every sixteenth session begun does so, and a task of yours may.
//!
//! The table can be read by people: times are microseconds since 1970, so `to_timestamp(ends / 1e6)`; names are bytes, so `convert_from(name, 'UTF8')`.
//!
//! # What it is not
//!
//! No cache: each load asks the server. Not for a proxy that pools by transaction: what is prepared and set belongs to a connection; the store has
//! its own pool, of [`max_connections`](PostgresStoreBuilder::max_connections). No encryption of its own: who reads the table reads names and data, and who writes to it logs in as anybody.
//!
//! # References
//!
//! * PostgreSQL, *Transaction Isolation*, *Explicit Locking* (advisory locks), *Heap-Only Tuples*, `synchronous_commit`.
#![forbid(unsafe_code)]

mod builder;
mod connection;
mod error;
mod failure;
mod link;
mod record;
mod statements;
mod store;
mod table;

pub use builder::PostgresStoreBuilder;
pub use error::{CheckError, PostgresBuildError};
pub use store::PostgresStore;
