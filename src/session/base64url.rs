//! Unpadded base64url, in its one canonical spelling.

/// Decodes into the front of `out`. None if a letter is no letter, bits are left over
/// that are not zero, or there is no room.
pub(super) fn decode<'a>(text: &[u8], out: &'a mut [u8]) -> Option<&'a [u8]> {
    let len = decoded_len(text.len())?;
    let out = out.get_mut(..len)?;
    let mut wrong = 0;
    let (fours, rest) = text.as_chunks::<4>();
    let (threes, last) = out.as_chunks_mut::<3>();
    for (four, three) in fours.iter().zip(threes) {
        let bits = bits_of(*four);
        wrong |= bits;
        let [_, bytes @ ..] = bits.to_be_bytes();
        *three = bytes;
    }
    // As if zeros followed, which stand for bits that are none.
    let (bits, spare) = match *rest {
        [one, two] => (bits_of([one, two, ZERO, ZERO]), 0xffff),
        [one, two, three] => (bits_of([one, two, three, ZERO]), 0xff),
        _ => (0, 0),
    };
    wrong |= bits;
    if bits & spare != 0 {
        return None;
    }
    for (byte, read) in last.iter_mut().zip(&bits.to_be_bytes()[1..]) {
        *byte = *read;
    }
    (wrong & NO_LETTER == 0).then_some(&*out)
}

/// How many bytes so many letters are; none if there is no such text.
pub(super) fn decoded_len(letters: usize) -> Option<usize> {
    match letters % 4 {
        1 => None,
        rest => Some(letters / 4 * 3 + rest.saturating_sub(1)),
    }
}

pub(super) fn encode_to(bytes: &[u8], text: &mut String) {
    for part in bytes.chunks(PART) {
        text.push_str(encode_in(part, &mut [0; PART / 3 * 4]));
    }
}

/// Encodes into the front of `out`, where there has to be room for it in whole fours.
pub(super) fn encode_in<'a>(bytes: &[u8], out: &'a mut [u8]) -> &'a str {
    let (threes, rest) = bytes.as_chunks::<3>();
    let (fours, _) = out.as_chunks_mut::<4>();
    for (&[one, two, three], four) in threes.iter().zip(&mut *fours) {
        *four = letters_of(u32::from_be_bytes([0, one, two, three]));
    }
    let mut len = 4 * threes.len();
    if let Some(four) = fours.get_mut(threes.len()).filter(|_| !rest.is_empty()) {
        let mut padded = [0; 4];
        padded[1..=rest.len()].copy_from_slice(rest);
        *four = letters_of(u32::from_be_bytes(padded));
        len += rest.len() + 1;
    }
    // They are all of the alphabet, so this is never empty.
    let letters = out.get(..len).unwrap_or_default();
    std::str::from_utf8(letters).unwrap_or_default()
}

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    encode_to(bytes, &mut text);
    text
}

/// The 24 bits that four letters stand for; more, if one is no letter.
fn bits_of([one, two, three, four]: [u8; 4]) -> u32 {
    VALUES[usize::from(one)] << 18
        | VALUES[usize::from(two)] << 12
        | VALUES[usize::from(three)] << 6
        | VALUES[usize::from(four)]
}

fn letters_of(bits: u32) -> [u8; 4] {
    [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize])
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ZERO: u8 = ALPHABET[0];
/// Bytes that are encoded at a time: whole threes.
const PART: usize = 192;
/// Above the bits of four letters. What is no letter has this bit at whichever place of the four it stands.
const NO_LETTER: u32 = 1 << 24;
/// What each byte stands for.
const VALUES: [u32; 256] = {
    let mut values = [NO_LETTER | NO_LETTER >> 6 | NO_LETTER >> 12 | NO_LETTER >> 18; 256];
    let mut value = 0;
    while value < 64 {
        values[ALPHABET[value] as usize] = value as u32;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_byte_is_taken_for_a_letter_wherever_it_stands() {
        let right = b"AbC-_09zAQA-";
        for len in [12, 11, 10] {
            for place in 0..len {
                for byte in 0..=255 {
                    let mut text = right[..len].to_vec();
                    text[place] = byte;
                    let read = decode(&text, &mut [0; 9]).map(encode);
                    // In the last place some letters have bits that no byte has.
                    let is_due = ALPHABET.contains(&byte) && (len == 12 || place < len - 1);
                    assert!(read.is_some() || !is_due, "{byte} at {place}");
                    assert!(read.is_none_or(|again| again.as_bytes() == text));
                }
            }
        }
    }

    #[test]
    fn what_was_encoded_is_decoded_and_nothing_else_is() {
        let bytes: Vec<u8> = (0..=255).rev().collect();
        for len in 0..64 {
            let text = encode(&bytes[..len]);
            assert_eq!(decoded_len(text.len()), Some(len));
            assert_eq!(decode(text.as_bytes(), &mut [0; 64]), Some(&bytes[..len]));
            assert!(len == 0 || decode(text.as_bytes(), &mut vec![0; len - 1]).is_none());
        }
        for wrong in [
            "A",
            "AAAAA",
            "AB",
            "AAB",
            "AA==",
            "AA A",
            "A+AA",
            "A/AA",
            "AAA\u{e9}",
        ] {
            assert!(decode(wrong.as_bytes(), &mut [0; 8]).is_none(), "{wrong}");
        }
    }
}
