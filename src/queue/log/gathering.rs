//! How long a leader waits for those who waited for the one before.

/// Who was just woken would stage a moment too late, and two halves would take turns, each
/// sync for one of them. So a leader that is about to sync lets others run until as many
/// have staged as there may be, as long as that was not in vain before.
#[derive(Debug)]
pub(super) struct Gathering {
    /// Batches that there are once everybody has come back.
    pub(super) expected: usize,
    /// How often a leader lets others run, at most.
    patience: u32,
}

/// Some microseconds, where there is nobody else to run.
const PATIENCE: u32 = 32;

impl Gathering {
    /// So many wait already, or are woken now and may come back.
    pub(super) fn expect(&mut self, batches: usize) {
        self.expected = batches;
    }

    /// Whether the leader goes on with so many batches, after letting others run so often.
    pub(super) fn is_over(&mut self, staged: usize, turns: u32) -> bool {
        if staged >= self.expected {
            self.patience = (self.patience + 1).min(PATIENCE);
            return true;
        }
        let is_over = turns >= self.patience;
        if is_over {
            self.patience /= 2;
        }
        is_over
    }
}

impl Default for Gathering {
    fn default() -> Self {
        Self {
            expected: 0,
            patience: PATIENCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Weak};
    use std::task::{Context, Waker};

    use super::*;
    use crate::queue::log::commit::{Failed, Group, Line, Mark, Sink, Written};
    use crate::sync::Mutex;

    /// How often others may run until it goes on with so many.
    fn turns(gathering: &mut Gathering, staged: usize) -> u32 {
        (0..=PATIENCE)
            .find(|turns| gathering.is_over(staged, *turns))
            .unwrap()
    }

    #[test]
    fn who_waits_in_vain_waits_less() {
        let mut gathering = Gathering::default();
        assert_eq!(turns(&mut gathering, 1), 0, "nobody else was there");
        gathering.expect(3);
        let waited: Vec<_> = (0..7).map(|_| turns(&mut gathering, 2)).collect();
        assert_eq!(waited, [32, 16, 8, 4, 2, 1, 0]);
        assert_eq!(turns(&mut gathering, 3), 0);
        assert_eq!(turns(&mut gathering, 2), 1, "they came");
    }

    /// While its first group is synced another batch comes, and waits.
    #[derive(Default)]
    struct Disk {
        line: Mutex<Weak<Line<Disk>>>,
        groups: Mutex<Vec<usize>>,
    }

    const ROOM: Written = Written {
        synced: true,
        room: 100,
        hard_room: 100,
    };

    impl Sink for Disk {
        fn write(&self, group: Group) -> Result<Written, Failed> {
            self.groups.lock().push(group.ends.len());
            let line = self.line.lock().upgrade();
            if let Some(line) = line.filter(|_| self.groups.lock().len() == 1) {
                publish(&line);
            }
            Ok(ROOM)
        }
    }

    fn publish(line: &Arc<Line<Disk>>) {
        let place = |_, bytes: &mut Vec<u8>| {
            bytes.push(0);
            1
        };
        let (ticket, _) = line.stage(1, true, true, place).unwrap();
        let mut wait = Box::pin(line.wait(ticket, Mark::Durable, None));
        let _ = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        // It stands in line until it is through.
        std::mem::forget(wait);
    }

    #[test]
    fn those_who_wait_and_those_who_are_woken_are_expected() {
        let line = Arc::new(Line::new(Disk::default(), 1, ROOM));
        *line.sink.line.lock() = Arc::downgrade(&line);
        publish(&line);
        // One waits, and whoever led may come back.
        assert_eq!(line.expected(), 2);
        publish(&line);
        assert_eq!(*line.sink.groups.lock(), [1, 2]);
        publish(&line);
        assert_eq!(line.expected(), 0, "nobody waits, and nobody was woken");
    }
}
