//! One computation for all who ask: in random orders beside a model, and where others of this kind went wrong.

mod orders;
mod pitfalls;
#[path = "../support/mod.rs"]
mod support;
