//! Many keys at once: what is there is taken, what others load is waited for
//! last, and the rest is loaded in one call.
//!
//! The order is what makes it safe: whoever holds leaders runs and lands them
//! before it waits for anybody, so of two calls with common keys neither waits
//! for a leader that waits for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::ask::{Ask, Step};
use super::look_up::Found;
use super::shared::{Result as LoadResult, Shared};
use super::stats::Count;
use super::{Answer, GetError, Loaded, Origin};
use crate::cache::load::LoadTimer;
use crate::cache::load_key::LoadKey;
use crate::sync::flight::{Begun, Caller, InLine, Lead, begin, poll_through_all};
use crate::task::{Task, block_on};
use crate::time::Instant;

type Answers<V, E> = Vec<Option<Result<Answer<V>, GetError<E>>>>;

/// A call for many keys: what is answered, and what is open.
struct Batch<K, V, E> {
    /// By position.
    answers: Answers<V, E>,
    /// Positions whose key came before, and where.
    same: Vec<(usize, usize)>,
    open: Vec<(usize, Ask<K, V>)>,
}

/// A key that this call leads.
struct Member<K, V, E>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    hash: u64,
    key: K,
    lead: Lead<Arc<Shared<K, V, E>>>,
}

/// A key whose load goes on in a task, and this call's place in its line.
struct Placed<K, V, E>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    position: usize,
    ask: Ask<K, V>,
    place: InLine<Arc<Shared<K, V, E>>>,
}

/// Where the loads of a batch's members go on.
enum Under<K, V, E>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    /// Here, and each lands with its result.
    Way(Vec<(usize, Ask<K, V>)>, Vec<Member<K, V, E>>),
    /// In a task, which comes back if the executor had no room.
    Task(Option<Task>, Vec<Placed<K, V, E>>),
}

impl<K, V, E> Shared<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn get_many(self: &Arc<Self>, keys: &[K]) -> Vec<Result<Option<V>, GetError<E>>> {
        let mut batch = self.look_up_all(keys);
        match self.lead_all(&mut batch, Caller::Thread) {
            None => {}
            Some(Under::Way(asks, members)) => {
                let results = block_on(Arc::clone(self).load_all(members));
                self.take(&mut batch, asks, results);
            }
            Some(Under::Task(refused, places)) => {
                if let Some(task) = refused {
                    task.run();
                }
                for Placed {
                    position,
                    ask,
                    place,
                } in places
                {
                    batch.answers[position] = Some(self.drive(ask, Step::Wait(place)));
                }
            }
        }
        for (position, ask) in std::mem::take(&mut batch.open) {
            batch.answers[position] = Some(self.fetch(ask));
        }
        batch.into_values()
    }

    pub(super) async fn get_many_async(
        self: &Arc<Self>,
        keys: &[K],
    ) -> Vec<Result<Option<V>, GetError<E>>> {
        let mut batch = self.look_up_all(keys);
        match self.lead_all(&mut batch, Caller::Task) {
            None => {}
            Some(Under::Way(asks, members)) => {
                let results = Arc::clone(self).load_all(members).await;
                self.take(&mut batch, asks, results);
            }
            Some(Under::Task(refused, places)) => {
                if let Some(task) = refused {
                    task.await;
                }
                for Placed {
                    position,
                    ask,
                    place,
                } in places
                {
                    let answer = self.drive_async(ask, Step::Wait(place)).await;
                    batch.answers[position] = Some(answer);
                }
            }
        }
        for (position, ask) in std::mem::take(&mut batch.open) {
            batch.answers[position] = Some(self.fetch_async(ask).await);
        }
        batch.into_values()
    }

    fn look_up_all(self: &Arc<Self>, keys: &[K]) -> Batch<K, V, E> {
        let mut batch = Batch {
            answers: Vec::with_capacity(keys.len()),
            same: Vec::new(),
            open: Vec::new(),
        };
        let mut seen = HashMap::new();
        for (position, key) in keys.iter().enumerate() {
            let at = self.moment();
            let hash = self.core().hash(key);
            let answer = match self.look_up(hash, key, &at) {
                Found::Serves(served) => Some(self.served(served, at.now)),
                Found::RefreshDue(served) => {
                    self.refresh(hash, key.clone());
                    Some(self.served(served, at.now))
                }
                found => {
                    if let Some(first) = seen.get(key) {
                        batch.same.push((position, *first));
                        batch.answers.push(None);
                        continue;
                    }
                    seen.insert(key, position);
                    let stale = found.into_stale();
                    let guarded = stale.is_none().then(|| self.guarded(key)).flatten();
                    if guarded.is_none() {
                        let ask = self.ask(hash, key.clone(), at, stale);
                        batch.open.push((position, ask));
                    }
                    guarded
                }
            };
            batch.answers.push(answer.map(Ok));
        }
        batch
    }

    /// Leads what nobody leads, if the loader takes many keys at once. What
    /// others lead stays open.
    fn lead_all(
        self: &Arc<Self>,
        batch: &mut Batch<K, V, E>,
        caller: Caller,
    ) -> Option<Under<K, V, E>> {
        self.source.many.as_ref()?;
        let (mut asks, mut members) = (Vec::new(), Vec::new());
        for (position, ask) in std::mem::take(&mut batch.open) {
            let key = LoadKey::Own(ask.key.clone());
            match begin(Arc::clone(self), ask.hash, key, caller) {
                Ok(Begun::Found(cached)) => {
                    batch.answers[position] = Some(self.answer(&ask, Ok(cached), Origin::Fresh));
                }
                Ok(Begun::Lead(lead)) => {
                    let (hash, key) = (ask.hash, ask.key.clone());
                    members.push(Member { hash, key, lead });
                    asks.push((position, ask));
                }
                // Nobody may be promoted who does not look: its place is left.
                Ok(Begun::Follow(..) | Begun::Alone(..)) => batch.open.push((position, ask)),
                Err(refusal) => batch.answers[position] = Some(Err(refusal.into())),
            }
        }
        if members.is_empty() {
            return None;
        }
        if asks
            .iter()
            .all(|(_, ask)| ask.waits_until() == Instant::NEVER)
        {
            return Some(Under::Way(asks, members));
        }
        let mut places = Vec::with_capacity(asks.len());
        for ((position, ask), member) in asks.into_iter().zip(&members) {
            match member.lead.follow(caller) {
                Some(place) => {
                    let ask = ask.leading();
                    places.push(Placed {
                        position,
                        ask,
                        place,
                    });
                }
                None => batch.open.push((position, ask)),
            }
        }
        let shared = Arc::clone(self);
        let task = Task::new(async move {
            shared.load_all(members).await;
        });
        Some(Under::Task(self.spawn(task).err(), places))
    }

    /// Loads all keys that this call leads, and lands each.
    async fn load_all(self: Arc<Self>, members: Vec<Member<K, V, E>>) -> Vec<LoadResult<V, E>> {
        let Some(many) = self.source.many.clone() else {
            return Vec::new();
        };
        let mut begun = Vec::with_capacity(members.len());
        let (mut leads, mut keys) = (Vec::new(), Vec::new());
        for Member { hash, key, lead } in members {
            begun.push((hash, self.begin_load(hash, &key)));
            keys.push(key);
            leads.push(lead);
        }
        self.tally.count(Count::Batches);
        let mut timer = LoadTimer::new(self.core());
        timer.start();
        let asked = keys.clone();
        let news = poll_through_all(&leads, || many(asked)).await;
        let mut news = match news {
            Ok(news) => Ok(news.into_iter().collect::<HashMap<_, _>>()),
            Err(error) => Err(Arc::new(error)),
        };
        let found = news.as_ref().map_or(0, |news| {
            let has_value = |key: &&K| news.get(*key).is_some_and(Loaded::is_there);
            keys.iter().filter(has_value).count()
        });
        timer.stop_many(found as u64, (keys.len() - found) as u64);
        let mut results = Vec::with_capacity(keys.len());
        for ((lead, key), (hash, begun)) in leads.into_iter().zip(keys).zip(begun) {
            let news = match &mut news {
                Ok(news) => Ok(news.remove(&key).unwrap_or_else(Loaded::absent)),
                Err(error) => Err(Arc::clone(error)),
            };
            let result = self.settle(hash, &key, begun, news);
            results.push(Self::land(lead, result));
        }
        results
    }

    fn take(
        &self,
        batch: &mut Batch<K, V, E>,
        asks: Vec<(usize, Ask<K, V>)>,
        results: Vec<LoadResult<V, E>>,
    ) {
        for ((position, ask), result) in asks.into_iter().zip(results) {
            batch.answers[position] = Some(self.answer(&ask, result, Origin::Loaded));
        }
    }
}

impl<K, V: Clone, E> Batch<K, V, E> {
    fn into_values(mut self) -> Vec<Result<Option<V>, GetError<E>>> {
        for (position, first) in self.same {
            let answer = self.answers[first].clone();
            self.answers[position] = answer;
        }
        let answers = self.answers.into_iter();
        answers
            .map(|answer| {
                answer.map_or(Err(GetError::Abandoned), |answer| {
                    answer.map(Answer::into_value)
                })
            })
            .collect()
    }
}
