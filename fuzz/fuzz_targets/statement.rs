//! Any text as SQL: classified without a panic, alike whatever comments and white space are around and between its
//! words, and never as a read if one of its words writes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenfold::replica::{Access, StatementClassifier};

#[path = "../../tests/model/statement.rs"]
mod model;

use model::{GAPS, PARTS};

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        let access = Access::of(text);
        assert_eq!(
            Access::of(&format!(" /* a /* b */ */ -- c\n{text}")),
            access
        );
        assert_eq!(Access::of(&format!("{text}\n\t -- d")), access);
        let with_functions = StatementClassifier::new().writes("now").classify(text);
        assert!(with_functions == access || with_functions == Access::Write);
        // Nothing in quotes or comments: what is a word to everybody is one.
        if !text.contains(['\'', '"', '$', '-', '/'])
            && words(text).any(|word| DML.contains(&&*word))
        {
            assert!(!access.fits_replica());
        }
    }
    // Each byte is a word and what comes behind it.
    let join = |gap: fn(u8) -> &'static str| {
        let words = input
            .iter()
            .map(|&byte| format!("{}{}", PARTS[usize::from(byte) % PARTS.len()], gap(byte)));
        words.collect::<String>()
    };
    let plain = join(|_| " ");
    let gaps = |byte: u8| GAPS[usize::from(byte.rotate_left(4)) % GAPS.len()];
    let access = Access::of(&plain);
    assert_eq!(Access::of(&join(gaps)), access);
    if words(&plain).any(|word| DML.contains(&&*word)) {
        assert!(!access.fits_replica());
    }
});

/// The words of a text without quotes and comments.
fn words(text: &str) -> impl Iterator<Item = String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
    // A number ends where a letter begins.
    let begins = |word: &&str| !word.starts_with(|c: char| c.is_ascii_digit());
    let words = text.split(move |c| !is_word(c)).filter(begins);
    words.map(str::to_ascii_lowercase)
}

const DML: &[&str] = &["insert", "update", "delete", "merge"];
