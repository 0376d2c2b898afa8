use std::{fmt, io};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::base64url;

/// What a browser holds: 256 random bits, and nothing else.
///
/// Whoever has it has the session, so it can be compared (in constant time) and
/// handed out once on purpose ([`reveal`](Self::reveal)), but not printed; its
/// bytes are wiped when it is dropped.
///
/// ```
/// use tenfold::session::{MemoryStore, SessionToken};
///
/// let store = MemoryStore::builder().build()?;
/// let (token, _) = store.create(None, b"cart".as_slice())?;
/// let cookie = token.reveal();
/// assert_eq!(cookie.len(), 43);
/// assert!(SessionToken::parse(&cookie).is_some_and(|again| again == token));
/// assert_eq!(format!("{token:?}"), "SessionToken(..)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionToken {
    bytes: [u8; BYTES],
    /// Computed once: a request loads and saves under it.
    #[zeroize(skip)]
    key: SessionKey,
}

impl SessionToken {
    /// Draws a new one from the operating system, for a store to begin a session under.
    ///
    /// # Errors
    /// The system gave no random bits.
    pub fn draw() -> io::Result<Self> {
        Self::draw_from(getrandom::fill)
    }

    pub(super) fn draw_from(entropy: Entropy) -> io::Result<Self> {
        let mut token = Self::EMPTY;
        entropy(&mut token.bytes)?;
        Ok(token.hashed())
    }

    /// One of bytes that were drawn elsewhere.
    #[cfg(any(test, feature = "tower-sessions"))]
    pub(super) fn of(bytes: [u8; BYTES]) -> Self {
        let mut token = Self::EMPTY;
        token.bytes = bytes;
        token.hashed()
    }

    /// To be filled in place, so that no copy is left to wipe.
    const EMPTY: Self = Self {
        bytes: [0; BYTES],
        key: SessionKey(0),
    };

    fn hashed(mut self) -> Self {
        let hash = Sha256::digest(self.bytes);
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        self.key = SessionKey::from_bytes(key);
        self
    }

    /// Reads the value of a cookie. Anything but 43 characters of unpadded
    /// base64url is none, and is not even hashed.
    pub fn parse(cookie: &str) -> Option<Self> {
        if cookie.len() != TEXT {
            return None;
        }
        let mut token = Self::EMPTY;
        base64url::decode(cookie.as_bytes(), &mut token.bytes)?;
        Some(token.hashed())
    }

    /// The value for the cookie: 43 characters of base64url. This is the secret
    /// itself, so it belongs in the answer's `Set-Cookie` and nowhere else.
    pub fn reveal(&self) -> String {
        base64url::encode(&self.bytes)
    }

    /// What a store knows of it.
    pub fn key(&self) -> SessionKey {
        self.key
    }
}

impl PartialEq for SessionToken {
    fn eq(&self, other: &Self) -> bool {
        self.bytes.ct_eq(&other.bytes).into()
    }
}

impl Eq for SessionToken {}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// What a store keeps instead of a token: the first half of its SHA-256.
///
/// It says which session is meant (in a list of devices, in a log) and opens
/// nothing: no token can be made from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub(super) u128);

impl SessionKey {
    /// Its bytes, for a store elsewhere.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// The key of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({self})")
    }
}

impl fmt::Display for SessionKey {
    /// Hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What fills a slice with random bits, or fails: the operating system, but for a test of what
/// becomes of its failure.
pub(super) type Entropy = fn(&mut [u8]) -> Result<(), getrandom::Error>;

const BYTES: usize = 32;
const TEXT: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_read_as_it_was_written() {
        for _ in 0..200 {
            let token = SessionToken::draw().unwrap();
            let cookie = token.reveal();
            assert_eq!(cookie.len(), TEXT);
            assert!(SessionToken::parse(&cookie).unwrap() == token);
        }
        assert_eq!(SessionToken::of([0; BYTES]).reveal(), "A".repeat(TEXT));
        let known = SessionToken::of(std::array::from_fn(|place| place as u8 * 8));
        assert_eq!(
            known.reveal(),
            "AAgQGCAoMDhASFBYYGhweICIkJigqLC4wMjQ2ODo8Pg"
        );
    }

    #[test]
    fn what_is_no_cookie_of_ours_is_none() {
        let right = "A".repeat(TEXT);
        assert!(SessionToken::parse(&right).is_some());
        let wrong = [
            String::new(),
            "A".repeat(42),
            "A".repeat(44),
            format!("{}=", &right[1..]),
            format!("{} ", &right[1..]),
            format!("{}+", &right[1..]),
            // Bits that no byte has: another spelling of the same token.
            format!("{}B", &right[1..]),
            format!("{}é", &right[2..]),
        ];
        for cookie in wrong {
            assert!(SessionToken::parse(&cookie).is_none(), "{cookie}");
        }
    }
}
