use std::io::{self, Read};

use crate::replica::Position;

/// The machine of a server, where its files and processes can be had: what fencing, salvage, recovery and rejoining
/// need beyond a connection. [`LocalHost`](super::LocalHost) is for servers on this machine; for others, do the same by what reaches
/// them (ssh, a pod's shell, an agent).
///
/// The methods may block: they are called on threads that are there for it. Each may be called again after it failed half-way.
pub trait Host: Send + Sync + 'static {
    /// Ends the server at once, and has it come back, whoever starts it, as a replica and not as a primary. Done already is
    /// done.
    ///
    /// # Errors
    /// Where that is not certain.
    fn fence(&self) -> io::Result<()>;

    /// Starts the server if it does not run, and waits until it takes connections.
    ///
    /// # Errors
    /// What the operating system or the server says.
    fn start(&self) -> io::Result<()>;

    /// Ends the server in good order, if it runs.
    ///
    /// # Errors
    /// What the operating system or the server says.
    fn stop(&self) -> io::Result<()>;

    /// Starts a fenced server alone: reachable for the recovery only, at the address that is answered, with transactions that
    /// only read, no replication, no autovacuum.
    ///
    /// # Errors
    /// What the operating system or the server says.
    fn quarantine(&self) -> io::Result<String>;

    /// Decodes the server's log with `pg_waldump` from a position on, line by line, as far as it is whole, at least the records of `Transaction`, `Heap`, `Heap2`, `Standby` and `XLOG`: the copy that was
    /// [preserved](Self::preserve_wal), or where there is none the log itself of a server that does not run.
    ///
    /// # Errors
    /// If nothing could be read, which is also so when there is no whole record behind `from`.
    fn dump_wal(&self, timeline: u64, from: Position, line: &mut dyn FnMut(&str))
    -> io::Result<()>;

    /// Opens a file of the server's `pg_wal`.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_wal(&self, name: &str) -> io::Result<Box<dyn Read>>;

    /// Keeps a file of another server's log where [`restore_command`](Self::restore_command) finds it, whole or not at all.
    ///
    /// # Errors
    /// What the operating system says.
    fn keep_wal(&self, name: &str, content: &mut dyn Read) -> io::Result<()>;

    /// The `restore_command` by which this host's server gets at the files that were kept.
    fn restore_command(&self) -> String;

    /// Puts a copy of the whole log aside, before it is changed, and says where. Done already is done.
    ///
    /// # Errors
    /// What the operating system says.
    fn preserve_wal(&self) -> io::Result<String>;

    /// Makes the data directory of a server that does not run one that can follow the primary, with
    /// `pg_rewind`: what the primary does not have is lost. Its own configuration stays.
    ///
    /// # Errors
    /// What `pg_rewind` says.
    fn rewind(&self, primary: &str) -> io::Result<()>;

    /// Writes settings of a server that does not run, and that it starts as a replica.
    ///
    /// # Errors
    /// What the operating system says.
    fn follow(&self, settings: &[(&str, String)]) -> io::Result<()>;
}
