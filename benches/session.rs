//! The store's own times; against rivals it is measured by `compare`.
//!
//! `cargo bench --features session --bench session` measures, and `-- --test` runs
//! each loop once.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use tenfold::rng::Rng;
use tenfold::session::{MemoryStore, OnFull, SessionToken};

/// Sessions held; few when loops are only tried.
const SESSIONS: usize = 1_000_000;
const DATA: [u8; 110] = [b'x'; 110];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let is_test = std::env::args().any(|argument| argument == "--test");
    let sessions = if is_test { 1000 } else { SESSIONS };
    store(&mut criterion, sessions);
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
    group.bench_function("cycle", |bencher| {
        let (mut token, _) = store.create(None, &DATA[..]).expect("there is room");
        bencher.iter(|| token = store.cycle(&token).expect("it lives"));
        store.revoke(&token).expect("there is no log");
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
    group.bench_function("sweep of 64 slots", |bencher| {
        bencher.iter(|| assert_eq!(store.sweep(64).removed, 0));
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

/// Bytes of memory in use, where the system says so.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = status.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
