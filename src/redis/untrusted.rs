//! A door for fuzzing to what reads the server's bytes.

use redis::parse_redis_value;

use super::record::Record;
use super::reply::{self, Reply};
use crate::session::{Loaded, SessionInfo, SessionKey, Unavailable};

/// Reads bytes as what lies under the key of a session.
///
/// # Errors
/// They are no session.
pub fn record(bytes: &[u8], idle: u32) -> Result<(Loaded, SessionInfo), Unavailable> {
    let info = Record::parse(bytes)?.info(SessionKey::from_bytes([0; 16]), idle);
    Ok((Record::parse(bytes)?.loaded(idle), info))
}

/// Reads bytes as what the server answers, in every way in which answers are read. Says whether any of them found what it
/// looked for.
pub fn answer(bytes: &[u8]) -> bool {
    let Ok(value) = parse_redis_value(bytes) else {
        return false;
    };
    let listed = reply::pairs(value.clone()).is_ok_and(|pairs| {
        for (_, value) in &pairs {
            let _ = Record::parse(value);
        }
        true
    });
    let number = reply::number(&value).is_ok();
    let bytes = reply::value(value.clone()).is_ok();
    Reply::parse(value).is_ok() || listed || number || bytes
}
