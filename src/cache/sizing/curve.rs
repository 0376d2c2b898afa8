use std::fmt;

use super::distances::start_of;

/// How many references miss, for every number of entries a cache could have.
///
/// It is that of LRU. It never rises: more entries never miss more.
///
/// ```
/// use tenfold::cache::sizing::SizeEstimator;
///
/// let mut sizes = SizeEstimator::new(1000);
/// for _ in 0..3 {
///     (0..40).for_each(|page| sizes.record(&page));
/// }
/// let curve = sizes.curve();
/// assert!((curve.miss_ratio_at(40) - 1.0 / 3.0).abs() < 1e-9);
/// assert_eq!(curve.points().len(), 1); // it falls once
/// println!("{curve}"); // a table
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MissRatioCurve {
    /// The ends of the bins that have a weight, and the miss ratio there.
    points: Box<[(u64, f64)]>,
    references: u64,
    rate: f64,
    sampled_keys: usize,
    recorded: u64,
    /// How many entries the cache that was watched may hold.
    present: Option<u64>,
}

impl MissRatioCurve {
    /// `points` rise in size and fall in miss ratio.
    pub(super) fn new(
        points: Vec<(u64, f64)>,
        references: f64,
        rate: f64,
        sampled_keys: usize,
    ) -> Self {
        Self {
            points: points.into(),
            references: references.round() as u64,
            rate,
            sampled_keys,
            recorded: 0,
            present: None,
        }
    }

    pub(super) fn with_references(self, references: u64) -> Self {
        Self { references, ..self }
    }

    pub(super) fn with_recorded(self, recorded: u64) -> Self {
        Self { recorded, ..self }
    }

    pub(in crate::cache) fn with_present(self, present: Option<u64>) -> Self {
        Self { present, ..self }
    }

    /// The share of references, between 0 and 1, that would miss with this many
    /// entries. Logarithmic in the number of [`points`](Self::points).
    pub fn miss_ratio_at(&self, entries: u64) -> f64 {
        let above = self.points.partition_point(|&(end, _)| end <= entries);
        let (start, from) = above.checked_sub(1).map_or((0, 1.0), |at| self.points[at]);
        let Some(&(end, to)) = self.points.get(above) else {
            return from;
        };
        // A bin's weight lies somewhere in it; bins without any lie before it.
        let start = start.max(start_of(end));
        let share = entries.saturating_sub(start) as f64 / (end - start) as f64;
        from + (to - from) * share
    }

    /// The fewest entries with which at most this share of the references
    /// misses; `None` if no number is enough, since the first reference to a
    /// key always misses.
    pub fn entries_for(&self, miss_ratio: f64) -> Option<u64> {
        if miss_ratio >= 1.0 {
            return Some(0);
        }
        let at = self
            .points
            .partition_point(|&(_, ratio)| ratio > miss_ratio);
        self.points.get(at).map(|&(end, _)| end)
    }

    /// The numbers of entries at which the curve falls, and the miss ratio from
    /// there on, smallest first. At most 1984.
    pub fn points(&self) -> impl ExactSizeIterator<Item = (u64, f64)> + '_ {
        self.points.iter().copied()
    }

    /// How many references it tells of, sampled or not.
    pub fn references(&self) -> u64 {
        self.references
    }

    /// The share of keys that was sampled in the end. Details finer than
    /// `1 / rate` entries are guesses.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// How many keys were sampled in the end.
    pub fn sampled_keys(&self) -> usize {
        self.sampled_keys
    }

    /// How many references were followed, which is what the estimate costs.
    pub fn recorded(&self) -> u64 {
        self.recorded
    }
}

impl fmt::Display for MissRatioCurve {
    /// A line per size: the present one, if it is known, and those that are a
    /// power of two times smaller or larger.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(&(largest, least)) = self.points.last() else {
            return f.write_str("nothing is known yet of other sizes");
        };
        let middle = self.present.filter(|&present| present > 0);
        let middle = middle.unwrap_or(largest.div_ceil(8));
        writeln!(f, "{:>12}  misses (LRU)", "entries")?;
        for (times, name) in ROWS {
            let entries = if times > 0 {
                middle.saturating_mul(1 << times)
            } else {
                middle >> -times
            };
            if entries == 0 {
                continue;
            }
            let misses = self.miss_ratio_at(entries) * 100.0;
            let name = if self.present.is_some() { name } else { "" };
            writeln!(f, "{entries:>12}  {misses:5.1} %  {name}")?;
        }
        write!(
            f,
            "{largest:>12}  {:5.1} %  with room for everything; {} references, {} keys sampled",
            least * 100.0,
            self.references,
            self.sampled_keys,
        )
    }
}

const ROWS: [(i32, &str); 7] = [
    (-3, "an eighth"),
    (-2, "a quarter"),
    (-1, "half"),
    (0, "as now"),
    (1, "twice"),
    (2, "four times"),
    (3, "eight times"),
];
