use std::sync::Arc;
use std::time::Duration;

use crate::replica::{Endpoint, RecoveryOrder, SystemId};

/// Who the servers are, and how a topology judges them.
///
/// ```
/// use std::time::Duration;
/// use tenfold::replica::Endpoint;
/// use tenfold::replica::topology::{Settings, SettingsError};
///
/// let settings = Settings::builder()
///     .primary(Endpoint::new("a", "10.0.0.1:5432")?)
///     .replica(Endpoint::new("b", "10.0.0.2:5432")?)
///     .max_lag(Duration::from_secs(5))
///     .build()?;
/// assert_eq!(settings.endpoints().len(), 2);
///
/// let none = Settings::builder().replica(Endpoint::new("b", "10.0.0.2:5432")?).build();
/// assert_eq!(none.unwrap_err(), SettingsError::NoPrimary);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) system: Option<SystemId>,
    pub(super) probe_interval: Duration,
    pub(super) probe_timeout: Duration,
    pub(super) suspect_interval: Duration,
    pub(super) failed_probes: u32,
    pub(super) restart_grace: Duration,
    pub(super) max_lag: Duration,
    pub(super) max_ejection: Duration,
    pub(super) promotion: Promotion,
    pub(super) order: RecoveryOrder,
    pub(super) synchronous: Option<Synchronous>,
    pub(super) operation_timeout: Duration,
    pub(super) salvage_timeout: Duration,
    pub(super) between_failovers: Duration,
    pub(super) retry_after: Duration,
    pub(super) clock_skew: Duration,
    pub(super) seed: u64,
}

/// Whether a topology leads failovers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Promotion {
    /// No: somebody else promotes, an operator, a service, and it follows. The default.
    #[default]
    Observe,
    /// Yes. One process cannot know that it is the only one which thinks so; this says how it may assume it.
    Active(Authority),
}

/// By what right a topology promotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authority {
    /// A [`Lease`](super::Lease) that only one process can have.
    Lease,
    /// The user's word that no other process and nobody else promotes.
    SoleController,
}

/// Synchronous replication: a write is acknowledged when some of these servers have it besides the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synchronous {
    pub(super) acknowledgements: usize,
    pub(super) among: Vec<Box<str>>,
}

impl Synchronous {
    /// Any `acknowledgements` of the servers with these names, whichever of them is primary.
    pub fn any<'a>(acknowledgements: usize, among: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            acknowledgements,
            among: among.into_iter().map(Into::into).collect(),
        }
    }
}

impl Settings {
    /// Settings to be made.
    pub fn builder() -> SettingsBuilder {
        SettingsBuilder(
            Self {
                endpoints: Vec::new(),
                system: None,
                probe_interval: Duration::from_secs(1),
                probe_timeout: Duration::from_secs(1),
                suspect_interval: Duration::from_millis(200),
                failed_probes: 3,
                restart_grace: Duration::from_secs(2),
                max_lag: Duration::from_secs(10),
                max_ejection: Duration::from_secs(30),
                promotion: Promotion::Observe,
                order: RecoveryOrder::DataFirst,
                synchronous: None,
                operation_timeout: Duration::from_secs(10),
                salvage_timeout: Duration::from_secs(60),
                between_failovers: Duration::from_secs(60),
                retry_after: Duration::from_secs(1),
                clock_skew: Duration::from_millis(500),
                seed: 0,
            },
            0,
        )
    }

    /// The servers, as they were given: the one that is thought to be primary first.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Who promotes.
    pub fn promotion(&self) -> Promotion {
        self.promotion
    }

    /// What comes first in a failover.
    pub fn order(&self) -> RecoveryOrder {
        self.order
    }
}

/// Builds [`Settings`].
#[derive(Debug, Clone)]
#[must_use = "settings are made by `build`"]
pub struct SettingsBuilder(Settings, usize);

impl SettingsBuilder {
    /// The server that is thought to be the primary. What it is, is observed.
    pub fn primary(mut self, endpoint: Endpoint) -> Self {
        self.0.endpoints.insert(0, endpoint);
        self.1 += 1;
        self
    }

    /// A server that is thought to be a replica. What it is, is observed.
    pub fn replica(mut self, endpoint: Endpoint) -> Self {
        self.0.endpoints.push(endpoint);
        self
    }

    /// The cluster that the servers belong to. Learnt from the primary if it is not said.
    pub fn system(mut self, system: SystemId) -> Self {
        self.0.system = Some(system);
        self
    }

    /// How often a server is asked what it is; less a random tenth, so that the servers are not asked all at once. One second.
    pub fn probe_interval(mut self, interval: Duration) -> Self {
        self.0.probe_interval = interval;
        self
    }

    /// How long an answer may take. One second.
    pub fn probe_timeout(mut self, timeout: Duration) -> Self {
        self.0.probe_timeout = timeout;
        self
    }

    /// How often a server is asked while something is to be found out: the primary is suspect, a server catches up. 200 ms.
    pub fn suspect_interval(mut self, interval: Duration) -> Self {
        self.0.suspect_interval = interval;
        self
    }

    /// How many probes in a row fail before a primary is taken for lost. Three.
    pub fn failed_probes(mut self, probes: u32) -> Self {
        self.0.failed_probes = probes;
        self
    }

    /// How long a primary may be away, to be restarted, before it is failed over. When that time is over it is asked once
    /// more: one that is back by then stays. Two seconds.
    pub fn restart_grace(mut self, grace: Duration) -> Self {
        self.0.restart_grace = grace;
        self
    }

    /// How far behind a replica may be and still serve reads. Ten seconds.
    pub fn max_lag(mut self, lag: Duration) -> Self {
        self.0.max_lag = lag;
        self
    }

    /// How long a server that does not answer is left alone at most. The time doubles from the probe interval on. 30 seconds.
    pub fn max_ejection(mut self, longest: Duration) -> Self {
        self.0.max_ejection = longest;
        self
    }

    /// Who promotes. [`Promotion::Observe`].
    pub fn promotion(mut self, promotion: Promotion) -> Self {
        self.0.promotion = promotion;
        self
    }

    /// What comes first in a failover. [`RecoveryOrder::DataFirst`].
    pub fn order(mut self, order: RecoveryOrder) -> Self {
        self.0.order = order;
        self
    }

    /// How the cluster replicates synchronously. Not at all.
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.0.synchronous = Some(synchronous);
        self
    }

    /// How long an operation of a failover may take. Ten seconds.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.0.operation_timeout = timeout;
        self
    }

    /// How long it may take to salvage or to recover. One minute.
    pub fn salvage_timeout(mut self, timeout: Duration) -> Self {
        self.0.salvage_timeout = timeout;
        self
    }

    /// How long after a failover the next one may begin at the earliest. One minute.
    pub fn between_failovers(mut self, time: Duration) -> Self {
        self.0.between_failovers = time;
        self
    }

    /// How long after it was refused a failover, or an operation that failed, is tried again. One second.
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.0.retry_after = time;
        self
    }

    /// How much faster than here the clocks of others may be over a lease's life: it counts as over so
    /// much earlier. Half a second.
    pub fn clock_skew(mut self, skew: Duration) -> Self {
        self.0.clock_skew = skew;
        self
    }

    /// What the randomness of the probes' times comes from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// The settings.
    ///
    /// # Errors
    /// [`SettingsError`] for what cannot work.
    pub fn build(self) -> Result<Arc<Settings>, SettingsError> {
        let Self(settings, primaries) = self;
        match primaries {
            0 => return Err(SettingsError::NoPrimary),
            1 => {}
            _ => return Err(SettingsError::TwoPrimaries(primaries)),
        }
        for (at, endpoint) in settings.endpoints.iter().enumerate() {
            admissible(endpoint, settings.endpoints[..at].iter())?;
        }
        for (name, time) in [
            ("probe_interval", settings.probe_interval),
            ("probe_timeout", settings.probe_timeout),
            ("suspect_interval", settings.suspect_interval),
            ("max_ejection", settings.max_ejection),
            ("operation_timeout", settings.operation_timeout),
            ("salvage_timeout", settings.salvage_timeout),
            ("retry_after", settings.retry_after),
        ] {
            if time.is_zero() {
                return Err(SettingsError::Zero(name));
            }
        }
        if settings.failed_probes == 0 {
            return Err(SettingsError::Zero("failed_probes"));
        }
        if let Some(synchronous) = &settings.synchronous {
            synchronous.check(&settings.endpoints)?;
        }
        Ok(Arc::new(settings))
    }
}

impl Synchronous {
    fn check(&self, endpoints: &[Endpoint]) -> Result<(), SettingsError> {
        for (at, name) in self.among.iter().enumerate() {
            if !endpoints.iter().any(|endpoint| endpoint.name() == &**name) {
                return Err(SettingsError::UnknownStandby(name.clone()));
            }
            if self.among[..at].contains(name) {
                return Err(SettingsError::DuplicateName(name.clone()));
            }
        }
        // One of them may be the primary, which does not acknowledge its own writes.
        let standbys = self.among.len().min(endpoints.len().saturating_sub(1));
        if self.acknowledgements == 0 || self.acknowledgements > standbys {
            return Err(SettingsError::Acknowledgements {
                found: self.acknowledgements,
                standbys,
            });
        }
        Ok(())
    }
}

/// Whether this server can stand beside the others.
pub(super) fn admissible<'a>(
    endpoint: &Endpoint,
    others: impl ExactSizeIterator<Item = &'a Endpoint>,
) -> Result<(), SettingsError> {
    if others.len() >= MAX_NODES {
        return Err(SettingsError::TooMany);
    }
    for other in others {
        if other.name() == endpoint.name() {
            return Err(SettingsError::DuplicateName(endpoint.name().into()));
        }
        if other.address() == endpoint.address() {
            return Err(SettingsError::DuplicateAddress(endpoint.address().into()));
        }
    }
    Ok(())
}

/// Settings that cannot work, or a server that cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// No server is thought to be the primary.
    #[error("a cluster needs one primary to begin with, found none")]
    NoPrimary,
    /// More than one is.
    #[error("a cluster needs one primary to begin with, found {0}")]
    TwoPrimaries(usize),
    /// Two servers have the same name.
    #[error("each server needs a name of its own, found {0:?} twice")]
    DuplicateName(Box<str>),
    /// Two servers have the same address.
    #[error("each server needs an address of its own, found {0:?} twice")]
    DuplicateAddress(Box<str>),
    /// There are more than 64.
    #[error("a cluster has 64 servers at most")]
    TooMany,
    /// A time or number that must be above zero is not.
    #[error("{0} must be above zero")]
    Zero(&'static str),
    /// A synchronous standby is none of the servers.
    #[error("the synchronous standby {0:?} is none of the servers")]
    UnknownStandby(Box<str>),
    /// More acknowledgements are asked for than there are standbys beside the primary, or none.
    #[error("acknowledgements must be between 1 and the {standbys} standbys, found {found}")]
    Acknowledgements {
        /// So many are asked for.
        found: usize,
        /// So many can acknowledge.
        standbys: usize,
    },
}

/// A set of servers is one word.
const MAX_NODES: usize = 64;
