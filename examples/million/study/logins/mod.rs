//! A server of the web tier dies, one is added, one is drained, and users log out everywhere: what becomes of log-ins that are
//! in a server's memory, in two servers', in a store that all share, or in tokens. In virtual time, with the real blocks.

#[cfg(feature = "sticky")]
mod copied;
#[cfg(feature = "sticky")]
mod day;
#[cfg(feature = "sticky")]
mod pinned;
#[cfg(feature = "sticky")]
mod shared;
#[cfg(feature = "sticky")]
mod tokens;

use std::time::Duration;

use crate::progress::Progress;
use crate::show::count;

/// The same day for every way to keep log-ins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Logins {
    /// Sticky: in the memory of one server.
    pub(crate) pinned: Seen,
    /// Sticky, and a copy on a second server.
    pub(crate) copied: Seen,
    /// In a store that all servers ask.
    pub(crate) shared: Seen,
    /// In what browsers hold: signed tokens.
    pub(crate) tokens: Seen,
}

/// What the browsers see of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    /// Log-ins that were at the server that dies, and at the one that is drained.
    pub(crate) at_dead: u64,
    pub(crate) at_drained: u64,
    /// Log-ins of which a request found nothing, in each second.
    pub(crate) lost: Vec<u64>,
    /// Requests that no server answered.
    pub(crate) refused: u64,
    /// Browsers that another server answers than before: after the death, the new server, the drain.
    pub(crate) moved: [u64; 3],
    /// Whether the drained server had nothing left that is nowhere else, when its time was over.
    pub(crate) is_drained: bool,
    /// Browsers that are still logged in after their users logged out everywhere.
    pub(crate) outlived: u64,
}

impl Seen {
    /// Log-ins that are lost from one second to another.
    fn lost_in(&self, from: Duration, to: Duration) -> u64 {
        let seconds = self.lost.iter().take(to.as_secs() as usize);
        seconds.skip(from.as_secs() as usize).sum()
    }

    /// A number of browsers, unless any server is as good as another.
    fn placed(&self, browsers: u64) -> Option<u64> {
        (self.at_dead > 0).then_some(browsers)
    }

    pub(crate) fn lost_by_death(&self) -> u64 {
        self.lost_in(Duration::ZERO, Logins::DRAINS)
    }

    pub(crate) fn lost_by_drain(&self) -> u64 {
        self.lost_in(Logins::DRAINS, Logins::LASTS)
    }
}

impl Logins {
    pub(crate) const SERVERS: u16 = 5;
    /// Each with two browsers.
    pub(crate) const USERS: u32 = 2_000;
    /// Of a browser, from one request to the next.
    pub(crate) const PAUSE: Duration = Duration::from_secs(10);
    /// A server dies; the balancer knows a second later.
    pub(crate) const DIES: Duration = Duration::from_secs(20);
    pub(crate) const KNOWN: Duration = Duration::from_secs(21);
    pub(crate) const JOINS: Duration = Duration::from_secs(40);
    /// A server gets no new browsers, and is stopped when the time is over.
    pub(crate) const DRAINS: Duration = Duration::from_secs(60);
    pub(crate) const STOPS: Duration = Duration::from_secs(70);
    /// Every tenth user logs out everywhere, with one of the browsers.
    pub(crate) const LEAVE: Duration = Duration::from_secs(85);
    pub(crate) const LASTS: Duration = Duration::from_secs(100);
    pub(crate) const LEAVERS: u32 = Self::USERS / 10;

    /// `None` without the feature that it needs.
    #[cfg(feature = "sticky")]
    pub(super) fn measure(progress: &Progress, broken: &mut Vec<String>) -> Option<Self> {
        progress.stage("a web server dies, and its log-ins", 4);
        let logins = Self::of_days(progress);
        match logins {
            Ok(logins) => {
                logins.check(broken);
                Some(logins)
            }
            Err(error) => {
                broken.push(format!("the log-ins: {error}"));
                None
            }
        }
    }

    #[cfg(not(feature = "sticky"))]
    pub(super) fn measure(_: &Progress, _: &mut Vec<String>) -> Option<Self> {
        None
    }

    #[cfg(feature = "sticky")]
    fn of_days(progress: &Progress) -> Result<Self, Box<dyn std::error::Error>> {
        let step = |seen| {
            progress.step();
            seen
        };
        Ok(Self {
            pinned: step(day::run::<pinned::Pinned>()?),
            copied: step(day::run::<copied::Copied>()?),
            shared: step(day::run::<shared::Shared>()?),
            tokens: step(day::run::<tokens::Tokens>()?),
        })
    }

    /// What sessions and tokens promise.
    #[cfg(feature = "sticky")]
    fn check(&self, broken: &mut Vec<String>) {
        let mut expect = |holds: bool, found: String| {
            if !holds {
                broken.push(found);
            }
        };
        let pinned = &self.pinned;
        let fair = u64::from(2 * Self::USERS / u32::from(Self::SERVERS));
        expect(
            pinned.lost_by_death() == pinned.at_dead && pinned.at_dead.abs_diff(fair) < fair / 8,
            format!(
                "the death of one of {} servers lost {} log-ins of {} in its memory",
                Self::SERVERS,
                pinned.lost_by_death(),
                pinned.at_dead
            ),
        );
        for (way, seen) in [
            ("with a copy on a second server", &self.copied),
            ("in a shared store", &self.shared),
            ("in tokens", &self.tokens),
        ] {
            expect(
                seen.lost.iter().sum::<u64>() == 0,
                format!("{way}, log-ins were lost: {:?}", seen.lost),
            );
            expect(
                seen.outlived == 0,
                format!(
                    "{way}, {} log-ins outlived a log-out everywhere",
                    seen.outlived
                ),
            );
        }
        for (way, seen) in [("sticky", pinned), ("sticky with copies", &self.copied)] {
            expect(
                seen.moved[1] == 0,
                format!("{way}: a new server moved {} browsers", seen.moved[1]),
            );
        }
        let copied = &self.copied;
        expect(
            copied.moved == [copied.at_dead, 0, copied.at_drained],
            format!(
                "{:?} browsers moved, and {} and {} were on the servers that died and were drained",
                copied.moved, copied.at_dead, copied.at_drained
            ),
        );
        expect(
            copied.is_drained,
            "a drained server had log-ins left when its time was over".into(),
        );
        for (way, seen) in [("a shared store", &self.shared), ("tokens", &self.tokens)] {
            expect(
                seen.refused == 0,
                format!("with {way}, {} requests were refused", seen.refused),
            );
        }
    }

    /// The ways, the first of them without a copy of anything.
    pub(crate) fn ways(&self) -> [(&'static str, &Seen); 4] {
        [
            ("one server’s memory", &self.pinned),
            ("and a copy", &self.copied),
            ("a shared store", &self.shared),
            ("tokens", &self.tokens),
        ]
    }

    /// A row per question, a column per way.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let names = self.ways().map(|(way, _)| way.to_owned());
        let mut rows = vec![[String::new()].into_iter().chain(names).collect()];
        let mut row = |question: &str, answer: fn(&Seen) -> Option<u64>| {
            let answers = self.ways().map(|(_, seen)| match answer(seen) {
                Some(number) => count(number),
                None => "–".to_owned(),
            });
            let question = [question.to_owned()].into_iter();
            rows.push(question.chain(answers).collect::<Vec<_>>());
        };
        row("one of five dies: log-ins lost", |seen| {
            Some(seen.lost_by_death())
        });
        row("… and requests refused until that is known", |seen| {
            Some(seen.refused)
        });
        row("… and browsers that move", |seen| {
            seen.placed(seen.moved[0])
        });
        row("a server is added: browsers that move", |seen| {
            seen.placed(seen.moved[1])
        });
        row("a server is drained: log-ins lost", |seen| {
            Some(seen.lost_by_drain())
        });
        row("… and browsers that move", |seen| {
            seen.placed(seen.moved[2])
        });
        row("log-out everywhere: log-ins that outlive it", |seen| {
            Some(seen.outlived)
        });
        rows
    }
}

#[cfg(all(test, feature = "sticky"))]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    #[test]
    fn only_memory_without_a_copy_loses_logins() {
        let (logins, broken) = &*RUN;
        assert!(broken.is_empty(), "{broken:?}");
        let logins = logins.as_ref().unwrap();
        // What the means are measured against is as bad as it should be.
        let pinned = &logins.pinned;
        let fair = u64::from(2 * Logins::USERS / u32::from(Logins::SERVERS));
        assert!(pinned.lost_by_drain() > fair / 2);
        assert!(pinned.outlived > u64::from(Logins::LEAVERS) / 2);
        assert!(logins.copied.at_dead > fair / 2 && logins.copied.at_drained > fair / 2);
        // Ten times each, but for the log-in, and for the round before a second browser comes.
        let requests = u64::from(Logins::USERS) * (9 + 8);
        for (way, seen) in logins.ways() {
            assert_eq!(seen.requests, requests, "{way}");
        }
    }

    #[test]
    fn it_is_the_same_in_every_run() {
        let again = day::run::<copied::Copied>().unwrap();
        assert_eq!(Some(&again), RUN.0.as_ref().map(|first| &first.copied));
    }

    static RUN: LazyLock<(Option<Logins>, Vec<String>)> = LazyLock::new(|| {
        let mut broken = Vec::new();
        let logins = Logins::measure(&Progress::silent(), &mut broken);
        (logins, broken)
    });
}
