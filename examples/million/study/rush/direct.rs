use std::collections::VecDeque;
use std::time::Duration;

use super::{Rush, STEP};

/// What became of the orders that went straight into the database.
#[derive(Debug, PartialEq)]
pub(crate) struct Direct {
    pub(crate) orders: u64,
    /// Orders whose callers had given up before the database came to them. It books
    /// them all the same, since nobody tells it.
    pub(crate) timed_out: u64,
    /// Callers who wait and have not given up, in each second.
    pub(crate) waiting: Vec<u64>,
}

impl Direct {
    /// Everybody stands in one line at the database.
    pub(super) fn run() -> Self {
        let mut direct = Self {
            orders: 0,
            timed_out: 0,
            waiting: Vec::new(),
        };
        let mut arrivals = Rush::arrivals();
        let mut line: VecDeque<Duration> = VecDeque::new();
        let mut free_at = [Duration::ZERO; Rush::CONNECTIONS];
        let mut now = Duration::ZERO;
        loop {
            let come = arrivals.next();
            if come.is_none() && line.is_empty() {
                return direct;
            }
            direct.orders += come.unwrap_or(0);
            line.extend((0..come.unwrap_or(0)).map(|_| now));
            if now.subsec_nanos() == 0 {
                let patient = line
                    .iter()
                    .filter(|came| now.saturating_sub(**came) <= Rush::TIMEOUT);
                direct.waiting.push(patient.count() as u64);
            }
            for connection in &mut free_at {
                if *connection <= now
                    && let Some(came) = line.pop_front()
                {
                    *connection = now + Rush::ORDER_TAKES;
                    direct.timed_out += u64::from(connection.saturating_sub(came) > Rush::TIMEOUT);
                }
            }
            now += STEP;
        }
    }
}
