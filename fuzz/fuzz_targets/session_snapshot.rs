//! Any bytes as a snapshot, as frames with right checksums, and as a log of
//! revocations: read without a panic, and what is read is written and read again alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenfold::session::{MemoryStore, Restored, Revocations, SessionMap, SessionToken, WallClock};
use tenfold::time::ManualClock;

fuzz_target!(|input: &[u8]| {
    let _ = restore(input, None);
    if let Ok(text) = std::str::from_utf8(input)
        && let Some(token) = SessionToken::parse(text)
    {
        assert_eq!(token.reveal(), text);
    }
    if let Some(map) = SessionMap::from_bytes(input) {
        assert!(input.is_empty() || map.to_bytes() == input);
    }
    let mut log = Revocations::new();
    log.read(input).expect("bytes in memory can be read");
    // Most of the reader lies behind the checksums: each byte before a frame is its length.
    let mut snapshot = b"10fold\x00S\x01\x00".to_vec();
    let mut counts = [0_u64; 2];
    frame(&mut snapshot, &[&[0; 17]]);
    let mut rest = input;
    while let Some((&len, after)) = rest.split_first() {
        let (content, after) = after.split_at(after.len().min(usize::from(len)));
        for kind in 1..=2 {
            counts[usize::from(kind) - 1] += u64::from(content.first() == Some(&kind));
        }
        frame(&mut snapshot, &[content]);
        rest = after;
    }
    let counts = counts.map(u64::to_le_bytes);
    frame(&mut snapshot, &[&[3], &counts[0], &counts[1]]);
    let Some((store, restored)) = restore(&snapshot, Some(log)) else {
        return;
    };
    assert_eq!(store.len() as u64, restored.sessions);
    let mut again = Vec::new();
    store.snapshot(&mut again).expect("memory can be written");
    let (_, second) = restore(&again, None).expect("what was written can be read");
    assert_eq!(second.sessions, restored.sessions);
});

fn restore(bytes: &[u8], log: Option<Revocations>) -> Option<(MemoryStore, Restored)> {
    let wall = WallClock::manual(&ManualClock::new(), 1000);
    MemoryStore::builder().clock(wall).restore(bytes, log).ok()
}

fn frame(snapshot: &mut Vec<u8>, parts: &[&[u8]]) {
    let content = parts.concat();
    let len = (content.len() as u32).to_le_bytes();
    let checksum = crc32c::crc32c(&[&len, &content[..]].concat());
    snapshot.extend_from_slice(&len);
    snapshot.extend_from_slice(&checksum.to_le_bytes());
    snapshot.extend_from_slice(&content);
}
