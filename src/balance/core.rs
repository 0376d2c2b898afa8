//! What all handles of a balancer share: how a pick is made, and what its end means.
//!
//! Picks and releases read and write atomics alone. The one lock is the roster's: it is taken to add
//! and to remove, when a member is ejected, and about ten times a second by the pick that comes when
//! it is time to [look](Core::look) at everybody; that one does not wait for it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::chance::{Chance, GOLDEN};
use super::drain::Drain;
use super::estimate::{PENALTY, PRIOR, Standing};
use super::roster::{Entry, Roster};
use super::settings::Settings;
use super::slot::{Entered, Lease, Slot, Slots, serial};
use super::sticky::Sticky;
use super::table::{LEVELS, Table, View};
use super::{Member, MemberError, MemberId, PickError, Policy, UnknownMember};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::time::Instant;

pub(super) struct Core<M> {
    /// Which of all balancers of the process it is.
    pub(super) serial: NonZeroU64,
    pub(super) slots: Slots<M>,
    pub(super) table: Table,
    pub(super) settings: Settings,
    pub(super) chance: Chance,
    pub(super) sticky: Sticky,
    pub(super) roster: Mutex<Roster<M>>,
    /// When somebody shall look at everybody, in nanoseconds.
    next_look: AtomicU64,
    /// Turns that have one of these bits are not timed: all of them if the policy does not go by the time,
    /// and nobody waits for any; otherwise none, unless there are very many.
    untimed: AtomicU64,
    /// What the member in the middle takes, in nanoseconds, as a float's bits.
    pool: AtomicU32,
    /// Whether there are members, none of whom may be picked.
    none_healthy: AtomicU32,
    pub(super) failures: AtomicU64,
}

impl<M> Core<M> {
    pub(super) fn new(settings: Settings) -> Self {
        let most = settings.max_members;
        Self {
            serial: serial(),
            slots: Slots::new(most),
            table: Table::new(most),
            chance: Chance::new(settings.seed),
            sticky: Sticky::new(settings.sticky_bound),
            roster: Mutex::new(Roster::new(settings.clock.now())),
            next_look: AtomicU64::new(NEVER),
            untimed: AtomicU64::new(0),
            pool: AtomicU32::new(PRIOR.to_bits()),
            none_healthy: AtomicU32::new(0),
            failures: AtomicU64::new(0),
            settings,
        }
    }

    /// Uses a member that the policy chooses. Answers also since when, if the policy asks for that.
    #[inline]
    pub(super) fn pick(self: &Arc<Self>) -> Result<(Lease<'_, M>, u64), PickError> {
        match self.enter_one() {
            Some((entered, now)) => Ok((entered.lease(self), now)),
            None => self.pick_slowly(None),
        }
    }

    /// The part of a pick that is long: it is called, and not repeated wherever somebody picks. What it
    /// answers fits into registers, since whatever is written to memory is what the next locked instruction waits for.
    #[inline(never)]
    fn enter_one(&self) -> Option<(Entered<'_, M>, u64)> {
        match self.settings.policy {
            Policy::RoundRobin => self.enter_next(),
            _ => self.enter_best(),
        }
    }

    // Apart from the others, which need more registers and would have it save them.
    #[inline(never)]
    fn enter_next(&self) -> Option<(Entered<'_, M>, u64)> {
        let turn = self.chance.turn();
        if turn & self.untimed.load(Ordering::Relaxed) == 0 {
            return self.enter_timed(turn);
        }
        let view = self.table.level(|| self.chance.random(turn));
        let entered = self.next(view, turn)?.enter(self)?;
        Some((entered, UNTIMED))
    }

    #[inline(never)]
    fn enter_best(&self) -> Option<(Entered<'_, M>, u64)> {
        let turn = self.chance.turn();
        let now = self.moment(turn);
        let entered = self.try_pick(turn, now)?;
        Some((entered, now))
    }

    #[inline(never)]
    fn enter_timed(&self, turn: u64) -> Option<(Entered<'_, M>, u64)> {
        let now = self.moment(turn);
        let entered = self.try_pick(turn, now)?;
        Some((entered, now))
    }

    /// The same, and somebody else than this one if there is anybody.
    pub(super) fn pick_other(
        self: &Arc<Self>,
        than: MemberId,
    ) -> Result<(Lease<'_, M>, u64), PickError> {
        if let Some((entered, now)) = self.enter_one() {
            let lease = entered.lease(self);
            if lease.slot.id() != than {
                return Ok((lease, now));
            }
        }
        self.pick_slowly(Some(than)).or_else(|_| self.pick())
    }

    #[inline]
    fn try_pick(&self, turn: u64, now: u64) -> Option<Entered<'_, M>> {
        let view = self.table.level(|| self.chance.random(turn));
        self.choose(view, turn, now)?.enter(self)
    }

    /// The member was removed while it was chosen, or is not wanted: a few more tries, and then
    /// whoever comes first.
    #[cold]
    fn pick_slowly(
        self: &Arc<Self>,
        except: Option<MemberId>,
    ) -> Result<(Lease<'_, M>, u64), PickError> {
        let now = self.moment(0);
        let wanted = |lease: &Lease<'_, M>| Some(lease.slot.id()) != except;
        let tries = (0..TRIES).filter_map(|_| self.try_pick(self.chance.turn(), now));
        let rest = self.table.all();
        let rest = rest.filter_map(|slot| self.slots.get(slot)?.enter(self));
        let mut all = tries.chain(rest).map(|entered| entered.lease(self));
        let found = all.find(wanted).ok_or_else(|| self.vacant())?;
        Ok((found, now))
    }

    pub(super) fn vacant(&self) -> PickError {
        match self.none_healthy.load(Ordering::Relaxed) {
            0 => PickError::NoMembers,
            _ => PickError::NoneHealthy,
        }
    }

    /// Where the member lies that the policy chooses.
    #[inline]
    pub(super) fn choose(&self, view: View, turn: u64, now: u64) -> Option<&Slot<M>> {
        match self.settings.policy {
            Policy::RoundRobin => self.next(view, turn),
            Policy::Random => {
                let point = self.chance.random(turn) >> 32;
                self.slots.get(self.table.at_point(view, point as u32))
            }
            Policy::LeastRequest => self.best_of_two(view, turn, queue),
            Policy::PeakEwma => self.least_peak(view, turn, now),
            Policy::Adaptive => self.best_of_three(view, turn),
        }
    }

    /// Whose turn it is.
    #[allow(clippy::inline_always, reason = "a call is a fifth of a round robin")]
    #[inline(always)]
    fn next(&self, view: View, turn: u64) -> Option<&Slot<M>> {
        if view.is_weighted() {
            // Multiples of the golden ratio come back to any part of a circle at most three different
            // distances apart: no member's turns are bunched.
            let point = turn.wrapping_mul(GOLDEN) >> 32;
            return self.slots.get(self.table.at_point(view, point as u32));
        }
        let place = (turn as u32).checked_rem(view.len())?;
        self.slots.get(self.table.at(view, place))
    }

    // Not inlined: it computes powers, and would make every pick longer.
    #[inline(never)]
    fn least_peak(&self, view: View, turn: u64, now: u64) -> Option<&Slot<M>> {
        self.best_of_two(view, turn, |slot| slot.pulse.peak(now) * queue(slot))
    }

    #[inline]
    fn best_of_two(
        &self,
        view: View,
        turn: u64,
        cost: impl Fn(&Slot<M>) -> f32,
    ) -> Option<&Slot<M>> {
        let len = view.len();
        if len < 2 {
            return self.only(view);
        }
        let random = self.chance.random(turn);
        let first = below(random, len);
        let second = apart(below(random >> BITS, len - 1), first);
        let first = self.slots.get(self.table.at(view, first))?;
        let second = self.slots.get(self.table.at(view, second))?;
        Some(if cost(second) < cost(first) {
            second
        } else {
            first
        })
    }

    #[inline]
    fn best_of_three(&self, view: View, turn: u64) -> Option<&Slot<M>> {
        let len = view.len();
        if len < 3 {
            return self.best_of_two(view, turn, wait);
        }
        let [first, second, third] = three(self.chance.random(turn), len);
        let mut best = self.slots.get(self.table.at(view, first))?;
        let mut least = wait(best);
        for place in [second, third] {
            let slot = self.slots.get(self.table.at(view, place))?;
            let cost = wait(slot);
            if cost < least {
                (best, least) = (slot, cost);
            }
        }
        Some(best)
    }

    fn only(&self, view: View) -> Option<&Slot<M>> {
        if view.len() == 0 {
            return None;
        }
        self.slots.get(self.table.at(view, 0))
    }

    /// The time, if the policy asks for it of this turn; looks at everybody if it is time.
    #[inline]
    pub(super) fn moment(&self, turn: u64) -> u64 {
        if turn & self.untimed.load(Ordering::Relaxed) != 0 {
            return UNTIMED;
        }
        self.time()
    }

    fn time(&self) -> u64 {
        let now = self.settings.clock.now();
        if now.as_nanos() >= self.next_look.load(Ordering::Relaxed) {
            self.look(now);
        }
        now.as_nanos().min(LATEST)
    }

    #[inline(never)]
    pub(super) fn succeeded(&self, slot: &Slot<M>, began: u64) {
        slot.pulse.succeeded();
        match self.settings.policy {
            Policy::Adaptive if began == UNTIMED => {}
            Policy::Adaptive => slot.pulse.took(self.since(began)),
            Policy::PeakEwma => self.took_peak(slot, began),
            _ => {}
        }
    }

    /// A success that took so long, whatever the clock says.
    pub(super) fn succeeded_after(&self, slot: &Slot<M>, took: Duration) {
        slot.pulse.succeeded();
        let nanos = (took.as_nanos() as f32).max(1.0);
        match self.settings.policy {
            Policy::Adaptive => slot.pulse.took(nanos),
            Policy::PeakEwma => {
                let now = self.settings.clock.now().as_nanos();
                slot.pulse.took_peak(nanos, now);
            }
            _ => {}
        }
    }

    #[inline(never)]
    pub(super) fn failed(&self, slot: &Slot<M>, began: u64) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        match self.settings.policy {
            // However quick it was, nobody shall be drawn to it.
            Policy::Adaptive => {
                let took = if began == UNTIMED {
                    0.0
                } else {
                    self.since(began)
                };
                slot.pulse.took(took.max(PENALTY * self.pool()));
            }
            Policy::PeakEwma => self.took_peak(slot, began),
            _ => {}
        }
        if slot.pulse.failed(self.settings.ejection.as_ref()) {
            self.eject(slot);
        }
    }

    /// Neither: but it took so long at least.
    #[inline(never)]
    pub(super) fn abandoned(&self, slot: &Slot<M>, began: u64) {
        match self.settings.policy {
            Policy::Adaptive if began == UNTIMED => {}
            Policy::Adaptive => slot.pulse.took_at_least(self.since(began)),
            Policy::PeakEwma => self.took_peak(slot, began),
            _ => {}
        }
    }

    #[inline(never)]
    fn took_peak(&self, slot: &Slot<M>, began: u64) {
        let now = self.settings.clock.now().as_nanos();
        slot.pulse
            .took_peak(now.saturating_sub(began).max(1) as f32, now);
    }

    #[inline]
    fn since(&self, began: u64) -> f32 {
        let now = self.settings.clock.now().as_nanos();
        now.saturating_sub(began).max(1) as f32
    }

    fn pool(&self) -> f32 {
        f32::from_bits(self.pool.load(Ordering::Relaxed))
    }

    #[cold]
    fn eject(&self, slot: &Slot<M>) {
        let Some(ejection) = &self.settings.ejection else {
            return;
        };
        let now = self.settings.clock.now();
        let mut roster = self.roster.lock();
        if roster.eject(slot.id(), ejection, now) {
            self.refresh(&mut roster, now);
        } else {
            // Nobody shall come back here on every failure.
            slot.pulse.forgive();
        }
    }

    /// Looks at everybody: whose ejection is over, who has started, what the pool takes. Left to others
    /// if somebody holds the roster.
    #[cold]
    fn look(&self, now: Instant) {
        let Some(mut roster) = self.roster.try_lock() else {
            return;
        };
        let before = std::mem::replace(&mut roster.looked, now);
        let back = roster.bring_back(&self.settings, now);
        for slot in back.iter().filter_map(|slot| self.slots.get(*slot)) {
            slot.pulse.set_latency(self.pool());
            if let Some(ejection) = &self.settings.ejection {
                slot.pulse.put_on_probation(ejection);
            }
        }
        if self.settings.policy == Policy::Adaptive {
            self.fade(&roster, now.saturating_since(before).as_nanos() as f32);
            let turns = self.chance.turns();
            let taken = turns.saturating_sub(std::mem::replace(&mut roster.turns, turns));
            let each = taken / roster.staying().count().max(1) as u64;
            self.untimed.store(untimed(each), Ordering::Relaxed);
        }
        if roster.ramping(&self.settings, now) || !back.is_empty() {
            self.refresh(&mut roster, now);
        } else {
            let next = self.next_look.load(Ordering::Relaxed);
            if self.settings.policy.is_timed() || next <= now.as_nanos() {
                let next = (now + LOOK).as_nanos();
                self.next_look.store(next, Ordering::Relaxed);
            }
        }
    }

    /// Draws all estimates towards the one in the middle, which no single member can move.
    fn fade(&self, roster: &Roster<M>, nanos: f32) {
        let slots = || {
            roster
                .staying()
                .filter_map(|entry| self.slots.get(entry.id.slot))
        };
        let mut latencies: Vec<f32> = slots().map(|slot| slot.pulse.latency()).collect();
        if latencies.is_empty() {
            return;
        }
        let middle = (latencies.len() - 1) / 2;
        let (_, pool, _) = latencies.select_nth_unstable_by(middle, f32::total_cmp);
        let pool = *pool;
        self.pool.store(pool.to_bits(), Ordering::Relaxed);
        slots().for_each(|slot| slot.pulse.fade(pool, nanos));
    }

    /// Writes what is picked from.
    pub(super) fn refresh(&self, roster: &mut Roster<M>, now: Instant) {
        let plan = roster.plan(&self.settings, now);
        let mut total = 0.0;
        for (number, standing, weight) in &plan.standings {
            if *standing == Standing::Chosen {
                total += weight;
            }
            if let Some(slot) = self.slots.get(*number) {
                slot.pulse.set_weight(*weight as f32);
                slot.pulse.set_standing(*standing);
            }
        }
        self.sticky.set_weight(total as f32);
        self.none_healthy
            .store(u32::from(plan.none_healthy), Ordering::Relaxed);
        self.table.write(&plan.levels);
        let next = if self.settings.policy.is_timed() {
            plan.next.min(now + LOOK)
        } else {
            // With nothing to wait for, nobody needs the time.
            let never = plan.next == Instant::NEVER;
            self.untimed
                .store(if never { u64::MAX } else { 0 }, Ordering::Relaxed);
            plan.next
        };
        self.next_look.store(next.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn add(&self, member: Member<M>) -> Result<MemberId, MemberError> {
        let Member {
            value,
            weight,
            priority,
            identity,
        } = member;
        if !(weight > 0.0 && weight <= MOST_WEIGHT) {
            return Err(MemberError::Weight {
                found: weight,
                max: MOST_WEIGHT,
            });
        }
        let lowest = LEVELS as u8 - 1;
        if priority > lowest {
            return Err(MemberError::Priority {
                found: priority,
                max: lowest,
            });
        }
        let too_many = MemberError::TooMany {
            max: self.settings.max_members,
        };
        let now = self.settings.clock.now();
        let mut roster = self.roster.lock();
        let number = roster.vacancy(self.settings.max_members).ok_or(too_many)?;
        let Some(slot) = self.slots.make(number) else {
            return Err(too_many);
        };
        let id = MemberId {
            slot: number,
            generation: roster.added as u32,
        };
        slot.pulse.reset(self.pool());
        if let Err(value) = slot.fill(value, id.generation) {
            drop(roster);
            drop(value);
            return Err(too_many);
        }
        let identity = identity.unwrap_or(roster.added);
        let mut entry = Entry::new(id, weight, priority, identity, now);
        // Those who are there from the beginning have nobody to leave the work to meanwhile.
        if self.chance.turns() > 0 {
            entry.start_slowly(&self.settings, now);
        }
        roster.insert(entry);
        self.sticky.changed();
        self.refresh(&mut roster, now);
        Ok(id)
    }

    pub(super) fn remove(&self, id: MemberId) -> Result<Drain<M>, UnknownMember> {
        let now = self.settings.clock.now();
        let mut roster = self.roster.lock();
        let entry = roster.find(id).ok_or(UnknownMember(id))?;
        let (drain, handover) = Drain::new();
        entry.leave(handover);
        self.sticky.changed();
        self.refresh(&mut roster, now);
        drop(roster);
        if let Some(slot) = self.slots.get(id.slot)
            && slot.close()
        {
            self.vacated(slot);
        }
        Ok(drain)
    }

    /// The last to use a removed member hands it over.
    #[cold]
    pub(super) fn vacated(&self, slot: &Slot<M>) {
        let Some(member) = slot.take() else {
            return;
        };
        let handover = self.roster.lock().vacate(slot.number());
        // Both may run the user's code: a waker, or the member's drop.
        match handover {
            Some(handover) => handover.deliver(member),
            None => drop(member),
        }
    }

    pub(super) fn set_up(&self, id: MemberId, up: bool) -> Result<bool, UnknownMember> {
        let now = self.settings.clock.now();
        let mut roster = self.roster.lock();
        let entry = roster.find(id).ok_or(UnknownMember(id))?;
        let news = entry.set_up(up, &self.settings, now);
        if news {
            self.refresh(&mut roster, now);
        }
        Ok(news)
    }
}

/// What the adaptive policy expects a member to keep one more request waiting.
#[inline]
pub(super) fn wait<M>(slot: &Slot<M>) -> f32 {
    let requests = (slot.in_flight() + 1) as f32 + slot.pulse.others();
    slot.pulse.latency() * requests * slot.pulse.scale()
}

/// How many requests are there for what the member can do, with one more.
#[inline]
pub(super) fn queue<M>(slot: &Slot<M>) -> f32 {
    (slot.in_flight() + 1) as f32 * slot.pulse.scale()
}

/// Which turns need no time, of so many for each member since somebody looked: if there are dozens,
/// every second, fourth or eighth says enough.
fn untimed(turns: u64) -> u64 {
    (turns / ENOUGH).next_power_of_two().clamp(1, 8) - 1
}

/// A number below `len` from the low bits of a random one.
#[inline]
pub(super) fn below(random: u64, len: u32) -> u32 {
    (((random & ((1 << BITS) - 1)) * u64::from(len)) >> BITS) as u32
}

/// Three different numbers below `len`, which is three at least.
#[inline]
pub(super) fn three(random: u64, len: u32) -> [u32; 3] {
    let first = below(random, len);
    let second = apart(below(random >> BITS, len - 1), first);
    let (low, high) = (first.min(second), first.max(second));
    let third = apart(apart(below(random >> (2 * BITS), len - 2), low), high);
    [first, second, third]
}

/// Skips one number, so that a number below `n - 1` becomes any below `n` but that one.
#[inline]
fn apart(number: u32, from: u32) -> u32 {
    number + u32::from(number >= from)
}

/// Random bits for each of three choices.
const BITS: u32 = 21;
const _: () = assert!(super::table::MOST <= 1 << BITS);
/// How often a pick tries again by policy when a member is removed under its hands.
pub(super) const TRIES: usize = 8;
/// How often somebody looks at everybody, in a pool whose policy goes by the time.
const LOOK: Duration = Duration::from_millis(100);
const NEVER: u64 = u64::MAX;
/// The last moment at which a use begins: 146 years after the origin of the clock. What else is known of it lies above.
pub(super) const LATEST: u64 = (1 << 62) - 1;
/// The beginning of a use that is not timed; no clock of ours was ever there.
pub(super) const UNTIMED: u64 = 0;
/// How many latencies of a member between two looks are enough.
const ENOUGH: u64 = 16;
const MOST_WEIGHT: f64 = 1e6;
