//! Redis, as a store of sessions that servers share.
//!
//! # The bad day
//!
//! Redis is restarted. For a second no server reaches it, each of them takes the error for "there is no such
//! session", clears the cookie and shows the log-in. Everybody is logged out, by a store that has lost nothing.
//!
//! Here that second is an error of its own, and the compiler asks what to do about it:
//!
//! ```no_run
//! use tenfold::redis::RedisStore;
//! use tenfold::session::{AsyncSessionStore, SessionToken};
//!
//! async fn page(store: &RedisStore, cookie: &str) -> (u16, String) {
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
//! let store = RedisStore::builder("redis://127.0.0.1/")?.prefix("shop").build()?;
//! store.check().await?;
//! let (token, _) = store.create(Some("ada".into()), b"1 lamp".as_slice()).await?;
//! assert_eq!(page(&store, &token.reveal()).await.0, 200);
//! # Ok(()) }
//! ```
//!
//! # The idea
//!
//! A session is one string: a header of 24 bytes (version, when it was begun, last used and ends at the latest), its user, its
//! data. A load is a `GET` and a `PTTL` in one round trip; once per [`touch_every`](RedisStoreBuilder::touch_every) a second one moves its deadline.
//! Everything that changes a session is a function that the server runs in one step, by its own clock: so it is
//! compared and swapped, cycled and ended as in [memory](crate::session::MemoryStore), whoever else is at it.
//!
//! The sessions of a user lie beside their index (a sorted set): their keys have the same hash tag, which
//! tokens are drawn to fit. So all that happens to a user is one step too. Who begins or cycles a session is in the index
//! in the same moment, and [`revoke_user`](crate::session::AsyncSessionStore::revoke_user) ends what is in it: there is no moment at which one escapes, and
//! no generation that loads would have to compare.
//!
//! Only a log-in may go from one tag to another, in two steps. The session is copied under its new token, which nobody knows
//! yet, before the old one is taken away. If the server dies between the two the old token is
//! good, and a session that nobody has the token of is on the user's list until it expires.
//!
//! # What you can rely on
//!
//! * All that the [trait](crate::session::AsyncSessionStore) promises, the same tests run on this store and on the one in memory: gone is gone, nobody escapes,
//!   two deadlines, one token at a time.
//! * **Never "no session" on an error.** A server that is dead, hangs, is loading, full, a replica, or answers
//!   rubbish is [`Unavailable`](crate::session::Unavailable), and so is a value under our keys that no store has written. That one can be revoked.
//! * **In time.** No answer takes longer than [`op_timeout`](RedisStoreBuilder::op_timeout) for each of its round trips, of which a load has one, now and then two;
//!   after [some failures](RedisStoreBuilder::breaker) none is waited for. When the server is back, the first call after the pause finds out.
//! * **No secret at rest.** Keys are hashes of tokens and of users' names. Values hold names and data as they are given.
//! * **The server's clock.** It alone decides what has expired; those of the processes may be wrong.
//! * A version is never given twice, even by a server that has forgotten its latest saves.
//!
//! # What the server can undo
//!
//! What a server has acknowledged it can forget, and then a revocation is forgotten like everything else: a session that was ended is back,
//! an old token good again, until it expires.
//!
//! | Where | What is forgotten |
//! |---|---|
//! | no persistence, restart | everything: all are logged out, nobody is logged in |
//! | RDB, restart | what happened after the last snapshot, minutes |
//! | AOF, `appendfsync everysec`, crash of the machine | the last second, two at worst |
//! | AOF, `appendfsync always` | nothing acknowledged |
//! | failover to a replica (Sentinel, cluster, cloud) | what the replica had not received, usually milliseconds; on the wrong side of a partition all, until `min-replicas-to-write` stops it |
//!
//! With [`replicas`](RedisStoreBuilder::replicas) a change is not answered before so many replicas have it (`WAIT`), which narrows the last row
//! to failovers that choose another one; a change that too few have acknowledged is an error that says so, and stays made. Where a log-out has to hold through
//! whatever happens, say so where nothing is forgotten as well: in a database, or to a [`Denylist`](crate::session::token::Denylist).
//!
//! Keys that are evicted are forgotten too, and an index with them, without which nobody knows whose sessions to end. That is why
//! [`RedisStore::check`] insists on `maxmemory-policy noeviction`.
//!
//! # In a cluster
//!
//! No call has keys of two slots, in the text or found on the way: the tests run on a server with
//! `cluster-enabled`, which would refuse. There are 256 tags, so as many places to lie. The store itself talks to one address: a server, or a
//! proxy before a cluster (see [`only_scripts`](RedisStoreBuilder::only_scripts)). A node that has some of the slots answers `MOVED` or `ASK` for the
//! others. The store does not follow them; that is [`Misdirected`](crate::session::Unavailable::Misdirected), which says what to give it instead.
//!
//! # What it costs
//!
//! One round trip per call; two for a load that moves the deadline, three for a log-in that changes the tag; one more for a change that waits for replicas. One connection per
//! store, or two with those, over which calls of all tasks are sent without waiting for each other. A session takes its data, 24 bytes, with a user 20 and the
//! name more, and what Redis needs for its key and deadline; an index some 150 bytes and 45 per session. 100,000 users with a session of 256
//! bytes each took Redis 7.0 71 MB. A token for a user takes 256 draws and
//! hashes on average. `revoke_user` and lists take time in proportion to the user's sessions, in which the server does nothing else.
//!
//! # What it is not
//!
//! No cache: each load asks the server; in a [`ServeStale`](crate::session::serve_stale::ServeStale) they are answered for a while when it is down. No cluster client. No encryption of its own: who reads the server's memory reads names and
//! data, and who writes to it logs in as anybody; what `rediss://` needs, is a feature of the crate `redis`.
//!
//! # References
//!
//! * Redis, *Functions*, *Cluster specification* (hash tags), *Persistence*, *Key eviction*.
#![forbid(unsafe_code)]

mod builder;
mod error;
mod functions;
mod keys;
mod link;
mod record;
mod replicas;
mod reply;
mod store;
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod untrusted;

pub use builder::RedisStoreBuilder;
pub use error::{CheckError, RedisBuildError};
pub use store::RedisStore;
