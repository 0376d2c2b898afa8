//! The words of a text in SQL, as PostgreSQL's scanner parts them, as far as it matters here: what is in
//! quotes and comments is none.

/// What a text is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, or a name without quotes.
    Word(&'a str),
    /// A name in double quotes, without them.
    Quoted(&'a str),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `;`
    End,
    /// A string, a number, an operator.
    Other,
    /// Something that does not end, or whose end depends on the server's settings: what follows may be other than
    /// it looks.
    Doubt,
}

/// Goes through a text once.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Past white space and comments. `false` if a comment does not end.
    fn skip(&mut self) -> bool {
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C), _) => self.at += 1,
                (Some(b'-'), Some(b'-')) => {
                    let line_ends = |byte: u8| byte == b'\n' || byte == b'\r';
                    while self.byte(0).is_some_and(|byte| !line_ends(byte)) {
                        self.at += 1;
                    }
                }
                (Some(b'/'), Some(b'*')) => {
                    if !self.skip_block() {
                        return false;
                    }
                }
                _ => return true,
            }
        }
    }

    /// Past a comment, and those within it.
    fn skip_block(&mut self) -> bool {
        let mut depth = 0_usize;
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return true;
                    }
                }
                (Some(_), _) => self.at += 1,
                (None, _) => return false,
            }
        }
    }

    /// A keyword, a name, or what a letter before a quote makes of it.
    fn word(&mut self) -> Token<'a> {
        let begin = self.at;
        while self.byte(0).is_some_and(continues_word) {
            self.at += 1;
        }
        let word = &self.text[begin..self.at];
        match (word, self.byte(0), self.byte(1)) {
            ("e" | "E", Some(b'\''), _) => self.string(true),
            // Escapes there may stand for any character, and the escape character is given behind it.
            ("u" | "U", Some(b'&'), Some(b'\'' | b'"')) => {
                self.at = self.text.len();
                Token::Doubt
            }
            _ => Token::Word(word),
        }
    }

    /// A string, from its opening quote on. Whether a backslash escapes is known of `E'...'` only: in others it depends on
    /// a setting, and where the string ends too if one stands before a quote.
    fn string(&mut self, escapes: bool) -> Token<'a> {
        self.at += 1;
        let mut doubt = false;
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'\\'), Some(_)) if escapes => self.at += 2,
                (Some(b'\\'), Some(b'\'')) => {
                    doubt = true;
                    self.at += 1;
                }
                (Some(b'\''), Some(b'\'')) => self.at += 2,
                (Some(b'\''), _) => {
                    self.at += 1;
                    return if doubt { Token::Doubt } else { Token::Other };
                }
                (Some(_), _) => self.at += 1,
                (None, _) => return Token::Doubt,
            }
        }
    }

    /// A name in quotes, from the opening one on.
    fn quoted(&mut self) -> Token<'a> {
        self.at += 1;
        let begin = self.at;
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'"'), Some(b'"')) => self.at += 2,
                (Some(b'"'), _) => {
                    self.at += 1;
                    return Token::Quoted(&self.text[begin..self.at - 1]);
                }
                (Some(_), _) => self.at += 1,
                (None, _) => return Token::Doubt,
            }
        }
    }

    /// `$1`, or a string between two times the same `$tag$`.
    fn dollar(&mut self) -> Token<'a> {
        let begin = self.at;
        self.at += 1;
        if self.byte(0).is_some_and(begins_word) {
            while self.byte(0).is_some_and(|b| b != b'$' && continues_word(b)) {
                self.at += 1;
            }
        }
        if self.byte(0) != Some(b'$') {
            // What looked like a tag is a word: `$into`.
            self.at = begin + 1;
            return Token::Other;
        }
        self.at += 1;
        let tag = &self.text.as_bytes()[begin..self.at];
        // A tag has a dollar at either end and none between, so a look for it goes forward only.
        while self.at < self.text.len() {
            let rest = &self.text.as_bytes()[self.at..];
            if rest.starts_with(tag) {
                self.at += tag.len();
                return Token::Other;
            }
            self.at += 1;
        }
        Token::Doubt
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if !self.skip() {
            return Some(Token::Doubt);
        }
        let token = match self.byte(0)? {
            b'(' => Token::Open,
            b')' => Token::Close,
            b';' => Token::End,
            b'\'' => return Some(self.string(false)),
            b'"' => return Some(self.quoted()),
            b'$' => return Some(self.dollar()),
            byte if begins_word(byte) => return Some(self.word()),
            _ => Token::Other,
        };
        self.at += 1;
        Some(token)
    }
}

/// Every byte that is not ASCII is a letter.
fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}
