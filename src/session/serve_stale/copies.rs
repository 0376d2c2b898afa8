//! What the store last said of sessions, for as long as nothing speaks against it.

use std::time::Duration;

use super::doubts::Doubts;
use crate::cache::Cache;
use crate::cache::tagged::Tags;
use crate::session::{Loaded, SessionKey, UserId, WallClock};
use crate::sync::Mutex;
use crate::time::{Clock, Instant};

pub(super) struct Copies {
    cache: Cache<u128, Copy>,
    /// How often a session of each was forgotten. Held while a copy comes or goes, so that a load either sees
    /// that its session was forgotten or has its copy removed.
    stripes: Box<[Mutex<u64>]>,
    /// When which user's sessions were ended.
    users: Tags,
    doubts: Doubts,
    max_age: Duration,
    clock: Clock,
    wall: WallClock,
}

/// What a revocation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Session(u128),
    /// By the hash under which `users` knows them.
    User(u64),
}

/// Noted before the store is asked for a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    key: u128,
    begun: Instant,
    /// What the stripe said.
    forgotten: u64,
    /// The generation of `users`.
    born: u64,
}

/// A session as the store had it.
#[derive(Clone)]
pub(super) struct Copy {
    loaded: Loaded,
    begun: Instant,
    born: u64,
    user: Option<u64>,
}

impl Copies {
    pub(super) fn new(
        cache: Cache<u128, Copy>,
        max_age: Duration,
        clock: Clock,
        wall: WallClock,
    ) -> Self {
        Self {
            cache,
            stripes: (0..STRIPES).map(|_| Mutex::new(0)).collect(),
            users: Tags::with_capacity(USERS),
            doubts: Doubts::new(max_age),
            max_age,
            clock,
            wall,
        }
    }

    /// To be called before the store is.
    pub(super) fn question(&self, key: SessionKey) -> Question {
        let key = key.0;
        Question {
            key,
            begun: self.clock.now(),
            forgotten: *self.stripe(key).lock(),
            born: self.users.generation(),
        }
    }

    /// Keeps what the store answered, unless the session may have ended meanwhile.
    pub(super) fn keep(&self, question: Question, loaded: &Loaded) {
        let copy = self.copy(question, loaded.clone());
        let forgotten = self.stripe(question.key).lock();
        if *forgotten == question.forgotten && !self.is_in_doubt(question.key, &copy) {
            self.cache.insert(question.key, copy);
        }
    }

    /// Keeps what the store has taken, in place of all that was answered before; forgets the session if it was not known.
    pub(super) fn replace(&self, question: Question, loaded: Option<Loaded>) {
        let copy = loaded.map(|loaded| self.copy(question, loaded));
        let mut forgotten = self.stripe(question.key).lock();
        match copy {
            Some(copy)
                if *forgotten == question.forgotten && !self.is_in_doubt(question.key, &copy) =>
            {
                self.cache.insert(question.key, copy);
            }
            _ => self.cache.invalidate(&question.key),
        }
        *forgotten += 1;
    }

    /// The copy of a session and its age, if it may be served.
    pub(super) fn find(&self, key: SessionKey) -> Option<(Loaded, Duration)> {
        let copy = self.cache.get(&key.0)?;
        let age = self.clock.now().saturating_since(copy.begun);
        let user = copy.user.as_ref().map(std::slice::from_ref);
        let is_good = age < self.max_age
            && self.wall.now() < copy.loaded.ends()
            && self.users.is_valid(copy.born, user.unwrap_or_default());
        is_good.then_some((copy.loaded, age))
    }

    /// Removes the copy, and lets none come of what was asked before now.
    pub(super) fn forget(&self, key: SessionKey) {
        let key = key.0;
        let mut forgotten = self.stripe(key).lock();
        *forgotten += 1;
        self.cache.invalidate(&key);
    }

    /// Forgets what is to end, now and when it is dropped.
    pub(super) fn ending(&self, who: Who) -> Ending<'_> {
        self.end(who);
        Ending {
            copies: self,
            who,
            is_known: false,
        }
    }

    pub(super) fn session(key: SessionKey) -> Who {
        Who::Session(key.0)
    }

    pub(super) fn user(&self, user: &UserId) -> Who {
        Who::User(self.users.hash_of(user.as_str()))
    }

    pub(super) fn len(&self) -> usize {
        self.cache.len()
    }

    pub(super) fn weight(&self) -> u64 {
        self.cache.weight()
    }

    fn end(&self, who: Who) {
        match who {
            Who::Session(key) => self.forget(SessionKey(key)),
            Who::User(hash) => self.users.invalidate_hash(hash),
        }
    }

    fn copy(&self, question: Question, loaded: Loaded) -> Copy {
        let user = loaded.user().map(|user| self.users.hash_of(user.as_str()));
        Copy {
            loaded,
            begun: question.begun,
            born: question.born,
            user,
        }
    }

    fn is_in_doubt(&self, key: u128, copy: &Copy) -> bool {
        let session = Some(Who::Session(key));
        let whose = session.into_iter().chain(copy.user.map(Who::User));
        self.doubts.cover(whose, copy.begun)
    }

    fn stripe(&self, key: u128) -> &Mutex<u64> {
        // A hash, and never empty.
        &self.stripes[(key >> 64) as usize % self.stripes.len()]
    }
}

impl Copy {
    /// About what it takes in memory.
    pub(super) fn weight(&self) -> u32 {
        let user = self.loaded.user().map_or(0, |user| user.as_str().len());
        let bytes = self.loaded.len().saturating_add(user);
        u32::try_from(bytes.saturating_add(OVERHEAD)).unwrap_or(u32::MAX)
    }
}

/// Something that is being ended. What a load finds while that is under way may be from before.
#[must_use = "what is being ended is forgotten once more when this is dropped"]
pub(super) struct Ending<'a> {
    copies: &'a Copies,
    who: Who,
    is_known: bool,
}

impl Ending<'_> {
    /// Says whether it is known what became of it.
    pub(super) fn finish(mut self, is_known: bool) {
        self.is_known = is_known;
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.is_known {
            // Before what is asked from now on can be kept.
            self.copies.doubts.add(self.who, self.copies.clock.now());
        }
        self.copies.end(self.who);
    }
}

/// Enough that a flood of unknown tokens, each of which is forgotten, hardly ever meets a load under way.
const STRIPES: usize = if cfg!(tenfold_shuttle) { 2 } else { 256 };

/// Of so many users it is known when they were logged out everywhere; a model pays for each.
const USERS: usize = if cfg!(tenfold_shuttle) { 4 } else { 1 << 16 };

/// A slot of the cache, the words of a copy, two allocations and their counts.
const OVERHEAD: usize = 300;
