use std::time::Duration;

/// How long each of many callers waited.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits(Vec<u32>);

impl Waits {
    /// Kept in microseconds, up to an hour.
    pub(super) fn push(&mut self, wait: Duration) {
        self.0
            .push(u32::try_from(wait.as_micros()).unwrap_or(u32::MAX));
    }

    /// The wait that one caller in a hundred exceeded; zero without callers.
    pub(super) fn p99(&mut self) -> Duration {
        let at = self.0.len() * 99 / 100;
        if at >= self.0.len() {
            return Duration::ZERO;
        }
        let (_, wait, _) = self.0.select_nth_unstable(at);
        Duration::from_micros(u64::from(*wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_hundred_waits_longer() {
        let mut waits = Waits::default();
        assert_eq!(waits.p99(), Duration::ZERO);
        (1..=200)
            .rev()
            .for_each(|n| waits.push(Duration::from_millis(n)));
        assert_eq!(waits.p99(), Duration::from_millis(199));
    }
}
