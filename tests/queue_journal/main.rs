//! A queue as the journal of a write-back. One test starts processes, which inherit, until they run, the locks of queues
//! that are open: no other here opens one on a real disk.

mod crashes;
mod journal;
#[path = "../support/mod.rs"]
mod support;
