//! The queue, and read models over it, on disks that tear, fill up and fail. What needs processes of its own is
//! elsewhere: one that is started inherits, until it runs, the locks of queues that are open.

mod bytes;
mod complaints;
mod crashes;
mod durability;
mod faults;
mod files;
mod golden;
#[cfg(not(tenfold_shuttle))]
mod models;
mod offline;
mod projection;
mod projection_crashes;
mod reopening;
mod space;
mod stories;
#[path = "../support/mod.rs"]
mod support;
mod time;
