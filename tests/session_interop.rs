//! Tokens that one side signs and the other verifies, for each algorithm: ours and those of `jsonwebtoken`, over
//! `RustCrypto`'s signatures. The clock is the system's, as theirs is.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use serde_json::{Value, json};
use tenfold::session::WallClock;
use tenfold::session::token::{KeyRing, KeyRingBuilder, TokenError, TokenIssuer, TokenVerifier};

const SECRET: [u8; 32] = [7; 32];

/// One algorithm, as both sides know it: what ours signs and verifies with, and what theirs do.
struct Side {
    algorithm: Algorithm,
    ours: KeyRing,
    /// Made of what ours publishes, where anything is.
    public: KeyRing,
    signs: EncodingKey,
    verifies: DecodingKey,
}

fn sides() -> [Side; 3] {
    let random = SystemRandom::new();
    let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let es = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ring = |keys: KeyRingBuilder| keys.active("k").build().unwrap();
    let published = |ring: &KeyRing| {
        let jwks = ring.to_jwks();
        let theirs: JwkSet = serde_json::from_str(&jwks).unwrap();
        let theirs = DecodingKey::from_jwk(theirs.find("k").unwrap()).unwrap();
        (KeyRing::builder().jwks(&jwks).build().unwrap(), theirs)
    };
    let of_ed = ring(KeyRing::builder().ed25519("k", ed.as_ref()));
    let of_nist = ring(KeyRing::builder().es256("k", es.as_ref()));
    let (public_ed, theirs_ed) = published(&of_ed);
    let (public_nist, theirs_nist) = published(&of_nist);
    [
        Side {
            algorithm: Algorithm::HS256,
            ours: ring(KeyRing::builder().hs256("k", &SECRET)),
            public: ring(KeyRing::builder().hs256("k", &SECRET)),
            signs: EncodingKey::from_secret(&SECRET),
            verifies: DecodingKey::from_secret(&SECRET),
        },
        Side {
            algorithm: Algorithm::EdDSA,
            ours: of_ed,
            public: public_ed,
            signs: EncodingKey::from_ed_der(ed.as_ref()),
            verifies: theirs_ed,
        },
        Side {
            algorithm: Algorithm::ES256,
            ours: of_nist,
            public: public_nist,
            signs: EncodingKey::from_ec_der(es.as_ref()),
            verifies: theirs_nist,
        },
    ]
}

#[test]
fn they_verify_what_we_sign() {
    for side in sides() {
        let issuer = TokenIssuer::builder(side.ours).issuer("me").audience("api");
        let issuer = issuer.build().unwrap();
        let extra = r#""scope":"a \"b\" é","deep":{"list":[1,2.5,null]}"#;
        let pair = issuer.log_in("ada \\ \"lovelace\" \u{1}", extra).unwrap();
        let mut rules = Validation::new(side.algorithm);
        rules.set_issuer(&["me"]);
        rules.set_audience(&["api"]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let read = decode::<Value>(pair.access(), &side.verifies, &rules).unwrap();
        assert_eq!(read.header.alg, side.algorithm);
        assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(read.header.kid.as_deref(), Some("k"));
        assert_eq!(read.claims["sub"], "ada \\ \"lovelace\" \u{1}");
        assert_eq!(read.claims["sid"], pair.family());
        assert_eq!(read.claims["exp"], pair.expires());
        assert_eq!(read.claims["scope"], "a \"b\" é");
        assert_eq!(read.claims["deep"], json!({"list": [1, 2.5, null]}));
        let service = issuer.issue("basket", "").unwrap();
        assert!(decode::<Value>(&service, &side.verifies, &rules).is_ok());
        assert!(decode::<Value>(&tampered(&service), &side.verifies, &rules).is_err());
    }
}

#[test]
fn we_verify_what_they_sign() {
    for side in sides() {
        let verifier = TokenVerifier::builder(side.public).issuer("them");
        let verifier = verifier.audience("api").build().unwrap();
        let now = WallClock::system().now();
        let claims = json!({
            "iss": "them", "aud": ["web", "api"], "sub": "ada \"é\" \u{1}", "jti": "1",
            "iat": now, "nbf": now, "exp": now + 60, "roles": ["reader", {"of": [1, -2.5e3]}],
        });
        let mut header = Header::new(side.algorithm);
        header.typ = Some("at+jwt".into());
        header.kid = Some("k".into());
        let token = encode(&header, &claims, &side.signs).unwrap();
        let read = verifier.verify(&token, |claims| {
            let read: Value = serde_json::from_str(claims.as_json()).unwrap();
            (claims.subject().map(String::from), claims.expires(), read)
        });
        let subject = Some("ada \"é\" \u{1}".to_owned());
        assert_eq!(read, Ok((subject, now + 60, claims.clone())));
        let wrong = verifier.verify(&tampered(&token), |_| ());
        assert_eq!(wrong, Err(TokenError::BadSignature));
        // As they write headers by themselves: of no type that is accepted here.
        let mut plain = Header::new(side.algorithm);
        plain.kid = Some("k".into());
        let token = encode(&plain, &claims, &side.signs).unwrap();
        assert_eq!(verifier.verify(&token, |_| ()), Err(TokenError::WrongType));
    }
}

/// The token with another first letter of its signature.
fn tampered(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{message}.{first}{}", &signature[1..])
}
