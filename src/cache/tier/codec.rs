use std::sync::Arc;

/// Turns keys and values into bytes and back.
///
/// Keys must come back as they were: a node that is told of a change gets bytes.
/// What `decode` does not understand is answered with `None` and counts as a
/// miss; a panic in it, too. A panic in an encoding reaches the caller, and
/// nothing has changed then.
pub trait Codec<K, V>: Send + Sync + 'static {
    /// The bytes of a key; different keys have different ones.
    fn encode_key(&self, key: &K) -> Vec<u8>;

    /// The key of these bytes.
    fn decode_key(&self, bytes: &[u8]) -> Option<K>;

    /// The bytes of a value.
    fn encode(&self, value: &V) -> Vec<u8>;

    /// The value of these bytes.
    fn decode(&self, bytes: &[u8]) -> Option<V>;
}

/// The codec of keys and values that are bytes already, or nearly: see [`Plain`].
///
/// ```
/// use tenfold::cache::tier::{Codec, PlainCodec};
///
/// let bytes = Codec::<u32, String>::encode(&PlainCodec, &"text".to_owned());
/// assert_eq!(bytes, b"text");
/// assert_eq!(Codec::<u32, String>::decode_key(&PlainCodec, &[0, 0, 1, 0]), Some(256));
/// assert_eq!(Codec::<u32, String>::decode(&PlainCodec, &[0xff]), None);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainCodec;

impl PlainCodec {
    /// Plain keys, and values encoded by a pair of closures.
    ///
    /// ```
    /// use tenfold::cache::tier::{Codec, PlainCodec};
    ///
    /// let codec = PlainCodec::with_values(
    ///     |point: &(u8, u8)| vec![point.0, point.1],
    ///     |bytes| <[u8; 2]>::try_from(bytes).ok().map(|[x, y]| (x, y)),
    /// );
    /// assert_eq!(Codec::<String, _>::decode(&codec, &[3, 4]), Some((3, 4)));
    /// ```
    pub const fn with_values<V, E, D>(encode: E, decode: D) -> ValueCodec<E, D>
    where
        E: Fn(&V) -> Vec<u8>,
        D: Fn(&[u8]) -> Option<V>,
    {
        ValueCodec { encode, decode }
    }
}

impl<K: Plain, V: Plain> Codec<K, V> for PlainCodec {
    fn encode_key(&self, key: &K) -> Vec<u8> {
        key.to_bytes()
    }

    fn decode_key(&self, bytes: &[u8]) -> Option<K> {
        K::from_bytes(bytes)
    }

    fn encode(&self, value: &V) -> Vec<u8> {
        value.to_bytes()
    }

    fn decode(&self, bytes: &[u8]) -> Option<V> {
        V::from_bytes(bytes)
    }
}

/// A codec of plain keys and a pair of closures; made by
/// [`PlainCodec::with_values`].
#[derive(Debug, Clone)]
pub struct ValueCodec<E, D> {
    encode: E,
    decode: D,
}

impl<K, V, E, D> Codec<K, V> for ValueCodec<E, D>
where
    K: Plain,
    E: Fn(&V) -> Vec<u8> + Send + Sync + 'static,
    D: Fn(&[u8]) -> Option<V> + Send + Sync + 'static,
{
    fn encode_key(&self, key: &K) -> Vec<u8> {
        key.to_bytes()
    }

    fn decode_key(&self, bytes: &[u8]) -> Option<K> {
        K::from_bytes(bytes)
    }

    fn encode(&self, value: &V) -> Vec<u8> {
        (self.encode)(value)
    }

    fn decode(&self, bytes: &[u8]) -> Option<V> {
        (self.decode)(bytes)
    }
}

/// What is bytes, or has a usual form as bytes: texts are UTF-8, numbers big
/// endian and of fixed length.
pub trait Plain: Sized {
    /// Its bytes.
    fn to_bytes(&self) -> Vec<u8>;

    /// What these bytes mean; `None` if they mean nothing.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

macro_rules! plain_bytes {
    ($($bytes:ty),*) => {$(
        impl Plain for $bytes {
            fn to_bytes(&self) -> Vec<u8> {
                self[..].into()
            }

            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Some(bytes.into())
            }
        }
    )*};
}

plain_bytes!(Vec<u8>, Box<[u8]>, Arc<[u8]>);

macro_rules! plain_text {
    ($($text:ty),*) => {$(
        impl Plain for $text {
            fn to_bytes(&self) -> Vec<u8> {
                self.as_bytes().into()
            }

            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                std::str::from_utf8(bytes).ok().map(Into::into)
            }
        }
    )*};
}

plain_text!(String, Box<str>, Arc<str>);

macro_rules! plain_number {
    ($($number:ty),*) => {$(
        impl Plain for $number {
            fn to_bytes(&self) -> Vec<u8> {
                self.to_be_bytes().into()
            }

            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_be_bytes)
            }
        }
    )*};
}

plain_number!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);
