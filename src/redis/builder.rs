use std::time::Duration;

use redis::IntoConnectionInfo;
use tokio::runtime::Handle;

use super::error::RedisBuildError;
use super::functions::Functions;
use super::keys::Keys;
use super::link::{Link, Patience};
use super::replicas::Replicas;
use super::store::RedisStore;
use crate::session::PerUser;
use crate::session::limits::{Limits, more_than_0, wrong};
use crate::time::Clock;

/// Builds a [`RedisStore`]; made by [`RedisStore::builder`].
///
/// ```
/// use std::time::Duration;
/// use tenfold::redis::RedisStore;
/// use tenfold::session::PerUser;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # let _inside = runtime.enter();
/// // On a tokio runtime; connects with the first call.
/// let store = RedisStore::builder("redis://127.0.0.1/")?
///     .prefix("shop")
///     .idle(Duration::from_secs(15 * 60))
///     .absolute(Duration::from_secs(4 * 3600))
///     .max_per_user(5, PerUser::EvictOldest)
///     .op_timeout(Duration::from_millis(100))
///     .build()?;
/// # drop(store);
/// assert!(RedisStore::builder("127.0.0.1, please").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct RedisStoreBuilder {
    client: redis::Client,
    prefix: String,
    limits: Limits,
    patience: Patience,
    replicas: Option<Replicas>,
    only_scripts: bool,
}

/// The knobs, as the store reads them.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) idle: u32,
    pub(super) absolute: u32,
    pub(super) touch_every: u32,
    pub(super) max_per_user: usize,
    pub(super) per_user: PerUser,
    pub(super) max_data: usize,
}

impl RedisStoreBuilder {
    pub(super) fn new(server: impl IntoConnectionInfo) -> Result<Self, RedisBuildError> {
        Ok(Self {
            client: redis::Client::open(server).map_err(RedisBuildError::Address)?,
            prefix: "tenfold".to_owned(),
            limits: Limits::default(),
            patience: Patience {
                limit: Duration::from_millis(50),
                failures: 5,
                pause: Duration::from_secs(1),
                clock: Clock::system(),
            },
            replicas: None,
            only_scripts: false,
        })
    }

    /// What all keys begin with, behind a brace; `tenfold` by default. Stores with the same prefix on the same
    /// server share their sessions.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a session lives after it was last loaded or saved; 30 minutes by
    /// default. In whole seconds of the server's clock, as all times of sessions; rounded up.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.limits.idle = idle;
        self
    }

    /// How long a session lives after its user logged in, however busy it is; 8 hours by
    /// default.
    pub fn absolute(mut self, absolute: Duration) -> Self {
        self.limits.absolute = absolute;
        self
    }

    /// How often, at most, a load moves the idle deadline, which costs a second call: a session may end so much
    /// sooner than [`idle`](Self::idle) says. By default a sixteenth of that, and no more than a minute.
    pub fn touch_every(mut self, interval: Duration) -> Self {
        self.limits.touch_every = Some(interval);
        self
    }

    /// How many sessions a user may have, and what becomes of one more. By default
    /// 1000, of which the oldest leaves: a limit, because the server does nothing else while it looks through them.
    pub fn max_per_user(mut self, max: usize, per_user: PerUser) -> Self {
        self.limits.max_per_user = max;
        self.limits.per_user = per_user;
        self
    }

    /// How many bytes of data a session may have; 64 KiB by default.
    pub fn max_data(mut self, max: usize) -> Self {
        self.limits.max_data = max;
        self
    }

    /// How long the server may take to answer, connecting included, until a call is
    /// [`TimedOut`](crate::session::Unavailable::TimedOut); 50 milliseconds by default.
    pub fn op_timeout(mut self, limit: Duration) -> Self {
        self.patience.limit = limit;
        self
    }

    /// After how many failures in a row the server is left alone, and for how long: calls then are
    /// [`Suspended`](crate::session::Unavailable::Suspended) at once, and after the pause one finds out how things are. By
    /// default five, and a second.
    pub fn breaker(mut self, failures: u32, pause: Duration) -> Self {
        self.patience.failures = failures;
        self.patience.pause = pause;
        self
    }

    /// The clock of the breaker's pause. Deadlines of sessions go by the server's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.patience.clock = clock;
        self
    }

    /// Answers no change before so many replicas have it (`WAIT`), or this time is over, in whole milliseconds; then the
    /// call fails with [`NotReplicated`](crate::session::Unavailable::NotReplicated), which says that the change *is* made, and
    /// holds what would have been answered. Without this, and with none wanted, no replica is waited for.
    ///
    /// What that promises: a replica that acknowledged has the change in its memory, so a failover to it does not undo
    /// it. What it does not: that a failover chooses such a replica (Sentinel prefers the one that has heard most; nobody is bound to),
    /// that a change that failed is undone, or that anything is on a disk. Wanting as many replicas as there are leaves no choice to a
    /// failover, and makes changes fail when one of them is away. A revocation that was not replicated can be repeated until it is.
    ///
    /// Changes take a second connection, which those who wait hold up for each other: two times `WAIT` at most, however many come
    /// at once. Loads do not wait, nor does the moving of idle deadlines. A change then takes up to
    /// [`op_timeout`](Self::op_timeout) and `limit` for each step.
    pub fn replicas(mut self, wanted: u32, limit: Duration) -> Self {
        self.replicas = (wanted > 0).then_some(Replicas { wanted, limit });
        self
    }

    /// Uses scripts (`EVALSHA`) also where the server knows functions, as behind a proxy that passes those to one of
    /// several servers. Without this, scripts are used where there are no functions, or no right to load them.
    pub fn only_scripts(mut self) -> Self {
        self.only_scripts = true;
        self
    }

    /// Builds a store that connects with its first call. Whether the server is fit for it, says
    /// [`RedisStore::check`]. The runtime has to have its clock and its I/O enabled.
    ///
    /// # Errors
    /// [`RedisBuildError`]: a setting makes no sense, or there is no tokio runtime here.
    pub fn build(self) -> Result<RedisStore, RedisBuildError> {
        if self.prefix.contains(['{', '}']) {
            return Err(RedisBuildError::Prefix { found: self.prefix });
        }
        let limits = Limits {
            idle: whole(self.limits.idle),
            absolute: whole(self.limits.absolute),
            ..self.limits
        };
        let touch_every = limits.check((limits.idle / 16).min(Duration::from_secs(60)))?;
        more_than_0("op_timeout", self.patience.limit.as_micros() as u64)?;
        if let Some(Replicas { limit, .. }) = self.replicas
            && (limit.is_zero() || limit > MAX_WAIT)
        {
            let expected = "more than 0 and at most a minute, in microseconds";
            let found = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
            return Err(wrong("replicas", expected, found).into());
        }
        if Handle::try_current().is_err() {
            return Err(RedisBuildError::NoRuntime);
        }
        // The server counts seconds since 1970 in 32 bits, until 2106.
        let settings = Settings {
            idle: limits.idle.as_secs() as u32,
            absolute: limits.absolute.as_secs() as u32,
            touch_every: touch_every.as_secs() as u32,
            max_per_user: limits.max_per_user,
            per_user: limits.per_user,
            max_data: limits.max_data,
        };
        let link = Link::new(self.client, self.patience, self.replicas)
            .map_err(RedisBuildError::Address)?;
        let functions = Functions::new(self.only_scripts);
        Ok(RedisStore::new(
            settings,
            Keys::new(self.prefix),
            functions,
            link,
        ))
    }
}

/// Whole seconds, rounded up.
fn whole(duration: Duration) -> Duration {
    let started = u64::from(duration.subsec_nanos() > 0);
    Duration::from_secs(duration.as_secs().saturating_add(started))
}

/// A caller who waits longer has gone.
const MAX_WAIT: Duration = Duration::from_secs(60);
