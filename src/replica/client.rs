use super::{AsyncConnector, Connector, Fault};

/// What connectors that block and those that are futures have in common, so that one pool serves both.
///
/// Nobody implements it: every [`Connector`] is one, and so is an [`AsyncConnector`] within [`Async`].
pub trait Client: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + 'static;
    /// What goes wrong with one.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Whether a connection is known to be of no use, without asking the server.
    fn is_broken(&self, connection: &Self::Connection) -> bool;

    /// What an error means.
    fn classify(&self, error: &Self::Error) -> Fault;
}

impl<C: Connector> Client for C {
    type Connection = C::Connection;
    type Error = C::Error;

    #[inline]
    fn is_broken(&self, connection: &Self::Connection) -> bool {
        Connector::is_broken(self, connection)
    }

    fn classify(&self, error: &Self::Error) -> Fault {
        Connector::classify(self, error)
    }
}

/// An [`AsyncConnector`], for a pool: `Pool::builder(Async(connector), endpoint)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Async<C>(pub C);

impl<C: AsyncConnector> Client for Async<C> {
    type Connection = C::Connection;
    type Error = C::Error;

    #[inline]
    fn is_broken(&self, connection: &Self::Connection) -> bool {
        self.0.is_broken(connection)
    }

    fn classify(&self, error: &Self::Error) -> Fault {
        self.0.classify(error)
    }
}
