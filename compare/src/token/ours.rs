//! Ours: the verifiers have a denylist, that nothing is on; one remembers tokens.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use std::time::Duration;
use tenfold::session::token::{KeyRing, KeyRingBuilder, TokenIssuer, TokenVerifier};

use super::subject::{
    AUDIENCE, Algorithm, FAMILY, ISSUER, KID, LIFE, SCOPE, SECRET, SUBJECT, Signer,
};

pub(super) struct Ours {
    issuer: TokenIssuer,
    verifier: TokenVerifier,
    remembers: TokenVerifier,
    extra: String,
}

impl Ours {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let ring = KeyRing::builder();
        let ring = match algorithm {
            Algorithm::Hs256 => ring.hs256(KID, &SECRET),
            Algorithm::EdDsa => {
                let key = Ed25519KeyPair::generate_pkcs8(&random).expect("there is randomness");
                ring.ed25519(KID, key.as_ref())
            }
            Algorithm::Es256 => {
                let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                ring.es256(KID, key.expect("there is randomness").as_ref())
            }
        };
        let ring = ring.active(KID).build().expect("that is a key");
        let jwks = ring.to_jwks();
        let public = || match algorithm {
            Algorithm::Hs256 => KeyRing::builder().hs256(KID, &SECRET),
            Algorithm::EdDsa | Algorithm::Es256 => KeyRing::builder().jwks(&jwks),
        };
        let issuer = TokenIssuer::builder(ring).issuer(ISSUER).audience(AUDIENCE);
        let issuer = issuer.access_ttl(Duration::from_secs(LIFE));
        let issuer = issuer.build().expect("all is said");
        let verifier = |public: KeyRingBuilder, tokens| {
            let verifier = TokenVerifier::builder(public.build().expect("that is a key"))
                .issuer(ISSUER)
                .audience(AUDIENCE)
                .denylist(issuer.denylist())
                .cache(tokens);
            verifier.build().expect("all is said")
        };
        Self {
            verifier: verifier(public(), 0),
            // Many more than are verified again and again.
            remembers: verifier(public(), 1024),
            extra: format!("\"session\":\"{FAMILY}\",\"scope\":\"{SCOPE}\""),
            issuer,
        }
    }
}

impl Signer for Ours {
    /// With a name that is drawn for it, and the other claims as everybody's.
    fn sign(&self, _: u64) -> String {
        let signed = self.issuer.issue(SUBJECT, &self.extra);
        signed.expect("it is signed")
    }

    fn verify(&self, token: &str) -> bool {
        is_hers(&self.verifier, token)
    }

    fn verify_again(&self, token: &str) -> bool {
        is_hers(&self.remembers, token)
    }
}

fn is_hers(verifier: &TokenVerifier, token: &str) -> bool {
    let verified = verifier.verify(token, |claims| {
        claims.subject().is_some_and(|subject| subject == SUBJECT)
    });
    verified == Ok(true)
}
