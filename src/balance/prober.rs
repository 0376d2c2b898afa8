use std::collections::BTreeMap;
use std::time::Duration;

use super::{Balancer, MemberId};
use crate::rng::Rng;
use crate::time::{Instant, Jitter};

/// How often members are probed, and how many answers make up a mind.
///
/// ```
/// use std::time::Duration;
/// use tenfold::balance::Probing;
///
/// let often = Probing::default().interval(Duration::from_secs(1)).timeout(Duration::from_millis(300));
/// # drop(often);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "settings do nothing until a prober is made with them"]
pub struct Probing {
    interval: Duration,
    timeout: Duration,
    rise: u32,
    fall: u32,
}

impl Probing {
    /// From one probe of a member to the next, a tenth more or less; 5 s by default.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// After how long a probe without an answer has failed; 2 s by default.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many probes in a row must pass before a member that is down gets requests; 2 by default.
    pub const fn rise(mut self, probes: u32) -> Self {
        self.rise = probes;
        self
    }

    /// How many in a row must fail before a member is down; 3 by default.
    pub const fn fall(mut self, probes: u32) -> Self {
        self.fall = probes;
        self
    }
}

impl Default for Probing {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }
}

/// Decides when which member is to be probed, and what the answers mean. It sends nothing and
/// waits for nothing: that is your loop's, on whatever it runs.
///
/// ```
/// use tenfold::balance::{Balancer, Prober, Probing};
/// use tenfold::time::ManualClock;
///
/// let clock = ManualClock::new();
/// let balancer = Balancer::new();
/// let good = balancer.add("good")?;
/// let bad = balancer.add("bad")?;
///
/// let mut prober = Prober::new(&balancer, Probing::default())?;
/// for _ in 0..3 {
///     for id in prober.due(clock.now()) {
///         let server = balancer.get(id)?;
///         prober.answered(id, *server == "good"); // here you would ask it
///     }
///     let wait = prober.next().saturating_since(clock.now()); // here you would sleep
///     clock.advance(wait * 2);
/// }
/// assert!((0..10).all(|_| balancer.pick().is_ok_and(|pick| pick.id() == good)));
/// # drop(bad);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Prober<M> {
    balancer: Balancer<M>,
    probing: Probing,
    probes: BTreeMap<MemberId, Probe>,
    rng: Rng,
}

/// What is known of a member.
#[derive(Debug)]
struct Probe {
    next: Instant,
    /// When the probe was sent that is not answered yet.
    sent: Option<Instant>,
    up: bool,
    /// How many in a row said otherwise than `up`.
    against: u32,
}

/// Settings that no prober can work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProberError {
    /// Probes without pause, or without a chance to be answered.
    #[error("the interval and the timeout of probes must be above zero")]
    NoTime,
    /// A mind that is made up before the first answer.
    #[error("rise and fall must be at least 1, found {rise} and {fall}")]
    NoThreshold {
        /// Probes that must pass.
        rise: u32,
        /// Probes that must fail.
        fall: u32,
    },
}

impl<M> Prober<M> {
    /// A prober of this balancer's members, those to come included.
    ///
    /// # Errors
    /// [`ProberError`] if the settings cannot be.
    pub fn new(balancer: &Balancer<M>, probing: Probing) -> Result<Self, ProberError> {
        let Probing { rise, fall, .. } = probing;
        if probing.interval.is_zero() || probing.timeout.is_zero() {
            return Err(ProberError::NoTime);
        }
        if rise == 0 || fall == 0 {
            return Err(ProberError::NoThreshold { rise, fall });
        }
        Ok(Self {
            balancer: balancer.clone(),
            probing,
            probes: BTreeMap::new(),
            rng: Rng::with_seed(balancer.0.settings.seed.unwrap_or(1)),
        })
    }

    /// Whom to probe now; in no order. Also fails the probes that nobody answered in time, and follows
    /// the balancer's members. Say how each went with [`answered`](Self::answered).
    pub fn due(&mut self, now: Instant) -> Vec<MemberId> {
        let members: Vec<_> = {
            let roster = self.balancer.0.roster.lock();
            roster.staying().map(|entry| entry.id).collect()
        };
        let late = |probe: &Probe| {
            let sent = probe
                .sent
                .is_some_and(|sent| sent + self.probing.timeout <= now);
            sent.then_some(false)
        };
        let late: Vec<_> = self
            .probes
            .iter()
            .filter_map(|(id, probe)| Some((*id, late(probe)?)))
            .collect();
        for (id, passed) in late {
            self.answered(id, passed);
        }
        self.probes.retain(|id, _| members.contains(id));
        let mut due = Vec::new();
        for id in members {
            let probe = self.probes.entry(id).or_insert(Probe {
                next: now,
                sent: None,
                up: true,
                against: 0,
            });
            if probe.sent.is_none() && probe.next <= now {
                probe.sent = Some(now);
                // So that members added together are not probed together for ever.
                let pause = Jitter::fraction(0.1).apply(self.probing.interval, self.rng.next_u64());
                probe.next = now + pause;
                due.push(id);
            }
        }
        due
    }

    /// When [`due`](Self::due) has something to do next, unless members are added before:
    /// [`Instant::NEVER`] without members.
    pub fn next(&self) -> Instant {
        let next = |probe: &Probe| {
            probe
                .sent
                .map_or(probe.next, |sent| sent + self.probing.timeout)
        };
        self.probes
            .values()
            .map(next)
            .min()
            .unwrap_or(Instant::NEVER)
    }

    /// Takes the answer to a probe. Answers whether it made up our mind: the member is up now, or
    /// down. What nobody asked for, or comes too late, is ignored; but what comes when the next probe is under
    /// way counts for that one, so give a probe up at its timeout.
    pub fn answered(&mut self, id: MemberId, passed: bool) -> Option<bool> {
        let probe = self.probes.get_mut(&id)?;
        probe.sent.take()?;
        if passed == probe.up {
            probe.against = 0;
            return None;
        }
        probe.against += 1;
        let enough = if probe.up {
            self.probing.fall
        } else {
            self.probing.rise
        };
        if probe.against < enough {
            return None;
        }
        (probe.up, probe.against) = (passed, 0);
        let known = if passed {
            self.balancer.mark_up(id)
        } else {
            self.balancer.mark_down(id)
        };
        known.ok().map(|_| passed)
    }
}

impl<M> std::fmt::Debug for Prober<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober")
            .field("probing", &self.probing)
            .field("probes", &self.probes)
            .finish_non_exhaustive()
    }
}
