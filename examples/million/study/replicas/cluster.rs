//! Databases in virtual time: cores that queries wait for, a log that replicas get a little later, and what an operator can do
//! to them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenfold::replica::recovery::{ForkPoint, Recovered};
use tenfold::replica::{
    AsyncConnector, AsyncProber, AsyncPromoter, Endpoint, Epoch, Fault, Fork, LostWrites, Position,
    Probe, Regained, Role, SystemId,
};
use tenfold::rng::Rng;
use tenfold::time::{Instant, ManualClock};

use super::Replicas;
use crate::study::SEED;

/// All servers; the first one begins as the primary.
#[derive(Clone)]
pub(super) struct Cluster {
    clock: ManualClock,
    /// A write is acknowledged when one replica has it, too.
    synchronous: bool,
    state: Arc<Mutex<State>>,
}

struct State {
    servers: Vec<Server>,
    rng: Rng,
    /// Writes that a server took when there was a later primary.
    misplaced: Vec<u64>,
}

struct Server {
    up: bool,
    /// How often it has died: connections made before are gone.
    life: u32,
    /// What it takes itself for.
    role: Role,
    fenced: bool,
    timeline: u64,
    history: Vec<Fork>,
    log: Vec<Entry>,
    /// From whom it receives.
    source: Option<usize>,
    /// When each core is free.
    cores: [Instant; Replicas::CORES],
    /// Whether what it has written can be read while it is down.
    disk: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    number: u64,
    at: Instant,
}

pub(super) struct Connection {
    server: usize,
    life: u32,
    cluster: Cluster,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("connection refused")]
    Refused,
    #[error("connection reset")]
    Reset,
    #[error("read-only transaction")]
    ReadOnly,
    #[error("the disk cannot be read")]
    NoDisk,
    #[error("there is no such server")]
    Unknown,
}

impl Cluster {
    pub(super) fn new(clock: &ManualClock, synchronous: bool) -> Self {
        let server = |number| Server {
            up: true,
            life: 0,
            role: if number == 0 {
                Role::Primary
            } else {
                Role::Replica
            },
            fenced: false,
            timeline: 1,
            history: Vec::new(),
            log: Vec::new(),
            source: (number != 0).then_some(0),
            cores: [clock.now(); Replicas::CORES],
            disk: true,
        };
        let state = State {
            servers: (0..=Replicas::REPLICAS).map(server).collect(),
            rng: Rng::with_seed(SEED),
            misplaced: Vec::new(),
        };
        Self {
            clock: clock.clone(),
            synchronous,
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn kill(&self, server: usize, disk: bool) {
        let server = &mut self.lock().servers[server];
        (server.up, server.disk) = (false, disk);
        server.life += 1;
    }

    /// It is what it was when it died, as far as it knows.
    pub(super) fn start(&self, server: usize) {
        let now = self.clock.now();
        let server = &mut self.lock().servers[server];
        (server.up, server.cores) = (true, [now; Replicas::CORES]);
    }

    /// What an operator does by hand: one replica becomes primary, the others that are up follow it.
    pub(super) fn promote_by_hand(&self, server: usize) {
        let mut state = self.lock();
        state.promote(server);
        for other in 0..state.servers.len() {
            if other != server && state.servers[other].up {
                state.follow(other, server);
            }
        }
    }

    /// Replicas get what is old enough.
    pub(super) fn replicate(&self) {
        let (now, mut state) = (self.clock.now(), self.lock());
        for number in 0..state.servers.len() {
            let server = &state.servers[number];
            let Some(source) = server.source.map(|source| &state.servers[source]) else {
                continue;
            };
            if !server.up || !source.up || source.role == Role::Replica {
                continue;
            }
            let from = server.log.len().min(source.log.len());
            let sent = source.log[from..].iter();
            let sent = sent.take_while(|entry| entry.at + Replicas::LAG <= now);
            let sent: Vec<Entry> = sent.copied().collect();
            state.servers[number].log.extend(sent);
        }
    }

    /// Writes that a former primary took.
    pub(super) fn misplaced(&self) -> Vec<u64> {
        self.lock().misplaced.clone()
    }

    /// All that the primary has; of several, the one of the latest timeline.
    pub(super) fn kept(&self) -> Vec<u64> {
        let state = self.lock();
        let up = state.servers.iter().filter(|server| server.up);
        let primaries = up.filter(|server| server.role == Role::Primary);
        let primary = primaries.max_by_key(|server| server.timeline);
        primary.map_or_else(Vec::new, |server| {
            server.log.iter().map(|entry| entry.number).collect()
        })
    }

    pub(super) fn open(&self, server: usize) -> Result<Connection, Problem> {
        let state = self.lock();
        let found = state.servers.get(server).ok_or(Problem::Unknown)?;
        if !found.up {
            return Err(Problem::Refused);
        }
        Ok(Connection {
            server,
            life: found.life,
            cluster: self.clone(),
        })
    }

    /// What of a former primary's log is not on the new one's line: nothing, where it was salvaged.
    pub(super) fn regain(&self, lost: &LostWrites) -> Regained {
        let from = number(&lost.from).ok()?;
        let reached = Position(self.lock().servers[from].log.len() as u64);
        let fork = ForkPoint::new(lost.timeline, lost.after);
        Some(Recovered::nothing_lost(fork, reached))
    }
}

impl State {
    fn promote(&mut self, server: usize) {
        let timelines = self.servers.iter().map(|server| server.timeline);
        let timeline = timelines.max().unwrap_or(0) + 1;
        let server = &mut self.servers[server];
        server.history.push(Fork {
            timeline,
            parent: server.timeline,
            at: Position(server.log.len() as u64),
        });
        (server.role, server.fenced) = (Role::Primary, false);
        (server.timeline, server.source) = (timeline, None);
    }

    /// What it has and the primary has not is given up.
    fn follow(&mut self, replica: usize, primary: usize) {
        let source = &self.servers[primary];
        let both = source.log.iter().zip(&self.servers[replica].log);
        let same = both.take_while(|(one, other)| one.number == other.number);
        let (same, timeline, history) = (same.count(), source.timeline, source.history.clone());
        let replica = &mut self.servers[replica];
        replica.log.truncate(same);
        (replica.timeline, replica.history) = (timeline, history);
        (replica.role, replica.source) = (Role::Replica, Some(primary));
    }
}

impl Connection {
    pub(super) fn server(&self) -> usize {
        self.server
    }

    /// A query: waits for a core, and is not done if the server dies meanwhile.
    async fn work(&self) -> Result<(), Problem> {
        let now = self.cluster.clock.now();
        let ends = {
            let mut state = self.cluster.lock();
            let spread = 2 * Replicas::TAKES.as_micros() as u64;
            let takes = Duration::from_micros(state.rng.next_u64() % spread);
            let server = &mut state.servers[self.server];
            if !server.up || server.life != self.life {
                return Err(Problem::Refused);
            }
            let soonest = server.cores.iter_mut().min();
            let core = soonest.ok_or(Problem::Unknown)?;
            *core = (*core).max(now) + takes;
            *core
        };
        self.pause(ends.saturating_since(now)).await;
        self.is_alive()
    }

    fn is_alive(&self) -> Result<(), Problem> {
        let server = &self.cluster.lock().servers[self.server];
        if server.up && server.life == self.life {
            Ok(())
        } else {
            Err(Problem::Reset)
        }
    }

    async fn pause(&self, pause: Duration) {
        self.cluster.clock.timer().sleep(pause).await;
    }

    /// How far the log has come that the read sees.
    pub(super) async fn read(&self) -> Result<Position, Problem> {
        self.work().await?;
        let log = &self.cluster.lock().servers[self.server].log;
        Ok(Position(log.len() as u64))
    }

    pub(super) async fn write(&self, number: u64) -> Result<Position, Problem> {
        self.work().await?;
        let position = self.append(number)?;
        while self.cluster.synchronous && !self.is_replicated(position) {
            self.pause(Duration::from_millis(1)).await;
            self.is_alive()?;
        }
        Ok(position)
    }

    fn append(&self, number: u64) -> Result<Position, Problem> {
        let (at, mut state) = (self.cluster.clock.now(), self.cluster.lock());
        let latest = state.servers.iter().map(|server| server.timeline).max();
        let server = &mut state.servers[self.server];
        if server.role == Role::Replica || server.fenced {
            return Err(Problem::ReadOnly);
        }
        server.log.push(Entry { number, at });
        let position = Position(server.log.len() as u64);
        if Some(server.timeline) < latest {
            state.misplaced.push(number);
        }
        Ok(position)
    }

    fn is_replicated(&self, position: Position) -> bool {
        let state = self.cluster.lock();
        let mut replicas = state.servers.iter();
        replicas.any(|server| {
            server.source == Some(self.server) && server.log.len() as u64 >= position.0
        })
    }
}

fn number(endpoint: &Endpoint) -> Result<usize, Problem> {
    endpoint.address().parse().map_err(|_| Problem::Unknown)
}

impl AsyncConnector for Cluster {
    type Connection = Connection;
    type Error = Problem;

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Problem> {
        self.open(number(endpoint)?)
    }

    fn classify(&self, problem: &Problem) -> Fault {
        match problem {
            Problem::Refused => Fault::ConnectionLost,
            Problem::ReadOnly => Fault::RoleChanged,
            _ => Fault::Unknown,
        }
    }
}

impl AsyncProber for Cluster {
    async fn probe(&self, connection: &mut Connection) -> Result<Probe, Problem> {
        connection.pause(Duration::from_millis(1)).await;
        connection.is_alive()?;
        let state = self.lock();
        let server = &state.servers[connection.server];
        let receives = server.source.is_some_and(|source| state.servers[source].up);
        let epoch = Epoch {
            timeline: server.timeline,
            term: 0,
        };
        let position = Position(server.log.len() as u64);
        let mut probe = Probe::new(server.role, SystemId(1), epoch, position);
        probe.receiving = (server.role == Role::Replica).then_some(receives);
        probe.history.clone_from(&server.history);
        Ok(probe)
    }
}

impl AsyncPromoter for Cluster {
    async fn fence(&self, old: &Endpoint, _: Epoch) -> Result<(), Problem> {
        // Who is down takes no writes, and is fenced once it is up.
        let server = &mut self.lock().servers[number(old)?];
        server.fenced = server.up;
        Ok(())
    }

    async fn stop_receiver(&self, replica: &Endpoint) -> Result<Position, Problem> {
        let server = &mut self.lock().servers[number(replica)?];
        server.source = None;
        Ok(Position(server.log.len() as u64))
    }

    async fn salvage(&self, old: &Endpoint, candidate: &Endpoint) -> Result<Position, Problem> {
        let (old, candidate) = (number(old)?, number(candidate)?);
        let mut state = self.lock();
        if !state.servers[old].disk {
            return Err(Problem::NoDisk);
        }
        let log = state.servers[old].log.clone();
        let reached = Position(log.len() as u64);
        state.servers[candidate].log = log;
        Ok(reached)
    }

    async fn promote(&self, candidate: &Endpoint) -> Result<Epoch, Problem> {
        let candidate = number(candidate)?;
        self.clock.timer().sleep(Replicas::PROMOTION_TAKES).await;
        let mut state = self.lock();
        state.promote(candidate);
        Ok(Epoch {
            timeline: state.servers[candidate].timeline,
            term: 0,
        })
    }

    async fn follow(&self, replica: &Endpoint, primary: &Endpoint) -> Result<(), Problem> {
        let (replica, primary) = (number(replica)?, number(primary)?);
        self.lock().follow(replica, primary);
        Ok(())
    }

    async fn rejoin(
        &self,
        old: &Endpoint,
        primary: &Endpoint,
        _: &Recovered,
    ) -> Result<(), Problem> {
        let (old, primary) = (number(old)?, number(primary)?);
        let mut state = self.lock();
        state.follow(old, primary);
        state.servers[old].fenced = false;
        Ok(())
    }
}
