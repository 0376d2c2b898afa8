//! A group against the obvious model of one: a map that says where each message is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use proptest::prelude::*;

use super::group::{Dead, Group, Taken};
use super::records::{Reading, Writing};
use crate::rng::Rng;
use crate::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    Waiting(u64),
    Lent { token: u64, deadline: Instant },
    Dead,
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Message {
    place: Place,
    level: u8,
    /// How often it was handed out; the one under way is not counted.
    attempts: u32,
}

/// All messages from 1 on.
#[derive(Debug, Default)]
struct Model {
    messages: BTreeMap<u64, Message>,
}

impl Model {
    fn count(&self, is_there: impl Fn(Place) -> bool) -> usize {
        self.messages.values().filter(|m| is_there(m.place)).count()
    }

    fn open(&mut self, id: u64) -> Option<&mut Message> {
        self.messages
            .get_mut(&id)
            .filter(|m| m.place != Place::Done)
    }

    fn take(
        &mut self,
        most: usize,
        visible: u64,
        deadline: Instant,
        tokens: &[Taken],
    ) -> Vec<(u64, u32)> {
        let mut lent = Vec::new();
        while lent.len() < most {
            let ready = self.messages.range_mut(..visible);
            let ready = ready.filter(|(_, m)| m.place == Place::Ready);
            let Some((id, message)) = ready.min_by_key(|(id, m)| (7 - m.level, **id)) else {
                break;
            };
            let token = tokens.get(lent.len()).map_or(0, |taken| taken.token);
            message.place = Place::Lent { token, deadline };
            lent.push((*id, message.attempts + 1));
        }
        lent
    }

    fn wake(&mut self, now: u64) {
        for message in self.messages.values_mut() {
            if matches!(message.place, Place::Waiting(due) if due <= now) {
                message.place = Place::Ready;
            }
        }
    }

    fn finish(&mut self, id: u64) -> bool {
        self.open(id).map(|m| m.place = Place::Done).is_some()
    }

    fn finish_all(&mut self, range: Range<u64>) -> u64 {
        range.filter(|id| self.finish(*id)).count() as u64
    }

    fn next_id(&self) -> u64 {
        self.messages.len() as u64 + 1
    }
}

#[derive(Debug, Clone)]
enum Act {
    Arrive {
        level: u8,
        delay: u64,
    },
    Take {
        most: usize,
        hidden: u64,
    },
    Finish(u64),
    FinishAll(u64, u64),
    /// By whoever has it, or by the log as it is replayed.
    GiveBack {
        id: u64,
        attempts: u32,
        delay: u64,
    },
    Bury(u64),
    Redrive(u64),
    Extend(u64),
    Pass(u64),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let id = 0..400_u64;
    let delay = || prop_oneof![3 => Just(0), 2 => 1..50_u64, 1 => 1..3_000_000_u64];
    let level = prop_oneof![3 => Just(3_u8), 1 => 0..8_u8];
    prop_oneof![
        6 => (level, delay()).prop_map(|(level, delay)| Act::Arrive { level, delay }),
        4 => (1..6_usize, 0..4_u64).prop_map(|(most, hidden)| Act::Take { most, hidden }),
        3 => id.clone().prop_map(Act::Finish),
        1 => (id.clone(), 0..40_u64).prop_map(|(id, count)| Act::FinishAll(id, count)),
        3 => (id.clone(), 0..5_u32, delay())
            .prop_map(|(id, attempts, delay)| Act::GiveBack { id, attempts, delay }),
        1 => id.clone().prop_map(Act::Bury),
        1 => id.clone().prop_map(Act::Redrive),
        1 => id.prop_map(Act::Extend),
        2 => prop_oneof![1..60_u64, 1..2_000_000_u64].prop_map(Act::Pass),
        1 => Just(Act::Reopen),
    ]
}

fn reopened(group: &Group, next_id: u64) -> Group {
    let mut writing = Writing::default();
    group.write(&mut writing, next_id);
    let mut reading = Reading(&writing.0);
    let copy = Group::read(&mut reading).expect("it is as it was written");
    assert!(reading.0.is_empty());
    copy
}

#[allow(clippy::too_many_lines, reason = "an arm for each act")]
fn run(acts: Vec<Act>) {
    let mut group = Group::new("g".to_owned(), 1);
    let mut model = Model::default();
    let mut now = 1_700_000_000_000;
    let instant = |now: u64| Instant::from_nanos(now * 1_000_000);
    for act in acts {
        // Ids are picked among those there are, roughly.
        let pick = |id: u64| id % (model.next_id() + 2);
        match act {
            Act::Arrive { level, delay } => {
                let due = if delay > 0 { now + delay } else { 0 };
                let id = model.next_id();
                group.arrive(id, level, due);
                let place = if due > 0 {
                    Place::Waiting(due)
                } else {
                    Place::Ready
                };
                model.messages.insert(
                    id,
                    Message {
                        place,
                        level,
                        attempts: 0,
                    },
                );
            }
            Act::Take { most, hidden } => {
                let visible = model.next_id().saturating_sub(hidden);
                let deadline = instant(now) + Duration::from_millis(100);
                let taken = group.take(most, visible, deadline);
                let expected = model.take(most, visible, deadline, &taken);
                let found: Vec<_> = taken.iter().map(|t| (t.id, t.attempts)).collect();
                assert_eq!(found, expected);
            }
            Act::Finish(id) => {
                let id = pick(id);
                if id < model.next_id() && id > 0 {
                    assert_eq!(group.finish(id), model.finish(id));
                }
            }
            Act::FinishAll(id, count) => {
                let first = pick(id);
                let range = first..(first + count).min(model.next_id());
                assert_eq!(group.finish_all(range.clone()), model.finish_all(range));
            }
            Act::GiveBack {
                id,
                attempts,
                delay,
            } => {
                let id = pick(id);
                let due = if delay > 0 { now + delay } else { 0 };
                if let Some(message) = model.open(id) {
                    group.give_back(id, message.level, attempts, due);
                    message.attempts = attempts;
                    message.place = if due > 0 {
                        Place::Waiting(due)
                    } else {
                        Place::Ready
                    };
                }
            }
            Act::Bury(id) => {
                let id = pick(id);
                if let Some(message) = model.open(id) {
                    let (attempts, level) = (message.attempts, message.level);
                    let reason = "why".to_owned();
                    group.bury(
                        id,
                        Dead {
                            attempts,
                            level,
                            reason,
                        },
                    );
                    message.place = Place::Dead;
                }
            }
            Act::Redrive(id) => {
                let id = pick(id);
                let message = model.open(id).filter(|m| m.place == Place::Dead);
                assert_eq!(group.redrive(id), message.is_some());
                if let Some(message) = message {
                    (message.place, message.attempts) = (Place::Ready, 0);
                }
            }
            Act::Extend(id) => {
                let id = pick(id);
                let longer = instant(now) + Duration::from_millis(300);
                group.extend(id, longer);
                if let Some(message) = model.open(id)
                    && let Place::Lent { deadline, .. } = &mut message.place
                {
                    *deadline = longer;
                }
            }
            Act::Pass(time) => {
                now += time;
                group.wake(now);
                model.wake(now);
            }
            Act::Reopen => {
                group = reopened(&group, model.next_id());
                group.wake(now);
                for message in model.messages.values_mut() {
                    if matches!(message.place, Place::Lent { .. }) {
                        message.place = Place::Ready;
                    }
                }
            }
        }
        compare(&group, &model, instant(now));
    }
}

fn compare(group: &Group, model: &Model, instant: Instant) {
    let next_id = model.next_id();
    let open = model.count(|place| place != Place::Done);
    assert_eq!(group.pending(next_id), open as u64);
    let waiting = model.count(|place| matches!(place, Place::Waiting(_)));
    assert_eq!(group.waiting(), waiting);
    assert_eq!(
        group.lent(),
        model.count(|place| matches!(place, Place::Lent { .. }))
    );
    let dead = model
        .messages
        .iter()
        .filter(|(_, m)| m.place == Place::Dead);
    assert!(group.dead().keys().eq(dead.map(|(id, _)| id)));
    let ended = model
        .messages
        .iter()
        .filter_map(|(id, message)| match message.place {
            Place::Lent { token, deadline } if deadline <= instant => Some((*id, token)),
            _ => None,
        });
    let mut expired: Vec<_> = group
        .expired(instant)
        .iter()
        .map(|t| (t.id, t.token))
        .collect();
    expired.sort_unstable();
    assert!(ended.eq(expired));
    for (id, message) in &model.messages {
        if let Place::Lent { token, .. } = message.place {
            assert!(group.holds(*id, token) && group.level(*id) == message.level);
        }
    }
    let soonest = model
        .messages
        .values()
        .filter_map(|message| match message.place {
            Place::Waiting(due) => Some(due),
            _ => None,
        });
    let (_, look) = group.next_change();
    if let Some(soonest) = soonest.min() {
        assert!(
            look.is_some_and(|look| look <= soonest),
            "it would oversleep"
        );
    }
    let first_open = model.messages.iter().find(|(_, m)| m.place != Place::Done);
    let first_open = first_open.map_or(next_id, |(id, _)| *id);
    assert!(group.is_done(1..first_open) && !group.is_done(1..first_open + 1));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200 * std::env::var("TENFOLD_SEEDS").map_or(1, |n| n.parse().unwrap_or(1)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_message_is_where_the_model_says(acts in prop::collection::vec(act(), 1..300)) {
        run(acts);
    }
}

/// A day's delays took a hundred bytes each.
#[test]
fn a_million_delayed_messages_take_sixteen_megabytes_and_less_in_a_checkpoint() {
    let mut rng = Rng::with_seed(1);
    let mut group = Group::new("g".to_owned(), 1);
    let start = 1_700_000_000_000;
    group.wake(start);
    for id in 1..=1_000_000 {
        group.arrive(id, 3, start + 1 + rng.below(86_400_000));
    }
    let memory = group.memory();
    assert!(memory < 16_000_000, "{memory} bytes");
    // Also while they become due.
    group.wake(start + 30_000_000);
    assert!(group.memory() < 16_000_000);
    let mut writing = Writing::default();
    group.write(&mut writing, 1_000_001);
    assert!(writing.0.len() < 8_000_000, "{} bytes", writing.0.len());
    let mut copy = reopened(&group, 1_000_001);
    assert!(copy.memory() < 16_000_000);
    copy.wake(start + 86_400_000);
    assert_eq!((copy.waiting(), copy.pending(1_000_001)), (0, 1_000_000));
}

/// Failed messages that are ready again keep a count and nothing else.
#[test]
fn a_million_failed_messages_take_thirteen_megabytes() {
    let mut group = Group::new("g".to_owned(), 1);
    for id in 1..=1_000_000 {
        group.give_back(id, 3, 1, 0);
    }
    assert!(group.memory() < 13_200_000, "{} bytes", group.memory());
}

/// Ranges of what is done took a hundred megabytes when every second message was.
#[test]
fn messages_done_in_any_order_take_a_bit_each_in_memory_and_in_a_checkpoint() {
    let messages = 500_000;
    let mut rng = Rng::with_seed(2);
    let mut order: Vec<u64> = (1..=messages).collect();
    for place in (1..order.len()).rev() {
        order.swap(place, rng.below(place as u64 + 1) as usize);
    }
    let mut group = Group::new("g".to_owned(), 1);
    let mut most = (0, 0);
    for (count, id) in order.into_iter().enumerate() {
        assert!(group.finish(id));
        if count % 50_000 == 0 {
            let mut writing = Writing::default();
            group.write(&mut writing, messages + 1);
            most = (most.0.max(group.memory()), most.1.max(writing.0.len()));
        }
    }
    assert_eq!(group.pending(messages + 1), 0);
    let bits = messages as usize / 8 * 11 / 10 + 1000;
    assert!(most.0 < bits && most.1 < bits, "{most:?}");
}
