use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What books the orders: each once, whatever comes twice.
#[derive(Default)]
pub(super) struct Database {
    booked: BTreeMap<u64, Duration>,
    /// The same in the order in which it booked them.
    in_order: Vec<u64>,
    /// When it got what it got within the last second.
    last_second: VecDeque<Duration>,
    /// The most that it got in any second, whatever became of that.
    pub(super) busiest: u64,
    /// Orders that came to it again.
    pub(super) again: u64,
}

impl Database {
    /// It is given an order, and has to do with it from now on.
    pub(super) fn begin(&mut self, now: Duration) {
        self.last_second.push_back(now);
        let is_over = |came: &Duration| now.saturating_sub(*came) >= Duration::from_secs(1);
        let over = self.last_second.partition_point(is_over);
        self.last_second.drain(..over);
        self.busiest = self.busiest.max(self.last_second.len() as u64);
    }

    pub(super) fn book(&mut self, order: u64, now: Duration) {
        match self.booked.entry(order) {
            Entry::Occupied(_) => self.again += 1,
            Entry::Vacant(place) => {
                place.insert(now);
                self.in_order.push(order);
            }
        }
    }

    pub(super) fn has(&self, order: u64) -> bool {
        self.booked.contains_key(&order)
    }

    pub(super) fn booked(&self) -> &BTreeMap<u64, Duration> {
        &self.booked
    }

    /// Orders that it booked after one that has a higher number than they have.
    pub(super) fn late(&self, number_of: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut highest = 0;
        let mut late = Vec::new();
        for &order in &self.in_order {
            let number = number_of(order);
            if number < highest {
                late.push(order);
            }
            highest = highest.max(number);
        }
        late
    }
}
