//! Read models: a state that is a fold over the events of a queue, and knows how far it is.
//!
//! # The bad day
//!
//! Orders are events; what was sold per day is kept beside them. The process dies between
//! the two writes, and the events that come again are counted twice:
//!
#![cfg_attr(feature = "test-util", doc = "```")]
#![cfg_attr(not(feature = "test-util"), doc = "```ignore")]
//! use std::convert::Infallible;
//! use tenfold::queue::projection::{MemoryStore, Projection};
//! use tenfold::queue::{Event, Queue, Retention, storage::SimDisk};
//!
//! let disk = SimDisk::new(1);
//! let open = || Queue::builder().retention(Retention::All).open_on(disk.clone());
//! let orders = open()?;
//! orders.publish_batch(&["30".into(), "12".into()])?;
//!
//! // Without: the sum is saved, and then the answer is lost with the process.
//! let amount = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<u64>().unwrap();
//! let mut saved = 0;
//! for order in orders.consumer().recv_batch(10)? {
//!     saved += amount(&order);
//! } // kill -9 before the ack
//! disk.kill();
//! let orders = open()?;
//! for order in orders.consumer().recv_batch(10)? {
//!     saved += amount(&order);
//!     order.ack()?;
//! }
//! assert_eq!(saved, 84); // 42 were sold
//!
//! // With: the sum and how far it is are saved together.
//! let store = MemoryStore::<u64>::new(); // a file or a table, in a program
//! let sum = move |sum: &mut u64, order: &Event| {
//!     *sum += amount(order.payload());
//!     Ok::<(), Infallible>(())
//! };
//! let mut sold = Projection::builder("sold", sum).open(&orders, store.clone())?;
//! sold.run_once(1)?;
//! disk.kill(); // in the middle
//! let orders = open()?;
//! let mut sold = Projection::builder("sold", sum).open(&orders, store.clone())?;
//! sold.catch_up(1000)?;
//! assert_eq!((sold.state(), sold.position(), sold.lag()), (Some(&42), Some(2), 0));
//! sold.rebuild(1000)?; // from the first event on, whatever was wrong before
//! assert_eq!(store.saved(), Some((2, 42)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! ```text
//! load       state and position                          nothing yet: Default, 0
//! run_once   position + 1, + 2, ... -> fold               as many as asked for
//!            -> save state and position, at once          the only step that counts
//!            -> tell the group that those are done        so that they may be given up
//! ```
//!
//! A queue delivers at least once. Here nothing is delivered: events are read by their
//! numbers, from the one behind the position on, and since the position is saved with what
//! it stands for, each counts once. Whatever a crash interrupts was not saved, and is
//! folded again from what was.
//!
//! Events come in the order in which they were published. Priority, delay and time to live
//! are for workers, and are not looked at here.
//!
//! # The store
//!
//! [`ProjectionStore`] is two calls, and their one promise is that state and position are
//! saved together, and last. [`FileStore`] is a file that is renamed into its place,
//! [`MemoryStore`] is for tests. Where the state belongs into a database, a transaction does
//! it, and the state may note which rows it touched:
//!
//! ```
//! use std::collections::{BTreeMap, BTreeSet};
//! use rusqlite::{Connection, Error, OptionalExtension, Transaction, params};
//! use tenfold::queue::projection::ProjectionStore;
//!
//! #[derive(Default, Clone)]
//! struct Stock {
//!     pieces: BTreeMap<u32, i64>,
//!     touched: BTreeSet<u32>,
//! }
//!
//! struct Table(Connection);
//!
//! impl ProjectionStore<Stock> for Table {
//!     type Error = Error;
//!
//!     fn load(&mut self) -> Result<Option<(u64, Stock)>, Error> {
//!         let place = self.0.query_row("SELECT position FROM place", [], |row| row.get(0));
//!         let Some(position) = place.optional()?.map(i64::cast_unsigned) else {
//!             return Ok(None);
//!         };
//!         let mut rows = self.0.prepare("SELECT item, pieces FROM stock")?;
//!         let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
//!         let pieces = rows.collect::<Result<_, _>>()?;
//!         Ok(Some((position, Stock { pieces, ..Stock::default() })))
//!     }
//!
//!     fn save(&mut self, position: u64, state: &mut Stock) -> Result<(), Error> {
//!         let transaction = self.0.transaction()?;
//!         write(&transaction, position, state)?;
//!         transaction.commit()?;
//!         state.touched.clear();
//!         Ok(())
//!     }
//!
//!     fn replace(&mut self, position: u64, state: &mut Stock) -> Result<(), Error> {
//!         let transaction = self.0.transaction()?;
//!         transaction.execute("DELETE FROM stock", [])?;
//!         write(&transaction, position, state)?; // all are touched
//!         transaction.commit()?;
//!         state.touched.clear();
//!         Ok(())
//!     }
//! }
//!
//! fn write(transaction: &Transaction<'_>, position: u64, state: &Stock) -> Result<(), Error> {
//!     for item in &state.touched {
//!         let row = params![item, state.pieces[item]];
//!         transaction.execute("INSERT OR REPLACE INTO stock VALUES (?1, ?2)", row)?;
//!     }
//!     let place = "INSERT OR REPLACE INTO place (id, position) VALUES (1, ?1)";
//!     transaction.execute(place, [position.cast_signed()]).map(drop)
//! }
//!
//! let connection = Connection::open_in_memory()?;
//! connection.execute_batch(
//!     "CREATE TABLE stock (item INTEGER PRIMARY KEY, pieces INTEGER);
//!      CREATE TABLE place (id INTEGER PRIMARY KEY, position INTEGER);",
//! )?;
//! let mut table = Table(connection);
//! let mut stock = Stock { pieces: [(7, 3)].into(), touched: [7].into() };
//! table.save(12, &mut stock)?;
//! assert_eq!(table.load()?.map(|(position, stock)| (position, stock.pieces[&7])), Some((12, 3)));
//! # Ok::<(), Error>(())
//! ```
//!
//! # What you can rely on
//!
//! * **The saved state is the fold of the events up to the saved position**, dead ones left
//!   out, after any crash in any step.
//! * **No reader of the store sees a state half rebuilt.** A rebuild happens in memory, and
//!   takes the old state's place in one save.
//! * **Nothing is folded that a power cut could take back**: the queue is synced first.
//! * **What the fold refuses changes nothing.** An event on which it returns an error or
//!   panics is undone, whatever it had changed, and then stops the projection or goes to the
//!   group's dead letters, as [`Poison`] says.
//! * **Events it has not saved are kept** by its group, for as long as it exists.
//!   [`Queue::remove_group`](super::Queue::remove_group) ends that.
//!
//! # Numbers that are missing
//!
//! Numbers of events grow, and some are missing: those of messages that were never
//! confirmed, and those that the medium lost. They are passed over and counted in
//! [`Caught::missing`]. If the *first* events are gone, a fold from the start is not the state:
//! that is [`ProjectionError::Gone`], unless [`accept_gone`](ProjectionBuilder::accept_gone) was
//! said. A queue that is an event log keeps its messages: `retention(Retention::All)`.
//!
//! # What it costs
//!
//! A read, the fold and a save per batch. An event that is refused costs a load and a second
//! fold of its batch; in a rebuild, a copy of the state per batch.
//!
//! # What it is not
//!
//! Not a task: it works when it is called; [`Projection::wait`] blocks until there is something
//! to do. And not for the outside world: a mail that the fold sends may be sent twice.

mod builder;
mod error;
mod file_store;
#[allow(
    clippy::module_inception,
    reason = "the module's main type has its name"
)]
mod projection;
mod store;
mod upkeep;

pub use builder::{Poison, ProjectionBuilder};
pub use error::ProjectionError;
pub use file_store::{FileStore, FileStoreError};
pub use projection::{Caught, Projection};
pub use store::{MemoryStore, ProjectionStore};
