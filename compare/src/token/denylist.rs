//! Whether a log-in was revoked, beside the sets that people keep for it.

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::RwLock;
use std::time::Duration;

use cpu_time::ThreadTime;
use dashmap::DashMap;
use tenfold::rng::Rng;
use tenfold::session::WallClock;
use tenfold::session::token::Denylist;

use crate::report::{Better, Row, median};

const ENTRIES: usize = 1_000_000;
const TIMES: usize = 100_000;

struct Lists {
    ours: Denylist,
    empty: Denylist,
    /// By the name, as a number.
    numbers: DashMap<u128, u64>,
    names: RwLock<HashSet<String>>,
}

pub(super) fn measure(rounds: usize) -> Vec<Row> {
    let hour = Duration::from_secs(3600);
    let list = |most| Denylist::new(most, hour, WallClock::system());
    let lists = Lists {
        ours: list(2 * ENTRIES),
        empty: list(1),
        numbers: DashMap::new(),
        names: RwLock::new(HashSet::new()),
    };
    let mut rng = Rng::with_seed(1);
    let mut random = || u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    let (mut held, mut others) = (Vec::new(), Vec::new());
    for number in 0..ENTRIES {
        let (key, other) = (random(), random());
        let name = name(key);
        lists.ours.deny_family(&name, "somebody");
        lists.numbers.insert(key, 0);
        if let Ok(mut names) = lists.names.write() {
            names.insert(name.clone());
        }
        if number % (ENTRIES / TIMES) == 0 {
            held.push((key, name));
            others.push((other, self::name(other)));
        }
    }
    assert_eq!(lists.ours.len(), ENTRIES);
    vec![
        row(
            "a miss among a million",
            Some(50.0),
            rounds,
            &lists,
            &others,
            false,
        ),
        row("a hit among a million", None, rounds, &lists, &held, true),
        empty(rounds, &lists, &others),
    ]
}

type Names = [(u128, String)];

fn row(
    workload: &str,
    goal: Option<f64>,
    rounds: usize,
    lists: &Lists,
    names: &Names,
    there: bool,
) -> Row {
    let ours = |(_, name): &(u128, String)| lists.ours.has_family(name);
    let numbers = |(key, _): &(u128, String)| lists.numbers.contains_key(key);
    let strings =
        |(_, name): &(u128, String)| lists.names.read().is_ok_and(|names| names.contains(name));
    let mut figures = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        figures[0].push(time(names, there, ours));
        figures[1].push(time(names, there, numbers));
        figures[2].push(time(names, there, strings));
    }
    let [ours, numbers, strings] = figures.map(|mut figures| median(&mut figures));
    Row {
        block: "token",
        workload: workload.to_owned(),
        metric: "denylist",
        unit: "ns of the processor",
        better: Better::Lower,
        ours,
        peers: vec![
            ("DashMap of numbers".to_owned(), numbers),
            ("RwLock of a HashSet of names".to_owned(), strings),
        ],
        floor: None,
        goal,
        context: Vec::new(),
        capacity: Some(ENTRIES),
    }
}

fn empty(rounds: usize, lists: &Lists, names: &Names) -> Row {
    let figures = (0..rounds).map(|_| time(names, false, |(_, name)| lists.empty.has_family(name)));
    Row {
        ours: median(&mut figures.collect::<Vec<_>>()),
        peers: Vec::new(),
        goal: Some(1.0),
        ..row("an empty list", None, 0, lists, &[], false)
    }
}

fn time(names: &Names, there: bool, asks: impl Fn(&(u128, String)) -> bool) -> f64 {
    let start = ThreadTime::now();
    for name in names {
        assert_eq!(asks(black_box(name)), there);
    }
    start.elapsed().as_nanos() as f64 / names.len() as f64
}

/// As issuers write names: 22 letters of base64url.
fn name(number: u128) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |place: u32| {
        // The last letter has two bits only, in front.
        let six = if place == 21 {
            (number & 3) << 4
        } else {
            number >> (122 - 6 * place)
        };
        char::from(LETTERS[(six & 63) as usize])
    };
    (0..22).map(letter).collect()
}
