//! The queue's own times; against rivals it is measured by `compare`.
//!
//! `cargo bench --bench queue` measures, `cargo bench -- --test` runs each loop once.

use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use tenfold::queue::{Durability, Message, Queue};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, durability) in [
        ("memory", Durability::Memory),
        ("process", Durability::Process),
        ("power", Durability::Power),
    ] {
        publish(&mut criterion, name, durability);
        round_trip(&mut criterion, name, durability);
    }
    criterion.final_summary();
}

/// A queue in a directory of its own, removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("tenfold-bench-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self, durability: Durability) -> Queue {
        let builder = Queue::builder().durability(durability);
        builder
            .visibility(Duration::from_secs(600))
            .max_in_flight(usize::MAX)
            .open(&self.0)
            .expect("a queue")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One message of 100 bytes a call. What piles up is taken away now and then.
fn publish(criterion: &mut Criterion, name: &str, durability: Durability) {
    let directory = Directory::new(name);
    let queue = directory.open(durability);
    let consumer = queue.consumer();
    let payload = bytes::Bytes::from(vec![7; 100]);
    let mut group = criterion.benchmark_group(format!("queue/{name}"));
    let mut published = 0_u64;
    group.bench_function("publish", |bencher| {
        bencher.iter(|| {
            published += 1;
            if published.is_multiple_of(100_000) {
                let batch = consumer.recv_batch(usize::MAX).expect("messages");
                consumer.ack_all(batch).expect("acks");
            }
            queue.publish(payload.clone()).expect("published")
        });
    });
    group.finish();
}

/// Publish, receive and acknowledge, one message or a hundred a call.
fn round_trip(criterion: &mut Criterion, name: &str, durability: Durability) {
    let directory = Directory::new(name);
    let queue = directory.open(durability);
    let consumer = queue.consumer();
    let payload = bytes::Bytes::from(vec![7; 100]);
    let mut group = criterion.benchmark_group(format!("queue/{name}"));
    group.bench_function("publish, receive, ack", |bencher| {
        bencher.iter(|| {
            queue.publish(payload.clone()).expect("published");
            let delivery = consumer.recv().expect("a message");
            assert_eq!(delivery.len(), 100);
            delivery.ack().expect("acked");
        });
    });
    let batch: Vec<Message> = (0..100).map(|_| Message::new(payload.clone())).collect();
    group.throughput(Throughput::Elements(100));
    group.bench_function("publish, receive, ack, 100 at once", |bencher| {
        bencher.iter(|| {
            queue.publish_batch(&batch).expect("published");
            let deliveries = consumer.recv_batch(100).expect("messages");
            assert_eq!(deliveries.len(), 100);
            consumer.ack_all(deliveries).expect("acked");
        });
    });
    group.finish();
}
