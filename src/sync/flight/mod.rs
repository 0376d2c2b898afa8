//! One computation per key, and those who wait for it.
//!
//! A *flight* is a load that is under way. The first caller of a key becomes
//! its leader and runs its own loader; callers who come while it runs stand in
//! line and get the same outcome. Threads and tasks stand in the same line.
//!
//! # The story
//!
//! ```text
//! caller                    under the owner's lock                 outside
//! start(key)   value there? ............................. take it
//!              no flight:   note (key, id)             -> lead:   run the loader
//!              a flight:    stand in its line          -> follow: wait
//! leader       done:        take the note off, store   ->         wake the line, once
//!              gone:        promote one from the line  ->         wake that one
//!                           nobody there: note off
//! invalidate   detach:      the note no longer answers to the key
//! ```
//!
//! * The table of flights ([`Flights`]) is a single-threaded heart. It lies in
//!   its owner's shard, under the owner's lock: "no value, so join or lead"
//!   and "land and store" are one step each, and no caller can slip between.
//! * A leader alone costs one table entry and no allocation. The first
//!   follower creates the shared part (`Flight`): the line, and the cell in
//!   which the outcome will lie.
//! * A leader that panics or is cancelled hands the flight on: exactly one
//!   waiter is *promoted* and runs its own loader, the rest stay in line.
//!   Threads go before tasks: a thread that waits is blocked and certain to
//!   wake up, while a task may never be polled again, or may live on the very
//!   thread that is blocked. A caller who comes before the promoted one has
//!   noticed is awake for certain, and takes over. Since every caller leads at most once, a loader
//!   that always fails ends every call after one attempt of its own.
//! * A detached flight flies on: its callers get its outcome, its leader
//!   learns on landing that it must not store it, and the next caller of the
//!   key starts afresh.
//!
//! # Leaders elsewhere, and waits that end
//!
//! * A leader that points to its owner by an `Arc` ([`OwnedLead`]) may go into
//!   a [`Task`](crate::task::Task) and outlive the call that began it. That
//!   call stands in its own leader's line ([`start_detached`]) and may leave
//!   when it likes; it is never promoted, for its loader went with the leader.
//!   A refresh in the background leads with nobody in line ([`try_lead`]).
//! * A place in line is a *heir*'s or a *guest*'s: who brought no loader
//!   ([`join`], and the starter above) is passed over in promotion. When a
//!   leader is gone and only guests are left, they are told so.
//! * A wait may have a deadline ([`Until`]). Who times out still stands in
//!   line, so that it can wait on; dropping the place leaves it, and a promotion
//!   that came meanwhile is handed on. A leader in a task may ask to be told
//!   when nobody waits for it any more; then the key is free at once.
//! * A flight may have a *lease* ([`Terms`]). When it ends, the first heir that
//!   notices, or the next caller of the key, takes the leader's place: the
//!   flight keeps its name and its line, and everybody in it follows the new
//!   leader. What changes is the flight's *turn*, which every ticket carries:
//!   the late leader's ticket opens nothing any more, and its outcome goes to
//!   its own caller alone.
//!
//! # Loaders that load
//!
//! Each thread keeps the stack of the flights whose loaders it is running or
//! polling (`running`). A caller that finds its own flight on it gets
//! [`LoadError::Reentrant`]. When a leader waits for another flight, that fact
//! becomes an edge in one process-wide graph (`waits`), and a wait that would
//! close a circle is refused with [`LoadError::Cycle`]. A thread that meets a
//! flight whose leader is a task suspended on this same thread would wait for
//! itself: it loads for itself instead, and its value is not stored.
//!
//! What a loader hands to another thread or task is out of sight: a circle that
//! runs through a spawned task, or through two threads and a suspended task,
//! is not found.
//!
//! # Who protects what
//!
//! | data | protected by |
//! |---|---|
//! | the table: keys, ids, who answers to a key | the owner's lock |
//! | the line of a flight: phase, places, wakers; turn and lease, as the table has them | the flight's own mutex |
//! | the outcome | written once by the leader, before the phase says `Landed` |
//! | the waits graph | its own mutex, a leaf |
//!
//! Order: owner, then flight; the graph's is taken alone. No loader, clone,
//! waker or drop of a value or key runs under any of them (a key's `Eq` does).
//!
//! # What it costs
//!
//! Nobody waiting: two lock acquisitions and no allocation (one more whenever a
//! suspended leader turns up on another thread). A follower: at most a place
//! of 40 bytes in the line, and one allocation per flight. Nothing is kept
//! after a flight: not its key, not its outcome, not a waker.
//!
//! # References
//!
//! The idea, and the check that an old leader never removes a newer flight:
//! Go's `golang.org/x/sync/singleflight`.

mod batch;
mod error;
mod landing;
mod lead;
mod line;
mod load;
mod notes;
mod place;
mod running;
mod start;
mod table;
mod waiter;
mod waits;

pub(crate) use batch::poll_through_all;
pub use error::LoadError;
pub(crate) use landing::Landing;
pub(crate) use lead::{Lead, Outcome, OwnedLead, Owner, try_lead};
pub(crate) use load::{
    Begun, Detached, Expects, Refusal, begin, load_async, load_sync, start_detached,
};
pub(crate) use place::{InLine, Until, Waited, join};
pub(crate) use running::ThreadNumber;
pub(crate) use start::{Bypassed, Caller, Join, Start, Terms};
pub(crate) use table::{Flights, Ticket};

#[cfg(all(test, tenfold_shuttle))]
mod models;
#[cfg(all(test, tenfold_shuttle))]
mod place_models;
#[cfg(all(test, not(tenfold_shuttle)))]
mod place_tests;
#[cfg(test)]
mod store;
#[cfg(all(test, not(tenfold_shuttle)))]
mod tests;
