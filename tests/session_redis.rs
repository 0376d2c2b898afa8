//! Sessions in a real Redis server: the promises of every store, and the server's bad days.

#[path = "redis/rubbish.rs"]
mod rubbish;
#[path = "redis/server.rs"]
mod server;
mod session_store;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use server::{Server, command};
use session_store::{Bed, Knobs, begin, every_promise, is_there, run};
use tenfold::cache::tier::BreakerState;
use tenfold::redis::{CheckError, RedisBuildError, RedisStore, RedisStoreBuilder};
use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, RevokeError, SaveError, SessionToken, Unavailable,
    Version,
};
use tenfold::time::ManualClock;

mod by_functions {
    super::every_promise!(super::Redis::functions());
}

mod by_scripts {
    super::every_promise!(super::Redis::scripts());
}

mod in_a_cluster {
    super::every_promise!(super::Redis::cluster());
}

/// A prefix of its own on a server that all tests use.
struct Redis {
    server: &'static Server,
    url: String,
    prefix: String,
    only_scripts: bool,
}

impl Redis {
    fn functions() -> Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        Self::on(SERVER.get_or_init(Server::start))
    }

    fn scripts() -> Self {
        Self {
            only_scripts: true,
            ..Self::functions()
        }
    }

    /// By the newer protocol too.
    fn cluster() -> Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        let mut bed = Self::on(SERVER.get_or_init(Server::start_cluster));
        bed.url += "?protocol=resp3";
        bed
    }

    fn on(server: &'static Server) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self {
            server,
            url: server.url(),
            prefix: format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            only_scripts: false,
        }
    }
}

impl Bed for Redis {
    type Store = RedisStore;

    async fn store(&self, knobs: Knobs) -> RedisStore {
        let builder = patient(&self.url)
            .prefix(&self.prefix)
            .idle(knobs.idle)
            .absolute(knobs.absolute)
            .touch_every(knobs.touch_every)
            .max_per_user(knobs.max_per_user, knobs.per_user)
            .max_data(knobs.max_data);
        let builder = if self.only_scripts {
            builder.only_scripts()
        } else {
            builder
        };
        builder.build().unwrap()
    }

    /// The server's clock cannot be turned, so all that it holds is turned back.
    async fn pass(&self, _store: &RedisStore, seconds: u64) {
        let script = "
            local back = tonumber(ARGV[2])
            for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
                local left = redis.call('PTTL', key) - back * 1000
                if left <= 0 then
                    redis.call('DEL', key)
                else
                    if redis.call('TYPE', key).ok == 'string' then
                        local value = redis.call('GETRANGE', key, 4, 15)
                        local created, seen, last = struct.unpack('<I4I4I4', value)
                        value = struct.pack('<I4I4I4', created - back, seen - back, last - back)
                        redis.call('SETRANGE', key, 4, value)
                    else
                        for _, other in ipairs(redis.call('ZRANGE', key, 0, -1)) do
                            redis.call('ZINCRBY', key, -back, other)
                        end
                    end
                    redis.call('PEXPIRE', key, left)
                end
            end";
        let ours = format!("{{{}:*", self.prefix);
        let seconds = seconds.to_string();
        let () = self.server.ask(&["EVAL", script, "0", &ours, &seconds]);
    }
}

/// A store that a busy machine does not take for a dead server.
fn patient(url: &str) -> RedisStoreBuilder {
    let builder = RedisStore::builder(url).unwrap();
    builder.op_timeout(Duration::from_secs(30))
}

#[test]
fn processes_share_sessions_and_see_each_others_saves() {
    run(async {
        let bed = Redis::functions();
        let one = bed.store(Knobs::default()).await;
        let two = bed.store(Knobs::default()).await;
        let (token, version) = begin(&one, Some("ada"), b"1 lamp").await;
        let loaded = two.load(&token).await.unwrap().unwrap();
        assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
        let newer = two.save(&token, version, b"2".as_slice()).await.unwrap();
        let late = one.save(&token, version, b"0".as_slice()).await;
        assert_eq!(late, Err(SaveError::Conflict { current: newer }));
        assert_eq!(one.revoke_user("ada", None).await.unwrap(), 1);
        assert!(!is_there(&two, &token).await);
        // Another prefix is another store.
        let other = Redis::functions().store(Knobs::default()).await;
        let (token, _) = begin(&one, None, b"").await;
        assert!(!is_there(&other, &token).await);
    });
}

#[test]
fn keys_hold_no_secret_and_no_name_and_all_of_them_expire() {
    run(async {
        let bed = Redis::functions();
        let store = bed.store(Knobs::default()).await;
        let (first, _) = begin(&store, Some("ada@example.org"), b"data").await;
        let second = store.cycle(&first).await.unwrap();
        let (guest, _) = begin(&store, None, b"data").await;
        let third = store.log_in(&guest, "ada@example.org").await.unwrap();
        store.load(&third).await.unwrap();
        let keys: Vec<String> = bed.server.ask(&["KEYS", &format!("*{}:*", bed.prefix)]);
        assert_eq!(keys.len(), 3, "{keys:?}");
        for key in keys {
            assert!(!key.contains("ada"));
            let left: i64 = bed.server.ask(&["TTL", &key]);
            assert!((1..=1500).contains(&left), "{key}: {left}");
            if key.contains(":u:") {
                let listed: usize = bed.server.ask(&["ZCARD", &key]);
                assert_eq!(listed, 2, "what was cycled is listed still");
            }
            let dump: Vec<u8> = bed.server.ask(&["DUMP", &key]);
            for token in [&first, &second, &third] {
                let secret = token.reveal();
                assert!(!key.contains(&secret));
                assert!(!dump.windows(43).any(|part| part == secret.as_bytes()));
            }
        }
    });
}

#[test]
fn sessions_end_by_the_servers_clock() {
    run(async {
        let bed = Redis::functions();
        let knobs = Knobs {
            idle: Duration::from_secs(1),
            touch_every: Duration::ZERO,
            ..Knobs::default()
        };
        let store = bed.store(knobs).await;
        let (token, version) = begin(&store, Some("ada"), b"").await;
        while is_there(&store, &token).await {
            tokio::task::yield_now().await;
        }
        let late = store.save(&token, version, b"".as_slice()).await;
        assert_eq!(late, Err(SaveError::Gone));
        assert!(store.sessions_of("ada").await.unwrap().is_empty());
    });
}

#[test]
fn a_version_does_not_come_again_when_the_server_forgot_writes() {
    run(async {
        let bed = Redis::functions();
        let store = bed.store(Knobs::default()).await;
        let (token, version) = begin(&store, None, b"").await;
        let keys: Vec<String> = bed.server.ask(&["KEYS", &format!("*{}:*", bed.prefix)]);
        let key = &keys[0];
        let before: Vec<u8> = bed.server.ask(&["GET", key]);
        let lost = store.save(&token, version, b"lost".as_slice()).await;
        // A replica takes over that had not heard of the save.
        let mut restore = command(&["SET", key]);
        restore.arg(before).arg("KEEPTTL");
        restore.exec(&mut bed.server.connect()).unwrap();
        let other = store.save(&token, version, b"other".as_slice()).await;
        let (lost, other) = (lost.unwrap(), other.unwrap());
        assert!(other > lost);
        let late = store.save(&token, lost, b"late".as_slice()).await;
        assert_eq!(late, Err(SaveError::Conflict { current: other }));
    });
}

#[test]
fn a_server_that_forgot_functions_and_scripts_gets_them_again() {
    run(async {
        let server = Server::start();
        let functions = patient(&server.url()).build().unwrap();
        let scripts = patient(&server.url()).only_scripts().build().unwrap();
        for store in [&functions, &scripts] {
            let (token, _) = begin(store, Some("ada"), b"").await;
            let () = server.ask(&["FUNCTION", "FLUSH"]);
            let () = server.ask(&["SCRIPT", "FLUSH"]);
            let token = store.cycle(&token).await.unwrap();
            assert!(is_there(store, &token).await);
        }
        let libraries: Vec<redis::Value> = server.ask(&["FUNCTION", "LIST"]);
        assert!(libraries.is_empty(), "scripts were asked for");
    });
}

#[test]
fn a_server_without_functions_gets_scripts() {
    run(async {
        let server = Server::start_old();
        let store = patient(&server.url()).build().unwrap();
        let (token, _) = begin(&store, Some("ada"), b"").await;
        let token = store.cycle(&token).await.unwrap();
        assert!(is_there(&store, &token).await);
    });
}

#[test]
fn without_the_right_to_load_functions_there_are_scripts() {
    run(async {
        let server = Server::start();
        let rules = ["on", ">secret", "~*", "+@all", "-fcall", "-function"];
        let () = server.ask(&[&["ACL", "SETUSER", "app"], &rules[..]].concat());
        let url = server.url().replace("://", "://app:secret@");
        let store = patient(&url).build().unwrap();
        let (token, _) = begin(&store, Some("ada"), b"").await;
        assert_eq!(store.revoke_user("ada", None).await.unwrap(), 1);
        assert!(!is_there(&store, &token).await);
        assert!(!format!("{store:?}").contains("secret"));
    });
}

#[test]
fn a_server_that_evicts_keys_is_found_out() {
    run(async {
        let server = Server::start();
        let store = patient(&server.url()).build().unwrap();
        let () = server.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
        store.check().await.unwrap();
        let newer = patient(&format!("{}?protocol=resp3", server.url()));
        newer.build().unwrap().check().await.unwrap();
        let () = server.ask(&["CONFIG", "SET", "maxmemory", "100mb"]);
        let found = store.check().await.unwrap_err();
        assert!(matches!(found, CheckError::Evicts { policy } if policy == "allkeys-lru"));
        let () = server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        store.check().await.unwrap();

        // Full, it refuses, and nobody is logged out.
        let (token, version) = begin(&store, Some("ada"), b"1 lamp").await;
        let () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused = store.create(None, b"".as_slice()).await;
        let Err(CreateError::Unavailable(Unavailable::Refused(cause))) = refused else {
            panic!("{refused:?}")
        };
        assert!(cause.to_string().contains("OOM"), "{cause}");
        let refused = store.save(&token, version, b"2".as_slice()).await;
        assert!(matches!(
            refused,
            Err(SaveError::Unavailable(Unavailable::Refused(_)))
        ));
        let loaded = store.load(&token).await.unwrap().unwrap();
        assert_eq!(&loaded[..], b"1 lamp");
    });
}

#[test]
fn while_the_server_is_dead_nothing_is_known_and_then_all_is_there_again() {
    run(async {
        let clock = ManualClock::new();
        let mut server = Server::start_durable();
        let store = patient(&server.url())
            .breaker(20, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        let (token, version) = begin(&store, Some("ada"), b"1 lamp").await;

        server.kill();
        let begun = Instant::now();
        assert_every_call_fails(&store, &token, version, |why| {
            matches!(why, Unavailable::Unreachable(_))
        })
        .await;
        println!("dead: {CALLS} calls failed in {:?}", begun.elapsed());
        while store.breaker() == BreakerState::Closed {
            assert!(store.load(&token).await.is_err());
        }
        // Nobody waits for it any more.
        let begun = Instant::now();
        assert_every_call_fails(&store, &token, version, |why| {
            matches!(why, Unavailable::Suspended { .. }) && !why.may_have_happened()
        })
        .await;
        println!("left alone: {CALLS} calls failed in {:?}", begun.elapsed());

        server.resume();
        clock.advance(Duration::from_secs(1));
        let begun = Instant::now();
        let loaded = store.load(&token).await.unwrap().unwrap();
        println!("back: loaded after {:?}", begun.elapsed());
        assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
        assert_eq!(store.breaker(), BreakerState::Closed);
        store.save(&token, version, b"2".as_slice()).await.unwrap();
        assert_eq!(store.revoke_user("ada", None).await.unwrap(), 1);
    });
}

#[test]
fn a_server_that_comes_back_at_once_fails_no_load() {
    run(async {
        let mut server = Server::start_durable();
        let store = patient(&server.url()).build().unwrap();
        let (token, _) = begin(&store, Some("ada"), b"").await;
        for _ in 0..3 {
            server.kill();
            server.resume();
            let begun = Instant::now();
            assert!(store.load(&token).await.unwrap().is_some());
            println!("restarted: loaded after {:?}", begun.elapsed());
        }
        // What it kept includes whose session it is.
        assert_eq!(store.revoke_user("ada", None).await.unwrap(), 1);
    });
}

#[test]
fn a_server_that_hangs_is_given_up_in_time_and_taken_up_again() {
    run(async {
        let clock = ManualClock::new();
        let server = Server::start();
        let limit = Duration::from_millis(200);
        let store = RedisStore::builder(server.url())
            .unwrap()
            .op_timeout(limit)
            .breaker(3, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        let patient = patient(&server.url()).build().unwrap();
        let (token, _) = begin(&patient, Some("ada"), b"1 lamp").await;

        server.freeze();
        while store.breaker() == BreakerState::Closed {
            let begun = Instant::now();
            let why = store.load(&token).await.unwrap_err();
            assert!(matches!(why, Unavailable::TimedOut { .. }), "{why:?}");
            println!("hangs: given up after {:?}", begun.elapsed());
        }
        let why = store.load(&token).await.unwrap_err();
        assert!(matches!(why, Unavailable::Suspended { .. }));

        server.thaw();
        // However long a slow machine takes.
        while !matches!(store.load(&token).await, Ok(Some(_))) {
            clock.advance(Duration::from_secs(1));
        }
    });
}

#[test]
fn a_server_that_is_not_there_at_first_is_found_later() {
    run(async {
        let clock = ManualClock::new();
        let mut server = Server::start();
        server.kill();
        let store = patient(&server.url())
            .breaker(2, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        for _ in 0..2 {
            let created = store.create(None, b"".as_slice()).await;
            assert!(matches!(
                created,
                Err(CreateError::Unavailable(Unavailable::Unreachable(_)))
            ));
        }
        server.resume();
        clock.advance(Duration::from_secs(1));
        begin(&store, None, b"").await;
    });
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

#[test]
fn what_is_no_session_under_the_key_of_one_is_an_error_and_can_be_revoked() {
    run(async {
        for bed in [Redis::functions(), Redis::scripts()] {
            let store = bed.store(Knobs::default()).await;
            for damage in ["list", "short", "empty", "kind", "name"] {
                let (token, version) = begin(&store, Some("ada"), b"data").await;
                let all = format!("*{}:??}}:s:*", bed.prefix);
                let keys: Vec<String> = bed.server.ask(&["KEYS", &all]);
                let key = &keys[0];
                match damage {
                    "list" => {
                        let () = bed.server.ask(&["DEL", key]);
                        let () = bed.server.ask(&["RPUSH", key, "1"]);
                    }
                    "short" => {
                        let value: Vec<u8> = bed.server.ask(&["GET", key]);
                        let mut short = command(&["SET", key]);
                        short.arg(&value[..30]);
                        short.exec(&mut bed.server.connect()).unwrap();
                    }
                    "empty" => {
                        let () = bed.server.ask(&["SET", key, ""]);
                    }
                    "kind" => {
                        let () = bed.server.ask(&["SETRANGE", key, "1", "7"]);
                    }
                    _ => {
                        // A name longer than what is there.
                        let () = bed.server.ask(&["SETRANGE", key, "41", "7"]);
                    }
                }
                let is_malformed = |why: &Unavailable| matches!(why, Unavailable::Malformed { .. });
                let why = store.load(&token).await.unwrap_err();
                assert!(is_malformed(&why), "{damage}: {why:?}");
                let saved = store.save(&token, version, b"".as_slice()).await;
                assert!(
                    matches!(&saved, Err(SaveError::Unavailable(why)) if is_malformed(why)),
                    "{damage}: {saved:?}"
                );
                for result in [store.cycle(&token).await, store.log_in(&token, "ada").await] {
                    assert!(
                        matches!(&result, Err(CycleError::Unavailable(why)) if is_malformed(why)),
                        "{damage}: {result:?}"
                    );
                }
                let why = store.sessions_of("ada").await.unwrap_err();
                assert!(is_malformed(&why), "{damage}: {why:?}");

                // Others go on as before, and it can be got rid of.
                let (bob, _) = begin(&store, Some("bob"), b"").await;
                assert!(is_there(&store, &bob).await);
                assert!(store.revoke(&token).await.unwrap());
                assert!(!is_there(&store, &token).await);
                assert!(store.revoke(&bob).await.unwrap());
                store.revoke_user("ada", None).await.unwrap();
                assert!(store.sessions_of("ada").await.unwrap().is_empty());
            }
        }
    });
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let builder = || RedisStore::builder("redis://127.0.0.1:1/").unwrap();
    let second = Duration::from_secs(1);
    run(async {
        let wrong = [
            builder().idle(Duration::ZERO),
            builder().idle(second * 10).absolute(second * 9),
            builder().idle(second).touch_every(second),
            builder().absolute(second * u32::MAX),
            builder().max_per_user(0, tenfold::session::PerUser::Refuse),
            builder().op_timeout(Duration::ZERO),
        ];
        for builder in wrong {
            let error = builder.build().unwrap_err();
            assert!(matches!(error, RedisBuildError::Setting(_)), "{error:?}");
        }
        let error = builder().prefix("a{b").build().unwrap_err();
        assert!(matches!(error, RedisBuildError::Prefix { .. }));
    });
    let error = RedisStore::builder("ftp://127.0.0.1").unwrap_err();
    assert!(matches!(error, RedisBuildError::Address(_)));
    let error = builder().build().unwrap_err();
    assert!(matches!(error, RedisBuildError::NoRuntime));
}

/// As many as [`assert_every_call_fails`] makes.
const CALLS: usize = 11;

/// None of them says "there is no session".
async fn assert_every_call_fails(
    store: &RedisStore,
    token: &SessionToken,
    version: Version,
    is_right: impl Fn(&Unavailable) -> bool,
) {
    let check = |call: &str, why: Option<Unavailable>| {
        assert!(why.as_ref().is_some_and(&is_right), "{call}: {why:?}");
    };
    let created = store.create(Some("ada".into()), b"".as_slice()).await;
    let Err(CreateError::Unavailable(why)) = created else {
        panic!("create: {created:?}")
    };
    check("create", Some(why));
    check("load", store.load(token).await.err());
    check("peek", store.peek(token).await.err());
    let saves = [
        store.save(token, version, b"".as_slice()).await.map(drop),
        store.modify(token, |_| (Some(Vec::new()), ())).await,
    ];
    for saved in saves {
        let Err(SaveError::Unavailable(why)) = saved else {
            panic!("save: {saved:?}")
        };
        check("save", Some(why));
    }
    // Of which one goes the way between slots.
    let mut cycles = vec![store.cycle(token).await];
    for user in ["ada", "bob"] {
        cycles.push(store.log_in(token, user).await);
    }
    for cycled in cycles {
        let Err(CycleError::Unavailable(why)) = cycled else {
            panic!("cycle: {cycled:?}")
        };
        check("cycle", Some(why));
    }
    let revokes = [
        store.revoke(token).await.map(drop),
        store.revoke_user("ada", None).await.map(drop),
    ];
    for revoked in revokes {
        let Err(RevokeError::Unavailable(why)) = revoked else {
            panic!("revoke: {revoked:?}")
        };
        check("revoke", Some(why));
    }
    check("sessions_of", store.sessions_of("ada").await.err());
}
