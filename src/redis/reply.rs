//! Answers of the server, taken apart. Anything else than what was asked for is an error.

use redis::Value;

use crate::session::{Unavailable, Version};

/// What a function says became of a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Ok(Version),
    /// It was taken away, at this version and with this data.
    Taken(Version, Vec<u8>),
    Gone,
    Conflict(Version),
    /// Another session lies where it was to come.
    Occupied,
    /// The user has all the sessions one may have.
    Full,
}

impl Reply {
    pub(super) fn parse(value: Value) -> Result<Self, Unavailable> {
        let Value::Array(parts) = value else {
            return Err(unexpected());
        };
        let parts: Vec<_> = parts
            .into_iter()
            .map(self::value)
            .collect::<Result<_, _>>()?;
        let word_and_rest = parts.split_first();
        let (Some(word), rest) = word_and_rest.ok_or_else(unexpected)? else {
            return Err(unexpected());
        };
        match (&word[..], rest) {
            (b"ok", [Some(version), Some(data)]) => {
                Ok(Self::Taken(self::version(version)?, data.clone()))
            }
            (b"ok", [Some(version)]) => Ok(Self::Ok(self::version(version)?)),
            (b"conflict", [Some(version)]) => Ok(Self::Conflict(self::version(version)?)),
            (b"gone", []) => Ok(Self::Gone),
            (b"occupied", []) => Ok(Self::Occupied),
            (b"full", []) => Ok(Self::Full),
            _ => Err(unexpected()),
        }
    }
}

/// Bytes, or nothing.
pub(super) fn value(value: Value) -> Result<Option<Vec<u8>>, Unavailable> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        _ => Err(unexpected()),
    }
}

pub(super) fn number(value: &Value) -> Result<i64, Unavailable> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(unexpected()),
    }
}

/// A name and what it stands for.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// An even number of byte strings, two by two.
pub(super) fn pairs(value: Value) -> Result<Vec<Pair>, Unavailable> {
    let Value::Array(parts) = value else {
        return Err(unexpected());
    };
    let mut pairs = Vec::with_capacity(parts.len() / 2);
    let mut parts = parts.into_iter();
    while let Some(one) = parts.next() {
        let two = parts.next().ok_or_else(unexpected)?;
        match (self::value(one)?, self::value(two)?) {
            (Some(one), Some(two)) => pairs.push((one, two)),
            _ => return Err(unexpected()),
        }
    }
    Ok(pairs)
}

pub(super) fn unexpected() -> Unavailable {
    Unavailable::Malformed {
        expected: "an answer of a function for sessions",
    }
}

fn version(bytes: &[u8]) -> Result<Version, Unavailable> {
    match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) => Ok(Version::from_u64(u64::from_le_bytes(bytes))),
        Err(_) => Err(unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    #[test]
    fn an_answer_is_what_a_function_says_or_an_error() {
        let parse = |parts: &[Value]| Reply::parse(Value::Array(parts.to_vec()));
        let five = bulk(&5_u64.to_le_bytes());
        let version = Version::from_u64(5);
        assert_eq!(parse(&[bulk(b"ok"), five.clone()]), Ok(Reply::Ok(version)));
        let taken = parse(&[bulk(b"ok"), five.clone(), bulk(b"data")]);
        assert_eq!(taken, Ok(Reply::Taken(version, b"data".to_vec())));
        let conflict = parse(&[bulk(b"conflict"), five.clone()]);
        assert_eq!(conflict, Ok(Reply::Conflict(version)));
        assert_eq!(parse(&[bulk(b"gone")]), Ok(Reply::Gone));
        for wrong in [
            &[][..],
            &[Value::Nil],
            &[bulk(b"ok")],
            &[bulk(b"ok"), bulk(b"5")],
            &[bulk(b"ok"), Value::Int(5)],
            &[bulk(b"gone"), five.clone()],
            &[bulk(b"GONE")],
        ] {
            assert_eq!(parse(wrong), Err(unexpected()), "{wrong:?}");
        }
        for wrong in [Value::Nil, Value::Okay, Value::Int(1), bulk(b"ok")] {
            assert_eq!(Reply::parse(wrong), Err(unexpected()));
        }
    }

    #[test]
    fn a_list_has_a_value_for_every_name() {
        let list = |parts: &[Value]| pairs(Value::Array(parts.to_vec()));
        let pair = (b"a".to_vec(), b"b".to_vec());
        assert_eq!(list(&[bulk(b"a"), bulk(b"b")]), Ok(vec![pair]));
        assert_eq!(list(&[]), Ok(vec![]));
        assert!(list(&[bulk(b"a")]).is_err());
        assert!(list(&[bulk(b"a"), Value::Nil]).is_err());
        assert!(pairs(Value::Nil).is_err());
    }
}
