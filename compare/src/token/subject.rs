//! One face for everybody who signs.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use cpu_time::ThreadTime;
use serde::{Deserialize, Serialize};

use crate::counting;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    EdDsa,
    Es256,
}

pub(super) const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Hs256, Algorithm::EdDsa, Algorithm::Es256];

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        })
    }
}

/// What is done with tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Sign,
    /// So many different ones in turn that nobody remembers them.
    Verify,
    /// The same few again and again.
    VerifyAgain,
}

/// Somebody with a key: signs a token of a number, and says whether a token is good.
pub(super) trait Signer {
    fn sign(&self, number: u64) -> String;
    fn verify(&self, token: &str) -> bool;

    /// The same of a token that came before, for who remembers some.
    fn verify_again(&self, token: &str) -> bool {
        self.verify(token)
    }
}

/// One that can be asked for figures, here or in another process.
pub(super) trait Lane {
    /// Nanoseconds of the processor for each of so many operations.
    fn time(&mut self, task: Task, times: usize) -> Result<f64, String>;
    /// Allocations for each.
    fn allocations(&mut self, task: Task) -> Result<f64, String>;
}

/// A signer in this process, and tokens of its own.
pub(super) struct Local<S> {
    signer: S,
    tokens: Vec<String>,
    next: u64,
}

impl<S: Signer> Local<S> {
    pub(super) fn new(signer: S) -> Self {
        let tokens: Vec<_> = (0..TOKENS).map(|number| signer.sign(number)).collect();
        assert!(signer.verify(&tokens[0]), "its own token is good");
        let forged = format!("{}A", &tokens[0][..tokens[0].len() - 1]);
        let other = format!("{}Q", &tokens[0][..tokens[0].len() - 1]);
        assert!(!signer.verify(&forged) || !signer.verify(&other));
        Self {
            signer,
            tokens,
            next: TOKENS,
        }
    }

    fn run(&mut self, task: Task, times: usize) {
        for _ in 0..times {
            self.next += 1;
            let token = |of: u64| &self.tokens[(self.next % of) as usize];
            assert!(match task {
                Task::Sign => !self.signer.sign(self.next).is_empty(),
                Task::Verify => self.signer.verify(token(TOKENS)),
                Task::VerifyAgain => self.signer.verify_again(token(FEW)),
            });
        }
    }
}

impl<S: Signer> Lane for Local<S> {
    fn time(&mut self, task: Task, times: usize) -> Result<f64, String> {
        let start = ThreadTime::now();
        self.run(task, times);
        Ok(start.elapsed().as_nanos() as f64 / times as f64)
    }

    fn allocations(&mut self, task: Task) -> Result<f64, String> {
        counting::start();
        let before = counting::allocations();
        self.run(task, 100);
        let made = counting::allocations() - before;
        counting::stop();
        Ok(made as f64 / 100.0)
    }
}

const TOKENS: u64 = 4096;
const FEW: u64 = 64;

/// The claims, for those who take a type of the user's.
#[derive(Debug, Deserialize)]
#[allow(
    dead_code,
    reason = "read by rivals that are built apart, one for each provider"
)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: String,
    pub(super) sub: String,
    pub(super) sid: String,
    pub(super) jti: String,
    pub(super) iat: u64,
    pub(super) exp: u64,
    pub(super) scope: String,
}

/// The same, for those who sign without owning them.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    iss: &'static str,
    aud: &'static str,
    sub: &'static str,
    sid: &'static str,
    jti: String,
    iat: u64,
    exp: u64,
    scope: &'static str,
}

impl Said {
    pub(super) fn new(number: u64) -> Self {
        let now = now();
        Self {
            iss: ISSUER,
            aud: AUDIENCE,
            sub: SUBJECT,
            sid: FAMILY,
            jti: name(number),
            iat: now,
            exp: now + LIFE,
            scope: SCOPE,
        }
    }
}

/// Of a token: as long as a random one of 128 bits.
pub(super) fn name(number: u64) -> String {
    format!("{number:022}")
}

pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

pub(super) const SECRET: [u8; 32] = [7; 32];
pub(super) const ISSUER: &str = "https://login.example";
pub(super) const AUDIENCE: &str = "api";
pub(super) const SUBJECT: &str = "user-1234";
pub(super) const FAMILY: &str = "c3VjaC1hLWZhbWlseS1pcw";
pub(super) const SCOPE: &str = "read write";
pub(super) const KID: &str = "2026-11";
pub(super) const TYPE: &str = "at+jwt";
/// Seconds.
pub(super) const LIFE: u64 = 3600;
