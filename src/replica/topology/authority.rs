use super::step::Step;
use super::{Authority, Effect, Event, FailoverRefused, Grant, OldPrimary, Phase, Promotion};
use crate::time::Instant;

/// The lease, as far as this topology has it.
#[derive(Debug, Clone)]
pub(super) struct Right {
    held: Option<Held>,
    /// The largest term of any grant,
    term: u64,
    /// and of any that was given back.
    returned: u64,
    /// It has been asked for; the answer is awaited until then.
    asked_until: Option<Instant>,
    /// After it was refused, it is not asked for before.
    ask_at: Instant,
    /// A promotion may be under way until then.
    pub promoting_until: Instant,
}

#[derive(Debug, Clone)]
struct Held {
    grant: Grant,
    /// When it is extended,
    renew_at: Instant,
    /// and from when on it counts as over.
    ends: Instant,
}

impl Right {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            held: None,
            term: 0,
            returned: 0,
            asked_until: None,
            ask_at: now,
            promoting_until: now,
        }
    }

    pub(super) fn ends(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.ends)
    }

    pub(super) fn old_primary(&self) -> Option<&OldPrimary> {
        self.held.as_ref().map(|held| &held.grant.old_primary)
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.asked_until.is_some()
    }

    /// The moments at which something happens by itself.
    pub(super) fn moments(&self, at: &mut impl FnMut(Instant)) {
        at(self.ask_at);
        if let Some(until) = self.asked_until {
            at(until);
        }
        if let Some(held) = &self.held {
            at(held.renew_at);
            at(held.ends);
        }
    }
}

/// By what right it leads a failover.
///
/// A lease is asked for when the failover begins, extended at half of its time, and given back when the failover has ended. One that
/// could not be extended holds until its end, and takes the failover with it: the next begins with another look at the servers, because whoever
/// had the lease in between may have promoted one.
impl Step<'_> {
    pub(super) fn lease_gained(&mut self, grant: Grant) {
        if self.t.settings.promotion != Promotion::Active(Authority::Lease) {
            // Nobody asked for it, and what is done does not depend on it.
            self.give_back(grant.term);
            return;
        }
        let (now, skew) = (self.now, self.t.settings.clock_skew);
        let right = &mut self.t.failover.right;
        let (term, known) = (grant.term, right.term);
        // While it was not given back, nobody else can have had it since.
        let is_same = term == known && right.returned < term;
        if term <= known && !is_same {
            if term == known {
                // That it was given back has not been heard.
                self.give_back(term);
            }
            self.emit(Event::LeaseFromThePast { term, known });
            self.lease_lost();
            return;
        }
        let extends = is_same && right.held.is_some();
        let later = |held: &Held| held.grant.until < grant.until;
        if extends && !right.held.as_ref().is_some_and(later) {
            return;
        }
        let left = grant.until.saturating_since(now).saturating_sub(skew);
        right.asked_until = None;
        right.term = term;
        right.held = Some(Held {
            grant,
            renew_at: now + left / 2,
            ends: now + left,
        });
        match self.t.phase {
            _ if left.is_zero() => self.lease_lost(),
            // The primary came back while it was asked for.
            phase if !phase.is_failover() => self.release(),
            _ if extends => {}
            Phase::Fencing => self.look_again(),
            _ => self.abandon(FailoverRefused::NoLease),
        }
    }

    pub(super) fn lease_lost(&mut self) {
        let right = &mut self.t.failover.right;
        let was_asked = right.asked_until.take().is_some();
        right.ask_at = self.now + self.t.settings.retry_after;
        // It could not be extended, and is to be tried again; unasked, it is lost.
        if !was_asked {
            right.held = None;
        }
    }

    /// Whether it may be acted now. Extends the lease when it is time to.
    pub(super) fn has_right(&mut self) -> bool {
        match self.t.settings.promotion {
            Promotion::Observe => return false,
            Promotion::Active(Authority::SoleController) => return true,
            Promotion::Active(Authority::Lease) => {}
        }
        let Some(held) = &self.t.failover.right.held else {
            return false;
        };
        let is_valid = self.now < held.ends;
        if is_valid && held.renew_at <= self.now {
            self.ask_for_right();
        }
        is_valid
    }

    /// Asks for the lease, unless it is being asked for, or was refused a short time ago.
    pub(super) fn ask_for_right(&mut self) {
        let (now, settings) = (self.now, &self.t.settings);
        let right = &mut self.t.failover.right;
        if right.asked_until.is_some_and(|until| until <= now) {
            right.asked_until = None;
            right.ask_at = now + settings.retry_after;
        }
        if right.asked_until.is_none() && right.ask_at <= now {
            let deadline = now + settings.operation_timeout;
            right.asked_until = Some(deadline);
            self.effects.push(Effect::AcquireLease { deadline });
        }
    }

    pub(super) fn release(&mut self) {
        let right = &mut self.t.failover.right;
        let Some(held) = right.held.take() else {
            return;
        };
        // Whoever had it next would not see a promotion that is under way. It runs out by itself.
        if right.promoting_until <= self.now {
            right.returned = held.grant.term;
            self.give_back(held.grant.term);
        }
    }

    fn give_back(&mut self, term: u64) {
        let deadline = self.now + self.t.settings.operation_timeout;
        self.effects.push(Effect::ReleaseLease { term, deadline });
    }
}
