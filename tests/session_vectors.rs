//! The examples of the RFCs, and tokens that they say are none.

use std::time::Duration;

use tenfold::session::WallClock;
use tenfold::session::token::{KeyRing, Part, TokenError, TokenVerifier, TokenVerifierBuilder};
use tenfold::time::ManualClock;

const NOW: u64 = 1_300_819_379;
/// RFC 7515, A.1: a key, and a token of "joe" that ends in a second.
const SECRET: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const JOES: &[u8] =
    b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";

fn a1() -> String {
    format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
}

fn hs256(kid: &str, secret: &str) -> KeyRing {
    let ring = KeyRing::builder().hs256(kid, &unbase64(secret));
    ring.build().unwrap()
}

fn jwk(key: &str) -> KeyRing {
    let ring = KeyRing::builder().jwks(&format!(r#"{{"keys":[{key}]}}"#));
    ring.build().unwrap()
}

/// What accepts a token like that of RFC 7519, 3.1, at a time.
fn joes(now: u64) -> TokenVerifierBuilder {
    TokenVerifier::builder(hs256("k", SECRET))
        .issuer("joe")
        .any_audience()
        .typ("JWT")
        .leeway(Duration::ZERO)
        .clock(WallClock::manual(&ManualClock::new(), now))
}

fn verdict(token: &str) -> Result<(), TokenError> {
    joes(NOW).build().unwrap().verify(token, |_| ())
}

/// RFC 7519, 3.1, which is RFC 7515, A.1: whole, with all checks but that of the audience, which it does not
/// name, and refused by the second, the issuer and the type.
#[test]
fn the_example_of_a_token_is_one_until_its_second_is_over() {
    let verify = |builder: TokenVerifierBuilder| {
        let verifier = builder.build().unwrap();
        verifier.verify(&a1(), |claims| {
            let issuer = claims.issuer().map(String::from);
            (
                issuer,
                claims.expires(),
                claims.as_json().as_bytes() == JOES,
            )
        })
    };
    assert_eq!(verify(joes(NOW)), Ok((Some("joe".into()), NOW + 1, true)));
    assert_eq!(verify(joes(NOW + 1)), Err(TokenError::Expired { by: 0 }));
    assert_eq!(
        verify(joes(NOW).issuer("jim")),
        Err(TokenError::WrongIssuer)
    );
    assert_eq!(verify(joes(NOW).typ("at+jwt")), Err(TokenError::WrongType));
    let named = joes(NOW).audience("api");
    assert_eq!(verify(named), Err(TokenError::MissingClaim("aud")));
}

/// RFC 7515, 5.2 and 10.12, and RFC 7519, 7.2: what is no token, with that key's right signature where there
/// is one.
#[test]
fn what_the_rfcs_call_invalid_is_refused() {
    let malformed = |part| Err(TokenError::Malformed(part));
    let (header, signature) = ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", a1());
    let signature = signature.rsplit_once('.').unwrap().1;
    for (wrong, answer) in [
        // Two parts, five (a JWE), and the JSON serialization of A.6.
        (format!("{header}.{JOE}"), malformed(Part::Parts)),
        (
            format!("{header}.{JOE}.{signature}.{JOE}.{JOE}"),
            malformed(Part::Parts),
        ),
        (
            format!(r#"{{"payload":"{JOE}","protected":"{header}","signature":"{signature}"}}"#),
            malformed(Part::Parts),
        ),
        // Line breaks and padding, which base64url here has none of.
        (
            format!("{header}.{JOE}.{signature}="),
            malformed(Part::Base64),
        ),
        (
            format!("{header}.{JOE}.\r\n{signature}"),
            malformed(Part::Base64),
        ),
        (
            format!("{header}=.{JOE}.{signature}"),
            malformed(Part::Base64),
        ),
        // {"typ":"JWT","alg":"HS256" without its end; and a text.
        (
            format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiI.{JOE}.{signature}"),
            malformed(Part::Header),
        ),
        (
            format!("IkhTMjU2Ig.{JOE}.{signature}"),
            malformed(Part::Header),
        ),
        // {"alg":"none"} with somebody else's signature, and 6.1: with none.
        (
            format!("eyJhbGciOiJub25lIn0.{JOE}.{signature}"),
            Err(TokenError::AlgorithmMismatch),
        ),
        (
            format!("eyJhbGciOiJub25lIn0.{JOE}."),
            malformed(Part::Parts),
        ),
        // The header of another key's token, and other claims, under this signature.
        (
            format!("eyJhbGciOiJFUzI1NiJ9.{JOE}.{signature}"),
            Err(TokenError::AlgorithmMismatch),
        ),
        (
            format!("{header}.e30.{signature}"),
            Err(TokenError::BadSignature),
        ),
        // RFC 7515, E: critical members that nobody knows.
        (
            "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9VTkRFRklORUQiOnRydWUNCn0.RkFJTC.".to_owned(),
            malformed(Part::Parts),
        ),
        (
            "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9VTkRFRklORUQiOnRydWUNCn0.RkFJTA.AAAA".to_owned(),
            Err(TokenError::CriticalHeader),
        ),
    ] {
        assert_eq!(verdict(&wrong), answer, "{wrong}");
    }
    assert_eq!(verdict(&a1()), Ok(()));
}

#[test]
fn the_rfcs_known_answers() {
    // RFC 7515, A.1.
    let hs = hs256("k", SECRET);
    assert_eq!(hs.verify_jws(&a1(), NOW).unwrap(), JOES);
    // A.2 and A.4: RS256 and ES512, which no key here can be used for.
    for header in ["eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJFUzUxMiJ9"] {
        let token = format!("{header}.{JOE}.AAAA");
        assert_eq!(
            hs.verify_jws(&token, NOW),
            Err(TokenError::AlgorithmMismatch)
        );
    }
    // A.3.
    let es = jwk(
        r#"{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    );
    let a3 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{JOE}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    assert_eq!(es.verify_jws(&a3, NOW).unwrap(), JOES);
    // A.5: unsecured.
    let a5 = format!("eyJhbGciOiJub25lIn0.{JOE}.");
    assert_eq!(
        es.verify_jws(&a5, NOW),
        Err(TokenError::Malformed(Part::Parts))
    );
    // RFC 7520, 4.4.
    let kid = "018c0ae5-4d9b-471b-bfd6-eef314bc7037";
    let hs = hs256(kid, "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg");
    let cookbook = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.\
        SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.\
        s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0";
    let text = hs.verify_jws(cookbook, NOW).unwrap();
    assert!(text.starts_with("It’s a dangerous business, Frodo".as_bytes()));
    // RFC 8037, A.4.
    let ed = jwk(
        r#"{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    );
    let a4 = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(
        ed.verify_jws(a4, NOW).unwrap(),
        b"Example of Ed25519 signing"
    );
}

fn unbase64(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let values = text.chars().map(|c| alphabet.find(c).unwrap() as u8);
    let bits: Vec<u8> = values
        .flat_map(|v| (0..6).rev().map(move |bit| v >> bit & 1))
        .collect();
    let byte = |eight: &[u8]| eight.iter().fold(0, |v, bit| v << 1 | bit);
    bits.chunks_exact(8).map(byte).collect()
}
