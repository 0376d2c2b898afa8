use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::builder::BalancerBuilder;
use super::core::Core;
use super::slot::Lease;
use super::{
    BalancerStats, Drain, Health, Member, MemberError, MemberId, MemberStatus, OwnedPick, Pick,
    PickError, UnknownMember,
};
use crate::hash::StableKey;

/// Chooses a member for each request; see the [module](super).
///
/// Cheap to clone; clones are the same balancer. A member is whatever you send requests with: a
/// connection pool, a client, an address.
///
/// ```
/// use tenfold::balance::Balancer;
///
/// let balancer = Balancer::new();
/// let first = balancer.add("10.0.0.1")?;
/// balancer.add("10.0.0.2")?;
///
/// let server = balancer.pick()?;
/// println!("asking {}", *server);
/// server.succeed();
///
/// assert_eq!(balancer.drain(first)?.wait(), "10.0.0.1");
/// assert_eq!(*balancer.pick()?, "10.0.0.2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Balancer<M>(pub(super) Arc<Core<M>>);

impl<M> Balancer<M> {
    /// A balancer with the defaults, and without members.
    pub fn new() -> Self {
        Self::builder().defaults()
    }

    /// A builder with the defaults.
    pub fn builder() -> BalancerBuilder<M> {
        BalancerBuilder::new()
    }

    /// Chooses a member by the policy. Takes no lock, but for one pick in a tenth of a second that
    /// looks at all members, unless another does so.
    ///
    /// # Errors
    /// [`PickError`] if there is nobody.
    #[inline]
    pub fn pick(&self) -> Result<Pick<'_, M>, PickError> {
        self.0.pick().map(Pick::new)
    }

    /// Chooses somebody else, for a retry: the same one again only if nobody else is there.
    ///
    /// ```
    /// use tenfold::balance::Balancer;
    ///
    /// let balancer = Balancer::new();
    /// balancer.add("a")?;
    /// balancer.add("b")?;
    /// let first = balancer.pick()?;
    /// let second = balancer.pick_other(first.id())?;
    /// assert_ne!(*first, *second);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PickError`] if there is nobody at all.
    pub fn pick_other(&self, than: MemberId) -> Result<Pick<'_, M>, PickError> {
        self.0.pick_other(than).map(Pick::new)
    }

    /// Chooses the member that this key belongs to, whatever the policy: the same as long as it
    /// is healthy and has room, and else one that is the same as long as *that* has. When members come
    /// and go, only the keys move that have to.
    ///
    /// Room is [`sticky_bound`](BalancerBuilder::sticky_bound) times the member's share of all requests by
    /// key that are in flight. The first use of a key's part of the hashes after members changed takes a lock
    /// and a time proportional to the members; the first of all, 128 kB.
    ///
    /// ```
    /// use tenfold::balance::Balancer;
    ///
    /// let balancer = Balancer::new();
    /// for server in ["a", "b", "c"] {
    ///     balancer.add(server)?;
    /// }
    /// let home = *balancer.pick_sticky("session:7")?;
    /// assert!((0..10).all(|_| *balancer.pick_sticky("session:7").unwrap() == home));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PickError`] if there is nobody.
    pub fn pick_sticky(&self, key: impl StableKey) -> Result<Pick<'_, M>, PickError> {
        self.0.pick_sticky(key.stable_hash(0)).map(Pick::sticky)
    }

    /// Chooses among some of the members by the policy: for who has reasons of its own, and wants the
    /// rest to be decided here.
    ///
    /// Members that are not there any more are passed over. Of the others those come first that any pick could
    /// get; if none of them is on the list, healthy ones of another level, and if there is none of those
    /// either, the rest, unless the [panic threshold](BalancerBuilder::panic_threshold) is 0. Takes a time
    /// proportional to the list, no lock, and no memory. Round robin is even among them, but not in
    /// their order.
    ///
    /// ```
    /// use tenfold::balance::Balancer;
    ///
    /// let balancer = Balancer::new();
    /// let ids = ["a", "b", "c"].map(|server| balancer.add(server));
    /// let [a, _, c] = [ids[0]?, ids[1]?, ids[2]?];
    /// assert!((0..10).all(|_| *balancer.pick_among(&[a, c]).unwrap() != "b"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PickError::NoneWanted`] if none of these is there; [`PickError`] otherwise if there is nobody at all, or
    /// nobody healthy.
    pub fn pick_among(&self, ids: &[MemberId]) -> Result<Pick<'_, M>, PickError> {
        self.0.pick_among(ids).map(Pick::new)
    }

    /// [`pick_among`](Self::pick_among) those that the closure wants. It is asked for every
    /// member that there is, once or twice, and holds no lock; while it runs, the member counts as in use.
    ///
    /// ```
    /// use tenfold::balance::Balancer;
    ///
    /// let balancer = Balancer::new();
    /// for port in 8000..8010 {
    ///     balancer.add(("10.0.0.1", port))?;
    /// }
    /// let even = balancer.pick_where(|_, (_, port)| port % 2 == 0)?;
    /// assert_eq!(even.1 % 2, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`pick_among`](Self::pick_among).
    pub fn pick_where(
        &self,
        wanted: impl Fn(MemberId, &M) -> bool,
    ) -> Result<Pick<'_, M>, PickError> {
        self.0.pick_where(wanted).map(Pick::new)
    }

    /// [`pick`](Self::pick), borrowing nothing: what it lends may be held in a task that is spawned.
    /// Other picks have [`Pick::into_owned`].
    ///
    /// # Errors
    /// [`PickError`] if there is nobody.
    pub fn pick_owned(&self) -> Result<OwnedPick<M>, PickError> {
        self.0.pick().map(OwnedPick::new)
    }

    /// Uses a certain member, say for a probe. How that goes says nothing to the policy.
    ///
    /// # Errors
    /// [`UnknownMember`] if it was removed.
    pub fn get(&self, id: MemberId) -> Result<Pick<'_, M>, UnknownMember> {
        self.lease(id).map(Pick::silent)
    }

    /// Adds a member of weight 1. Unless nobody was picked yet, it starts
    /// [slowly](BalancerBuilder::slow_start).
    ///
    /// # Errors
    /// [`MemberError::TooMany`] if there is no room.
    pub fn add(&self, member: M) -> Result<MemberId, MemberError> {
        self.add_member(Member::new(member))
    }

    /// Adds a member with all that there is to say of it.
    ///
    /// # Errors
    /// [`MemberError`] if it cannot be as described, or there is no room.
    pub fn add_member(&self, member: Member<M>) -> Result<MemberId, MemberError> {
        self.0.add(member)
    }

    /// Removes a member: it is not picked again. Who has it in use may finish; the last of them drops it.
    ///
    /// # Errors
    /// [`UnknownMember`] if it was removed already.
    pub fn remove(&self, id: MemberId) -> Result<(), UnknownMember> {
        self.0.remove(id).map(drop)
    }

    /// Removes a member, and says when nobody uses it any more.
    ///
    /// # Errors
    /// [`UnknownMember`] if it was removed already.
    pub fn drain(&self, id: MemberId) -> Result<Drain<M>, UnknownMember> {
        self.0.remove(id)
    }

    /// Says how many requests a member has by its own account, those of other clients included: what it wrote beside
    /// an answer, or said to a probe. [`Policy::Adaptive`](super::Policy::Adaptive) counts them as
    /// waiting there, and forgets it with a time constant of a second; other policies do not ask.
    ///
    /// ```
    /// use tenfold::balance::Balancer;
    ///
    /// let balancer = Balancer::new();
    /// let busy = balancer.add("a")?;
    /// let idle = balancer.add("b")?;
    /// balancer.report_load(busy, 40)?;
    /// assert_eq!(balancer.pick()?.id(), idle);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`UnknownMember`] if it was removed.
    pub fn report_load(&self, id: MemberId, requests: u32) -> Result<(), UnknownMember> {
        let lease = self.lease(id)?;
        // Ours are counted anyway, and one of them is this use.
        let ours = lease.slot.in_flight().saturating_sub(1);
        let others = requests.saturating_sub(ours);
        lease.slot.pulse.set_others(others as f32);
        Ok(())
    }

    /// Says that a member's probes fail, or whatever else tells that it shall get nothing for now. Answers
    /// whether that is news.
    ///
    /// # Errors
    /// [`UnknownMember`] if it was removed.
    pub fn mark_down(&self, id: MemberId) -> Result<bool, UnknownMember> {
        self.0.set_up(id, false)
    }

    /// Says that it is well again.
    ///
    /// # Errors
    /// [`UnknownMember`] if it was removed.
    pub fn mark_up(&self, id: MemberId) -> Result<bool, UnknownMember> {
        self.0.set_up(id, true)
    }

    /// The members, in no order, those included that were removed and are still in use.
    pub fn members(&self) -> Vec<MemberStatus> {
        let roster = self.0.roster.lock();
        let status = |entry: &super::roster::Entry<M>| {
            let slot = self.0.slots.get(entry.id.slot)?;
            Some(MemberStatus {
                id: entry.id,
                health: entry.health(),
                weight: entry.weight,
                priority: entry.priority,
                in_flight: slot.in_flight(),
                latency: Duration::from_nanos(slot.pulse.latency() as u64),
                success_rate: slot.pulse.success(),
                ejections: entry.ejections,
            })
        };
        roster.all().filter_map(status).collect()
    }

    /// What was done so far, and how the members are. Takes a time proportional to them.
    pub fn stats(&self) -> BalancerStats {
        let members = self.members();
        let count = |health| {
            members
                .iter()
                .filter(|member| member.health == health)
                .count()
        };
        let draining = count(Health::Draining);
        let roster = self.0.roster.lock();
        BalancerStats {
            policy: self.0.settings.policy.name(),
            members: members.len() - draining,
            healthy: count(Health::Healthy),
            draining,
            in_flight: members
                .iter()
                .map(|member| u64::from(member.in_flight))
                .sum(),
            picks: self.0.chance.turns(),
            failures: self.0.failures.load(Ordering::Relaxed),
            ejections: roster.ejections,
            spared: roster.spared,
            panics: roster.panics,
        }
    }
}

impl<M> Balancer<M> {
    fn lease(&self, id: MemberId) -> Result<Lease<'_, M>, UnknownMember> {
        let slot = self.0.slots.get(id.slot).ok_or(UnknownMember(id))?;
        let lease = slot.enter(&self.0).map(|entered| entered.lease(&self.0));
        let lease = lease.filter(|lease| lease.slot.id() == id);
        lease.ok_or(UnknownMember(id))
    }
}

// By hand: handles are cloned, not members.
impl<M> Clone for Balancer<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Default for Balancer<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for Balancer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
