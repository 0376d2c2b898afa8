use std::fmt;

/// What a client gets: an access token and the refresh token for the next.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenPair {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) family: String,
    pub(super) expires: u64,
}

impl TokenPair {
    /// The access token.
    pub fn access(&self) -> &str {
        &self.access
    }

    /// The refresh token: a secret, for a cookie that scripts cannot read.
    pub fn refresh(&self) -> &str {
        &self.refresh
    }

    /// The name of the log-in, which is in the access tokens as `sid`. Opens nothing.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// When the access token ends: seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.expires
    }
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair")
            .field("family", &self.family)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// What a refresh token was exchanged for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the client needs the new tokens"]
pub enum Refreshed {
    /// The next pair; the token that was presented is used up.
    Rotated(TokenPair),
    /// It was used up a moment ago, by another request of the same client or by one whose answer was
    /// lost: the pair that is current, once more.
    Replayed(TokenPair),
}

impl Refreshed {
    /// The pair, either way.
    pub fn into_pair(self) -> TokenPair {
        match self {
            Self::Rotated(pair) | Self::Replayed(pair) => pair,
        }
    }
}
