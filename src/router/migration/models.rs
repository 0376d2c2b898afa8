//! Writers against a phase that changes, under every interleaving that shuttle's
//! scheduler tries.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use shuttle::thread;

use super::{MemoryJournal, Migration, PartId};
use crate::router::{Router, Topology};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::explore;

fn begun() -> (Router, Migration, PartId, u64) {
    let old = Topology::builder().nodes(["a", "b"]).slots(4).build();
    let router = Router::new(old.unwrap());
    let new = router.topology().edit().node("c").build().unwrap();
    let migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let key = (0..).find(|key: &u64| migration.part_of(*key).is_some());
    let key = key.unwrap();
    let part = migration.part_of(key).unwrap().id();
    (router, migration, part, key)
}

/// Once a phase is complete nobody writes by the one before, and every mark of those who
/// did is there.
#[test]
fn no_writer_outlives_its_phase() {
    explore(1000, || {
        let (router, mut migration, part, key) = begun();
        // Writers that go to one node only, and are at it.
        let alone = Arc::new(AtomicU64::new(0));
        let failed = Arc::new(AtomicU64::new(0));
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let (router, alone, failed) = (router.clone(), alone.clone(), failed.clone());
                thread::spawn(move || {
                    let route = router.write_route(key);
                    if route.second().is_some() {
                        failed.fetch_add(1, Ordering::SeqCst);
                        drop(route);
                        return;
                    }
                    alone.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                    alone.fetch_sub(1, Ordering::SeqCst);
                    route.written();
                })
            })
            .collect();
        while migration.prepare(part).is_err() {
            thread::yield_now();
        }
        while migration.start_copying(part).is_err() {
            thread::yield_now();
        }
        wait_for(migration.drained(part)).unwrap();
        assert_eq!(alone.load(Ordering::SeqCst), 0);
        for writer in writers {
            writer.join().unwrap();
        }
        let dirty = migration.dirty(part).unwrap().len() as u64;
        assert_eq!(dirty, failed.load(Ordering::SeqCst).min(1));
    });
}

/// As [`block_on`](crate::task::block_on), with threads that shuttle knows. A waker that is
/// not called is a deadlock, which it reports.
fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
