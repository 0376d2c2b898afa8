use std::fmt;

use ring::agreement::{self, ECDH_P256, EphemeralPrivateKey, agree_ephemeral};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};

use super::ed25519::{EdPair, EdPublic};
use super::error::{KeyError, TokenError};

/// How a key signs. It belongs to the key; what a header says about it is compared and never
/// followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256: who can verify can sign.
    Hs256,
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// As headers spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

/// The keys of an issuer or a verifier, by name (`kid`).
///
/// One signs; the others verify what they have signed before, until a moment or until
/// they are retired. To rotate, build a ring in which the next key is
/// known, give it to all verifiers, then make that key active at the issuer, and at last let the old one
/// end once the longest token is over.
///
/// ```
/// use tenfold::session::token::{KeyError, KeyRing};
///
/// let ring = KeyRing::builder()
///     .hs256("2026-11", &[7; 32])
///     .hs256("2026-08", &[8; 32])
///     .verify_until("2026-08", 1_800_000_000)
///     .active("2026-11")
///     .build()?;
/// assert_eq!(ring.kids().collect::<Vec<_>>(), ["2026-11", "2026-08"]);
/// let weak = KeyRing::builder().hs256("a", b"secret").build();
/// assert_eq!(weak.err(), Some(KeyError::KeyTooShort { got: 6, min: 32 }));
/// # Ok::<(), KeyError>(())
/// ```
pub struct KeyRing {
    pub(super) keys: Vec<Key>,
    active: Option<usize>,
}

pub(super) struct Key {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    pub(super) public: Public,
    private: Option<Private>,
    /// From when on it verifies nothing more: seconds since 1970.
    pub(super) ends: u64,
}

pub(super) enum Public {
    Mac(hmac::Key),
    EdDsa(EdPublic),
    Es256([u8; 65]),
}

enum Private {
    Mac,
    EdDsa(EdPair),
    Es256(EcdsaKeyPair),
}

impl Key {
    /// Whether the signature is this key's over the message; false for any length
    /// but the one.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            // In constant time.
            Public::Mac(key) => hmac::verify(key, message, signature).is_ok(),
            Public::EdDsa(key) => key.verify(message, signature),
            Public::Es256(point) => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, signature).is_ok()
            }
        }
    }

    /// What all messages begin with, as far as a MAC can be computed of that beforehand.
    pub(super) fn begin(&self, message: &[u8]) -> Option<hmac::Context> {
        let Public::Mac(key) = &self.public else {
            return None;
        };
        let mut begun = hmac::Context::with_key(key);
        begun.update(message);
        Some(begun)
    }

    /// Signs, and gives the bytes of the signature. None if this key only verifies.
    pub(super) fn sign(&self, message: &[u8]) -> Option<([u8; 64], usize)> {
        let mut bytes = [0; 64];
        let mut put = |signature: &[u8]| {
            bytes[..signature.len()].copy_from_slice(signature);
            signature.len()
        };
        let len = match (self.private.as_ref()?, &self.public) {
            (Private::Mac, Public::Mac(key)) => put(hmac::sign(key, message).as_ref()),
            (Private::EdDsa(key), _) => put(&key.sign(message)),
            (Private::Es256(key), _) => put(key.sign(&SystemRandom::new(), message).ok()?.as_ref()),
            (Private::Mac, _) => return None,
        };
        Some((bytes, len))
    }
}

impl KeyRing {
    /// Begins to put keys together.
    pub fn builder() -> KeyRingBuilder {
        KeyRingBuilder::default()
    }

    /// The names of all keys.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &*key.kid)
    }

    /// The key that signs.
    pub(super) fn active(&self) -> Option<&Key> {
        self.active.map(|active| &self.keys[active])
    }

    /// The key for a header, if it may verify now.
    pub(super) fn key(&self, kid: Option<&str>, now: u64) -> Result<&Key, TokenError> {
        let key = match (kid, &*self.keys) {
            (None, [only]) => only,
            (None, _) => return Err(TokenError::KeyIdMissing),
            (Some(kid), keys) => {
                let mut keys = keys.iter();
                keys.find(|key| key.kid == kid)
                    .ok_or(TokenError::KeyIdUnknown)?
            }
        };
        if now >= key.ends {
            return Err(TokenError::KeyRetired);
        }
        Ok(key)
    }
}

impl fmt::Debug for KeyRing {
    /// Shows names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.iter().map(|key| (&key.kid, key.algorithm.name()));
        f.debug_map().entries(keys).finish()
    }
}

/// Builds a [`KeyRing`]; made by [`KeyRing::builder`].
#[derive(Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct KeyRingBuilder {
    keys: Vec<Key>,
    active: Option<String>,
    ends: Vec<(String, u64)>,
    mistake: Option<KeyError>,
}

impl KeyRingBuilder {
    /// A secret of at least 32 random bytes. It signs and verifies.
    pub fn hs256(self, kid: &str, secret: &[u8]) -> Self {
        if secret.len() < MIN_SECRET {
            let (got, min) = (secret.len(), MIN_SECRET);
            return self.wrong(KeyError::KeyTooShort { got, min });
        }
        let public = Public::Mac(hmac::Key::new(hmac::HMAC_SHA256, secret));
        self.add(kid, Algorithm::Hs256, public, Some(Private::Mac))
    }

    /// A private key for Ed25519: PKCS #8, as DER, in version 1 or 2. A public half that is there has to be the secret's.
    pub fn ed25519(self, kid: &str, pkcs8: &[u8]) -> Self {
        let Some(pair) = EdPair::from_pkcs8(pkcs8) else {
            return self.bad(kid, "a PKCS #8 key for Ed25519");
        };
        let public = Public::EdDsa(pair.public());
        self.add(kid, Algorithm::EdDsa, public, Some(Private::EdDsa(pair)))
    }

    /// A public key for Ed25519. It only verifies. Bytes that are no point of the curve are no key, nor are points
    /// spelled otherwise than encoders do, and the few that anybody can sign for.
    pub fn ed25519_public(self, kid: &str, key: &[u8; 32]) -> Self {
        match EdPublic::new(key) {
            Ok(key) => self.add(kid, Algorithm::EdDsa, Public::EdDsa(key), None),
            Err(expected) => self.bad(kid, expected),
        }
    }

    /// A private key for ECDSA on P-256: PKCS #8, as DER.
    pub fn es256(self, kid: &str, pkcs8: &[u8]) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &SystemRandom::new()) else {
            return self.bad(kid, "a PKCS #8 key for P-256");
        };
        let Ok(public) = pair.public_key().as_ref().try_into() else {
            return self.bad(kid, "a PKCS #8 key for P-256");
        };
        let public = Public::Es256(public);
        self.add(kid, Algorithm::Es256, public, Some(Private::Es256(pair)))
    }

    /// A public key for ECDSA on P-256: an uncompressed point. It only verifies.
    pub fn es256_public(self, kid: &str, point: &[u8; 65]) -> Self {
        if point[0] != 4 {
            return self.bad(kid, "an uncompressed point, which begins with 4");
        }
        if !is_on_p256(point) {
            return self.bad(kid, "a point of P-256");
        }
        self.add(kid, Algorithm::Es256, Public::Es256(*point), None)
    }

    /// Until when this key verifies, in seconds since 1970: longer than it signs, by the life of a
    /// token. For ever by default.
    pub fn verify_until(mut self, kid: &str, ends: u64) -> Self {
        self.ends.push((kid.to_owned(), ends));
        self
    }

    /// Tokens of this key are refused as such, [`KeyRetired`](TokenError::KeyRetired).
    pub fn retired(self, kid: &str) -> Self {
        self.verify_until(kid, 0)
    }

    /// Which key signs. None needs to, in a ring for verifiers.
    pub fn active(mut self, kid: &str) -> Self {
        self.active = Some(kid.to_owned());
        self
    }

    /// Builds the ring.
    ///
    /// # Errors
    /// [`KeyError`] says which key is wrong, and how.
    pub fn build(self) -> Result<KeyRing, KeyError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let mut keys = self.keys;
        if keys.is_empty() {
            return Err(KeyError::NoKeys);
        }
        for (kid, ends) in self.ends {
            let Some(key) = keys.iter_mut().find(|key| key.kid == kid) else {
                let expected = "in the ring";
                return Err(KeyError::BadKey { kid, expected });
            };
            key.ends = ends;
        }
        let active = match self.active {
            None => None,
            Some(kid) => {
                let signs = |key: &Key| key.kid == kid && key.private.is_some() && key.ends > 0;
                let place = keys.iter().position(signs);
                Some(place.ok_or(KeyError::NoActiveKey { kid })?)
            }
        };
        Ok(KeyRing { keys, active })
    }

    pub(super) fn wrong(mut self, mistake: KeyError) -> Self {
        self.mistake.get_or_insert(mistake);
        self
    }

    fn bad(self, kid: &str, expected: &'static str) -> Self {
        let kid = kid.to_owned();
        self.wrong(KeyError::BadKey { kid, expected })
    }

    fn add(
        mut self,
        kid: &str,
        algorithm: Algorithm,
        public: Public,
        private: Option<Private>,
    ) -> Self {
        let is_plain = |b: u8| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\';
        let is_good = matches!(kid.len(), 1..=64) && kid.bytes().all(is_plain);
        let kid = kid.to_owned();
        if !is_good {
            return self.wrong(KeyError::BadKid { kid });
        }
        if self.keys.iter().any(|key| key.kid == kid) {
            return self.wrong(KeyError::DuplicateKid { kid });
        }
        self.keys.push(Key {
            kid,
            algorithm,
            public,
            private,
            ends: u64::MAX,
        });
        self
    }
}

impl fmt::Debug for KeyRingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRingBuilder")
            .field("keys", &self.keys.len())
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

/// Whether it is a point of the curve. One that is not verifies nothing, but who brings it should hear of it at once: it is tried
/// as what a secret would be agreed upon with.
fn is_on_p256(point: &[u8; 65]) -> bool {
    let Ok(ours) = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()) else {
        return true;
    };
    agree_ephemeral(
        ours,
        &agreement::UnparsedPublicKey::new(&ECDH_P256, point),
        |_| (),
    )
    .is_ok()
}

const MIN_SECRET: usize = 32;
