use std::collections::BTreeMap;

use super::cookie::NodeNumber;
use super::error::MessageError;
use crate::session::Frame;
use crate::session::reading::take;

/// What one node tells another about sessions. Opaque; to be carried as bytes over
/// connections on which both know each other.
#[derive(Debug, Clone)]
pub struct Message {
    pub(super) from: NodeNumber,
    pub(super) incarnation: u32,
    /// Sessions that are over.
    pub(super) ended: Vec<u128>,
    /// Copies that are not needed any more.
    pub(super) forgotten: Vec<u128>,
    /// Sessions that were used at a second.
    pub(super) touched: Vec<(u128, u32)>,
    /// Copies to keep.
    pub(super) kept: Vec<Frame>,
    /// Sessions that go on at the receiver.
    pub(super) taken: Vec<Frame>,
}

/// A message and where it has to go.
#[derive(Debug, Clone)]
pub struct Order {
    pub(super) to: NodeNumber,
    pub(super) message: Message,
}

/// What the receiver of a message answers its sender, who gives it to
/// [`Change::confirm`](super::Change::confirm) or [`StickyStore::settle`](super::StickyStore::settle).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The sender counts as dead.
    pub(super) is_fenced: bool,
    /// Sessions for which there was no room.
    pub(super) no_room: u32,
    /// Sessions that the receiver has taken over.
    pub(super) superseded: Vec<u128>,
}

impl Order {
    /// Where to.
    pub fn to(&self) -> NodeNumber {
        self.to
    }

    /// What.
    pub fn message(&self) -> &Message {
        &self.message
    }
}

impl Message {
    pub(super) fn of(from: NodeNumber, incarnation: u32) -> Self {
        Self {
            from,
            incarnation,
            ended: Vec::new(),
            forgotten: Vec::new(),
            touched: Vec::new(),
            kept: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Whose message it is.
    pub fn from(&self) -> NodeNumber {
        self.from
    }

    fn len(&self) -> usize {
        self.ended.len()
            + self.forgotten.len()
            + self.touched.len()
            + self.kept.len()
            + self.taken.len()
    }

    /// Its bytes: who, five counts, keys, and the frames of sessions with their checksums.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.from.get().to_le_bytes());
        bytes.extend_from_slice(&self.incarnation.to_le_bytes());
        let counts = [
            self.ended.len(),
            self.forgotten.len(),
            self.touched.len(),
            self.kept.len(),
            self.taken.len(),
        ];
        for count in counts {
            bytes.extend_from_slice(&(count as u32).to_le_bytes());
        }
        for key in self.ended.iter().chain(&self.forgotten) {
            bytes.extend_from_slice(&key.to_le_bytes());
        }
        for (key, seen) in &self.touched {
            bytes.extend_from_slice(&key.to_le_bytes());
            bytes.extend_from_slice(&seen.to_le_bytes());
        }
        for frame in self.kept.iter().chain(&self.taken) {
            frame.write(&mut bytes);
        }
        bytes
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`MessageError`]: these bytes are none.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, MessageError> {
        let bytes = &mut bytes;
        let short = |expected| MessageError::Malformed { expected };
        let from = take(bytes).map(u16::from_le_bytes).ok_or(short("a node"))?;
        let incarnation = take(bytes).map(u32::from_le_bytes);
        let incarnation = incarnation.ok_or(short("an incarnation"))?;
        let mut counts = [0; 5];
        for count in &mut counts {
            *count = take(bytes).map(u32::from_le_bytes).ok_or(short("counts"))?;
        }
        let [ended, forgotten, touched, kept, taken] = counts;
        let mut key = || take(bytes).map(u128::from_le_bytes).ok_or(short("a key"));
        let mut message = Self::of(NodeNumber::new(from), incarnation);
        // No room is made for what is only announced.
        for _ in 0..ended {
            message.ended.push(key()?);
        }
        for _ in 0..forgotten {
            message.forgotten.push(key()?);
        }
        for _ in 0..touched {
            let key = take(bytes).map(u128::from_le_bytes).ok_or(short("a key"))?;
            let seen = take(bytes).map(u32::from_le_bytes);
            message.touched.push((key, seen.ok_or(short("a second"))?));
        }
        for _ in 0..kept {
            message.kept.push(Frame::read(bytes)?);
        }
        for _ in 0..taken {
            message.taken.push(Frame::read(bytes)?);
        }
        if !bytes.is_empty() {
            return Err(short("nothing after the last session"));
        }
        Ok(message)
    }
}

impl Receipt {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.is_fenced)];
        bytes.extend_from_slice(&self.no_room.to_le_bytes());
        for key in &self.superseded {
            bytes.extend_from_slice(&key.to_le_bytes());
        }
        bytes
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// [`MessageError::Malformed`]: these bytes are none.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, MessageError> {
        let bytes = &mut bytes;
        let short = |expected| MessageError::Malformed { expected };
        let is_fenced = match take(bytes) {
            Some([0]) => false,
            Some([1]) => true,
            _ => return Err(short("0 or 1")),
        };
        let no_room = take(bytes).map(u32::from_le_bytes);
        let no_room = no_room.ok_or(short("a count"))?;
        let (keys, rest) = bytes.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(short("whole keys"));
        }
        let superseded = keys.iter().map(|key| u128::from_le_bytes(*key)).collect();
        Ok(Self {
            is_fenced,
            no_room,
            superseded,
        })
    }
}

/// Orders in the making: what goes to the same node goes together, up to a limit.
#[derive(Debug)]
pub(super) struct Batches {
    blank: Message,
    open: BTreeMap<NodeNumber, Message>,
    full: Vec<Order>,
}

impl Batches {
    pub(super) fn of(from: NodeNumber, incarnation: u32) -> Self {
        Self {
            blank: Message::of(from, incarnation),
            open: BTreeMap::new(),
            full: Vec::new(),
        }
    }

    pub(super) fn to(&mut self, to: NodeNumber, add: impl FnOnce(&mut Message)) {
        let message = self.open.entry(to).or_insert_with(|| self.blank.clone());
        add(message);
        if message.len() >= BATCH {
            let message = std::mem::replace(message, self.blank.clone());
            self.full.push(Order { to, message });
        }
    }

    pub(super) fn into_orders(self) -> Vec<Order> {
        let mut orders = self.full;
        let open = self.open.into_iter().filter(|(_, m)| m.len() > 0);
        orders.extend(open.map(|(to, message)| Order { to, message }));
        orders
    }
}

/// Sessions per message.
const BATCH: usize = 256;
