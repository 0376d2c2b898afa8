use std::sync::Arc;

use super::MigrationError;
use super::guards::Guards;
use super::moving::Moving;
use super::point::Point;
use super::read_route::ReadRoute;
use super::write_route::{Second, WriteRoute};
use crate::hash::StableKey;
use crate::router::router::{InForce, Router};
use crate::router::topology::Topology;

impl Router {
    /// Where a write of this key must go, as a guard: while it lives, no migration goes
    /// on as if the write were over.
    ///
    /// Takes one lock, for a moment. Outside of a migration it answers what
    /// [`route`](Self::route) does; but who may ever write during a migration takes a route
    /// for every write, for the copy begins only when those of before are
    /// dropped.
    pub fn write_route(&self, key: impl StableKey) -> WriteRoute {
        loop {
            // What belongs to the user runs without the lock.
            let seen = self.0.in_force.load_full();
            let table = &seen.topology().0;
            let point = table.point(&key);
            let moving = seen.moving.as_ref();
            let part = moving.and_then(|moving| moving.part_at(&point));
            let bytes = part.map(|_| table.key_bytes(&key));
            let home = seen.topology().route(&key);

            let mut shard = self.0.guards.shard(&point);
            if !Arc::ptr_eq(&seen, &self.0.in_force.load()) {
                continue;
            }
            let Some(((moving, part), key)) = moving.zip(part).zip(bytes) else {
                count(&mut shard, &point, seen.stamp);
                drop(shard);
                return WriteRoute::new(
                    self.clone(),
                    Arc::clone(&seen),
                    point,
                    seen.stamp,
                    home,
                    None,
                    false,
                );
            };
            let (phase, stamp) = moving.phase(part.id());
            count(&mut shard, &point, stamp);
            drop(shard);
            let (mut first, mut second) = (part.from(), part.to());
            if phase.new_first() {
                std::mem::swap(&mut first, &mut second);
            }
            let second = phase.writes_both().then(|| Second {
                node: second,
                moving: moving.clone(),
                part: part.id(),
                key,
            });
            let keep_tombstone = phase.keeps_tombstones();
            return WriteRoute::new(
                self.clone(),
                Arc::clone(&seen),
                point,
                stamp,
                first,
                second,
                keep_tombstone,
            );
        }
    }

    /// Where a read of this key must go, which is two nodes while a part is made
    /// ready to be read from its new one.
    pub fn read_route(&self, key: impl StableKey) -> ReadRoute {
        let seen = self.0.in_force.load_full();
        let table = &seen.topology().0;
        let point = table.point(&key);
        let moving = seen.moving.as_ref();
        let found = moving.and_then(|moving| Some((moving, moving.part_at(&point)?)));
        let Some((moving, part)) = found else {
            let nodes = [Some(seen.topology().route(&key)), None];
            return ReadRoute::new(
                self.clone(),
                Arc::clone(&seen),
                point,
                seen.stamp,
                nodes,
                None,
            );
        };
        let (phase, stamp) = moving.phase(part.id());
        if phase.reads_both() {
            let nodes = [Some(part.to()), Some(part.from())];
            let bytes = table.key_bytes(&key);
            let part = Some((moving.clone(), part.id(), bytes));
            return ReadRoute::new(self.clone(), Arc::clone(&seen), point, stamp, nodes, part);
        }
        let node = if phase.new_first() {
            part.to()
        } else {
            part.from()
        };
        ReadRoute::new(
            self.clone(),
            Arc::clone(&seen),
            point,
            stamp,
            [Some(node), None],
            None,
        )
    }

    /// The stamp of what reads of this point go by.
    pub(super) fn read_stamp(&self, point: &Point) -> u64 {
        let now = self.0.in_force.load();
        match &now.moving {
            Some(moving) => match moving.part_at(point) {
                Some(part) => moving.phase(part.id()).1,
                None => now.stamp,
            },
            None => now.stamp,
        }
    }

    pub(super) fn guards(&self) -> &Guards {
        &self.0.guards
    }

    /// The migration that this router is in.
    pub(super) fn moving(&self) -> Option<Arc<Moving>> {
        self.0.in_force.load().moving.clone()
    }

    /// Puts a migration in force.
    pub(super) fn set_moving(&self, moving: &Arc<Moving>) -> Result<(), MigrationError> {
        self.0.change(|now| {
            if let Some(other) = &now.moving {
                let to = other.new.epoch();
                return Err(MigrationError::UnderWay { to });
            }
            if !Arc::ptr_eq(&now.topology().0, &moving.old.0)
                && now.topology().to_bytes() != moving.old.to_bytes()
            {
                return Err(MigrationError::OtherMigration {
                    from: moving.old.epoch(),
                    to: moving.new.epoch(),
                    found: now.topology().epoch(),
                });
            }
            Ok(InForce {
                moving: Some(moving.clone()),
                stamp: self.0.guards.stamp(),
                ..now.clone()
            })
        })?;
        Ok(())
    }

    /// Ends a migration, if it is in force: this topology is from now on.
    pub(super) fn end_moving(&self, moving: &Arc<Moving>, topology: &Topology) {
        let _ = self.0.change(|now| {
            let same = |other: &Arc<Moving>| Arc::ptr_eq(other, moving);
            if !now.moving.as_ref().is_some_and(same) {
                return Err(());
            }
            Ok(InForce {
                topology: topology.clone(),
                moving: None,
                stamp: self.0.guards.stamp(),
            })
        });
    }
}

fn count(shard: &mut super::guards::Shard, point: &Point, stamp: u64) {
    let routes = shard.entry((point.clone(), stamp)).or_insert(0);
    *routes = routes.saturating_add(1);
}
