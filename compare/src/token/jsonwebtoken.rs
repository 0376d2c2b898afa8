//! `jsonwebtoken`, over the provider that this process has installed.

use jsonwebtoken::{
    Algorithm as Theirs, DecodingKey, EncodingKey, Header, Validation, decode, encode,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use super::subject::{
    AUDIENCE, Algorithm, Claims, ISSUER, KID, SECRET, SUBJECT, Said, Signer, TYPE,
};

pub(super) struct Jsonwebtoken {
    header: Header,
    signs: EncodingKey,
    verifies: DecodingKey,
    rules: Validation,
}

/// Installs a provider for the whole process; the names of both.
pub(super) const PROVIDERS: [&str; 2] = ["jsonwebtoken, aws_lc_rs", "jsonwebtoken, rust_crypto"];

pub(super) fn install(provider: &str) -> bool {
    let provider = if provider == PROVIDERS[0] {
        &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER
    } else {
        &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER
    };
    provider.install_default().is_ok()
}

impl Jsonwebtoken {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let (theirs, signs, verifies) = match algorithm {
            Algorithm::Hs256 => (
                Theirs::HS256,
                EncodingKey::from_secret(&SECRET),
                DecodingKey::from_secret(&SECRET),
            ),
            Algorithm::EdDsa => {
                let key = Ed25519KeyPair::generate_pkcs8(&random).expect("there is randomness");
                let pair = Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("it was just made");
                (
                    Theirs::EdDSA,
                    EncodingKey::from_ed_der(key.as_ref()),
                    DecodingKey::from_ed_der(pair.public_key().as_ref()),
                )
            }
            Algorithm::Es256 => {
                let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let key = EcdsaKeyPair::generate_pkcs8(signing, &random);
                let key = key.expect("there is randomness");
                let pair = EcdsaKeyPair::from_pkcs8(signing, key.as_ref(), &random);
                let pair = pair.expect("it was just made");
                (
                    Theirs::ES256,
                    EncodingKey::from_ec_der(key.as_ref()),
                    DecodingKey::from_ec_der(pair.public_key().as_ref()),
                )
            }
        };
        let mut header = Header::new(theirs);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(KID.to_owned());
        let mut rules = Validation::new(theirs);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.validate_nbf = true;
        rules.leeway = 30;
        Self {
            header,
            signs,
            verifies,
            rules,
        }
    }
}

impl Signer for Jsonwebtoken {
    fn sign(&self, number: u64) -> String {
        let signed = encode(&self.header, &Said::new(number), &self.signs);
        signed.expect("it is signed")
    }

    fn verify(&self, token: &str) -> bool {
        decode::<Claims>(token, &self.verifies, &self.rules).is_ok_and(|read| {
            read.header.typ.as_deref() == Some(TYPE) && read.claims.sub == SUBJECT
        })
    }
}
