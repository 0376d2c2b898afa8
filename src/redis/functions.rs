//! Calls of what the server does in one step.

use std::fmt::Write;

use redis::{Cmd, ErrorKind, Script, ServerErrorKind, Value};
use sha2::{Digest, Sha256};

use super::link::{Failure, Link, Way, says};
use crate::session::Unavailable;
use crate::sync::atomic::{AtomicU32, Ordering};

/// What the server does; see `functions.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Create,
    Touch,
    Save,
    Cycle,
    Take,
    Revoke,
    RevokeUser,
    List,
}

/// The functions, and how the server has them: as a library, from version 7 on and if we may load one, or as
/// scripts.
pub(super) struct Functions {
    /// The name of the library, and what its functions' names begin with: another for each text of it, so
    /// that two versions of this crate do not get in each other's way.
    name: String,
    library: String,
    scripts: Vec<Script>,
    are_scripts: AtomicU32,
}

impl Functions {
    pub(super) fn new(only_scripts: bool) -> Self {
        let hash = Sha256::digest(SOURCE);
        let name = format!(
            "tenfold_sessions_{:02x}{:02x}{:02x}{:02x}",
            hash[0], hash[1], hash[2], hash[3]
        );
        let mut library = format!("#!lua name={name}\n{SOURCE}\n");
        for function in ALL {
            let own = function.name();
            // Writing to a string does not fail.
            let _ = writeln!(library, "redis.register_function('{name}_{own}', {own})");
        }
        let script = |function: &Function| {
            let call = format!("\nreturn {}(KEYS, ARGV)\n", function.name());
            Script::new(&[SOURCE, &call].concat())
        };
        Self {
            name,
            library,
            scripts: ALL.iter().map(script).collect(),
            are_scripts: AtomicU32::new(only_scripts.into()),
        }
    }

    pub(super) async fn call(
        &self,
        link: &Link,
        way: &Way,
        function: Function,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Value, Unavailable> {
        if self.are_scripts.load(Ordering::Relaxed) == 0 {
            match self.call_function(link, way, function, keys, args).await {
                Err(Failure::Answered(error)) if has_no_functions(&error) => {
                    self.are_scripts.store(1, Ordering::Relaxed);
                }
                answer => return Ok(answer?),
            }
        }
        Ok(self.call_script(link, way, function, keys, args).await?)
    }

    async fn call_function(
        &self,
        link: &Link,
        way: &Way,
        function: Function,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Value, Failure> {
        let name = format!("{}_{}", self.name, function.name());
        let call = command("FCALL", &name, keys, args);
        match link.ask(way, &call).await {
            Err(Failure::Answered(error)) if is_unknown(&error) => {}
            answer => return answer,
        }
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg(&self.library);
        match link.ask(way, &load).await {
            // Somebody else was faster.
            Err(Failure::Answered(error)) if says(&error, |_, text| text.contains("exists")) => {}
            answer => {
                answer?;
            }
        }
        link.ask(way, &call).await
    }

    async fn call_script(
        &self,
        link: &Link,
        way: &Way,
        function: Function,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Value, Failure> {
        let script = &self.scripts[function as usize];
        let call = command("EVALSHA", script.get_hash(), keys, args);
        match link.ask(way, &call).await {
            Err(Failure::Answered(error)) if is_unknown(&error) => {}
            answer => return answer,
        }
        let code = [SOURCE, "\nreturn ", function.name(), "(KEYS, ARGV)\n"].concat();
        link.ask(way, &command("EVAL", &code, keys, args)).await
    }
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Touch => "touch",
            Self::Save => "save",
            Self::Cycle => "cycle",
            Self::Take => "take",
            Self::Revoke => "revoke",
            Self::RevokeUser => "revoke_user",
            Self::List => "list",
        }
    }
}

fn command(verb: &str, what: &str, keys: &[&str], args: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(what).arg(keys.len());
    for key in keys {
        command.arg(*key);
    }
    for arg in args {
        command.arg(*arg);
    }
    command
}

/// Whether the server does not know what it shall do yet, or after a restart no more.
fn is_unknown(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        || says(error, |_, text| text.starts_with("Function not found"))
}

/// Whether the server knows no functions, or may not be given any.
fn has_no_functions(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || says(error, |_, text| text.starts_with("unknown command"))
}

const SOURCE: &str = include_str!("functions.lua");

/// In the order of their numbers.
const ALL: [Function; 8] = [
    Function::Create,
    Function::Touch,
    Function::Save,
    Function::Cycle,
    Function::Take,
    Function::Revoke,
    Function::RevokeUser,
    Function::List,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_lies_where_its_number_says() {
        for (at, function) in ALL.into_iter().enumerate() {
            assert_eq!(function as usize, at);
            let defined = format!("local function {}(keys", function.name());
            assert!(SOURCE.contains(&defined), "{defined}");
        }
    }
}
