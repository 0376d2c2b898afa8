//! A pick among some of the members: those on a list, or those that a closure wants.
//!
//! The table is of no use here, since it knows all or nobody. Instead one pass over the candidates
//! counts them, and draws the two or three that the policy compares so that each has the same chance; those that
//! go by weight alone take a second pass, to the point on the candidates' own circle. Nothing is allocated.

use std::sync::Arc;

use super::chance::GOLDEN;
use super::core::{Core, TRIES, below, queue, wait};
use super::estimate::Standing;
use super::slot::{Lease, Slot};
use super::{MemberId, PickError, Policy};
use crate::rng::mix;

type Candidate<'a, M> = (MemberId, &'a Slot<M>);

impl<M> Core<M> {
    pub(super) fn pick_among(
        self: &Arc<Self>,
        ids: &[MemberId],
    ) -> Result<(Lease<'_, M>, u64), PickError> {
        let candidates = ids.iter().filter_map(|id| {
            let slot = self.slots.get(id.slot)?;
            (slot.is_open() && slot.id() == *id).then_some((*id, slot))
        });
        self.pick_from(&candidates)
    }

    pub(super) fn pick_where(
        self: &Arc<Self>,
        wanted: impl Fn(MemberId, &M) -> bool,
    ) -> Result<(Lease<'_, M>, u64), PickError> {
        let candidates = self.slots.all().filter_map(|slot| {
            let lease = slot
                .is_open()
                .then(|| slot.enter(self))
                .flatten()?
                .lease(self);
            let id = slot.id();
            wanted(id, &lease).then_some((id, slot))
        });
        self.pick_from(&candidates)
    }

    fn pick_from<'a>(
        self: &'a Arc<Self>,
        candidates: &(impl Iterator<Item = Candidate<'a, M>> + Clone),
    ) -> Result<(Lease<'a, M>, u64), PickError> {
        let mut turn = self.chance.turn();
        let now = self.moment(turn);
        for _ in 0..TRIES {
            let (id, slot) = self.choose_from(candidates.clone(), turn, now)?;
            // It may have been removed since, and another may lie there.
            let lease = slot.enter(self).map(|entered| entered.lease(self));
            if let Some(lease) = lease.filter(|lease| lease.slot.id() == id) {
                return Ok((lease, now));
            }
            turn = self.chance.turn();
        }
        Err(PickError::NoneWanted)
    }

    fn choose_from<'a>(
        &'a self,
        candidates: impl Iterator<Item = Candidate<'a, M>> + Clone,
        turn: u64,
        now: u64,
    ) -> Result<Candidate<'a, M>, PickError> {
        let policy = self.settings.policy;
        let random = self.chance.random(turn);
        let mut survey = Survey::new(if policy == Policy::Adaptive { 3 } else { 2 });
        for candidate in candidates.clone() {
            survey.see(candidate, random);
        }
        if survey.count == 0 {
            return Err(match self.vacant() {
                PickError::NoneHealthy => PickError::NoneHealthy,
                _ if self.table.all().next().is_some() => PickError::NoneWanted,
                nobody => nobody,
            });
        }
        if survey.standing == Standing::Out && self.settings.panic <= 0.0 {
            return Err(PickError::NoneHealthy);
        }
        let chosen = match policy {
            // As in a table of weights; but even with equal ones, since a turn of others' picks in between
            // would give some candidates none of the remainders.
            Policy::RoundRobin => survey.at_point(candidates, turn.wrapping_mul(GOLDEN)),
            Policy::Random => survey.at_point(candidates, random),
            Policy::LeastRequest => survey.least(random, queue),
            Policy::PeakEwma => survey.least(random, |slot| slot.pulse.peak(now) * queue(slot)),
            Policy::Adaptive => survey.least(random, wait),
        };
        chosen.ok_or(PickError::NoneWanted)
    }
}

/// What a pass over the candidates finds, of those with the best standing.
struct Survey<'a, M> {
    standing: Standing,
    count: u32,
    weight: f64,
    drawn: [Option<Candidate<'a, M>>; 3],
    choices: u32,
}

impl<'a, M> Survey<'a, M> {
    fn new(choices: u32) -> Self {
        Self {
            standing: Standing::Out,
            count: 0,
            weight: 0.0,
            drawn: [None; 3],
            choices,
        }
    }

    fn see(&mut self, candidate: Candidate<'a, M>, random: u64) {
        let standing = candidate.1.pulse.standing();
        if standing < self.standing {
            return;
        }
        if standing > self.standing {
            *self = Self::new(self.choices);
            self.standing = standing;
        }
        self.weight += weight(candidate.1);
        // Of n seen each is drawn with the same chance if the last takes any of n places.
        let place = if self.count < self.choices {
            self.count
        } else {
            below(mix(random ^ u64::from(self.count)), self.count + 1)
        };
        self.count += 1;
        if place < self.choices
            && let Some(drawn) = self.drawn.get_mut(place as usize)
        {
            *drawn = Some(candidate);
        }
    }

    /// The best of those that were drawn. Among equals it is the first from a random place on: early
    /// candidates are drawn to early places.
    fn least(&self, random: u64, cost: impl Fn(&Slot<M>) -> f32) -> Option<Candidate<'a, M>> {
        let drawn = self.count.min(self.choices);
        let first = below(mix(random), drawn) as usize;
        let (before, after) = self.drawn[..drawn as usize].split_at(first);
        let candidates = after.iter().chain(before).flatten();
        let costs = candidates.map(|candidate| (cost(candidate.1), *candidate));
        let least = costs.min_by(|(one, _), (other, _)| one.total_cmp(other));
        least.map(|(_, candidate)| candidate)
    }

    /// Whose part of the circle of weights the high half of this point lies in. What changed since the survey
    /// moves the ends of the parts a little.
    fn at_point(
        &self,
        candidates: impl Iterator<Item = Candidate<'a, M>>,
        point: u64,
    ) -> Option<Candidate<'a, M>> {
        let mut left = (point >> 32) as f64 / CIRCLE * self.weight;
        let mut last = None;
        for candidate in candidates.filter(|(_, slot)| slot.pulse.standing() == self.standing) {
            last = Some(candidate);
            left -= weight(candidate.1);
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

fn weight<M>(slot: &Slot<M>) -> f64 {
    1.0 / f64::from(slot.pulse.scale())
}

const CIRCLE: f64 = 4_294_967_296.0;
