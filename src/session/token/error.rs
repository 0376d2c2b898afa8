use crate::session::UserId;

/// A ring of keys that could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A secret that can be guessed.
    #[error("a secret for HS256 has at least {min} bytes, found {got}")]
    KeyTooShort {
        /// How many it has.
        got: usize,
        /// How many it needs.
        min: usize,
    },
    /// Two keys of one name.
    #[error("two keys have the id {kid:?}")]
    DuplicateKid {
        /// The name.
        kid: String,
    },
    /// A name that cannot stand in a header as it is.
    #[error(
        "a key id has 1 to 64 printable ASCII characters without quotes and backslashes, found {kid:?}"
    )]
    BadKid {
        /// The name.
        kid: String,
    },
    /// Nothing of that name, or nothing to sign with.
    #[error("there is no key {kid:?} to sign with")]
    NoActiveKey {
        /// The name that was to be active.
        kid: String,
    },
    /// A ring without keys.
    #[error("a ring has at least one key")]
    NoKeys,
    /// Bytes that are no such key.
    #[error("the key {kid:?} is not {expected}")]
    BadKey {
        /// Its name.
        kid: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Text that is no set of keys.
    #[error("not a JWK set: expected {expected}")]
    Jwks {
        /// What would be right.
        expected: &'static str,
    },
}

/// Where a token is not what a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// It is not three parts with something in each.
    Parts,
    /// A part is not unpadded base64url.
    Base64,
    /// The header is not a JSON object of up to 16 distinct members with an `alg`.
    Header,
    /// The claims are not a JSON object of distinct members, 32 deep at most.
    Claims,
}

/// What was revoked, so that a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// This token.
    Token,
    /// All of one log-in.
    Family,
    /// All of the user until then.
    User,
    /// All until then.
    All,
}

/// A token that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than any token; nothing of it was read.
    #[error("a token has at most {max} bytes, found {len}")]
    TooLong {
        /// Its length.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// Not a token.
    #[error("the token is malformed: {0:?}")]
    Malformed(Part),
    /// The algorithm is the key's, and the header says another.
    #[error("the algorithm is not that of the key")]
    AlgorithmMismatch,
    /// There are several keys, and the header names none.
    #[error("the token does not say which key signed it")]
    KeyIdMissing,
    /// There is no such key.
    #[error("the token names a key that is not in the ring")]
    KeyIdUnknown,
    /// The key was retired, or its time is over.
    #[error("the token names a key that is retired")]
    KeyRetired,
    /// The header demands what this does not know.
    #[error("the header has critical members")]
    CriticalHeader,
    /// The header brings a key of its own, and that is refused.
    #[error("the header brings a key of its own")]
    EmbeddedKey,
    /// A token for something else.
    #[error("the token is of another type")]
    WrongType,
    /// The signature is not the key's over these bytes.
    #[error("the signature is wrong")]
    BadSignature,
    /// A claim that must be there is not.
    #[error("the claim {0:?} is missing")]
    MissingClaim(&'static str),
    /// A claim that has the wrong type or an impossible value.
    #[error("the claim {0:?} has no value it may have")]
    BadClaim(&'static str),
    /// Its time is over.
    #[error("the token expired {by} seconds ago")]
    Expired {
        /// Seconds since.
        by: u64,
    },
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Whoever issued it has another time.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// Older than is accepted, whatever it says.
    #[error("the token was issued too long ago")]
    TooOld,
    /// By somebody else.
    #[error("the token is of another issuer")]
    WrongIssuer,
    /// For somebody else.
    #[error("the token is for another audience")]
    WrongAudience,
    /// It was revoked.
    #[error("revoked: {0:?}")]
    Revoked(Scope),
}

/// An issuer or a verifier that could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenBuildError {
    /// Something that has to be said was not.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A setting that makes no sense.
    #[error("{setting} must be {expected}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// The system gave no random bits.
    #[error("the system gave no random bits")]
    Entropy,
}

/// Which deadline was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// It was not refreshed for too long.
    Idle,
    /// The log-in was too long ago.
    Absolute,
}

/// A refresh token that was not exchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// Not a token of this issuer. No log-in was touched.
    #[error("not a refresh token of this issuer")]
    Malformed,
    /// Its log-in is not known any more.
    #[error("the log-in is not known")]
    Unknown,
    /// Its log-in is over.
    #[error("the log-in is over: {0:?}")]
    Expired(Deadline),
    /// Its log-in was revoked.
    #[error("the log-in was revoked")]
    Revoked,
    /// It was used up long ago, so two have it, and one of them has stolen it. The
    /// log-in was ended, its access tokens too.
    #[error("the token was used before: the log-in {family} of {user} was ended")]
    Reused {
        /// Whose it was.
        user: UserId,
        /// Which.
        family: String,
    },
    /// The access token could not be signed.
    #[error("the access token could not be signed")]
    Unsigned,
}

/// A log-in that was not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogInError {
    /// The extra claims are no members of an object, or take one that the issuer sets.
    #[error("extra claims must be {expected}")]
    Extra {
        /// What would be right.
        expected: &'static str,
    },
    /// As many log-ins as there may be.
    #[error("there are {max} log-ins, as many as there may be")]
    Full {
        /// How many there may be.
        max: u64,
    },
    /// The system gave no random bits.
    #[error("the system gave no random bits")]
    Entropy,
    /// The access token could not be signed.
    #[error("the access token could not be signed")]
    Unsigned,
}
