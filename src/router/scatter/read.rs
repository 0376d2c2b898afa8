use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::calls::{Calls, Turn};
use super::division::Division;
use super::error::{ScatterError, ShardError};
use super::gathered::{Failure, Gathered};
use super::hedge::Hedge;
use super::keys::ShardKeys;
use super::scatter::Rules;
use crate::router::NodeId;
use crate::time::{Instant, Sleep, Timer};

/// A read under way. It has no lock and no task: whoever awaits it moves it on.
///
/// The first call of a shard has the shard's number, the second call for a part of its keys
/// comes behind those.
pub(super) struct Read<K, A, E, F> {
    division: Division<K>,
    rules: Rules,
    timer: Timer,
    deadline: Sleep,
    calls: Calls<F>,
    /// Calls that have no place yet, in the order in which they get one.
    waiting: VecDeque<Ask>,
    hedging: Option<Hedging>,
    shards: Vec<Shard<E>>,
    parts: Vec<Part>,
    answers: Vec<Option<A>>,
    answered: usize,
    /// Keys that will not be answered any more.
    lost: usize,
    begun: usize,
    hedged: usize,
}

/// What is left to the second copies.
struct Hedging {
    hedge: Hedge,
    delay: Option<Duration>,
    /// How many more shards may be.
    allowance: usize,
    /// When a call will have run too long, in the order in which they began.
    alarms: VecDeque<(usize, Sleep)>,
    /// When each shard's call began, if that is of interest.
    began: Vec<Option<Instant>>,
}

struct Shard<E> {
    /// Keys without an answer.
    open: usize,
    begun: bool,
    /// The first call is over, and brought nothing.
    error: Option<ShardError<E>>,
    hedged: bool,
}

#[derive(Clone, Copy)]
struct Part {
    answered: bool,
    /// Whether a second call runs, or waits for its place.
    hedged: bool,
}

#[derive(Clone, Copy)]
enum Ask {
    First(usize),
    /// Of a shard, for this part of its keys.
    Second(usize, usize),
}

impl<K, A, E, F> Read<K, A, E, F>
where
    F: Future<Output = Result<Vec<A>, ShardError<E>>>,
{
    pub(super) fn new(division: Division<K>, rules: Rules, timer: Timer) -> Self {
        let (shards, parts) = (division.shards.len(), division.parts.len());
        let mut waiting: VecDeque<_> = (0..shards).map(Ask::First).collect();
        if rules.concurrency < shards {
            // What takes longest and counts most is not begun last.
            let keys = |shard: usize| division.shards[shard].keys.len();
            let order = |ask: &Ask| match ask {
                Ask::First(shard) | Ask::Second(shard, _) => std::cmp::Reverse(keys(*shard)),
            };
            waiting.make_contiguous().sort_by_key(order);
        }
        let hedging = rules.hedge.clone().map(|hedge| Hedging {
            delay: hedge.delay().filter(|delay| *delay < rules.timeout),
            allowance: hedge.allowance(shards),
            alarms: VecDeque::new(),
            began: hedge.times().map_or_else(Vec::new, |_| vec![None; shards]),
            hedge,
        });
        let open = division.shards.iter().map(|shard| shard.keys.len());
        Self {
            shards: open.map(Shard::new).collect(),
            parts: vec![Part::NEW; parts],
            answers: division.keys.iter().map(|_| None).collect(),
            calls: Calls::new(shards + if hedging.is_some() { parts } else { 0 }),
            deadline: timer.sleep(rules.timeout),
            answered: 0,
            lost: 0,
            begun: 0,
            hedged: 0,
            division,
            rules,
            timer,
            waiting,
            hedging,
        }
    }

    /// Moves on; whether the read is over.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        call: &mut impl FnMut(NodeId, ShardKeys<K>) -> F,
    ) -> Poll<Ending> {
        // Before the calls: what is woken meanwhile wakes this task again.
        let woken = self.calls.woken(context.waker());
        for number in woken {
            let turn = self.calls.resume(number);
            self.turned(self.ask(number), turn);
        }
        self.begin(call);
        while let Some(late) = self.late(context) {
            self.hedge(late);
            self.begin(call);
        }
        if self.is_over() {
            return Poll::Ready(Ending::Settled);
        }
        let deadline = Pin::new(&mut self.deadline).poll(context);
        deadline.map(|()| Ending::Deadline)
    }

    /// Begins calls while there is a place and something to ask.
    fn begin(&mut self, call: &mut impl FnMut(NodeId, ShardKeys<K>) -> F) {
        while self.calls.running() < self.rules.concurrency && !self.is_over() {
            let Some(ask) = self.waiting.pop_front() else {
                return;
            };
            let Some((node, keys)) = self.wanted(ask) else {
                continue;
            };
            self.begun += 1;
            if let Ask::First(shard) = ask {
                self.shards[shard].begun = true;
                self.watch(shard);
            }
            let keys = ShardKeys::new(&self.division.keys, keys);
            let number = self.number(ask);
            let turn = self.calls.begin(number, || call(node, keys));
            self.turned(ask, turn);
        }
    }

    /// Whom to ask for what, if there is still anything to ask for.
    fn wanted(&self, ask: Ask) -> Option<(NodeId, Range<usize>)> {
        match ask {
            Ask::First(shard) if self.shards[shard].open > 0 => {
                let shard = &self.division.shards[shard];
                Some((shard.node, shard.keys.clone()))
            }
            Ask::Second(_, part) if !self.parts[part].answered => {
                let part = &self.division.parts[part];
                Some((part.second?, part.keys.clone()))
            }
            Ask::First(_) | Ask::Second(..) => None,
        }
    }

    fn turned(&mut self, ask: Ask, turn: Turn<F::Output>) {
        let outcome = match turn {
            Turn::Pending => return,
            Turn::Done(outcome) => outcome,
            Turn::Panicked => Err(ShardError::Panicked),
        };
        let keys = match ask {
            Ask::First(shard) => self.division.shards[shard].keys.len(),
            Ask::Second(_, part) => self.division.parts[part].keys.len(),
        };
        let outcome = outcome.and_then(|answers| match answers.len() {
            found if found == keys => Ok(answers),
            found => Err(ShardError::WrongLength {
                expected: keys,
                found,
            }),
        });
        match (ask, outcome) {
            (Ask::First(shard), outcome) => self.first(shard, outcome),
            (Ask::Second(shard, part), outcome) => self.second(shard, part, outcome.ok()),
        }
    }

    /// A shard's first call is over.
    fn first(&mut self, shard: usize, outcome: Result<Vec<A>, ShardError<E>>) {
        self.took(shard);
        let parts = self.division.shards[shard].parts.clone();
        match outcome {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for part in parts {
                    let keys = self.division.parts[part].keys.len();
                    self.answer(shard, part, answers.by_ref().take(keys));
                    self.calls.cancel(self.number(Ask::Second(shard, part)));
                }
            }
            Err(error) => {
                self.shards[shard].error = Some(error);
                self.hedge(shard);
                for part in parts {
                    self.lose(shard, part);
                }
            }
        }
    }

    /// A second call for a part of a shard's keys is over.
    fn second(&mut self, shard: usize, part: usize, answers: Option<Vec<A>>) {
        self.parts[part].hedged = false;
        match answers {
            Some(answers) => {
                self.answer(shard, part, answers.into_iter());
                if self.shards[shard].open == 0 && self.calls.cancel(shard) {
                    self.took(shard);
                }
            }
            None => self.lose(shard, part),
        }
    }

    fn answer(&mut self, shard: usize, part: usize, answers: impl Iterator<Item = A>) {
        let keys = self.division.parts[part].keys.clone();
        if std::mem::replace(&mut self.parts[part].answered, true) {
            // A replica was faster. These are passed by.
            answers.for_each(drop);
            return;
        }
        self.shards[shard].open -= keys.len();
        self.answered += keys.len();
        for (position, answer) in self.division.positions[keys].iter().zip(answers) {
            self.answers[*position as usize] = Some(answer);
        }
    }

    /// Gives up on a part of a shard's keys if nobody is left to answer it.
    fn lose(&mut self, shard: usize, part: usize) {
        let state = self.parts[part];
        if self.shards[shard].error.is_some() && !state.answered && !state.hedged {
            self.lost += self.division.parts[part].keys.len();
        }
    }

    /// Leaves a shard to its replicas, if that is allowed and not done yet.
    fn hedge(&mut self, shard: usize) {
        let Some(hedging) = &mut self.hedging else {
            return;
        };
        let state = &mut self.shards[shard];
        if hedging.allowance == 0 || state.hedged || state.open == 0 {
            return;
        }
        state.hedged = true;
        let before = self.waiting.len();
        for part in self.division.shards[shard].parts.clone() {
            if self.division.parts[part].second.is_some() {
                self.parts[part].hedged = true;
                self.waiting.push_back(Ask::Second(shard, part));
            }
        }
        if self.waiting.len() > before {
            hedging.allowance -= 1;
            self.hedged += 1;
        }
    }

    /// Sets the alarm of a call that begins.
    fn watch(&mut self, shard: usize) {
        let Some(hedging) = &mut self.hedging else {
            return;
        };
        if let Some(delay) = hedging.delay {
            hedging.alarms.push_back((shard, self.timer.sleep(delay)));
        }
        if let Some(times) = hedging.hedge.times() {
            hedging.began[shard] = Some(times.now());
        }
    }

    /// Says how long a shard's call took, if that is of interest.
    fn took(&mut self, shard: usize) {
        let Some(hedging) = &mut self.hedging else {
            return;
        };
        if let Some(times) = hedging.hedge.times()
            && let Some(began) = hedging.began[shard].take()
        {
            times.record_since(began);
        }
    }

    /// The next shard whose call has run too long.
    fn late(&mut self, context: &mut Context<'_>) -> Option<usize> {
        let hedging = self.hedging.as_mut()?;
        while let Some((shard, alarm)) = hedging.alarms.front_mut() {
            let (shard, state) = (*shard, &self.shards[*shard]);
            let runs = state.open > 0 && state.error.is_none();
            if runs && Pin::new(alarm).poll(context).is_pending() {
                return None;
            }
            hedging.alarms.pop_front();
            if runs {
                return Some(shard);
            }
        }
        None
    }

    /// Whether nothing that is still to come would change the outcome.
    fn is_over(&self) -> bool {
        let (total, policy) = (self.answers.len(), self.rules.policy);
        let decided = self.answered + self.lost == total;
        let hopeless = !policy.is_met(total - self.lost, total);
        decided || hopeless || (!policy.waits_on() && policy.is_met(self.answered, total))
    }

    /// What there is, and who is missing.
    pub(super) fn end(
        mut self,
        ending: Ending,
    ) -> Result<Gathered<K, A, E>, ScatterError<K, A, E>> {
        let mut failed = Vec::new();
        for number in 0..self.shards.len() {
            if self.calls.cancel(number) {
                self.took(number);
            }
            if self.shards[number].open > 0 {
                failed.push(self.failure(number, ending));
            }
        }
        let Rules { policy, .. } = self.rules;
        let met = policy.is_met(self.answered, self.answers.len());
        let gathered = Gathered {
            division: self.division,
            answers: self.answers,
            failed,
            answered: self.answered,
            calls: self.begun,
            hedged: self.hedged,
        };
        if met {
            return Ok(gathered);
        }
        Err(ScatterError::TooFew {
            need: policy.share(),
            gathered: Box::new(gathered),
        })
    }

    fn failure(&mut self, number: usize, ending: Ending) -> Failure<K, E> {
        let state = &mut self.shards[number];
        let error = state.error.take().unwrap_or(match ending {
            _ if !state.begun => ShardError::NotAsked,
            Ending::Settled => ShardError::Cancelled,
            Ending::Deadline => ShardError::TimedOut {
                after: self.rules.timeout,
            },
        });
        let shard = &self.division.shards[number];
        let open = shard
            .parts
            .clone()
            .filter(|part| !self.parts[*part].answered);
        let mut places: Vec<Range<usize>> = Vec::new();
        for part in open {
            let keys = self.division.parts[part].keys.clone();
            match places.last_mut() {
                Some(last) if last.end == keys.start => last.end = keys.end,
                _ => places.push(keys),
            }
        }
        Failure {
            node: shard.node,
            error,
            keys: Arc::clone(&self.division.keys),
            places,
        }
    }

    fn number(&self, ask: Ask) -> usize {
        match ask {
            Ask::First(shard) => shard,
            Ask::Second(_, part) => self.shards.len() + part,
        }
    }

    fn ask(&self, number: usize) -> Ask {
        let Some(part) = number.checked_sub(self.shards.len()) else {
            return Ask::First(number);
        };
        let shards = &self.division.shards;
        Ask::Second(
            shards.partition_point(|shard| shard.parts.end <= part),
            part,
        )
    }
}

/// Why a read is over.
#[derive(Clone, Copy)]
pub(super) enum Ending {
    /// Nothing could change its outcome any more.
    Settled,
    Deadline,
}

impl<E> Shard<E> {
    fn new(open: usize) -> Self {
        Self {
            open,
            begun: false,
            error: None,
            hedged: false,
        }
    }
}

impl Part {
    const NEW: Self = Self {
        answered: false,
        hedged: false,
    };
}
