//! Random orders of everything that can happen to sessions, beside a model that is a list.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tenfold::session::{
    MemoryStore, MemoryStoreBuilder, PerUser, RevocationLog, Revocations, SaveError, SessionToken,
    UserId, Version, WallClock,
};
use tenfold::time::ManualClock;

#[derive(Debug, Clone, Copy)]
enum Op {
    Create(Option<u8>),
    /// Of the n-th token there ever was, as all below.
    Load(usize),
    Peek(usize),
    /// From the version that was last seen, or from the one before.
    Save(usize, bool),
    Modify(usize),
    Cycle(usize),
    LogIn(usize, u8),
    Revoke(usize),
    RevokeUser(u8, Option<usize>),
    List(u8),
    Advance(u8),
    Sweep(u8),
    Snapshot,
    /// The process dies and the last snapshot is read, with the log.
    Restore,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let n = any::<usize>;
    let user = || 0..USERS;
    let op = prop_oneof![
        6 => prop::option::weighted(0.8, user()).prop_map(Op::Create),
        6 => n().prop_map(Op::Load),
        3 => n().prop_map(Op::Peek),
        6 => (n(), any::<bool>()).prop_map(|(n, stale)| Op::Save(n, stale)),
        2 => n().prop_map(Op::Modify),
        4 => n().prop_map(Op::Cycle),
        3 => (n(), user()).prop_map(|(n, user)| Op::LogIn(n, user)),
        3 => n().prop_map(Op::Revoke),
        2 => (user(), prop::option::of(n())).prop_map(|(user, n)| Op::RevokeUser(user, n)),
        2 => user().prop_map(Op::List),
        4 => (0..9_u8).prop_map(Op::Advance),
        2 => any::<u8>().prop_map(Op::Sweep),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Restore),
    ];
    prop::collection::vec(op, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_a_list_of_sessions(ops in ops()) {
        let mut world = World::new();
        for op in ops {
            world.apply(op);
            world.check();
        }
        world.end();
    }
}

/// More with `TENFOLD_SEEDS`, a factor.
fn cases(few: u32) -> u32 {
    let factor = std::env::var("TENFOLD_SEEDS").ok();
    few * factor.and_then(|f| f.parse::<u32>().ok()).unwrap_or(1)
}

/// A log that outlives the process.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl RevocationLog for Log {
    fn append(&self, record: &[u8; 64]) -> io::Result<()> {
        self.0.lock().unwrap().extend_from_slice(record);
        Ok(())
    }
}

#[derive(Clone)]
struct Modelled {
    user: Option<u8>,
    created: u64,
    seen: u64,
    version: Version,
    data: Vec<u8>,
    is_live: bool,
    /// Revoked or cycled, which a log knows, and not merely expired or evicted.
    is_revoked: bool,
}

struct World {
    clock: ManualClock,
    wall: WallClock,
    log: Log,
    store: MemoryStore,
    tokens: Vec<SessionToken>,
    model: Vec<Modelled>,
    snapshot: Option<(Vec<u8>, Vec<Modelled>)>,
    saves: u32,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new();
        let wall = WallClock::manual(&clock, START);
        let log = Log::default();
        Self {
            store: builder(&wall, &log).build().unwrap(),
            clock,
            wall,
            log,
            tokens: Vec::new(),
            model: Vec::new(),
            snapshot: None,
            saves: 0,
        }
    }

    #[allow(clippy::too_many_lines, reason = "an arm per operation")]
    fn apply(&mut self, op: Op) {
        let nth = |n: usize| (!self.tokens.is_empty()).then(|| n % self.tokens.len());
        let now = self.wall.now();
        match op {
            Op::Create(user) => {
                let (token, version) = self.store.create(user.map(name), data(0)).unwrap();
                self.make_room(user, None);
                self.add(token, user, now, now, version, data(0));
            }
            Op::Load(n) | Op::Peek(n) => {
                let Some(n) = nth(n) else { return };
                let touches = matches!(op, Op::Load(_));
                let token = &self.tokens[n];
                let loaded = if touches {
                    self.store.load(token)
                } else {
                    self.store.peek(token)
                };
                let known = &mut self.model[n];
                assert_eq!(loaded.is_some(), known.is_live);
                if let Some(loaded) = loaded {
                    known.seen = if touches { now } else { known.seen };
                    assert_eq!(&loaded[..], known.data);
                    assert_eq!(loaded.version(), known.version);
                    assert_eq!(loaded.user(), known.user.map(name).as_ref());
                    assert_eq!(loaded.created(), known.created);
                    assert_eq!(loaded.ends(), end(known));
                }
            }
            Op::Save(n, is_stale) => {
                let Some(n) = nth(n) else { return };
                self.saves += 1;
                let known = &mut self.model[n];
                let current = known.version;
                let stale = Version::from_u64(current.to_u64() - 1);
                let expected = if is_stale { stale } else { current };
                let saved = self.store.save(&self.tokens[n], expected, data(self.saves));
                match saved {
                    Err(error) if !known.is_live => assert_eq!(error, SaveError::Gone),
                    Err(error) => assert!(is_stale && error == SaveError::Conflict { current }),
                    Ok(version) => {
                        assert!(known.is_live && !is_stale && version > current);
                        (known.version, known.seen) = (version, now);
                        known.data = data(self.saves);
                    }
                }
            }
            Op::Modify(n) => {
                let Some(n) = nth(n) else { return };
                let known = &mut self.model[n];
                let more = |data: &[u8]| ([data, b"!"].concat(), data.len());
                let modified = self.store.modify(&self.tokens[n], |data| {
                    let (data, len) = more(data);
                    (Some(data), len)
                });
                assert_eq!(modified.is_ok(), known.is_live);
                if known.is_live {
                    assert_eq!(modified, Ok(known.data.len()));
                    known.data.push(b'!');
                    known.seen = now;
                    known.version = self.store.peek(&self.tokens[n]).unwrap().version();
                }
            }
            Op::Cycle(n) => {
                let Some(n) = nth(n) else { return };
                let cycled = self.store.cycle(&self.tokens[n]);
                assert_eq!(cycled.is_ok(), self.model[n].is_live);
                if let Ok(token) = cycled {
                    let known = self.model[n].clone();
                    (self.model[n].is_live, self.model[n].is_revoked) = (false, true);
                    self.moved(token, known.user, known.created, known.data);
                }
            }
            Op::LogIn(n, user) => {
                let Some(n) = nth(n) else { return };
                let cycled = self.store.log_in(&self.tokens[n], name(user));
                assert_eq!(cycled.is_ok(), self.model[n].is_live);
                if let Ok(token) = cycled {
                    self.make_room(Some(user), Some(n));
                    (self.model[n].is_live, self.model[n].is_revoked) = (false, true);
                    let data = self.model[n].data.clone();
                    self.moved(token, Some(user), now, data);
                }
            }
            Op::Revoke(n) => {
                let Some(n) = nth(n) else { return };
                let revoked = self.store.revoke(&self.tokens[n]).unwrap();
                assert_eq!(revoked, self.model[n].is_live);
                (self.model[n].is_live, self.model[n].is_revoked) = (false, true);
            }
            Op::RevokeUser(user, except) => {
                let except = except.and_then(nth);
                let token = except.map(|n| &self.tokens[n]);
                let revoked = self.store.revoke_user(name(user), token).unwrap();
                let mut expected = 0;
                for (n, known) in self.model.iter_mut().enumerate() {
                    if known.user == Some(user) && Some(n) != except {
                        expected += usize::from(known.is_live);
                        (known.is_live, known.is_revoked) = (false, true);
                    }
                }
                assert_eq!(revoked, expected);
            }
            Op::List(user) => {
                let listed: Vec<_> = self.store.sessions_of(name(user));
                let listed: Vec<_> = listed.iter().map(|i| (i.created, i.key, i.seen)).collect();
                let mut expected: Vec<_> = (self.model.iter().zip(&self.tokens))
                    .filter(|(known, _)| known.is_live && known.user == Some(user))
                    .map(|(known, token)| (known.created, token.key(), known.seen))
                    .collect();
                expected.sort_unstable();
                assert_eq!(listed, expected);
            }
            Op::Advance(seconds) => {
                self.clock.advance(Duration::from_secs(u64::from(seconds)));
                self.expire();
            }
            Op::Sweep(budget) => {
                let swept = self.store.sweep(usize::from(budget));
                assert!(swept.looked <= usize::from(budget));
            }
            Op::Snapshot => {
                let mut bytes = Vec::new();
                let written = self.store.snapshot(&mut bytes).unwrap();
                assert_eq!(written.bytes, bytes.len() as u64);
                let live = self.model.iter().filter(|known| known.is_live);
                assert_eq!(written.sessions, live.count() as u64);
                self.snapshot = Some((bytes, self.model.clone()));
            }
            Op::Restore => self.restore(),
        }
    }

    fn restore(&mut self) {
        let Some((bytes, then)) = &self.snapshot else {
            return;
        };
        let mut log = Revocations::new();
        log.read(&self.log.0.lock().unwrap()[..]).unwrap();
        // So that versions of the next process are higher.
        self.clock.advance(Duration::from_secs(1));
        let builder = builder(&self.wall, &self.log);
        let (store, restored) = builder.restore(&bytes[..], Some(log)).unwrap();
        self.store = store;
        for (n, known) in self.model.iter_mut().enumerate() {
            let is_revoked = known.is_revoked;
            match then.get(n) {
                Some(then) => *known = then.clone(),
                None => known.is_live = false,
            }
            known.is_revoked |= is_revoked;
            known.is_live &= !known.is_revoked;
        }
        self.expire();
        for (known, token) in self.model.iter_mut().zip(&self.tokens) {
            if known.is_live {
                let version = self.store.peek(token).unwrap().version();
                assert!(version > known.version);
                known.version = version;
            }
        }
        let live = self.model.iter().filter(|known| known.is_live);
        assert_eq!(restored.sessions, live.count() as u64);
    }

    /// What holds after every step.
    fn check(&self) {
        let mut per_user = BTreeMap::new();
        for known in self.model.iter().filter(|known| known.is_live) {
            *per_user.entry(known.user).or_insert(0) += usize::from(known.user.is_some());
        }
        assert!(per_user.values().all(|&sessions| sessions <= PER_USER));
        let live = self.model.iter().filter(|known| known.is_live).count();
        assert!(self.store.len() >= live);
    }

    /// Every token there ever was, and nothing left after the end of all.
    fn end(&mut self) {
        for (known, token) in self.model.iter().zip(&self.tokens) {
            assert_eq!(self.store.peek(token).is_some(), known.is_live);
        }
        self.clock.advance(Duration::from_secs(ABSOLUTE));
        self.store.sweep(usize::MAX);
        assert_eq!(self.store.len(), 0);
        for user in 0..USERS {
            assert!(self.store.sessions_of(name(user)).is_empty());
        }
    }

    fn expire(&mut self) {
        let now = self.wall.now();
        for known in &mut self.model {
            known.is_live &= now < end(known);
        }
    }

    /// The oldest leave, for one more of the user.
    fn make_room(&mut self, user: Option<u8>, except: Option<usize>) {
        if user.is_none() {
            return;
        }
        let mut theirs: Vec<_> = (0..self.model.len())
            .filter(|&n| self.model[n].user == user && self.model[n].is_live && Some(n) != except)
            .collect();
        let age = |&n: &usize| {
            (
                self.model[n].created,
                self.model[n].seen,
                self.tokens[n].key(),
            )
        };
        theirs.sort_by_key(age);
        let too_many = (theirs.len() + 1).saturating_sub(PER_USER);
        for n in &theirs[..too_many] {
            self.model[*n].is_live = false;
        }
    }

    fn moved(&mut self, token: SessionToken, user: Option<u8>, created: u64, data: Vec<u8>) {
        let version = self.store.peek(&token).unwrap().version();
        self.add(token, user, created, self.wall.now(), version, data);
    }

    fn add(
        &mut self,
        token: SessionToken,
        user: Option<u8>,
        created: u64,
        seen: u64,
        version: Version,
        data: Vec<u8>,
    ) {
        self.tokens.push(token);
        self.model.push(Modelled {
            user,
            created,
            seen,
            version,
            data,
            is_live: true,
            is_revoked: false,
        });
    }
}

fn builder(wall: &WallClock, log: &Log) -> MemoryStoreBuilder {
    MemoryStore::builder()
        .idle(Duration::from_secs(IDLE))
        .absolute(Duration::from_secs(ABSOLUTE))
        .touch_every(Duration::ZERO)
        .max_per_user(PER_USER, PerUser::EvictOldest)
        .revocation_log(log.clone())
        .clock(wall.clone())
}

fn end(known: &Modelled) -> u64 {
    (known.seen + IDLE).min(known.created + ABSOLUTE)
}

fn name(user: u8) -> UserId {
    UserId::from(format!("user {user}"))
}

fn data(save: u32) -> Vec<u8> {
    save.to_le_bytes().to_vec()
}

const START: u64 = 1_700_000_000;
const IDLE: u64 = 20;
const ABSOLUTE: u64 = 60;
const PER_USER: usize = 3;
const USERS: u8 = 3;
