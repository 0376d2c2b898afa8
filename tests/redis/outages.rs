//! A Redis server that is dead, hangs, is not there yet or answers rubbish.

use std::time::Duration;

use tenfold::cache::tier::BreakerState;
use tenfold::redis::RedisStore;
use tenfold::session::{AsyncSessionStore, CreateError, SessionToken, Unavailable, Version};
use tenfold::time::ManualClock;

use crate::outages::{Outages, Patience, assert_every_call_fails, every_outage};
use crate::server::Server;
use crate::session_store::{begin, run};
use crate::{patient, rubbish};

every_outage!(Server);

impl Outages for Server {
    type Store = RedisStore;

    fn start() -> Self {
        Self::start_durable()
    }

    fn kill(&mut self) {
        self.kill();
    }

    fn resume(&mut self) {
        self.resume();
    }

    fn freeze(&self, _name: &str) -> impl Sized {
        self.freeze();
        Thaws(self)
    }

    fn store(&self, _name: &str, patience: Patience) -> RedisStore {
        let builder = RedisStore::builder(self.url()).unwrap();
        builder
            .op_timeout(patience.limit)
            .breaker(patience.failures, Duration::from_secs(1))
            .clock(patience.clock)
            .build()
            .unwrap()
    }

    fn breaker(store: &RedisStore) -> BreakerState {
        store.breaker()
    }
}

struct Thaws<'a>(&'a Server);

impl Drop for Thaws<'_> {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

#[test]
fn an_error_of_the_first_greeting_does_not_stick() {
    run(async {
        let clock = ManualClock::new();
        let server = Server::start();
        let url = server.url().replace("://", "://:secret@");
        let store = patient(&url)
            .breaker(2, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        // It has no password yet, so that this one is wrong.
        while store.breaker() == BreakerState::Closed {
            let created = store.create(None, b"".as_slice()).await;
            assert!(matches!(created, Err(CreateError::Unavailable(_))));
        }
        let () = server.ask(&["CONFIG", "SET", "requirepass", "secret"]);
        clock.advance(Duration::from_secs(1));
        begin(&store, None, b"").await;
    });
}

#[test]
fn rubbish_is_an_error_and_never_no_session() {
    let answers: &[&[u8]] = &[
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\0\r\n",
        b"+OK\r\n",
        b":5\r\n",
        b"$2\r\nok\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*1\r\n$2\r\nok\r\n",
        b"*2\r\n$2\r\nok\r\n$3\r\nabc\r\n",
        b"*2\r\n$4\r\nfull\r\n$5",
        b"*2\r\n$4\r\ngone\r\n:1\r\n",
        b"-ERR what?\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MOVED 5 127.0.0.1:1\r\n",
        b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        b"-\r\n",
        b"$-7\r\n",
        b"*99999999999\r\n",
        b"(12345678901234567890123\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"",
    ];
    run(async {
        for &bytes in answers {
            let store = RedisStore::builder(rubbish::answering(bytes))
                .unwrap()
                .op_timeout(Duration::from_millis(300))
                .breaker(1_000, Duration::from_secs(1))
                .build()
                .unwrap();
            let token = SessionToken::draw().unwrap();
            let version = Version::from_u64(1);
            eprintln!("{:?}", bytes.escape_ascii().to_string());
            // `revoke_user` understands a number.
            if bytes == b":5\r\n" {
                assert!(store.load(&token).await.is_err());
                continue;
            }
            // And a list may be empty.
            if bytes == b"*0\r\n" {
                assert!(store.load(&token).await.is_err());
                assert!(store.revoke(&token).await.is_err());
                continue;
            }
            assert_every_call_fails(&store, &token, version, |why| {
                !matches!(why, Unavailable::Suspended { .. })
            })
            .await;
        }
    });
}
