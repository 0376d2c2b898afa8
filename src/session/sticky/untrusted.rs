//! A door for fuzzing to what reads the other nodes' bytes.

use super::question::{Ended, Question, read_list, write_list, yes_or_no};

/// Reads bytes as a question, and writes it down again.
pub fn question(bytes: &[u8]) -> Option<Vec<u8>> {
    let question = Question::from_bytes(bytes).ok()?;
    Some(question.to_bytes())
}

/// Reads bytes as each of the answers that are no [`Receipt`](super::Receipt), and writes down again what they are.
pub fn answers(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let yes_or_no = yes_or_no(bytes).map(|yes| vec![u8::from(yes)]);
    let ended = Ended::from_bytes(bytes).map(Ended::to_bytes);
    let list = read_list(bytes).map(|list| write_list(&list));
    [yes_or_no, ended, list].into_iter().flatten()
}
