//! The tokens' own times; against rivals it is measured by `compare`.
//!
//! `cargo bench --features session --bench token` measures, and `-- --test` runs
//! each loop once.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use tenfold::session::WallClock;
use tenfold::session::token::{
    Denylist, KeyRing, KeyRingBuilder, TokenIssuer, TokenVerifier, TokenVerifierBuilder,
};

/// Entries of the long denylist; few when loops are only tried.
const ENTRIES: usize = 1_000_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let is_test = std::env::args().any(|argument| argument == "--test");
    tokens(&mut criterion);
    denylist(&mut criterion, if is_test { 1000 } else { ENTRIES });
    criterion.final_summary();
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
    let mut group = criterion.benchmark_group("token");
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
        group.bench_function(format!("{name}, issue"), |bencher| {
            let issue = || issuer.issue("user-1234", "\"scope\":\"read write\"");
            bencher.iter(|| issue().expect("it is signed"));
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
    let others: Vec<_> = (0..1000)
        .map(|other| format!("other {other:016}"))
        .collect();
    let empty = Denylist::new(1, Duration::from_secs(900), WallClock::system());
    for (name, list) in [("long", &*list), ("empty", &empty)] {
        let mut next = 0;
        criterion.bench_function(&format!("token/a miss in a denylist, {name}"), |bencher| {
            bencher.iter(|| {
                next = (next + 1) % others.len();
                assert!(!list.has_family(&others[next]));
            });
        });
    }
    let verifier = verifier.denylist(list).build().expect("all is said");
    let pair = issuer.log_in("user-1234", "").expect("there is room");
    criterion.bench_function("token/HS256, verify, long denylist", |bencher| {
        bencher.iter(|| assert!(verifier.verify(pair.access(), |_| ()).is_ok()));
    });
}
