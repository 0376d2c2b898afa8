//! The bytes of a segment: its header and its records.
//!
//! `docs/queue-format.md` draws them. All numbers are little-endian.

use crc32c::crc32c;

/// Where records begin; the header has the page before, and a copy of it the last.
pub(crate) const PAGE: u64 = 4096;
pub(crate) const RECORD_HEADER: usize = 24;

const MAGIC: &[u8; 8] = b"TFQ\0SEG1";
const HEADER: usize = 512;

/// What stands at both ends of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) uuid: u128,
    pub(crate) number: u64,
    /// Drawn anew for each use of a file, so that what it held before does not
    /// pass for a record.
    pub(crate) salt: u64,
    /// The place in the whole log of this file's first byte.
    pub(crate) base: u64,
    /// The first message that may lie here.
    pub(crate) first_id: u64,
    pub(crate) size: u64,
    /// The segment before, and the place where it ends: what it has behind that was
    /// given up, or lies here. Zero if there is none.
    pub(crate) previous: u64,
    pub(crate) previous_end: u64,
    /// Features that one must know who writes here, and that are not known. It is whole
    /// and can be read; nobody writes such a header.
    pub(crate) only_read: u32,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Damaged,
    /// It is whole, and says that older programs cannot read it.
    Unknown {
        features: u32,
    },
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        // Three words of features: none so far.
        bytes[24..40].copy_from_slice(&self.uuid.to_le_bytes());
        let words = [
            self.number,
            self.salt,
            self.base,
            self.first_id,
            self.size,
            self.previous,
            self.previous_end,
        ];
        for (place, word) in bytes[40..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes = bytes.get(..HEADER).ok_or(BadHeader::Damaged)?;
        if &bytes[..8] != MAGIC || crc32c(&bytes[..HEADER - 4]) != u32_at(bytes, HEADER - 4) {
            return Err(BadHeader::Damaged);
        }
        let features = u32_at(bytes, 8);
        if features != 0 {
            return Err(BadHeader::Unknown { features });
        }
        let word = |index: usize| u64_at(bytes, 40 + 8 * index);
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[24..40]);
        let header = Self {
            uuid: u128::from_le_bytes(uuid),
            number: word(0),
            salt: word(1),
            base: word(2),
            first_id: word(3),
            size: word(4),
            previous: word(5),
            previous_end: word(6),
            only_read: u32_at(bytes, 12),
        };
        // What no program of ours writes is damage, whatever the checksum says.
        if header.is_sane() {
            Ok(header)
        } else {
            Err(BadHeader::Damaged)
        }
    }

    /// Whether this place of the log is in it.
    pub(crate) fn has(&self, place: u64) -> bool {
        (self.base..self.base + self.size).contains(&place)
    }

    /// Whether all numbers are of a size that they can have.
    pub(crate) fn is_sane(&self) -> bool {
        self.size >= 2 * PAGE
            && self.size < 1 << 40
            && self.base < 1 << 62
            && self.first_id < 1 << 61
            && self.previous_end <= self.base
    }

    /// Where records must end: the last page is the header's copy.
    pub(crate) fn limit(&self) -> u64 {
        self.size - PAGE
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A message.
    Publish = 1,
    /// Messages that are done in a group.
    Ack = 2,
    /// A message that was given back or handed out, with its attempts and when it is due.
    Nack = 3,
    /// A message that nobody shall get any more, with a reason.
    Dead = 4,
    /// A group that begins, or begins anew, somewhere.
    Group = 5,
    /// How far the log was durable when this was written.
    Sync = 6,
    /// Dead messages that shall be delivered again.
    Redrive = 7,
    /// Says that numbers before this record's, if they are missing, were never
    /// confirmed to anybody.
    Skip = 8,
    /// A message that was written again, so that its segment can be given up.
    Move = 9,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Publish,
            2 => Self::Ack,
            3 => Self::Nack,
            4 => Self::Dead,
            5 => Self::Group,
            6 => Self::Sync,
            7 => Self::Redrive,
            8 => Self::Skip,
            9 => Self::Move,
            _ => return None,
        })
    }
}

pub(crate) const BEGIN: u8 = 1;
pub(crate) const END: u8 = 2;

/// The 24 bytes before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    /// Bytes of the payload, its extensions included.
    pub(crate) len: u32,
    pub(crate) kind: Kind,
    /// `BEGIN` and `END` of a batch; the priority from bit 2 on.
    pub(crate) flags: u8,
    /// Bytes of the payload that are extensions.
    pub(crate) ext: u16,
    pub(crate) payload_crc: u32,
    /// A message's number; of all else, the number that the next message gets. So
    /// a gap in these says which messages are missing.
    pub(crate) id: u64,
}

impl RecordHeader {
    pub(crate) fn new(kind: Kind, flags: u8, ext: u16, payload: &[u8]) -> Self {
        Self {
            len: payload.len() as u32,
            kind,
            flags,
            ext,
            payload_crc: crc32c(payload),
            id: 0,
        }
    }

    /// The header without its checksum, which depends on where it will lie.
    pub(crate) fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8] = self.kind as u8;
        bytes[9] = self.flags;
        bytes[10..12].copy_from_slice(&self.ext.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.to_le_bytes());
        bytes
    }

    /// Reads a header that is known to be whole: one of this process.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER)?;
        Some(Self {
            len: u32_at(bytes, 4),
            kind: Kind::from_byte(bytes[8])?,
            flags: bytes[9],
            ext: u16::from_le_bytes([bytes[10], bytes[11]]),
            payload_crc: u32_at(bytes, 12),
            id: u64_at(bytes, 16),
        })
    }

    /// Reads a header that may be anything. `room` is how many bytes there are up to
    /// the end of the segment.
    pub(crate) fn verify(bytes: &[u8], salt: u64, offset: u64, room: u64) -> Option<Self> {
        let header = Self::decode(bytes)?;
        // First what is cheap, so that a search through garbage is quick.
        let sane =
            header.size() <= room && u32::from(header.ext) <= header.len && header.id < 1 << 62;
        (sane && u32_at(bytes, 0) == checksum(bytes, salt, offset)).then_some(header)
    }

    /// Bytes in the segment, with what fills up to the next multiple of eight.
    pub(crate) fn size(&self) -> u64 {
        record_size(self.len as usize)
    }

    pub(crate) fn priority(&self) -> u8 {
        self.flags >> 2 & 7
    }
}

pub(crate) fn record_size(payload: usize) -> u64 {
    (RECORD_HEADER as u64 + payload as u64).next_multiple_of(8)
}

/// Writes the checksum into a header that will lie at this offset.
pub(crate) fn seal(bytes: &mut [u8], salt: u64, offset: u64) {
    let crc = checksum(bytes, salt, offset);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(bytes: &[u8], salt: u64, offset: u64) -> u32 {
    // In one piece: most of what it costs is by the call.
    let mut covered = [0; 8 + RECORD_HEADER - 4];
    covered[..8].copy_from_slice(&salt.wrapping_add(offset).to_le_bytes());
    covered[8..].copy_from_slice(&bytes[4..RECORD_HEADER]);
    crc32c(&covered)
}

/// What a `Sync` record says, in one word: it stands before most groups, and many groups
/// are one small message. From the lowest bit on 42 bits of time, then 22 of how far
/// behind the record the durable end was, in units of eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyncPoint {
    /// All before this place was durable; zero if that is not said.
    pub(crate) durable: u64,
    /// Milliseconds since 1970, for the messages that follow.
    pub(crate) time: u64,
}

impl SyncPoint {
    pub(crate) const SIZE: u64 = RECORD_HEADER as u64 + 8;
    const TIME: u64 = (1 << 42) - 1;
    /// It was farther away than that, or not known.
    const FAR: u64 = (1 << 22) - 1;

    /// The payload of a record at this place of the log.
    pub(crate) fn encode(self, place: u64) -> [u8; 8] {
        let behind = match self.durable {
            0 => Self::FAR,
            durable => (place.saturating_sub(durable) / 8).min(Self::FAR),
        };
        (behind << 42 | self.time.min(Self::TIME)).to_le_bytes()
    }

    /// What the record at this place says.
    pub(crate) fn decode(bytes: &[u8], place: u64) -> Option<Self> {
        let time = Self::time(bytes)?;
        let behind = u64_at(bytes, 0) >> 42;
        let durable = match behind {
            Self::FAR => 0,
            behind => place.saturating_sub(8 * behind),
        };
        Some(Self { durable, time })
    }

    /// The time only.
    pub(crate) fn time(bytes: &[u8]) -> Option<u64> {
        (bytes.len() == 8).then(|| u64_at(bytes, 0) & Self::TIME)
    }
}

/// What a `Move` record says first, as an extension of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The message's number.
    pub(crate) id: u64,
    /// When it was published, in milliseconds since 1970.
    pub(crate) time: u64,
}

impl Origin {
    pub(crate) const SIZE: usize = 18;
    const TAG: u8 = 4;

    pub(crate) fn encode(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..2].copy_from_slice(&[Self::TAG, 16]);
        bytes[2..10].copy_from_slice(&self.id.to_le_bytes());
        bytes[10..].copy_from_slice(&self.time.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let bytes = payload.get(..Self::SIZE)?;
        (bytes[..2] == [Self::TAG, 16]).then(|| Self {
            id: u64_at(bytes, 2),
            time: u64_at(bytes, 10),
        })
    }
}

/// Whether these are the bytes that the header speaks of.
pub(crate) fn is_payload_of(header: &RecordHeader, payload: &[u8]) -> bool {
    crc32c(payload) == header.payload_crc
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
