//! Unpadded base64url, in its one canonical spelling.

/// Decodes into the front of `out`. None if a letter is no letter, bits are left over
/// that are not zero, or there is no room.
pub(super) fn decode<'a>(text: &[u8], out: &'a mut [u8]) -> Option<&'a [u8]> {
    let len = decoded_len(text.len())?;
    let out = out.get_mut(..len)?;
    let mut wrong = 0;
    let (fours, rest) = text.as_chunks::<4>();
    for (four, three) in fours.iter().zip(out.chunks_exact_mut(3)) {
        let values = four.map(|letter| VALUES[usize::from(letter)]);
        wrong |= values[0] | values[1] | values[2] | values[3];
        let bits = values
            .iter()
            .fold(0_u32, |bits, &value| bits << 6 | u32::from(value & 63));
        three.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    if !rest.is_empty() {
        let mut bits = 0_u32;
        for &letter in rest {
            let value = VALUES[usize::from(letter)];
            wrong |= value;
            bits = bits << 6 | u32::from(value & 63);
        }
        bits <<= 6 * (4 - rest.len());
        let bytes = bits.to_be_bytes();
        let (last, over) = bytes[1..].split_at(rest.len() - 1);
        if over.iter().any(|&byte| byte != 0) {
            return None;
        }
        out[len - last.len()..].copy_from_slice(last);
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
    for three in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(padded);
        for place in 0..=three.len() {
            let letter = bits >> (18 - 6 * place) & 63;
            text.push(char::from(ALPHABET[letter as usize]));
        }
    }
}

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    encode_to(bytes, &mut text);
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NO_LETTER: u8 = 0x80;
/// What each byte stands for.
const VALUES: [u8; 256] = {
    let mut values = [NO_LETTER; 256];
    let mut value = 0;
    while value < 64 {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

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
