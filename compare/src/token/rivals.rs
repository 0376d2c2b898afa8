//! The others in this process, each with all checks that it offers.

use std::collections::HashSet;
use std::sync::Arc;

use biscuit::jwa::SignatureAlgorithm;
use biscuit::jws::{self, RegisteredHeader, Secret};
use biscuit::{ClaimPresenceOptions, ClaimsSet, Empty, JWT, Presence, RegisteredClaims};
use biscuit::{SingleOrMultiple, TemporalOptions, Validation, ValidationOptions};
use jwt_simple::algorithms::{
    ECDSAP256KeyPairLike, ECDSAP256PublicKeyLike, ES256KeyPair, ES256PublicKey, Ed25519KeyPair,
    Ed25519PublicKey, EdDSAKeyPairLike, EdDSAPublicKeyLike, HS256Key, MACLike,
};
use jwt_simple::claims::{Claims as SimpleClaims, JWTClaims};
use jwt_simple::common::{HeaderOptions, VerificationOptions};
use pasetors::claims::{Claims as PasetoClaims, ClaimsValidationRules};
use pasetors::keys::{AsymmetricKeyPair, Generate, SymmetricKey};
use pasetors::token::UntrustedToken;
use pasetors::version4::V4;
use pasetors::{Local as PasetoLocal, Public, local, public};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde::{Deserialize, Serialize};

use super::subject::{
    AUDIENCE, Algorithm, FAMILY, ISSUER, KID, LIFE, Lane, Local, SCOPE, SECRET, SUBJECT, Signer,
    TYPE, name, now,
};

/// Those who know the algorithm.
pub(super) fn lanes(algorithm: Algorithm) -> Vec<(&'static str, Box<dyn Lane>)> {
    let mut lanes: Vec<(&'static str, Box<dyn Lane>)> =
        vec![("jwt-simple", Box::new(Local::new(Simple::new(algorithm))))];
    if let Some(biscuit) = Biscuit::new(algorithm) {
        lanes.push(("biscuit", Box::new(Local::new(biscuit))));
    }
    match algorithm {
        Algorithm::Hs256 => lanes.push((PASETO_LOCAL, Box::new(Local::new(Paseto::local())))),
        Algorithm::EdDsa => lanes.push((
            "pasetors, v4.public",
            Box::new(Local::new(Paseto::public())),
        )),
        Algorithm::Es256 => {}
    }
    lanes
}

pub(super) const PASETO_LOCAL: &str = "pasetors, v4.local";

/// Claims that no standard has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Extra {
    sid: String,
    scope: String,
}

fn extra() -> Extra {
    Extra {
        sid: FAMILY.to_owned(),
        scope: SCOPE.to_owned(),
    }
}

struct Simple {
    keys: SimpleKeys,
    header: HeaderOptions,
    rules: VerificationOptions,
}

enum SimpleKeys {
    Hs256(HS256Key),
    EdDsa(Ed25519KeyPair, Ed25519PublicKey),
    Es256(ES256KeyPair, ES256PublicKey),
}

impl Simple {
    fn new(algorithm: Algorithm) -> Self {
        let keys = match algorithm {
            Algorithm::Hs256 => SimpleKeys::Hs256(HS256Key::from_bytes(&SECRET).with_key_id(KID)),
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().with_key_id(KID);
                let public = pair.public_key();
                SimpleKeys::EdDsa(pair, public)
            }
            Algorithm::Es256 => {
                let pair = ES256KeyPair::generate().with_key_id(KID);
                let public = pair.public_key();
                SimpleKeys::Es256(pair, public)
            }
        };
        Self {
            keys,
            header: HeaderOptions {
                signature_type: Some(TYPE.to_owned()),
                ..HeaderOptions::default()
            },
            rules: VerificationOptions {
                required_signature_type: Some(TYPE.to_owned()),
                allowed_issuers: Some(HashSet::from([ISSUER.to_owned()])),
                allowed_audiences: Some(HashSet::from([AUDIENCE.to_owned()])),
                time_tolerance: Some(coarse(30)),
                ..VerificationOptions::default()
            },
        }
    }
}

fn coarse(seconds: u64) -> jwt_simple::prelude::Duration {
    jwt_simple::prelude::Duration::from_secs(seconds)
}

impl Signer for Simple {
    fn sign(&self, number: u64) -> String {
        let claims = SimpleClaims::with_custom_claims(extra(), coarse(LIFE))
            .with_issuer(ISSUER)
            .with_audience(AUDIENCE)
            .with_subject(SUBJECT)
            .with_jwt_id(name(number));
        let signed = match &self.keys {
            SimpleKeys::Hs256(key) => key.authenticate_with_options(claims, &self.header),
            SimpleKeys::EdDsa(pair, _) => pair.sign_with_options(claims, &self.header),
            SimpleKeys::Es256(pair, _) => pair.sign_with_options(claims, &self.header),
        };
        signed.expect("it is signed")
    }

    fn verify(&self, token: &str) -> bool {
        let rules = Some(self.rules.clone());
        let read: Result<JWTClaims<Extra>, _> = match &self.keys {
            SimpleKeys::Hs256(key) => key.verify_token(token, rules),
            SimpleKeys::EdDsa(_, public) => public.verify_token(token, rules),
            SimpleKeys::Es256(_, public) => public.verify_token(token, rules),
        };
        read.is_ok_and(|claims| claims.subject.as_deref() == Some(SUBJECT))
    }
}

/// Knows no `EdDSA`.
struct Biscuit {
    algorithm: SignatureAlgorithm,
    signs: Secret,
    verifies: Secret,
    rules: ValidationOptions,
}

impl Biscuit {
    fn new(algorithm: Algorithm) -> Option<Self> {
        let (algorithm, signs, verifies) = match algorithm {
            Algorithm::Hs256 => {
                let secret = || Secret::Bytes(SECRET.to_vec());
                (SignatureAlgorithm::HS256, secret(), secret())
            }
            Algorithm::EdDsa => return None,
            Algorithm::Es256 => {
                let (random, signing) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
                let key = EcdsaKeyPair::generate_pkcs8(signing, &random).ok()?;
                let pair = EcdsaKeyPair::from_pkcs8(signing, key.as_ref(), &random).ok()?;
                let public = pair.public_key().as_ref().to_vec();
                let signs = Secret::EcdsaKeyPair(Arc::new(pair));
                (SignatureAlgorithm::ES256, signs, Secret::PublicKey(public))
            }
        };
        Some(Self {
            algorithm,
            signs,
            verifies,
            rules: ValidationOptions {
                claim_presence_options: ClaimPresenceOptions {
                    expiry: Presence::Required,
                    issuer: Presence::Required,
                    audience: Presence::Required,
                    subject: Presence::Required,
                    ..ClaimPresenceOptions::default()
                },
                temporal_options: TemporalOptions {
                    epsilon: chrono_seconds(30),
                    now: None,
                },
                issuer: Validation::Validate(ISSUER.to_owned()),
                audience: Validation::Validate(AUDIENCE.to_owned()),
                ..ValidationOptions::default()
            },
        })
    }
}

fn chrono_seconds(seconds: i64) -> chrono::Duration {
    chrono::Duration::seconds(seconds)
}

impl Signer for Biscuit {
    fn sign(&self, number: u64) -> String {
        let now = now().cast_signed();
        let claims = ClaimsSet {
            registered: RegisteredClaims {
                issuer: Some(ISSUER.to_owned()),
                subject: Some(SUBJECT.to_owned()),
                audience: Some(SingleOrMultiple::Single(AUDIENCE.to_owned())),
                expiry: Some((now + LIFE.cast_signed()).into()),
                issued_at: Some(now.into()),
                id: Some(name(number)),
                ..RegisteredClaims::default()
            },
            private: extra(),
        };
        let header = jws::Header::from(RegisteredHeader {
            algorithm: self.algorithm,
            media_type: Some(TYPE.to_owned()),
            key_id: Some(KID.to_owned()),
            ..RegisteredHeader::default()
        });
        let token = JWT::<_, Empty>::new_decoded(header, claims);
        let encoded = token.into_encoded(&self.signs).expect("it is signed");
        encoded.unwrap_encoded().to_string()
    }

    fn verify(&self, token: &str) -> bool {
        let token = JWT::<Extra, Empty>::new_encoded(token);
        let Ok(token) = token.into_decoded(&self.verifies, self.algorithm) else {
            return false;
        };
        let is_access = token
            .header()
            .is_ok_and(|header| header.registered.media_type.as_deref() == Some(TYPE));
        let claims = token.payload();
        let is_hers =
            claims.is_ok_and(|claims| claims.registered.subject.as_deref() == Some(SUBJECT));
        is_access && is_hers && token.validate(self.rules.clone()).is_ok()
    }
}

/// Another format, with the same claims.
enum Paseto {
    Local(SymmetricKey<V4>, ClaimsValidationRules),
    Public(AsymmetricKeyPair<V4>, ClaimsValidationRules),
}

impl Paseto {
    fn local() -> Self {
        let key = SymmetricKey::generate().expect("there is randomness");
        Self::Local(key, Self::rules())
    }

    fn public() -> Self {
        let pair = AsymmetricKeyPair::generate().expect("there is randomness");
        Self::Public(pair, Self::rules())
    }

    fn rules() -> ClaimsValidationRules {
        let mut rules = ClaimsValidationRules::new();
        rules.validate_issuer_with(ISSUER);
        rules.validate_audience_with(AUDIENCE);
        rules.validate_subject_with(SUBJECT);
        rules
    }

    fn claims(number: u64) -> Result<PasetoClaims, pasetors::errors::Error> {
        let mut claims = PasetoClaims::new_expires_in(&std::time::Duration::from_secs(LIFE))?;
        claims.issuer(ISSUER)?;
        claims.audience(AUDIENCE)?;
        claims.subject(SUBJECT)?;
        claims.token_identifier(&name(number))?;
        claims.add_additional("sid", FAMILY)?;
        claims.add_additional("scope", SCOPE)?;
        Ok(claims)
    }
}

impl Signer for Paseto {
    fn sign(&self, number: u64) -> String {
        let claims = Self::claims(number).expect("these are claims");
        let signed = match self {
            Self::Local(key, _) => local::encrypt(key, &claims, None, None),
            Self::Public(pair, _) => public::sign(&pair.secret, &claims, None, None),
        };
        signed.expect("it is signed")
    }

    fn verify(&self, token: &str) -> bool {
        match self {
            Self::Local(key, rules) => UntrustedToken::<PasetoLocal, V4>::try_from(token)
                .is_ok_and(|token| local::decrypt(key, &token, rules, None, None).is_ok()),
            Self::Public(pair, rules) => UntrustedToken::<Public, V4>::try_from(token)
                .is_ok_and(|token| public::verify(&pair.public, &token, rules, None, None).is_ok()),
        }
    }
}
