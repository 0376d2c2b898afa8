//! What nodes tell each other, as bytes.
//!
//! ```text
//! 0   1  format, 1
//! 1   1  kind: 0 a key changed, 1 a tag was invalidated, 2 alive
//! 2   8  number of the sender          big endian, as all numbers
//! 10  8  number of the message; of the last one sent, if alive
//! 18 16  version
//! 34  4  length of what follows
//! 38     the key's or the tag's bytes
//! ```

use super::{NodeId, Version};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) from: NodeId,
    /// Numbers of a sender have no holes, so that a lost message is noticed.
    pub(super) number: u64,
    pub(super) version: Version,
    pub(super) news: News<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News<'a> {
    Key(&'a [u8]),
    /// The tag without a name is on every entry.
    Tag(&'a [u8]),
    /// Takes no number of its own.
    Alive,
}

const FORMAT: u8 = 1;
const HEAD: usize = 38;

impl<'a> Message<'a> {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (kind, name) = match self.news {
            News::Key(key) => (0, key),
            News::Tag(tag) => (1, tag),
            News::Alive => (2, &[][..]),
        };
        let mut bytes = Vec::with_capacity(HEAD + name.len());
        bytes.extend([FORMAT, kind]);
        bytes.extend(self.from.get().to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.version.to_bytes());
        // A key of four gigabytes has no business in a cache; cut, its message
        // is refused, which makes the others check what they hold.
        bytes.extend((name.len() as u32).to_be_bytes());
        bytes.extend(name);
        bytes
    }

    /// `None` if these bytes are no message.
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (head, name) = bytes.split_at_checked(HEAD)?;
        let (format, head) = head.split_first()?;
        let (kind, head) = head.split_first()?;
        let (from, head) = head.split_first_chunk::<8>()?;
        let (number, head) = head.split_first_chunk::<8>()?;
        let (version, length) = head.split_first_chunk::<16>()?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        if *format != FORMAT || usize::try_from(length) != Ok(name.len()) {
            return None;
        }
        let news = match (kind, name) {
            (0, key) => News::Key(key),
            (1, tag) => News::Tag(tag),
            (2, []) => News::Alive,
            _ => return None,
        };
        Some(Self {
            from: NodeId::new(u64::from_be_bytes(*from)),
            number: u64::from_be_bytes(*number),
            version: Version::from_bytes(*version),
            news,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(news: News<'_>) -> Message<'_> {
        Message {
            from: NodeId::new(1),
            number: 2,
            version: Version::new(3, NodeId::new(4)),
            news,
        }
    }

    #[test]
    fn the_bytes_are_those_written_down() {
        let bytes = message(News::Tag(b"ab")).to_bytes();
        let mut expected = vec![1, 1];
        for number in [1u64, 2, 3, 4] {
            expected.extend(number.to_be_bytes());
        }
        expected.extend([0, 0, 0, 2, b'a', b'b']);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_was_written_is_read() {
        for news in [News::Key(b"k"), News::Key(b""), News::Tag(b""), News::Alive] {
            let bytes = message(news).to_bytes();
            assert_eq!(Message::from_bytes(&bytes), Some(message(news)));
        }
    }

    #[test]
    fn a_cut_or_lengthened_message_is_refused() {
        let bytes = message(News::Key(b"key")).to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(Message::from_bytes(&bytes[..length]), None);
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Message::from_bytes(&longer), None);
    }

    proptest! {
        #[test]
        fn strange_bytes_are_refused_or_mean_themselves(bytes: Vec<u8>) {
            if let Some(message) = Message::from_bytes(&bytes) {
                prop_assert_eq!(message.to_bytes(), bytes);
            }
        }
    }
}
