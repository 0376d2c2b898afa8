//! How far back the uses of keys lie, as a histogram over sizes.

/// Weights by size: how many references a cache of so many entries is just
/// large enough to hit. Sizes below 64 have a bin each, larger ones 64 bins
/// per octave, so a size is known to 1.6 %.
#[derive(Debug, Clone)]
pub(super) struct Distances(Box<[f64]>);

impl Distances {
    pub(super) fn new() -> Self {
        Self(vec![0.0; BINS].into())
    }

    pub(super) fn add(&mut self, bin: usize, weight: f64) {
        self.0[bin] += weight;
    }

    pub(super) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        for (weight, other) in self.0.iter_mut().zip(&others.0) {
            *weight += other;
        }
    }

    pub(super) fn scale(&mut self, factor: f64) {
        for weight in &mut self.0 {
            *weight *= factor;
        }
    }

    /// The bins from the smallest size on: the size up to which each reaches,
    /// and its weight.
    pub(super) fn bins(&self) -> impl Iterator<Item = (u64, f64)> + '_ {
        (0..).map(end_of).zip(self.0.iter().copied())
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}

/// The bin of a distance, which is rounded up to a whole number of entries.
pub(super) fn bin(distance: f64) -> usize {
    // Rounding by hand: without SSE 4.1, `ceil` is a call.
    let floor = distance as u64;
    let ceil = floor.saturating_add(u64::from((floor as f64) < distance));
    let entries = ceil.clamp(1, LARGEST) - 1;
    if entries < PER_OCTAVE {
        return entries as usize;
    }
    let octave = u64::from(entries.ilog2() - PER_OCTAVE.ilog2());
    // The top bit and the six below it.
    ((octave << 6) + (entries >> octave)) as usize
}

/// The largest size in a bin.
fn end_of(bin: usize) -> u64 {
    let bin = bin as u64;
    if bin < PER_OCTAVE {
        return bin + 1;
    }
    let octave = (bin >> 6) - 1;
    (bin - (octave << 6) + 1) << octave
}

/// The largest size below the bin that ends at this one.
pub(super) fn start_of(end: u64) -> u64 {
    match bin(end as f64) {
        0 => 0,
        bin => end_of(bin - 1),
    }
}

const PER_OCTAVE: u64 = 64;

/// Larger sizes are taken to be this one.
const LARGEST: u64 = 1 << 36;

const BINS: usize = (36 - 6 + 1) * 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_lies_in_the_bin_that_ends_at_or_above_it() {
        let sizes = (1..5000).chain((12..36).flat_map(|p| [(1 << p) - 1, 1 << p, (1 << p) + 1]));
        for size in sizes {
            let bin = bin(size as f64);
            let start = if bin == 0 { 0 } else { end_of(bin - 1) };
            let end = end_of(bin);
            assert!(start < size && size <= end, "{size} in {start}..{end}");
            assert!(
                (end - start) as f64 <= (size as f64 / 64.0).max(1.0),
                "{size}"
            );
        }
        assert_eq!(end_of(BINS - 1), LARGEST);
        assert_eq!(bin(f64::MAX), BINS - 1);
    }
}
