use std::collections::HashMap;

use crate::input::Requests;

/// What the requests are like, before any cache.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) source: String,
    pub(crate) requests: u64,
    pub(crate) unique: usize,
    /// Keys that were asked for exactly once.
    pub(crate) one_hit: usize,
    /// The ten keys asked for most, with their requests.
    pub(crate) top: Vec<(Box<[u8]>, u64)>,
    /// First and last second, if there are times.
    pub(crate) span: Option<(u64, u64)>,
    /// The most requests within one second.
    pub(crate) busiest_second: Option<u64>,
    pub(crate) mean_bytes: Option<f64>,
    pub(crate) skipped: u64,
    pub(crate) first_skipped: Vec<(u64, String)>,
    pub(crate) notes: Vec<String>,
}

impl Summary {
    pub(crate) fn of(requests: &Requests, source: &str) -> Self {
        let mut count = vec![0u64; requests.unique()];
        for &key in &requests.keys {
            count[key as usize] += 1;
        }
        let one_hit = count.iter().filter(|&&count| count == 1).count();
        let mut order: Vec<usize> = (0..count.len()).collect();
        order.sort_by_key(|&key| std::cmp::Reverse(count[key]));
        let top = order
            .iter()
            .take(10)
            .map(|&key| (requests.names[key].clone(), count[key]))
            .collect();
        let seconds = requests.seconds.as_deref();
        Self {
            source: source.to_owned(),
            requests: requests.len() as u64,
            unique: requests.unique(),
            one_hit,
            top,
            span: seconds.and_then(|seconds| Some((*seconds.first()?, *seconds.last()?))),
            busiest_second: seconds.and_then(|seconds| {
                let mut within = HashMap::<u64, u64>::new();
                for &second in seconds {
                    *within.entry(second).or_default() += 1;
                }
                within.into_values().max()
            }),
            mean_bytes: requests.mean_bytes,
            skipped: requests.skipped.count,
            first_skipped: requests.skipped.first.clone(),
            notes: requests.notes.clone(),
        }
    }

    /// The share of all requests that the ten keys asked for most have.
    pub(crate) fn top_share(&self) -> f64 {
        let top: u64 = self.top.iter().map(|&(_, count)| count).sum();
        top as f64 / self.requests as f64
    }

    /// The share of the requests that no cache can answer: the first for each
    /// key.
    pub(crate) fn first_requests(&self) -> f64 {
        self.unique as f64 / self.requests as f64
    }
}
