//! What users of sticky balancers reported, and what a node may be told: each is a story of a few servers.

#[path = "session_sticky/cookies.rs"]
mod cookies;
#[path = "session_sticky/drains.rs"]
mod drains;
#[path = "session_sticky/ends.rs"]
mod ends;
#[path = "session_sticky/messages.rs"]
mod messages;
#[path = "session_sticky/nodes.rs"]
mod nodes;
mod sticky_world;
