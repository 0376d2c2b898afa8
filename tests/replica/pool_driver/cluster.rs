//! Servers in memory: a log, who is primary of which timeline, and how far each replica has come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tenfold::replica::{Endpoint, Epoch, Position, Probe, Role, SystemId};
use tenfold::time::Instant;

use crate::client::{DbError, connects};

#[derive(Clone)]
pub(crate) struct Cluster(Arc<Mutex<BTreeMap<String, Server>>>);

#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) up: bool,
    pub(crate) role: Role,
    pub(crate) timeline: u64,
    pub(crate) position: u64,
    pub(crate) reads: u32,
    pub(crate) writes: Vec<u64>,
    /// The next write is done, and its answer is lost.
    pub(crate) loses_answer: bool,
    pub(crate) connected: u32,
    /// Connections made before this are gone.
    life: u32,
}

pub(crate) struct Conn {
    server: String,
    life: u32,
    cluster: Cluster,
}

impl Cluster {
    /// A primary `p` and so many replicas `r1`, `r2`, ….
    pub(crate) fn new(replicas: usize) -> Self {
        let cluster = Self(Arc::default());
        cluster.add("p", Role::Primary);
        for n in 1..=replicas {
            cluster.add(&format!("r{n}"), Role::Replica);
        }
        cluster
    }

    pub(crate) fn add(&self, name: &str, role: Role) {
        let server = Server {
            up: true,
            role,
            timeline: 1,
            position: 100,
            reads: 0,
            writes: Vec::new(),
            loses_answer: false,
            connected: 0,
            life: 0,
        };
        self.lock().insert(name.to_owned(), server);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Server>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with<R>(&self, name: &str, act: impl FnOnce(&mut Server) -> R) -> R {
        act(self.lock().get_mut(name).expect("there is such a server"))
    }

    pub(crate) fn kill(&self, name: &str) {
        self.with(name, |server| {
            server.up = false;
            server.life += 1;
        });
    }

    pub(crate) fn start(&self, name: &str) {
        self.with(name, |server| server.up = true);
    }

    /// Makes a replica the primary of the next timeline, and has the others follow it.
    pub(crate) fn promote(&self, name: &str) {
        let mut servers = self.lock();
        let timeline = servers.values().map(|server| server.timeline).max();
        let timeline = timeline.expect("there are servers") + 1;
        for (other, server) in servers.iter_mut() {
            if server.up {
                let primary = other == name;
                server.role = if primary {
                    Role::Primary
                } else {
                    Role::Replica
                };
                server.timeline = timeline;
            }
        }
    }

    /// Every replica has what the primary has.
    pub(crate) fn replicate(&self) {
        let mut servers = self.lock();
        let primaries = servers
            .values()
            .filter(|server| server.role == Role::Primary);
        let head = primaries.map(|server| server.position).max();
        for server in servers.values_mut().filter(|server| server.up) {
            server.position = server.position.max(head.expect("there is a primary"));
        }
    }

    fn connect_to(&self, endpoint: &Endpoint) -> Result<Conn, DbError> {
        let life = self.with(endpoint.address(), |server| {
            server.connected += u32::from(server.up);
            server.up.then_some(server.life)
        });
        Ok(Conn {
            server: endpoint.address().to_owned(),
            life: life.ok_or(DbError::Refused)?,
            cluster: self.clone(),
        })
    }

    fn ask(conn: &Conn) -> Result<Probe, DbError> {
        conn.on(|server| {
            let epoch = Epoch {
                timeline: server.timeline,
                term: 0,
            };
            let position = Position(server.position);
            let mut probe = Probe::new(server.role, SystemId(7), epoch, position);
            probe.receiving = (server.role == Role::Replica).then_some(true);
            probe
        })
    }
}

impl Conn {
    fn on<R>(&self, act: impl FnOnce(&mut Server) -> R) -> Result<R, DbError> {
        self.cluster.with(&self.server, |server| {
            if !server.up || server.life != self.life {
                return Err(DbError::Reset);
            }
            Ok(act(server))
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.server
    }

    /// What the server has applied.
    pub(crate) fn read(&mut self) -> Result<u64, DbError> {
        self.on(|server| {
            server.reads += 1;
            server.position
        })
    }

    pub(crate) fn write(&mut self, value: u64) -> Result<Position, DbError> {
        self.on(|server| {
            if server.role == Role::Replica {
                return Err(DbError::ReadOnly);
            }
            server.position += 1;
            server.writes.push(value);
            if std::mem::take(&mut server.loses_answer) {
                return Err(DbError::Reset);
            }
            Ok(Position(server.position))
        })?
    }
}

connects!(Cluster, Conn);
