//! What a projection tells its group.

use crate::queue::consumer::Consumer;
use crate::queue::error::{PublishError, SettleError};
use crate::queue::group::Dead;
use crate::queue::log::format::Kind;
use crate::queue::log::{Mark, Record};
use crate::queue::publishing::refused;
use crate::queue::records::Nack;
use crate::queue::settling::shorten;
use crate::queue::storage::Disk;

impl<D: Disk> Consumer<D> {
    /// Acknowledges all below this number that are not dead.
    pub(in crate::queue) fn ack_below(&self, below: u64) -> Result<(), SettleError> {
        let below = below.min(self.core.log.next_id());
        let open = {
            let mut book = self.core.book.lock();
            let group = book.group(self.group);
            group.map_or(Vec::new(), |group| group.open_below(below))
        };
        self.core.finish_ranges(self.group, &open, false)
    }

    /// Has nobody get a message any more, for this reason. Lasts when it returns.
    pub(in crate::queue) fn bury(&self, id: u64, mut reason: String) -> Result<(), PublishError> {
        let core = &self.core;
        shorten(&mut reason);
        let nack = Nack {
            group: self.group,
            attempts: 1,
            id,
            due: 0,
        };
        let mut payload = nack.encode().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        let level = {
            let mut book = core.book.lock();
            let Some(group) = book.group(self.group) else {
                return Ok(());
            };
            let level = group.level(id);
            let dead = Dead {
                attempts: 1,
                level,
                reason,
            };
            group.bury(id, dead);
            level
        };
        let record = [Record::new(Kind::Dead, level, &[], &payload)];
        let (ticket, _) = core.log.append(&record, false, true).map_err(refused)?;
        Ok(core.log.wait(ticket, Mark::Durable)?)
    }
}
