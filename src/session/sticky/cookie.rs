use std::fmt;

use ring::hmac;
use subtle::ConstantTimeEq;

use crate::session::base64url;
use crate::session::token::KeyError;

/// A server, by the number that all routers and servers know it under. It is in
/// cookies in place of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(u16);

impl NodeNumber {
    /// The node of this number.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// What a browser is placed by: random, and the same for as long as it keeps the cookie, whoever
/// logs in there. Opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutingId(pub(super) u64);

impl RoutingId {
    pub(super) fn draw() -> Result<Self, getrandom::Error> {
        getrandom::u64().map(Self)
    }
}

/// What a cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pin {
    pub(super) node: NodeNumber,
    /// Which life of the node: it begins each one without sessions.
    pub(super) incarnation: u32,
    pub(super) routing: RoutingId,
}

/// The secrets that cookies are signed with: the one in use, and those before it, whose
/// cookies are still good.
///
/// ```
/// use tenfold::session::sticky::StickyKeys;
///
/// let keys = StickyKeys::new(&[8; 32])?.and_previous(&[7; 32])?;
/// assert!(StickyKeys::new(b"secret").is_err());
/// # Ok::<(), tenfold::session::token::KeyError>(())
/// ```
#[derive(Clone)]
pub struct StickyKeys(Vec<hmac::Key>);

impl StickyKeys {
    /// Signs with this secret of at least 32 random bytes.
    ///
    /// # Errors
    /// [`KeyError::KeyTooShort`].
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        Self(Vec::new()).and_previous(secret)
    }

    /// Takes cookies of this secret too, and signs them anew. To rotate: first let all routers know the
    /// next secret as a previous one, then sign with it, and drop the old one when browsers
    /// have been back.
    ///
    /// # Errors
    /// [`KeyError::KeyTooShort`].
    pub fn and_previous(mut self, secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET {
            let (got, min) = (secret.len(), MIN_SECRET);
            return Err(KeyError::KeyTooShort { got, min });
        }
        self.0.push(hmac::Key::new(hmac::HMAC_SHA256, secret));
        Ok(self)
    }

    /// The cookie's value: node (2 bytes, little-endian as all numbers), incarnation (4), routing
    /// id (8), and the first 10 bytes of their HMAC; in base64url.
    pub(super) fn seal(&self, pin: Pin) -> String {
        let mut bytes = [0; BYTES];
        bytes[..2].copy_from_slice(&pin.node.0.to_le_bytes());
        bytes[2..6].copy_from_slice(&pin.incarnation.to_le_bytes());
        bytes[6..SAID].copy_from_slice(&pin.routing.0.to_le_bytes());
        let (said, tag) = bytes.split_at_mut(SAID);
        tag.copy_from_slice(&sign(&self.0[0], said));
        base64url::encode(&bytes)
    }

    /// What a cookie says, and whether it was signed with the secret in use. None if it was
    /// signed with none of ours.
    pub(super) fn open(&self, value: &str) -> Option<(Pin, bool)> {
        if value.len() != TEXT {
            return None;
        }
        let mut bytes = [0; BYTES];
        base64url::decode(value.as_bytes(), &mut bytes)?;
        let (said, tag) = bytes.split_at(SAID);
        let is_of = |key: &hmac::Key| bool::from(sign(key, said).ct_eq(tag));
        let by = self.0.iter().position(is_of)?;
        let (node, rest) = said.split_first_chunk::<2>()?;
        let (incarnation, rest) = rest.split_first_chunk::<4>()?;
        let (routing, _) = rest.split_first_chunk::<8>()?;
        let pin = Pin {
            node: NodeNumber(u16::from_le_bytes(*node)),
            incarnation: u32::from_le_bytes(*incarnation),
            routing: RoutingId(u64::from_le_bytes(*routing)),
        };
        Some((pin, by == 0))
    }
}

impl fmt::Debug for StickyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StickyKeys({} keys)", self.0.len())
    }
}

fn sign(key: &hmac::Key, said: &[u8]) -> [u8; TAG] {
    let mut context = hmac::Context::with_key(key);
    // Should the secret sign other things too.
    context.update(PURPOSE);
    context.update(said);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&context.sign().as_ref()[..TAG]);
    tag
}

const PURPOSE: &[u8] = b"tenfold sticky cookie 1\0";
const MIN_SECRET: usize = 32;
const SAID: usize = 14;
const TAG: usize = 10;
const BYTES: usize = SAID + TAG;
const TEXT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: Pin = Pin {
        node: NodeNumber(3),
        incarnation: 7,
        routing: RoutingId(0x0123_4567_89ab_cdef),
    };

    #[test]
    fn a_cookie_is_read_by_whoever_has_the_key() {
        let old = StickyKeys::new(&[1; 32]).unwrap();
        let value = old.seal(PIN);
        assert_eq!(value.len(), TEXT);
        assert_eq!(old.open(&value), Some((PIN, true)));
        let both = StickyKeys::new(&[2; 32]).unwrap();
        let both = both.and_previous(&[1; 32]).unwrap();
        assert_eq!(both.open(&value), Some((PIN, false)));
        assert_eq!(StickyKeys::new(&[2; 32]).unwrap().open(&value), None);
    }

    #[test]
    fn no_bit_can_be_changed() {
        let keys = StickyKeys::new(&[1; 32]).unwrap();
        let value = keys.seal(PIN);
        let mut bytes = [0; BYTES];
        base64url::decode(value.as_bytes(), &mut bytes).unwrap();
        for bit in 0..BYTES * 8 {
            let mut wrong = bytes;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys.open(&base64url::encode(&wrong)), None, "bit {bit}");
        }
        for wrong in ["", "AAAA", &value[1..], &format!("{value}A")] {
            assert_eq!(keys.open(wrong), None);
        }
    }
}
