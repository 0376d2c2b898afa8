use std::error::Error;
use std::time::Duration;

use tenfold::session::sticky::NodeNumber;
use tenfold::session::{UserId, WallClock};
use tenfold::time::ManualClock;

use super::{Logins, Seen};

pub(super) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Servers that keep log-ins in one way.
pub(super) trait Tier: Sized {
    /// What a browser holds.
    type Ticket;

    /// So many servers, numbered from 0.
    fn of(servers: u16, wall: &WallClock) -> Result<Self>;

    /// Logs a user in, whose browser may hold something already.
    fn log_in(&mut self, user: &UserId, before: Option<&Self::Ticket>) -> Result<Self::Ticket>;

    fn request(&mut self, ticket: &mut Self::Ticket) -> Result<Answer>;

    /// Where the browser has its place, if any server is not as good as another.
    fn place(ticket: &Self::Ticket) -> Option<NodeNumber>;

    /// A server and its memory are gone, and nobody knows.
    fn die(&mut self, node: NodeNumber);

    /// The balancer knows that it is.
    fn miss(&mut self, node: NodeNumber) -> Result<()>;

    fn join(&mut self, node: NodeNumber) -> Result<()>;

    /// A server gets no new browsers, and may answer the others until a moment.
    fn drain(&mut self, node: NodeNumber, until: u64) -> Result<()>;

    /// It is stopped. Says whether it had nothing left.
    fn stop(&mut self, node: NodeNumber) -> bool;

    /// What servers do every second.
    fn maintain(&mut self);

    /// The user says so in this browser.
    fn log_out_everywhere(&mut self, user: &UserId, ticket: &mut Self::Ticket) -> Result<()>;
}

/// What becomes of a request.
pub(super) enum Answer {
    /// The user is known.
    Served,
    /// A server answers, and knows nobody.
    LoggedOut,
    /// Nobody answers.
    Refused,
}

struct Browser<T> {
    user: UserId,
    /// Nothing before its first request, which is a log-in.
    ticket: Option<T>,
    place: Option<NodeNumber>,
    /// Its user has logged out everywhere.
    has_left: bool,
    outlives: bool,
}

pub(super) fn run<T: Tier>() -> Result<Seen> {
    let clock = ManualClock::new();
    let wall = WallClock::manual(&clock, START);
    let mut tier = T::of(Logins::SERVERS, &wall)?;
    let mut seen = Seen {
        lost: vec![0; Logins::LASTS.as_secs() as usize],
        ..Seen::default()
    };
    let users = (0..Logins::USERS).chain(0..Logins::USERS);
    let browsers = users.map(|user| Browser {
        user: UserId::from(format!("user-{user}")),
        ticket: None,
        place: None,
        has_left: false,
        outlives: false,
    });
    let mut browsers: Vec<_> = browsers.collect();
    let ticks = (Logins::PAUSE.as_millis() / TICK.as_millis()) as usize;
    for tick in 0..(Logins::LASTS.as_millis() / TICK.as_millis()) as usize {
        let now = TICK * tick as u32;
        happen(now, &mut tier, &mut browsers, &mut seen)?;
        if tick % 10 == 0 {
            tier.maintain();
        }
        // A user's second browser comes a round later: the last of them just before the death.
        let here = if tick < ticks { 1 } else { 2 } * Logins::USERS as usize;
        for browser in browsers[..here]
            .iter_mut()
            .skip(tick % ticks)
            .step_by(ticks)
        {
            ask(now, &mut tier, browser, &mut seen)?;
        }
        clock.advance(TICK);
    }
    seen.outlived = browsers.iter().filter(|browser| browser.outlives).count() as u64;
    Ok(seen)
}

/// What is to happen at this moment.
fn happen<T: Tier>(
    now: Duration,
    tier: &mut T,
    browsers: &mut [Browser<T::Ticket>],
    seen: &mut Seen,
) -> Result<()> {
    let at = |node| {
        browsers
            .iter()
            .filter(|browser| browser.place == Some(node))
            .count() as u64
    };
    match now {
        Logins::DIES => {
            seen.at_dead = at(DIES);
            tier.die(DIES);
        }
        Logins::KNOWN => tier.miss(DIES)?,
        Logins::JOINS => tier.join(NodeNumber::new(Logins::SERVERS))?,
        Logins::DRAINS => {
            seen.at_drained = at(DRAINED);
            tier.drain(DRAINED, START + Logins::STOPS.as_secs())?;
        }
        Logins::STOPS => seen.is_drained = tier.stop(DRAINED),
        Logins::LEAVE => {
            let (first, second) = browsers.split_at_mut(Logins::USERS as usize);
            for (one, other) in first.iter_mut().zip(second).step_by(10) {
                if let Some(ticket) = &mut one.ticket {
                    tier.log_out_everywhere(&one.user, ticket)?;
                }
                (one.has_left, other.has_left) = (true, true);
            }
        }
        _ => {}
    }
    Ok(())
}

fn ask<T: Tier>(
    now: Duration,
    tier: &mut T,
    browser: &mut Browser<T::Ticket>,
    seen: &mut Seen,
) -> Result<()> {
    let Some(ticket) = &mut browser.ticket else {
        let ticket = tier.log_in(&browser.user, None)?;
        browser.place = T::place(&ticket);
        browser.ticket = Some(ticket);
        return Ok(());
    };
    seen.requests += 1;
    match tier.request(ticket)? {
        Answer::Served => browser.outlives |= browser.has_left,
        Answer::Refused => {
            seen.refused += 1;
            return Ok(());
        }
        Answer::LoggedOut if browser.has_left => {}
        Answer::LoggedOut => {
            seen.lost[now.as_secs() as usize] += 1;
            *ticket = tier.log_in(&browser.user, Some(ticket))?;
        }
    }
    let place = T::place(ticket);
    if place != browser.place {
        browser.place = place;
        let events = [Logins::DIES, Logins::JOINS, Logins::DRAINS];
        if let Some(latest) = events.iter().rposition(|event| *event <= now) {
            seen.moved[latest] += 1;
        }
    }
    Ok(())
}

const TICK: Duration = Duration::from_millis(100);
/// Seconds since 1970 when the day begins.
const START: u64 = 1_700_000_000;
const DIES: NodeNumber = NodeNumber::new(2);
const DRAINED: NodeNumber = NodeNumber::new(0);
