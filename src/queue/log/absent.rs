//! Numbers that an opening passes over: their messages were lost, or given up with a
//! segment, or they turn up further on, where they were moved to.

use std::ops::Range;

use super::Replay;
use super::report::Recovery;

#[derive(Default)]
pub(super) struct Absent {
    /// In ascending order.
    missing: Vec<Range<u64>>,
    /// Numbers of before the log begins: nothing is said of those that do not turn up.
    skipped: Vec<Range<u64>>,
    /// Those that turned up.
    found: Vec<u64>,
}

impl Absent {
    pub(super) fn miss(&mut self, messages: Range<u64>) {
        self.missing.push(messages);
    }

    pub(super) fn skip(&mut self, messages: Range<u64>) {
        if !messages.is_empty() {
            self.skipped.push(messages);
        }
    }

    /// Whether this message was absent until now.
    pub(super) fn take(&mut self, id: u64) -> bool {
        let was_missing = take(&mut self.missing, id);
        let was_absent = was_missing || take(&mut self.skipped, id);
        if was_missing {
            self.found.push(id);
        }
        was_absent
    }

    /// Says what is missing after all, and takes what is not out of the report.
    pub(super) fn finish(&mut self, report: &mut Recovery, replay: &mut dyn Replay) {
        for messages in self.missing.drain(..) {
            replay.missing(messages);
        }
        if self.found.is_empty() {
            return;
        }
        for id in self.found.drain(..) {
            take(&mut report.gaps, id);
            for damage in &mut report.damage {
                let lost = &mut damage.messages;
                if lost.start == id {
                    lost.start += 1;
                } else if lost.end == id + 1 && lost.contains(&id) {
                    lost.end -= 1;
                }
            }
        }
    }
}

/// Takes a number out of ranges in ascending order.
fn take(ranges: &mut Vec<Range<u64>>, id: u64) -> bool {
    let index = ranges.partition_point(|range| range.end <= id);
    let Some(range) = ranges
        .get(index)
        .filter(|range| range.contains(&id))
        .cloned()
    else {
        return false;
    };
    let rest = [range.start..id, id + 1..range.end];
    ranges.splice(
        index..=index,
        rest.into_iter().filter(|range| !range.is_empty()),
    );
    true
}
