//! Sessions that are served from copies while their store is down: when, for how long, and when never.

#[path = "session_stale/copies.rs"]
mod copies;
#[path = "session_stale/ends.rs"]
mod ends;
#[path = "session_stale/failures.rs"]
mod failures;
#[path = "session_stale/flaky.rs"]
mod flaky;
mod session_store;
#[cfg(feature = "axum")]
#[path = "session_stale/web.rs"]
mod web;

use std::sync::Arc;
use std::time::Duration;

use flaky::{Flaky, Held};
use session_store::{Bed, Knobs, begin, every_promise};
use tenfold::session::serve_stale::{ServeStale, ServeStaleBuilder};
use tenfold::session::{
    AsyncSessionStore, Loaded, MemoryStore, SessionToken, Unavailable, Version, WallClock,
};
use tenfold::time::ManualClock;
use tokio::task::JoinHandle;

/// While the store is there nobody can tell the difference.
mod in_front_of_a_store_that_answers {
    super::every_promise!(super::Front::default());
}

#[derive(Default)]
struct Front {
    clock: ManualClock,
}

impl Bed for Front {
    type Store = ServeStale<MemoryStore>;

    async fn store(&self, knobs: Knobs) -> Self::Store {
        let wall = WallClock::manual(&self.clock, START);
        let memory = MemoryStore::builder()
            .clock(wall.clone())
            .idle(knobs.idle)
            .absolute(knobs.absolute)
            .touch_every(knobs.touch_every)
            .max_per_user(knobs.max_per_user, knobs.per_user)
            .max_data(knobs.max_data)
            .build()
            .unwrap();
        let builder = ServeStale::builder(memory).wall_clock(wall);
        builder.clock(self.clock.clock()).build().unwrap()
    }

    async fn pass(&self, _store: &Self::Store, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

const START: u64 = 1_700_000_000;
const SECOND: Duration = Duration::from_secs(1);

struct World {
    clock: ManualClock,
    store: Arc<ServeStale<Flaky>>,
}

fn run(test: impl AsyncFnOnce(World)) {
    run_with(|builder| builder, test);
}

/// Sessions live for 60 seconds of idleness and 100 in all.
fn run_with(
    set: impl FnOnce(ServeStaleBuilder<Flaky>) -> ServeStaleBuilder<Flaky>,
    test: impl AsyncFnOnce(World),
) {
    let clock = ManualClock::new();
    let wall = WallClock::manual(&clock, START);
    let memory = MemoryStore::builder()
        .clock(wall.clone())
        .idle(SECOND * 60)
        .absolute(SECOND * 100)
        .build()
        .unwrap();
    let builder = ServeStale::builder(Flaky::new(memory)).wall_clock(wall);
    let store = set(builder.clock(clock.clock())).build().unwrap();
    let store = Arc::new(store);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(test(World { clock, store }));
}

impl World {
    fn below(&self) -> &Flaky {
        self.store.store()
    }

    /// A session of Ada's that was loaded, so that there is a copy.
    async fn known(&self) -> (SessionToken, Version) {
        let begun = begin(&*self.store, Some("ada"), b"1 lamp").await;
        assert!(self.store.load(&begun.0).await.unwrap().is_some());
        begun
    }

    /// Whether what is loaded comes from a copy.
    async fn is_stale(&self, token: &SessionToken) -> bool {
        let loaded = self.store.load(token).await.unwrap();
        loaded.expect("nobody has ended it").stale().is_some()
    }

    /// Whether it can be loaded from a copy when the store is down.
    async fn is_served(&self, token: &SessionToken) -> bool {
        self.below().go_down();
        let served = self.store.load(token).await;
        self.below().come_back();
        match served {
            Ok(Some(loaded)) => loaded.stale().is_some(),
            Ok(None) => panic!("nobody knows whether there is one"),
            Err(_) => false,
        }
    }
    /// Does something to a session beside the test.
    fn spawn<T, F>(
        &self,
        token: &SessionToken,
        act: impl FnOnce(Arc<ServeStale<Flaky>>, SessionToken) -> F,
    ) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        tokio::spawn(act(Arc::clone(&self.store), token.clone()))
    }

    /// A load that the store has answered, and that has not heard it yet.
    async fn load_held_after(&self, token: &SessionToken) -> (Arc<Held>, JoinHandle<Load>) {
        let held = self.below().hold_next_after();
        let load = self.spawn(
            token,
            |store, token| async move { store.load(&token).await },
        );
        held.reached().await;
        (held, load)
    }
}

type Load = Result<Option<Loaded>, Unavailable>;
