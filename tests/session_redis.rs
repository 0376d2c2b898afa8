//! Sessions in a real Redis server: the promises of every store, and the server's bad days.

#[path = "redis/outages.rs"]
mod bad_days;
#[path = "session_store/outages.rs"]
mod outages;
#[path = "redis/replicas.rs"]
mod replicas;
#[path = "redis/rubbish.rs"]
mod rubbish;
#[path = "redis/server.rs"]
mod server;
mod session_store;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outages::{Damages, what_no_store_has_written_is_an_error_and_can_be_revoked};
use server::{Server, command, tell};
use session_store::{Bed, Knobs, begin, every_promise, is_there, run};
use tenfold::redis::{CheckError, RedisBuildError, RedisStore, RedisStoreBuilder};
use tenfold::session::{AsyncSessionStore, CreateError, SaveError, Unavailable};

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

impl Damages for Redis {
    const DAMAGES: &[&str] = &["list", "short", "empty", "kind", "name"];
    const CHANGES_READ: bool = true;

    fn damage(&self, how: &str) -> bool {
        let all = format!("*{}:??}}:s:*", self.prefix);
        let keys: Vec<String> = self.server.ask(&["KEYS", &all]);
        let key = &keys[0];
        match how {
            "list" => {
                let () = self.server.ask(&["DEL", key]);
                let () = self.server.ask(&["RPUSH", key, "1"]);
            }
            "short" => {
                let value: Vec<u8> = self.server.ask(&["GET", key]);
                let mut short = command(&["SET", key]);
                short.arg(&value[..30]);
                short.exec(&mut self.server.connect()).unwrap();
            }
            "empty" => {
                let () = self.server.ask(&["SET", key, ""]);
            }
            "kind" => {
                let () = self.server.ask(&["SETRANGE", key, "1", "7"]);
            }
            _ => {
                // A name longer than what is there.
                let () = self.server.ask(&["SETRANGE", key, "41", "7"]);
            }
        }
        true
    }
}

#[test]
fn what_is_no_session_under_the_key_of_one_is_an_error_and_can_be_revoked() {
    run(async {
        for bed in [Redis::functions, Redis::scripts] {
            what_no_store_has_written_is_an_error_and_can_be_revoked(bed).await;
        }
    });
}

#[test]
fn one_node_of_several_says_what_to_ask_instead() {
    run(async {
        let nodes = Server::start_two_of_a_cluster();
        let store = patient(&nodes[0].url()).build().unwrap();
        let (mut here, mut elsewhere) = (0, 0);
        while here == 0 || elsewhere == 0 {
            match store.create(None, b"".as_slice()).await {
                Ok(_) => here += 1,
                Err(CreateError::Unavailable(why)) => {
                    assert!(matches!(why, Unavailable::Misdirected { .. }), "{why:?}");
                    assert!(!why.may_have_happened());
                    assert!(
                        why.to_string().contains("a proxy before the cluster"),
                        "{why}"
                    );
                    elsewhere += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        // A slot on its way to another node, for a load too.
        let asking = rubbish::answering(b"-ASK 5 127.0.0.1:1\r\n");
        let store = patient(&asking).build().unwrap();
        let token = tenfold::session::SessionToken::draw().unwrap();
        let why = store.load(&token).await.unwrap_err();
        assert!(matches!(why, Unavailable::Misdirected { .. }), "{why:?}");
        assert_eq!(store.breaker(), tenfold::cache::tier::BreakerState::Closed);
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
