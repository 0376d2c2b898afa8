use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::time::Duration;

use tenfold::queue::storage::SimDisk;
use tenfold::queue::{
    Backoff, Consumer, Delivery, Message, OpenError, PublishError, Queue, SettleError,
};
use tenfold::time::ManualClock;

use super::database::Database;
use super::{Queued, Rush, STEP};
use crate::study::SEED;

/// A shop that answers once an order is in the queue, and workers that book them.
pub(super) struct Shop {
    clock: ManualClock,
    disk: SimDisk,
    queue: Queue<SimDisk>,
    workers: Vec<Worker>,
    /// What workers that died had in hand: never answered.
    abandoned: Vec<Delivery<SimDisk>>,
    now: Duration,
    next_order: u64,
    /// Orders that were turned away, and when they come again.
    coming_again: VecDeque<(Duration, u64)>,
    /// When each order was confirmed, and the number of its message.
    confirmed: BTreeMap<u64, (Duration, u64)>,
    database: Database,
    abandoned_orders: BTreeSet<u64>,
    result: Queued,
}

/// One connection to the database.
struct Worker {
    consumer: Consumer<SimDisk>,
    busy: Option<(Delivery<SimDisk>, Duration)>,
}

/// The order that the database refuses, whoever tries.
const POISON: u64 = 4711;

impl Shop {
    /// From the first order to the last booking.
    pub(super) fn run(broken: &mut Vec<String>) -> Result<Queued, Box<dyn Error>> {
        let mut shop = Self::open_for_the_first_time()?;
        for come in Rush::arrivals() {
            let orders = shop.next_order..shop.next_order + come;
            shop.next_order = orders.end;
            shop.step(&orders.collect::<Vec<_>>())?;
        }
        // An hour is more than anything takes: whatever is left then is stuck.
        while shop.queue.stats().pending > shop.queue.stats().dead || !shop.coming_again.is_empty()
        {
            shop.step(&[])?;
            if shop.now > Duration::from_secs(3600) {
                broken.push(format!("orders that nobody gets: {}", shop.queue.stats()));
                break;
            }
        }
        shop.close(broken)
    }

    fn open_for_the_first_time() -> Result<Self, OpenError> {
        let (clock, disk) = (ManualClock::new(), SimDisk::new(SEED));
        let queue = open(&clock, &disk)?;
        Ok(Self {
            workers: workers(&queue),
            clock,
            disk,
            queue,
            abandoned: Vec::new(),
            now: Duration::ZERO,
            next_order: 1,
            coming_again: VecDeque::new(),
            confirmed: BTreeMap::new(),
            database: Database::default(),
            abandoned_orders: BTreeSet::new(),
            result: Queued::default(),
        })
    }

    fn step(&mut self, new: &[u64]) -> Result<(), Box<dyn Error>> {
        if self.now == Rush::WORKER_DIES {
            self.lose_a_worker();
        }
        if self.now == Rush::POWER_GOES {
            self.lose_power()?;
        }
        let mut orders = new.to_vec();
        let again = self
            .coming_again
            .partition_point(|(when, _)| *when <= self.now);
        orders.extend(self.coming_again.drain(..again).map(|(_, order)| order));
        self.take_orders(&orders)?;
        self.work()?;
        if self.now.subsec_nanos() == 0 {
            // Answers last from here on: what comes twice is a second's work.
            self.queue.flush()?;
            self.result.depth.push(self.queue.stats().pending);
        }
        self.now += STEP;
        self.clock.advance(STEP);
        Ok(())
    }

    /// Who comes at the same time shares a sync, as threads would.
    fn take_orders(&mut self, orders: &[u64]) -> Result<(), PublishError> {
        let room = Rush::MAX_PENDING.saturating_sub(self.queue.stats().pending);
        let (taken, refused) = orders.split_at(orders.len().min(room as usize + 1));
        // The queue itself says when it is full: one more than there is room for.
        let mut taken = taken.to_vec();
        while !taken.is_empty() {
            let message = |order: &u64| Message::new(order.to_le_bytes().to_vec());
            let messages: Vec<_> = taken.iter().map(message).collect();
            match self.queue.try_publish_batch(&messages) {
                Ok(published) => {
                    let confirmed = taken.drain(..).zip(published);
                    let noted = confirmed.map(|(order, message)| (order, (self.now, message.id)));
                    self.confirmed.extend(noted);
                }
                Err(PublishError::Full { .. }) => self.turn_away(taken.pop()),
                Err(error) => return Err(error),
            }
        }
        self.turn_away(refused.iter().copied());
        Ok(())
    }

    fn turn_away(&mut self, orders: impl IntoIterator<Item = u64>) {
        for order in orders {
            self.result.turned_away += 1;
            let when = self.now + Rush::COME_AGAIN;
            self.coming_again.push_back((when, order));
        }
    }

    fn work(&mut self) -> Result<(), Box<dyn Error>> {
        for worker in &mut self.workers {
            let done = worker.busy.take_if(|(_, until)| *until <= self.now);
            if let Some((delivery, _)) = done {
                let order = number(&delivery);
                if order == POISON {
                    delivery.nack()?;
                } else {
                    self.database.book(order, self.now);
                    match delivery.ack() {
                        Ok(()) | Err(SettleError::Expired { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            if worker.busy.is_none()
                && let Some(delivery) = worker.consumer.try_recv()?
            {
                self.database.begin(self.now);
                worker.busy = Some((delivery, self.now + Rush::ORDER_TAKES));
            }
        }
        Ok(())
    }

    /// A worker dies with an order in hand; another process takes its place.
    fn lose_a_worker(&mut self) {
        if let Some(worker) = self.workers.first_mut()
            && let Some((delivery, _)) = worker.busy.take()
        {
            self.abandoned_orders.insert(number(&delivery));
            self.abandoned.push(delivery);
        }
    }

    /// The machine goes down without a word, and comes up again.
    fn lose_power(&mut self) -> Result<(), OpenError> {
        self.result.cut_at = self.now;
        self.result.waiting_at_cut = (self.confirmed.len() - self.database.booked().len()) as u64;
        self.disk.power_cut();
        self.workers.clear();
        self.abandoned.clear();
        self.queue = open(&self.clock, &self.disk)?;
        self.workers = workers(&self.queue);
        Ok(())
    }

    /// Counts, and says what is not as it was promised.
    fn close(mut self, broken: &mut Vec<String>) -> Result<Queued, Box<dyn Error>> {
        let mut wrong = |what: String| broken.push(format!("ticket rush: {what}"));
        let letters = self.queue.dead_letters().list();
        let mut dead = BTreeSet::new();
        for letter in &letters {
            let order = self.queue.dead_letters().read(letter.id)?;
            dead.extend(
                order.and_then(|bytes| Some(u64::from_le_bytes(bytes[..].try_into().ok()?))),
            );
        }
        if dead != BTreeSet::from([POISON]) {
            wrong(format!(
                "expected order {POISON} alone with the dead letters, found {} orders from {:?} on",
                dead.len(),
                dead.first()
            ));
        }
        let result = &mut self.result;
        result.dead = dead.len() as u64;
        let is_lost = |order: &u64| !self.database.has(*order) && !dead.contains(order);
        result.lost = self.confirmed.keys().filter(|order| is_lost(order)).count() as u64;
        if result.lost > 0 {
            wrong(format!("{} confirmed orders were lost", result.lost));
        }
        let booked = self.database.booked();
        if booked
            .keys()
            .any(|order| !self.confirmed.contains_key(order))
        {
            wrong("an order was booked that was never confirmed".to_owned());
        }
        result.confirmed = self.confirmed.len() as u64;
        if result.confirmed != self.next_order - 1 {
            wrong(format!(
                "{} of {} orders were taken",
                result.confirmed,
                self.next_order - 1
            ));
        }
        if result.deepest() > Rush::MAX_PENDING {
            wrong(format!(
                "{} orders waited, more than the bound",
                result.deepest()
            ));
        }
        if self.abandoned_orders.is_empty() || self.abandoned_orders.iter().any(is_lost) {
            wrong("nobody booked what a worker had when it died".to_owned());
        }
        // What was given out once comes first to whoever asks next, a power cut or not. Only
        // what a dead worker has stays with it until its lease ends.
        let number_of = |order| self.confirmed.get(&order).map_or(0, |(_, number)| *number);
        let late = self.database.late(number_of);
        result.late = late.len() as u64;
        if let Some(order) = late
            .iter()
            .find(|order| !self.abandoned_orders.contains(order))
        {
            wrong(format!(
                "order {order} was booked after one that was published later"
            ));
        }
        result.busiest = self.database.busiest;
        if result.busiest > Rush::database() {
            wrong(format!(
                "the database got {} orders in a second, and takes {}",
                result.busiest,
                Rush::database()
            ));
        }
        // What was booked since the last flush, and what was in hand.
        result.again = self.database.again;
        let most = Rush::database() + Rush::CONNECTIONS as u64;
        if result.again > most {
            wrong(format!(
                "{} orders came twice, at most {most} may",
                result.again
            ));
        }
        let wait_of = |(order, booked): (&u64, &Duration)| {
            let (confirmed, _) = self.confirmed.get(order)?;
            Some(booked.saturating_sub(*confirmed))
        };
        let mut waits: Vec<Duration> = booked.iter().filter_map(wait_of).collect();
        waits.sort_unstable();
        let at = |share: usize| waits.get(waits.len() * share / 100).copied();
        (result.p50, result.p99) = (at(50).unwrap_or_default(), at(99).unwrap_or_default());
        result.syncs = self.disk.syncs();
        self.queue.close()?;
        Ok(self.result)
    }
}

fn open(clock: &ManualClock, disk: &SimDisk) -> Result<Queue<SimDisk>, OpenError> {
    Queue::builder()
        .max_pending(Rush::MAX_PENDING)
        .visibility(Rush::LEASE)
        .retry(Backoff::exponential(
            Duration::from_secs(1),
            Duration::from_secs(8),
        ))
        .max_deliver(4)
        .clock(clock.clock())
        .seed(SEED)
        .open_on(disk.clone())
}

fn workers(queue: &Queue<SimDisk>) -> Vec<Worker> {
    let worker = |_| Worker {
        consumer: queue.consumer(),
        busy: None,
    };
    (0..Rush::CONNECTIONS).map(worker).collect()
}

fn number(delivery: &Delivery<SimDisk>) -> u64 {
    delivery
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
