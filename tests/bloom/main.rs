//! The filters as their users see them: beside a set, as bytes, between threads, and how often they err.

mod bytes;
mod model;
mod rates;
mod threads;
