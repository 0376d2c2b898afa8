use std::future::Future;

use super::recovery::Recovered;
use super::{Endpoint, Epoch, Fault, Position, Probe};
use crate::time::Instant;

/// Makes connections, and says what their errors mean. For blocking clients; see [`AsyncConnector`] for the others.
pub trait Connector: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + 'static;
    /// What goes wrong with one.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Makes a connection, until the deadline.
    ///
    /// # Errors
    /// The client's own.
    fn connect(
        &self,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<Self::Connection, Self::Error>;

    /// Makes a connection that was used fit for the next user: rolls back, forgets settings. Called when it was
    /// idle for a while, and not at every turn.
    ///
    /// # Errors
    /// The client's own; the connection is dropped.
    fn recycle(&self, connection: &mut Self::Connection) -> Result<(), Self::Error> {
        let _ = connection;
        Ok(())
    }

    /// Whether a connection is known to be of no use, without asking the server.
    fn is_broken(&self, connection: &Self::Connection) -> bool {
        let _ = connection;
        false
    }

    /// What an error means.
    fn classify(&self, error: &Self::Error) -> Fault;
}

/// [`Connector`] for clients that are futures.
pub trait AsyncConnector: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + 'static;
    /// What goes wrong with one.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Makes a connection. It may be dropped before it is ready.
    fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Makes a connection that was used fit for the next user; see [`Connector::recycle`].
    fn recycle(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = connection;
        async { Ok(()) }
    }

    /// Whether a connection is known to be of no use, without asking the server.
    fn is_broken(&self, connection: &Self::Connection) -> bool {
        let _ = connection;
        false
    }

    /// What an error means.
    fn classify(&self, error: &Self::Error) -> Fault;
}

/// Asks a server what it is.
pub trait Prober: Connector {
    /// Asks, until the deadline.
    ///
    /// # Errors
    /// The client's own.
    fn probe(
        &self,
        connection: &mut Self::Connection,
        deadline: Instant,
    ) -> Result<Probe, Self::Error>;
}

/// [`Prober`] for clients that are futures.
pub trait AsyncProber: AsyncConnector {
    /// Asks.
    fn probe(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<Probe, Self::Error>> + Send;
}

/// Changes roles: what a pool that leads a failover itself needs done. Each may be called again after it
/// failed half-way, and then does what is left.
pub trait Promoter: Prober {
    /// Makes sure that the server accepts no write of its epoch any more; it may well be dead already.
    ///
    /// # Errors
    /// Where that is not certain. The failover stops, unless a lease that has run out makes it certain.
    fn fence(&self, old: &Endpoint, epoch: Epoch, deadline: Instant) -> Result<(), Self::Error>;

    /// Stops a replica from receiving, so that its position stays, and no former primary can have a write
    /// acknowledged by it. Answers how far what it has reaches.
    ///
    /// # Errors
    /// The client's own.
    fn stop_receiver(&self, replica: &Endpoint, deadline: Instant)
    -> Result<Position, Self::Error>;

    /// Lets the candidate have what the old primary wrote and did not send, as far as that can still be read. Answers
    /// how far it reaches now.
    ///
    /// # Errors
    /// Where nothing could be had; the failover goes on, and recovers later.
    fn salvage(
        &self,
        old: &Endpoint,
        candidate: &Endpoint,
        deadline: Instant,
    ) -> Result<Position, Self::Error>;

    /// Makes the server a primary that needs no other to acknowledge writes. Answers the new epoch.
    ///
    /// # Errors
    /// The client's own; it may have worked nonetheless, which a probe tells.
    fn promote(&self, candidate: &Endpoint, deadline: Instant) -> Result<Epoch, Self::Error>;

    /// Makes a replica follow another primary.
    ///
    /// # Errors
    /// The client's own.
    fn follow(
        &self,
        replica: &Endpoint,
        primary: &Endpoint,
        deadline: Instant,
    ) -> Result<(), Self::Error>;

    /// Makes a former primary a replica, giving up what only it has: which was recovered, or somebody said that it may go.
    ///
    /// # Errors
    /// The client's own.
    fn rejoin(
        &self,
        old: &Endpoint,
        primary: &Endpoint,
        recovered: &Recovered,
        deadline: Instant,
    ) -> Result<(), Self::Error>;
}

/// [`Promoter`] for clients that are futures.
pub trait AsyncPromoter: AsyncProber {
    /// See [`Promoter::fence`].
    fn fence(
        &self,
        old: &Endpoint,
        epoch: Epoch,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// See [`Promoter::stop_receiver`].
    fn stop_receiver(
        &self,
        replica: &Endpoint,
    ) -> impl Future<Output = Result<Position, Self::Error>> + Send;

    /// See [`Promoter::salvage`].
    fn salvage(
        &self,
        old: &Endpoint,
        candidate: &Endpoint,
    ) -> impl Future<Output = Result<Position, Self::Error>> + Send;

    /// See [`Promoter::promote`].
    fn promote(
        &self,
        candidate: &Endpoint,
    ) -> impl Future<Output = Result<Epoch, Self::Error>> + Send;

    /// See [`Promoter::follow`].
    fn follow(
        &self,
        replica: &Endpoint,
        primary: &Endpoint,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// See [`Promoter::rejoin`].
    fn rejoin(
        &self,
        old: &Endpoint,
        primary: &Endpoint,
        recovered: &Recovered,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
