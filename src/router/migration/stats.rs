use std::fmt;

use super::migration::Migration;
use super::phase::Phase;

/// How far a migration is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Parts that have not begun, or are as they were.
    pub stable: usize,
    /// Parts whose new node is being cleared, before the copy or on the way back.
    pub preparing: usize,
    /// Parts whose rows are being copied.
    pub copying: usize,
    /// Parts that are being verified.
    pub verifying: usize,
    /// Parts whose new node has the first say, and is not read alone yet.
    pub switching: usize,
    /// Parts that are read from their new node, and can go back.
    pub cut_over: usize,
    /// Parts whose old copies are being removed.
    pub cleaning_up: usize,
    /// Parts that have moved.
    pub done: usize,
    /// Keys of which one node may lack the last write.
    pub dirty_keys: usize,
    /// Parts that wait for write routes of this process: one that is never dropped
    /// holds its part up for ever.
    pub parts_with_writers: usize,
    /// Parts that wait for other processes.
    pub parts_with_members: usize,
    /// Rows that were copied, those that were copied again included.
    pub rows_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// Rows that were compared.
    pub rows_verified: u64,
    /// Keys that were found different when rows were compared, and made equal.
    pub keys_differed: u64,
    /// Dirty keys that were made equal.
    pub keys_repaired: u64,
    /// Rows that were removed where they do not belong any more.
    pub rows_removed: u64,
}

impl Stats {
    pub(super) fn look_at(&mut self, migration: &Migration) {
        self.stable = migration.count(Phase::Stable);
        self.preparing = migration.count(Phase::Preparing);
        self.copying = migration.count(Phase::Copying);
        self.verifying = migration.count(Phase::Verifying);
        self.switching = migration.count(Phase::Switching);
        self.cut_over = migration.count(Phase::CutOver);
        self.cleaning_up = migration.count(Phase::CleaningUp);
        self.done = migration.count(Phase::Done);
        (
            self.dirty_keys,
            self.parts_with_writers,
            self.parts_with_members,
        ) = (0, 0, 0);
        for part in migration.part_ids() {
            self.dirty_keys += migration.dirty(part).map_or(0, |keys| keys.len());
            if let Err(super::MigrationError::Draining {
                writers, members, ..
            }) = migration.check_complete(part)
            {
                self.parts_with_writers += usize::from(writers > 0);
                self.parts_with_members += usize::from(!members.is_empty());
            }
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "parts: {} stable, {} preparing, {} copying, {} verifying, {} switching, {} cut over, {} cleaning up, {} done",
            self.stable,
            self.preparing,
            self.copying,
            self.verifying,
            self.switching,
            self.cut_over,
            self.cleaning_up,
            self.done
        )?;
        writeln!(
            f,
            "held up: {} by writers of the phase before, {} by other processes, {} dirty keys",
            self.parts_with_writers, self.parts_with_members, self.dirty_keys
        )?;
        write!(
            f,
            "rows: {} copied ({} bytes), {} verified, {} removed; keys: {} differed, {} repaired",
            self.rows_copied,
            self.bytes_copied,
            self.rows_verified,
            self.rows_removed,
            self.keys_differed,
            self.keys_repaired
        )
    }
}
