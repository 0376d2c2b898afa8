use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use crate::stats::Counters;
use crate::sync::Mutex;

/// Answers for keys that do not exist, so that nobody has to ask the store.
///
/// # The bad day
///
/// Somebody asks for a million keys that do not exist. A cache has nothing to
/// say to that: every one is a miss, and every miss a query.
///
/// ```
/// use std::collections::HashSet;
/// use std::sync::{Arc, Mutex};
/// use tenfold::cache::{Cache, Guard};
///
/// let users: Cache<u32, &str> = Cache::new(100);
/// // Any filter does that never denies what it was given; a set stands for it here.
/// let filter = Arc::new(Mutex::new(HashSet::from([7])));
/// let guard = Guard::new(
///     { let filter = Arc::clone(&filter); move |id: &u32| filter.lock().unwrap().contains(id) },
///     move |id: &u32| _ = filter.lock().unwrap().insert(*id),
/// );
/// let mut queries = 0;
/// for id in 0..1000 {
///     if guard.may_contain(&id) {
///         users.optionally_get_with(id, || { queries += 1; (id == 7).then_some("Ada") })?;
///     }
/// }
/// assert_eq!(queries, 1); // of 1000
/// # Ok::<(), tenfold::cache::LoadError<std::convert::Infallible>>(())
/// ```
///
/// The filter is two closures, typically over one bloom filter that can be
/// shared between threads.
///
/// # What you can rely on
///
/// * **Never a false "absent"**: once [`insert`](Self::insert) of a key has
///   returned, [`may_contain`](Self::may_contain) says so, whatever rebuilds
///   run, provided that the filter itself keeps that promise and that a rebuild
///   is given the keys that exist when it asks for them. So tell the guard of a
///   key right *after* you have written it to the store, before you tell anybody
///   else: told before, it may be forgotten again by a rebuild that does not find
///   the key in the store yet.
/// * **Deleted keys go at the next [`rebuild`](Self::rebuild)**, during which
///   the old filter answers and both learn what is inserted.
/// * The closures run under no lock and may call back into the guard.
///
/// # What it costs
///
/// A call takes a lock of a few instructions, to see which filter is in use:
/// it is meant for misses, where a load would follow. During a rebuild there are
/// two filters.
///
/// # What it is not
///
/// It knows nothing of other processes: a key that another one writes must be
/// told to this guard too, or the key is denied.
pub struct Guard<K: ?Sized> {
    state: Mutex<State<K>>,
    counters: Counters<2>,
}

/// What a [`Guard`] has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuardStats {
    /// Keys that were asked for.
    pub asked: u64,
    /// Those of them that do not exist, as the filter knew.
    pub absent: u64,
    /// Rebuilds that ended well.
    pub rebuilds: u64,
}

/// A rebuild of a [`Guard`] that did not happen; the old filter stays in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError<E> {
    /// Another rebuild is under way, whose filter would be lost.
    #[error("the guard is being rebuilt already: wait for that rebuild to end")]
    Running,
    /// The keys could not be read to their end.
    #[error("the keys to rebuild the guard from ended with an error")]
    Keys(#[source] E),
}

struct State<K: ?Sized> {
    current: Arc<Filter<K>>,
    /// The filter that a rebuild under way fills.
    next: Option<Arc<Filter<K>>>,
    rebuilds: u64,
}

struct Filter<K: ?Sized> {
    contains: Box<dyn Fn(&K) -> bool + Send + Sync>,
    insert: Box<dyn Fn(&K) + Send + Sync>,
}

impl<K: ?Sized> Guard<K> {
    /// A guard over a filter: `contains` may say "yes" to a key that is not
    /// there, but never "no" to one that `insert` was given before.
    pub fn new(
        contains: impl Fn(&K) -> bool + Send + Sync + 'static,
        insert: impl Fn(&K) + Send + Sync + 'static,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                current: Arc::new(Filter::new(contains, insert)),
                next: None,
                rebuilds: 0,
            }),
            counters: Counters::new(),
        }
    }

    /// Whether a key may exist; `false` is certain.
    pub fn may_contain(&self, key: &K) -> bool {
        let current = Arc::clone(&self.state.lock().current);
        let may_contain = (current.contains)(key);
        self.counters.add(ASKED, 1);
        if !may_contain {
            self.counters.add(ABSENT, 1);
        }
        may_contain
    }

    /// Notes that a key exists.
    pub fn insert(&self, key: &K) {
        let (current, mut next) = self.filters();
        (current.insert)(key);
        if let Some(next) = &next {
            (next.insert)(key);
        }
        // A rebuild that began meanwhile may have read its keys before this one
        // was there to be read, so its filter needs it too.
        let mut last = current;
        loop {
            let (current, now_next) = self.filters();
            let known = |filter: &Arc<Filter<K>>| {
                Arc::ptr_eq(filter, &last) || next.as_ref().is_some_and(|n| Arc::ptr_eq(filter, n))
            };
            let new = [Some(&current), now_next.as_ref()];
            let new: Vec<_> = new.into_iter().flatten().filter(|f| !known(f)).collect();
            if new.is_empty() {
                return;
            }
            for filter in new {
                (filter.insert)(key);
            }
            (last, next) = (current, now_next);
        }
    }

    /// Replaces the filter by a new, empty one filled with these keys: to grow,
    /// and to forget what was deleted. Blocks until it is done, while others go
    /// on asking and inserting.
    ///
    /// `keys` is called once inserts reach the new filter, so that a key either
    /// is there to be read, or is inserted later and reaches it that way: begin
    /// the scan of the store in it, not before.
    ///
    /// # Errors
    /// [`RebuildError::Running`] if another rebuild is under way.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use tenfold::cache::Guard;
    ///
    /// /// A filter of one word, for keys below 64.
    /// fn filter() -> (impl Fn(&u32) -> bool, impl Fn(&u32)) {
    ///     let bits = Arc::new(AtomicU64::new(0));
    ///     let also = Arc::clone(&bits);
    ///     let contains = move |key: &u32| also.load(Ordering::Relaxed) >> key & 1 == 1;
    ///     (contains, move |key: &u32| _ = bits.fetch_or(1 << key, Ordering::Relaxed))
    /// }
    ///
    /// let (contains, insert) = filter();
    /// let guard = Guard::new(contains, insert);
    /// guard.insert(&1);
    /// guard.insert(&2);
    /// let (contains, insert) = filter();
    /// guard.rebuild(contains, insert, || [2, 3])?;
    /// assert!(!guard.may_contain(&1));
    /// assert!(guard.may_contain(&2) && guard.may_contain(&3));
    /// # Ok::<(), tenfold::cache::RebuildError<std::convert::Infallible>>(())
    /// ```
    pub fn rebuild<I>(
        &self,
        contains: impl Fn(&K) -> bool + Send + Sync + 'static,
        insert: impl Fn(&K) + Send + Sync + 'static,
        keys: impl FnOnce() -> I,
    ) -> Result<(), RebuildError<Infallible>>
    where
        I: IntoIterator,
        I::Item: Borrow<K>,
    {
        self.try_rebuild(contains, insert, || keys().into_iter().map(Ok))
    }

    /// [`rebuild`](Self::rebuild) from keys whose reading may fail, as from a
    /// database. If it does, or panics, the old filter stays.
    ///
    /// # Errors
    /// [`RebuildError::Keys`] with the first error, and as
    /// [`rebuild`](Self::rebuild).
    pub fn try_rebuild<I, T, E>(
        &self,
        contains: impl Fn(&K) -> bool + Send + Sync + 'static,
        insert: impl Fn(&K) + Send + Sync + 'static,
        keys: impl FnOnce() -> I,
    ) -> Result<(), RebuildError<E>>
    where
        I: IntoIterator<Item = Result<T, E>>,
        T: Borrow<K>,
    {
        let filter = Arc::new(Filter::new(contains, insert));
        {
            let mut state = self.state.lock();
            if state.next.is_some() {
                drop(state);
                return Err(RebuildError::Running);
            }
            state.next = Some(Arc::clone(&filter));
        }
        let mut rebuild = Rebuild {
            guard: self,
            is_over: false,
        };
        for key in keys() {
            let key = key.map_err(RebuildError::Keys)?;
            (filter.insert)(key.borrow());
        }
        rebuild.finish();
        Ok(())
    }

    /// What the guard has done.
    pub fn stats(&self) -> GuardStats {
        GuardStats {
            asked: self.counters.get(ASKED),
            absent: self.counters.get(ABSENT),
            rebuilds: self.state.lock().rebuilds,
        }
    }

    fn filters(&self) -> (Arc<Filter<K>>, Option<Arc<Filter<K>>>) {
        let state = self.state.lock();
        (Arc::clone(&state.current), state.next.clone())
    }
}

impl<K: ?Sized> Filter<K> {
    fn new(
        contains: impl Fn(&K) -> bool + Send + Sync + 'static,
        insert: impl Fn(&K) + Send + Sync + 'static,
    ) -> Self {
        Self {
            contains: Box::new(contains),
            insert: Box::new(insert),
        }
    }
}

/// A rebuild under way. Dropped before it is finished, as by an error or a
/// panic in the keys, it leaves the old filter in use.
struct Rebuild<'a, K: ?Sized> {
    guard: &'a Guard<K>,
    /// Then the next filter, if there is one, is another rebuild's.
    is_over: bool,
}

impl<K: ?Sized> Rebuild<'_, K> {
    fn finish(&mut self) {
        let mut state = self.guard.state.lock();
        self.is_over = true;
        let Some(next) = state.next.take() else {
            unreachable!("only this rebuild takes its filter away");
        };
        let old = std::mem::replace(&mut state.current, next);
        state.rebuilds += 1;
        drop(state);
        // The closures' drops are user code: outside the lock.
        drop(old);
    }
}

impl<K: ?Sized> Drop for Rebuild<'_, K> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let abandoned = self.guard.state.lock().next.take();
        drop(abandoned);
    }
}

impl<K: ?Sized> fmt::Debug for Guard<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for GuardStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked,
            absent,
            rebuilds,
        } = self;
        write!(
            f,
            "{asked} keys asked for, {absent} known to be absent; {rebuilds} rebuilds"
        )
    }
}

const ASKED: usize = 0;
const ABSENT: usize = 1;

#[cfg(all(test, tenfold_shuttle))]
mod models {
    use shuttle::thread;

    use super::*;
    use crate::sync::atomic::{AtomicU64, Ordering};

    /// An exact filter of the keys below 64.
    fn filter() -> (
        impl Fn(&u64) -> bool + Send + Sync,
        impl Fn(&u64) + Send + Sync,
    ) {
        let bits = Arc::new(AtomicU64::new(0));
        let also = Arc::clone(&bits);
        (
            move |key: &u64| also.load(Ordering::SeqCst) >> key & 1 == 1,
            move |key: &u64| {
                // Not one step, so that others may come between.
                thread::yield_now();
                bits.fetch_or(1 << key, Ordering::SeqCst);
            },
        )
    }

    #[test]
    fn an_inserted_key_is_never_absent_while_rebuilds_run() {
        let model = || {
            let (contains, insert) = filter();
            let guard = Guard::new(contains, insert);
            let store = AtomicU64::new(0);
            let keys = || {
                let stored = store.load(Ordering::SeqCst);
                (0..2).filter(move |key| stored >> key & 1 == 1)
            };
            thread::scope(|scope| {
                for key in 0..2 {
                    let (guard, store) = (&guard, &store);
                    scope.spawn(move || {
                        store.fetch_or(1 << key, Ordering::SeqCst);
                        guard.insert(&key);
                        assert!(guard.may_contain(&key));
                    });
                }
                for _ in 0..2 {
                    scope.spawn(|| {
                        let (contains, insert) = filter();
                        let _ = guard.rebuild(contains, insert, keys);
                    });
                }
            });
            assert!((0..2).all(|key| guard.may_contain(&key)));
        };
        crate::sync::explore(5000, model);
    }
}
