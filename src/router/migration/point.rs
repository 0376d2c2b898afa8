use crate::hash::{CanonicalBytes, StableKey, xxh3_64};
use crate::router::placement::{Placed, redis_slot};
use crate::router::replicas::Replicas;
use crate::router::route::slot;
use crate::router::topology::Table;

/// What placement goes by: where a key lies among all keys, whatever the slots, the
/// points or the ranges are today.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::router) enum Point {
    /// The key's hash.
    Hash(u64),
    /// The slot that Redis would give it.
    Redis(u64),
    /// Its hash on a ring.
    Ring(u64),
    /// Its ordered bytes.
    Key(Box<[u8]>),
}

impl Table {
    /// The point of a key.
    pub(in crate::router) fn point(&self, key: &impl StableKey) -> Point {
        match &self.placed {
            Placed::Slots(_) => Point::Hash(key.stable_hash(0)),
            _ => self.point_of_bytes(&self.key_bytes(key)),
        }
    }

    /// The bytes that placement goes by: canonical, or ordered where keys lie by
    /// their order.
    pub(in crate::router) fn key_bytes(&self, key: &impl StableKey) -> Box<[u8]> {
        let mut bytes = CanonicalBytes::new();
        match self.placed {
            Placed::Ranges(..) => key.write_ordered(&mut bytes),
            _ => key.write_canonical(&mut bytes),
        }
        bytes.as_slice().into()
    }

    /// The point of a key of which the bytes are known.
    pub(in crate::router) fn point_of_bytes(&self, bytes: &[u8]) -> Point {
        match &self.placed {
            Placed::Slots(_) => Point::Hash(xxh3_64(bytes, 0)),
            Placed::Redis(_) => Point::Redis(redis_slot(bytes).into()),
            Placed::Ring(ring) => Point::Ring(ring.hash(bytes).into()),
            Placed::Ranges(..) => Point::Key(bytes.into()),
        }
    }

    pub(in crate::router) fn replicas_of_point(&self, point: &Point) -> Replicas {
        self.replicas_at(self.place_of_point(point))
    }

    /// Points are those of this table: another kind of point is nowhere, and so at
    /// the first place.
    fn place_of_point(&self, point: &Point) -> usize {
        match (&self.placed, point) {
            (Placed::Slots(owners), Point::Hash(hash)) => slot(*hash, owners.len()),
            (Placed::Redis(_), Point::Redis(slot)) => *slot as usize,
            (Placed::Ring(ring), Point::Ring(hash)) => ring.position(*hash as u32),
            (Placed::Ranges(ranges, _), Point::Key(key)) => ranges.position(key),
            _ => 0,
        }
    }
}
