//! A contender that is full, and how it is put to work.

use std::sync::Arc;
use std::time::Instant;

use cpu_time::ThreadTime;
use tenfold::rng::Rng;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;

use super::subject::Store;
use super::work::Work;
use crate::counting;
use crate::report::Progress;

pub(super) struct Lane {
    pub(super) name: &'static str,
    /// What was asked of the allocator for each session.
    pub(super) bytes: f64,
    /// So many operations on each of so many threads: how many a second, for each part of the work.
    run: Box<dyn FnMut(Work, usize, usize) -> Vec<f64>>,
}

impl Lane {
    /// Fills a store.
    ///
    /// # Errors
    ///
    /// If a runtime cannot be started.
    pub(super) fn full<S: Store>(sessions: usize, progress: &mut Progress) -> Result<Self, String> {
        let runtime = |builder: &mut Builder| {
            let built = builder.build();
            built.map_err(|e| format!("a runtime cannot be started: {e}"))
        };
        let alone = runtime(&mut Builder::new_current_thread())?;
        let together = runtime(Builder::new_multi_thread().worker_threads(2))?;
        let mut cookies = Vec::with_capacity(sessions);
        counting::start();
        let before = counting::live_bytes();
        let store = Arc::new(S::new(sessions));
        let held = alone.block_on(async {
            let mut held = 0;
            for user in 0..sessions as u64 {
                let token = store.begin(user).await;
                let bytes = counting::live_bytes();
                cookies.push(S::write(&token));
                // The browsers' part is not the store's.
                held += counting::live_bytes() - bytes;
            }
            held
        });
        let bytes = (counting::live_bytes() - before - held) as f64 / sessions as f64;
        counting::stop();
        let world = World {
            store,
            cookies: cookies.into(),
        };
        progress.step(S::NAME);
        let mut seed = 0;
        Ok(Self {
            name: S::NAME,
            bytes,
            run: Box::new(move |work, threads, times| {
                seed += 2;
                if threads == 1 {
                    let worked = world.work::<Processor>(work, times, seed);
                    return per_second(times, &[alone.block_on(worked)]);
                }
                world.together(&together, work, times, seed)
            }),
        })
    }

    pub(super) fn run(&mut self, work: Work, threads: usize, times: usize) -> Vec<f64> {
        (self.run)(work, threads, times)
    }
}

/// Of each part of the work, how many operations a second on all threads.
fn per_second(times: usize, threads: &[Vec<f64>]) -> Vec<f64> {
    let parts = threads.first().map_or(0, Vec::len);
    let sum = |part: usize| threads.iter().map(|took| times as f64 / took[part]).sum();
    (0..parts).map(sum).collect()
}

/// A store, and the cookies that open its sessions; of the sessions of users by number.
struct World<S: Store> {
    store: Arc<S>,
    cookies: Arc<[String]>,
}

impl<S: Store> Clone for World<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            cookies: Arc::clone(&self.cookies),
        }
    }
}

impl<S: Store> World<S> {
    fn together(&self, runtime: &Runtime, work: Work, times: usize, seed: u64) -> Vec<f64> {
        let barrier = Arc::new(Barrier::new(2));
        let tasks = [seed, seed + 1].map(|seed| {
            let (world, barrier) = (self.clone(), Arc::clone(&barrier));
            runtime.spawn(async move {
                barrier.wait().await;
                world.work::<Clock>(work, times, seed).await
            })
        });
        let took = tasks.map(|task| runtime.block_on(task).expect("nothing panics"));
        per_second(times, &took)
    }

    /// Seconds for each part of the work.
    async fn work<W: Watch>(&self, work: Work, times: usize, seed: u64) -> Vec<f64> {
        match work {
            Work::BeginAndEnd => self.begin_and_end::<W>(times).await,
            Work::Load { reads } => vec![self.load::<W>(times, seed, reads).await],
            Work::Save => vec![self.save::<W>(times, seed).await],
            Work::Mixed => vec![self.mixed::<W>(times, seed).await],
        }
    }

    async fn begin_and_end<W: Watch>(&self, times: usize) -> Vec<f64> {
        let mut begun = Vec::with_capacity(times);
        let watch = W::start();
        for number in 0..times {
            let user = self.cookies.len() + number;
            begun.push(self.store.begin(user as u64).await);
        }
        let begin = watch.seconds();
        let watch = W::start();
        for token in &begun {
            assert!(self.store.end(token).await);
        }
        vec![begin, watch.seconds()]
    }

    async fn load<W: Watch>(&self, times: usize, seed: u64, reads: bool) -> f64 {
        let mut rng = Rng::with_seed(seed);
        let mut seconds = 0.0;
        for _ in 0..times / AT_ONCE {
            let requests = self.requests(&mut rng);
            let watch = W::start();
            for (user, cookie) in &requests {
                let (_, session) = self.answer(cookie).await;
                assert!(!reads || S::user(&session) == *user);
            }
            seconds += watch.seconds();
        }
        seconds
    }

    /// Only the save is timed, of sessions that were loaded and changed before.
    async fn save<W: Watch>(&self, times: usize, seed: u64) -> f64 {
        let mut rng = Rng::with_seed(seed);
        let mut seconds = 0.0;
        let mut loaded = Vec::with_capacity(AT_ONCE);
        for _ in 0..times / AT_ONCE {
            for (_, cookie) in self.requests(&mut rng) {
                let (token, mut session) = self.answer(&cookie).await;
                S::change(&mut session, rng.below(10));
                loaded.push((token, session));
            }
            let watch = W::start();
            for (token, session) in loaded.drain(..) {
                self.store.save(&token, session).await;
            }
            seconds += watch.seconds();
        }
        seconds
    }

    /// Loads; of twenty one changes and saves what it has loaded.
    async fn mixed<W: Watch>(&self, times: usize, seed: u64) -> f64 {
        let mut rng = Rng::with_seed(seed);
        let mut seconds = 0.0;
        for _ in 0..times / AT_ONCE {
            let requests = self.requests(&mut rng);
            let watch = W::start();
            for (number, (_, cookie)) in requests.iter().enumerate() {
                let (token, mut session) = self.answer(cookie).await;
                if number % 20 == 0 {
                    S::change(&mut session, rng.below(10));
                    self.store.save(&token, session).await;
                }
            }
            seconds += watch.seconds();
        }
        seconds
    }

    /// Requests of any users, as they have just come over the network: copied to where memory is near.
    fn requests(&self, rng: &mut Rng) -> Vec<(u64, String)> {
        let any = || {
            let user = rng.below(self.cookies.len() as u64);
            (user, self.cookies[user as usize].clone())
        };
        std::iter::repeat_with(any).take(AT_ONCE).collect()
    }

    /// What every request begins with.
    async fn answer(&self, cookie: &str) -> (S::Token, S::Session) {
        let token = S::read(cookie).expect("it is a cookie of this store's");
        let session = self.store.load(&token).await.expect("it lives");
        (token, session)
    }
}

/// Requests that are at hand before the watch starts.
pub(super) const AT_ONCE: usize = 100;

/// What time it is that is measured.
trait Watch {
    fn start() -> Self;
    fn seconds(&self) -> f64;
}

/// The processor's, for this thread.
struct Processor(ThreadTime);

impl Watch for Processor {
    fn start() -> Self {
        Self(ThreadTime::now())
    }

    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

struct Clock(Instant);

impl Watch for Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
