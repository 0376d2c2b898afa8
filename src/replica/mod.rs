//! One primary and many read replicas: writes go to the one that is primary *now*, reads to replicas that are fresh enough, and
//! when the primary dies nothing that was acknowledged is forgotten.
//!
//! # The bad day
//!
//! The primary `a` dies at night, and `b` is promoted. Somebody switches `a` on again; it still thinks that it is the primary, and
//! acknowledges every write that it is sent.
//!
//! ```
//! # use std::io;
//! # use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//! use tenfold::replica::topology::Settings;
//! use tenfold::replica::{Endpoint, Op, ReplicaPool};
//! # use tenfold::replica::{Connector, Epoch, Fault, Position, Probe, Prober, Role, SystemId};
//! # use tenfold::time::Instant;
//! use tenfold::time::ManualClock;
//!
//! # #[derive(Clone)]
//! # struct Cluster(Arc<Mutex<[Server; 2]>>);
//! # struct Server { up: bool, role: Role, timeline: u64, has: Vec<&'static str> }
//! # impl Cluster {
//! #     fn new() -> Self {
//! #         let server = |role| Server { up: true, role, timeline: 1, has: Vec::new() };
//! #         Self(Arc::new(Mutex::new([server(Role::Primary), server(Role::Replica)])))
//! #     }
//! #     fn set(&self, server: usize, up: bool) { self.0.lock().unwrap()[server].up = up; }
//! #     fn promote(&self, server: usize) {
//! #         let server = &mut self.0.lock().unwrap()[server];
//! #         (server.role, server.timeline) = (Role::Primary, 2);
//! #     }
//! #     fn replicate(&self) { let s = &mut *self.0.lock().unwrap(); s[1].has = s[0].has.clone(); }
//! #     fn has(&self, server: usize, what: &str) -> bool { self.0.lock().unwrap()[server].has.contains(&what) }
//! #     fn write(&self, server: usize, what: &'static str) -> io::Result<Position> {
//! #         let server = &mut self.0.lock().unwrap()[server];
//! #         if !server.up { return Err(io::ErrorKind::ConnectionReset.into()); }
//! #         if server.role == Role::Replica { return Err(io::ErrorKind::ReadOnlyFilesystem.into()); }
//! #         server.has.push(what);
//! #         Ok(Position(server.has.len() as u64))
//! #     }
//! # }
//! # impl Connector for Cluster {
//! #     type Connection = usize;
//! #     type Error = io::Error;
//! #     fn connect(&self, endpoint: &Endpoint, _: Instant) -> io::Result<usize> {
//! #         let server = usize::from(endpoint.name() == "b");
//! #         let up = self.0.lock().unwrap()[server].up;
//! #         if up { Ok(server) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
//! #     }
//! #     fn classify(&self, error: &io::Error) -> Fault {
//! #         match error.kind() {
//! #             io::ErrorKind::ConnectionRefused => Fault::ConnectionLost,
//! #             io::ErrorKind::ReadOnlyFilesystem => Fault::RoleChanged,
//! #             _ => Fault::Unknown,
//! #         }
//! #     }
//! # }
//! # impl Prober for Cluster {
//! #     fn probe(&self, server: &mut usize, _: Instant) -> io::Result<Probe> {
//! #         let server = &self.0.lock().unwrap()[*server];
//! #         if !server.up { return Err(io::ErrorKind::ConnectionReset.into()); }
//! #         let epoch = Epoch { timeline: server.timeline, term: 0 };
//! #         let position = Position(server.has.len() as u64);
//! #         let mut probe = Probe::new(server.role, SystemId(7), epoch, position);
//! #         probe.receiving = (server.role == Role::Replica).then_some(true);
//! #         Ok(probe)
//! #     }
//! # }
//! let cluster = Cluster::new(); // two servers in memory, and a client for them: `Connector` and `Prober`
//! let settings = Settings::builder()
//!     .primary(Endpoint::new("a", "10.0.0.1:5432")?)
//!     .replica(Endpoint::new("b", "10.0.0.2:5432")?)
//!     .build()?;
//! let clock = ManualClock::new();
//! let pool = ReplicaPool::builder(cluster.clone(), settings).clock(clock.clock()).build()?;
//! let monitor = pool.monitor(); // `monitor.run()` on a thread; here, turn by turn
//! let pass = |seconds: u32| (0..seconds * 10).for_each(|_| {
//!     monitor.turn();
//!     clock.advance(Duration::from_millis(100));
//! });
//! pass(2);
//!
//! cluster.set(0, false); // `a` dies,
//! pass(5);
//! cluster.promote(1); // somebody promotes `b`,
//! pass(2);
//! cluster.set(0, true); // and somebody else switches `a` on.
//! pass(2);
//!
//! // Without: a program that knows the address of `a` is told that its order is written. `b` never hears of it.
//! assert!(cluster.write(0, "order 17").is_ok());
//! assert!(!cluster.has(1, "order 17"));
//!
//! // With: `a` lives in an older epoch than `b`, and gets nothing.
//! pool.run(&Op::write(), |server| cluster.write(*server, "order 18"))?;
//! assert!(cluster.has(1, "order 18"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! Nobody tells the pool who is primary: it asks, and each server answers with its role, its [`Epoch`] and how far its log has come.
//! Of two primaries the one of the later epoch counts, whoever answered last.
//!
//! ```text
//! Monitor    asks the servers, and does what follows        -> needs a Prober, to lead failovers a Promoter
//! topology   what is known, and step(what is known, what happened, now) -> what is to be done; no input or output
//! ReplicaPool   reads the newest topology without a lock, chooses a server (balance), lends a connection of its pool
//! recovery   brings what a promotion left behind to the new primary
//! ```
//!
//! A [`ReplicaPool`] is made for a client: a [`Connector`] and [`Prober`] for clients that block, their [twins](AsyncConnector) within [`Async`] for
//! futures. The adapter for PostgreSQL is `tenfold::postgres` (feature `postgres`). It starts no thread: run a [`Monitor`], or spawn
//! the future of an [`AsyncMonitor`].
//!
//! # Where a read goes
//!
//! | [`ReadPreference`] | Goes to | With none of them |
//! |---|---|---|
//! | [`Replica`](ReadPreference::Replica), the default | a replica that has caught up | the primary, as far as its reserve for writes allows |
//! | [`ReplicaOnly`](ReadPreference::ReplicaOnly) | the same | fails |
//! | [`Any`](ReadPreference::Any) | the best of all | fails |
//! | [`Primary`](ReadPreference::Primary) | the primary | waits for one |
//! | [`MaxLag`](ReadPreference::MaxLag) | a replica that is no further behind | the primary, likewise |
//! | [`Tag`](ReadPreference::Tag) | a server with this tag | fails |
//! | [`Tagged`](ReadPreference::Tagged) | a server with all the tags of a set, of the first set that anybody has | fails |
//! | [`AtLeast`](ReadPreference::AtLeast) | who has applied what a token stands for | waits for one that is about to, then the primary |
//!
//! Of several the [balancer](crate::balance) takes the best, by latency, load, failures and weight. Where a statement in SQL has to go, a
//! [`StatementClassifier`] says.
//!
//! # Reading your own writes
//!
//! A user saves a page and is shown the old one, from a replica that is behind. A [`CausalToken`] says what the next read
//! must have seen; it is text for a cookie or a header, and holds where sticky seconds do not: however long the replica is behind.
//!
//! ```
//! # use std::io;
//! # use std::sync::{Arc, Mutex};
//! # use std::time::Duration;
//! # use tenfold::replica::topology::Settings;
//! # use tenfold::replica::{Connector, Endpoint, Epoch, Fault, Position, Probe, Prober, ReplicaPool, Role, SystemId};
//! # use tenfold::time::{Instant, ManualClock};
//! use tenfold::replica::{CausalToken, ReadPreference};
//!
//! # #[derive(Clone)]
//! # struct Cluster(Arc<Mutex<[Server; 2]>>);
//! # struct Server { up: bool, role: Role, timeline: u64, has: Vec<&'static str> }
//! # impl Cluster {
//! #     fn new() -> Self {
//! #         let server = |role| Server { up: true, role, timeline: 1, has: Vec::new() };
//! #         Self(Arc::new(Mutex::new([server(Role::Primary), server(Role::Replica)])))
//! #     }
//! #     fn set(&self, server: usize, up: bool) { self.0.lock().unwrap()[server].up = up; }
//! #     fn promote(&self, server: usize) {
//! #         let server = &mut self.0.lock().unwrap()[server];
//! #         (server.role, server.timeline) = (Role::Primary, 2);
//! #     }
//! #     fn replicate(&self) { let s = &mut *self.0.lock().unwrap(); s[1].has = s[0].has.clone(); }
//! #     fn has(&self, server: usize, what: &str) -> bool { self.0.lock().unwrap()[server].has.contains(&what) }
//! #     fn write(&self, server: usize, what: &'static str) -> io::Result<Position> {
//! #         let server = &mut self.0.lock().unwrap()[server];
//! #         if !server.up { return Err(io::ErrorKind::ConnectionReset.into()); }
//! #         if server.role == Role::Replica { return Err(io::ErrorKind::ReadOnlyFilesystem.into()); }
//! #         server.has.push(what);
//! #         Ok(Position(server.has.len() as u64))
//! #     }
//! # }
//! # impl Connector for Cluster {
//! #     type Connection = usize;
//! #     type Error = io::Error;
//! #     fn connect(&self, endpoint: &Endpoint, _: Instant) -> io::Result<usize> {
//! #         let server = usize::from(endpoint.name() == "b");
//! #         let up = self.0.lock().unwrap()[server].up;
//! #         if up { Ok(server) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
//! #     }
//! #     fn classify(&self, error: &io::Error) -> Fault {
//! #         match error.kind() {
//! #             io::ErrorKind::ConnectionRefused => Fault::ConnectionLost,
//! #             io::ErrorKind::ReadOnlyFilesystem => Fault::RoleChanged,
//! #             _ => Fault::Unknown,
//! #         }
//! #     }
//! # }
//! # impl Prober for Cluster {
//! #     fn probe(&self, server: &mut usize, _: Instant) -> io::Result<Probe> {
//! #         let server = &self.0.lock().unwrap()[*server];
//! #         if !server.up { return Err(io::ErrorKind::ConnectionReset.into()); }
//! #         let epoch = Epoch { timeline: server.timeline, term: 0 };
//! #         let position = Position(server.has.len() as u64);
//! #         let mut probe = Probe::new(server.role, SystemId(7), epoch, position);
//! #         probe.receiving = (server.role == Role::Replica).then_some(true);
//! #         Ok(probe)
//! #     }
//! # }
//! # let cluster = Cluster::new();
//! # let settings = Settings::builder()
//! #     .primary(Endpoint::new("a", "10.0.0.1:5432")?)
//! #     .replica(Endpoint::new("b", "10.0.0.2:5432")?)
//! #     .build()?;
//! # let clock = ManualClock::new();
//! # let pool = ReplicaPool::builder(cluster.clone(), settings).clock(clock.clock()).build()?;
//! # let monitor = pool.monitor();
//! # monitor.turn();
//! let primary = pool.write()?;
//! let position = cluster.write(*primary, "a page")?; // where the commit ends: PostgreSQL's LSN
//! let cookie = primary.commit_token(position)?.to_string();
//! drop(primary);
//!
//! let token: CausalToken = cookie.parse()?;
//! let mine = ReadPreference::AtLeast(token, Duration::ZERO); // or wait so long for a replica
//! assert_eq!(pool.read(&ReadPreference::Replica)?.endpoint().name(), "b"); // has it not
//! assert_eq!(pool.read(&mine)?.endpoint().name(), "a");
//!
//! cluster.replicate();
//! clock.advance(Duration::from_secs(1));
//! monitor.turn();
//! assert_eq!(pool.read(&mine)?.endpoint().name(), "b");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A token of a line of the log that a promotion has cut off before it is refused, with the place, and never read on another one.
//!
//! # Failover
//!
//! With [`Promotion::Observe`](topology::Promotion::Observe), the default, somebody else promotes: an operator, Patroni, a cloud. The pool holds
//! writes back while there is no primary, finds the new one, drops every connection to the old, and never goes back.
//!
//! With [`Promotion::Active`](topology::Promotion::Active) and a client that is a [`Promoter`] its monitor leads the failover itself, and needs
//! a right to: a [`Lease`](topology::Lease), or your word that nobody else promotes.
//!
//! ```text
//! suspect    its probes fail, it has had the time to restart (2 s), and no replica still receives from it
//! fence      the old primary takes no more writes, or nothing follows
//! elect      all replicas stop receiving; the one that has most is the candidate
//! salvage    it is given what the old one did not send, if its disk can be read (not if availability comes first)
//! promote    it takes writes; the others follow it
//! recover    what only the old one has is brought over and verified; with that proof it rejoins as a replica
//! ```
//!
//! A leader that was started when the primary was dead already, beside it on the same machine maybe, has never seen who was primary. If all servers but one
//! answer, as replicas on one line of the log that receive from nobody, that one is presumed to have been, and suspected, once
//! [`operation_timeout`](topology::SettingsBuilder::operation_timeout) has passed since the start: what a leader before it ordered is over then.
//! With more servers missing it promotes nobody, says so, and follows whom somebody else promotes.
//!
//! Each step may fail, and is tried again or ends the attempt; another monitor goes on where one stopped. [`ReplicaPool::events`] tells of all of it.
//!
//! What this promises depends on you. A check in this process is no fence: only the database, whoever switches it off, or a lease that the primary itself depends on
//! keeps a former primary from acknowledging writes of others. A lease that is a mere lock (also
//! [`LocalLease`](topology::LocalLease)) keeps two processes from promoting at once; a failover that one of them has missed because it can reach neither the new
//! primary nor anybody who follows it, is missed with a lease as well. And what was acknowledged and lay only on a disk that is gone, no failover brings back: that
//! takes [synchronous](topology::Synchronous) standbys, or a [`WriteJournal`](recovery::WriteJournal).
//!
//! # Recovery
//!
//! With asynchronous replication a promotion leaves behind what the old primary had acknowledged and not yet sent. [`recovery`] reads it from the old
//! disk or a journal of your own, applies it at most once, overwrites nothing that was written since unless you say so, and reports what
//! could not be had. A former primary does not rejoin, which erases what only it has, without a [`Recovered`](recovery::Recovered) to show for it.
//! Give the monitor a closure ([`recovering`](Monitor::recovering)) and it is part of the failover; `docs/recovery.md` is what to do by hand.
//! Which comes first is a [`RecoveryOrder`].
//!
//! # What you can rely on
//!
//! * **A former primary gets no write** once a later epoch was seen, and each of its old connections fails one write at most.
//! * **A write whose outcome is not known is [`Uncertain`](ReplicaError::Uncertain)** and not repeated, unless it is said to be
//!   [idempotent](Op::idempotent). One that a former primary acknowledged is [`RoleChanged`](ReplicaError::RoleChanged).
//! * **A token is never a stale read**: it is read from who has it, or refused.
//! * **Reads never starve writes** where they have to go to the primary: those have a reserve.
//! * **Retries have a budget**, a tenth of all operations, and go to another server. So have the second questions of
//!   [hedged](ReplicaPool::run_hedged_async) reads, which are not retried but asked while the first server takes its time.
//! * **Pools are fair**: first come, first served, whoever is cancelled or fails; see [`pool`].
//! * **Nothing is promoted too late or twice**: what was ordered is not begun after its deadline, and whoever gets the lease looks again before it acts.
//! * **No lock is held while your client runs**, and **time and chance are yours**: with a [`ManualClock`](crate::time::ManualClock) and a seed every
//!   failover can be played through in a test.
//!
//! # What it costs
//!
//! A server's pool lends an idle connection and takes it back for about 170 instructions, under one lock; the way there takes none. What the topology
//! says of the common preferences and of writes is written out in a few words, and a read by them takes about 540 instructions in all,
//! 430 of which are the balancer's choice and the pool; a write takes 300. Other preferences look at the topology itself. A cluster has 64 servers at most, since a set of them is one word. Each server is asked once a second by each pool, over a
//! connection of its own; a suspect one five times. A failure is found within about four seconds of silence by default, two of them
//! the time to restart.
//!
//! # What it is not
//!
//! No proxy, and no consensus: processes do not talk to each other. No multi-primary replication. It does not copy data: the database replicates, and this
//! knows how far it has come. [`pool::Pool`] is a pool of connections to one server, for whoever has just that.
//!
//! # References
//!
//! The drivers' specifications of Mongo, *Server discovery and monitoring* and *Max staleness*, for monitoring by a pure function, epochs and generations of
//! connections. Terry et al.: *Session guarantees for weakly consistent replicated data*, 1994. [PostgreSQL](https://www.postgresql.org/docs/current/warm-standby.html)
//! on timelines, standbys and `pg_rewind`. Patroni and Orchestrator, for what a failover has to check. Gray, Cheriton: *Leases*, 1989, and Kleppmann: *How to do
//! distributed locking*, 2016, for why a lease needs a number that only grows.

#![forbid(unsafe_code)]

mod client;
mod connector;
mod endpoint;
mod fault;
mod order;
pub mod pool;
mod position;
mod preference;
mod probe;
pub mod recovery;
mod replica_pool;
mod statement;
mod tag_set;
mod token;
pub mod topology;
mod ways;

pub use client::{Async, Client};
pub use connector::{AsyncConnector, AsyncProber, AsyncPromoter, Connector, Prober, Promoter};
pub use endpoint::{Endpoint, EndpointError};
pub use fault::Fault;
pub use order::RecoveryOrder;
pub use position::{Epoch, Fork, InvalidPosition, Position, SystemId};
pub use preference::ReadPreference;
pub use probe::{Probe, Role};
pub use replica_pool::{
    AsyncMonitor, Events, Lent, LostWrites, Monitor, Op, Regained, ReplicaBuildError, ReplicaError,
    ReplicaPool, ReplicaPoolBuilder, RoleChanged, ServerError,
};
pub use statement::{Access, StatementClassifier};
pub use tag_set::TagSet;
pub use token::{CausalToken, InvalidToken};
