use std::time::Duration;

use super::{BuildError, PerUser};

/// What every store elsewhere may be told about its sessions, with the same defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) idle: Duration,
    pub(crate) absolute: Duration,
    /// None: a part of the idle time, which is the store's to choose.
    pub(crate) touch_every: Option<Duration>,
    pub(crate) max_per_user: usize,
    pub(crate) per_user: PerUser,
    pub(crate) max_data: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(8 * 3600),
            touch_every: None,
            max_per_user: 1000,
            per_user: PerUser::default(),
            max_data: 64 << 10,
        }
    }
}

impl Limits {
    /// Sees whether they make sense together. Answers how often a load moves the idle deadline: if nobody said so, this often.
    pub(crate) fn check(&self, touch_every: Duration) -> Result<Duration, BuildError> {
        for (setting, found) in [("idle", self.idle), ("absolute", self.absolute)] {
            if found < Duration::from_secs(1) || found > LONGEST {
                let expected = "1 second to 20 years, in seconds";
                return Err(wrong(setting, expected, found.as_secs()));
            }
        }
        if self.idle > self.absolute {
            let expected = "no longer than absolute, in seconds";
            return Err(wrong("idle", expected, self.idle.as_secs()));
        }
        let touch_every = self.touch_every.unwrap_or(touch_every);
        if touch_every >= self.idle {
            let expected = "shorter than idle, in seconds";
            return Err(wrong("touch_every", expected, touch_every.as_secs()));
        }
        more_than_0("max_per_user", self.max_per_user as u64)?;
        Ok(touch_every)
    }
}

pub(crate) fn more_than_0(setting: &'static str, found: u64) -> Result<(), BuildError> {
    if found == 0 {
        return Err(wrong(setting, "more than 0", found));
    }
    Ok(())
}

pub(crate) fn wrong(setting: &'static str, expected: &'static str, found: u64) -> BuildError {
    BuildError::Setting {
        setting,
        expected,
        found,
    }
}

const LONGEST: Duration = Duration::from_secs(20 * 366 * 24 * 3600);
