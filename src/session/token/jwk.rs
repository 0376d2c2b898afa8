//! Public keys as other systems read and write them (RFC 7517, RFC 8037).

use super::error::KeyError;
use super::json::{self, MOST_MEMBERS, Text, Value};
use super::keys::{KeyRing, KeyRingBuilder, Public};
use crate::session::base64url;

impl KeyRing {
    /// The public keys as a JWK set, for a `jwks.json`. Secrets are never in it: not those of
    /// key pairs, and no key of HS256 at all.
    ///
    /// ```
    /// use tenfold::session::token::KeyRing;
    ///
    /// let ring = KeyRing::builder().ed25519_public("a", &[9; 32]).build()?;
    /// let again = KeyRing::builder().jwks(&ring.to_jwks()).build()?;
    /// assert_eq!(again.to_jwks(), ring.to_jwks());
    /// # Ok::<(), tenfold::session::token::KeyError>(())
    /// ```
    pub fn to_jwks(&self) -> String {
        let mut text = String::from("{\"keys\":[");
        for key in &self.keys {
            let parts: &[(&str, &[u8])] = match &key.public {
                Public::Mac(_) => continue,
                Public::EdDsa(key) => {
                    &[("\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":", key.as_bytes())]
                }
                Public::Es256(point) => &[
                    ("\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":", &point[1..33]),
                    (",\"y\":", &point[33..]),
                ],
            };
            if !text.ends_with('[') {
                text.push(',');
            }
            text.push('{');
            for (name, bytes) in parts {
                text.push_str(name);
                json::write_text(&base64url::encode(bytes), &mut text);
            }
            text.push_str(",\"use\":\"sig\",\"alg\":");
            json::write_text(key.algorithm.name(), &mut text);
            text.push_str(",\"kid\":");
            json::write_text(&key.kid, &mut text);
            text.push('}');
        }
        text.push_str("]}");
        text
    }
}

impl KeyRingBuilder {
    /// Adds the keys of a JWK set that sign with `EdDSA` or ES256; others, and those for
    /// encryption, are passed over. A key without a name is an error, and so is a
    /// private one: it was published.
    pub fn jwks(mut self, text: &str) -> Self {
        let mut keys = None;
        let read = json::object(text, MOST_MEMBERS, |name, value| {
            if let ("keys", Value::Array(array)) = (name, value) {
                keys = Some(array);
            }
            Some(())
        });
        let (Some(()), Some(keys)) = (read, keys) else {
            let expected = "an object with an array \"keys\"";
            return self.wrong(KeyError::Jwks { expected });
        };
        let mut found = Vec::new();
        json::elements(keys, |key| found.push(key));
        for key in found {
            self = match key {
                Value::Object(key) => self.jwk(key),
                _ => self.wrong(KeyError::Jwks {
                    expected: "objects in the array",
                }),
            };
        }
        self
    }

    fn jwk(self, text: &str) -> Self {
        let [
            mut kty,
            mut crv,
            mut kid,
            mut alg,
            mut key_use,
            mut x,
            mut y,
        ] = [None::<Text>; 7];
        let (mut is_private, mut verifies, mut is_strange) = (false, true, false);
        json::object(text, MOST_MEMBERS, |name, value| {
            let place = match name {
                "kty" => &mut kty,
                "crv" => &mut crv,
                "kid" => &mut kid,
                "alg" => &mut alg,
                "use" => &mut key_use,
                "x" => &mut x,
                "y" => &mut y,
                "d" => {
                    is_private = true;
                    return Some(());
                }
                "key_ops" => {
                    let Value::Array(array) = value else {
                        is_strange = true;
                        return Some(());
                    };
                    verifies = false;
                    json::elements(array, |operation| {
                        verifies |= matches!(operation, Value::Text(op) if op.is("verify"));
                    });
                    return Some(());
                }
                _ => return Some(()),
            };
            match value {
                Value::Text(said) => *place = Some(said),
                _ => is_strange = true,
            }
            Some(())
        });
        let says = |text: Option<Text>, what: &str| text.is_some_and(|text| text.is(what));
        let may = |text: Option<Text>, what: &str| text.is_none_or(|text| text.is(what));
        let is_edwards = says(kty, "OKP") && says(crv, "Ed25519") && may(alg, "EdDSA");
        let is_nist = says(kty, "EC") && says(crv, "P-256") && may(alg, "ES256");
        if !(is_edwards || is_nist) || !may(key_use, "sig") || !verifies {
            return self;
        }
        let Some(kid) = kid else {
            let expected = "a kid for each key";
            return self.wrong(KeyError::Jwks { expected });
        };
        let kid = kid.get();
        let bad = |expected| KeyError::BadKey {
            kid: kid.clone().into_owned(),
            expected,
        };
        if is_private {
            return self.wrong(bad("public: it was published with its secret"));
        }
        if is_strange {
            return self.wrong(bad("described by texts, and by a list of operations"));
        }
        let mut point = [4; 65];
        let mut half = |text: Option<Text>, at: usize| {
            let half = point.get_mut(at..at + 32)?;
            let read = base64url::decode(text?.get().as_bytes(), half)?;
            (read.len() == 32).then_some(())
        };
        if half(x, 1).is_none() || is_nist && half(y, 33).is_none() {
            return self.wrong(bad("of 32 bytes a coordinate"));
        }
        if is_nist {
            return self.es256_public(&kid, &point);
        }
        let mut key = [0; 32];
        key.copy_from_slice(&point[1..33]);
        self.ed25519_public(&kid, &key)
    }
}
