//! Where requests come from: an access log, a cache trace, or the generator.
//!
//! Whatever the source, the rest of the program sees [`Requests`]: dense key
//! numbers in the order they were asked for, and a time for each if the source
//! has times.

mod access_log;
mod civil;
mod lines;
mod names;
mod requests;
mod synthetic;
mod trace;

pub(crate) use access_log::read as read_log;
pub(crate) use lines::{InputError, Skipped, visible};
#[cfg(test)]
pub(crate) use requests::Hosts;
pub(crate) use requests::Requests;
pub(crate) use synthetic::Synthetic;
pub(crate) use trace::{Format as TraceFormat, read as read_trace};
