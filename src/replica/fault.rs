/// What an error of a connection means, as the connector classifies it: it decides what becomes of
/// the connection, of the server's standing, and of a retry.
///
/// An error that says too little is [`Unknown`](Fault::Unknown), never something milder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The statement was wrong: a syntax error, a constraint. The server is well, and so is the connection.
    Query,
    /// It failed and was not done, and may work if tried again: a serialisation failure, a deadlock.
    Transient,
    /// The server has more than it can do: too many connections. Not done.
    Overload,
    /// It was asked to write and does not, because it is not, or no longer, a primary: `25006`,
    /// `READONLY`. Not done; every connection that was made to it as a primary is a wrong one.
    RoleChanged,
    /// The connection is gone, and nothing was sent, or nothing that changes anything. Not done.
    ConnectionLost,
    /// The connection is gone, and what was sent may have been done.
    Unknown,
}

impl Fault {
    /// Whether it is certain that nothing was done.
    pub fn not_done(self) -> bool {
        !matches!(self, Self::Unknown)
    }

    /// Whether the connection is of no further use.
    pub fn breaks_connection(self) -> bool {
        matches!(
            self,
            Self::ConnectionLost | Self::Unknown | Self::RoleChanged
        )
    }
}
