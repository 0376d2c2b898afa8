//! What the layer was told, and what follows from it for one entry at one
//! moment. Pure functions: no lock, no clock, no loader.

use std::time::Duration;

use super::cached::{Cached, StandIn};
use super::refresh_ahead::RefreshAhead;
use crate::time::Instant;

/// The settings of a layer.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    pub(super) time_to_live: Option<Duration>,
    pub(super) negative_ttl: Option<Duration>,
    pub(super) refresh_ahead: Option<RefreshAhead>,
    /// How long past its time a value may stand in for one that cannot be
    /// loaded.
    pub(super) max_stale: Option<Duration>,
    /// How long it does so before the source is asked again.
    pub(super) throttle: Option<Duration>,
    /// How long past its time a value is kept to be shown to the loader.
    pub(super) keep_stale: Option<Duration>,
    pub(super) soft_timeout: Option<Duration>,
    pub(super) hard_timeout: Option<Duration>,
}

/// A moment, and which entries had been declared stale, or gone, by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// Entries of epochs before this one are stale …
    pub(super) expired: u64,
    /// … and before this one, gone. Never more than `expired`.
    pub(super) removed: u64,
}

/// What an entry is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It answers requests.
    Serves,
    /// The same, and may be refreshed ahead of its end.
    RefreshDue,
    /// It may be shown to the loader, and stand in if that fails.
    Stale,
    /// It must not be used any more.
    Gone,
}

impl Rules {
    pub(super) fn state<V>(&self, cached: &Cached<V>, at: &Moment, tags_are_valid: bool) -> State {
        if cached.epoch < at.removed || !tags_are_valid {
            State::Gone
        } else if cached.is_quiet(at) {
            State::Serves
        } else if cached.serves(at) {
            State::RefreshDue
        } else if cached.value.is_some() && at.now < self.keep_until(cached) {
            State::Stale
        } else {
            State::Gone
        }
    }

    /// Until when an entry is kept. Nothing is known of what was absent once
    /// its time is over.
    pub(super) fn keep_until<V>(&self, cached: &Cached<V>) -> Instant {
        match cached.value {
            Some(_) => cached.fresh_until + self.kept_stale(),
            None => cached.fresh_until,
        }
    }

    /// How long past its time a value is kept.
    pub(super) fn kept_stale(&self) -> Duration {
        let longest = self.max_stale.max(self.keep_stale);
        longest.unwrap_or(Duration::ZERO)
    }

    /// Whether a value that is past its time may be served instead of an error.
    pub(super) fn may_stand_in<V>(&self, stale: &Cached<V>, now: Instant) -> bool {
        let served_until = self.max_stale.map(|longest| stale.fresh_until + longest);
        stale.value.is_some() && served_until.is_some_and(|until| now < until)
    }

    /// Until when a stale value stands in before the source is asked again.
    pub(super) fn stands_in_until<V>(&self, stale: &Cached<V>, now: Instant) -> Instant {
        let throttle = self.throttle.unwrap_or(DEFAULT_THROTTLE);
        (now + throttle).min(stale.fresh_until + self.max_stale.unwrap_or(Duration::ZERO))
    }

    /// When reads of a new entry begin to do more than to return it.
    pub(super) fn quiet_until(
        &self,
        loaded_at: Instant,
        fresh_until: Instant,
        cost: Duration,
    ) -> Instant {
        match self.refresh_ahead {
            Some(refresh) if fresh_until != Instant::NEVER => refresh
                .begins(loaded_at, fresh_until, cost)
                .min(fresh_until),
            _ => fresh_until,
        }
    }
}

impl<V> Cached<V> {
    /// Whether a read returns it and does nothing more; its tags apart.
    #[inline]
    pub(super) fn is_quiet(&self, at: &Moment) -> bool {
        at.now < self.quiet_until && self.epoch >= at.expired
    }

    /// Whether it answers requests; its tags apart.
    pub(super) fn serves(&self, at: &Moment) -> bool {
        at.now < self.quiet_until.max(self.fresh_until) && self.epoch >= at.expired
    }

    /// As a stale value: one that was declared so is past its time from now on.
    pub(super) fn into_stale(mut self, at: &Moment) -> Self {
        if self.epoch < at.expired {
            self.fresh_until = self.fresh_until.min(at.now);
        }
        self
    }

    /// Lets a stale value answer until a moment.
    pub(super) fn stand_in(&mut self, reason: StandIn, until: Instant, epoch: u64) {
        self.quiet_until = until;
        self.stand_in = reason;
        self.epoch = epoch;
    }
}

/// How long a stale value stands in unless the builder was told.
const DEFAULT_THROTTLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Moment = Moment {
        now: at(15),
        expired: 0,
        removed: 0,
    };

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    const fn later(now: u64) -> Moment {
        Moment {
            now: at(now),
            ..EARLY
        }
    }

    /// Loaded at 10, fresh until 20.
    fn cached(value: Option<u8>) -> Cached<u8> {
        Cached {
            value,
            quiet_until: at(20),
            fresh_until: at(20),
            loaded_at: at(10),
            cost: 0,
            weight: 1,
            epoch: 0,
            stand_in: StandIn::No,
            extra: None,
        }
    }

    fn patient() -> Rules {
        Rules {
            max_stale: Some(Duration::from_secs(5)),
            throttle: Some(Duration::from_secs(2)),
            ..Rules::default()
        }
    }

    #[test]
    fn an_entry_serves_until_its_time_is_over_and_not_at_its_end() {
        let rules = Rules::default();
        assert_eq!(
            rules.state(&cached(Some(1)), &later(19), true),
            State::Serves
        );
        assert_eq!(rules.state(&cached(Some(1)), &later(20), true), State::Gone);
    }

    #[test]
    fn a_stale_value_is_kept_for_its_maximum_age_and_an_absence_is_not() {
        let rules = patient();
        assert_eq!(
            rules.state(&cached(Some(1)), &later(24), true),
            State::Stale
        );
        assert_eq!(rules.state(&cached(Some(1)), &later(25), true), State::Gone);
        assert_eq!(rules.state(&cached(None), &later(20), true), State::Gone);
        assert_eq!(rules.keep_until(&cached(Some(1))), at(25));
        assert_eq!(rules.keep_until(&cached(None)), at(20));
        assert!(rules.may_stand_in(&cached(Some(1)), at(24)));
        assert!(!rules.may_stand_in(&cached(Some(1)), at(25)));
    }

    #[test]
    fn what_is_kept_for_the_loader_only_never_stands_in() {
        let rules = Rules {
            keep_stale: Some(Duration::from_secs(5)),
            ..Rules::default()
        };
        assert_eq!(
            rules.state(&cached(Some(1)), &later(24), true),
            State::Stale
        );
        assert!(!rules.may_stand_in(&cached(Some(1)), at(20)));
    }

    #[test]
    fn a_stand_in_serves_for_the_throttle_and_not_past_its_maximum_age() {
        let rules = patient();
        let mut stale = cached(Some(1));
        assert_eq!(rules.stands_in_until(&stale, at(21)), at(23));
        assert_eq!(rules.stands_in_until(&stale, at(24)), at(25));
        stale.stand_in(StandIn::ForFailed, at(23), 0);
        assert_eq!(rules.state(&stale, &later(22), true), State::Serves);
        assert_eq!(rules.state(&stale, &later(23), true), State::Stale);
    }

    #[test]
    fn an_invalid_tag_and_a_removal_of_all_leave_nothing() {
        let (rules, cached) = (patient(), cached(Some(1)));
        assert_eq!(rules.state(&cached, &EARLY, false), State::Gone);
        let cleared = Moment {
            expired: 1,
            removed: 1,
            ..EARLY
        };
        assert_eq!(rules.state(&cached, &cleared, true), State::Gone);
    }

    #[test]
    fn an_expiry_of_all_leaves_stale_values() {
        let (rules, cached) = (patient(), cached(Some(1)));
        let cleared = Moment {
            expired: 1,
            ..EARLY
        };
        assert_eq!(rules.state(&cached, &cleared, true), State::Stale);
        assert_eq!(cached.into_stale(&cleared).fresh_until, EARLY.now);
    }

    #[test]
    fn a_refresh_is_due_between_the_quiet_time_and_the_end() {
        let rules = Rules {
            refresh_ahead: Some(RefreshAhead::after(0.8)),
            ..Rules::default()
        };
        let mut cached = cached(Some(1));
        cached.quiet_until = rules.quiet_until(at(10), at(20), Duration::ZERO);
        assert_eq!(rules.state(&cached, &later(17), true), State::Serves);
        assert_eq!(rules.state(&cached, &later(18), true), State::RefreshDue);
        assert_eq!(rules.state(&cached, &later(20), true), State::Gone);
    }
}
