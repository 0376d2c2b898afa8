//! The way to the server: one connection for all calls, or another one for changes that replicas have to have; an
//! end to each call, and a breaker before them.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError,
    RedisResult, Value,
};
use tokio::runtime::Handle;

use super::replicas::{Line, Replicas, Turns};
use crate::cache::tier::{Breaker, BreakerState};
use crate::session::{Made, Unavailable};
use crate::sync::Mutex;
use crate::time::Clock;

pub(super) struct Link {
    client: Client,
    /// Shared by all calls; replaced when the breaker opens.
    manager: Mutex<ConnectionManager>,
    /// For changes that replicas have to have.
    line: tokio::sync::Mutex<Option<Arc<Line>>>,
    replicas: Option<Replicas>,
    breaker: Breaker,
    patience: Patience,
}

/// Which connection a call takes.
pub(super) enum Way {
    /// That of all calls.
    Shared,
    /// That of changes.
    Own(Arc<Line>),
}

/// When to give up, and for how long.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// How long a call may take.
    pub(super) limit: Duration,
    /// How many calls in a row may fail.
    pub(super) failures: u32,
    /// How long none is made after that.
    pub(super) pause: Duration,
    /// The clock of that pause.
    pub(super) clock: Clock,
}

/// A call without a result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server answered that it does not do this.
    Answered(RedisError),
    /// The connection was lost, before the call or during it. There may be another by now.
    Dropped(Unavailable),
    /// Anything else.
    Other(Unavailable),
}

impl Link {
    /// The first call connects. Has to be called on a runtime.
    pub(super) fn new(
        client: Client,
        patience: Patience,
        replicas: Option<Replicas>,
    ) -> RedisResult<Self> {
        let Patience {
            failures, pause, ..
        } = patience;
        Ok(Self {
            manager: Mutex::new(manager(&client, &patience)?),
            line: tokio::sync::Mutex::new(None),
            replicas,
            breaker: Breaker::new(failures, pause, patience.clock.clone()),
            client,
            patience,
        })
    }

    pub(super) fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// The way for a change: all steps of it have to take the same.
    pub(super) async fn way(&self) -> Result<Way, Unavailable> {
        let Some(replicas) = self.replicas else {
            return Ok(Way::Shared);
        };
        let mut place = self.line.lock().await;
        if let Some(line) = &*place {
            return Ok(Way::Own(Arc::clone(line)));
        }
        let limit = self.patience.limit;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit * 2))
            .set_response_timeout(Some(limit + replicas.limit));
        let connect = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let line = Arc::new(Line {
            connection: self.run(limit, connect).await?,
            turns: Turns::default(),
        });
        *place = Some(Arc::clone(&line));
        Ok(Way::Own(line))
    }

    /// Makes one call.
    pub(super) async fn ask(&self, way: &Way, command: &Cmd) -> Result<Value, Failure> {
        let limit = self.patience.limit;
        match way {
            Way::Shared => {
                let mut manager = self.manager.lock().clone();
                self.run(limit, command.query_async(&mut manager)).await
            }
            Way::Own(line) => self.ask_on(line, command).await,
        }
    }

    /// Waits until enough replicas have what was changed this way.
    pub(super) async fn settle(&self, way: &Way, made: Made) -> Result<(), Unavailable> {
        let (Some(replicas), Way::Own(line)) = (self.replicas, way) else {
            return Ok(());
        };
        let acknowledged = line.turns.acknowledged(async {
            let mut wait = redis::cmd("WAIT");
            let millis = replicas.limit.as_millis().max(1) as u64;
            wait.arg(replicas.wanted).arg(millis);
            match self.ask_on(line, &wait).await? {
                Value::Int(acknowledged) => Ok(u32::try_from(acknowledged).unwrap_or(0)),
                _ => Err(Unavailable::Malformed {
                    expected: "a number of replicas",
                }),
            }
        });
        replicas.judge(made, acknowledged.await)
    }

    /// What is asked here may have to wait until replicas have what was asked before.
    async fn ask_on(&self, line: &Arc<Line>, command: &Cmd) -> Result<Value, Failure> {
        let waits = self
            .replicas
            .map_or(Duration::ZERO, |replicas| replicas.limit);
        let limit = self.patience.limit + waits;
        let mut connection = line.connection.clone();
        let answer = self.run(limit, command.query_async(&mut connection)).await;
        if let Err(Failure::Dropped(_) | Failure::Other(_)) = answer {
            let mut place = self.line.lock().await;
            if place
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, line))
            {
                *place = None;
            }
        }
        answer
    }

    /// Makes calls that only read: once more, if the connection turns out to be a lost one.
    pub(super) async fn read<T>(&self, calls: &Pipeline) -> Result<T, Failure>
    where
        T: FromRedisValue + Send,
    {
        let mut manager = self.manager.lock().clone();
        let limit = self.patience.limit;
        match self.run(limit, calls.query_async(&mut manager)).await {
            Err(Failure::Dropped(_)) => {
                let mut manager = self.manager.lock().clone();
                self.run(limit, calls.query_async(&mut manager)).await
            }
            answer => answer,
        }
    }

    async fn run<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = RedisResult<T>> + Send,
    ) -> Result<T, Failure> {
        if Handle::try_current().is_err() {
            let cause = Arc::new(NoRuntime);
            return Err(Failure::Other(Unavailable::Unreachable(cause)));
        }
        let Some(permit) = self.breaker.try_acquire() else {
            let pause = self.patience.pause;
            return Err(Failure::Other(Unavailable::Suspended { pause }));
        };
        let answer = match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|error| failure(error, limit)),
            Err(_) => Err(Failure::Other(Unavailable::TimedOut { limit })),
        };
        if let Ok(_) | Err(Failure::Answered(_)) = answer {
            permit.succeeded();
            return answer;
        }
        let opened = self.breaker.opened();
        permit.failed();
        if self.breaker.opened() > opened {
            self.renew();
        }
        answer
    }

    /// Begins anew with a connection: one to a server that vanished without a word looks
    /// well for a quarter of an hour, and the manager keeps an error of its first greeting for ever.
    fn renew(&self) {
        if let Ok(fresh) = manager(&self.client, &self.patience) {
            let old = std::mem::replace(&mut *self.manager.lock(), fresh);
            drop(old);
        }
    }
}

impl From<Failure> for Unavailable {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Answered(error) if is_about_the_value(&error) => Self::Malformed {
                expected: "a session under the key of one",
            },
            Failure::Answered(error) if is_of_a_cluster(&error) => Self::Misdirected {
                expected: "a Redis server that has all sessions, or a proxy before the cluster that \
                           this is a node of",
            },
            Failure::Answered(error) => Self::Refused(Arc::new(error)),
            Failure::Dropped(unavailable) | Failure::Other(unavailable) => unavailable,
        }
    }
}

fn failure(error: RedisError, limit: Duration) -> Failure {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => Failure::Answered(error),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            Failure::Other(Unavailable::Malformed {
                expected: "an answer in the protocol of Redis",
            })
        }
        _ if error.is_timeout() => Failure::Other(Unavailable::TimedOut { limit }),
        _ if error.is_connection_dropped() => {
            Failure::Dropped(Unavailable::Unreachable(Arc::new(error)))
        }
        _ => Failure::Other(Unavailable::Unreachable(Arc::new(error))),
    }
}

/// Whether the server says that a value is none that a store has written.
fn is_about_the_value(error: &RedisError) -> bool {
    says(error, |code, detail| {
        // Older servers put the code of what fails in a script into the text.
        matches!(code, "WRONGTYPE" | "TENFOLD") || detail.contains("WRONGTYPE")
    })
}

/// Whether the server says that another node of its cluster has to be asked, and the store knows but this one.
fn is_of_a_cluster(error: &RedisError) -> bool {
    says(error, |code, _| matches!(code, "MOVED" | "ASK"))
}

/// Whether an error of the server fits.
pub(super) fn says(error: &RedisError, fits: impl Fn(&str, &str) -> bool) -> bool {
    let errors = error.clone().into_server_errors();
    errors.is_some_and(|errors| {
        let mut errors = errors.iter();
        errors.any(|(_, error)| fits(error.code(), error.details().unwrap_or_default()))
    })
}

fn manager(client: &Client, patience: &Patience) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(patience.limit))
        .set_connection_timeout(Some(patience.limit * 2))
        // The next call tries again; this one shall not wait for a pause.
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

#[derive(Debug, thiserror::Error)]
#[error("there is no tokio runtime here")]
struct NoRuntime;
