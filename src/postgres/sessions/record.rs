//! A session as a row tells it. Anything that no store can have written is an error.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::session::{Loaded, SessionInfo, SessionKey, Unavailable, UserId, Version};

/// What a row tells of a session, in the order of the columns of `Load` and `List`.
#[derive(Debug)]
pub(super) struct Record {
    version: Version,
    created: i64,
    seen: i64,
    ends: i64,
    data: Arc<[u8]>,
}

impl Record {
    /// The session, if the row tells of one.
    pub(super) fn parse(row: &Row) -> Result<Option<Self>, Unavailable> {
        if !column::<bool>(row, 1)? {
            return Ok(None);
        }
        Ok(Some(Self {
            version: version(column(row, 2)?)?,
            created: time(row, 3)?,
            seen: time(row, 4)?,
            ends: time(row, 5)?,
            data: column::<&[u8]>(row, 6)?.into(),
        }))
    }

    /// Whether a use now would move its idle deadline.
    pub(super) fn is_due(&self, touch_every: i64, row: &Row) -> Result<bool, Unavailable> {
        let (last, now) = (time(row, 8)?, time(row, 9)?);
        Ok(self.ends < last && now.saturating_sub(self.seen) >= touch_every)
    }

    /// Says what a touch has answered.
    pub(super) fn touched(&mut self, row: &Row) -> Result<(), Unavailable> {
        (self.seen, self.ends) = (time(row, 0)?, time(row, 1)?);
        Ok(())
    }

    pub(super) fn loaded(self, row: &Row) -> Result<Loaded, Unavailable> {
        let user = match column::<Option<&[u8]>>(row, 7)? {
            Some(name) => Some(UserId::from(str::from_utf8(name).map_err(|_| malformed())?)),
            None => None,
        };
        let (created, ends) = (seconds(self.created), seconds(self.ends));
        Ok(Loaded::new(self.data, user, self.version, created, ends))
    }

    pub(super) fn info(self, row: &Row) -> Result<SessionInfo, Unavailable> {
        let key = column::<&[u8]>(row, 7)?;
        let key = key.try_into().map_err(|_| malformed())?;
        let (created, ends) = (seconds(self.created), seconds(self.ends));
        let info = SessionInfo::new(SessionKey::from_bytes(key), created, ends, self.data);
        Ok(info.seen(seconds(self.seen)))
    }
}

/// A column, as what it should be.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, Unavailable> {
    row.try_get(at).map_err(|_| malformed())
}

pub(super) fn version(number: i64) -> Result<Version, Unavailable> {
    let number = u64::try_from(number).map_err(|_| malformed())?;
    Ok(Version::from_u64(number))
}

pub(super) fn malformed() -> Unavailable {
    Unavailable::Malformed {
        expected: "a session in a row of the table",
    }
}

fn time(row: &Row, at: usize) -> Result<i64, Unavailable> {
    match column(row, at)? {
        time @ 0.. => Ok(time),
        _ => Err(malformed()),
    }
}

fn seconds(micros: i64) -> u64 {
    micros.unsigned_abs() / 1_000_000
}
