//! The rules of a replica pool on ten thousand bad days: seeds choose who crashes and whose disk is lost, who is parted from whom,
//! which messages are late, lost or come twice, whose clock is fast, which processes start anew and know nothing, who else
//! promotes, and when.
//!
//! What is checked: of two epochs never both take writes while a topology leads the failovers, and none goes back to an older
//! one; a read by a token shows what the token stands for; no write that a quorum acknowledged is lost; of the others that are
//! lost each was reported, and its token is refused; nobody promotes without the lease, where there is one; when all is well again, there is
//! a primary, and it is used, or there is a reason why a person has to decide, which is counted.
//!
//! `TENFOLD_SEEDS=10 cargo test --release --features replica --test replica sim` tries ten times as many,
//! `TENFOLD_SEED=7` one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::world::{self, Cluster, SYSTEM};
use tenfold::replica::topology::{
    Action, Authority, Effect, Event, Grant, Input, NodeId, NodeSet, OldPrimary, OperationId,
    Outcome, ProbeId, Promotion, SelectError, Selection, Settings, Synchronous, Topology, select,
    step,
};
use tenfold::replica::{
    CausalToken, Endpoint, Epoch, Fault, Position, ReadPreference, RecoveryOrder, Role,
};
use tenfold::rng::Rng;
use tenfold::time::Instant;

const SEEDS: u64 = 10_000;
/// Microseconds.
const MS: u64 = 1000;
const TROUBLE_ENDS: u64 = 2500 * MS;
const ALL_ENDS: u64 = 5000 * MS;

#[test]
fn no_epoch_no_token_and_no_acknowledged_write_goes_wrong() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let seeds = SEEDS * number("TENFOLD_SEEDS").unwrap_or(1);
    let only = number("TENFOLD_SEED");
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let mut figures = Figures::default();
    std::thread::scope(|scope| {
        let share = |thread: u64| {
            let mut figures = Figures::default();
            for seed in (thread..seeds).step_by(threads as usize) {
                if only.is_none_or(|only| only == seed) {
                    let told = only.is_some();
                    let day = || Day::new(seed, told).live();
                    match catch_unwind(AssertUnwindSafe(day)) {
                        Ok(day) => figures.add(&day),
                        Err(_) => figures.failed.push(seed),
                    }
                    if figures.failed.len() >= 20 {
                        break;
                    }
                }
            }
            figures
        };
        let shares: Vec<_> = (0..threads)
            .map(|t| scope.spawn(move || share(t)))
            .collect();
        for share in shares {
            figures.add(&share.join().unwrap());
        }
    });
    println!("{figures:?}");
    assert!(
        figures.failed.is_empty(),
        "TENFOLD_SEED={} alone shows why",
        figures.failed[0]
    );
    if only.is_none() {
        for days in figures.unsettled.values() {
            assert!(*days < seeds / 200, "{figures:?}");
        }
        assert!(
            figures.led > seeds / 10 && figures.followed > seeds / 10,
            "{figures:?}"
        );
        assert!(figures.refused > seeds / 20, "{figures:?}");
        assert!(
            figures.lost > seeds / 10 && figures.token_reads > seeds * 10,
            "{figures:?}"
        );
        assert!(figures.recovered > seeds / 20, "{figures:?}");
        assert!(figures.quorum_acked > seeds, "{figures:?}");
        assert!(
            figures.restarts > seeds / 10 && figures.presumed > seeds / 50,
            "{figures:?}"
        );
    }
}

#[derive(Debug, Default)]
struct Figures {
    seeds: u64,
    failed: Vec<u64>,
    /// Days after which a topology had no primary, two and a half seconds after all was well.
    unsettled: BTreeMap<Unsettled, u64>,
    /// Failovers that a topology led, and changes of the primary that it followed.
    led: u64,
    followed: u64,
    refused: u64,
    acked: u64,
    quorum_acked: u64,
    /// Acknowledged writes that are not at the last primary; all were reported.
    lost: u64,
    /// Of those, the ones whose process had ended before.
    forgotten: u64,
    recovered: u64,
    /// Processes that were started anew, and failovers from a primary that its leader had never seen.
    restarts: u64,
    presumed: u64,
    token_reads: u64,
    tokens_refused: u64,
    waits: u64,
    steps: u64,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        for (why, days) in &other.unsettled {
            *self.unsettled.entry(*why).or_default() += days;
        }
        self.failed.extend(&other.failed);
        self.led += other.led;
        self.followed += other.followed;
        self.refused += other.refused;
        self.acked += other.acked;
        self.quorum_acked += other.quorum_acked;
        self.lost += other.lost;
        self.forgotten += other.forgotten;
        self.restarts += other.restarts;
        self.presumed += other.presumed;
        self.recovered += other.recovered;
        self.token_reads += other.token_reads;
        self.tokens_refused += other.tokens_refused;
        self.waits += other.waits;
        self.steps += other.steps;
    }
}

/// Why there is rightly no primary although all is well: what a person has to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unsettled {
    /// The last primary's disk is gone, and nobody is left who follows it, or could without giving up what he has.
    NobodyToPromote,
    /// The primary was gone before whoever leads had seen it, and who of several it was cannot be told: not all of the others
    /// answer, or they are on different lines of the log.
    NeverSeen,
    /// The last primary's disk is gone, and whoever leads was started since, and knows but a former one, which has no lease.
    FormerPrimary,
    /// A disk is gone, and among the synchronous standbys that are left there may be none that has every acknowledged write.
    TooFewStandbys,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// One topology leads the failovers.
    Sole,
    /// Two do, one at a time.
    Lease,
    /// Somebody promotes without asking or fencing anybody.
    Observe,
}

#[derive(Debug)]
enum Happening {
    Wake(usize),
    Deliver(To, Input),
    ProbeAt(To, NodeId, ProbeId),
    PerformAt(To, OperationId, Action, Instant),
    LeaseAsk(To, Instant),
    LeaseBack(usize, u64),
    Acked(usize, u64, usize, u64, usize),
    Receive(usize),
    Renew(usize),
    Client(usize),
    StartAnew(usize),
    Trouble,
    Restart(usize),
    Slow(usize, bool),
    Join,
    Operator,
    AllIsWell,
    TakeAway,
}

/// A pool, and how often it had been started when it asked: it knows nothing of what another one asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct To(usize, u64);

struct Scheduled(u64, u64, Happening);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    generation: u64,
    incarnation: u64,
    made_at: Instant,
}

/// A process with a topology, and its clients.
struct Pool {
    topology: Option<Topology>,
    connections: Vec<Option<Connection>>,
    wake: u64,
    /// In millionths; its clock.
    drift: u64,
    offset: u64,
    /// Whether it has had a primary.
    has_seen: bool,
    accepted: Option<Epoch>,
    starts: u64,
    settings: Arc<Settings>,
    /// What it said is missing: after which position of which timeline.
    missing: Vec<(u64, u64)>,
}

impl Pool {
    fn clock(&self, now: u64) -> Instant {
        let fast = now + now / 1_000_000 * self.drift + now % 1_000_000 * self.drift / 1_000_000;
        Instant::from_nanos((self.offset + fast) * 1000)
    }

    /// When its clock shows this, a little later at most.
    fn unclock(&self, moment: Instant) -> u64 {
        let local = (moment.as_nanos() / 1000).saturating_sub(self.offset);
        (u128::from(local) * 1_000_000 / u128::from(1_000_000 + self.drift)) as u64 + 2
    }
}

#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    token: CausalToken,
    write: u64,
    /// What the log had there.
    entry: u64,
    to: To,
}

/// Who may promote, and which server may take writes.
#[derive(Debug, Default)]
struct LeaseService {
    /// How long it is had: some have to extend it in the middle of a failover.
    length: u64,
    term: u64,
    promoter: Option<(usize, u64)>,
    server: usize,
    server_until: u64,
    /// The newest line when somebody began to promote.
    newest: u64,
}

struct Day {
    seed: u64,
    now: u64,
    rng: Rng,
    queue: BinaryHeap<Reverse<Scheduled>>,
    numbers: u64,
    mode: Mode,
    cluster: Cluster,
    pools: Vec<Pool>,
    lease: LeaseService,
    acknowledged: Vec<Acknowledged>,
    /// The writes that a quorum has acknowledged, whether the client has heard of it or not.
    by_quorum: Vec<u64>,
    writes: u64,
    disks_lost: u64,
    restarts: u64,
    presumed: u64,
    well: bool,
    told: bool,
    refused: u64,
    led: u64,
    followed: u64,
    recovered: u64,
    token_reads: u64,
    tokens_refused: u64,
    waits: u64,
    steps: u64,
}

impl Day {
    fn new(seed: u64, told: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mode = [Mode::Sole, Mode::Lease, Mode::Observe][(seed % 3) as usize];
        let servers = 3 + rng.below(2) as usize;
        let pools = match mode {
            Mode::Lease => 2,
            Mode::Sole | Mode::Observe => 1 + rng.below(2) as usize,
        };
        let k = [0, 0, 1, 2][rng.below(4) as usize].min(servers - 2);
        let k = if mode == Mode::Observe { 0 } else { k };
        let cluster = Cluster::new(servers, pools + 1, k);
        let mut day = Self {
            seed,
            now: 0,
            rng,
            queue: BinaryHeap::new(),
            numbers: 0,
            mode,
            cluster,
            pools: Vec::new(),
            lease: LeaseService::default(),
            acknowledged: Vec::new(),
            by_quorum: Vec::new(),
            writes: 0,
            disks_lost: 0,
            restarts: 0,
            presumed: 0,
            well: false,
            told,
            refused: 0,
            led: 0,
            followed: 0,
            recovered: 0,
            token_reads: 0,
            tokens_refused: 0,
            waits: 0,
            steps: 0,
        };
        for _ in 0..pools {
            day.start_pool(servers, k);
        }
        if mode == Mode::Lease {
            day.lease.length = 100 * MS + day.rng.below(400 * MS);
            for server in 0..servers {
                day.cluster.servers[server].lease_until = Some(0);
                day.put(0, Happening::Renew(server));
            }
        }
        for replica in 0..servers {
            day.put(5 * MS, Happening::Receive(replica));
        }
        for pool in 0..pools {
            day.put(30 * MS, Happening::Client(pool));
        }
        let first = 400 * MS + day.rng.below(400 * MS);
        day.put(first, Happening::Trouble);
        if mode == Mode::Observe {
            day.put(200 * MS, Happening::Operator);
        }
        day.put(TROUBLE_ENDS, Happening::AllIsWell);
        day.put(TROUBLE_ENDS + 1500 * MS, Happening::TakeAway);
        day
    }

    fn start_pool(&mut self, servers: usize, k: usize) {
        let names: Vec<String> = (0..servers).map(|at| format!("s{at}")).collect();
        let ms = Duration::from_millis;
        let mut builder = Settings::builder()
            .probe_interval(ms(100))
            .probe_timeout(ms(50))
            .suspect_interval(ms(20))
            .restart_grace(ms(150))
            .max_lag(ms(400))
            .max_ejection(ms(400))
            .operation_timeout(ms(100))
            .salvage_timeout(ms(150))
            .between_failovers(ms(300))
            .retry_after(ms(50))
            .clock_skew(ms(20))
            .seed(self.seed)
            .promotion(match self.mode {
                // The others follow it, and write to whom they take for the primary.
                Mode::Sole if self.pools.is_empty() => Promotion::Active(Authority::SoleController),
                Mode::Lease => Promotion::Active(Authority::Lease),
                Mode::Sole | Mode::Observe => Promotion::Observe,
            })
            .order(
                [RecoveryOrder::DataFirst, RecoveryOrder::AvailabilityFirst]
                    [self.rng.below(2) as usize],
            );
        for (at, name) in names.iter().enumerate() {
            let endpoint = Endpoint::new(name, &format!("{name}:1")).unwrap();
            builder = match at {
                0 => builder.primary(endpoint),
                _ => builder.replica(endpoint),
            };
        }
        if k > 0 {
            builder = builder.synchronous(Synchronous::any(k, names.iter().map(String::as_str)));
        }
        let pool = Pool {
            topology: None,
            connections: vec![None; servers],
            wake: u64::MAX,
            drift: self.rng.below(2000),
            offset: self.rng.below(1000 * MS),
            has_seen: false,
            accepted: None,
            starts: 0,
            settings: builder.build().unwrap(),
            missing: Vec::new(),
        };
        let at = self.pools.len();
        self.pools.push(pool);
        self.begin(at);
    }

    /// A process begins, and knows nothing but its settings.
    fn begin(&mut self, at: usize) {
        let pool = &mut self.pools[at];
        let (topology, effects) = Topology::new(pool.settings.clone(), pool.clock(self.now));
        pool.topology = Some(topology);
        pool.connections.fill(None);
        (pool.accepted, pool.has_seen) = (None, false);
        pool.wake = u64::MAX;
        pool.starts += 1;
        self.run(at, effects);
    }

    fn to(&self, pool: usize) -> To {
        To(pool, self.pools[pool].starts)
    }

    fn put(&mut self, after: u64, what: Happening) {
        self.numbers += 1;
        let at = self.now + after;
        self.queue.push(Reverse(Scheduled(at, self.numbers, what)));
    }

    /// A way through the network: mostly short, seldom very long.
    fn delay(&mut self) -> u64 {
        match self.rng.below(40) {
            0 if !self.well => self.rng.below(300 * MS),
            _ => 200 + self.rng.below(3 * MS),
        }
    }

    fn chance(&mut self, of: u64) -> bool {
        self.rng.below(of) == 0
    }

    fn pool_at(&self, pool: usize) -> usize {
        self.cluster.servers.len() + pool
    }

    fn service_at(&self) -> usize {
        self.cluster.servers.len() + self.pools.len()
    }

    fn hears(&self, pool: usize, server: usize) -> bool {
        self.cluster.linked(self.pool_at(pool), server)
    }

    fn live(mut self) -> Figures {
        while let Some(Reverse(Scheduled(at, _, what))) = self.queue.pop() {
            if at > ALL_ENDS {
                break;
            }
            self.now = at;
            self.happen(what);
        }
        self.conclude()
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake(pool) => {
                if self.pools[pool].wake <= self.now {
                    self.pools[pool].wake = u64::MAX;
                    self.give(pool, Input::Tick);
                }
            }
            Happening::Deliver(to, input) => {
                if self.to(to.0) == to {
                    self.give(to.0, input);
                }
            }
            Happening::ProbeAt(to, node, probe) => self.probe(to, node, probe),
            Happening::PerformAt(to, operation, action, deadline) => {
                if self.pools[to.0].clock(self.now) < deadline {
                    self.perform(to, operation, action);
                }
            }
            Happening::LeaseAsk(to, since) => self.lease_asked(to, since),
            Happening::StartAnew(pool) => {
                if !self.well {
                    self.restarts += 1;
                    self.begin(pool);
                }
            }
            Happening::LeaseBack(pool, term) => {
                if self.lease.promoter.is_some_and(|(who, _)| who == pool)
                    && self.lease.term == term
                {
                    self.lease.promoter = None;
                }
            }
            Happening::Acked(pool, timeline, position, write, server) => {
                let entry = self.cluster.servers[server].log.get(position - 1);
                let Some(entry) = entry.filter(|entry| entry.write == write).map(|e| e.id) else {
                    // The server has lost it since. Its client never hears of it.
                    return;
                };
                let token = CausalToken::new(SYSTEM, timeline, Position(position as u64));
                self.acknowledged.push(Acknowledged {
                    token,
                    write,
                    entry,
                    to: self.to(pool),
                });
            }
            Happening::Receive(replica) => self.receive(replica),
            Happening::Renew(server) => self.renew(server),
            Happening::Client(pool) => self.client(pool),
            Happening::Trouble => self.trouble(),
            Happening::Restart(server) => self.cluster.restart(server, &mut self.rng),
            Happening::Slow(server, slow) => self.cluster.servers[server].slow = slow,
            Happening::Join => self.cluster.heal(),
            Happening::Operator => self.operate(),
            Happening::AllIsWell => self.all_is_well(),
            Happening::TakeAway => self.take_away(),
        }
    }

    fn give(&mut self, pool: usize, input: Input) {
        self.steps += 1;
        if self.told {
            println!("{:>9} pool {pool} <- {input:?}", self.now);
        }
        let p = &mut self.pools[pool];
        let now = p.clock(self.now);
        let (topology, effects) = step(p.topology.take().unwrap(), input, now);
        let epoch = topology.epoch();
        assert!(
            p.accepted
                .is_none_or(|before| epoch.is_some_and(|e| !before.is_after(e))),
            "seed {}: {:?} after {:?}",
            self.seed,
            epoch,
            p.accepted
        );
        p.accepted = epoch;
        p.has_seen |= topology.writer().is_some();
        p.topology = Some(topology);
        self.run(pool, effects);
    }

    fn run(&mut self, pool: usize, effects: Vec<Effect>) {
        let to = self.to(pool);
        for effect in effects {
            if self.told && !matches!(effect, Effect::WakeAt(_) | Effect::Probe { .. }) {
                println!("{:>9} pool {pool} -> {effect:?}", self.now);
            }
            match effect {
                Effect::Probe { node, probe, .. } => {
                    let after = self.delay();
                    self.put(after, Happening::ProbeAt(to, node, probe));
                }
                Effect::Purge { node, generation } => {
                    let connection = &mut self.pools[pool].connections[node.index()];
                    connection.take_if(|c| c.generation < generation);
                }
                Effect::Perform {
                    operation,
                    action,
                    deadline,
                } => {
                    let after = self.delay();
                    self.put(after, Happening::PerformAt(to, operation, action, deadline));
                }
                Effect::AcquireLease { .. } => {
                    let (after, since) = (self.delay(), self.pools[pool].clock(self.now));
                    self.put(after, Happening::LeaseAsk(to, since));
                }
                Effect::ReleaseLease { term, .. } => {
                    let after = self.delay();
                    if self.well || !self.chance(10) {
                        self.put(after, Happening::LeaseBack(pool, term));
                    }
                }
                Effect::Emit(event) => self.heard(pool, &event),
                Effect::WakeAt(moment) => {
                    if moment == Instant::NEVER {
                        continue;
                    }
                    let at = self.pools[pool].unclock(moment).max(self.now);
                    self.pools[pool].wake = at;
                    self.put(at - self.now, Happening::Wake(pool));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn heard(&mut self, pool: usize, event: &Event) {
        match event {
            Event::WritesMissing {
                timeline, after, ..
            } => self.pools[pool].missing.push((*timeline, after.0)),
            Event::FailoverRefused(_) => self.refused += 1,
            Event::WritesRecovered { .. } => self.recovered += 1,
            Event::PrimaryChanged { from: Some(_), .. } => self.followed += 1,
            _ => {}
        }
    }

    fn probe(&mut self, to: To, node: NodeId, probe: ProbeId) {
        let server = node.index();
        if !self.hears(to.0, server) || (!self.well && self.chance(100)) {
            return;
        }
        let input = if self.cluster.servers[server].runs() {
            Input::Answered {
                node,
                probe,
                answer: self.cluster.probe(server),
                rtt: Duration::from_millis(1),
            }
        } else {
            Input::Unanswered { node, probe }
        };
        let after = self.delay();
        if self.chance(50) {
            let again = self.delay();
            self.put(again, Happening::Deliver(to, input.clone()));
        }
        self.put(after, Happening::Deliver(to, input));
    }

    /// An operation arrives. It may be lost on the way, or its answer.
    fn perform(&mut self, to: To, operation: OperationId, action: Action) {
        let pool = to.0;
        let server = action.node().index();
        let heard = self.hears(pool, server);
        if !self.well && self.chance(20) {
            return;
        }
        let promotes = matches!(action, Action::Promote { .. });
        if self.mode == Mode::Lease && promotes && heard {
            let holds = |(who, until)| who == pool && self.now < until;
            assert!(
                self.lease.promoter.is_some_and(holds),
                "seed {}: pool {pool} promotes without the lease",
                self.seed
            );
        }
        let outcome = self.done(pool, heard, action);
        if !self.well && self.chance(20) {
            return;
        }
        let input = match outcome {
            Some(outcome) => Input::Finished { operation, outcome },
            None => Input::Failed { operation },
        };
        let after = self.delay();
        if self.chance(20) {
            let again = self.delay();
            self.put(again, Happening::Deliver(to, input.clone()));
        }
        self.put(after, Happening::Deliver(to, input));
    }

    fn done(&mut self, pool: usize, heard: bool, action: Action) -> Option<Outcome> {
        let server = action.node().index();
        let cluster = &mut self.cluster;
        let up = heard && cluster.servers[server].up;
        match action {
            // One that is gone is known to be; of one that is switched off the disk is marked.
            Action::Fence { epoch, .. } if cluster.servers[server].gone || heard => {
                let s = &mut cluster.servers[server];
                if s.role == Role::Primary {
                    // One of a later epoch is not meant.
                    if s.timeline > epoch.timeline {
                        return None;
                    }
                    s.fenced = true;
                    s.waiting.clear();
                }
                Some(Outcome::Done)
            }
            Action::StopReceiver { .. } if up => {
                let s = &mut cluster.servers[server];
                s.receiver = false;
                s.connected = false;
                Some(Outcome::Reached(Position(s.log.len() as u64)))
            }
            Action::Salvage { to, .. } if heard => {
                let end = cluster.salvage(server, to.index())?;
                Some(Outcome::Reached(Position(end as u64)))
            }
            Action::Promote { .. } if up => {
                let was_replica = cluster.servers[server].role == Role::Replica;
                let epoch = cluster.promote(server);
                self.led += u64::from(was_replica);
                self.presumed += u64::from(was_replica && !self.pools[pool].has_seen);
                Some(Outcome::Promoted(epoch))
            }
            Action::Follow { primary, .. } if up => {
                cluster.follow(server, primary.index());
                Some(Outcome::Done)
            }
            Action::Recover { to, .. } if heard && self.can_write(to.index()) => {
                let complete = self.cluster.recover(server, to.index());
                complete.then_some(Outcome::Recovered { complete })
            }
            Action::Rejoin { primary, .. } if heard && self.can_write(primary.index()) => {
                if self.cluster.servers[server].gone {
                    return None;
                }
                self.cluster.rejoin(server, primary.index());
                Some(Outcome::Done)
            }
            _ => None,
        }
    }

    fn can_write(&self, server: usize) -> bool {
        self.cluster.takes_writes(server, self.now)
    }

    /// One has asked for the lease, at this moment by its clock.
    fn lease_asked(&mut self, to: To, since: Instant) {
        let pool = to.0;
        let (now, service) = (self.now, self.service_at());
        let after = self.delay();
        if !self.cluster.linked(self.pool_at(pool), service) {
            self.put(after + 30 * MS, Happening::Deliver(to, Input::LeaseLost));
            return;
        }
        let taken = self
            .lease
            .promoter
            .is_some_and(|(who, until)| who != pool && now < until);
        if taken {
            self.put(after, Happening::Deliver(to, Input::LeaseLost));
            return;
        }
        // Whoever has it has it extended.
        if self.lease.promoter.is_none_or(|(_, until)| now >= until) {
            self.lease.term += 1;
            self.lease.newest = self.cluster.newest;
        }
        let local = |moment: u64| self.pools[pool].clock(moment);
        self.lease.promoter = Some((pool, now + self.lease.length));
        let grant = Grant {
            term: self.lease.term,
            until: since + Duration::from_micros(self.lease.length),
            old_primary: OldPrimary::Stops {
                name: Some(format!("s{}", self.lease.server).into()),
                at: local(self.lease.server_until.max(now)),
            },
        };
        let input = Input::LeaseGained(grant);
        if !self.well && self.chance(20) {
            return;
        }
        if self.chance(20) {
            let again = self.delay();
            self.put(again, Happening::Deliver(to, input.clone()));
        }
        self.put(after, Happening::Deliver(to, input));
    }

    /// A server that takes itself for the primary has its lease extended.
    fn renew(&mut self, server: usize) {
        self.put(30 * MS, Happening::Renew(server));
        let (now, service) = (self.now, self.service_at());
        let s = &self.cluster.servers[server];
        if !s.up || s.role != Role::Primary || !self.cluster.linked(server, service) {
            return;
        }
        // Nobody's is extended while somebody promotes, and nobody's of an older line is, ever.
        let newest = self.cluster.newest;
        let promoting = self.lease.promoter.is_some_and(|(_, until)| now < until);
        let holds = self.lease.server == server && now < self.lease.server_until;
        let free = now >= self.lease.server_until;
        let is_newest = self.cluster.servers[server].timeline == newest;
        let may = !promoting || newest > self.lease.newest;
        if is_newest && may && (holds || free) {
            self.lease.server = server;
            self.lease.server_until = now + 150 * MS;
            self.cluster.servers[server].lease_until = Some(now + 150 * MS);
        }
    }

    fn receive(&mut self, replica: usize) {
        self.cluster.receive(replica, &mut self.rng);
        for server in 0..self.cluster.servers.len() {
            for done in self.cluster.acknowledged(server) {
                if self.can_write(server) {
                    self.by_quorum.push(done.write);
                    self.tell_acked(done.client, server, done.position, done.write);
                }
            }
        }
        let slow = self.cluster.servers[replica].slow;
        let after = if slow {
            200 * MS
        } else {
            5 * MS + self.rng.below(20 * MS)
        };
        self.put(after, Happening::Receive(replica));
    }

    fn tell_acked(&mut self, pool: usize, server: usize, position: usize, write: u64) {
        let timeline = self.cluster.servers[server].timeline;
        let after = self.delay();
        if self.hears(pool, server) {
            self.put(
                after,
                Happening::Acked(pool, timeline, position, write, server),
            );
        }
    }

    fn client(&mut self, pool: usize) {
        let after = 5 * MS + self.rng.below(30 * MS);
        self.put(after, Happening::Client(pool));
        if self.chance(3) {
            self.write(pool);
        } else if !self.acknowledged.is_empty() {
            let recent = (self.acknowledged.len() as u64).min(40);
            let back = self.rng.below(recent) as usize;
            let of = self.acknowledged[self.acknowledged.len() - 1 - back];
            self.read(pool, of);
        }
    }

    /// A connection to use, or what happened instead.
    fn connection(&mut self, pool: usize, node: NodeId) -> Option<Connection> {
        let server = node.index();
        let incarnation = self.cluster.servers[server].incarnation;
        let reachable = self.hears(pool, server) && self.cluster.servers[server].runs();
        let p = &mut self.pools[pool];
        let generation = p.topology.as_ref()?.node(node)?.generation();
        let made_at = p.clock(self.now);
        let connection = *p.connections[server].get_or_insert(Connection {
            generation,
            incarnation,
            made_at,
        });
        if reachable && connection.incarnation == incarnation {
            return Some(connection);
        }
        p.connections[server] = None;
        let (generation, fault) = (connection.generation, Fault::ConnectionLost);
        self.give(
            pool,
            Input::Faulted {
                node,
                generation,
                fault,
            },
        );
        None
    }

    fn topology(&self, pool: usize) -> &Topology {
        self.pools[pool].topology.as_ref().unwrap()
    }

    fn write(&mut self, pool: usize) {
        let tried = NodeSet::default();
        let Ok(Selection::Primary(node)) =
            select(self.topology(pool), &ReadPreference::Primary, tried)
        else {
            return;
        };
        let Some(Connection { generation, .. }) = self.connection(pool, node) else {
            return;
        };
        let server = node.index();
        if !self.can_write(server) {
            let fault = Fault::RoleChanged;
            self.give(
                pool,
                Input::Faulted {
                    node,
                    generation,
                    fault,
                },
            );
            return;
        }
        if self.mode != Mode::Observe {
            let line = self.cluster.servers[server].timeline;
            assert_eq!(
                line, self.cluster.newest,
                "seed {}: a write in an epoch that is over",
                self.seed
            );
        }
        self.writes += 1;
        let write = self.writes;
        let (position, acknowledged) = self.cluster.write(server, write, pool);
        if acknowledged {
            self.tell_acked(pool, server, position, write);
        }
    }

    fn read(&mut self, pool: usize, of: Acknowledged) {
        let within = Duration::from_millis(10);
        let preference = ReadPreference::AtLeast(of.token, within);
        let node = match select(self.topology(pool), &preference, NodeSet::default()) {
            Ok(Selection::Nodes(nodes)) => {
                let nth = self.rng.below(nodes.len() as u64) as usize;
                nodes.iter().nth(nth).unwrap()
            }
            Ok(Selection::Wait {
                replica, fallback, ..
            }) => {
                self.waits += 1;
                self.give(pool, Input::Hurry(replica));
                match fallback {
                    Some(primary) => primary,
                    None => return,
                }
            }
            Ok(Selection::Fallback(primary)) => primary,
            Ok(other) => panic!("{other:?}"),
            Err(SelectError::TokenLost { .. } | SelectError::TokenUnproven { .. }) => {
                self.tokens_refused += 1;
                return;
            }
            Err(_) => return,
        };
        let Some(connection) = self.connection(pool, node) else {
            return;
        };
        let known = self.topology(pool).node(node).unwrap().clone();
        let server = &self.cluster.servers[node.index()];
        if known.seen_at().is_none_or(|at| at < connection.made_at) {
            // Made after it was last asked: whether it is still what it was then is not known.
            return;
        }
        self.token_reads += 1;
        let shows = server.log[..server.applied].get(of.token.position().0 as usize - 1);
        assert_eq!(
            shows.map(|entry| entry.id),
            Some(of.entry),
            "seed {}: {node} at {} on line {} is stale for {}, known {known:?}",
            self.seed,
            server.applied,
            server.timeline,
            of.token
        );
    }

    fn trouble(&mut self) {
        let after = 20 * MS + self.rng.below(500 * MS);
        self.put(after, Happening::Trouble);
        if self.well {
            return;
        }
        let servers = self.cluster.servers.len() as u64;
        let victim = self.rng.below(servers) as usize;
        match self.rng.below(8) {
            0..=2 => {
                let primary = self
                    .cluster
                    .servers
                    .iter()
                    .position(|s| s.role == Role::Primary && s.up);
                let victim = if self.chance(2) {
                    victim
                } else {
                    primary.unwrap_or(victim)
                };
                let with_disk = self.disks_lost == 0 && self.chance(6);
                self.disks_lost += u64::from(with_disk);
                if self.cluster.servers[victim].up {
                    self.cluster.crash(victim, with_disk);
                    // On the same machine as processes that watch it, maybe.
                    if self.mode != Mode::Observe && self.chance(4) {
                        for pool in 0..self.pools.len() {
                            let after = self.rng.below(100 * MS);
                            self.put(after, Happening::StartAnew(pool));
                        }
                    }
                    let back = self.rng.below(1500 * MS);
                    self.put(back, Happening::Restart(victim));
                }
            }
            3..=5 => {
                let parties = servers + self.pools.len() as u64 + 1;
                let group = self.rng.next_u64() & ((1 << parties) - 1);
                self.cluster.part(group);
                let healed = self.rng.below(800 * MS);
                self.put(healed, Happening::Join);
            }
            6 => {
                self.cluster.servers[victim].slow = true;
                let after = self.rng.below(900 * MS);
                self.put(after, Happening::Slow(victim, false));
            }
            _ => {
                // Somebody who may know nothing of each other's failures stops a receiver.
                self.cluster.servers[victim].connected = false;
            }
        }
    }

    /// Somebody who promotes whom he likes when he does not see the primary, and brings in order what is not.
    fn operate(&mut self) {
        let after = 50 * MS + self.rng.below(300 * MS);
        self.put(after, Happening::Operator);
        let at = self.service_at();
        let seen = |s: usize| self.cluster.linked(at, s) && self.cluster.servers[s].up;
        let seen: Vec<usize> = (0..self.cluster.servers.len())
            .filter(|&s| seen(s))
            .collect();
        let newest = self.cluster.newest;
        let servers = &self.cluster.servers;
        let is_primary =
            |s: &usize| servers[*s].role == Role::Primary && servers[*s].timeline == newest;
        let Some(primary) = seen.iter().copied().find(is_primary) else {
            if seen.len() > 1 || self.well {
                let sloppy = self.chance(4) && !self.well;
                let replicas = seen
                    .iter()
                    .filter(|s| self.cluster.servers[**s].role == Role::Replica);
                let have = |s: &&usize| {
                    if sloppy {
                        0
                    } else {
                        self.cluster.servers[**s].log.len()
                    }
                };
                if let Some(&best) = replicas.max_by_key(have) {
                    self.cluster.promote(best);
                }
            }
            return;
        };
        for server in seen {
            if server == primary || (!self.well && self.chance(2)) {
                continue;
            }
            let s = &self.cluster.servers[server];
            if s.role == Role::Primary || (s.following == primary && !s.connected) {
                self.cluster.rejoin(server, primary);
            } else if s.following != primary {
                self.cluster.follow(server, primary);
            }
        }
    }

    fn all_is_well(&mut self) {
        self.well = true;
        self.cluster.heal();
        for server in 0..self.cluster.servers.len() {
            self.cluster.servers[server].slow = false;
            self.cluster.restart(server, &mut self.rng);
            // Somebody sees that the last primary was switched off for nothing.
            let newest = self.cluster.servers[server].timeline == self.cluster.newest;
            let led = (0..self.pools.len()).any(|pool| self.topology(pool).phase().is_failover());
            if newest && !led {
                self.cluster.servers[server].fenced = false;
            }
        }
    }

    /// What is gone for good is taken out, unless it is the only primary that is known.
    fn take_away(&mut self) {
        for pool in 0..self.pools.len() {
            let names: Vec<(NodeId, bool)> = self
                .topology(pool)
                .nodes()
                .map(|node| (node.id(), self.cluster.servers[node.id().index()].gone))
                .collect();
            for (node, gone) in names {
                if gone && self.topology(pool).writer().is_some() {
                    self.give(pool, Input::Remove(node));
                }
            }
        }
    }

    fn describe(&self) {
        for (at, s) in self.cluster.servers.iter().enumerate() {
            let (up, gone, fenced, length) = (s.up, s.gone, s.fenced, s.log.len());
            println!("server {at}: up {up}, gone {gone}, fenced {fenced}, {length} entries");
            let (role, line, from, by) = (s.role, s.timeline, s.following, s.receiver);
            println!("  {role:?} on {line}, follows {from} {by}, {:?}", s.history);
        }
        for pool in 0..self.pools.len() {
            let topology = self.topology(pool);
            let (phase, epoch) = (topology.phase(), topology.epoch());
            println!("pool {pool}: {phase}, {:?}, {epoch:?}", topology.writer());
            for node in topology.nodes() {
                println!("  {}: {:?} {:?}", node.id(), node.role(), node.state());
            }
        }
    }

    /// By what a person could see, and not by what a topology says. There is no other excuse.
    fn why_unsettled(&self) -> Unsettled {
        let servers = &self.cluster.servers;
        let newest = self.cluster.newest;
        let last = servers.iter().find(|s| s.timeline == newest);
        let last = last.map_or(&[][..], |s| &s.history);
        let follows = |s: &&world::Server| {
            // Where its line and the last one have parted.
            let either = last.iter().chain(&s.history);
            let apart = either.filter(|fork| !last.contains(fork) || !s.history.contains(fork));
            let parted = apart.map(|fork| fork.at.0).min();
            let ahead = parted.is_some_and(|at| s.log.len() as u64 > at);
            s.runs() && s.role == Role::Replica && (!ahead || self.mode == Mode::Observe)
        };
        let standbys = servers.iter().filter(follows).count();
        let k = self.cluster.acknowledgements;
        let gone = servers.iter().any(|s| s.gone);
        assert!(gone, "seed {}: not settled", self.seed);
        if standbys == 0 {
            return Unsettled::NobodyToPromote;
        }
        let topologies = || (0..self.pools.len()).map(|pool| self.topology(pool));
        let leads = |t: &&Topology| t.settings().promotion() != Promotion::Observe;
        let line = servers.iter().filter(|s| s.runs()).map(|s| s.timeline);
        let parted = line.clone().min() != line.max();
        let silent = servers.iter().filter(|s| !s.runs()).count();
        let knows = |t: &Topology| t.writer().is_some();
        if topologies().filter(leads).count() > 0 && self.restarts > 0 {
            let mut former = servers
                .iter()
                .filter(|s| s.runs() && s.role == Role::Primary);
            if former.any(|s| s.timeline < newest) {
                return Unsettled::FormerPrimary;
            }
            if (silent > 1 || parted) && !topologies().filter(leads).any(knows) {
                return Unsettled::NeverSeen;
            }
        }
        // Of all but the primary, so many can be without a write.
        assert!(
            k > 0 && standbys < servers.len() - k,
            "seed {}: not settled",
            self.seed
        );
        Unsettled::TooFewStandbys
    }

    fn conclude(mut self) -> Figures {
        let seed = self.seed;
        let newest = self.cluster.newest;
        let is_last = |s: &world::Server| s.role == Role::Primary && s.timeline == newest && s.up;
        let last = self.cluster.servers.iter().position(is_last);
        // Who was fenced by a leader that was started anew since, nobody brings back but a person.
        let replicas = self.cluster.servers.iter();
        let replicas = replicas
            .filter(|s| s.runs())
            .any(|s| s.role == Role::Replica);
        let settled = last.is_some()
            && (0..self.pools.len()).all(|pool| {
                let topology = self.topology(pool);
                let serves = !topology.serving().is_empty() || (self.restarts > 0 && !replicas);
                topology.writer().map(NodeId::index) == last && serves
            });
        if self.told && !settled {
            self.describe();
        }
        let unsettled = (!settled).then(|| self.why_unsettled());
        let last = last.unwrap_or(0);
        let there = if settled {
            &self.cluster.servers[last].log[..]
        } else {
            &[]
        };
        let written: BTreeMap<u64, u64> = there.iter().map(|e| (e.write, e.id)).collect();
        let (mut missing, mut forgotten) = (0, 0);
        let judged = if settled { &self.acknowledged[..] } else { &[] };
        for of in judged {
            let here =
                there.get(of.token.position().0 as usize - 1).map(|e| e.id) == Some(of.entry);
            let kept = written.contains_key(&of.write);
            let preference = ReadPreference::AtLeast(of.token, Duration::ZERO);
            for pool in 0..self.pools.len() {
                let found = select(self.topology(pool), &preference, NodeSet::default());
                assert!(
                    found.is_err() || here,
                    "seed {seed}: {} is {found:?}",
                    of.token
                );
            }
            if kept {
                continue;
            }
            missing += 1;
            let (line, at) = (of.token.timeline(), of.token.position().0);
            let reported = |(timeline, after): &(u64, u64)| *timeline >= line && *after < at;
            let told = |pool: &Pool| pool.missing.iter().any(reported);
            // Who was told that it is done may have ended before it was lost. The token is refused nonetheless.
            if self.to(of.to.0) != of.to {
                forgotten += u64::from(!self.pools.iter().any(told));
                continue;
            }
            assert!(
                told(&self.pools[of.to.0]),
                "seed {seed}: {} is lost, and nobody was told",
                of.token
            );
        }
        for write in self.by_quorum.iter().filter(|_| settled) {
            assert!(
                written.contains_key(write),
                "seed {seed}: write {write} was acknowledged by a quorum, and is lost"
            );
        }
        if self.mode != Mode::Observe {
            self.followed = 0;
        }
        Figures {
            seeds: 1,
            failed: Vec::new(),
            unsettled: unsettled.map(|why| (why, 1)).into_iter().collect(),
            led: self.led,
            followed: self.followed,
            refused: self.refused,
            acked: self.acknowledged.len() as u64,
            quorum_acked: self.by_quorum.len() as u64,
            lost: missing,
            forgotten,
            restarts: self.restarts,
            presumed: self.presumed,
            recovered: self.recovered,
            token_reads: self.token_reads,
            tokens_refused: self.tokens_refused,
            waits: self.waits,
            steps: self.steps,
        }
    }
}
