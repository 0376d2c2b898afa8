//! Writes and signs access tokens.

use super::error::LogInError;
use super::issuer::TokenIssuer;
use super::json::{self, MOST_MEMBERS};
use crate::session::base64url;
use crate::sync::atomic::Ordering;

/// What an access token says, but for whom it is from and for, which the issuer knows.
pub(super) struct Access<'a> {
    pub(super) subject: &'a str,
    pub(super) family: Option<&'a str>,
    pub(super) id: u128,
    pub(super) issued: u64,
    pub(super) expires: u64,
    pub(super) extra: &'a str,
}

impl TokenIssuer {
    /// Signs an access token without a log-in, for one service that calls another: it ends like all others, cannot be
    /// refreshed, and can be revoked by its name (`jti`) and with its subject. `extra` is as in
    /// [`log_in`](Self::log_in).
    ///
    /// # Errors
    /// [`LogInError::Extra`], [`LogInError::Unsigned`].
    ///
    /// ```
    /// use tenfold::session::token::{KeyRing, TokenIssuer, TokenVerifier};
    ///
    /// let ring = || KeyRing::builder().hs256("a", &[7; 32]).active("a").build();
    /// let issuer = TokenIssuer::builder(ring()?).issuer("login").audience("stock").build()?;
    /// let verifier = TokenVerifier::builder(ring()?).issuer("login").audience("stock").build()?;
    /// let token = issuer.issue("basket-service", "\"scope\":\"reserve\"")?;
    /// let scope = verifier.verify(&token, |claims| claims.text("scope").map(String::from))?;
    /// assert_eq!(scope.as_deref(), Some("reserve"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn issue(&self, subject: &str, extra: &str) -> Result<String, LogInError> {
        check_extra(extra)?;
        let issued = self.denylist.first_date(subject, self.settings.wall.now());
        let token = self.sign(&Access {
            subject,
            family: None,
            id: self.next_id(),
            issued,
            expires: issued.saturating_add(self.settings.access),
            extra,
        });
        token.ok_or(LogInError::Unsigned)
    }

    /// Never the same twice, and spread over all bits, as the denylist likes names. No secret.
    fn next_id(&self) -> u128 {
        let number = u128::from(self.issued.fetch_add(1, Ordering::Relaxed));
        self.first_id.wrapping_add(number.wrapping_mul(SPREAD))
    }

    /// The same each time, but for the randomness of ES256.
    pub(super) fn sign(&self, access: &Access<'_>) -> Option<String> {
        let room = 128 + access.subject.len() + access.extra.len();
        self.signing.token(self.ring.active()?, room, |claims| {
            json::write_text(access.subject, claims);
            if let Some(family) = access.family {
                claims.put(",\"sid\":");
                json::write_text(family, claims);
            }
            claims.put(",\"jti\":\"");
            claims.put(base64url::encode_in(&access.id.to_le_bytes(), &mut [0; 24]));
            claims.put("\",\"iat\":");
            claims.put_number(access.issued);
            claims.put(",\"exp\":");
            claims.put_number(access.expires);
            if !access.extra.is_empty() {
                claims.put(",");
                claims.put(access.extra);
            }
            claims.put("}");
        })
    }
}

/// Extra claims stand in the same object as ours, where none may come twice.
pub(super) fn check_extra(extra: &str) -> Result<(), LogInError> {
    let wrong = |expected| Err(LogInError::Extra { expected });
    if extra.is_empty() {
        return Ok(());
    }
    if extra.len() > MOST_EXTRA {
        return wrong("4096 bytes at most");
    }
    let mut takes_ours = false;
    let read = json::members(extra, MOST_MEMBERS - OURS.len(), |name, _| {
        takes_ours |= OURS.contains(&name);
        Some(())
    });
    match read {
        Some(()) if takes_ours => wrong("others than those the issuer sets"),
        Some(()) => Ok(()),
        None => wrong("members of a JSON object, without its braces"),
    }
}

/// Odd, so that no two products are the same.
const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
const MOST_EXTRA: usize = 4096;
const OURS: [&str; 9] = [
    "iss", "aud", "sub", "sid", "jti", "iat", "exp", "nbf", "typ",
];
