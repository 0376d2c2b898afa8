use std::borrow::Cow;
use std::fmt;

use super::error::{Part, TokenError};
use super::json::{self, MOST_MEMBERS, Place, Text, Value};

/// The claims of a token that was verified, where they lie. What is asked for is
/// borrowed, unless it was written with escapes.
#[derive(Clone)]
pub struct ClaimsRef<'a> {
    pub(super) text: &'a str,
    pub(super) issuer: Option<Text<'a>>,
    pub(super) subject: Option<Text<'a>>,
    pub(super) audience: Option<Value<'a>>,
    pub(super) id: Option<Text<'a>>,
    pub(super) family: Option<Text<'a>>,
    pub(super) expires: u64,
    pub(super) issued: Option<u64>,
    pub(super) not_before: Option<u64>,
}

impl<'a> ClaimsRef<'a> {
    /// Who issued it (`iss`).
    pub fn issuer(&self) -> Option<Cow<'a, str>> {
        self.issuer.map(|text| text.get())
    }

    /// Whom it is about (`sub`).
    pub fn subject(&self) -> Option<Cow<'a, str>> {
        self.subject.map(|text| text.get())
    }

    /// Its name (`jti`).
    pub fn id(&self) -> Option<Cow<'a, str>> {
        self.id.map(|text| text.get())
    }

    /// The log-in it stems from (`sid`).
    pub fn family(&self) -> Option<Cow<'a, str>> {
        self.family.map(|text| text.get())
    }

    /// When it ends (`exp`): seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// When it was issued (`iat`): seconds since 1970.
    pub fn issued(&self) -> Option<u64> {
        self.issued
    }

    /// Another claim, if it is a string.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut found = None;
        json::object(self.text, MOST_MEMBERS, |member, value| {
            if let (true, Value::Text(text)) = (member == name, value) {
                found = Some(text.get());
            }
            Some(())
        });
        found
    }

    /// All claims: a JSON object.
    pub fn as_json(&self) -> &'a str {
        self.text
    }

    pub(super) fn read(payload: &'a [u8]) -> Result<Self, TokenError> {
        let malformed = TokenError::Malformed(Part::Claims);
        let text = std::str::from_utf8(payload).map_err(|_| malformed.clone())?;
        let mut claims = Self {
            text,
            issuer: None,
            subject: None,
            audience: None,
            id: None,
            family: None,
            expires: 0,
            issued: None,
            not_before: None,
        };
        let mut has_end = false;
        let mut bad = None;
        json::object(text, MOST_MEMBERS, |name, value| {
            let read = match name {
                "iss" => string("iss", value).map(|text| claims.issuer = Some(text)),
                "sub" => string("sub", value).map(|text| claims.subject = Some(text)),
                "jti" => string("jti", value).map(|text| claims.id = Some(text)),
                "sid" => string("sid", value).map(|text| claims.family = Some(text)),
                "exp" => moment("exp", value).map(|moment| {
                    has_end = true;
                    claims.expires = moment;
                }),
                "iat" => moment("iat", value).map(|moment| claims.issued = Some(moment)),
                "nbf" => moment("nbf", value).map(|moment| claims.not_before = Some(moment)),
                "aud" => {
                    claims.audience = Some(value);
                    Ok(())
                }
                _ => Ok(()),
            };
            if let Err(name) = read {
                bad.get_or_insert(name);
            }
            Some(())
        })
        .ok_or(malformed)?;
        if let Some(name) = bad {
            return Err(TokenError::BadClaim(name));
        }
        if !has_end {
            return Err(TokenError::MissingClaim("exp"));
        }
        Ok(claims)
    }

    /// Whether it is for one of these: `aud` is a string or an array of strings.
    pub(super) fn is_for(&self, audiences: &[String]) -> Result<bool, TokenError> {
        let is_ours = |text: &Text| audiences.iter().any(|audience| text.is(audience));
        match self.audience {
            None => Err(TokenError::MissingClaim("aud")),
            Some(Value::Text(text)) => Ok(is_ours(&text)),
            Some(Value::Array(array)) => {
                let (mut found, mut strange) = (false, false);
                json::elements(array, |element| match element {
                    Value::Text(text) => found |= is_ours(&text),
                    _ => strange = true,
                });
                if strange {
                    return Err(TokenError::BadClaim("aud"));
                }
                Ok(found)
            }
            Some(_) => Err(TokenError::BadClaim("aud")),
        }
    }
}

impl fmt::Debug for ClaimsRef<'_> {
    /// Whose and until when, and nothing else of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("sub", &self.subject())
            .field("exp", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Claims that were read, kept with their text.
pub(super) struct KeptClaims {
    text: Box<str>,
    /// `iss`, `sub`, `aud`, `jti`, `sid`.
    places: [Option<Place>; 5],
    expires: u64,
    issued: Option<u64>,
    not_before: Option<u64>,
}

impl KeptClaims {
    pub(super) fn of(claims: &ClaimsRef<'_>) -> Option<Self> {
        let values = [
            claims.issuer.map(Value::Text),
            claims.subject.map(Value::Text),
            claims.audience,
            claims.id.map(Value::Text),
            claims.family.map(Value::Text),
        ];
        let mut places = [None; 5];
        for (place, value) in places.iter_mut().zip(values) {
            if let Some(value) = value {
                *place = Some(value.place(claims.text)?);
            }
        }
        Some(Self {
            text: claims.text.into(),
            places,
            expires: claims.expires,
            issued: claims.issued,
            not_before: claims.not_before,
        })
    }

    pub(super) fn get(&self) -> ClaimsRef<'_> {
        let [issuer, subject, audience, id, family] = self.places;
        let text = |place: Option<Place>| place.and_then(|place| place.text(&self.text));
        ClaimsRef {
            text: &self.text,
            issuer: text(issuer),
            subject: text(subject),
            audience: audience.map(|place| place.value(&self.text)),
            id: text(id),
            family: text(family),
            expires: self.expires,
            issued: self.issued,
            not_before: self.not_before,
        }
    }
}

fn string<'a>(name: &'static str, value: Value<'a>) -> Result<Text<'a>, &'static str> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(name),
    }
}

/// Whole seconds; fractions are cut off.
fn moment(name: &'static str, value: Value<'_>) -> Result<u64, &'static str> {
    let Value::Number(number) = value else {
        return Err(name);
    };
    let digits = number.bytes().map(|byte| byte.wrapping_sub(b'0'));
    if number.len() <= 19 && digits.clone().all(|digit| digit <= 9) {
        let number = digits.fold(0, |number, digit| number * 10 + u64::from(digit));
        return (number <= MOST).then_some(number).ok_or(name);
    }
    let number: f64 = number.parse().map_err(|_| name)?;
    let is_moment = (0.0..=MOST as f64).contains(&number) && number.is_sign_positive();
    is_moment.then_some(number as u64).ok_or(name)
}

/// Beyond 2^53 not every second is a number.
const MOST: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_claims_say_what_they_said() {
        for payload in [
            r#"{"exp":5}"#,
            r#"{"iss":"me","sub":"a\u0064a","aud":"api","jti":"","sid":"f","exp":5,"iat":3,"nbf":4}"#,
            r#"{"aud":["web", "api"],"x":[{"y":"iss"}],"exp":5.5,"sub":"\"\\"}"#,
            r#"{"aud":7,"exp":5,"iss":"api"}"#,
        ] {
            let read = ClaimsRef::read(payload.as_bytes()).unwrap();
            let kept = KeptClaims::of(&read).unwrap();
            let again = kept.get();
            let texts = |claims: &ClaimsRef<'_>| {
                let texts = [
                    claims.issuer(),
                    claims.subject(),
                    claims.id(),
                    claims.family(),
                ];
                texts.map(|text| text.map(Cow::into_owned))
            };
            assert_eq!(texts(&again), texts(&read));
            let rest = |claims: &ClaimsRef<'_>| (claims.expires, claims.issued, claims.not_before);
            assert_eq!(rest(&again), rest(&read));
            assert_eq!(again.as_json(), payload);
            for audience in ["api", "web", "iss"] {
                let audience = [audience.to_owned()];
                assert_eq!(again.is_for(&audience), read.is_for(&audience));
            }
        }
    }
}
