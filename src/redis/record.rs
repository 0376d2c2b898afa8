//! A session as the server keeps it. The functions there write it; what it looks like is said
//! beside them.

use std::sync::Arc;

use crate::session::{Loaded, SessionInfo, SessionKey, Unavailable, UserId, Version};

/// A session, read.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) version: Version,
    created: u32,
    seen: u32,
    last: u32,
    user: Option<UserId>,
    data: Arc<[u8]>,
}

impl Record {
    pub(super) fn parse(value: &[u8]) -> Result<Self, Unavailable> {
        Self::read(value).ok_or(Unavailable::Malformed {
            expected: "a session under the key of one",
        })
    }

    fn read(value: &[u8]) -> Option<Self> {
        let (&[mark, kind, 0, 0], rest) = value.split_first_chunk::<4>()? else {
            return None;
        };
        let (created, rest) = rest.split_first_chunk()?;
        let (seen, rest) = rest.split_first_chunk()?;
        let (last, rest) = rest.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (user, data) = match (mark, kind) {
            (MARK, NOBODYS) => (None, rest),
            (MARK, A_USERS) => {
                let (_, rest) = rest.split_first_chunk::<16>()?;
                let (len, rest) = rest.split_first_chunk()?;
                let (name, data) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
                (Some(UserId::from(str::from_utf8(name).ok()?)), data)
            }
            _ => return None,
        };
        Some(Self {
            version: Version::from_u64(u64::from_le_bytes(*version)),
            created: u32::from_le_bytes(*created),
            seen: u32::from_le_bytes(*seen),
            last: u32::from_le_bytes(*last),
            user,
            data: data.into(),
        })
    }

    /// Whether a use now would move its idle deadline, if it has this much left.
    pub(super) fn is_due(&self, idle: u32, touch_every: u32, left_ms: i64) -> bool {
        let is_last = self.ends(idle) == u64::from(self.last);
        let fresh = i64::from(idle.saturating_sub(touch_every)) * 1000;
        !is_last && left_ms < fresh
    }

    /// Says when it was used.
    pub(super) fn touched(&mut self, seen: i64) {
        self.seen = u32::try_from(seen).unwrap_or(self.seen);
    }

    pub(super) fn loaded(self, idle: u32) -> Loaded {
        let (created, ends) = (u64::from(self.created), self.ends(idle));
        Loaded::new(self.data, self.user, self.version, created, ends)
    }

    pub(super) fn info(self, key: SessionKey, idle: u32) -> SessionInfo {
        let ends = self.ends(idle);
        SessionInfo::new(key, self.created.into(), ends, self.data).seen(self.seen.into())
    }

    fn ends(&self, idle: u32) -> u64 {
        self.seen.saturating_add(idle).min(self.last).into()
    }
}

/// What comes before the data of a user's session, after the header: the hash in the name of
/// their index, and their name.
pub(super) fn whose(user: &UserId, hash: &[u8; 16]) -> Vec<u8> {
    let name = user.as_str().as_bytes();
    let len = name.len() as u32;
    [&hash[..], &len.to_le_bytes(), name].concat()
}

const MARK: u8 = b's';
const NOBODYS: u8 = 0;
const A_USERS: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Begun at 100, used at 160, over at 1000, version 5.
    fn header(kind: u8) -> Vec<u8> {
        let mut value = vec![b's', kind, 0, 0];
        for seconds in [100_u32, 160, 1000] {
            value.extend(seconds.to_le_bytes());
        }
        value.extend(5_u64.to_le_bytes());
        value
    }

    #[test]
    fn what_was_written_is_read() {
        let value = [header(0), b"data".to_vec()].concat();
        let loaded = Record::parse(&value).unwrap().loaded(60);
        assert_eq!(&loaded[..], b"data");
        assert_eq!((loaded.created(), loaded.ends()), (100, 220));
        assert_eq!(loaded.version(), Version::from_u64(5));
        assert!(loaded.user().is_none());

        let ada = UserId::from("ada");
        let value = [header(1), whose(&ada, &[7; 16]), b"data".to_vec()].concat();
        let loaded = Record::parse(&value).unwrap().loaded(3600);
        assert_eq!((&loaded[..], loaded.user()), (&b"data"[..], Some(&ada)));
        assert_eq!(loaded.ends(), 1000);
    }

    #[test]
    fn what_no_store_has_written_is_an_error() {
        let right = [header(1), whose(&UserId::from("ada"), &[7; 16])].concat();
        assert!(Record::parse(&right).is_ok());
        for end in 0..right.len() {
            assert!(Record::parse(&right[..end]).is_err(), "{end}");
        }
        for (at, byte) in [(0, b't'), (1, 2), (2, 1), (3, 1), (43, 1), (45, 0xff)] {
            let mut wrong = right.clone();
            wrong[at] = byte;
            assert!(Record::parse(&wrong).is_err(), "{at}");
        }
        assert!(Record::parse(b"").is_err());
    }

    #[test]
    fn a_deadline_is_moved_now_and_then_and_not_in_vain() {
        let record = Record::parse(&header(0)).unwrap();
        assert!(!record.is_due(60, 10, 60_000));
        assert!(!record.is_due(60, 10, 50_000));
        assert!(record.is_due(60, 10, 49_999));
        // Without a deadline, as somebody else has left it.
        assert!(record.is_due(60, 10, -1));
        // The absolute one stays.
        assert!(!record.is_due(840, 10, 1));
    }
}
