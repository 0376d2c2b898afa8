//! What most callers ask of the routes, in words that are written over in place: to read them takes no lock, no count of
//! references, and a few loads.
//!
//! ```text
//! begin   version += 1, odd now: the servers, their pools and their places in the balancer are about to change
//! post    the words are written; version += 1
//! read    version even? read the words, choose a server. version as before? then all of it was of one topology.
//! ```
//!
//! Whoever finds it in the middle of a change, or asks for what is not on it, [looks at the routes](super::lending) themselves.

use super::lent::WriteLease;
use super::routes::Routes;
use crate::balance::MemberId;
use crate::replica::{Client, Epoch, Position, ReadPreference, SystemId};
use crate::sync::atomic::{AtomicU64, Ordering, fence};

pub(super) struct Board {
    /// Odd while it is not true.
    version: AtomicU64,
    /// What the replicas that serve have applied of the line of the epoch, by their [places](MemberId::place) in the
    /// balancer: [`NONE`], [`SERVES`], or the position and [`FIRST`]. Those beyond are not on the board.
    replicas: [AtomicU64; PLACES],
    /// Who takes writes, as [bits](MemberId::to_bits), or [`NOBODY`]; nobody if the cluster or the epoch is not known.
    writer: AtomicU64,
    system: AtomicU64,
    timeline: AtomicU64,
    term: AtomicU64,
}

/// The version of what was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp(u64);

/// Who takes writes, and in which epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    pub(super) member: MemberId,
    pub(super) lease: WriteLease,
}

/// What a replica must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Least(u64);

const PLACES: usize = 64;
const NONE: u64 = 0;
/// A replica serves, and nobody knows what it has.
const SERVES: u64 = 1;
/// It has applied what is up to the first position of all.
const FIRST: u64 = 2;
/// So that what is beyond the last position is had by nobody.
const MOST: u64 = u64::MAX - 1;
const NOBODY: u64 = u64::MAX;

impl Board {
    /// Nothing is on it.
    pub(super) fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            replicas: std::array::from_fn(|_| AtomicU64::new(NONE)),
            writer: AtomicU64::new(NOBODY),
            system: AtomicU64::new(0),
            timeline: AtomicU64::new(0),
            term: AtomicU64::new(0),
        }
    }

    /// What stands there is of the past. One caller at a time.
    pub(super) fn begin(&self) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version | 1, Ordering::Relaxed);
        // Nobody sees anything of what follows and an even version after it.
        fence(Ordering::Release);
    }

    /// Writes what holds from now on. By who has [begun](Self::begin).
    pub(super) fn post<C: Client>(&self, routes: &Routes<C>) {
        let topology = &routes.topology;
        let known = topology.system().zip(topology.epoch());
        let line = known.map(|(_, epoch)| epoch.timeline);
        self.replicas.iter().for_each(|replica| put(replica, NONE));
        for (node, member) in routes.members() {
            // Reads may have only a share of the primary, and that is not looked at here.
            let serves = topology.serving().contains(node.id());
            if !serves || topology.writer() == Some(node.id()) {
                continue;
            }
            let on_its_line = line.is_some() && node.epoch().map(|epoch| epoch.timeline) == line;
            let applied = node.applied().filter(|_| on_its_line);
            if let Some(replica) = self.replicas.get(member.place() as usize) {
                put(
                    replica,
                    applied.map_or(SERVES, |position| word(position).min(MOST)),
                );
            }
        }
        let writer = topology.writer().and_then(|node| routes.member(node));
        let (system, epoch) = known.unwrap_or((SystemId(0), Epoch::default()));
        put(&self.system, system.0);
        put(&self.timeline, epoch.timeline);
        put(&self.term, epoch.term);
        let writer = writer.filter(|_| known.is_some());
        put(&self.writer, writer.map_or(NOBODY, MemberId::to_bits));
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Release);
    }

    /// Begins to read; `None` while it is written.
    #[inline]
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let version = self.version.load(Ordering::Acquire);
        (version & 1 == 0).then_some(Stamp(version))
    }

    /// Whether all that was read since the stamp holds, and held together.
    #[inline]
    pub(super) fn is_still(&self, stamp: Stamp) -> bool {
        fence(Ordering::Acquire);
        self.version.load(Ordering::Relaxed) == stamp.0
    }

    /// What a replica must have for a read of this preference; `None` if that is not all that counts.
    #[inline]
    pub(super) fn least(&self, preference: &ReadPreference) -> Option<Least> {
        match preference {
            ReadPreference::Replica | ReadPreference::ReplicaOnly | ReadPreference::Any => {
                Some(Least(SERVES))
            }
            ReadPreference::AtLeast(token, _) => {
                let on_its_line = get(&self.system) == token.system().0
                    && get(&self.timeline) == token.timeline();
                on_its_line.then(|| Least(word(token.position())))
            }
            _ => None,
        }
    }

    /// Whether a replica lies there that serves and has this.
    #[inline]
    pub(super) fn has(&self, place: u32, least: Least) -> bool {
        let replica = self.replicas.get(place as usize);
        replica.is_some_and(|replica| get(replica) >= least.0)
    }

    /// Who takes writes; `None` if nobody does, or it is being written.
    #[inline]
    pub(super) fn writer(&self) -> Option<Writer> {
        let stamp = self.stamp()?;
        let member = get(&self.writer);
        let writer = Writer {
            member: MemberId::from_bits(member),
            lease: WriteLease {
                epoch: Epoch {
                    timeline: get(&self.timeline),
                    term: get(&self.term),
                },
                system: SystemId(get(&self.system)),
            },
        };
        (member != NOBODY && self.is_still(stamp)).then_some(writer)
    }
}

#[inline]
fn word(position: Position) -> u64 {
    position.0.saturating_add(FIRST)
}

// The version orders them.
fn put(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Relaxed);
}

#[inline]
fn get(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}
