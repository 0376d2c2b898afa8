use super::Skipped;
use super::names::Names;
use crate::show::count;

/// A sequence of requests, ready to be replayed.
#[derive(Debug)]
pub(crate) struct Requests {
    /// The key of each request. Keys are numbered in the order of their first
    /// appearance, so request `i` asks for a new key if and only if its number
    /// is larger than all before it.
    pub(crate) keys: Vec<u32>,
    /// What key number `k` is called in the source.
    pub(crate) names: Vec<Box<[u8]>>,
    /// When each request was made, in seconds since the Unix epoch, never
    /// decreasing. `None` if the source has no times.
    pub(crate) seconds: Option<Vec<u64>>,
    /// The mean size of an answer, one per key, if the source has sizes.
    pub(crate) mean_bytes: Option<f64>,
    /// Who asked, if the source says so of every request.
    pub(crate) hosts: Option<Hosts>,
    /// What was not understood.
    pub(crate) skipped: Skipped,
    /// What the reader should know about how the requests were read.
    pub(crate) notes: Vec<String>,
}

impl Requests {
    /// The number of requests.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The number of different keys.
    pub(crate) fn unique(&self) -> usize {
        self.names.len()
    }
}

/// Who made the requests.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// The host of each request, in the order of the source.
    pub(crate) requests: Vec<u32>,
    /// What host number `h` is called.
    pub(crate) names: Vec<Box<[u8]>>,
}

/// Gathers requests and gives their keys numbers.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    names: Names,
    keys: Vec<u32>,
    hosts: Names,
    /// One for each request, or fewer if some have none.
    asked_by: Vec<u32>,
    seconds: Vec<u64>,
    /// The largest answer seen, by key: a `304 Not Modified` has no body, and
    /// would make the object look smaller than it is.
    bytes: Vec<u64>,
}

impl Collector {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Adds a request for `name`. Either all requests have a time or none.
    pub(crate) fn push(&mut self, name: &[u8], second: Option<u64>, bytes: u64) {
        let number = self.names.number(name);
        if number as usize == self.bytes.len() {
            self.bytes.push(0);
        }
        let largest = &mut self.bytes[number as usize];
        *largest = bytes.max(*largest);
        self.keys.push(number);
        self.seconds.extend(second);
    }

    /// Says who made the request that was added last.
    pub(crate) fn push_host(&mut self, host: &[u8]) {
        self.asked_by.push(self.hosts.number(host));
    }

    pub(crate) fn finish(self, skipped: Skipped, mut notes: Vec<String>) -> Requests {
        let Self {
            names,
            mut keys,
            hosts,
            asked_by,
            mut seconds,
            bytes,
        } = self;
        let mut names = names.into_names();
        let hosts = Some(Hosts {
            requests: asked_by,
            names: hosts.into_names(),
        })
        .filter(|hosts| !keys.is_empty() && hosts.requests.len() == keys.len());
        // Sums in floating point: no size a log can claim overflows it.
        let total: f64 = bytes.iter().map(|&bytes| bytes as f64).sum();
        let mean_bytes = (total > 0.0).then(|| total / bytes.len() as f64);
        let timed = !seconds.is_empty() && seconds.len() == keys.len();
        let late = seconds.windows(2).filter(|pair| pair[1] < pair[0]).count();
        if timed && late > 0 {
            notes.push(format!(
                "{} lines stood later in the file than their time; all were sorted by time",
                count(late as u64)
            ));
            let mut order: Vec<usize> = (0..keys.len()).collect();
            order.sort_by_key(|&i| seconds[i]);
            keys = order.iter().map(|&i| keys[i]).collect();
            seconds = order.iter().map(|&i| seconds[i]).collect();
            (keys, names) = renumber(&keys, names);
        }
        Requests {
            keys,
            names,
            seconds: timed.then_some(seconds),
            mean_bytes,
            hosts,
            skipped,
            notes,
        }
    }
}

/// Numbers the keys anew, by first appearance.
fn renumber(keys: &[u32], mut names: Vec<Box<[u8]>>) -> (Vec<u32>, Vec<Box<[u8]>>) {
    let mut new_number = vec![u32::MAX; names.len()];
    let mut new_names = Vec::with_capacity(names.len());
    let keys = keys
        .iter()
        .map(|&old| {
            let number = &mut new_number[old as usize];
            if *number == u32::MAX {
                *number = new_names.len() as u32;
                new_names.push(std::mem::take(&mut names[old as usize]));
            }
            *number
        })
        .collect();
    (keys, new_names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_by_first_appearance() {
        let mut collector = Collector::default();
        for name in ["/a", "/b", "/a", "/c"] {
            collector.push(name.as_bytes(), None, 0);
        }
        let requests = collector.finish(Skipped::default(), Vec::new());
        assert_eq!(requests.keys, [0, 1, 0, 2]);
        assert_eq!(requests.unique(), 3);
        assert_eq!(requests.seconds, None);
        assert_eq!(requests.mean_bytes, None);
    }

    #[test]
    fn late_lines_are_sorted_in_and_renumbered() {
        let mut collector = Collector::default();
        for (name, second) in [("/late", 9), ("/early", 3), ("/late", 10), ("/mid", 5)] {
            collector.push(name.as_bytes(), Some(second), 0);
        }
        let requests = collector.finish(Skipped::default(), Vec::new());
        assert_eq!(requests.seconds, Some(vec![3, 5, 9, 10]));
        assert_eq!(requests.keys, [0, 1, 2, 2]);
        let names: Vec<&[u8]> = requests.names.iter().map(|name| &**name).collect();
        assert_eq!(names, [b"/early".as_slice(), b"/mid", b"/late"]);
        assert_eq!(requests.notes.len(), 1);
    }

    #[test]
    fn the_size_of_an_object_is_its_largest_answer() {
        let mut collector = Collector::default();
        for (name, bytes) in [("/a", 100), ("/a", 0), ("/b", 300)] {
            collector.push(name.as_bytes(), None, bytes);
        }
        let requests = collector.finish(Skipped::default(), Vec::new());
        assert_eq!(requests.mean_bytes, Some(200.0));
    }
}
