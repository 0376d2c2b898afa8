//! Any bytes as what Redis holds under the key of a session, as it is, behind a right header, and as an answer of the
//! server: read without a panic, and nothing is read that is not there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenfold::redis::untrusted::{answer, record};

fuzz_target!(|input: &[u8]| {
    check(input);
    answer(input);
    // Most lies behind the header, and in a user's session behind the length of the name.
    let Some((&len, rest)) = input.split_first() else {
        return;
    };
    let header = |kind| [&[b's', kind, 0, 0][..], &[7; 20]].concat();
    assert!(check(&[&header(0)[..], input].concat()));
    let name = u32::from(len).to_le_bytes();
    check(&[&header(1)[..], &[9; 16], &name, rest].concat());
});

/// Whether it is a session; if so, every byte of it is accounted for.
fn check(bytes: &[u8]) -> bool {
    let Ok((loaded, info)) = record(bytes, 1800) else {
        return false;
    };
    let user = loaded.user().map(|user| user.as_str().as_bytes());
    let before = 24 + user.map_or(0, |name| 20 + name.len());
    assert_eq!(&bytes[before..], &loaded[..]);
    if let Some(name) = user {
        assert_eq!(&bytes[44..before], name);
    }
    assert_eq!(bytes[16..24], loaded.version().to_u64().to_le_bytes());
    assert_eq!(info.data, *loaded.data());
    assert_eq!((info.created, info.ends), (loaded.created(), loaded.ends()));
    true
}
