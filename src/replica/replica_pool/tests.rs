//! What from outside only a race would show.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ReplicaPool;
use super::lent::{Lent, WriteLease};
use crate::replica::topology::Settings;
use crate::replica::{Connector, Endpoint, Epoch, Fault, Position, Probe, Prober, Role, SystemId};
use crate::time::{Instant, ManualClock};

/// A primary of this timeline.
#[derive(Clone)]
struct Primary(Arc<AtomicU64>);

impl Connector for Primary {
    type Connection = ();
    type Error = io::Error;

    fn connect(&self, _: &Endpoint, _: Instant) -> io::Result<()> {
        Ok(())
    }

    fn classify(&self, _: &io::Error) -> Fault {
        Fault::Unknown
    }
}

impl Prober for Primary {
    fn probe(&self, (): &mut (), _: Instant) -> io::Result<Probe> {
        let timeline = self.0.load(Ordering::Relaxed);
        let epoch = Epoch { timeline, term: 0 };
        Ok(Probe::new(Role::Primary, SystemId(7), epoch, Position(1)))
    }
}

/// The epoch is looked at before the connection is had. One that was made for the next epoch in between is of the right server, and not
/// of an old generation.
#[test]
fn a_connection_that_was_asked_for_in_an_epoch_that_is_over_is_not_current() {
    let (clock, primary) = (ManualClock::new(), Primary(Arc::new(AtomicU64::new(1))));
    let settings = Settings::builder().primary(Endpoint::new("p", "p").unwrap());
    let builder = ReplicaPool::builder(primary.clone(), settings.build().unwrap());
    let pool = builder.clock(clock.clock()).build().unwrap();
    let monitor = pool.monitor();
    monitor.turn();
    let before = pool.topology();
    primary.0.store(2, Ordering::Relaxed);
    clock.advance(Duration::from_secs(5));
    monitor.turn();
    let now = pool.topology();
    let node = now.writer().unwrap();
    assert_eq!(before.writer(), Some(node));
    assert!(now.epoch() > before.epoch());
    let routes = pool.0.routes.load_full();
    for (topology, is_current) in [(&before, false), (&now, true)] {
        let pooled = routes.target(node).unwrap().pool.get().unwrap();
        let lease = WriteLease::of(topology, node).unwrap();
        let lent = Lent::write(&pool.0, pooled, node, lease);
        assert_eq!(lent.is_current(), is_current);
        assert_eq!(lent.commit_token(Position(1)).is_ok(), is_current);
        assert_eq!(lent.finish().is_ok(), is_current);
    }
}
