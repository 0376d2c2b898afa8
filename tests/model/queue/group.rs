//! What a group should say: a map from each message's number to where it is.

use std::collections::BTreeMap;

/// Times are seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Ready,
    Waiting {
        due: u64,
    },
    /// Taken from what was there before the group, and found not to be due.
    Early {
        due: u64,
    },
    Lent {
        token: u64,
        until: u64,
    },
    Dead,
    Done,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) place: Place,
    level: u8,
    /// It is older than the group.
    was_there: bool,
    /// How often it was handed out and given back, if that is known: some of it is
    /// forgotten in a crash.
    pub(crate) attempts: Option<u32>,
    /// Something was said of it that a crash may take back.
    pub(crate) is_open_to_doubt: bool,
}

/// What all groups know of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) level: u8,
    pub(crate) due: u64,
    pub(crate) expires: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) number: u64,
    pub(crate) states: BTreeMap<u64, State>,
}

const NORMAL: u8 = 3;

impl Group {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            number,
            states: BTreeMap::new(),
        }
    }

    /// A message that was published.
    pub(crate) fn arrive(&mut self, id: u64, facts: Facts, now: u64) {
        let place = match facts.due {
            due if due > now => Place::Waiting { due },
            _ => Place::Ready,
        };
        self.put(id, place, facts.level, false);
    }

    /// A message that was there before the group: all of those are of one level, and
    /// what is due is found out when they are taken.
    pub(crate) fn find(&mut self, id: u64) {
        self.put(id, Place::Ready, NORMAL, true);
    }

    fn put(&mut self, id: u64, place: Place, level: u8, was_there: bool) {
        let state = State {
            place,
            level,
            was_there,
            attempts: Some(0),
            is_open_to_doubt: false,
        };
        self.states.insert(id, state);
    }

    pub(crate) fn is_open(&self, id: u64) -> bool {
        let state = self.states.get(&id);
        state.is_some_and(|state| state.place != Place::Done)
    }

    /// Whether it has found messages that are not due.
    pub(crate) fn has_early(&self, now: u64, facts: &BTreeMap<u64, Facts>) -> bool {
        let mut found = self.states.iter().filter(|(_, state)| state.was_there);
        found.any(|(id, _)| facts[id].due > now)
    }

    pub(crate) fn count(&self, is_it: impl Fn(Place) -> bool) -> u64 {
        let places = self.states.values().map(|state| state.place);
        places.filter(|place| is_it(*place)).count() as u64
    }

    pub(crate) fn dead(&self) -> Vec<u64> {
        let dead = self.states.iter().filter(|(_, s)| s.place == Place::Dead);
        dead.map(|(id, _)| *id).collect()
    }

    /// Has leases end and what is due be ready.
    fn wake(&mut self, now: u64) {
        for state in self.states.values_mut() {
            match state.place {
                Place::Lent { until, .. } if until <= now => {
                    state.place = Place::Ready;
                    state.attempts = state.attempts.map(|attempts| attempts + 1);
                }
                Place::Waiting { due } | Place::Early { due } if due <= now => {
                    state.place = Place::Ready;
                }
                _ => {}
            }
        }
    }

    /// Lends up to so many, highest level first and then in order, and leaves out what
    /// is past its time or not due; looks again if nothing is left of them.
    pub(crate) fn take(
        &mut self,
        most: usize,
        now: u64,
        until: u64,
        token: &mut u64,
        facts: &BTreeMap<u64, Facts>,
    ) -> Vec<u64> {
        loop {
            self.wake(now);
            let ready = self.states.iter().filter(|(_, s)| s.place == Place::Ready);
            let mut ready: Vec<_> = ready.map(|(id, s)| (7 - s.level, *id)).collect();
            ready.sort_unstable();
            ready.truncate(most);
            if ready.is_empty() {
                return Vec::new();
            }
            let mut lent = Vec::new();
            for (_, id) in ready {
                let (facts, state) = (facts[&id], self.states.get_mut(&id).unwrap());
                if facts.expires <= now {
                    state.place = Place::Done;
                    state.is_open_to_doubt = true;
                } else if facts.due > now {
                    state.place = Place::Early { due: facts.due };
                } else {
                    *token += 1;
                    let token = *token;
                    state.place = Place::Lent { token, until };
                    lent.push(id);
                }
            }
            if !lent.is_empty() {
                return lent;
            }
        }
    }

    /// The message's state, if this lease of it holds.
    pub(crate) fn lent(&mut self, id: u64, lease: u64) -> Option<&mut State> {
        let state = self.states.get_mut(&id)?;
        let holds = matches!(state.place, Place::Lent { token, .. } if token == lease);
        holds.then_some(state)
    }

    /// What a process held goes back when it ends.
    pub(crate) fn let_go(&mut self) {
        for state in self.states.values_mut() {
            // It may or may not have been written down that it was handed out; and what
            // was early is found to be so anew.
            if let Place::Lent { .. } | Place::Early { .. } = state.place {
                (state.place, state.attempts) = (Place::Ready, None);
            }
            state.attempts = state.attempts.filter(|attempts| *attempts == 0);
        }
    }

    pub(crate) fn settle_doubts(&mut self) {
        for state in self.states.values_mut() {
            state.is_open_to_doubt = false;
        }
    }
}

impl State {
    /// What becomes of it when it is answered.
    pub(crate) fn answer(&mut self, place: Place) {
        self.place = place;
        self.attempts = self.attempts.map(|attempts| attempts + 1);
        self.is_open_to_doubt = true;
    }

    /// Delivered again as if it were new.
    pub(crate) fn renew(&mut self) {
        self.place = Place::Ready;
        self.attempts = Some(0);
    }
}
