//! What a refresh token says, and what is known of a log-in.

use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::session::UserId;
use crate::session::base64url;
use crate::session::id::Entropy;

/// One log-in: what all its refresh tokens have in common. No token is in it, nor anything
/// from which one could be made without the issuer's secret.
pub(super) struct Family {
    pub(super) user: UserId,
    /// Random: what the tokens are made of, with the secret.
    pub(super) salt: [u8; 32],
    /// Claims that all its access tokens have besides.
    pub(super) extra: std::sync::Arc<str>,
    pub(super) created: u64,
    pub(super) is_dead: bool,
    /// The number of the token that is good now, and what its access token says.
    pub(super) current: Current,
    /// Tokens that were good until a moment ago, and that moment: clients that ask twice at once
    /// ask with one of these.
    pub(super) before: Vec<(u32, u64)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Current {
    pub(super) number: u32,
    /// When it was made.
    pub(super) since: u64,
    /// The date of its access token.
    pub(super) issued: u64,
}

/// A refresh token that we have made: the family (16 bytes), its number there (4),
/// a secret (32), and a tag over all of it (16).
pub(super) struct Presented {
    pub(super) family: u128,
    pub(super) number: u32,
    secret: Zeroizing<[u8; 32]>,
}

/// The issuer's secrets.
pub(super) struct Secrets {
    tokens: hmac::Key,
    tags: hmac::Key,
}

impl Secrets {
    pub(super) fn draw(entropy: Entropy) -> Result<Self, getrandom::Error> {
        let draw = || {
            let mut secret = Zeroizing::new([0; 32]);
            entropy(&mut *secret)?;
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &*secret))
        };
        Ok(Self {
            tokens: draw()?,
            tags: draw()?,
        })
    }

    /// The refresh token of this number. It is made again rather than kept: so a client whose
    /// answer was lost can be given the same once more.
    pub(super) fn token(&self, family: u128, salt: &[u8; 32], number: u32) -> String {
        let mut bytes = Zeroizing::new([0; BYTES]);
        bytes[..16].copy_from_slice(&family.to_le_bytes());
        bytes[16..20].copy_from_slice(&number.to_le_bytes());
        bytes[20..52].copy_from_slice(&*self.secret(REFRESH, family, salt, number));
        let tag = hmac::sign(&self.tags, &bytes[..52]);
        bytes[52..].copy_from_slice(&tag.as_ref()[..16]);
        base64url::encode(&*bytes)
    }

    /// The name of the access token that goes with it.
    pub(super) fn access_id(&self, family: u128, salt: &[u8; 32], number: u32) -> u128 {
        let mut id = [0; 16];
        id.copy_from_slice(&self.secret(ACCESS, family, salt, number)[..16]);
        u128::from_le_bytes(id)
    }

    /// Reads a token that we have made. None for any other: so a guess does nothing to
    /// the family it names.
    pub(super) fn read(&self, token: &str) -> Option<Presented> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        let read = base64url::decode(token.as_bytes(), &mut *bytes)?;
        if read.len() != BYTES {
            return None;
        }
        let tag = hmac::sign(&self.tags, &bytes[..52]);
        if !bool::from(tag.as_ref()[..16].ct_eq(&bytes[52..])) {
            return None;
        }
        let (family, rest) = bytes.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let secret = rest.first_chunk::<32>()?;
        Some(Presented {
            family: u128::from_le_bytes(*family),
            number: u32::from_le_bytes(*number),
            secret: Zeroizing::new(*secret),
        })
    }

    /// Whether it is this family's.
    pub(super) fn is_of(&self, presented: &Presented, salt: &[u8; 32]) -> bool {
        let secret = self.secret(REFRESH, presented.family, salt, presented.number);
        secret.ct_eq(&*presented.secret).into()
    }

    fn secret(&self, what: u8, family: u128, salt: &[u8; 32], number: u32) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.tokens);
        context.update(&[what]);
        context.update(salt);
        context.update(&family.to_le_bytes());
        context.update(&number.to_le_bytes());
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(context.sign().as_ref());
        secret
    }
}

/// The name of a family in tokens (`sid`).
pub(super) fn name(family: u128) -> String {
    base64url::encode(&family.to_le_bytes())
}

const BYTES: usize = 68;
const REFRESH: u8 = 1;
const ACCESS: u8 = 2;
