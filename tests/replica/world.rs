//! A cluster in memory: servers with logs that replicate, a network that loses, delays and repeats, disks that are lost.
//! It knows nothing of topologies; who drives it does.

use tenfold::replica::{Epoch, Fork, Position, Probe, Role, SystemId};
use tenfold::rng::Rng;

pub(crate) const SYSTEM: SystemId = SystemId(7);

/// What a server has written, or had sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Different for every write of the world; a recovered one keeps that of the write.
    pub(crate) write: u64,
    /// Different for every entry: two logs that have the same at a position are the same up to it.
    pub(crate) id: u64,
}

/// A write that a server has not acknowledged yet, because too few standbys have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unacknowledged {
    pub(crate) position: usize,
    pub(crate) write: u64,
    pub(crate) client: usize,
}

#[derive(Debug, Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a failure of its own"
)]
pub(crate) struct Server {
    pub(crate) up: bool,
    /// Its disk is gone for good.
    pub(crate) gone: bool,
    pub(crate) fenced: bool,
    pub(crate) role: Role,
    pub(crate) timeline: u64,
    pub(crate) history: Vec<Fork>,
    pub(crate) log: Vec<Entry>,
    pub(crate) applied: usize,
    pub(crate) receiver: bool,
    pub(crate) connected: bool,
    pub(crate) following: usize,
    pub(crate) incarnation: u64,
    pub(crate) slow: bool,
    /// How far each other one has confirmed.
    pub(crate) confirmed: Vec<usize>,
    pub(crate) waiting: Vec<Unacknowledged>,
    /// Until when it may take writes by its own clock; nothing if no lease is needed.
    pub(crate) lease_until: Option<u64>,
}

impl Server {
    /// One that is fenced is switched off.
    pub(crate) fn runs(&self) -> bool {
        self.up && !self.fenced
    }
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
    /// Who hears whom: bit `b` of `links[a]`.
    pub(crate) links: Vec<u64>,
    pub(crate) acknowledgements: usize,
    /// The newest timeline anybody was promoted to.
    pub(crate) newest: u64,
    ids: u64,
}

impl Cluster {
    pub(crate) fn new(servers: usize, others: usize, acknowledgements: usize) -> Self {
        let server = |at: usize| Server {
            up: true,
            gone: false,
            fenced: false,
            role: if at == 0 {
                Role::Primary
            } else {
                Role::Replica
            },
            timeline: 1,
            history: Vec::new(),
            log: Vec::new(),
            applied: 0,
            receiver: at != 0,
            connected: at != 0,
            following: 0,
            incarnation: 0,
            slow: false,
            confirmed: vec![0; servers],
            waiting: Vec::new(),
            lease_until: None,
        };
        Self {
            servers: (0..servers).map(server).collect(),
            links: vec![u64::MAX; servers + others],
            acknowledgements,
            newest: 1,
            ids: 0,
        }
    }

    pub(crate) fn linked(&self, a: usize, b: usize) -> bool {
        self.links[a] >> b & 1 == 1
    }

    /// Parts those whose bits are set from the rest.
    pub(crate) fn part(&mut self, group: u64) {
        for (at, links) in self.links.iter_mut().enumerate() {
            *links = if group >> at & 1 == 1 { group } else { !group };
        }
    }

    pub(crate) fn heal(&mut self) {
        self.links.fill(u64::MAX);
    }

    pub(crate) fn takes_writes(&self, server: usize, now: u64) -> bool {
        let s = &self.servers[server];
        let may = s.lease_until.is_none_or(|until| now < until);
        s.up && s.role == Role::Primary && !s.fenced && may
    }

    /// Appends a write of a client. Answers its position, and whether it is acknowledged at once.
    pub(crate) fn write(&mut self, server: usize, write: u64, client: usize) -> (usize, bool) {
        self.ids += 1;
        let entry = Entry {
            write,
            id: self.ids,
        };
        let synchronous = self.acknowledgements > 0;
        let s = &mut self.servers[server];
        s.log.push(entry);
        s.applied = s.log.len();
        let position = s.log.len();
        if synchronous {
            s.waiting.push(Unacknowledged {
                position,
                write,
                client,
            });
        }
        (position, !synchronous)
    }

    /// Writes of a server that enough standbys have by now.
    pub(crate) fn acknowledged(&mut self, server: usize) -> Vec<Unacknowledged> {
        let k = self.acknowledgements;
        let s = &mut self.servers[server];
        if !s.up || s.fenced || s.waiting.is_empty() {
            return Vec::new();
        }
        let confirmed = s.confirmed.clone();
        let enough = |w: &Unacknowledged| {
            let have = confirmed.iter().filter(|&&reach| reach >= w.position);
            have.count() >= k
        };
        let (done, waiting) = s.waiting.drain(..).partition(enough);
        s.waiting = waiting;
        done
    }

    /// A replica receives what is there for it, and applies some of what it has.
    pub(crate) fn receive(&mut self, replica: usize, rng: &mut Rng) {
        let from = self.servers[replica].following;
        let heard = self.linked(replica, from) && self.servers[from].runs();
        if !self.servers[replica].up || self.servers[replica].role == Role::Primary {
            return;
        }
        let receives = self.servers[replica].receiver && heard && self.is_prefix(replica, from);
        self.servers[replica].connected = receives;
        if receives {
            let have = self.servers[replica].log.len();
            let batch = 1 + rng.below(40) as usize;
            let until = self.servers[from].log.len().min(have + batch);
            let new = self.servers[from].log[have..until].to_vec();
            let line = self.servers[from].timeline;
            let fork = self.servers[from]
                .history
                .last()
                .map_or(0, |fork| fork.at.0);
            if self.servers[replica].timeline != line && until as u64 >= fork {
                let history = self.servers[from].history.clone();
                self.servers[replica].history = history;
                self.servers[replica].timeline = line;
            }
            self.servers[replica].log.extend(new);
            self.servers[from].confirmed[replica] = until;
        }
        let s = &mut self.servers[replica];
        let batch = 1 + rng.below(40) as usize;
        s.applied = s.log.len().min(s.applied + batch);
    }

    fn is_prefix(&self, replica: usize, of: usize) -> bool {
        let (r, p) = (&self.servers[replica], &self.servers[of]);
        match r.log.last() {
            None => true,
            Some(last) => p.log.get(r.log.len() - 1) == Some(last),
        }
    }

    pub(crate) fn crash(&mut self, server: usize, with_disk: bool) {
        let s = &mut self.servers[server];
        s.up = false;
        s.incarnation += 1;
        s.connected = false;
        s.waiting.clear();
        if with_disk {
            s.gone = true;
            s.log.clear();
            s.applied = 0;
        }
    }

    /// Starts it anew. What it had applied and not written is to be applied again.
    pub(crate) fn restart(&mut self, server: usize, rng: &mut Rng) {
        let s = &mut self.servers[server];
        if s.gone || s.up {
            return;
        }
        s.up = true;
        s.confirmed.fill(0);
        if s.role == Role::Replica {
            s.applied = s.applied.saturating_sub(rng.below(20) as usize);
        } else {
            s.applied = s.log.len();
        }
    }

    pub(crate) fn probe(&self, server: usize) -> Probe {
        let s = &self.servers[server];
        let epoch = Epoch {
            timeline: s.timeline,
            term: 0,
        };
        let mut probe = Probe::new(s.role, SYSTEM, epoch, Position(s.applied as u64));
        if s.role == Role::Replica {
            probe.received = Some(Position(s.log.len() as u64));
            probe.receiving = Some(s.connected);
            let upstream = format!("s{}:1", s.following);
            probe.upstream = s.connected.then(|| upstream.into());
        }
        probe.history.clone_from(&s.history);
        probe
    }

    /// Makes a replica a primary of a line of the log that nobody had before.
    pub(crate) fn promote(&mut self, server: usize) -> Epoch {
        let newest = self.newest + 1;
        let s = &mut self.servers[server];
        if s.role == Role::Replica {
            self.newest = newest;
            s.history.push(Fork {
                timeline: newest,
                parent: s.timeline,
                at: Position(s.log.len() as u64),
            });
            s.timeline = newest;
            s.role = Role::Primary;
            s.receiver = false;
            s.applied = s.log.len();
            s.confirmed.fill(0);
            s.fenced = false;
        }
        Epoch {
            timeline: s.timeline,
            term: 0,
        }
    }

    pub(crate) fn follow(&mut self, replica: usize, primary: usize) {
        let s = &mut self.servers[replica];
        if s.role == Role::Replica {
            s.following = primary;
            s.receiver = true;
        }
    }

    /// What only this server's disk has after a position goes to the new primary; done twice it changes nothing.
    pub(crate) fn recover(&mut self, from: usize, to: usize) -> bool {
        if self.servers[from].gone {
            return false;
        }
        let missing: Vec<u64> = {
            let there = &self.servers[to].log;
            let writes: std::collections::HashSet<u64> = there.iter().map(|e| e.write).collect();
            let here = self.servers[from].log.iter().map(|e| e.write);
            here.filter(|write| !writes.contains(write)).collect()
        };
        for write in missing {
            self.ids += 1;
            let id = self.ids;
            self.servers[to].log.push(Entry { write, id });
        }
        self.servers[to].applied = self.servers[to].log.len();
        true
    }

    /// Physical copy of what the candidate has not.
    pub(crate) fn salvage(&mut self, from: usize, to: usize) -> Option<usize> {
        let is_replica = self.servers[to].role == Role::Replica;
        if self.servers[from].gone || !is_replica || !self.is_prefix(to, from) {
            return None;
        }
        let old = self.servers[from].clone();
        let candidate = &mut self.servers[to];
        candidate.log = old.log;
        candidate.timeline = old.timeline;
        candidate.history = old.history;
        Some(self.servers[to].log.len())
    }

    /// Makes it a replica of the primary, without what only it has.
    pub(crate) fn rejoin(&mut self, server: usize, primary: usize) {
        let target = self.servers[primary].clone();
        let s = &mut self.servers[server];
        let common = s.log.iter().zip(&target.log);
        let common = common.take_while(|(a, b)| a == b).count();
        s.log.truncate(common);
        s.applied = common;
        s.role = Role::Replica;
        s.fenced = false;
        s.up = true;
        s.waiting.clear();
        s.incarnation += 1;
        s.following = primary;
        s.receiver = true;
        // The line that the end of the log is on.
        let at = common as u64;
        let parted = target.history.iter().find(|fork| fork.at.0 > at);
        s.timeline = parted.map_or(target.timeline, |fork| fork.parent);
        let before = target.history.iter().filter(|fork| fork.at.0 <= at);
        s.history = before.copied().collect();
    }
}
