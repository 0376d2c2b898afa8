//! The real layer beside its model: a source that follows a script, tasks that
//! are polled by hand, and the comparison after every step.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenfold::cache::Cache;
use tenfold::cache::read_through::{Answer, GetError, Loaded, ReadThrough, RefreshAhead};
use tenfold::cache::tagged::Clear;
use tenfold::task::{Executor, Task};
use tenfold::time::{Jitter, ManualClock};

use super::{
    AGAIN, Config, Fault, HARD, KEYS, Key, Model, Op, Outcome, REST, Reply, SOFT, Script, Served,
    Tag, value_of,
};

type Layer = ReadThrough<Key, u32, ()>;

/// The real layer beside the model.
pub(super) struct World {
    model: Model,
    layer: Layer,
    time: ManualClock,
    source: Arc<Mutex<Source>>,
    tasks: Tasks,
}

struct Source {
    script: Script,
    calls: [u32; KEYS as usize],
    /// Where slow loads look for their reply.
    slow: Vec<(Key, Arc<Mutex<Option<Reply>>>)>,
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        let time = ManualClock::new();
        let source = Arc::new(Mutex::new(Source {
            script: Script::Slow,
            calls: [0; KEYS as usize],
            slow: Vec::new(),
        }));
        let tasks = Tasks::default();
        let layer = layer(&config, &time, &source, &tasks);
        let model = Model {
            config,
            now: time.now(),
            entries: BTreeMap::new(),
            loads: Vec::new(),
            calls: [0; KEYS as usize],
        };
        Self {
            model,
            layer,
            time,
            source,
            tasks,
        }
    }

    pub(super) fn step(&mut self, op: Op, step: usize) {
        match op {
            Op::Get(key, script) => {
                self.script(script);
                let expected = self.model.get(key, script);
                let found = self.get(key, None);
                assert_eq!(found, expected, "step {step}, {op:?}");
            }
            Op::GetWhileFinishing(key, reply) => {
                self.script(Script::Now(if self.model.loading(key) {
                    AGAIN
                } else {
                    reply
                }));
                let expected = self.model.get_while_finishing(key, reply);
                let found = self.get(key, Some(reply));
                assert_eq!(found, expected, "step {step}, {op:?}");
            }
            Op::GetMany(bits, reply) => {
                self.script(Script::Now(reply));
                let keys: Vec<Key> = (0..KEYS)
                    .filter(|key| bits >> key & 1 == 1 && !self.model.loading(*key))
                    .collect();
                let expected = self.model.get_many(&keys, reply);
                let found = self.get_many(&keys);
                assert_eq!(found, expected, "step {step}, {op:?}");
            }
            op => {
                self.change(op);
                self.model.change(op);
            }
        }
    }

    fn script(&self, script: Script) {
        self.source.lock().unwrap().script = script;
    }

    fn change(&mut self, op: Op) {
        let loaded = |value: Option<u32>, ttl: Option<u8>, tag: Option<Tag>| {
            loaded(value.map_or_else(Loaded::absent, Loaded::value), ttl, tag)
        };
        match op {
            Op::Insert(key, ttl, tag) => {
                let call = {
                    let mut source = self.source.lock().unwrap();
                    source.calls[usize::from(key)] += 1;
                    source.calls[usize::from(key)]
                };
                let entry = loaded(Some(value_of(key, call)), ttl, tag);
                self.layer.insert_with(key, entry);
            }
            Op::InsertAbsent(key) => self.layer.insert_with(key, loaded(None, None, None)),
            Op::Invalidate(key) => self.layer.invalidate(&key),
            Op::Expire(key) => _ = self.layer.expire(&key),
            Op::InvalidateTag(tag) => self.layer.invalidate_tag(name(tag)),
            Op::ClearExpire => self.layer.clear(Clear::Expire),
            Op::ClearRemove => self.layer.clear(Clear::Remove),
            Op::Advance(seconds) => self.time.advance(Model::seconds(seconds)),
            Op::DropTasks => {
                self.tasks.drop_all();
                self.source.lock().unwrap().slow.clear();
            }
            Op::Finish(key, reply) => self.finish(key, reply),
            Op::Get(..) | Op::GetWhileFinishing(..) | Op::GetMany(..) => {}
        }
    }

    fn finish(&self, key: Key, reply: Reply) {
        let mut source = self.source.lock().unwrap();
        source.slow.retain(|(slow, place)| {
            if *slow == key {
                *place.lock().unwrap() = Some(reply);
            }
            *slow != key
        });
        drop(source);
        self.tasks.run();
    }

    /// Asks for a key as a task, for as long as it takes; ends slow loads of
    /// it meanwhile if there is a reply for them.
    fn get(&self, key: Key, reply: Option<Reply>) -> Outcome {
        let mut call = pin!(self.layer.get_entry_async(&key));
        let mut polled = poll(call.as_mut());
        self.tasks.run();
        if let Some(reply) = reply {
            self.finish(key, reply);
        }
        for wait in [Duration::ZERO, Duration::ZERO, SOFT, REST] {
            if polled.is_ready() {
                break;
            }
            // Only who waits for a slow load is made to wait.
            if !wait.is_zero() && !self.model_waits() {
                break;
            }
            self.time.advance(wait);
            polled = poll(call.as_mut());
            self.tasks.run();
        }
        match polled {
            Poll::Ready(answer) => Some(answer.map(outcome).map_err(fault)),
            Poll::Pending => None,
        }
    }

    /// Whether time has passed in the model that has not passed here.
    fn model_waits(&self) -> bool {
        self.model.now > self.time.now()
    }

    fn get_many(&self, keys: &[Key]) -> Vec<Result<Option<u32>, Fault>> {
        let mut call = pin!(self.layer.get_many_async(keys));
        for _ in 0..=2 * keys.len() {
            if let Poll::Ready(answers) = poll(call.as_mut()) {
                self.tasks.run();
                return answers
                    .into_iter()
                    .map(|answer| answer.map_err(fault))
                    .collect();
            }
            self.tasks.run();
        }
        panic!("nothing is slow, and the call waits");
    }

    pub(super) fn compare(&self, step: usize, op: Op) {
        assert_eq!(self.time.now(), self.model.now, "step {step}, {op:?}");
        for key in 0..KEYS {
            let (found, expected) = (self.layer.peek(&key), self.model.held(key));
            assert_eq!(found, expected, "step {step}, {op:?}: key {key}");
        }
        let calls = self.source.lock().unwrap().calls;
        assert_eq!(calls, self.model.calls, "step {step}, {op:?}: calls");
    }
}

fn layer(config: &Config, time: &ManualClock, source: &Arc<Mutex<Source>>, tasks: &Tasks) -> Layer {
    let cache = Cache::builder().max_entries(100).clock(time.clock());
    let mut layer = ReadThrough::builder(cache.jitter(Jitter::none()).seed(1));
    let seconds = |seconds: u8| Duration::from_secs(seconds.into());
    if let Some(time_to_live) = config.time_to_live {
        layer = layer.time_to_live(seconds(time_to_live));
    }
    if let Some(negative_ttl) = config.negative_ttl {
        layer = layer.negative_ttl(seconds(negative_ttl));
    }
    if let Some(max_stale) = config.max_stale {
        layer = layer
            .stale_on_error(seconds(max_stale))
            .throttle(seconds(config.throttle));
    }
    if let Some(keep_stale) = config.keep_stale {
        layer = layer.keep_stale(seconds(keep_stale));
    }
    if config.refreshes_ahead {
        layer = layer.refresh_ahead(RefreshAhead::after(0.5));
    }
    if config.soft() {
        layer = layer.soft_timeout(SOFT);
    }
    if config.hard_timeout {
        layer = layer.hard_timeout(HARD);
    }
    if config.loads_many {
        let source = Arc::clone(source);
        layer = layer.async_batch_loader(move |keys: Vec<Key>| {
            let replies: Vec<_> = keys
                .into_iter()
                .map(|key| (key, ask(&source, key)))
                .collect();
            async move {
                let mut found = Vec::new();
                for (key, reply) in replies {
                    found.push((key, reply.await?));
                }
                Ok(found)
            }
        });
    }
    let source = Arc::clone(source);
    layer
        .executor(tasks.executor())
        .async_loader(move |request| ask(&source, *request.key()))
        .build()
        .expect("the configuration is coherent")
}

fn ask(
    source: &Mutex<Source>,
    key: Key,
) -> impl Future<Output = Result<Loaded<u32>, ()>> + Send + use<> {
    let mut source = source.lock().unwrap();
    let call = &mut source.calls[usize::from(key)];
    *call += 1;
    let value = value_of(key, *call);
    let place = match source.script {
        Script::Now(reply) => Arc::new(Mutex::new(Some(reply))),
        Script::Slow => {
            let place = Arc::new(Mutex::new(None));
            source.slow.push((key, Arc::clone(&place)));
            place
        }
    };
    async move {
        // Whoever runs it polls it again by hand.
        let reply = poll_fn(|_| match *place.lock().unwrap() {
            Some(reply) => Poll::Ready(reply),
            None => Poll::Pending,
        });
        match reply.await {
            Reply::Value { ttl, tag } => Ok(loaded(Loaded::value(value), ttl, tag)),
            Reply::Absent => Ok(Loaded::absent()),
            Reply::NotModified => Ok(Loaded::not_modified()),
            Reply::Fail => Err(()),
        }
    }
}

fn loaded(mut loaded: Loaded<u32>, ttl: Option<u8>, tag: Option<Tag>) -> Loaded<u32> {
    if let Some(ttl) = ttl {
        loaded = loaded.time_to_live(Model::seconds(ttl));
    }
    if let Some(tag) = tag {
        loaded = loaded.tag(name(tag));
    }
    loaded
}

fn name(tag: Tag) -> String {
    format!("tag {tag}")
}

fn outcome(answer: Answer<u32>) -> Served {
    let (origin, age) = (answer.origin(), answer.age());
    (answer.into_value(), origin, age)
}

fn fault(error: GetError<()>) -> Fault {
    match error {
        GetError::Failed(_) => Fault::Failed,
        GetError::TimedOut { .. } => Fault::TimedOut,
        GetError::NothingToRenew => Fault::NothingToRenew,
        other => panic!("nothing here leads to {other:?}"),
    }
}

/// Takes tasks in, and polls them by hand.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<Pin<Box<Task>>>>>);

impl Tasks {
    fn executor(&self) -> Executor {
        // Weak, for a task holds its layer, and that its executor.
        let tasks = Arc::downgrade(&self.0);
        Executor::new(move |task| match tasks.upgrade() {
            Some(tasks) => {
                tasks.lock().unwrap().push(Box::pin(task));
                Ok(())
            }
            None => Err(task),
        })
    }

    fn run(&self) {
        let mut tasks = std::mem::take(&mut *self.0.lock().unwrap());
        tasks.retain_mut(|task| poll(task.as_mut()).is_pending());
        self.0.lock().unwrap().append(&mut tasks);
    }

    fn drop_all(&self) {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap());
        drop(tasks);
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
