use std::borrow::Cow;
use std::fmt;

use super::error::{Part, TokenError};
use super::json::{self, MOST_MEMBERS, Text, Value};

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
    if number.len() <= 15 && digits.clone().all(|digit| digit <= 9) {
        return Ok(digits.fold(0, |number, digit| number * 10 + u64::from(digit)));
    }
    let number: f64 = number.parse().map_err(|_| name)?;
    let is_moment = (0.0..=MOST).contains(&number) && number.is_sign_positive();
    is_moment.then_some(number as u64).ok_or(name)
}

/// Beyond 2^53 not every second is a number.
const MOST: f64 = 9_007_199_254_740_992.0;
