use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A server with so many workers and one line before them, in virtual time:
/// moments are durations since the start.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// When each worker is free again, the earliest first.
    free: BinaryHeap<Reverse<Duration>>,
    /// The work of all workers together.
    busy: Duration,
}

impl Server {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            free: (0..workers).map(|_| Reverse(Duration::ZERO)).collect(),
            busy: Duration::ZERO,
        }
    }

    /// A request that comes now and is so much work: how long until it is
    /// answered. Nothing if its turn comes so late that the caller has given
    /// up; then it is no work either, which is kinder than most servers are.
    ///
    /// Moments never go back.
    pub(super) fn serve(&mut self, now: Duration, work: Duration) -> Option<Duration> {
        let mut worker = self.free.peek_mut()?;
        let waited = worker.0.saturating_sub(now);
        if waited > PATIENCE {
            return None;
        }
        // It sinks to its new place when the borrow ends.
        *worker = Reverse(now + waited + work);
        drop(worker);
        self.busy += work;
        Some(waited + work)
    }

    /// The share of its workers' time that was work until now.
    pub(super) fn utilisation(&self, now: Duration) -> f64 {
        self.busy.as_secs_f64() / (now.as_secs_f64() * self.free.len() as f64)
    }
}

/// How long a caller waits for his turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_wait_for_a_worker_and_give_up() {
        let at = Duration::from_millis;
        let mut server = Server::new(2);
        let answers = [0, 0, 0, 5, 100].map(|now| server.serve(at(now), at(10)));
        let expected = [10, 10, 20, 15, 10].map(|waited| Some(at(waited)));
        assert_eq!(answers, expected);
        assert!((server.utilisation(at(50)) - 0.5).abs() < 1e-9);
        let mut slow = Server::new(1);
        assert_eq!(slow.serve(at(0), at(1_001)), Some(at(1_001)));
        assert_eq!(slow.serve(at(0), at(1)), None);
        assert_eq!(slow.serve(at(1), at(1)), Some(at(1_001)));
    }
}
