//! Who is a member, and how well: single-threaded, behind the balancer's one lock. Picks read
//! what it writes into the table, and never wait for it.

use std::sync::Arc;
use std::time::Duration;

use super::drain::Handover;
use super::estimate::Standing;
use super::settings::{Ejection, Settings};
use super::table::{LEVELS, Level, WHOLE};
use super::{Health, MemberId};
use crate::time::Instant;

pub(super) struct Roster<M> {
    /// By the number of their slots.
    entries: Vec<Option<Entry<M>>>,
    free: Vec<u32>,
    /// How many were ever added.
    pub(super) added: u64,
    pub(super) ejections: u64,
    /// Ejections that would have put out too many.
    pub(super) spared: u64,
    /// How often a level began to ignore health.
    pub(super) panics: u64,
    panicking: bool,
    pub(super) looked: Instant,
    /// How many picks there had been by then.
    pub(super) turns: u64,
}

pub(super) struct Entry<M> {
    pub(super) id: MemberId,
    pub(super) weight: f64,
    pub(super) priority: u8,
    pub(super) identity: u64,
    /// When it came, or came back, if it still starts slowly.
    started: Option<Instant>,
    up: bool,
    ejected_until: Option<Instant>,
    /// How many times the next ejection doubles, and what to forgive of that.
    doublings: u32,
    last_ejection: Duration,
    returned: Instant,
    pub(super) ejections: u64,
    /// Where its last user leaves it, once it was removed.
    leaving: Option<Arc<Handover<M>>>,
}

/// What is picked from until the roster changes.
pub(super) struct Plan {
    pub(super) levels: Vec<Level>,
    /// Of all slots that have members: how those stand, and their weights now.
    pub(super) standings: Vec<(u32, Standing, f64)>,
    /// Whether there are members, none of whom may be picked.
    pub(super) none_healthy: bool,
    /// When something changes without anybody's doing.
    pub(super) next: Instant,
}

impl<M> Roster<M> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            added: 0,
            ejections: 0,
            spared: 0,
            panics: 0,
            panicking: false,
            looked: now,
            turns: 0,
        }
    }

    /// The number of a slot for one more member, if there is room.
    pub(super) fn vacancy(&mut self, most: usize) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.entries.len() >= most {
            return None;
        }
        self.entries.push(None);
        Some(self.entries.len() as u32 - 1)
    }

    pub(super) fn insert(&mut self, entry: Entry<M>) {
        self.added += 1;
        if let Some(place) = self.entries.get_mut(entry.id.slot as usize) {
            *place = Some(entry);
        }
    }

    /// The member of this slot is gone for good. Answers who waits for that.
    pub(super) fn vacate(&mut self, slot: u32) -> Option<Arc<Handover<M>>> {
        let entry = self.entries.get_mut(slot as usize)?.take();
        self.free.push(slot);
        entry?.leaving
    }

    /// All, those included who are leaving.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry<M>> {
        self.entries.iter().flatten()
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Entry<M>> {
        self.entries.iter_mut().flatten()
    }

    /// Those who are not leaving.
    pub(super) fn staying(&self) -> impl Iterator<Item = &Entry<M>> {
        self.all().filter(|entry| entry.leaving.is_none())
    }

    /// A member that is not leaving.
    pub(super) fn find(&mut self, id: MemberId) -> Option<&mut Entry<M>> {
        let entry = self.entries.get_mut(id.slot as usize)?.as_mut()?;
        (entry.id == id && entry.leaving.is_none()).then_some(entry)
    }

    /// Ejects a member. Answers whether that was done; if it would put out too many, it was not.
    pub(super) fn eject(&mut self, id: MemberId, ejection: &Ejection, now: Instant) -> bool {
        let Some(entry) = self.find(id) else {
            return false;
        };
        if entry.ejected_until.is_some() {
            return false;
        }
        let priority = entry.priority;
        let level = || self.staying().filter(|entry| entry.priority == priority);
        let (total, out) = (
            level().count(),
            level().filter(|e| e.ejected_until.is_some()).count(),
        );
        let most = ((total as f64 * ejection.share) as usize)
            .max(1)
            .min(total - 1);
        if out >= most {
            self.spared += 1;
            return false;
        }
        self.ejections += 1;
        if let Some(entry) = self.find(id) {
            entry.eject(ejection, now);
        }
        true
    }

    /// What is picked from now.
    pub(super) fn plan(&mut self, settings: &Settings, now: Instant) -> Plan {
        let mut totals = [(0_u32, 0_u32); LEVELS];
        let mut next = Instant::NEVER;
        for entry in self.staying() {
            let (total, healthy) = &mut totals[entry.level()];
            *total += 1;
            *healthy += u32::from(entry.is_healthy());
            if let Some(until) = entry.ejected_until {
                next = next.min(until);
            }
            if entry.started.is_some() {
                next = next.min(now + STEP);
            }
        }
        let (shares, panics) = shares(&totals, settings.panic);
        let anywhere = panics.contains(&true);
        self.panics += u64::from(anywhere && !self.panicking);
        self.panicking = anywhere;
        let last = shares.iter().rposition(|share| *share > 0.0);
        let mut until = 0.0;
        let levels = (0..LEVELS).map(|level| {
            let chosen = self.staying().filter(|entry| entry.level() == level);
            let chosen = chosen.filter(|entry| panics[level] || entry.is_healthy());
            let members = chosen.map(|entry| (entry.id.slot, entry.weight_at(settings, now)));
            until += shares[level];
            let whole = Some(level) == last;
            Level {
                until: if whole {
                    WHOLE
                } else {
                    (until * WHOLE as f64) as u64
                },
                members: if shares[level] > 0.0 {
                    members.collect()
                } else {
                    Vec::new()
                },
            }
        });
        let levels: Vec<_> = levels.collect();
        let standing = |entry: &Entry<M>| {
            let (level, healthy) = (entry.level(), entry.is_healthy());
            let asked = shares[level] > 0.0 && (healthy || panics[level]);
            match entry.leaving {
                None if asked => Standing::Chosen,
                None if healthy => Standing::Spare,
                _ => Standing::Out,
            }
        };
        let standings = self.all().map(|entry| {
            let weight = entry.weight_at(settings, now);
            (entry.id.slot, standing(entry), weight)
        });
        Plan {
            standings: standings.collect(),
            none_healthy: last.is_none() && totals.iter().any(|(total, _)| *total > 0),
            levels,
            next,
        }
    }

    /// Ends the ejections that are over. Answers whose.
    pub(super) fn bring_back(&mut self, settings: &Settings, now: Instant) -> Vec<u32> {
        let over = |entry: &&mut Entry<M>| entry.ejected_until.is_some_and(|until| until <= now);
        let over = self.all_mut().filter(over).map(|entry| {
            entry.ejected_until = None;
            entry.returned = now;
            entry.start_slowly(settings, now);
            entry.id.slot
        });
        over.collect()
    }

    /// Whether somebody starts slowly; those who no longer do are told.
    pub(super) fn ramping(&mut self, settings: &Settings, now: Instant) -> bool {
        let mut ramping = false;
        for entry in self.all_mut() {
            let Some(started) = entry.started else {
                continue;
            };
            ramping = true;
            if now.saturating_since(started) >= settings.slow_start {
                entry.started = None;
            }
        }
        ramping
    }
}

impl<M> Entry<M> {
    pub(super) fn new(
        id: MemberId,
        weight: f64,
        priority: u8,
        identity: u64,
        now: Instant,
    ) -> Self {
        Self {
            id,
            weight,
            priority,
            identity,
            started: None,
            up: true,
            ejected_until: None,
            doublings: 0,
            last_ejection: Duration::ZERO,
            returned: now,
            ejections: 0,
            leaving: None,
        }
    }

    pub(super) fn start_slowly(&mut self, settings: &Settings, now: Instant) {
        self.started = (!settings.slow_start.is_zero()).then_some(now);
    }

    pub(super) fn leave(&mut self, handover: Arc<Handover<M>>) {
        self.leaving = Some(handover);
    }

    /// Answers whether that is news.
    pub(super) fn set_up(&mut self, up: bool, settings: &Settings, now: Instant) -> bool {
        if up && !self.up {
            self.start_slowly(settings, now);
        }
        std::mem::replace(&mut self.up, up) != up
    }

    pub(super) fn health(&self) -> Health {
        match self {
            Self {
                leaving: Some(_), ..
            } => Health::Draining,
            Self { up: false, .. } => Health::Down,
            Self {
                ejected_until: Some(_),
                ..
            } => Health::Ejected,
            _ => Health::Healthy,
        }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.health() == Health::Healthy
    }

    fn level(&self) -> usize {
        usize::from(self.priority).min(LEVELS - 1)
    }

    /// The weight with what the slow start leaves of it.
    fn weight_at(&self, settings: &Settings, now: Instant) -> f64 {
        let Some(started) = self.started else {
            return self.weight;
        };
        let since = now.saturating_since(started).as_secs_f64();
        let part = since / settings.slow_start.as_secs_f64();
        self.weight * part.clamp(LEAST_PART, 1.0)
    }

    fn eject(&mut self, ejection: &Ejection, now: Instant) {
        let calm = now.saturating_since(self.returned).as_nanos();
        let forgiven = calm.checked_div(self.last_ejection.as_nanos()).unwrap_or(0);
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.doublings = self.doublings.saturating_sub(forgiven);
        let factor = 1_u32.checked_shl(self.doublings).unwrap_or(u32::MAX);
        self.last_ejection = ejection.base.saturating_mul(factor).min(ejection.most);
        self.ejected_until = Some(now + self.last_ejection);
        self.doublings = (self.doublings + 1).min(31);
        self.ejections += 1;
        self.started = None;
    }
}

/// Each level's share of all picks, and whether it ignores health.
///
/// A level counts as healthy for 1.4 times the share of its members that are: with three quarters
/// it takes everything, and what it is not healthy for goes to the next. Where all levels
/// together are not healthy enough, they share as well as they can, and one that has fewer healthy members
/// than the threshold sends to all of them: it is better to try everyone than to break the few.
fn shares(totals: &[(u32, u32); LEVELS], panic: f64) -> ([f64; LEVELS], [bool; LEVELS]) {
    let part = |(total, healthy): (u32, u32)| f64::from(healthy) / f64::from(total.max(1));
    let health = totals.map(|level| (part(level) * OVERPROVISION).min(1.0));
    let sum: f64 = health.iter().sum();
    let (mut shares, mut panics) = ([0.0; LEVELS], [false; LEVELS]);
    let mut left = 1.0_f64;
    for (share, health) in shares.iter_mut().zip(health) {
        *share = if sum < 1.0 {
            health / sum.max(f64::MIN_POSITIVE)
        } else {
            health.min(left)
        };
        left = (left - *share).max(0.0);
    }
    if sum < 1.0 {
        for (panics, level) in panics.iter_mut().zip(totals) {
            *panics = level.0 > 0 && part(*level) < panic;
        }
    }
    if sum == 0.0 && panic > 0.0 {
        // Nobody is healthy: the first level that has members.
        for (share, level) in shares.iter_mut().zip(totals) {
            *share = f64::from(u8::from(level.0 > 0));
            if level.0 > 0 {
                break;
            }
        }
    }
    (shares, panics)
}

/// A level takes all while so much of it is healthy that this makes it whole.
const OVERPROVISION: f64 = 1.4;
/// Where a slow start begins: at nothing, the first request would never come.
const LEAST_PART: f64 = 0.1;
/// How often weights follow a slow start.
const STEP: Duration = Duration::from_millis(100);

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;

    fn levels(given: &[(u32, u32)]) -> [(u32, u32); LEVELS] {
        let mut levels = [(0, 0); LEVELS];
        levels[..given.len()].copy_from_slice(given);
        levels
    }

    #[test]
    fn a_level_keeps_everything_until_too_few_are_healthy_and_then_spills() {
        for (given, first, second) in [
            ([(10, 10), (10, 10)], 1.0, 0.0),
            ([(10, 8), (10, 10)], 1.0, 0.0),
            ([(10, 5), (10, 10)], 0.7, 0.3),
            ([(10, 0), (10, 10)], 0.0, 1.0),
            // Together not enough: in proportion.
            ([(10, 2), (10, 2)], 0.5, 0.5),
            ([(0, 0), (3, 3)], 0.0, 1.0),
        ] {
            let (shares, _) = shares(&levels(&given), 0.5);
            assert!((shares[0] - first).abs() < 1e-9, "{given:?}: {shares:?}");
            assert!((shares[1] - second).abs() < 1e-9, "{given:?}: {shares:?}");
        }
    }

    #[test]
    fn only_levels_below_the_threshold_panic_and_only_if_the_others_do_not_suffice() {
        assert!(shares(&levels(&[(10, 4)]), 0.5).1[0]);
        assert!(!shares(&levels(&[(10, 6)]), 0.5).1[0]);
        assert_eq!(
            shares(&levels(&[(10, 1), (10, 10)]), 0.5).1[..2],
            [false, false]
        );
        assert_eq!(
            shares(&levels(&[(10, 0)]), 0.0),
            ([0.0; LEVELS], [false; LEVELS])
        );
        assert!((shares(&levels(&[(0, 0), (4, 0)]), 0.5).0[1] - 1.0).abs() < 1e-9);
    }
}
