//! Pools whose callers are tasks.

use std::future::Future;
use std::hint::black_box;
use std::ops::Deref;

use tokio::runtime;

/// What is lent: nothing but its own number.
pub(super) type Connection = u64;

/// A pool whose callers are tasks, as its users call it.
pub(super) trait TaskPool: Clone + Send + Sync + 'static {
    type Lent<'a>: Deref<Target = Connection> + Send
    where
        Self: 'a;

    fn lend(&self) -> impl Future<Output = Self::Lent<'_>> + Send;
}

/// Lends and takes back so many times.
pub(super) type Lend = Box<dyn FnMut(usize)>;

/// All connections are made; a task then has one lent and gives it back, and another. The runtime is entered once.
pub(super) fn one_task<P: TaskPool>(make: impl FnOnce() -> P) -> Lend {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let guard = runtime.enter();
    let pool = make();
    drop(guard);
    runtime.block_on(fill(&pool));
    Box::new(move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                black_box(*pool.lend().await);
            }
        });
    })
}

/// Has all connections made.
pub(super) async fn fill(pool: &impl TaskPool) {
    let mut lent = Vec::new();
    for _ in 0..super::CONNECTIONS {
        lent.push(pool.lend().await);
    }
}
