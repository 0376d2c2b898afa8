//! Servers in memory with keys and values, that can be fenced, promoted, made to follow, salvaged and rejoined; each of these fails when a
//! test says so, and each that would break a promise is noted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenfold::replica::recovery::memory::MemoryLog;
use tenfold::replica::recovery::{ForkPoint, Recovered, Recovery, ReplicationLog};
use tenfold::replica::{
    AsyncPromoter, Endpoint, Epoch, Fork, LostWrites, Position, Probe, Promoter, Regained, Role,
    SystemId,
};
use tenfold::time::{Instant, ManualClock};

use crate::client::{DbError, connects};

#[derive(Clone)]
pub(crate) struct Cluster(Arc<Mutex<State>>);

struct State {
    servers: BTreeMap<String, Server>,
    /// What was done, in order: "fence p", "follow r2 r1".
    done: Vec<String>,
    /// What fails next, and how.
    fails: VecDeque<(String, Fails)>,
    broken: Vec<String>,
    /// Told by primaries.
    term: u64,
    /// So long the next operation of this name takes.
    slow: Option<(String, Duration)>,
    clock: ManualClock,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fails {
    /// Nothing is done.
    Before,
    /// It is done, and the answer is lost.
    After,
    /// Nothing is done, and the client panics.
    Panics,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Server {
    pub(crate) up: bool,
    /// Whoever would fence it cannot reach it.
    pub(crate) unfenceable: bool,
    /// Its disk can be read by others when it is down.
    pub(crate) disk: bool,
    /// It sends nothing to replicas, and acknowledges nevertheless.
    pub(crate) sends: bool,
    pub(crate) role: Role,
    timeline: u64,
    /// The log of its line, that of its primary as well,
    line: Arc<MemoryLog>,
    /// and how much of it this server has.
    has: Position,
    pub(crate) receives_from: Option<String>,
    history: Vec<Fork>,
    /// Connections made before this are gone.
    life: u32,
}

pub(crate) struct Conn {
    server: String,
    life: u32,
    cluster: Cluster,
}

impl Cluster {
    /// A primary `p` and the replicas `r1` and `r2`.
    pub(crate) fn new(clock: &ManualClock) -> Self {
        let line = Arc::new(MemoryLog::new(1));
        let server = |name: &str| Server {
            up: true,
            unfenceable: false,
            disk: true,
            sends: true,
            role: if name == "p" {
                Role::Primary
            } else {
                Role::Replica
            },
            timeline: 1,
            line: Arc::clone(&line),
            has: Position(0),
            receives_from: (name != "p").then(|| "p".to_owned()),
            history: Vec::new(),
            life: 0,
        };
        let servers = ["p", "r1", "r2"].map(|name| (name.to_owned(), server(name)));
        Self(Arc::new(Mutex::new(State {
            servers: servers.into(),
            done: Vec::new(),
            fails: VecDeque::new(),
            broken: Vec::new(),
            term: 0,
            slow: None,
            clock: clock.clone(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with<R>(&self, name: &str, act: impl FnOnce(&mut Server) -> R) -> R {
        act(self.lock().server(name))
    }

    pub(crate) fn kill(&self, name: &str) {
        self.lock().stop(name);
    }

    /// It is as it was, whatever has happened meanwhile.
    pub(crate) fn start(&self, name: &str) {
        self.with(name, |server| server.up = true);
    }

    /// The next operation of this name fails; "promote r1" or "promote".
    pub(crate) fn fail(&self, what: &str, how: Fails) {
        self.lock().fails.push_back((what.to_owned(), how));
    }

    /// The next operation of this name takes so long.
    pub(crate) fn delay(&self, what: &str, time: Duration) {
        self.lock().slow = Some((what.to_owned(), time));
    }

    /// Primaries tell this term from now on.
    pub(crate) fn tell_term(&self, term: u64) {
        self.lock().term = term;
    }

    pub(crate) fn done(&self) -> Vec<String> {
        self.lock().done.clone()
    }

    /// How often this was done.
    pub(crate) fn count(&self, what: &str) -> usize {
        let done = self.done();
        done.iter().filter(|done| done.starts_with(what)).count()
    }

    /// Which promises were broken.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    /// What another process does.
    pub(crate) fn promoted_by_another(&self, name: &str) {
        let mut state = self.lock();
        state.stop("p");
        state.promote(name);
    }

    /// The value of a key as this server shows it.
    pub(crate) fn value(&self, name: &str, key: &str) -> Option<String> {
        self.with(name, |server| server.line.get(key))
    }

    /// Who takes writes.
    pub(crate) fn writable(&self) -> Vec<String> {
        let state = self.lock();
        let writes = |server: &Server| server.up && server.role == Role::Primary;
        let writable = state.servers.iter().filter(|(_, server)| writes(server));
        writable.map(|(name, _)| name.clone()).collect()
    }

    /// Whether this server is a replica of that one.
    pub(crate) fn follows(&self, name: &str, primary: &str) -> bool {
        self.with(name, |server| {
            server.up
                && server.role == Role::Replica
                && server.receives_from.as_deref() == Some(primary)
        })
    }

    /// What a recovery is: it reads the old disk, if it can be read, and writes to the new primary.
    pub(crate) fn recover(&self, lost: &LostWrites) -> Regained {
        let what = format!("recover {} {}", lost.from.name(), lost.to.name());
        let (how, from, to) = {
            let mut state = self.lock();
            let how = state.begin(&what).ok()?;
            let from = state.server(lost.from.name());
            let from = from.disk.then(|| Arc::clone(&from.line))?;
            (how, from, Arc::clone(&state.server(lost.to.name()).line))
        };
        let fork = ForkPoint::new(lost.timeline, lost.after);
        let report = Recovery::after(fork).source("disk", &*from).run(&*to);
        let mut state = self.lock();
        let applied = to.last_applied().ok()?;
        state.server(lost.to.name()).has = applied;
        how.is_none().then(|| report.complete())
    }

    fn perform<T>(
        &self,
        what: &str,
        act: impl FnOnce(&mut State) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.linger(what);
        let mut state = self.lock();
        let how = state.begin(what)?;
        let done = act(&mut state)?;
        match how {
            Some(Fails::After) => Err(DbError::Reset),
            _ => Ok(done),
        }
    }

    /// Time passes, if it is to.
    fn linger(&self, what: &str) {
        let mut state = self.lock();
        let is_slow = |slow: &mut (String, Duration)| what.starts_with(&slow.0);
        let slow = state.slow.take_if(is_slow);
        let clock = state.clock.clone();
        drop(state);
        if let Some((_, time)) = slow {
            clock.advance(time);
        }
    }

    /// Nothing is begun when its time is up.
    fn in_time(&self, what: &str, server: &Endpoint, deadline: Instant) {
        let mut state = self.lock();
        if state.clock.now() >= deadline {
            let broken = format!("{what} {} was begun too late", server.name());
            state.broken.push(broken);
        }
    }

    fn fence_it(&self, old: &Endpoint) -> Result<(), DbError> {
        let name = old.name();
        self.perform(&format!("fence {name}"), |state| {
            if state.server(name).unfenceable {
                return Err(DbError::NotDone);
            }
            state.stop(name);
            Ok(())
        })
    }

    fn stop_it(&self, replica: &Endpoint) -> Result<Position, DbError> {
        let name = replica.name();
        self.perform(&format!("stop_receiver {name}"), |state| {
            let server = state.reach(name)?;
            if server.role == Role::Primary {
                return Err(DbError::NotDone);
            }
            server.receives_from = None;
            Ok(server.has)
        })
    }

    fn salvage_it(&self, old: &Endpoint, candidate: &Endpoint) -> Result<Position, DbError> {
        let (old, candidate) = (old.name(), candidate.name());
        self.perform(&format!("salvage {old} {candidate}"), |state| {
            let from = state.server(old);
            if !from.disk {
                return Err(DbError::NotDone);
            }
            let (timeline, has) = (from.timeline, from.has);
            let to = state.reach(candidate)?;
            assert_eq!(to.timeline, timeline);
            to.has = to.has.max(has);
            Ok(to.has)
        })
    }

    fn promote_it(&self, candidate: &Endpoint) -> Result<Epoch, DbError> {
        let name = candidate.name();
        self.perform(&format!("promote {name}"), |state| {
            state.reach(name)?;
            let others = state.servers.iter();
            let writable = others.filter(|(other, server)| {
                *other != name && server.up && server.role == Role::Primary
            });
            let beside: Vec<_> = writable.map(|(other, _)| other.clone()).collect();
            if !beside.is_empty() {
                let broken = format!("{name} was promoted beside {beside:?}");
                state.broken.push(broken);
            }
            Ok(state.promote(name))
        })
    }

    fn follow_it(&self, replica: &Endpoint, primary: &Endpoint) -> Result<(), DbError> {
        let (replica, primary) = (replica.name(), primary.name());
        self.perform(&format!("follow {replica} {primary}"), |state| {
            let (line, timeline, has, history) = state.reach(primary)?.stream();
            let server = state.reach(replica)?;
            if server.timeline != timeline {
                let fork = history.iter().find(|fork| fork.parent == server.timeline);
                if fork.is_none_or(|fork| fork.at < server.has) {
                    return Err(DbError::NotDone);
                }
            }
            (server.line, server.timeline, server.has) = (line, timeline, has);
            server.receives_from = Some(primary.to_owned());
            Ok(())
        })
    }

    fn rejoin_it(
        &self,
        old: &Endpoint,
        primary: &Endpoint,
        recovered: &Recovered,
    ) -> Result<(), DbError> {
        let (old, primary) = (old.name(), primary.name());
        self.perform(&format!("rejoin {old} {primary}"), |state| {
            let (line, timeline, has, _) = state.reach(primary)?.stream();
            let server = state.server(old);
            let proves = recovered.fork().timeline;
            if server.timeline != timeline && server.timeline != proves {
                let broken = format!("{old} rejoined with a proof of timeline {proves}");
                state.broken.push(broken);
                return Err(DbError::NotDone);
            }
            (server.line, server.timeline, server.has) = (line, timeline, has);
            server.role = Role::Replica;
            server.receives_from = Some(primary.to_owned());
            server.history = Vec::new();
            server.life += 1;
            server.up = true;
            Ok(())
        })
    }

    fn connect_to(&self, endpoint: &Endpoint) -> Result<Conn, DbError> {
        let name = endpoint.name();
        let life = self.with(name, |server| server.up.then_some(server.life));
        Ok(Conn {
            server: name.to_owned(),
            life: life.ok_or(DbError::Refused)?,
            cluster: self.clone(),
        })
    }

    fn ask(conn: &Conn) -> Result<Probe, DbError> {
        conn.on(|state, name| {
            let primary_sends = |name: &String| {
                let primary = &state.servers[name];
                primary.up && primary.sends && primary.role == Role::Primary
            };
            let server = &state.servers[name];
            let is_primary = server.role == Role::Primary;
            let epoch = Epoch {
                timeline: server.timeline,
                term: if is_primary { state.term } else { 0 },
            };
            let mut probe = Probe::new(server.role, SystemId(7), epoch, server.has);
            if is_primary {
                probe.history.clone_from(&server.history);
            } else {
                let receives = server.receives_from.as_ref().is_some_and(primary_sends);
                probe.receiving = Some(receives);
            }
            probe
        })
    }
}

impl State {
    fn server(&mut self, name: &str) -> &mut Server {
        self.servers.get_mut(name).expect("there is such a server")
    }

    fn reach(&mut self, name: &str) -> Result<&mut Server, DbError> {
        let server = self.server(name);
        if server.up {
            Ok(server)
        } else {
            Err(DbError::Refused)
        }
    }

    fn stop(&mut self, name: &str) {
        let server = self.server(name);
        server.up = false;
        server.life += 1;
    }

    /// Notes an operation, and says whether and how it fails.
    fn begin(&mut self, what: &str) -> Result<Option<Fails>, DbError> {
        self.done.push(what.to_owned());
        let found = self
            .fails
            .iter()
            .position(|(fails, _)| what.starts_with(fails));
        match found.and_then(|at| self.fails.remove(at)) {
            Some((_, Fails::Before)) => Err(DbError::NotDone),
            Some((_, Fails::Panics)) => panic!("the client of {what} panics"),
            how => Ok(how.map(|(_, how)| how)),
        }
    }

    fn promote(&mut self, name: &str) -> Epoch {
        let server = self.server(name);
        // Asked again after it worked, it has nothing to do.
        if server.role == Role::Replica {
            server.line = Arc::new(server.line.promote(server.has));
            server.history = vec![Fork {
                timeline: server.timeline + 1,
                parent: server.timeline,
                at: server.has,
            }];
            server.timeline += 1;
            server.role = Role::Primary;
            server.receives_from = None;
        }
        Epoch {
            timeline: server.timeline,
            term: self.term,
        }
    }
}

impl Server {
    /// What a replica of it receives.
    fn stream(&self) -> (Arc<MemoryLog>, u64, Position, Vec<Fork>) {
        (
            Arc::clone(&self.line),
            self.timeline,
            self.has,
            self.history.clone(),
        )
    }
}

impl Conn {
    fn on<R>(&self, act: impl FnOnce(&mut State, &str) -> R) -> Result<R, DbError> {
        let mut state = self.cluster.lock();
        let server = state.server(&self.server);
        if !server.up || server.life != self.life {
            return Err(DbError::Reset);
        }
        Ok(act(&mut state, &self.server))
    }

    /// Commits a write, and sends it to whoever receives, unless the server has ceased to.
    pub(crate) fn write(&mut self, key: &str) -> Result<Position, DbError> {
        self.on(|state, name| {
            let server = state.server(name);
            if server.role == Role::Replica {
                return Err(DbError::ReadOnly);
            }
            let position = server.line.write(key, key);
            server.has = position;
            let (timeline, sends) = (server.timeline, server.sends);
            for (other, server) in &mut state.servers {
                if server.role == Role::Primary && server.timeline > timeline {
                    let broken = format!("{name} took {key} beside {other}");
                    state.broken.push(broken);
                }
                if sends && server.up && server.receives_from.as_deref() == Some(name) {
                    server.has = position;
                }
            }
            Ok(position)
        })?
    }
}

connects!(Cluster, Conn);

impl Promoter for Cluster {
    fn fence(&self, old: &Endpoint, _: Epoch, until: Instant) -> Result<(), DbError> {
        self.in_time("fence", old, until);
        self.fence_it(old)
    }

    fn stop_receiver(&self, replica: &Endpoint, until: Instant) -> Result<Position, DbError> {
        self.in_time("stop_receiver", replica, until);
        self.stop_it(replica)
    }

    fn salvage(&self, old: &Endpoint, to: &Endpoint, _: Instant) -> Result<Position, DbError> {
        self.salvage_it(old, to)
    }

    fn promote(&self, candidate: &Endpoint, until: Instant) -> Result<Epoch, DbError> {
        self.in_time("promote", candidate, until);
        self.promote_it(candidate)
    }

    fn follow(&self, replica: &Endpoint, primary: &Endpoint, _: Instant) -> Result<(), DbError> {
        self.follow_it(replica, primary)
    }

    fn rejoin(
        &self,
        old: &Endpoint,
        primary: &Endpoint,
        recovered: &Recovered,
        _: Instant,
    ) -> Result<(), DbError> {
        self.rejoin_it(old, primary, recovered)
    }
}

impl AsyncPromoter for Cluster {
    async fn fence(&self, old: &Endpoint, _: Epoch) -> Result<(), DbError> {
        self.fence_it(old)
    }

    async fn stop_receiver(&self, replica: &Endpoint) -> Result<Position, DbError> {
        self.stop_it(replica)
    }

    async fn salvage(&self, old: &Endpoint, to: &Endpoint) -> Result<Position, DbError> {
        self.salvage_it(old, to)
    }

    async fn promote(&self, candidate: &Endpoint) -> Result<Epoch, DbError> {
        self.promote_it(candidate)
    }

    async fn follow(&self, replica: &Endpoint, primary: &Endpoint) -> Result<(), DbError> {
        self.follow_it(replica, primary)
    }

    async fn rejoin(
        &self,
        old: &Endpoint,
        primary: &Endpoint,
        recovered: &Recovered,
    ) -> Result<(), DbError> {
        self.rejoin_it(old, primary, recovered)
    }
}
