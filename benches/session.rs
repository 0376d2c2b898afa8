//! The store's and the tokens' own times; against rivals it is measured by `compare`.
//!
//! `cargo bench --features session --bench session` measures, and `-- --test` runs
//! each loop once.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use tenfold::rng::Rng;
use tenfold::session::token::{
    Denylist, KeyRing, KeyRingBuilder, TokenIssuer, TokenVerifier, TokenVerifierBuilder,
};
use tenfold::session::{MemoryStore, OnFull, SessionToken, WallClock};

/// Sessions held; few when loops are only tried.
const SESSIONS: usize = 1_000_000;
const DATA: [u8; 110] = [b'x'; 110];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let is_test = std::env::args().any(|argument| argument == "--test");
    let sessions = if is_test { 1000 } else { SESSIONS };
    store(&mut criterion, sessions);
    tokens(&mut criterion);
    denylist(&mut criterion, sessions);
    criterion.final_summary();
}

/// A store of so many sessions, one per user.
fn filled(sessions: usize) -> (MemoryStore, Vec<SessionToken>) {
    let store = MemoryStore::builder().max_sessions(4 * sessions, OnFull::EvictIdle);
    let store = store.build().expect("these settings make sense");
    let begin = |user: usize| store.create(Some(format!("{user}").into()), &DATA[..]);
    let tokens = (0..sessions).map(|user| begin(user).expect("there is room").0);
    let tokens = tokens.collect();
    (store, tokens)
}

fn store(criterion: &mut Criterion, sessions: usize) {
    let before = resident();
    let (store, tokens) = filled(sessions);
    if let (Some(before), Some(after)) = (before, resident()) {
        let tokens = sessions * size_of::<SessionToken>();
        let each = after.saturating_sub(before + tokens) / sessions;
        println!(
            "{each} bytes per session, with its user and {} of data",
            DATA.len()
        );
    }
    let mut rng = Rng::with_seed(1);
    let mut any = || &tokens[rng.below(tokens.len() as u64) as usize];
    let mut group = criterion.benchmark_group("session/store");
    group.throughput(Throughput::Elements(1));
    group.bench_function("load", |bencher| {
        bencher.iter(|| assert_eq!(store.load(any()).map(|loaded| loaded.len()), Some(110)));
    });
    group.bench_function("save", |bencher| {
        bencher.iter(|| {
            let token = any();
            let version = store.peek(token).expect("it lives").version();
            store
                .save(token, version, &DATA[..])
                .expect("nobody else saves");
        });
    });
    group.bench_function("miss", |bencher| {
        let nobody = SessionToken::parse(&"A".repeat(43)).expect("that is a token");
        bencher.iter(|| assert!(store.load(black_box(&nobody)).is_none()));
    });
    group.bench_function("create and revoke", |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                let (token, _) = store.create(None, &DATA[..]).expect("there is room");
                assert!(store.revoke(&token).expect("there is no log"));
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
    let mut group = criterion.benchmark_group("session/file");
    group.sample_size(10);
    let mut bytes = Vec::new();
    group.bench_function("snapshot", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            let written = store.snapshot(&mut bytes).expect("memory can be written");
            assert_eq!(written.sessions, sessions as u64);
        });
    });
    group.bench_function("restore", |bencher| {
        bencher.iter(|| {
            let builder = MemoryStore::builder();
            let restored = builder.restore(&bytes[..], None).expect("it is whole");
            assert_eq!(restored.1.sessions, sessions as u64);
        });
    });
    group.finish();
}

fn algorithms() -> [(&'static str, KeyRingBuilder); 3] {
    let random = SystemRandom::new();
    let ed = Ed25519KeyPair::generate_pkcs8(&random).expect("there is randomness");
    let es = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
    let es = es.expect("there is randomness");
    [
        ("HS256", KeyRing::builder().hs256("2026-11", &[7; 32])),
        ("EdDSA", KeyRing::builder().ed25519("2026-11", ed.as_ref())),
        ("ES256", KeyRing::builder().es256("2026-11", es.as_ref())),
    ]
}

/// An issuer, and what begins a verifier of its tokens.
fn world(ring: KeyRingBuilder) -> (TokenIssuer, TokenVerifierBuilder) {
    let ring = ring.active("2026-11").build().expect("these are keys");
    let public = KeyRing::builder().hs256("2026-11", &[7; 32]);
    let public = match ring.to_jwks() {
        none if none == "{\"keys\":[]}" => public,
        keys => KeyRing::builder().jwks(&keys),
    };
    let verifier = TokenVerifier::builder(public.build().expect("these are keys"));
    let issuer = TokenIssuer::builder(ring).issuer("https://login.example");
    (
        issuer.audience("api").build().expect("all is said"),
        verifier.issuer("https://login.example").audience("api"),
    )
}

/// Eight claims, as most services have them.
fn tokens(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session/token");
    group.throughput(Throughput::Elements(1));
    for (name, ring) in algorithms() {
        let (issuer, verifier) = world(ring);
        let verifier = verifier.denylist(issuer.denylist()).cache(1024);
        let verifier = verifier.build().expect("all is said");
        let log_in = || issuer.log_in("user-1234", "\"scope\":\"read write\"");
        // Many more than are remembered.
        let pairs: Vec<_> = (0..20_000)
            .map(|_| log_in().expect("there is room"))
            .collect();
        let mut next = 0;
        group.bench_function(format!("{name}, verify"), |bencher| {
            bencher.iter(|| {
                next = (next + 1) % pairs.len();
                assert!(verifier.verify(pairs[next].access(), |_| ()).is_ok());
            });
        });
        group.bench_function(format!("{name}, verify again"), |bencher| {
            let token = pairs[0].access();
            bencher.iter(|| assert!(verifier.verify(token, |_| ()).is_ok()));
        });
        let mut pair = log_in().expect("there is room");
        group.bench_function(format!("{name}, refresh"), |bencher| {
            bencher.iter(|| {
                let next = issuer
                    .refresh(pair.refresh())
                    .expect("it is the current one");
                pair = next.into_pair();
            });
        });
    }
    group.finish();
}

fn denylist(criterion: &mut Criterion, entries: usize) {
    let (issuer, verifier) = world(KeyRing::builder().hs256("2026-11", &[7; 32]));
    let wall = WallClock::system();
    let list = Arc::new(Denylist::new(2 * entries, Duration::from_secs(900), wall));
    for family in 0..entries {
        list.deny_family(&format!("{family:022}"), "nobody");
    }
    let verifier = verifier.denylist(list).build().expect("all is said");
    let pair = issuer.log_in("user-1234", "").expect("there is room");
    criterion.bench_function("session/token/HS256, verify, long denylist", |bencher| {
        bencher.iter(|| assert!(verifier.verify(pair.access(), |_| ()).is_ok()));
    });
}

/// Bytes of memory in use, where the system says so.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = status.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
