//! What the keys are called, and which of them lie together.
//!
//! In a cluster a function may touch the keys of one slot only, and the slot is a hash of what stands in braces.
//! So there are 256 tags: a user's sessions and their index have the same one, from a hash of the user's name, and tokens
//! are drawn until theirs fits. Tags tell nothing that the key does not.

use std::fmt::Write;
use std::io;

use sha2::{Digest, Sha256};

use crate::session::{SessionKey, SessionToken, UserId};

/// What all keys of a store begin with.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
}

/// Which keys lie in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u8);

impl Tag {
    pub(super) fn of(key: SessionKey) -> Self {
        // The first byte in print.
        Self(key.to_bytes()[15])
    }

    pub(super) fn of_user(hash: &[u8; 16]) -> Self {
        Self(hash[0])
    }

    /// Draws a token whose session lies there: 256 are drawn on average, so an eighth of the bits
    /// of one byte of 32 are given up.
    pub(super) fn draw(self) -> io::Result<SessionToken> {
        for _ in 0..DRAWS {
            let token = SessionToken::draw()?;
            if Self::of(token.key()) == self {
                return Ok(token);
            }
        }
        Err(io::Error::other("the random bits are not random"))
    }
}

impl Keys {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// The key of a session.
    pub(super) fn session(&self, key: SessionKey) -> String {
        format!("{}{key}", self.sessions(Tag::of(key)))
    }

    /// What the keys of all sessions of a tag begin with.
    pub(super) fn sessions(&self, tag: Tag) -> String {
        format!("{{{}:{:02x}}}:s:", self.prefix, tag.0)
    }

    /// The key of a user's index.
    pub(super) fn index(&self, hash: &[u8; 16]) -> String {
        let tag = Tag::of_user(hash);
        let mut key = format!("{{{}:{:02x}}}:u:", self.prefix, tag.0);
        for byte in hash {
            // Writing to a string does not fail.
            let _ = write!(key, "{byte:02x}");
        }
        key
    }
}

/// What a user is called in keys.
pub(super) fn hash_of(user: &UserId) -> [u8; 16] {
    let hash = Sha256::digest(user.as_str());
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

/// The session whose key ends like this.
pub(super) fn session_of(member: &[u8]) -> Option<SessionKey> {
    let text = str::from_utf8(member)
        .ok()
        .filter(|text| text.len() == 32)?;
    let number = u128::from_str_radix(text, 16).ok()?;
    Some(SessionKey::from_bytes(number.to_le_bytes()))
}

/// So many fail with a probability of e^-64.
const DRAWS: usize = 256 * 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_user_lie_in_one_slot() {
        let keys = Keys::new("app".into());
        for number in 0..20 {
            let hash = hash_of(&UserId::from(format!("user {number}")));
            let index = keys.index(&hash);
            let tag = Tag::of_user(&hash);
            let key = tag.draw().unwrap().key();
            let session = keys.session(key);
            let in_braces = |key: &str| key.split(['{', '}']).nth(1).unwrap().to_owned();
            assert_eq!(in_braces(&index), in_braces(&session));
            assert_eq!(session, format!("{}{key}", keys.sessions(tag)));
            assert_eq!(
                session_of(&session.as_bytes()[session.len() - 32..]),
                Some(key)
            );
        }
    }

    #[test]
    fn keys_hold_hashes_only() {
        let keys = Keys::new("app".into());
        let index = keys.index(&hash_of(&UserId::from("ada")));
        assert_eq!(index, "{app:fd}:u:fdee430d40bd57deeac186cd9790033d");
        let key = SessionKey::from_bytes(std::array::from_fn(|at| at as u8));
        assert_eq!(
            keys.session(key),
            "{app:0f}:s:0f0e0d0c0b0a09080706050403020100"
        );
    }

    #[test]
    fn what_is_no_member_of_an_index_is_none() {
        for wrong in [
            &b""[..],
            b"+f0e0d0c0b0a0908070605040302010",
            &[0xff; 32],
            &[b'g'; 32],
        ] {
            assert_eq!(session_of(wrong), None);
        }
        assert_eq!(session_of(&[b'+'; 32]), None);
    }
}
