//! Writes a token while its claims are written, and signs it.

use std::fmt;

use ring::hmac;

use super::json;
use super::keys::Key;
use super::verifier::{ACCESS, header};
use crate::session::base64url;

/// What all tokens of an issuer begin with: their header and their first claims, encoded already.
pub(super) struct Signing {
    /// As far as the claims are whole threes of bytes, which are whole letters.
    begins: String,
    /// Up to two more bytes.
    rest: Vec<u8>,
    /// Has read what they begin with, if the key is one for MACs.
    mac: Option<hmac::Context>,
}

impl Signing {
    pub(super) fn new(key: &Key, issuer: &str, audience: &str) -> Self {
        let mut claims = Vec::new();
        for (member, text) in [("{\"iss\":", issuer), (",\"aud\":", audience)] {
            let mut said = String::from(member);
            json::write_text(text, &mut said);
            claims.extend(said.into_bytes());
        }
        claims.extend(b",\"sub\":");
        let whole = claims.len() / 3 * 3;
        let mut begins = header(key, ACCESS);
        begins.push('.');
        base64url::encode_to(&claims[..whole], &mut begins);
        Self {
            rest: claims.split_off(whole),
            mac: key.begin(begins.as_bytes()),
            begins,
        }
    }

    /// A token of which `write` writes the claims from the value of `sub` on: in about `room` bytes, so that the token is the one
    /// allocation. None if the key does not sign.
    pub(super) fn token(
        &self,
        key: &Key,
        room: usize,
        write: impl FnOnce(&mut Letters),
    ) -> Option<String> {
        let mut token = String::with_capacity(self.begins.len() + room * 4 / 3 + 96);
        token.push_str(&self.begins);
        let mut letters = Letters::new(token);
        letters.put_bytes(&self.rest);
        write(&mut letters);
        let mut token = letters.into_token();
        if let Some(begun) = &self.mac {
            let mut mac = begun.clone();
            mac.update(&token.as_bytes()[self.begins.len()..]);
            token.push('.');
            base64url::encode_to(mac.sign().as_ref(), &mut token);
        } else {
            let (signature, len) = key.sign(token.as_bytes())?;
            token.push('.');
            base64url::encode_to(&signature[..len], &mut token);
        }
        Some(token)
    }
}

/// A token that claims are appended to, which become letters some at a time.
pub(super) struct Letters {
    token: String,
    /// Not encoded yet.
    bytes: [u8; PART],
    len: usize,
}

impl Letters {
    fn new(token: String) -> Self {
        Self {
            token,
            bytes: [0; PART],
            len: 0,
        }
    }

    pub(super) fn put(&mut self, text: &str) {
        self.put_bytes(text.as_bytes());
    }

    pub(super) fn put_number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let (mut at, mut rest) = (digits.len(), number);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return self.put_bytes(&digits[at..]);
            }
        }
    }

    fn put_bytes(&mut self, mut bytes: &[u8]) {
        loop {
            let free = &mut self.bytes[self.len..];
            let (now, later) = bytes.split_at(bytes.len().min(free.len()));
            free[..now.len()].copy_from_slice(now);
            self.len += now.len();
            if self.len < PART {
                return;
            }
            base64url::encode_to(&self.bytes, &mut self.token);
            self.len = 0;
            bytes = later;
        }
    }

    fn into_token(mut self) -> String {
        base64url::encode_to(&self.bytes[..self.len], &mut self.token);
        self.token
    }
}

impl fmt::Write for Letters {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text);
        Ok(())
    }
}

/// Bytes that are encoded at a time: whole threes.
const PART: usize = 192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::token::KeyRing;

    /// Whatever its claims are cut into, a token is what its parts encoded one by one are.
    #[test]
    fn a_token_is_its_header_and_its_claims_under_their_mac() {
        let ring = KeyRing::builder().hs256("a", &[7; 32]).active("a");
        let ring = ring.build().unwrap();
        let key = ring.active().unwrap();
        for audience in ["a", "ap", "api"] {
            let signing = Signing::new(key, "m\"e", audience);
            for len in [0, 1, 2, 5, 180, 191, 192, 193, 400, 1000] {
                let said = "x".repeat(len);
                for pieces in [1, 7, 192, 1000] {
                    let token = signing.token(key, 0, |letters| {
                        letters.put("\"");
                        for piece in said.as_bytes().chunks(pieces) {
                            letters.put_bytes(piece);
                        }
                        letters.put("\",\"n\":[");
                        for number in [0, 10, 1_700_000_000, u64::MAX] {
                            letters.put_number(number);
                            letters.put(",");
                        }
                        letters.put("9]}");
                    });
                    let claims = format!(
                        r#"{{"iss":"m\"e","aud":"{audience}","sub":"{said}","n":[0,10,1700000000,18446744073709551615,9]}}"#
                    );
                    let message = header(key, ACCESS) + "." + &base64url::encode(claims.as_bytes());
                    let (signature, len) = key.sign(message.as_bytes()).unwrap();
                    let due = message + "." + &base64url::encode(&signature[..len]);
                    assert_eq!(token.unwrap(), due);
                }
            }
        }
    }
}
