//! Write-back: what is accepted reaches the store, coalesced, in batches, in its
//! order; the buffer is bounded; a store that fails, refuses or panics costs
//! nothing that was accepted. Crashes have a file of their own.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::Poll;
use std::time::Duration;

use crate::support::{Gate, block_on, in_time, panics, poll, quiet_panic, until};
use tenfold::cache::Cache;
use tenfold::cache::write_back::{
    BuildError, FlushError, Journal, MemoryJournal, Pending, Reason, Record, WhenFull, WriteBack,
    WriteBackBuilder,
};
use tenfold::cache::writer::{self, Change, Faults, InjectedFault, MemoryStore, Writer};
use tenfold::task::{Executor, Task};
use tenfold::time::ManualClock;

type Back = WriteBack<u32, u64>;
type Store = MemoryStore<u32, u64>;

fn over(store: &Store) -> WriteBackBuilder<u32, u64> {
    WriteBack::builder(Cache::new(100), store.clone())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_thousand_writes_to_ten_keys_are_ten_writes_of_the_store() {
    let (store, journal) = (Store::new(), MemoryJournal::new());
    let back = over(&store).journal(journal.clone()).build().unwrap();
    for value in 0..1000 {
        back.put((value % 10) as u32, value).unwrap();
    }
    assert_eq!(store.writes(), 0);
    assert_eq!(back.flush().unwrap(), 0);
    assert_eq!((store.writes(), store.calls()), (10, 1));
    assert!((0..10).all(|key| store.get(&key) == Some(990 + u64::from(key))));
    let stats = back.stats();
    assert_eq!(
        (stats.accepted, stats.coalesced, stats.written),
        (1000, 990, 10)
    );
    assert_eq!((stats.dirty, stats.unacked, journal.len()), (0, 0, 0));
    assert_eq!(back.flush().unwrap(), 0);
    assert_eq!(store.writes(), 10);
}

#[test]
fn the_oldest_are_written_first_in_batches() {
    let store = Store::new();
    let back = over(&store).batch_size(3).build().unwrap();
    for key in [5, 3, 9, 1, 7, 3, 5] {
        back.put(key, u64::from(key)).unwrap();
    }
    back.flush().unwrap();
    let order: Vec<u32> = store.log().into_iter().map(|(key, _)| key).collect();
    // A newer value takes the place of the old one.
    assert_eq!(order, [5, 3, 9, 1, 7]);
    assert_eq!(store.calls(), 2);
}

#[test]
fn what_is_evicted_before_it_is_written_is_read_from_the_buffer() {
    let (cache, store) = (Cache::new(1), Store::new());
    let pending = Pending::new();
    let back = WriteBack::builder(cache.clone(), store.clone())
        .pending(&pending)
        .build()
        .unwrap();
    for key in 0..20 {
        back.put(key, u64::from(key)).unwrap();
    }
    assert!(cache.len() <= 1);
    assert!((0..20).all(|key| back.get(&key) == Some(u64::from(key))));
    // A loader would find nothing in the store.
    let load = |key: u32| match pending.get(&key) {
        Some(change) => change.into_value(),
        None => store.get(&key),
    };
    assert_eq!(cache.optionally_get_with(3, || load(3)).unwrap(), Some(3));
    // A deletion is seen too, though the store still has the record.
    back.flush().unwrap();
    back.delete(3).unwrap();
    assert_eq!((back.get(&3), store.get(&3)), (None, Some(3)));
    assert_eq!(back.pending(&3), Some(Change::Delete));
    assert_eq!(cache.optionally_get_with(3, || load(3)).unwrap(), None);
    back.put(3, 4).unwrap();
    assert_eq!(back.get(&3), Some(4));
    back.delete(3).unwrap();
    back.flush().unwrap();
    assert_eq!(
        (back.get(&3), store.get(&3), back.pending(&3)),
        (None, None, None)
    );
}

#[test]
fn what_is_being_written_is_still_read_and_a_newer_value_stays_dirty() {
    let (gate, store) = (Gate::new(), Store::new());
    let back = slow(&gate, &store, Cache::new(100)).build().unwrap();
    back.put(1, 1).unwrap();
    let mut flush = pin!(back.flush_async());
    assert!(poll(flush.as_mut()).is_pending());
    assert_eq!(back.pending(&1), Some(Change::Put(1)));
    back.put(1, 2).unwrap();
    assert_eq!(
        (back.pending(&1), back.stats().dirty),
        (Some(Change::Put(2)), 2)
    );
    gate.open(());
    assert!(matches!(poll(flush.as_mut()), Poll::Ready(Ok(0))));
    // What came after the flush began is not its affair.
    assert_eq!((store.get(&1), back.stats().dirty), (Some(1), 1));
    back.close().unwrap();
    assert_eq!(store.get(&1), Some(2));
}

/// A write-back to a store that waits for a gate.
fn slow(gate: &Gate<()>, store: &Store, cache: Cache<u32, u64>) -> WriteBackBuilder<u32, u64> {
    let (gate, store) = (gate.clone(), store.clone());
    let write = move |key, change| {
        let (gate, store) = (gate.clone(), store.clone());
        async move {
            gate.await;
            store.write(&key, &change).await
        }
    };
    WriteBack::builder(cache, writer::from_async_fn(write))
}

#[test]
fn a_cancelled_flush_does_not_interrupt_the_store() {
    let (gate, store) = (Gate::new(), Store::new());
    let back = slow(&gate, &store, Cache::new(100)).build().unwrap();
    back.put(1, 1).unwrap();
    let mut flush = Box::pin(back.flush_async());
    assert!(poll(flush.as_mut()).is_pending());
    drop(flush);
    gate.open(());
    back.flush().unwrap();
    // Carried on, not begun again.
    assert_eq!(store.writes(), 1);
    assert_eq!(back.stats().batches, 1);
}

#[test]
fn a_full_buffer_refuses_or_has_its_caller_flush() {
    for when_full in [WhenFull::Refuse, WhenFull::Flush] {
        let store = Store::new();
        let build = over(&store).max_dirty(3).batch_size(2).when_full(when_full);
        let back = build.build().unwrap();
        for key in 0..3 {
            back.put(key, 0).unwrap();
        }
        // For a key that has a place there is room.
        back.put(2, 1).unwrap();
        assert_eq!(store.writes(), 0);
        let put = back.put(3, 3);
        if when_full == WhenFull::Refuse {
            let refused = put.unwrap_err();
            assert!(matches!(refused.reason(), Reason::Full { dirty: 3 }));
            assert_eq!(refused.into_entry(), (3, Change::Put(3)));
            assert_eq!((store.writes(), back.get(&3)), (0, None));
            assert_eq!(back.stats().turned_away, 1);
        } else {
            put.unwrap();
            assert_eq!((store.writes(), back.get(&3)), (2, Some(3)));
            assert_eq!(back.stats().waited, 1);
        }
        assert!(back.stats().dirty <= 3);
    }
}

#[test]
fn a_cancelled_change_leaves_no_place_taken() {
    let (gate, store) = (Gate::new(), Store::new());
    let journal = Held::behind(&gate);
    let build = over(&store).max_dirty(2).when_full(WhenFull::Refuse);
    let back = build.journal(journal).build().unwrap();
    // The first is with the journal: it cannot be taken back.
    let mut first = Box::pin(back.put_async(0, 0));
    assert!(poll(first.as_mut()).is_pending());
    for key in 1..50 {
        let mut put = Box::pin(back.put_async(key, 1));
        assert!(poll(put.as_mut()).is_pending());
        drop(put);
    }
    drop(first);
    gate.open(());
    back.put(100, 1).unwrap();
    assert_eq!(back.get(&0), Some(0), "carried on by the next caller");
    assert_eq!(back.get(&1), None);
    assert_eq!(back.stats().accepted, 2);
    back.close().unwrap();
    assert_eq!(store.len(), 2);
}

/// A journal that waits for a gate, and notes how many records came at once.
struct Held {
    gate: Gate<()>,
    journal: MemoryJournal<u32, u64>,
    appends: Arc<Mutex<Vec<usize>>>,
}

impl Held {
    fn behind(gate: &Gate<()>) -> Self {
        Self {
            gate: gate.clone(),
            journal: MemoryJournal::new(),
            appends: Arc::default(),
        }
    }
}

impl Journal<u32, u64> for Held {
    type Error = InjectedFault;

    async fn append(&self, records: &[Record<u32, u64>]) -> Result<(), InjectedFault> {
        self.appends.lock().unwrap().push(records.len());
        self.gate.clone().await;
        self.journal.append(records).await
    }

    async fn ack(&self, sequences: &[u64]) -> Result<(), InjectedFault> {
        self.journal.ack(sequences).await
    }

    async fn replay(
        &self,
        show: &mut (dyn FnMut(Record<u32, u64>) + Send),
    ) -> Result<(), InjectedFault> {
        self.journal.replay(show).await
    }
}

#[test]
fn changes_that_come_while_the_journal_is_busy_go_together() {
    let (gate, store) = (Gate::new(), Store::new());
    let journal = Held::behind(&gate);
    let appends = Arc::clone(&journal.appends);
    let back = over(&store).journal(journal).build().unwrap();
    let mut puts: Vec<_> = (0..10)
        .map(|key| Box::pin(back.put_async(key, 0)))
        .collect();
    assert!(puts.iter_mut().all(|put| poll(put.as_mut()).is_pending()));
    gate.open(());
    assert!(puts.iter_mut().all(|put| poll(put.as_mut()).is_ready()));
    assert_eq!(*appends.lock().unwrap(), [1, 9]);
}

/// The store is down for two minutes. Changes are accepted as far as there is
/// room; the store is asked ever more rarely; nothing is lost.
#[test]
fn a_store_that_is_down_for_a_while_costs_nothing() {
    let (faults, time) = (Faults::none(), ManualClock::new());
    let store = Store::with_faults(faults.clone());
    let back = over(&store)
        .max_dirty(10)
        .batch_size(4)
        .retry(SECOND, 16 * SECOND)
        .clock(time.clock())
        .build()
        .unwrap();
    faults.set_down(true);
    for key in 0..10 {
        back.put(key, 1).unwrap();
    }
    // The next one flushes, and waits by the clock.
    let mut next = pin!(back.put_async(10, 1));
    let mut asked = Vec::new();
    for second in 0..120 {
        let before = back.stats().batches;
        assert!(poll(next.as_mut()).is_pending());
        if back.stats().batches > before {
            asked.push(second);
        }
        // Newer values of what waits are accepted all along.
        back.put(second % 10, u64::from(second)).unwrap();
        assert!(back.stats().dirty <= 10);
        time.advance(SECOND);
    }
    // At 0, 1, 3, 7, 15, and then every 16 seconds: pauses only get shorter.
    assert!((8..=14).contains(&asked.len()), "{asked:?}");
    assert_eq!(asked[..4], [0, 1, 3, 7]);
    assert_eq!(store.writes(), 0);
    faults.set_down(false);
    time.advance(16 * SECOND);
    assert!(matches!(poll(next.as_mut()), Poll::Ready(Ok(()))));
    back.close().unwrap();
    assert!((0..10).all(|key| store.get(&key) == Some(110 + u64::from(key))));
    assert_eq!((store.get(&10), back.stats().dirty), (Some(1), 0));
}

#[test]
fn a_flush_that_fails_says_so_and_keeps_everything() {
    let faults = Faults::none();
    let store = Store::with_faults(faults.clone());
    let back = over(&store).batch_size(1).build().unwrap();
    faults.set_down(true);
    for key in 0..10 {
        back.put(key, 1).unwrap();
    }
    let failed = back.flush().unwrap_err();
    assert_eq!(failed.to_string(), "the store did not take 10 records");
    assert!(matches!(failed, FlushError::Store { left: 10, .. }));
    // It gave up after three, and did not ask ten times.
    assert_eq!(store.calls(), 3);
    faults.set_down(false);
    back.flush().unwrap();
    assert_eq!(store.len(), 10);
}

#[test]
fn a_refused_record_does_not_block_the_others() {
    let store = Store::refusing(Faults::none(), |_, change| *change == Change::Put(13));
    let journal = MemoryJournal::new();
    let cache = Cache::new(100);
    let back = WriteBack::builder(cache.clone(), store.clone())
        .journal(journal.clone())
        .build()
        .unwrap();
    for key in 0..10 {
        back.put(key, if key == 4 { 13 } else { 1 }).unwrap();
    }
    assert_eq!(back.flush().unwrap(), 1);
    assert_eq!(store.len(), 9);
    // The store does not have it, so readers are not shown it; it is not lost.
    assert_eq!((back.get(&4), cache.get(&4)), (None, None));
    assert_eq!(
        (back.stats().aside, back.stats().refused, journal.len()),
        (1, 1, 1)
    );
    assert_eq!(back.flush().unwrap(), 1, "not tried again");
    assert_eq!(store.calls(), 1);
    let left = back.close().unwrap_err();
    assert_eq!(left.left(), [(4, Change::Put(13))]);
    let refused = back.take_refused();
    assert_eq!(
        (refused.len(), refused[0].key, refused[0].change),
        (1, 4, Change::Put(13))
    );
    assert_eq!(refused[0].cause.to_string(), "this record is refused");
    back.close().unwrap();
    assert!(journal.is_empty());
}

#[test]
fn a_newer_value_takes_the_place_of_a_refused_one() {
    let store = Store::refusing(Faults::none(), |_, change| *change == Change::Put(13));
    let journal = MemoryJournal::new();
    let back = over(&store).journal(journal.clone()).build().unwrap();
    back.put(1, 13).unwrap();
    back.flush().unwrap();
    back.put(1, 14).unwrap();
    assert_eq!((back.stats().aside, back.get(&1)), (0, Some(14)));
    back.close().unwrap();
    assert_eq!(store.get(&1), Some(14));
    assert!(journal.is_empty());
}

#[test]
fn a_handler_takes_care_of_refused_records_unless_it_panics() {
    let store = Store::refusing(Faults::none(), |key, _| *key >= 10);
    let journal = MemoryJournal::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let back = {
        let told = Arc::clone(&told);
        over(&store).on_refused(move |key, change, cause| {
            if *key == 11 {
                quiet_panic();
            }
            let said = cause.to_string();
            told.lock().unwrap().push((*key, *change, said));
        })
    };
    let back = back.journal(journal.clone()).build().unwrap();
    for key in 9..12 {
        back.put(key, 1).unwrap();
    }
    assert_eq!(back.flush().unwrap(), 1);
    let refused = "this record is refused".to_owned();
    assert_eq!(*told.lock().unwrap(), [(10, Change::Put(1), refused)]);
    let stats = back.stats();
    assert_eq!((stats.aside, stats.panics, journal.len()), (1, 1, 1));
    assert_eq!(back.take_refused()[0].key, 11);
}

#[test]
fn a_panicking_store_loses_nothing_and_its_poison_blocks_nobody() {
    let (inner, time) = (Store::new(), ManualClock::new());
    let healthy = Arc::new(AtomicBool::new(false));
    let store = {
        let (inner, healthy) = (inner.clone(), Arc::clone(&healthy));
        writer::from_fn(move |key: &u32, change: &Change<u64>| {
            if *key == 5 && !healthy.load(Ordering::SeqCst) {
                quiet_panic();
            }
            block_on(inner.write(key, change))
        })
    };
    let back = WriteBack::builder(Cache::new(100), store)
        .clock(time.clock())
        .build()
        .unwrap();
    for key in 0..10 {
        back.put(key, 1).unwrap();
    }
    let failed = back.flush().unwrap_err();
    assert!(matches!(&failed, FlushError::Store { left: 1, cause }
        if cause.to_string() == "it panicked: on purpose"));
    assert_eq!((inner.len(), back.get(&5)), (9, Some(1)));
    assert_eq!(back.stats().panics, 2);
    healthy.store(true, Ordering::SeqCst);
    back.close().unwrap();
    assert_eq!(inner.len(), 10);
}

/// A journal that panics at first, and at every ack.
struct Panicking(AtomicU32);
impl Journal<u32, u64> for Panicking {
    type Error = InjectedFault;
    async fn append(&self, _: &[Record<u32, u64>]) -> Result<(), InjectedFault> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            quiet_panic();
        }
        Ok(())
    }
    async fn ack(&self, _: &[u64]) -> Result<(), InjectedFault> {
        quiet_panic();
    }
    async fn replay(
        &self,
        _: &mut (dyn FnMut(Record<u32, u64>) + Send),
    ) -> Result<(), InjectedFault> {
        Ok(())
    }
}

#[test]
fn a_panicking_journal_accepts_nothing_and_harms_nobody() {
    let store = Store::new();
    let back = over(&store)
        .journal(Panicking(AtomicU32::new(0)))
        .build()
        .unwrap();
    let refused = back.put(1, 1).unwrap_err();
    assert!(matches!(refused.reason(), Reason::Journal(cause)
        if cause.to_string() == "it panicked: on purpose"));
    assert_eq!(
        (back.get(&1), refused.into_entry()),
        (None, (1, Change::Put(1)))
    );
    back.put(1, 2).unwrap();
    back.close().unwrap();
    assert_eq!(store.get(&1), Some(2));
    assert_eq!(back.stats().panics, 2);
}

#[test]
fn a_journal_that_fails_changes_nothing_for_anybody() {
    let faults = Faults::none();
    let (store, journal) = (Store::new(), MemoryJournal::with_faults(faults.clone()));
    let back = over(&store).journal(journal.clone()).build().unwrap();
    back.put(1, 1).unwrap();
    faults.set_down(true);
    let refused = back.put(1, 2).unwrap_err();
    assert_eq!(refused.into_entry(), (1, Change::Put(2)));
    assert!(back.put(2, 2).is_err());
    assert_eq!((back.get(&1), back.get(&2)), (Some(1), None));
    assert_eq!(back.stats().journal_failures, 2);
    // The store gets what was accepted; acks wait for the journal.
    back.flush().unwrap();
    assert_eq!(
        (store.get(&1), store.get(&2), journal.len()),
        (Some(1), None, 1)
    );
    assert!(back.stats().unacked > 0);
    faults.set_down(false);
    back.close().unwrap();
    assert_eq!((journal.len(), back.stats().unacked), (0, 0));
}

#[test]
fn a_listener_that_panics_costs_nothing_accepted() {
    let cache = Cache::builder()
        .max_entries(100)
        .eviction_listener(|_, value, _| {
            if value == 1 {
                quiet_panic()
            }
        })
        .build()
        .unwrap();
    let store = Store::new();
    let back = WriteBack::builder(cache, store.clone()).build().unwrap();
    back.put(1, 1).unwrap();
    assert!(panics(|| back.put(1, 2)));
    assert_eq!(back.get(&1), Some(2));
    back.put(1, 3).unwrap();
    back.close().unwrap();
    assert_eq!(store.get(&1), Some(3));
    assert_eq!(back.stats().panics, 1);
}

#[test]
fn store_and_listener_may_call_back() {
    in_time(|| {
        let known: Arc<OnceLock<Back>> = Arc::default();
        let reentrant = Arc::new(AtomicU32::new(0));
        let cache = {
            let (known, reentrant) = (Arc::clone(&known), Arc::clone(&reentrant));
            Cache::builder()
                .max_entries(100)
                .eviction_listener(move |key, _, _| {
                    let back = known.get().unwrap();
                    back.get(&key);
                    let refused = back.put(key, 0).unwrap_err();
                    assert!(matches!(refused.reason(), Reason::Reentrant));
                    reentrant.fetch_add(1, Ordering::SeqCst);
                })
                .build()
                .unwrap()
        };
        let inner = Store::new();
        let store = {
            let (known, inner) = (Arc::clone(&known), inner.clone());
            writer::from_fn(move |key: &u32, change: &Change<u64>| {
                let back = known.get().unwrap();
                back.get(key);
                assert!(matches!(back.flush(), Err(FlushError::Reentrant)));
                match key {
                    1 => back.put(2, 20).unwrap(),
                    3 => {
                        let refused = back.put(4, 1).unwrap_err();
                        assert!(matches!(refused.reason(), Reason::Full { .. }));
                    }
                    _ => {}
                }
                block_on(inner.write(key, change))
            })
        };
        let back = WriteBack::builder(cache, store)
            .max_dirty(2)
            .build()
            .unwrap();
        known.set(back.clone()).unwrap();
        back.put(1, 1).unwrap();
        back.put(1, 2).unwrap();
        assert_eq!(reentrant.load(Ordering::SeqCst), 1);
        back.flush().unwrap();
        back.flush().unwrap();
        assert_eq!((inner.get(&1), inner.get(&2)), (Some(2), Some(20)));
        // Two waiting and one more: the buffer is full from within.
        back.put(3, 1).unwrap();
        back.put(5, 1).unwrap();
        back.flush().unwrap();
        assert_eq!((inner.get(&3), inner.get(&4)), (Some(1), None));
    });
}

#[test]
fn a_closed_write_back_accepts_nothing_more_and_has_written_everything() {
    let faults = Faults::none();
    let store = Store::with_faults(faults.clone());
    let back = over(&store).build().unwrap();
    for key in 0..5 {
        back.put(key, 1).unwrap();
    }
    faults.set_down(true);
    let left = back.close().unwrap_err();
    assert_eq!(left.to_string(), "5 records are not in the store");
    let expected: Vec<_> = (0..5).map(|key| (key, Change::Put(1))).collect();
    assert_eq!(left.into_left(), expected);
    let refused = back.put(9, 9).unwrap_err();
    assert!(matches!(refused.reason(), Reason::Closed));
    faults.set_down(false);
    back.close().unwrap();
    assert_eq!(store.len(), 5);
    back.close().unwrap();
}

#[test]
fn replaying_twice_is_as_replaying_once() {
    let (store, journal) = (Store::new(), MemoryJournal::new());
    let open = || over(&store).journal(journal.clone()).build().unwrap();
    let back = open();
    for value in 0..30 {
        back.put((value % 3) as u32, value).unwrap();
    }
    back.delete(0).unwrap();
    drop(back);
    // Opened and killed again, before anything was written.
    drop(open());
    let back = open();
    assert_eq!(
        (back.get(&0), back.get(&1), back.get(&2)),
        (None, Some(28), Some(29))
    );
    assert_eq!(back.pending(&0), Some(Change::Delete));
    back.flush().unwrap();
    assert_eq!(store.writes(), 3);
    journal.power_cut(usize::MAX);
    drop(back);
    let back = open();
    assert!(back.stats().replayed > 0);
    back.close().unwrap();
    assert_eq!(
        (store.get(&0), store.get(&1), store.get(&2)),
        (None, Some(28), Some(29))
    );
    drop(back);
    assert_eq!(open().stats().replayed, 0);
}

/// An executor whose tasks a test polls by hand.
fn by_hand() -> (Executor, mpsc::Receiver<Task>) {
    let (take, tasks) = mpsc::channel();
    let executor = Executor::new(move |task| {
        take.send(task).unwrap();
        Ok(())
    });
    (executor, tasks)
}

#[test]
fn the_background_flushes_by_the_clock_and_ends_with_the_last_handle() {
    let (store, time) = (Store::new(), ManualClock::new());
    let (executor, tasks) = by_hand();
    let back = over(&store)
        .flush_every(SECOND, executor)
        .clock(time.clock())
        .build()
        .unwrap();
    let mut flusher = Box::pin(tasks.try_recv().unwrap());
    back.put(1, 1).unwrap();
    assert!(poll(flusher.as_mut()).is_pending());
    assert_eq!(store.writes(), 0);
    assert_eq!(back.stats().oldest, Some(Duration::ZERO));
    for round in 1..=3 {
        time.advance(SECOND);
        assert!(poll(flusher.as_mut()).is_pending());
        assert_eq!((store.writes(), back.stats().dirty), (round, 0));
        back.put(1, 1).unwrap();
    }
    drop(back);
    assert!(poll(flusher.as_mut()).is_ready());
}

#[test]
fn a_change_that_waits_for_room_has_the_background_make_some() {
    let (store, time) = (Store::new(), ManualClock::new());
    let (executor, tasks) = by_hand();
    let back = over(&store)
        .max_dirty(2)
        .when_full(WhenFull::Wait)
        .flush_every(3600 * SECOND, executor)
        .clock(time.clock())
        .build()
        .unwrap();
    let mut flusher = Box::pin(tasks.try_recv().unwrap());
    assert!(poll(flusher.as_mut()).is_pending());
    back.put(1, 1).unwrap();
    back.put(2, 2).unwrap();
    let mut third = pin!(back.put_async(3, 3));
    assert!(poll(third.as_mut()).is_pending());
    assert_eq!(store.writes(), 0, "the caller does not call the store");
    assert!(poll(flusher.as_mut()).is_pending());
    assert_eq!(store.writes(), 2);
    assert!(matches!(poll(third.as_mut()), Poll::Ready(Ok(()))));
    let mut close = pin!(back.close_async());
    assert!(poll(close.as_mut()).is_pending(), "the task has not ended");
    assert!(poll(flusher.as_mut()).is_ready());
    assert!(poll(close.as_mut()).is_ready());
    assert_eq!(store.writes(), 3);
}

/// Threads and tasks write rising values under keys of their own, some keys
/// shared; others flush; the buffer is small and the store fails now and then.
#[test]
fn threads_and_tasks_lose_nothing_and_keep_the_order_of_each_key() {
    in_time(|| {
        const WRITERS: u32 = 4;
        const ROUNDS: u64 = 400;
        let faults = Faults::seeded(3).failing(0.05).uncertain(0.05).pausing(0.2);
        let store = Store::with_faults(faults.clone());
        let journal = MemoryJournal::new();
        let back = over(&store)
            .journal(journal.clone())
            .max_dirty(5)
            .batch_size(3)
            .retry(Duration::from_nanos(1), Duration::from_nanos(1))
            .build()
            .unwrap();
        let done = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (back, done) = (&back, &done);
                scope.spawn(move || {
                    for value in 1..=ROUNDS {
                        let key = writer * 10 + (value % 3) as u32;
                        if writer % 2 == 0 {
                            back.put(key, value).unwrap();
                        } else {
                            block_on(back.put_async(key, value)).unwrap();
                        }
                        assert_eq!(back.get(&key), Some(value));
                        back.put(99, value).unwrap();
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
            scope.spawn(|| {
                while done.load(Ordering::SeqCst) < WRITERS {
                    let _ = back.flush();
                    assert!(back.stats().dirty <= 10);
                }
            });
        });
        faults.restart();
        back.close().unwrap();
        assert!(journal.is_empty());
        let log = store.log();
        for writer in 0..WRITERS {
            for last in ROUNDS - 2..=ROUNDS {
                let key = writer * 10 + (last % 3) as u32;
                assert_eq!(store.get(&key), Some(last));
                let written = log.iter().filter(|write| write.0 == key);
                let values: Vec<_> = written.filter_map(|write| write.1.value()).collect();
                assert!(values.is_sorted(), "{key}: {values:?}");
            }
        }
        assert_eq!(back.get(&99), store.get(&99));
    });
}

#[test]
fn callers_that_wait_for_one_flush_all_wake_up() {
    in_time(|| {
        let (gate, store) = (Gate::new(), Store::new());
        let back = slow(&gate, &store, Cache::new(100)).build().unwrap();
        back.put(1, 1).unwrap();
        let returned = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    back.flush().unwrap();
                    returned.fetch_add(1, Ordering::SeqCst);
                });
            }
            gate.open(());
            until(|| returned.load(Ordering::SeqCst) == 4);
        });
        assert_eq!(store.writes(), 1);
    });
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let store = Store::new();
    let why = |builder: WriteBackBuilder<u32, u64>| builder.build().unwrap_err();
    let zero = why(over(&store).max_dirty(0));
    assert!(matches!(zero, BuildError::Zero { knob: "max_dirty" }));
    assert!(matches!(
        why(over(&store).batch_size(0)),
        BuildError::Zero { .. }
    ));
    let retry = why(over(&store).retry(Duration::ZERO, SECOND));
    assert!(matches!(retry, BuildError::ZeroDuration { knob: "retry" }));
    let shrinking = why(over(&store).retry(2 * SECOND, SECOND));
    assert!(matches!(shrinking, BuildError::Backoff { .. }));
    let nobody = why(over(&store).when_full(WhenFull::Wait));
    assert!(matches!(nobody, BuildError::NobodyFlushes));
    let full = why(over(&store).flush_every(SECOND, Executor::new(Err)));
    assert!(matches!(full, BuildError::NoRoomForFlusher));
    let pending = Pending::new();
    let first = over(&store).pending(&pending).build().unwrap();
    let second = why(over(&store).pending(&pending));
    assert!(matches!(second, BuildError::PendingInUse));
    drop(first);
    assert!(over(&store).pending(&pending).build().is_ok());
    let faults = Faults::none();
    faults.set_down(true);
    let unread = why(over(&store).journal(MemoryJournal::with_faults(faults)));
    assert!(matches!(unread, BuildError::Replay(_)));
}
