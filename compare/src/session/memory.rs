//! What a session takes.

use super::lane::Lane;
use crate::report::{Better, Row};

/// With its data, its deadlines, and in ours its version and its user.
pub(super) fn row(lanes: &[Lane]) -> Row {
    let figure = |lane: &Lane| (lane.name.to_owned(), lane.bytes);
    let mut peers: Vec<_> = lanes.iter().map(figure).collect();
    let (_, ours) = peers.remove(0);
    let why = "not judged: no index of users".to_owned();
    Row {
        block: "session",
        workload: format!("{} sessions", super::SESSIONS),
        metric: "memory per session",
        unit: "bytes asked of the allocator",
        better: Better::Lower,
        ours,
        peers,
        floor: None,
        goal: Some(300.0),
        context: vec![("DashMap".to_owned(), why)],
        capacity: Some(super::SESSIONS),
    }
}
