//! Sessions that can be read while the store that has them is down.
//!
//! # The bad day
//!
//! Redis fails over, which takes ten seconds. Nobody is logged out, because nobody takes the error for "no
//! session"; but every page needs to know whose it is, so for ten seconds every page is an error. Someone adds a cache of
//! sessions in front. Now pages work, on the bad day and on all others, for those too who have logged out.
//!
//! What to do is decided by the type: a store as it is *fails closed*; one in a [`ServeStale`] answers loads from copies,
//! while it cannot be asked, and at no other time.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! use std::time::Duration;
//! use tenfold::session::serve_stale::ServeStale;
//! use tenfold::session::{AsyncSessionStore, MemoryStore};
//!
//! let shared = MemoryStore::builder().build()?; // in Redis, rather
//! let store = ServeStale::builder(shared).max_age(Duration::from_secs(30)).build()?;
//! let (token, version) = store.create(Some("ada".into()), b"1 lamp".as_slice()).await?;
//! let loaded = store.load(&token).await?.ok_or("gone")?;
//! match loaded.stale() {
//!     None => {} // as the store has it now
//!     Some(stale) => println!("as it was {:?} ago, because {}", stale.age(), stale.why()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! ```text
//! load    ask the store; if it answers, keep a copy and give the answer
//!         if it cannot: give the copy, marked, if it is young enough and its session's time is not over
//! end     forget the copy; ask the store; forget the copy that a load has put there meanwhile
//! save    ask the store; if it took it, the copy is what was saved, else forget the copy
//! ```
//!
//! A load that was asked before something ended must not bring its answer back as a copy. So each load notes two
//! numbers before it asks: how often a session of its stripe was forgotten, which has to be the same when the copy is put there, and
//! the generation of [`Tags`](crate::cache::tagged::Tags) in which it began, which has to be later than the last revocation of its user when the
//! copy is served. Both err on the side of no copy.
//!
//! A revocation whose end is not known (it took too long, or its task was dropped) may reach the store late, after a load that found the session alive.
//! Until it has been forgotten for as long as copies live, no copies are kept of what it was to end.
//!
//! # What you can rely on
//!
//! * **Copies answer loads only while the store cannot be asked**: it is unreachable, late, refuses, or is left alone. An answer
//!   of the store, "there is none" included, is given as it is; what time does not heal
//!   ([`Malformed`](crate::session::Unavailable::Malformed), [`Misdirected`](crate::session::Unavailable::Misdirected)) stays an error.
//! * **None is older than [`max_age`](ServeStaleBuilder::max_age)**, counted from before the store was asked for it, **or beyond the deadlines** that its
//!   session then had, by this machine's time of day. A load from a copy moves no deadline.
//! * **What this process ended or heard the end of is not served**: `revoke`, `revoke_user`, `cycle` and `log_in` forget copies before they ask the store, whether or
//!   not it answers; so does whatever finds that the session is gone. It holds against every load that is under way.
//! * **Marked**: [`Loaded::stale`](crate::session::Loaded::stale). Whatever changes a session needs the store, and is
//!   [`Unavailable`](crate::session::Unavailable) without it; so are `modify` and `merge`, even if they change nothing, and lists.
//! * **Your own saves are in it**: a copy is never older than a save of this process that succeeded.
//! * **A dead store costs microseconds**: after five failures in a row it is left alone for a second, then one call finds out.
//! * **Bounded** in bytes.
//!
//! # What is given up
//!
//! **A log-out on another server is not heard of while the store is down**: for up to `max_age` its session can be read here, as long as the
//! store cannot be asked. The same holds for other servers' saves. Use it where reading a page for half a minute too long does no harm, and check
//! [`stale`](crate::session::Loaded::stale) where it does.
//!
//! # What it costs
//!
//! A load takes a lock of a stripe twice and one of the cache, and a hash of the token; the data is shared with what was loaded. A copy takes its data and about 300
//! bytes. `revoke_user` takes constant time here.
//!
//! # What it is not
//!
//! No cache: a store that answers is asked each time. No time-out: the store has to end its calls itself. Nor does it remember what you wanted to
//! revoke while the store was down: that call failed; try again.
//!
//! # References
//!
//! * M. Nottingham, RFC 5861, *HTTP Cache-Control Extensions for Stale Content*: `stale-if-error`.
//! * M. Nygard, *Release It!*, 2007: circuit breakers.
#![forbid(unsafe_code)]

mod builder;
mod copies;
mod doubts;
mod fate;
#[cfg(all(test, tenfold_shuttle))]
mod models;
mod stats;
mod store;

pub use builder::ServeStaleBuilder;
pub use stats::ServeStaleStats;
pub use store::ServeStale;
