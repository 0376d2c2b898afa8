//! Where a statement has to go, by its text.

mod functions;
mod lexer;

use std::fmt;

use functions::{compare, needs_primary};
use lexer::{Lexer, Token};

/// What a text in SQL does, as far as its words tell.
///
/// In doubt it is something for the primary. Everything but [`Read`](Self::Read) and [`Begin`](Self::Begin) with
/// `read_only` is.
///
/// ```
/// use tenfold::replica::Access;
///
/// assert_eq!(Access::of("SELECT name FROM users WHERE id = $1"), Access::Read);
/// assert_eq!(Access::of("SELECT 'delete me' -- not an update"), Access::Read);
/// assert_eq!(Access::of("SELECT * FROM jobs LIMIT 1 FOR UPDATE SKIP LOCKED"), Access::Write);
/// assert_eq!(Access::of("WITH gone AS (DELETE FROM jobs RETURNING *) SELECT * FROM gone"), Access::Write);
/// assert_eq!(Access::of("BEGIN READ ONLY"), Access::Begin { read_only: true });
/// assert!(!Access::of("gibberish").fits_replica());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// It changes nothing, and a replica can answer it.
    Read,
    /// It changes something, or locks it, or nobody knows what it does.
    Write,
    /// It begins a transaction, which stays on one connection.
    Begin {
        /// It says so itself, and asks for nothing that a replica refuses.
        read_only: bool,
    },
    /// It belongs to the transaction under way: a savepoint, a cursor, `SET LOCAL`. It goes where that is.
    Within,
    /// It ends the transaction under way. It goes where that is.
    End,
    /// It changes the connection: `SET`, `PREPARE`, `LISTEN`, or several statements with a transaction among them. What
    /// relies on it has to use the same connection, and the next user of it must not.
    Session,
}

impl Access {
    /// What this text does; see [`StatementClassifier::classify`].
    pub fn of(sql: &str) -> Self {
        StatementClassifier::new().classify(sql)
    }

    /// Whether a replica may be asked.
    pub fn fits_replica(self) -> bool {
        matches!(self, Self::Read | Self::Begin { read_only: true })
    }
}

/// Tells what statements do, with functions of one's own that change something.
///
/// ```
/// use tenfold::replica::{Access, StatementClassifier};
///
/// let classifier = StatementClassifier::new().writes("count_visit");
/// assert_eq!(classifier.classify("SELECT count_visit($1)"), Access::Write);
/// assert_eq!(classifier.classify("SELECT app.Count_Visit($1)"), Access::Write);
/// assert_eq!(classifier.classify("SELECT count(*) FROM visits"), Access::Read);
/// ```
///
/// # Limits
///
/// It reads PostgreSQL's SQL, and words only: it knows no catalogue. A function that changes something is seen if it is one
/// that comes with PostgreSQL, or was [named](Self::writes); an operator, a cast, a view, or a row-level policy that calls one is not seen. A
/// replica refuses what would change data (error 25006), so what is missed fails, and harms nothing. A table or column
/// whose name without quotes is one of the words it looks for (`update`, `into`, `nextval`) is taken for that word: the
/// statement goes to the primary. So does any text in which the end of a string depends on the server's settings, and
/// any with several statements of which one does.
#[derive(Debug, Clone, Default)]
pub struct StatementClassifier {
    /// Sorted by `compare`.
    writing: Vec<Box<str>>,
}

impl StatementClassifier {
    /// One that knows the functions that come with PostgreSQL.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function that changes something, by its name without a schema; its case does not matter.
    #[must_use]
    pub fn writes(mut self, function: &str) -> Self {
        if let Err(place) = self.search(function) {
            self.writing.insert(place, function.into());
        }
        self
    }

    /// What a text does. Costs one look at each byte, and no allocation.
    pub fn classify(&self, sql: &str) -> Access {
        let mut statement = Statement {
            tokens: Lexer::new(sql),
            functions: self,
            writes: false,
            ended: false,
            over: false,
        };
        let mut whole = None;
        while !statement.over {
            let Some(access) = statement.next_access() else {
                continue;
            };
            whole = Some(match (whole, access) {
                (None, access) => access,
                (Some(Access::Read), Access::Read) => Access::Read,
                (Some(Access::Read | Access::Write), Access::Read | Access::Write) => Access::Write,
                _ => Access::Session,
            });
        }
        // Nothing at all: whoever asks that may as well ask the primary.
        whole.unwrap_or(Access::Write)
    }

    fn knows(&self, function: &str) -> bool {
        needs_primary(function) || self.search(function).is_ok()
    }

    fn search(&self, function: &str) -> Result<usize, usize> {
        self.writing
            .binary_search_by(|known| compare(known, function))
    }
}

/// A text of statements, one of them being read.
struct Statement<'a> {
    tokens: Lexer<'a>,
    functions: &'a StatementClassifier,
    /// A word was seen that changes or locks something, wherever it stood.
    writes: bool,
    /// The statement has been read to its end.
    ended: bool,
    /// So has the text.
    over: bool,
}

impl<'a> Statement<'a> {
    /// What the next statement does; nothing if it is empty.
    fn next_access(&mut self) -> Option<Access> {
        (self.writes, self.ended) = (false, false);
        let first = self.next()?;
        let access = self.access(first);
        while self.next().is_some() {}
        match access {
            // A word that writes outdoes all but what is tied to the connection.
            Access::Read | Access::Begin { .. } | Access::Within if self.writes => {
                Some(Access::Write)
            }
            access => Some(access),
        }
    }

    fn access(&mut self, first: Token<'a>) -> Access {
        let Token::Word(first) = first else {
            return self.query(first);
        };
        let begins = |words: &[&str]| any(first, words);
        if begins(&["explain"]) {
            self.explain()
        } else if begins(&["show"]) {
            Access::Read
        } else if begins(&["copy"]) {
            self.copy()
        } else if begins(&["begin", "start"]) {
            self.begin(first)
        } else if begins(&["commit", "end", "rollback", "abort"]) {
            self.end()
        } else if begins(&["savepoint", "release", "declare", "fetch", "move", "close"]) {
            Access::Within
        } else if begins(&["set"]) {
            match self.next() {
                Some(Token::Word(word)) if any(word, &["local", "transaction", "constraints"]) => {
                    Access::Within
                }
                _ => Access::Session,
            }
        } else if begins(&["prepare"]) {
            match self.next() {
                // The first phase of a commit in two.
                Some(Token::Word(word)) if any(word, &["transaction"]) => Access::End,
                _ => Access::Session,
            }
        } else if begins(&[
            "reset",
            "discard",
            "deallocate",
            "listen",
            "unlisten",
            "load",
        ]) {
            Access::Session
        } else {
            self.query(Token::Word(first))
        }
    }

    /// A query, maybe in parentheses.
    fn query(&mut self, first: Token<'a>) -> Access {
        let mut token = Some(first);
        while token == Some(Token::Open) {
            token = self.next();
        }
        match token {
            Some(Token::Word(word)) if any(word, QUERIES) => Access::Read,
            _ => Access::Write,
        }
    }

    /// `EXPLAIN [ANALYZE] [VERBOSE] query` or `EXPLAIN (options) query`. Whether it is only explained does not matter: what
    /// would change something if run is for the primary.
    fn explain(&mut self) -> Access {
        let mut token = self.next();
        while let Some(Token::Word(word)) = token
            && any(word, &["analyze", "analyse", "verbose"])
        {
            token = self.next();
        }
        if token != Some(Token::Open) {
            return token.map_or(Access::Write, |token| self.query(token));
        }
        // Options, or a query in parentheses.
        match self.next() {
            Some(Token::Word(word)) if !any(word, QUERIES) => {
                let mut depth = 1;
                while depth > 0 {
                    match self.next() {
                        Some(Token::Open) => depth += 1,
                        Some(Token::Close) => depth -= 1,
                        Some(_) => {}
                        None => return Access::Write,
                    }
                }
                let query = self.next();
                query.map_or(Access::Write, |token| self.query(token))
            }
            Some(token) => self.query(token),
            None => Access::Write,
        }
    }

    /// `COPY ... TO STDOUT` reads. To a file or a program it writes, though not to the database.
    fn copy(&mut self) -> Access {
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            match token {
                Token::Open => depth += 1,
                Token::Close => depth = depth.saturating_sub(1),
                Token::Word(word) if depth == 0 && any(word, &["from"]) => return Access::Write,
                Token::Word(word) if depth == 0 && any(word, &["to"]) => {
                    return match self.next() {
                        Some(Token::Word(word)) if any(word, &["stdout"]) => Access::Read,
                        _ => Access::Write,
                    };
                }
                _ => {}
            }
        }
        Access::Write
    }

    fn begin(&mut self, first: &str) -> Access {
        let mut token = self.next();
        // `START` is always followed by it.
        let transaction = matches!(token, Some(Token::Word(word)) if any(word, &["transaction"]));
        if any(first, &["start"]) && !transaction {
            return Access::Write;
        }
        let (mut reads, mut only, mut refused) = (false, false, false);
        while let Some(now) = token {
            if let Token::Word(word) = now {
                only |= reads && any(word, &["only"]);
                // A replica knows no serializable transactions.
                refused |= any(word, &["write", "serializable"]);
                reads = any(word, &["read"]);
            }
            token = self.next();
        }
        let read_only = only && !refused;
        Access::Begin { read_only }
    }

    /// `COMMIT` and its kin, unless another transaction follows at once, or only a part is rolled back.
    fn end(&mut self) -> Access {
        let mut last = "";
        while let Some(token) = self.next() {
            if let Token::Word(word) = token {
                if any(word, &["to"]) || any(word, &["chain"]) && !any(last, &["no"]) {
                    return Access::Within;
                }
                // Of a transaction that belongs to no connection any more.
                if any(word, &["prepared"]) {
                    return Access::Write;
                }
                last = word;
            }
        }
        Access::End
    }

    /// The next token of this statement. Notes what changes or locks something, wherever it stands.
    fn next(&mut self) -> Option<Token<'a>> {
        if self.ended {
            return None;
        }
        let Some(token) = self.tokens.next() else {
            (self.ended, self.over) = (true, true);
            return None;
        };
        match token {
            Token::End => {
                self.ended = true;
                return None;
            }
            Token::Word(word) => {
                self.writes |= any(word, WRITING) || self.functions.knows(word);
                // `FOR [NO KEY] UPDATE` has a word that tells; `FOR [KEY] SHARE` has none by itself.
                if any(word, &["for"])
                    && let Some(Token::Word(next)) = self.tokens.clone().next()
                {
                    self.writes |= any(next, &["share", "key"]);
                }
            }
            Token::Quoted(name) => self.writes |= self.functions.knows(name),
            Token::Doubt => self.writes = true,
            Token::Open | Token::Close | Token::Other => {}
        }
        Some(token)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "a read",
            Self::Write => "a write",
            Self::Begin { read_only: true } => "the begin of a transaction that reads",
            Self::Begin { read_only: false } => "the begin of a transaction",
            Self::Within => "a part of a transaction",
            Self::End => "the end of a transaction",
            Self::Session => "a change of the connection",
        })
    }
}

fn any(word: &str, of: &[&str]) -> bool {
    of.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// What a query begins with.
const QUERIES: &[&str] = &["select", "values", "table", "with"];
/// Words that make a write of a statement wherever they stand.
const WRITING: &[&str] = &["insert", "update", "delete", "merge", "into", "truncate"];
