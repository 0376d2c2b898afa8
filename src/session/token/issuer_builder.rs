use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::denylist::Denylist;
use super::error::TokenBuildError;
use super::issuer::{Settings, TokenIssuer};
use super::keys::KeyRing;
use super::refresh::Secrets;
use super::signing::Signing;
use super::verifier::MAX_TOKEN;
use crate::session::WallClock;
use crate::session::id::Entropy;
use crate::session::users::Users;
use crate::session::wall::seconds;
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU64;

/// Builds a [`TokenIssuer`]; made by [`TokenIssuer::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct TokenIssuerBuilder {
    ring: KeyRing,
    issuer: Option<String>,
    audience: Option<String>,
    access: Duration,
    idle: Duration,
    absolute: Duration,
    grace: Duration,
    max_families: u64,
    max_denied: usize,
    wall: WallClock,
    entropy: Entropy,
}

impl TokenIssuerBuilder {
    pub(super) fn new(ring: KeyRing) -> Self {
        Self {
            ring,
            issuer: None,
            audience: None,
            access: Duration::from_secs(15 * 60),
            idle: Duration::from_secs(14 * 24 * 3600),
            absolute: Duration::from_secs(30 * 24 * 3600),
            grace: Duration::from_secs(10),
            max_families: 1_000_000,
            max_denied: 1_000_000,
            wall: WallClock::default(),
            entropy: getrandom::fill,
        }
    }

    /// What tokens say of who issued them (`iss`). Has to be said.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// For whom they are (`aud`). Has to be said.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// How long an access token lives; 15 minutes by default. Verifiers elsewhere, who do not see the
    /// denylist, learn of a log-out after so long.
    pub fn access_ttl(mut self, ttl: Duration) -> Self {
        self.access = ttl;
        self
    }

    /// How long a log-in lives without being refreshed; 14 days by default.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long a log-in lives at all; 30 days by default.
    pub fn absolute(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// For how long a token that was used is answered with the current pair instead of being
    /// taken for stolen; 10 seconds by default, a minute at most. A thief who is as quick as that is not
    /// noticed before one of the two tokens is used again.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How many log-ins there may be; a million by default.
    pub fn max_log_ins(mut self, max: u64) -> Self {
        self.max_families = max;
        self
    }

    /// How many entries the denylist may have before it revokes more than it was asked to;
    /// a million by default.
    pub fn max_denied(mut self, max: usize) -> Self {
        self.max_denied = max;
        self
    }

    /// The clock; the system's by default.
    pub fn clock(mut self, wall: WallClock) -> Self {
        self.wall = wall;
        self
    }

    /// Builds the issuer.
    ///
    /// # Errors
    /// [`TokenBuildError`] says what is missing or makes no sense.
    pub fn build(self) -> Result<TokenIssuer, TokenBuildError> {
        let issuer = self.issuer.ok_or(TokenBuildError::Missing("issuer"))?;
        let audience = self.audience.ok_or(TokenBuildError::Missing("audience"))?;
        let key = self.ring.active();
        let key = key.ok_or(TokenBuildError::Missing("an active key"))?;
        let wrong = |setting, expected| Err(TokenBuildError::Setting { setting, expected });
        let (idle, absolute) = (seconds(self.idle), seconds(self.absolute));
        if self.access.as_secs() == 0 || self.access > Duration::from_secs(24 * 3600) {
            return wrong("access_ttl", "1 second to 24 hours");
        }
        if idle == 0 || idle > absolute {
            return wrong("idle", "at least a second, and no longer than absolute");
        }
        if self.grace > Duration::from_secs(60) {
            return wrong("grace", "a minute at most");
        }
        if issuer.len() + audience.len() > MAX_TOKEN / 8 {
            return wrong("issuer and audience", "1024 bytes together at most");
        }
        let secrets = Secrets::draw(self.entropy).map_err(|_| TokenBuildError::Entropy)?;
        let mut first_id = [0; 16];
        (self.entropy)(&mut first_id).map_err(|_| TokenBuildError::Entropy)?;
        let shards = (self.max_families / PER_SHARD).next_power_of_two();
        let shards = shards.clamp(MIN_SHARDS, MAX_SHARDS) as usize;
        // Verifiers accept a token for up to five minutes after its end.
        let longest = self.access + Duration::from_secs(300);
        Ok(TokenIssuer {
            signing: Signing::new(key, &issuer, &audience),
            secrets,
            families: (0..shards).map(|_| Mutex::new(HashMap::new())).collect(),
            users: Users::new(shards),
            held: AtomicU64::new(0),
            sweep_at: AtomicU64::new(0),
            first_id: u128::from_le_bytes(first_id),
            issued: AtomicU64::new(0),
            denylist: Arc::new(Denylist::new(self.max_denied, longest, self.wall.clone())),
            settings: Settings {
                issuer,
                access: self.access.as_secs(),
                idle,
                absolute,
                grace: self.grace.as_secs(),
                max_families: self.max_families,
                wall: self.wall,
                entropy: self.entropy,
            },
            ring: self.ring,
        })
    }
}

/// Log-ins per shard when there are as many as there may be.
const PER_SHARD: u64 = 4096;
const MIN_SHARDS: u64 = 64;
const MAX_SHARDS: u64 = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::token::{LogInError, RefreshError};

    fn builder(entropy: Entropy) -> TokenIssuerBuilder {
        let ring = KeyRing::builder().hs256("a", &[7; 32]).active("a");
        let mut builder = TokenIssuer::builder(ring.build().unwrap());
        builder.entropy = entropy;
        builder.issuer("me").audience("api")
    }

    #[test]
    fn without_random_bits_nobody_is_logged_in_anew_and_all_others_stay() {
        let none: Entropy = |_| Err(getrandom::Error::UNSUPPORTED);
        assert_eq!(builder(none).build().err(), Some(TokenBuildError::Entropy));
        let mut issuer = builder(getrandom::fill).build().unwrap();
        let pair = issuer.log_in("ada", "").unwrap();
        issuer.settings.entropy = none;
        assert_eq!(issuer.log_in("bob", ""), Err(LogInError::Entropy));
        assert_eq!(issuer.len(), 1);
        // A refresh needs none.
        assert!(issuer.refresh(pair.refresh()).is_ok());
        assert_eq!(issuer.refresh("x"), Err(RefreshError::Malformed));
    }
}
