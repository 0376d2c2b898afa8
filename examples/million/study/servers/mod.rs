//! One web server becomes ten behind the real balancer: how much more they carry, and what callers see when one of them is slow,
//! fails, dies, or all are restarted. In virtual time, and the same in every run.

mod fleet;

use std::error::Error;
use std::time::Duration;

use tenfold::balance::Policy;

use super::SEED;
use super::row::Row;
use crate::progress::Progress;
use crate::show::{count, percent, wait};
use fleet::{Day, Trouble};
pub(crate) use fleet::{Second, Seen};

/// All of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Servers {
    /// How many servers carry how many requests a second.
    pub(crate) growth: Vec<(usize, f64)>,
    pub(crate) slow: Pair,
    pub(crate) black_hole: Pair,
    /// The black hole with the policy that goes by requests in flight alone.
    pub(crate) drawn_in: Seen,
    pub(crate) dead: Pair,
    pub(crate) deploy: Pair,
}

/// The same day for two fleets.
#[derive(Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) without: Seen,
    pub(crate) with: Seen,
}

impl Servers {
    pub(crate) const SERVERS: usize = 10;
    /// What a request takes on average, and how long 99 of 100 may wait.
    pub(crate) const TAKES: Duration = Duration::from_millis(10);
    pub(crate) const BOUND: Duration = Duration::from_millis(100);
    /// Of a day with trouble: as much as three fifths of the fleet's workers do.
    pub(crate) const REQUESTS_A_SECOND: f64 = 2400.0;
    pub(crate) const LASTS: Duration = Duration::from_secs(30);
    pub(crate) const SLOW: u32 = 10;

    pub(super) fn measure(progress: &Progress, broken: &mut Vec<String>) -> Self {
        progress.stage("one server becomes ten", 2);
        let servers = Self::of_fleets(progress).unwrap_or_else(|error| {
            broken.push(format!("the servers: {error}"));
            Self::nothing()
        });
        servers.check(broken);
        servers
    }

    fn of_fleets(progress: &Progress) -> Result<Self, Box<dyn Error>> {
        let growth = [1, 2, 5, Self::SERVERS].map(|servers| Ok((servers, carries(servers)?)));
        let growth = growth.into_iter().collect::<Result<_, Box<dyn Error>>>()?;
        progress.step();
        let pair = |without, with| {
            Ok::<_, Box<dyn Error>>(Pair {
                without: day(Policy::RoundRobin, without)?,
                with: day(Policy::Adaptive, with)?,
            })
        };
        let both = |trouble| pair(trouble, trouble);
        let servers = Self {
            growth,
            slow: both(Trouble::Slow(Self::SLOW))?,
            black_hole: both(Trouble::BlackHole)?,
            drawn_in: day(Policy::LeastRequest, Trouble::BlackHole)?,
            dead: pair(Trouble::Dead { retries: 0 }, Trouble::Dead { retries: 1 })?,
            deploy: pair(
                Trouble::Deploy { drains: false },
                Trouble::Deploy { drains: true },
            )?,
        };
        progress.step();
        Ok(servers)
    }

    /// What the balancer promises.
    fn check(&self, broken: &mut Vec<String>) {
        let mut expect = |holds: bool, found: String| {
            if !holds {
                broken.push(found);
            }
        };
        if let [(_, one), .., (servers, all)] = self.growth[..] {
            let times = all / one.max(1.0);
            expect(
                times >= servers as f64,
                format!("{servers} servers carried {times:.1} times what one does"),
            );
        }
        let worst = worst(&self.slow.with);
        expect(
            worst <= 2 * Self::BOUND,
            format!("with one slow server, 99 of 100 waited up to {worst:?} in the worst second"),
        );
        let errors = share(&self.black_hole.with);
        expect(
            errors <= 0.0005,
            format!("a black hole drew {} of the requests", percent(errors)),
        );
        for (what, seen) in [
            ("a dead server, with one retry", &self.dead.with),
            ("a deploy, with drains", &self.deploy.with),
        ] {
            expect(
                seen.failed == 0,
                format!("{what}, failed {} requests", seen.failed),
            );
        }
        expect(
            self.deploy.with.misled == 0,
            format!(
                "{} requests went to a drained server",
                self.deploy.with.misled
            ),
        );
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let again = String::new;
        vec![
            Row {
                day: format!(
                    "A slow server: one of {} takes {} times as long",
                    Self::SERVERS,
                    Self::SLOW
                ),
                counted: "99 of 100 wait up to, in the worst second",
                without: wait(worst(&self.slow.without)),
                with: wait(worst(&self.slow.with)),
                means: "Policy::Adaptive",
            },
            Row {
                day: "A black hole: one fails every request, and is the quickest".into(),
                counted: "requests that fail",
                without: count(self.black_hole.without.failed),
                with: count(self.black_hole.with.failed),
                means: "Pick::fail",
            },
            Row {
                day: again(),
                counted: "the same, if “without” sends where least is in flight",
                without: count(self.drawn_in.failed),
                with: count(self.black_hole.with.failed),
                means: "Ejection",
            },
            Row {
                day: "A dead server: one refuses every connection".into(),
                counted: "requests that fail",
                without: count(self.dead.without.failed),
                with: count(self.dead.with.failed),
                means: "pick_other",
            },
            Row {
                day: format!(
                    "A deploy: all {} are restarted, one after the other",
                    Self::SERVERS
                ),
                counted: "requests that fail",
                without: count(self.deploy.without.failed),
                with: count(self.deploy.with.failed),
                means: "drain",
            },
        ]
    }

    fn nothing() -> Self {
        let pair = || Pair {
            without: Seen::default(),
            with: Seen::default(),
        };
        Self {
            growth: Vec::new(),
            slow: pair(),
            black_hole: pair(),
            drawn_in: Seen::default(),
            dead: pair(),
            deploy: pair(),
        }
    }
}

/// The longest that 99 of 100 waited, of all seconds.
fn worst(seen: &Seen) -> Duration {
    let seconds = seen.seconds.iter().map(|second| second.p99);
    seconds.max().unwrap_or_default()
}

/// The share of the requests that failed.
fn share(seen: &Seen) -> f64 {
    seen.failed as f64 / seen.requests.max(1) as f64
}

fn day(policy: Policy, trouble: Trouble) -> Result<Seen, Box<dyn Error>> {
    let day = Day {
        servers: Servers::SERVERS,
        requests_a_second: Servers::REQUESTS_A_SECOND,
        lasts: Servers::LASTS,
        policy,
        trouble,
    };
    day.run()
}

/// How many requests a second so many servers take, with 99 of 100 within the bound.
fn carries(servers: usize) -> Result<f64, Box<dyn Error>> {
    let most = servers as f64 * fleet::WORKERS as f64 / Servers::TAKES.as_secs_f64();
    let (mut enough, mut too_much) = (0.0, most);
    for _ in 0..STEPS {
        let rate = f64::midpoint(enough, too_much);
        let day = Day {
            servers,
            requests_a_second: rate,
            // As many requests for all sizes, so that chance has the same weight.
            lasts: Duration::from_secs_f64(TRIED / rate),
            policy: Policy::Adaptive,
            trouble: Trouble::None,
        };
        if day.run()?.p99 <= Servers::BOUND {
            enough = rate;
        } else {
            too_much = rate;
        }
    }
    Ok(enough)
}

/// How often the range is halved in which the answer lies.
const STEPS: usize = 6;
/// Requests of one try.
const TRIED: f64 = 40_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_server_of_ten_is_hardly_seen() {
        let mut broken = Vec::new();
        let servers = Servers::measure(&Progress::silent(), &mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        // What the means are measured against is as bad as it should be.
        assert!(worst(&servers.slow.without) > 20 * worst(&servers.slow.with));
        assert!(share(&servers.black_hole.without) > 0.03);
        assert!(share(&servers.drawn_in) > 1.8 * share(&servers.black_hole.without));
        assert!(servers.dead.without.failed > 1000 && servers.deploy.without.failed > 100);
        assert!(servers.deploy.without.misled > 0);
    }

    #[test]
    fn it_is_the_same_in_every_run() {
        let run = || day(Policy::Adaptive, Trouble::Slow(3)).unwrap();
        assert_eq!(run(), run());
    }
}
