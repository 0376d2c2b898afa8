//! The promises of a store of sessions, kept by the one in memory through the trait that all
//! stores have.

mod session_store;

use session_store::{Bed, Knobs, every_promise};
use tenfold::session::{MemoryStore, WallClock};
use tenfold::time::ManualClock;

#[derive(Default)]
struct Memory {
    clock: ManualClock,
}

impl Bed for Memory {
    type Store = MemoryStore;

    async fn store(&self, knobs: Knobs) -> MemoryStore {
        MemoryStore::builder()
            .clock(WallClock::manual(&self.clock, 1_700_000_000))
            .idle(knobs.idle)
            .absolute(knobs.absolute)
            .touch_every(knobs.touch_every)
            .max_per_user(knobs.max_per_user, knobs.per_user)
            .max_data(knobs.max_data)
            .build()
            .unwrap()
    }

    async fn pass(&self, _store: &MemoryStore, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds));
    }
}

every_promise!(Memory::default());
