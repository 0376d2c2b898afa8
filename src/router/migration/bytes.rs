//! Reading and writing of records and messages.

use std::sync::Arc;

use super::error::RecordError;
use crate::hash::xxh3_64;
use crate::router::bytes::Writer;

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(malformed("more bytes"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(malformed("more bytes"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, RecordError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<Arc<str>, RecordError> {
        let text = std::str::from_utf8(self.bytes()?);
        text.map(Into::into).map_err(|_| malformed("text in UTF-8"))
    }

    pub(super) fn end(&self) -> Result<(), RecordError> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(malformed("nothing after the end"))
    }
}

pub(super) fn write_bytes(writer: &mut Writer, bytes: &[u8]) {
    writer.u32(bytes.len() as u32);
    writer.bytes.extend_from_slice(bytes);
}

/// Bytes that others send: magic, format version, content, checksum.
pub(super) fn seal(magic: [u8; 8], content: &Writer) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.bytes.extend_from_slice(&magic);
    writer.u16(VERSION);
    writer.bytes.extend_from_slice(&content.bytes);
    let checksum = xxh3_64(&writer.bytes, 0);
    writer.u64(checksum);
    writer.bytes
}

pub(super) fn unseal<'a>(
    magic: [u8; 8],
    what: &'static str,
    bytes: &'a [u8],
) -> Result<Reader<'a>, RecordError> {
    let wrong = RecordError::Magic { expected: what };
    let rest = bytes.strip_prefix(&magic).ok_or(wrong)?;
    check_version(Reader(rest).u16()?)?;
    let (content, checksum) = bytes
        .split_last_chunk::<8>()
        .ok_or(malformed("more bytes"))?;
    let (expected, found) = (u64::from_le_bytes(*checksum), xxh3_64(content, 0));
    if expected != found {
        return Err(RecordError::Checksum { expected, found });
    }
    let content = content.get(magic.len() + 2..);
    content.map(Reader).ok_or(malformed("more bytes"))
}

pub(super) fn check_version(found: u16) -> Result<(), RecordError> {
    if found > VERSION {
        let supported = VERSION;
        return Err(RecordError::FutureVersion { found, supported });
    }
    Ok(())
}

pub(super) const fn malformed(expected: &'static str) -> RecordError {
    RecordError::Malformed { expected }
}

/// The newest format that this version of the crate reads, and the one it writes.
pub(super) const VERSION: u16 = 1;
