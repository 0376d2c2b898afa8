//! The way to the server: one connection for all calls, an end to each, and a breaker before them.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value};
use tokio::runtime::Handle;

use crate::cache::tier::{Breaker, BreakerState};
use crate::session::Unavailable;
use crate::sync::Mutex;
use crate::time::Clock;

pub(super) struct Link {
    client: Client,
    /// Shared by all calls; replaced when the breaker opens.
    manager: Mutex<ConnectionManager>,
    breaker: Breaker,
    patience: Patience,
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
    pub(super) fn new(client: Client, patience: Patience) -> RedisResult<Self> {
        let Patience {
            failures, pause, ..
        } = patience;
        Ok(Self {
            manager: Mutex::new(manager(&client, &patience)?),
            breaker: Breaker::new(failures, pause, patience.clock.clone()),
            client,
            patience,
        })
    }

    pub(super) fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Makes one call.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut manager = self.manager.lock().clone();
        self.run(command.query_async(&mut manager)).await
    }

    /// Makes calls that only read: once more, if the connection turns out to be a lost one.
    pub(super) async fn read<T>(&self, calls: &Pipeline) -> Result<T, Failure>
    where
        T: FromRedisValue + Send,
    {
        let mut manager = self.manager.lock().clone();
        match self.run(calls.query_async(&mut manager)).await {
            Err(Failure::Dropped(_)) => {
                let mut manager = self.manager.lock().clone();
                self.run(calls.query_async(&mut manager)).await
            }
            answer => answer,
        }
    }

    async fn run<T>(
        &self,
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
        let limit = self.patience.limit;
        let answer = match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|error| self.failure(error)),
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

    fn failure(&self, error: RedisError) -> Failure {
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => Failure::Answered(error),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                Failure::Other(Unavailable::Malformed {
                    expected: "an answer in the protocol of Redis",
                })
            }
            _ if error.is_timeout() => Failure::Other(Unavailable::TimedOut {
                limit: self.patience.limit,
            }),
            _ if error.is_connection_dropped() => {
                Failure::Dropped(Unavailable::Unreachable(Arc::new(error)))
            }
            _ => Failure::Other(Unavailable::Unreachable(Arc::new(error))),
        }
    }
}

impl From<Failure> for Unavailable {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Answered(error) if is_about_the_value(&error) => Self::Malformed {
                expected: "a session under the key of one",
            },
            Failure::Answered(error) => Self::Refused(Arc::new(error)),
            Failure::Dropped(unavailable) | Failure::Other(unavailable) => unavailable,
        }
    }
}

/// Whether the server says that a value is none that a store has written.
fn is_about_the_value(error: &RedisError) -> bool {
    says(error, |code, detail| {
        // Older servers put the code of what fails in a script into the text.
        matches!(code, "WRONGTYPE" | "TENFOLD") || detail.contains("WRONGTYPE")
    })
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
