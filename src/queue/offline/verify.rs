use std::io;
use std::sync::Arc;

use super::examine::{Examined, examine};
use super::verification::{GroupState, Verification};
use crate::queue::book::Book;
use crate::queue::error::OpenError;
use crate::queue::log::{Damage, DamageKind, Inspected};
use crate::queue::storage::{Disk, DiskFile};

pub(super) fn verify<D: Disk>(disk: Arc<D>, locked: bool) -> Result<Verification, OpenError> {
    let mut examined = examine(disk, locked)?;
    let inspected = examined.log.inspect()?;
    report(&mut examined, &inspected)
}

/// Puts together what an opening and a reader of everything have found.
pub(super) fn report<D: Disk>(
    examined: &mut Examined<D>,
    inspected: &[Inspected],
) -> Result<Verification, OpenError> {
    let lost = examined.lost()?;
    let Examined { log, book, .. } = examined;
    let mut found = Verification {
        segments: inspected.len(),
        records: inspected.iter().map(|segment| segment.records).sum(),
        messages: inspected.iter().map(|segment| segment.messages).sum(),
        next_id: log.next_id(),
        groups: groups(book, log.next_id()),
        lost,
        // What it says was saved was not: the directory is as it was.
        torn: examined.recovery.torn.clone().map(unsaved),
        ..Verification::default()
    };
    for damage in &examined.recovery.damage {
        // Records that are damaged are found below, those before the checkpoint as well.
        if damage.kind != DamageKind::Record {
            found.damage.push(unsaved(damage.clone()));
        }
    }
    for segment in inspected {
        found.damage.extend(damage_of(segment));
    }
    let usable = log.checkpoints();
    let disk = log.disk().below();
    for name in disk.list()? {
        let space = &mut found.space;
        let sum = match name.rsplit_once('.').map(|(_, kind)| kind) {
            Some("segment") => &mut space.segments,
            Some("checkpoint") => &mut space.checkpoints,
            Some("spare" | "new") => &mut space.spare,
            Some("quarantine" | "damaged") => &mut space.quarantine,
            _ => continue,
        };
        *sum += size_of(disk, &name)?;
        if name.ends_with(".checkpoint") {
            if usable.contains(&name) {
                found.checkpoints += 1;
            } else {
                found.checkpoints_lost.push(name);
            }
        } else if name.ends_with(".quarantine") || name.ends_with(".damaged") {
            found.quarantine.push(name);
        }
    }
    Ok(found)
}

/// What each group has before it.
pub(super) fn groups(book: &Book, next_id: u64) -> Vec<GroupState> {
    let groups = book.groups.iter().flatten();
    groups
        .map(|group| GroupState {
            name: group.name.clone(),
            pending: group.pending(next_id),
            waiting: group.waiting() as u64,
            dead: group.dead().len() as u64,
        })
        .collect()
}

fn damage_of(segment: &Inspected) -> impl Iterator<Item = Damage> {
    let number = segment.header.number;
    let headers = segment.bad_headers.iter().map(move |offset| Damage {
        segment: number,
        bytes: *offset..*offset + 512,
        kind: DamageKind::HeaderCopy,
        messages: 0..0,
        saved: None,
    });
    let holes = segment.holes.iter().map(move |(hole, messages)| Damage {
        segment: number,
        bytes: hole.clone(),
        kind: DamageKind::Record,
        messages: messages.clone(),
        saved: None,
    });
    headers.chain(holes)
}

fn unsaved(damage: Damage) -> Damage {
    Damage {
        saved: None,
        ..damage
    }
}

fn size_of<D: Disk>(disk: &D, name: &str) -> io::Result<u64> {
    disk.open_to_read(name)?.size()
}
