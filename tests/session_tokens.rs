//! Bad tokens, each with the error it gets.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use tenfold::session::token::{
    Denylist, KeyError, KeyRing, KeyRingBuilder, Part, Scope, TokenBuildError, TokenError,
    TokenIssuer, TokenVerifier, TokenVerifierBuilder,
};
use tenfold::session::{CookieError, HostCookie, SameSite, WallClock};
use tenfold::time::ManualClock;

const NOW: u64 = 1_700_000_000;
const SECRET: [u8; 32] = [7; 32];
const HEADER: &str = r#"{"alg":"HS256","typ":"at+jwt","kid":"a"}"#;
const CLAIMS: &str =
    r#"{"iss":"me","aud":"api","sub":"ada","jti":"1","sid":"f","iat":1700000000,"exp":1700000060}"#;

fn ring() -> KeyRingBuilder {
    KeyRing::builder().hs256("a", &SECRET).hs256("b", &[8; 32])
}

fn builder() -> (ManualClock, TokenVerifierBuilder) {
    of(ring().build().unwrap())
}

fn of(ring: KeyRing) -> (ManualClock, TokenVerifierBuilder) {
    let clock = ManualClock::new();
    let wall = WallClock::manual(&clock, NOW);
    let builder = TokenVerifier::builder(ring).issuer("me").audience("api");
    (clock, builder.clock(wall))
}

/// A token with these bytes, signed with the key "a".
fn signed(header: &str, claims: &str) -> String {
    let message = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", encode(signature.as_ref()))
}

fn verdict(token: &str) -> Result<(), TokenError> {
    builder().1.build().unwrap().verify(token, |_| ())
}

fn of_header(header: &str) -> Result<(), TokenError> {
    verdict(&signed(header, CLAIMS))
}

fn of_claims(claims: &str) -> Result<(), TokenError> {
    verdict(&signed(HEADER, claims))
}

/// The usual claims with one changed.
fn with(name: &str, value: &str) -> String {
    let claims: Vec<_> = CLAIMS.trim_matches(['{', '}']).split(',').collect();
    let mut claims: Vec<_> = (claims.into_iter())
        .filter(|claim| !claim.starts_with(&format!("\"{name}\"")))
        .map(str::to_owned)
        .collect();
    if !value.is_empty() {
        claims.push(format!("\"{name}\":{value}"));
    }
    format!("{{{}}}", claims.join(","))
}

const MALFORMED: fn(Part) -> Result<(), TokenError> = |part| Err(TokenError::Malformed(part));

#[test]
fn a_token_as_it_should_be_is_accepted() {
    assert_eq!(verdict(&signed(HEADER, CLAIMS)), Ok(()));
    let verifier = builder().1.build().unwrap();
    let spelled = CLAIMS
        .replace("\"ada\"", r#""a\u0064a""#)
        .replace("\"me\"", r#""m\u0065""#);
    let read = verifier.verify(&signed(HEADER, &spelled), |claims| {
        let texts = [
            claims.subject(),
            claims.id(),
            claims.family(),
            claims.issuer(),
        ];
        (
            texts.map(|text| text.unwrap().into_owned()),
            claims.expires(),
            claims.issued(),
        )
    });
    let texts = ["ada", "1", "f", "me"].map(str::to_owned);
    assert_eq!(read, Ok((texts, NOW + 60, Some(NOW))));
    assert_eq!(of_claims(&with("aud", r#"["x","api"]"#)), Ok(()));
    assert_eq!(
        of_header(r#"{"alg":"HS256","typ":"application/AT+JWT","kid":"a"}"#),
        Ok(())
    );
}

#[test]
fn what_is_too_long_is_not_read() {
    let max = 8192;
    assert_eq!(
        verdict(&"x".repeat(8193)),
        Err(TokenError::TooLong { len: 8193, max })
    );
    assert_eq!(verdict(&"x".repeat(8192)), MALFORMED(Part::Parts));
    let long = with("pad", &format!("\"{}\"", "x".repeat(5000)));
    assert_eq!(of_claims(&long), Ok(()));
}

#[test]
fn what_has_not_three_parts_is_malformed() {
    let token = signed(HEADER, CLAIMS);
    let (message, _) = token.rsplit_once('.').unwrap();
    let json = r#"{"payload":"e30","signatures":[]}"#;
    for wrong in ["", ".", "..", "a..b", "a.b", "a.b.", ".b.c", json] {
        assert_eq!(verdict(wrong), MALFORMED(Part::Parts), "{wrong}");
    }
    assert_eq!(verdict(&format!("{token}.x")), MALFORMED(Part::Parts));
    // An unsigned one ends in a dot.
    assert_eq!(verdict(&format!("{message}.")), MALFORMED(Part::Parts));
}

#[test]
fn what_is_spelled_otherwise_is_malformed() {
    let token = signed(HEADER, CLAIMS);
    let last = token.chars().last().unwrap();
    // The last of 43 letters has two bits that no byte has.
    let twin = char::from(last as u8 + 1);
    let respelled = format!("{}{twin}", &token[..token.len() - 1]);
    let spaced = token.replacen('.', " .", 1);
    for wrong in [
        format!("{token}="),
        format!("{token} "),
        format!("{token}\n"),
        spaced,
        respelled,
    ] {
        assert_eq!(verdict(&wrong), MALFORMED(Part::Base64), "{wrong}");
    }
}

#[test]
fn a_header_that_is_no_header_is_malformed() {
    let members: Vec<_> = (0..16).map(|n| format!("\"m{n}\":0")).collect();
    for wrong in [
        "[]",
        "x",
        "{}",
        "\"HS256\"",
        r#"{"alg":1,"kid":"a"}"#,
        r#"{"kid":"a","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","alg":"HS256","typ":"at+jwt","kid":"a"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"a","\u006bid":"b"}"#,
        &format!("{{\"alg\":\"HS256\",{}}}", members.join(",")),
    ] {
        assert_eq!(of_header(wrong), MALFORMED(Part::Header), "{wrong}");
    }
}

#[test]
fn the_algorithm_is_the_keys() {
    for alg in [
        "none", "None", "NONE", "HS512", "RS256", "hs256", "EdDSA", "ES256", "",
    ] {
        let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt","kid":"a"}}"#);
        assert_eq!(
            of_header(&header),
            Err(TokenError::AlgorithmMismatch),
            "{alg}"
        );
    }
    // The classic: our public key is known to all, and taken for a secret.
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let public: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
    let ring = KeyRing::builder()
        .ed25519_public("a", &public)
        .build()
        .unwrap();
    let verifier = of(ring).1.build().unwrap();
    let message = format!(
        "{}.{}",
        encode(HEADER.as_bytes()),
        encode(CLAIMS.as_bytes())
    );
    let mac = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, &public),
        message.as_bytes(),
    );
    let forged = format!("{message}.{}", encode(mac.as_ref()));
    assert_eq!(
        verifier.verify(&forged, |_| ()),
        Err(TokenError::AlgorithmMismatch)
    );
}

#[test]
fn the_key_is_named_known_and_in_time() {
    let no_kid = r#"{"alg":"HS256","typ":"at+jwt"}"#;
    assert_eq!(of_header(no_kid), Err(TokenError::KeyIdMissing));
    let unknown = HEADER.replace("\"a\"", "\"c\"");
    assert_eq!(of_header(&unknown), Err(TokenError::KeyIdUnknown));
    let single = of(KeyRing::builder().hs256("z", &SECRET).build().unwrap());
    let token = signed(no_kid, CLAIMS);
    assert_eq!(single.1.build().unwrap().verify(&token, |_| ()), Ok(()));
    let retired = of(ring().retired("a").build().unwrap()).1.build().unwrap();
    let spaced = HEADER.replace(':', ": ");
    for header in [HEADER, &spaced] {
        let token = signed(header, CLAIMS);
        assert_eq!(retired.verify(&token, |_| ()), Err(TokenError::KeyRetired));
    }
    let (clock, ending) = of(ring().verify_until("a", NOW + 5).build().unwrap());
    let ending = ending.build().unwrap();
    let token = signed(HEADER, CLAIMS);
    clock.advance(Duration::from_secs(4));
    assert_eq!(ending.verify(&token, |_| ()), Ok(()));
    clock.advance(Duration::from_secs(1));
    assert_eq!(ending.verify(&token, |_| ()), Err(TokenError::KeyRetired));
}

#[test]
fn critical_headers_and_embedded_keys() {
    for crit in ["[]", "[\"exp\"]", "null", "[\"b64\"]"] {
        let header = HEADER.replace('}', &format!(",\"crit\":{crit}}}"));
        assert_eq!(
            of_header(&header),
            Err(TokenError::CriticalHeader),
            "{crit}"
        );
    }
    for name in ["jwk", "jku", "x5u", "x5c"] {
        let header = HEADER.replace('}', &format!(",\"{name}\":{{\"kty\":\"oct\"}}}}"));
        let token = signed(&header, CLAIMS);
        assert_eq!(verdict(&token), Ok(()), "ignored");
        let strict = builder().1.refuse_embedded_keys().build().unwrap();
        assert_eq!(strict.verify(&token, |_| ()), Err(TokenError::EmbeddedKey));
    }
}

#[test]
fn a_token_for_something_else_is_of_another_type() {
    for typ in [r#""JWT""#, r#""refresh+jwt""#, r#""""#, r#""at+jwt ""#] {
        let header = format!(r#"{{"alg":"HS256","typ":{typ},"kid":"a"}}"#);
        assert_eq!(of_header(&header), Err(TokenError::WrongType), "{typ}");
    }
    assert_eq!(
        of_header(r#"{"alg":"HS256","kid":"a"}"#),
        Err(TokenError::WrongType)
    );
}

#[test]
fn a_wrong_signature_is_one_error_whatever_is_wrong() {
    let token = signed(HEADER, CLAIMS);
    let (message, signature) = token.rsplit_once('.').unwrap();
    for wrong in [
        &signature[..40],
        "AAAA",
        &"A".repeat(43),
        &"A".repeat(88),
        &"A".repeat(4000),
    ] {
        let verdict = verdict(&format!("{message}.{wrong}"));
        assert_eq!(verdict, Err(TokenError::BadSignature), "{wrong}");
    }
    let other = signed(&HEADER.replace("\"a\"", "\"b\""), CLAIMS);
    assert_eq!(verdict(&other), Err(TokenError::BadSignature));
    // Bad claims are not looked at before that.
    let bad = format!(
        "{}.{}.{}",
        encode(HEADER.as_bytes()),
        encode(b"x"),
        "A".repeat(43)
    );
    assert_eq!(verdict(&bad), Err(TokenError::BadSignature));
}

#[test]
fn an_elliptic_signature_is_64_bytes_with_numbers_in_range() {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let header = HEADER.replace("HS256", "ES256");
    let message = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(CLAIMS.as_bytes())
    );
    let right = pair.sign(&random, message.as_bytes()).unwrap();
    let right = right.as_ref();
    let point = pair.public_key().as_ref().try_into().unwrap();
    let ring = KeyRing::builder()
        .es256_public("a", &point)
        .build()
        .unwrap();
    let verifier = of(ring).1.build().unwrap();
    let verify =
        |signature: &[u8]| verifier.verify(&format!("{message}.{}", encode(signature)), |_| ());
    assert_eq!(verify(right), Ok(()));
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<_> = (0..32)
        .map(|n| u8::from_str_radix(&order[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    let wrong = [
        right[..63].to_vec(),
        [right, &[0]].concat(),
        [&[0; 32], &right[32..]].concat(),
        [&right[..32], &[0; 32]].concat(),
        [&order[..], &right[32..]].concat(),
        [&right[..32], &order[..]].concat(),
        // As DER writes it.
        [&[0x30, 0x44, 2, 32], &right[..32], &[2, 32], &right[32..]].concat(),
        vec![0; 64],
    ];
    for signature in wrong {
        assert_eq!(
            verify(&signature),
            Err(TokenError::BadSignature),
            "{signature:?}"
        );
    }
}

#[test]
fn claims_that_are_no_claims_are_malformed() {
    let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
    for wrong in [
        "[]",
        "x",
        "1",
        "{",
        "{}{}",
        &with("exp", "NaN"),
        &with("x", &deep),
        &CLAIMS.replace("\"sub\"", "\"iss\":\"me\",\"sub\""),
        &CLAIMS.replace("\"sub\"", "\"e\\u0078p\":1,\"sub\""),
        &with("x", r#"{"y":1,"y":2}"#),
        &with("x", r#""\ud800""#),
    ] {
        assert_eq!(of_claims(wrong), MALFORMED(Part::Claims), "{wrong}");
    }
    let message = format!(
        "{}.{}",
        encode(HEADER.as_bytes()),
        encode(b"{\"a\":\"\xff\"}")
    );
    let mac = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, &SECRET),
        message.as_bytes(),
    );
    let token = format!("{message}.{}", encode(mac.as_ref()));
    assert_eq!(verdict(&token), MALFORMED(Part::Claims), "not UTF-8");
}

/// CVE-2026-25537: a string where a number belongs was taken for no claim at all.
#[test]
fn the_end_is_a_number_that_a_clock_can_show() {
    assert_eq!(
        of_claims(&with("exp", "")),
        Err(TokenError::MissingClaim("exp"))
    );
    for wrong in [
        "\"1700000060\"",
        "\"NaN\"",
        "null",
        "true",
        "[1700000060]",
        "-1",
        "-0.5",
        "-0.0",
        "1e400",
        "9007199254740993",
        "9999999999999999999",
        "9007199254740993000",
        "1e16",
    ] {
        for name in ["exp", "nbf", "iat"] {
            let verdict = of_claims(&with(name, wrong));
            assert_eq!(verdict, Err(TokenError::BadClaim(name)), "{name} {wrong}");
        }
    }
    for right in ["1700000060.9", "1.70000006e9", "9007199254740992"] {
        assert_eq!(of_claims(&with("exp", right)), Ok(()), "{right}");
    }
    for name in ["iss", "sub", "jti", "sid"] {
        assert_eq!(of_claims(&with(name, "1")), Err(TokenError::BadClaim(name)));
    }
}

#[test]
fn time_is_heeded_to_the_second() {
    let leeway = 30;
    let at = |name: &str, moment: u64| of_claims(&with(name, &moment.to_string()));
    assert_eq!(at("exp", NOW - leeway + 1), Ok(()));
    assert_eq!(at("exp", NOW - leeway), Err(TokenError::Expired { by: 30 }));
    assert_eq!(at("exp", 0), Err(TokenError::Expired { by: NOW }));
    assert_eq!(at("nbf", NOW + leeway), Ok(()));
    assert_eq!(at("nbf", NOW + leeway + 1), Err(TokenError::NotYetValid));
    assert_eq!(at("iat", NOW + leeway), Ok(()));
    assert_eq!(at("iat", NOW + leeway + 1), Err(TokenError::IssuedInFuture));
    let aged = || {
        builder()
            .1
            .max_age(Duration::from_secs(100))
            .build()
            .unwrap()
    };
    let verify = |value: &str| aged().verify(&signed(HEADER, &with("iat", value)), |_| ());
    assert_eq!(verify(&(NOW - 130).to_string()), Ok(()));
    assert_eq!(verify(&(NOW - 131).to_string()), Err(TokenError::TooOld));
    assert_eq!(verify(""), Err(TokenError::MissingClaim("iat")));
}

#[test]
fn issuer_and_audience_are_demanded() {
    assert_eq!(
        of_claims(&with("iss", "")),
        Err(TokenError::MissingClaim("iss"))
    );
    assert_eq!(
        of_claims(&with("iss", "\"you\"")),
        Err(TokenError::WrongIssuer)
    );
    assert_eq!(
        of_claims(&with("aud", "")),
        Err(TokenError::MissingClaim("aud"))
    );
    for wrong in ["\"web\"", "[]", "[\"web\",\"ap\"]", "\"\""] {
        assert_eq!(
            of_claims(&with("aud", wrong)),
            Err(TokenError::WrongAudience),
            "{wrong}"
        );
    }
    for wrong in [
        "1",
        "null",
        "[1]",
        "[\"api\",1]",
        "{\"api\":1}",
        "[[\"api\"]]",
    ] {
        assert_eq!(
            of_claims(&with("aud", wrong)),
            Err(TokenError::BadClaim("aud")),
            "{wrong}"
        );
    }
    let any = builder().1.any_audience().build().unwrap();
    assert_eq!(
        any.verify(&signed(HEADER, &with("aud", "")), |_| ()),
        Ok(())
    );
    let ring = || ring().build().unwrap();
    let nobody = TokenVerifier::builder(ring()).audience("api").build();
    assert_eq!(nobody.err(), Some(TokenBuildError::Missing("issuer")));
    let nothing = TokenVerifier::builder(ring()).issuer("me").build();
    assert_eq!(nothing.err(), Some(TokenBuildError::Missing("audience")));
    let late = builder().1.leeway(Duration::from_secs(301)).build();
    assert!(matches!(
        late,
        Err(TokenBuildError::Setting {
            setting: "leeway",
            ..
        })
    ));
}

#[test]
fn what_was_revoked_is_refused_as_that_and_nothing_else_is() {
    let denied = |deny: &dyn Fn(&Denylist, &TokenVerifier)| {
        let (clock, builder) = builder();
        let wall = WallClock::manual(&clock, NOW);
        let list = Arc::new(Denylist::new(100, Duration::from_secs(100), wall));
        let verifier = builder.denylist(Arc::clone(&list)).build().unwrap();
        deny(&list, &verifier);
        let other = CLAIMS
            .replace("ada", "bob")
            .replace(":\"1\"", ":\"2\"")
            .replace(":\"f\"", ":\"g\"");
        let later = with("iat", &(NOW + 1).to_string());
        [CLAIMS, &other, &later]
            .map(|claims| verifier.verify(&signed(HEADER, claims), |_| ()).err())
    };
    let revoked = |scope| Some(TokenError::Revoked(scope));
    let token = |list: &Denylist, verifier: &TokenVerifier| {
        verifier
            .verify(&signed(HEADER, CLAIMS), |claims| list.deny(claims))
            .unwrap();
    };
    assert_eq!(
        denied(&token),
        [revoked(Scope::Token), None, revoked(Scope::Token)]
    );
    let family = |list: &Denylist, _: &TokenVerifier| list.deny_family("f", "ada");
    assert_eq!(
        denied(&family),
        [revoked(Scope::Family), None, revoked(Scope::Family)]
    );
    // Of this second, and not of the next.
    let user = |list: &Denylist, _: &TokenVerifier| list.deny_user("ada");
    assert_eq!(denied(&user), [revoked(Scope::User), None, None]);
    let all = |list: &Denylist, _: &TokenVerifier| list.deny_all();
    assert_eq!(
        denied(&all),
        [revoked(Scope::All), revoked(Scope::All), None]
    );
}

#[test]
fn a_full_denylist_revokes_more_and_forgets_nothing_in_time() {
    let clock = ManualClock::new();
    let list = Denylist::new(2, Duration::from_secs(100), WallClock::manual(&clock, NOW));
    let list = Arc::new(list);
    let (_, builder) = builder();
    let verifier = builder.denylist(Arc::clone(&list)).build().unwrap();
    let token = |user: &str| signed(HEADER, &CLAIMS.replace("ada", user));
    list.deny_family("x", "ada");
    list.deny_family("y", "ada");
    assert_eq!(
        (list.len(), verifier.verify(&token("bob"), |_| ())),
        (2, Ok(()))
    );
    // No room for a third, nor for its user.
    list.deny_family("z", "ada");
    let everybody = Err(TokenError::Revoked(Scope::All));
    assert_eq!(
        (list.len(), verifier.verify(&token("bob"), |_| ())),
        (2, everybody)
    );
    // Until then: what is over leaves, and makes room without anybody being caught by it.
    for round in 1..20 {
        clock.advance(Duration::from_secs(131));
        let names = [format!("x{round}"), format!("y{round}")];
        for name in &names {
            list.deny_family(name, "ada");
        }
        assert_eq!(list.len(), 2);
        let now = NOW + 131 * round;
        let of = |family: &str| {
            let claims = CLAIMS.replace("\"f\"", &format!("\"{family}\""));
            let claims = claims.replace("1700000000", &now.to_string());
            signed(
                HEADER,
                &claims.replace("1700000060", &(now + 60).to_string()),
            )
        };
        let later = WallClock::manual(&ManualClock::new(), now);
        let verifier = self::builder().1.denylist(Arc::clone(&list)).clock(later);
        let verifier = verifier.build().unwrap();
        for name in &names {
            let verdict = verifier.verify(&of(name), |_| ());
            assert_eq!(verdict, Err(TokenError::Revoked(Scope::Family)));
        }
        assert_eq!(verifier.verify(&of("f"), |_| ()), Ok(()));
    }
}

/// Its last token may be dated half a minute ahead, after so many log-outs within a second, and lives from then.
#[test]
fn a_family_stays_denied_until_its_last_token_is_over() {
    let clock = ManualClock::new();
    let list = Denylist::new(1, Duration::from_secs(100), WallClock::manual(&clock, NOW));
    list.deny_family("f", "ada");
    for (seconds, stays) in [(129, true), (1, false)] {
        clock.advance(Duration::from_secs(seconds));
        // There is room for one.
        list.deny_family("g", "bob");
        assert_eq!(
            (list.has_family("f"), list.has_family("g")),
            (stays, !stays)
        );
    }
}

/// The signature is remembered, and nothing else of it.
#[test]
fn a_token_that_is_remembered_expires_and_is_revoked_all_the_same() {
    let random = SystemRandom::new();
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let ring = || {
        KeyRing::builder()
            .ed25519("a", pkcs8.as_ref())
            .active("a")
            .build()
            .unwrap()
    };
    let (clock, builder) = of(ring());
    let wall = WallClock::manual(&clock, NOW);
    let issuer = TokenIssuer::builder(ring())
        .issuer("me")
        .audience("api")
        .clock(wall);
    let issuer = issuer.build().unwrap();
    let verifier = builder
        .denylist(issuer.denylist())
        .cache(100)
        .build()
        .unwrap();
    let pair = issuer.log_in("ada", "").unwrap();
    let verify = |token: &str| verifier.verify(token, |_| ());
    for _ in 0..3 {
        assert_eq!(verify(pair.access()), Ok(()));
    }
    // The same with another signature is not the same.
    let (message, signature) = pair.access().rsplit_once('.').unwrap();
    let forged = format!(
        "{message}.{}{}",
        if signature.starts_with('A') { "B" } else { "A" },
        &signature[1..]
    );
    assert_eq!(verify(&forged), Err(TokenError::BadSignature));
    issuer.log_out(pair.refresh()).unwrap();
    assert_eq!(
        verify(pair.access()),
        Err(TokenError::Revoked(Scope::Family))
    );
    let pair = issuer.log_in("ada", "").unwrap();
    assert_eq!(verify(pair.access()), Ok(()));
    clock.advance(Duration::from_secs(930));
    assert_eq!(verify(pair.access()), Err(TokenError::Expired { by: 30 }));
}

#[test]
fn keys_that_are_none_make_no_ring() {
    let kid = || "a".to_owned();
    let short = KeyRing::builder().hs256("a", &[0; 31]).build();
    assert_eq!(
        short.err(),
        Some(KeyError::KeyTooShort { got: 31, min: 32 })
    );
    let twice = ring().hs256("a", &SECRET).build();
    assert_eq!(twice.err(), Some(KeyError::DuplicateKid { kid: kid() }));
    assert_eq!(KeyRing::builder().build().err(), Some(KeyError::NoKeys));
    for active in ["z", "a"] {
        let public = KeyRing::builder()
            .ed25519_public("a", &[1; 32])
            .active(active)
            .build();
        assert!(matches!(public, Err(KeyError::NoActiveKey { .. })));
    }
    let retired = ring().active("a").retired("a").build();
    assert_eq!(retired.err(), Some(KeyError::NoActiveKey { kid: kid() }));
    assert!(matches!(
        ring().ed25519("x", b"y").build(),
        Err(KeyError::BadKey { .. })
    ));
    assert!(matches!(
        ring().es256("x", b"y").build(),
        Err(KeyError::BadKey { .. })
    ));
    assert!(matches!(
        ring().hs256("\"", &SECRET).build(),
        Err(KeyError::BadKid { .. })
    ));
    let printed = format!("{:?} {:?}", ring().build().unwrap(), ring());
    assert!(!printed.contains("7, 7"));
}

#[test]
fn key_sets_are_read_and_written_without_secrets() {
    let random = SystemRandom::new();
    let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let es = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let full = ring()
        .ed25519("ed", ed.as_ref())
        .es256("es", es.as_ref())
        .build()
        .unwrap();
    let text = full.to_jwks();
    let read = KeyRing::builder().jwks(&text).build().unwrap();
    assert_eq!(read.kids().collect::<Vec<_>>(), ["ed", "es"]);
    assert_eq!(read.to_jwks(), text);
    assert!(!text.contains("\"d\"") && !text.contains("oct"));
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let key = |more: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{more}}}"#);
    let set = |keys: &[String]| {
        KeyRing::builder()
            .jwks(&format!("{{\"keys\":[{}]}}", keys.join(",")))
            .build()
    };
    let good = key(r#","kid":"a""#);
    assert_eq!(
        set(&[good.clone(), r#"{"kty":"RSA"}"#.into()])
            .unwrap()
            .kids()
            .count(),
        1
    );
    for other in [
        r#","kid":"b","use":"enc""#,
        r#","kid":"b","alg":"ES256""#,
        r#","kid":"b","key_ops":["sign"]"#,
    ] {
        assert_eq!(set(&[good.clone(), key(other)]).unwrap().kids().count(), 1);
    }
    assert!(matches!(set(&[key("")]), Err(KeyError::Jwks { .. })));
    assert!(matches!(
        set(&[key(r#","kid":"a","d":"x""#)]),
        Err(KeyError::BadKey { .. })
    ));
    assert!(matches!(
        set(&[good.replace("11q", "")]),
        Err(KeyError::BadKey { .. })
    ));
    assert!(matches!(
        set(&[good.clone(), good]),
        Err(KeyError::DuplicateKid { .. })
    ));
    for wrong in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[1]}"] {
        let read = KeyRing::builder().jwks(wrong).build();
        assert!(matches!(read, Err(KeyError::Jwks { .. })), "{wrong}");
    }
}

#[test]
fn cookies_keep_the_rules_of_their_prefix() {
    let cookie = HostCookie::new("rt", SameSite::Strict).unwrap();
    let set = cookie
        .set("abc-_", Some(Duration::from_secs(u64::MAX)))
        .unwrap();
    assert_eq!(
        set,
        "__Host-rt=abc-_; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=34560000"
    );
    for wrong in ["a;b", "a b", "a\r\nX: y", "a\"", "a,b", "a\\", "é"] {
        assert_eq!(cookie.set(wrong, None), Err(CookieError::Value), "{wrong}");
    }
    assert!(cookie.set(&"a".repeat(4096 - 9), None).is_ok());
    let large = cookie.set(&"a".repeat(4096 - 8), None);
    assert_eq!(
        large,
        Err(CookieError::TooLarge {
            len: 4097,
            max: 4096
        })
    );
    assert!(HostCookie::new("a=b", SameSite::Lax).is_err());
    assert!(HostCookie::new("", SameSite::Lax).is_err());
    assert_eq!(cookie.find("x=1;  __Host-rt=2 ;y=3"), Some("2"));
    assert_eq!(cookie.find("__Host-rt=1; __Host-rt=2"), None);
    assert_eq!(cookie.find("rt=1; __host-rt=2; x__Host-rt=3"), None);
}

proptest! {
    /// Whatever is changed of a token, it is not accepted.
    #[test]
    fn a_token_with_any_other_letter_is_not_accepted(at in any::<prop::sample::Index>(), letter in any::<u8>()) {
        let token = signed(HEADER, CLAIMS);
        let mut bytes = token.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = letter & 127;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(verdict(&changed).is_ok(), changed == token);
    }

    #[test]
    fn no_signed_claims_panic(claims in "[{}\\[\\]\":,0-9a-e\\\\u. -]{0,60}") {
        let _ = of_claims(&claims);
        let _ = of_header(&claims);
        let _ = KeyRing::builder().jwks(&claims).build();
    }
}

/// A plain one, to compare ours with.
fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let value = |six: &[u8]| (0..6).fold(0, |v, n| v << 1 | six.get(n).copied().unwrap_or(0));
    bits.chunks(6)
        .map(|six| char::from(LETTERS[usize::from(value(six))]))
        .collect()
}
