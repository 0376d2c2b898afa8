//! A queue's files with any bytes written into them, with and without right
//! checksums: opened without a panic, drained, used and opened again.

#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use crc32c::{crc32c, crc32c_append};
use libfuzzer_sys::fuzz_target;
use tenfold::queue::storage::{Disk, SimDisk};
use tenfold::queue::{Message, Priority, Queue, QueueBuilder, Start};
use tenfold::time::ManualClock;

fuzz_target!(|input: &[u8]| {
    let [mode, edits @ ..] = input else {
        return;
    };
    let disk = fixture().copy(1);
    let mut names = disk.list().unwrap();
    names.retain(|name| name.ends_with(".segment") || name.ends_with(".checkpoint"));
    if mode & 1 == 1 {
        // Without the checkpoints the whole log is read.
        names.retain(|name| name.ends_with(".segment"));
        for name in disk.list().unwrap() {
            if name.ends_with(".checkpoint") {
                disk.remove(&name).unwrap();
            }
        }
    }
    let mut edits = edits;
    while let [file, low, high, len, rest @ ..] = edits {
        let name = &names[usize::from(*file) % names.len()];
        let mut bytes = disk.contents(name).unwrap();
        // Where it matters most: at the front, and where records begin.
        let mut at = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
        if mode & 4 == 4 && name.ends_with(".segment") {
            at = 4096 + at % 600;
        }
        let len = usize::from(*len).min(rest.len()).min(bytes.len() - at);
        bytes[at..at + len].copy_from_slice(&rest[..len]);
        if mode & 2 == 2 {
            seal(name, &mut bytes);
        }
        disk.set_contents(name, &bytes);
        edits = &rest[len..];
    }
    let Ok(queue) = builder().open_on(disk.clone()) else {
        return;
    };
    let _ = queue.recovery().to_string();
    for name in ["default", "other"] {
        if let Ok(consumer) = queue.group(name, Start::Earliest) {
            for _ in 0..100 {
                match consumer.try_recv() {
                    Ok(Some(delivery)) => drop(delivery.ack()),
                    _ => break,
                }
            }
        }
    }
    let _ = queue.dead_letters().list();
    if let Ok(published) = queue.publish("after") {
        let _ = queue.checkpoint();
        drop(queue);
        disk.power_cut();
        let queue = builder().open_on(disk).expect("it was opened before");
        let consumer = queue.replay("again", Start::At(published.id)).unwrap();
        let delivery = consumer.try_recv().unwrap().expect("confirmed and lost");
        assert_eq!(&delivery[..], b"after");
    }
});

fn builder() -> QueueBuilder {
    Queue::builder()
        .segments(16 << 10, 16 << 10)
        .checkpoint_every(8 << 10)
        .dedup_window(Duration::from_secs(60))
        .clock(ManualClock::new().clock())
        .seed(3)
}

/// A disk with something of everything.
fn fixture() -> &'static SimDisk {
    static FIXTURE: OnceLock<SimDisk> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let disk = SimDisk::new(1);
        let queue = builder().open_on(disk.clone()).unwrap();
        let consumer = queue.consumer();
        let other = queue.group("other", Start::Earliest).unwrap();
        for n in 0..40_u8 {
            let message = Message::new(vec![n; 100])
                .priority(Priority::new(n % 8))
                .delay(Duration::from_secs(u64::from(n % 3)))
                .dedup_id([n]);
            queue.publish(message).unwrap();
            match n % 4 {
                0 => drop(consumer.try_recv().unwrap().map(|d| d.reject("why"))),
                1 => drop(consumer.try_recv().unwrap().map(|d| d.ack())),
                2 => drop(consumer.try_recv().unwrap()),
                _ => drop(other.try_recv().unwrap().map(|d| d.ack_durable())),
            }
            if n == 20 {
                queue.checkpoint().unwrap();
            }
        }
        queue.flush().unwrap();
        drop((queue, consumer, other));
        disk
    })
}

/// Makes checksums right, as far as lengths make sense.
fn seal(name: &str, bytes: &mut [u8]) {
    if name.ends_with(".checkpoint") {
        let crc = crc32c(&bytes[80..]);
        bytes[72..76].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c(&bytes[..76]);
        bytes[76..80].copy_from_slice(&crc.to_le_bytes());
        return;
    }
    let crc = crc32c(&bytes[..508]);
    bytes[508..512].copy_from_slice(&crc.to_le_bytes());
    let salt = u64::from_le_bytes(bytes[48..56].try_into().unwrap());
    let mut at = 4096;
    while at + 24 < bytes.len() - 4096 {
        let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        if bytes[at + 8] == 0 || at + 24 + len > bytes.len() - 4096 {
            return;
        }
        let crc = crc32c(&bytes[at + 24..at + 24 + len]);
        bytes[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
        let place = crc32c(&salt.wrapping_add(at as u64).to_le_bytes());
        let crc = crc32c_append(place, &bytes[at + 4..at + 24]);
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        at += (24 + len).next_multiple_of(8);
    }
}
