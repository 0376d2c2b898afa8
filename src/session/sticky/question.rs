//! What nodes ask each other, as bytes.

use super::error::MessageError;
use super::message::Message;
use crate::session::reading::{count, take};
use crate::session::{SessionInfo, SessionKey, UserId};

/// What a node is asked to do, or to say.
#[derive(Debug)]
pub(super) enum Question {
    /// To take a message; the answer is a [`Receipt`](super::Receipt).
    Take(Message),
    /// Whether a session is there, or goes on there from its copy.
    Find(SessionKey),
    /// To end a session and its copy. Whether there was one.
    End(SessionKey),
    /// To end a user's sessions; see [`StickyStore::revoke_user`](super::StickyStore::revoke_user).
    EndAll {
        user: UserId,
        except: Option<SessionKey>,
        number: u64,
    },
    /// Which sessions of a user are there.
    List(UserId),
}

/// How many sessions of a user a node has ended, and the number of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ended {
    pub(super) number: u64,
    pub(super) sessions: u64,
}

impl Question {
    /// A byte that says which, and what belongs to it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Take(message) => [&[TAKE], &*message.to_bytes()].concat(),
            Self::Find(key) => [&[FIND][..], &key.to_bytes()].concat(),
            Self::End(key) => [&[END][..], &key.to_bytes()].concat(),
            Self::EndAll {
                user,
                except,
                number,
            } => {
                let mut bytes = vec![END_ALL];
                bytes.extend_from_slice(&number.to_le_bytes());
                bytes.push(u8::from(except.is_some()));
                bytes.extend(except.iter().flat_map(|key| key.to_bytes()));
                bytes.extend_from_slice(user.as_str().as_bytes());
                bytes
            }
            Self::List(user) => [&[LIST], user.as_str().as_bytes()].concat(),
        }
    }

    pub(super) fn from_bytes(mut bytes: &[u8]) -> Result<Self, MessageError> {
        let bytes = &mut bytes;
        let [kind] = take(bytes).ok_or(malformed("a kind of question"))?;
        let question = match kind {
            TAKE => return Message::from_bytes(bytes).map(Self::Take),
            FIND => Self::Find(key(bytes)?),
            END => Self::End(key(bytes)?),
            END_ALL => {
                let number = count(bytes).ok_or(malformed("a number"))?;
                let except = match take(bytes) {
                    Some([0]) => None,
                    Some([1]) => Some(key(bytes)?),
                    _ => return Err(malformed("0 or 1")),
                };
                let user = user(bytes)?;
                Self::EndAll {
                    user,
                    except,
                    number,
                }
            }
            LIST => Self::List(user(bytes)?),
            _ => return Err(malformed("a kind of question")),
        };
        if bytes.is_empty() {
            Ok(question)
        } else {
            Err(malformed("nothing after the question"))
        }
    }
}

impl Ended {
    /// Of two nodes.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            number: self.number.max(other.number),
            sessions: self.sessions.saturating_add(other.sessions),
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        [self.number.to_le_bytes(), self.sessions.to_le_bytes()].concat()
    }

    pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let number = count(bytes)?;
        let sessions = u64::from_le_bytes(take(bytes)?);
        bytes.is_empty().then_some(Self { number, sessions })
    }
}

/// One byte, to a question that is answered with yes or no.
pub(super) fn yes_or_no(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

/// Sessions for a list: key, three moments, and data behind its length.
pub(super) fn write_list(list: &[SessionInfo]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for info in list {
        bytes.extend_from_slice(&info.key.to_bytes());
        for moment in [info.created, info.seen, info.ends] {
            bytes.extend_from_slice(&moment.to_le_bytes());
        }
        bytes.extend_from_slice(&(info.data.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&info.data);
    }
    bytes
}

pub(super) fn read_list(mut bytes: &[u8]) -> Option<Vec<SessionInfo>> {
    let mut list = Vec::new();
    let bytes = &mut bytes;
    while !bytes.is_empty() {
        let key = SessionKey::from_bytes(take(bytes)?);
        let [created, seen, ends] = [take(bytes)?, take(bytes)?, take(bytes)?];
        let [created, seen, ends] = [created, seen, ends].map(u64::from_le_bytes);
        let len = u32::from_le_bytes(take(bytes)?) as usize;
        let (data, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        list.push(SessionInfo::new(key, created, ends, data).seen(seen));
    }
    Some(list)
}

fn key(bytes: &mut &[u8]) -> Result<SessionKey, MessageError> {
    let key = take(bytes).ok_or(malformed("a key"))?;
    Ok(SessionKey::from_bytes(key))
}

/// The rest of the bytes.
fn user(bytes: &mut &[u8]) -> Result<UserId, MessageError> {
    let user = std::str::from_utf8(std::mem::take(bytes)).map_err(|_| malformed("a user"))?;
    Ok(user.into())
}

const fn malformed(expected: &'static str) -> MessageError {
    MessageError::Malformed { expected }
}

const TAKE: u8 = 0;
const FIND: u8 = 1;
const END: u8 = 2;
const END_ALL: u8 = 3;
const LIST: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::session::Frame;
    use crate::session::reading::MAX_COUNT;
    use crate::session::snapshot;

    #[test]
    fn questions_and_answers_are_read_as_they_were_written() {
        let key = SessionKey::from_bytes([7; 16]);
        let all = |except| Question::EndAll {
            user: "ada".into(),
            except,
            number: 5,
        };
        for (question, least) in [
            (Question::Find(key), 17),
            (Question::End(key), 17),
            (all(None), 10),
            (all(Some(key)), 26),
            (Question::List("ada".into()), 1),
        ] {
            let bytes = question.to_bytes();
            let again = Question::from_bytes(&bytes).unwrap();
            assert_eq!(format!("{again:?}"), format!("{question:?}"));
            for len in 0..least {
                assert!(Question::from_bytes(&bytes[..len]).is_err(), "{len}");
            }
        }
        for wrong in [&[][..], &[9], &[3, 0, 0, 0, 0, 0, 0, 0, 0, 2], &[4, 0xff]] {
            assert!(Question::from_bytes(wrong).is_err(), "{wrong:?}");
        }
        let mut long = Question::Find(key).to_bytes();
        long.push(0);
        assert!(Question::from_bytes(&long).is_err());

        let ended = Ended {
            number: 3,
            sessions: 2,
        };
        assert_eq!(Ended::from_bytes(&ended.to_bytes()), Some(ended));
        assert_eq!(Ended::from_bytes(&[0; 15]), None);
        let most = Ended {
            number: MAX_COUNT,
            sessions: u64::MAX,
        };
        assert_eq!(ended.and(most), most);
        let list = vec![SessionInfo::new(key, 1, 9, *b"phone").seen(4); 2];
        let bytes = write_list(&list);
        assert_eq!(read_list(&bytes), Some(list));
        assert_eq!(read_list(&bytes[..bytes.len() - 1]), None);
    }

    /// The next revocation here gets a higher number than any that was heard of: one of 0 would end nothing.
    #[test]
    fn a_number_that_leaves_no_higher_one_is_not_believed() {
        for (number, is_read) in [(MAX_COUNT, true), (MAX_COUNT + 1, false), (u64::MAX, false)] {
            let ended = Ended {
                number,
                sessions: 1,
            };
            assert_eq!(Ended::from_bytes(&ended.to_bytes()).is_some(), is_read);
            let question = Question::EndAll {
                user: "ada".into(),
                except: None,
                number,
            };
            let again = Question::from_bytes(&question.to_bytes());
            assert_eq!(again.is_ok(), is_read);
            for at in [17, 25] {
                let mut head = [0; 45];
                head[0] = snapshot::SESSION;
                head[41..].copy_from_slice(&snapshot::NOBODY.to_le_bytes());
                head[at..at + 8].copy_from_slice(&number.to_le_bytes());
                let mut frame = Vec::new();
                snapshot::append(&mut frame, 45, &[&head]);
                assert_eq!(Frame::read(&mut &frame[..]).is_ok(), is_read);
            }
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..20_000 {
            let len = rng.below(70) as usize;
            let mut bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            if let Some(kind) = bytes.first_mut() {
                *kind %= LIST + 2;
            }
            if let Ok(question) = Question::from_bytes(&bytes) {
                assert_eq!(question.to_bytes(), bytes);
            }
            let list = read_list(&bytes);
            assert!(list.is_none_or(|list| write_list(&list) == bytes));
            let ended = Ended::from_bytes(&bytes);
            assert!(ended.is_none_or(|ended| ended.to_bytes() == bytes));
        }
    }
}
