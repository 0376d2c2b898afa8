//! The files of a queue with something wrong in them, wherever it may be: bits flipped,
//! sectors of zeros, ends missing, files missing, twice or swapped, lengths of all sizes.
//!
//! What is checked every time: whatever lay elsewhere is delivered, as it was published;
//! what is lost is told of; nothing that was acknowledged comes back, unless it was the
//! ack that was hit; what is published afterwards is not lost by another crash.
//!
//! `TENFOLD_SEEDS=1 cargo test --release --all-features --test queue_bytes` tries every
//! byte, without it every so many.

mod queue_files;
mod support;

use std::time::Duration;

use queue_files::u64_at;
use support::in_time;
use tenfold::queue::storage::{Disk, SimDisk};
use tenfold::queue::{Queue, QueueBuilder, Start};
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> QueueBuilder {
    let clock = ManualClock::new();
    clock.advance(3600 * SECOND);
    builder_at(&clock)
}

fn builder_at(clock: &ManualClock) -> QueueBuilder {
    Queue::builder()
        .segments(16 << 10, 16 << 10)
        .checkpoint_every(1 << 30)
        .dedup_window(60 * SECOND)
        .tail(0)
        .clock(clock.clock())
        .seed(3)
}

/// A checkpoint of which the sums are right says that there are a trillion messages.
/// They were given up one by one.
#[test]
fn messages_that_are_only_claimed_are_given_up_together() {
    const CLAIMED: u64 = 1 << 40;
    in_time(|| {
        let disk = SimDisk::new(1);
        let queue = builder().open_on(disk.clone()).unwrap();
        queue.publish_batch(&["a".into(), "b".into()]).unwrap();
        let held = queue.consumer().recv().unwrap();
        queue.checkpoint().unwrap();
        disk.crash_at(disk.operations() + 1);
        drop((held, queue));
        disk.kill();
        let names = disk.list().unwrap();
        let name = names.iter().find(|n| n.ends_with(".checkpoint")).unwrap();
        let mut bytes = disk.contents(name).unwrap();
        // The number of the next message, and of the one behind the segment's last.
        for at in [48, 80 + 32] {
            assert_eq!(u64_at(&bytes, at), 3);
            bytes[at..at + 8].copy_from_slice(&(3 + CLAIMED).to_le_bytes());
        }
        queue_files::seal_checkpoint(&mut bytes);
        disk.set_contents(name, &bytes);

        let queue = builder().open_on(disk.clone()).unwrap();
        let other = queue.group("other", Start::Earliest).unwrap();
        // In a group that waits for the first it is a hole, in one that does not an end.
        let (first, second) = (queue.consumer().recv(), queue.consumer().recv());
        assert_eq!(second.unwrap().id(), 2);
        assert!(queue.consumer().try_recv().unwrap().is_none());
        assert_eq!(
            (queue.stats().lost, queue.stats().pending),
            (CLAIMED, 2 + CLAIMED)
        );
        for delivery in other.recv_batch(9).unwrap() {
            delivery.ack().unwrap();
        }
        assert!(other.try_recv().unwrap().is_none());
        // Two groups have looked for them, and they are lost once.
        assert_eq!((queue.stats().lost, queue.stats().pending), (CLAIMED, 2));
        first.unwrap().ack().unwrap();
        assert_eq!(queue.publish("c").unwrap().id, 3 + CLAIMED);
        assert_eq!(&queue.consumer().recv().unwrap()[..], b"c");
    });
}
