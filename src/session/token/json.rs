//! JSON as tokens have it: read where it lies, strictly, and nothing twice.
//!
//! Not a parser for everything: names of members may not have escapes (so that none can be
//! spelled in two ways), an object has a bounded number of members, and nesting is
//! bounded too.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// A value, still as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Text(Text<'a>),
    Number(&'a str),
    Bool,
    Null,
    /// With its brackets.
    Array(&'a str),
    Object(&'a str),
}

/// A string, between its quotes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Text<'a> {
    raw: &'a str,
    is_escaped: bool,
}

/// Where a value lies in its text, for who keeps both.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Text(Span, bool),
    Array(Span),
    /// Of a kind that nobody keeps the contents of.
    Other,
}

type Span = (u32, u32);

fn span(part: &str, text: &str) -> Option<Span> {
    let from = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let (from, to) = (
        u32::try_from(from).ok()?,
        u32::try_from(from + part.len()).ok()?,
    );
    (text.get(from as usize..to as usize)? == part).then_some((from, to))
}

fn part((from, to): Span, text: &str) -> &str {
    text.get(from as usize..to as usize).unwrap_or_default()
}

impl Value<'_> {
    /// None if it does not lie there.
    pub(super) fn place(&self, text: &str) -> Option<Place> {
        match self {
            Self::Text(said) => Some(Place::Text(span(said.raw, text)?, said.is_escaped)),
            Self::Array(array) => Some(Place::Array(span(array, text)?)),
            _ => Some(Place::Other),
        }
    }
}

impl Place {
    /// The value again, of the same text.
    pub(super) fn value(self, text: &str) -> Value<'_> {
        match self {
            Self::Text(span, is_escaped) => Value::Text(Text {
                raw: part(span, text),
                is_escaped,
            }),
            Self::Array(span) => Value::Array(part(span, text)),
            Self::Other => Value::Null,
        }
    }

    pub(super) fn text(self, text: &str) -> Option<Text<'_>> {
        match self.value(text) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'a> Text<'a> {
    pub(super) fn is(&self, other: &str) -> bool {
        if self.is_escaped {
            self.get() == other
        } else {
            self.raw == other
        }
    }

    /// Allocates if there are escapes only.
    pub(super) fn get(&self) -> Cow<'a, str> {
        if !self.is_escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut text = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some((before, after)) = rest.split_once('\\') {
            text.push_str(before);
            let (escape, after) = after.split_at(1);
            rest = after;
            text.push(match escape {
                "b" => '\u{8}',
                "f" => '\u{c}',
                "n" => '\n',
                "r" => '\r',
                "t" => '\t',
                "u" => {
                    let (unit, after) = code_unit(rest);
                    rest = after;
                    let low = rest.strip_prefix("\\u").map(code_unit);
                    let pair = low.filter(|_| (0xd800..0xdc00).contains(&unit));
                    let point = pair.map_or(unit, |(low, after)| {
                        rest = after;
                        0x1_0000 + ((unit & 0x3ff) << 10 | low & 0x3ff)
                    });
                    char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                other => other.chars().next().unwrap_or_default(),
            });
        }
        text.push_str(rest);
        Cow::Owned(text)
    }
}

fn code_unit(text: &str) -> (u32, &str) {
    let (digits, rest) = text.split_at_checked(4).unwrap_or((text, ""));
    (u32::from_str_radix(digits, 16).unwrap_or(0), rest)
}

/// Reads an object of at most `most` members, and nothing behind it. None if it is
/// anything else, or `member` says so.
pub(super) fn object<'a>(
    text: &'a str,
    most: usize,
    mut member: impl FnMut(&'a str, Value<'a>) -> Option<()>,
) -> Option<()> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    reader.object(MOST_DEPTH, most.min(MOST_MEMBERS), &mut member)?;
    reader.skip_space();
    (reader.at == text.len()).then_some(())
}

/// Reads what stands between the braces of an object, and has at least one member.
pub(super) fn members<'a>(
    text: &'a str,
    most: usize,
    mut member: impl FnMut(&'a str, Value<'a>) -> Option<()>,
) -> Option<()> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    reader.members(MOST_DEPTH, most.min(MOST_MEMBERS), None, &mut member)
}

/// The elements of an array that was read as a value.
pub(super) fn elements<'a>(array: &'a str, mut element: impl FnMut(Value<'a>)) {
    let mut reader = Reader { text: array, at: 1 };
    reader.skip_space();
    while reader.at + 1 < array.len() {
        let Some(value) = reader.value(MOST_DEPTH) else {
            return;
        };
        element(value);
        reader.skip_space();
        reader.at += 1;
        reader.skip_space();
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn object(
        &mut self,
        depth: usize,
        most: usize,
        member: &mut dyn FnMut(&'a str, Value<'a>) -> Option<()>,
    ) -> Option<()> {
        self.eat(b'{')?;
        self.skip_space();
        if self.eat(b'}').is_some() {
            return Some(());
        }
        self.members(depth, most, Some(b'}'), member)?;
        self.eat(b'}')
    }

    /// Up to this byte, or the end of the text.
    fn members(
        &mut self,
        depth: usize,
        most: usize,
        end: Option<u8>,
        member: &mut dyn FnMut(&'a str, Value<'a>) -> Option<()>,
    ) -> Option<()> {
        let mut names = [""; MOST_MEMBERS];
        for count in 0..most {
            let name = self.string()?;
            if name.is_escaped || names[..count].contains(&name.raw) {
                return None;
            }
            names[count] = name.raw;
            self.skip_space();
            self.eat(b':')?;
            self.skip_space();
            let value = self.value(depth)?;
            member(name.raw, value)?;
            self.skip_space();
            if self.peek() == end {
                return Some(());
            }
            self.eat(b',')?;
            self.skip_space();
        }
        None
    }

    fn value(&mut self, depth: usize) -> Option<Value<'a>> {
        let from = self.at;
        let text = self.text;
        match self.peek()? {
            b'"' => self.string().map(Value::Text),
            b'{' => {
                let depth = depth.checked_sub(1)?;
                self.object(depth, MOST_MEMBERS, &mut |_, _| Some(()))?;
                Some(Value::Object(&text[from..self.at]))
            }
            b'[' => {
                let depth = depth.checked_sub(1)?;
                self.at += 1;
                self.skip_space();
                if self.eat(b']').is_none() {
                    loop {
                        self.value(depth)?;
                        self.skip_space();
                        if self.eat(b']').is_some() {
                            break;
                        }
                        self.eat(b',')?;
                        self.skip_space();
                    }
                }
                Some(Value::Array(&text[from..self.at]))
            }
            b't' => self.word("true", Value::Bool),
            b'f' => self.word("false", Value::Bool),
            b'n' => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Option<Value<'a>> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            value
        })
    }

    fn digits(&mut self) -> Option<usize> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Some(self.at - from).filter(|&digits| digits > 0)
    }

    fn number(&mut self) -> Option<Value<'a>> {
        let from = self.at;
        let _ = self.eat(b'-');
        let leads_with_zero = self.peek() == Some(b'0');
        if self.digits()? > 1 && leads_with_zero {
            return None;
        }
        if self.eat(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(Value::Number(&self.text[from..self.at]))
    }

    fn string(&mut self) -> Option<Text<'a>> {
        self.eat(b'"')?;
        let from = self.at;
        let mut is_escaped = false;
        loop {
            self.skip_plain();
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    is_escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
        let raw = &self.text[from..self.at];
        self.at += 1;
        Some(Text { raw, is_escaped })
    }

    /// Goes on, eight bytes at a time, as long as none ends the string, begins an escape or is no text; a byte more may be
    /// plain.
    fn skip_plain(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x80 * ONES;
        // The lowest mark is right, those above it may be wrong.
        let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes & HIGH;
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        for (count, eight) in rest.as_chunks::<8>().0.iter().enumerate() {
            let bytes = u64::from_le_bytes(*eight);
            let quotes = zeros(bytes ^ (ONES * u64::from(b'"')));
            let escapes = zeros(bytes ^ (ONES * u64::from(b'\\')));
            let controls = bytes.wrapping_sub(ONES * 0x20) & !bytes & HIGH;
            let marks = quotes | escapes | controls;
            if marks != 0 {
                self.at += count * 8 + marks.trailing_zeros() as usize / 8;
                return;
            }
        }
        self.at += rest.len() / 8 * 8;
    }

    fn escape(&mut self) -> Option<()> {
        let escape = self.peek()?;
        self.at += 1;
        match escape {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => match self.unit()? {
                // Half a character needs its other half.
                0xd800..=0xdbff => {
                    self.eat(b'\\')?;
                    self.eat(b'u')?;
                    (0xdc00..=0xdfff).contains(&self.unit()?).then_some(())
                }
                0xdc00..=0xdfff => None,
                _ => Some(()),
            },
            _ => None,
        }
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

/// Appends a string with its quotes.
pub(super) fn write_text(text: &str, out: &mut impl Write) {
    // Nothing that is written to here fails.
    let _ = try_write_text(text, out);
}

fn try_write_text(text: &str, out: &mut impl Write) -> fmt::Result {
    out.write_char('"')?;
    let is_plain = |byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f);
    if text.bytes().all(is_plain) {
        out.write_str(text)?;
        return out.write_char('"');
    }
    for letter in text.chars() {
        match letter {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\0'..='\x1f' => write!(out, "\\u{:04x}", u32::from(letter))?,
            _ => out.write_char(letter)?,
        }
    }
    out.write_char('"')
}

const MOST_DEPTH: usize = 32;
/// Members of one object.
pub(super) const MOST_MEMBERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(text: &str) -> bool {
        object(text, MOST_MEMBERS, |_, _| Some(())).is_some()
    }

    #[test]
    fn only_json_is_read() {
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(reads(&deep(32)) && !reads(&deep(33)));
        for right in [
            "{}",
            " { } ",
            "{\"a\":1}",
            "{\"a\":-0.5e+3,\"b\":[ ],\"c\":{\"d\":[null,true,false]}}",
            "{\"a\":\"\\u00e9\\ud83d\\ude00\\n\\/\"}",
        ] {
            assert!(reads(right), "{right}");
        }
        for wrong in [
            "",
            "{",
            "[]",
            "{}x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":+1}",
            "{\"a\":NaN}",
            "{\"a\":tru}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\u+123\"}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"b\":{\"a\":1,\"a\":2}}",
            "{\"a\":[1,]}",
        ] {
            assert!(!reads(wrong), "{wrong}");
        }
    }

    #[test]
    fn members_are_read_without_their_braces() {
        let count = |text| {
            let mut count = 0;
            let read = members(text, MOST_MEMBERS, |_, _| {
                count += 1;
                Some(())
            });
            read.map(|()| count)
        };
        assert_eq!(count("\"a\":1"), Some(1));
        assert_eq!(count(" \"a\" : {\"b\":{}} , \"c\":[] "), Some(2));
        for wrong in [
            "",
            " ",
            "\"a\":1,",
            "\"a\":1}",
            "{\"a\":1}",
            "\"a\":1}{\"b\":2",
            "\"a\":1,\"a\":2",
            "\"a\"",
            "\"a\":",
            "1",
        ] {
            assert_eq!(count(wrong), None, "{wrong}");
        }
    }

    /// Strings are read eight bytes at a time.
    #[test]
    fn a_string_ends_where_it_does_wherever_that_is() {
        for before in 0..20 {
            let plain = "é~ !x[]{},:"
                .chars()
                .cycle()
                .take(before)
                .collect::<String>();
            for (inside, is_text) in [
                ("", true),
                ("\\\"", true),
                ("\\\\", true),
                ("\u{7f}\u{80}\u{7ff}", true),
                ("\u{1f}", false),
                ("\n", false),
                ("\0", false),
                ("\\", false),
                ("\"", false),
            ] {
                let text = format!("{{\"{plain}{inside}{plain}\":1}}");
                let as_value = format!("{{\"a\":\"{plain}{inside}{plain}\"}}");
                assert_eq!(reads(&as_value), is_text, "{as_value:?}");
                assert_eq!(reads(&text), is_text && !inside.contains('\\'), "{text:?}");
            }
        }
    }

    #[test]
    fn escapes_are_undone() {
        let mut seen = None;
        let text = r#"{"a":"x\u00e9\ud83d\ude00\n\/\"\\y"}"#;
        object(text, 1, |_, value| {
            seen = Some(value);
            Some(())
        });
        let Some(Value::Text(text)) = seen else {
            panic!("{seen:?}")
        };
        assert_eq!(text.get(), "xé😀\n/\"\\y");
        assert!(text.is("xé😀\n/\"\\y") && !text.is("x"));
        let mut written = String::new();
        write_text("a\"b\\c\u{1}é", &mut written);
        assert_eq!(written, "\"a\\\"b\\\\c\\u0001é\"");
    }

    #[test]
    fn an_array_is_gone_through() {
        let mut seen = Vec::new();
        elements("[ 1 , \"a\",[2] , {\"b\":3}]", |value| seen.push(value));
        assert_eq!(seen.len(), 4);
        assert_eq!(seen[2], Value::Array("[2]"));
        elements("[ ]", |_| panic!("there is nothing in it"));
    }
}
