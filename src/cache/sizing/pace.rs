//! How much may be recorded.

/// Bounds what is recorded, as a function of how much there was to record: all
/// of it in the beginning, then a share that falls to a 128th.
///
/// ```text
/// allowance(n) = n                         up to n = START
///              = START * (1 + ln(n / START))  up to n = START * SPARSE
///              = START * (1 + ln SPARSE) + (n - START * SPARSE) / SPARSE
/// ```
///
/// The middle part records in proportion to what is new: of twice as long a
/// past, half as much.
pub(super) struct Pace {
    /// Looks again when so much has been recorded.
    due: u64,
    /// A pause is over when so much may be recorded.
    resume: f64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            due: EVERY,
            resume: 0.0,
        }
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&mut self, recorded: u64) -> bool {
        let is_due = recorded >= self.due;
        if is_due {
            self.due = recorded + EVERY;
        }
        is_due
    }

    pub(super) fn allows(recorded: u64, references: u64) -> bool {
        recorded as f64 <= allowance(references)
    }

    /// Begins a pause that ends when each of the keys can be recorded several
    /// times: in a shorter time there is nothing to be seen of them.
    pub(super) fn pause(&mut self, recorded: u64, keys: usize) {
        self.resume = recorded as f64 + (keys as f64 * USES).max(EVERY as f64);
        self.due = recorded + (keys as f64 * USES) as u64;
    }

    pub(super) fn is_over(&self, references: u64) -> bool {
        allowance(references) >= self.resume
    }
}

fn allowance(references: u64) -> f64 {
    let n = references as f64;
    if n <= START {
        return n;
    }
    let logarithmic = START * (1.0 + (n / START).min(SPARSE).ln());
    logarithmic + (n - START * SPARSE).max(0.0) / SPARSE
}

/// So many references are all recorded.
const START: f64 = 32768.0;

/// In the long run one reference in so many is.
const SPARSE: f64 = 128.0;

/// Looks every so many recordings.
const EVERY: u64 = 64;

/// Recordings of each key between two pauses.
const USES: f64 = 4.0;
