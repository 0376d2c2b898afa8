use super::bytes::{Writer, write_overrides, write_policy};
use super::topology::{NOBODY, Table};
use crate::hash::xxh3_64;

/// Hashes what decides where a key and its copies go, with nodes called by their
/// rank among the names: ids differ between topologies that were built apart.
pub(super) fn of(table: &Table) -> u64 {
    let mut writer = Writer::default();
    write_policy(&mut writer, &table.policy);
    writer.u32(table.slots);
    writer.u8(table.replicas as u8);
    writer.u8(table.spread as u8);
    writer.u32(table.nodes.len() as u32);
    for (_, node) in &table.nodes {
        writer.text(&node.name);
        writer.u64(node.weight);
        writer.optional_text(node.zone.as_deref());
    }
    for &owner in table.slot_owners() {
        let rank = table.ranks.get(usize::from(owner));
        writer.u16(rank.copied().unwrap_or(NOBODY));
    }
    // Nothing where nothing is said, so that those of earlier versions stay.
    write_overrides(&mut writer, &table.overrides.said);
    xxh3_64(&writer.bytes, 0)
}
