//! The balancer as its users see it, and whole fleets.

mod bad_days;
mod choice;
mod picks;
