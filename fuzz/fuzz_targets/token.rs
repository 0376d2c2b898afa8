//! Any text as a token, as header and claims under a right signature, as a refresh token, a cookie and
//! a key set: read without a panic, and nothing is accepted that is not JSON in time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::hmac;
use serde::de::IgnoredAny;
use std::sync::LazyLock;
use tenfold::session::token::{KeyRing, TokenError, TokenIssuer, TokenVerifier};
use tenfold::session::{HostCookie, SameSite, WallClock};
use tenfold::time::ManualClock;

const NOW: u64 = 1_700_000_000;

static WORLD: LazyLock<(TokenIssuer, TokenVerifier, hmac::Key)> = LazyLock::new(|| {
    let ring = || KeyRing::builder().hs256("a", &[7; 32]).active("a").build();
    let wall = WallClock::manual(&ManualClock::new(), NOW);
    let issuer = TokenIssuer::builder(ring().unwrap())
        .issuer("me")
        .audience("api");
    let verifier = TokenVerifier::builder(ring().unwrap())
        .issuer("me")
        .audience("api");
    let verifier = verifier.clock(wall.clone()).build().unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    (issuer.clock(wall).build().unwrap(), verifier, key)
});

fuzz_target!(|input: &[u8]| {
    let (issuer, verifier, key) = &*WORLD;
    if let Ok(text) = std::str::from_utf8(input) {
        assert!(verifier.verify(text, |_| ()).is_err());
        assert!(issuer.refresh(text).is_err() && issuer.log_out(text).is_err());
        if let Ok(ring) = KeyRing::builder().jwks(text).build() {
            let again = KeyRing::builder().jwks(&ring.to_jwks()).build();
            assert!(again.is_ok_and(|again| again.to_jwks() == ring.to_jwks()));
        }
        let cookie = HostCookie::new("id", SameSite::Lax).unwrap();
        let _ = cookie.find(text);
        if let Ok(set) = cookie.set(text, None) {
            let sent = set.split_once("; Path").unwrap().0;
            assert_eq!(cookie.find(sent), Some(text));
        }
    }
    // Under a right signature: claims behind the usual header, and behind one of their own.
    let split = input.iter().position(|&byte| byte == 0);
    let usual: (&[u8], &[u8]) = (br#"{"alg":"HS256","typ":"at+jwt","kid":"a"}"#, input);
    let own = split.map(|at| (&input[..at], &input[at + 1..]));
    for (header, claims) in [Some(usual), own].into_iter().flatten() {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = hmac::sign(key, message.as_bytes());
        let token = format!("{message}.{}", encode(signature.as_ref()));
        match verifier.verify(&token, |claims| {
            (claims.expires(), claims.text("scope").is_some())
        }) {
            Ok((expires, _)) => {
                assert!(expires + 30 > NOW);
                is_json(header);
                is_json(claims);
            }
            Err(TokenError::MissingClaim(_) | TokenError::BadClaim(_)) => is_json(claims),
            Err(_) => {}
        }
    }
});

/// As others read it.
fn is_json(text: &[u8]) {
    assert!(serde_json::from_slice::<IgnoredAny>(text).is_ok());
}

fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits =
        |three: &[u8]| (0..3).fold(0, |v, n| v << 8 | usize::from(*three.get(n).unwrap_or(&0)));
    let letters = |three: &[u8]| {
        let bits = bits(three);
        (0..=three.len()).map(move |at| char::from(LETTERS[bits >> (18 - 6 * at) & 63]))
    };
    bytes.chunks(3).flat_map(letters).collect()
}
