//! Jobs that survive: published, worked off, and there again after a power cut, a worker that
//! dies, a service that fails for a while, and an order that nobody can book.
//!
//! All in virtual time, on a disk that loses what was not synced:
//! `cargo run --features queue,test-util --example queue`.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use tenfold::queue::storage::SimDisk;
use tenfold::queue::{Backoff, Delivery, Queue};
use tenfold::time::ManualClock;

fn main() -> Result<(), Box<dyn Error>> {
    let (time, disk) = (ManualClock::new(), SimDisk::new(7));
    // In a program: `.open("orders.queue")`.
    let open = || {
        Queue::builder()
            .visibility(Duration::from_secs(30))
            .retry(Backoff::exponential(
                Duration::from_secs(1),
                Duration::from_secs(60),
            ))
            .max_deliver(3)
            .clock(time.clock())
            .open_on(disk.clone())
    };

    println!("1. Orders are accepted, and work begins");
    let queue = open()?;
    for order in ["tea", "coffee", "sugar", "a unicorn", "milk"] {
        let published = queue.publish(order)?; // on the disk when it returns
        println!("   order {}: {order}", published.id);
    }
    let worker = queue.consumer();
    worker.recv()?.ack_durable()?;
    let held = worker.recv()?;
    println!(
        "   order 1 is booked, order {} is in a worker's hands",
        held.id()
    );

    println!("2. The power goes");
    disk.power_cut();
    drop((held, worker, queue));
    let queue = open()?;
    println!("   opened again: {}", queue.stats());
    assert_eq!(queue.stats().pending, 4, "all but the one that is booked");

    println!("3. A worker dies over an order, and another gets it when its lease ends");
    let worker = queue.consumer();
    let lost = worker.recv()?;
    assert_eq!(lost.id(), 2);
    let id = lost.id();
    let (stuck, other) = (lost, queue.consumer());
    time.advance(Duration::from_secs(31));
    // Whoever asks next gets it, and the first one's answer does not count any more.
    let again = other.recv()?;
    assert_eq!((again.id(), again.attempt()), (id, 2));
    println!(
        "   order {id} is handed out again, as attempt {}",
        again.attempt()
    );
    again.ack()?;
    println!("   the dead worker's answer: {}", stuck.ack().unwrap_err());

    println!("4. The warehouse fails for a while, and has no unicorns at all");
    let mut booked = BTreeMap::new();
    let mut warehouse_is_down = 2;
    while booked.len() + (queue.stats().dead as usize) < 3 {
        let Some(order) = worker.try_recv()? else {
            time.advance(Duration::from_millis(500)); // nothing is due yet
            continue;
        };
        match book(&order, &mut warehouse_is_down) {
            Ok(()) => {
                println!(
                    "   order {}: booked, attempt {}",
                    order.id(),
                    order.attempt()
                );
                booked.insert(order.id(), order.attempt());
                order.ack()?;
            }
            Err(why) => {
                println!(
                    "   order {}: {why}, attempt {}",
                    order.id(),
                    order.attempt()
                );
                order.nack()?; // comes again, after 1 s, 2 s ...
            }
        }
    }
    assert_eq!(
        booked,
        [(3, 3), (5, 1)].into(),
        "nothing waits behind what fails"
    );

    println!("5. What cannot be done is set aside, with the reason");
    let dead = queue.dead_letters();
    for letter in dead.list() {
        let order = dead.read(letter.id)?.unwrap_or_default();
        println!(
            "   order {} ({}): {}",
            letter.id,
            text(&order),
            letter.reason
        );
    }
    assert_eq!(dead.list().len(), 1);
    dead.redrive([4])?; // somebody found one after all
    let unicorn = worker.recv()?;
    assert_eq!((&unicorn[..], unicorn.attempt()), (&b"a unicorn"[..], 1));
    unicorn.ack()?;

    queue.close()?;
    println!("   {}", queue.stats());
    assert_eq!(queue.stats().pending, 0);
    Ok(())
}

fn book(order: &Delivery<SimDisk>, warehouse_is_down: &mut u32) -> Result<(), &'static str> {
    match &order[..] {
        b"a unicorn" => Err("no such thing"),
        b"sugar" if *warehouse_is_down > 0 => {
            *warehouse_is_down -= 1;
            Err("the warehouse does not answer")
        }
        _ => Ok(()),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
