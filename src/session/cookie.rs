use std::fmt;
use std::time::Duration;

/// A cookie that only this host can set and read: `__Host-`, `Secure`, `HttpOnly`, for the whole
/// site and no other domain (RFC 6265bis).
///
/// ```
/// use std::time::Duration;
/// use tenfold::session::{HostCookie, SameSite};
///
/// let cookie = HostCookie::new("id", SameSite::Lax)?;
/// assert_eq!(
///     cookie.set("token", None)?,
///     "__Host-id=token; Path=/; Secure; HttpOnly; SameSite=Lax"
/// );
/// assert_eq!(cookie.find("a=b; __Host-id=token"), Some("token"));
/// assert!(cookie.clear().ends_with("; Max-Age=0"));
/// # Ok::<(), tenfold::session::CookieError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCookie {
    /// With its prefix.
    name: String,
    same_site: SameSite,
}

/// Which requests of other sites bring the cookie along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// None at all: for refresh tokens.
    Strict,
    /// Those that open a page: for sessions.
    Lax,
}

/// A cookie that browsers would refuse or cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// A name that is no token.
    #[error("the name of a cookie has letters, digits, - and _ only, found {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// A value that would end early, or end the header.
    #[error(
        "a cookie has no spaces, quotes, commas, semicolons, backslashes or control characters"
    )]
    Value,
    /// Too long with its name.
    #[error("name and value have at most {max} bytes, found {len}")]
    TooLarge {
        /// How many they have.
        len: usize,
        /// How many there may be.
        max: usize,
    },
}

impl HostCookie {
    /// A cookie of this name, without the prefix.
    ///
    /// # Errors
    /// [`CookieError::Name`].
    pub fn new(name: &str, same_site: SameSite) -> Result<Self, CookieError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
            let name = name.to_owned();
            return Err(CookieError::Name { name });
        }
        let name = format!("{PREFIX}{name}");
        Ok(Self { name, same_site })
    }

    /// The `Set-Cookie` for a value: until the browser is closed, or for so long (400 days at most).
    ///
    /// # Errors
    /// [`CookieError`]: a value that is no cookie's, or too long.
    pub fn set(&self, value: &str, max_age: Option<Duration>) -> Result<String, CookieError> {
        let is_plain =
            |b: u8| matches!(b, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
        if !value.bytes().all(is_plain) {
            return Err(CookieError::Value);
        }
        let len = self.name.len() + value.len();
        if len > MAX {
            return Err(CookieError::TooLarge { len, max: MAX });
        }
        let mut text = self.written(value);
        if let Some(age) = max_age {
            text.push_str("; Max-Age=");
            text.push_str(&age.as_secs().min(MAX_AGE).to_string());
        }
        Ok(text)
    }

    /// The `Set-Cookie` that takes it away.
    pub fn clear(&self) -> String {
        self.written("") + "; Max-Age=0"
    }

    /// Its value in a `Cookie` header. None if it comes twice, too: then one of them is not ours.
    pub fn find<'a>(&self, header: &'a str) -> Option<&'a str> {
        let pairs = header.split(';').filter_map(|pair| pair.split_once('='));
        let mut values = pairs
            .filter(|(name, _)| name.trim() == self.name)
            .map(|(_, value)| value.trim());
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    fn written(&self, value: &str) -> String {
        let Self { name, same_site } = self;
        format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site}")
    }
}

impl fmt::Display for SameSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
        })
    }
}

const PREFIX: &str = "__Host-";
/// Bytes of name and value that browsers have to take.
const MAX: usize = 4096;
const MAX_AGE: u64 = 400 * 24 * 3600;
