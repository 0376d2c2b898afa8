//! Reads that are asked twice at a time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;

use tenfold::replica::pool::PoolStats;
use tenfold::time::Instant;

use super::*;

const AFTER: Duration = Duration::from_millis(50);

/// When a server answers, in milliseconds from the beginning, and what.
type Answer = (u64, Result<(), DbError>);

struct Hedged {
    clock: ManualClock,
    pool: ReplicaPool<Async<Cluster>>,
    began: Instant,
    answers: BTreeMap<String, Answer>,
    /// Who was asked, in order.
    asked: RefCell<Vec<String>>,
    /// Whom the next read asks first, and another.
    first: String,
    other: String,
}

impl Hedged {
    fn new(replicas: usize, retry_share: f64) -> Self {
        let (cluster, clock) = (Cluster::new(replicas), ManualClock::new());
        let builder = ReplicaPool::builder(Async(cluster), settings(replicas));
        let builder = builder.clock(clock.clock()).timer(clock.timer());
        let builder = builder.policy(Policy::RoundRobin).seed(3).pools(options());
        let pool = builder.retry_share(retry_share).build().unwrap();
        {
            let mut monitor = pin!(pool.monitor_async().run());
            let mut context = Context::from_waker(Waker::noop());
            assert!(monitor.as_mut().poll(&mut context).is_pending());
        }
        // The turn after a whole round is the same server's.
        let round = (0..replicas).map(|_| {
            let lent = tenfold::task::block_on(pool.read_async(&REPLICA)).unwrap();
            name(&lent).to_owned()
        });
        let round: Vec<_> = round.collect();
        Self {
            began: clock.now(),
            clock,
            answers: BTreeMap::new(),
            asked: RefCell::default(),
            first: round[0].clone(),
            other: round[replicas - 1].clone(),
            pool,
        }
    }

    /// Two replicas that answer so.
    fn pair(first: Answer, other: Answer) -> Self {
        let mut world = Self::new(2, 0.1);
        world.answers.insert(world.first.clone(), first);
        world.answers.insert(world.other.clone(), other);
        world
    }

    async fn ask(&self, conn: &mut cluster::Conn) -> Result<String, DbError> {
        let server = conn.name().to_owned();
        self.asked.borrow_mut().push(server.clone());
        let (after, answer) = self.answers.get(&server).copied().unwrap_or((0, Ok(())));
        let at = self.began + Duration::from_millis(after);
        poll_fn(|_| {
            if self.clock.now() >= at {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        answer.map(|()| server)
    }

    /// Polls at each of these moments until there is an answer; says when that was.
    fn run(
        &self,
        op: &Op,
        moments: &[u64],
    ) -> Option<(u64, Result<String, ReplicaError<DbError>>)> {
        let ask = async |conn: &mut cluster::Conn| self.ask(conn).await;
        let mut read = pin!(self.pool.run_hedged_async(op, AFTER, ask));
        let mut context = Context::from_waker(Waker::noop());
        moments.iter().find_map(|&moment| {
            let at = self.began + Duration::from_millis(moment);
            self.clock.advance(at.saturating_since(self.clock.now()));
            match read.as_mut().poll(&mut context) {
                Poll::Ready(answer) => Some((moment, answer)),
                Poll::Pending => None,
            }
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    fn stats(&self, server: &str) -> PoolStats {
        let mut stats = self.pool.stats().into_iter();
        let found = stats.find(|(endpoint, _)| endpoint.name() == server);
        found.unwrap().1
    }
}

#[test]
fn another_server_outruns_a_slow_one_whose_connection_is_closed() {
    let world = Hedged::pair((1000, Ok(())), (0, Ok(())));
    let answer = world.run(&Op::read(), &[0, 49, 50]);
    assert_eq!(answer, Some((50, Ok(world.other.clone()))));
    assert_eq!(world.asked(), [world.first.as_str(), world.other.as_str()]);
    let (slow, quick) = (world.stats(&world.first), world.stats(&world.other));
    assert_eq!((slow.lent, slow.idle, slow.broken), (0, 0, 1));
    assert_eq!((quick.lent, quick.idle, quick.broken), (0, 1, 0));
}

#[test]
fn the_first_may_still_be_the_one_that_answers() {
    let world = Hedged::pair((60, Ok(())), (1000, Ok(())));
    let answer = world.run(&Op::read(), &[0, 50, 59, 60]);
    assert_eq!(answer, Some((60, Ok(world.first.clone()))));
    assert_eq!(world.stats(&world.first).idle, 1);
    assert_eq!(world.stats(&world.other).broken, 1);
}

#[test]
fn a_quick_answer_is_asked_for_once() {
    let world = Hedged::pair((49, Ok(())), (0, Ok(())));
    let answer = world.run(&Op::read(), &[0, 49, 50]);
    assert_eq!(answer, Some((49, Ok(world.first.clone()))));
    assert_eq!(world.asked().len(), 1);
    assert_eq!(world.stats(&world.first).idle, 1);
}

#[test]
fn what_fails_leaves_it_to_the_other() {
    for (first, other, at) in [
        ((70, Err(DbError::Reset)), (80, Ok(())), 80),
        ((80, Ok(())), (70, Err(DbError::Reset)), 80),
    ] {
        let world = Hedged::pair(first, other);
        let answered = if first.1.is_ok() {
            &world.first
        } else {
            &world.other
        };
        let answer = world.run(&Op::read(), &[0, 50, 70, 80, 90]);
        assert_eq!(answer, Some((at, Ok(answered.clone()))));
        assert_eq!(world.asked().len(), 2);
    }
}

#[test]
fn a_wrong_statement_is_wrong_everywhere() {
    let world = Hedged::pair((70, Err(DbError::Syntax)), (80, Ok(())));
    let answer = world.run(&Op::read(), &[0, 50, 70, 80]);
    let wrong = ReplicaError::Failed(DbError::Syntax);
    assert_eq!(answer, Some((70, Err(wrong))));
}

#[test]
fn if_both_fail_it_is_tried_again() {
    let world = Hedged::pair((70, Err(DbError::Reset)), (80, Err(DbError::Reset)));
    let answer = world.run(&Op::read(), &[0, 50, 70, 80]);
    // With no replica left that has not failed, of the primary.
    assert_eq!(answer, Some((80, Ok("p".to_owned()))));
}

#[test]
fn second_questions_end_with_the_budget() {
    let mut world = Hedged::new(2, 0.0);
    world.answers.insert(world.first.clone(), (200, Ok(())));
    let answer = world.run(&Op::read(), &[0, 50, 199, 200]);
    assert_eq!(answer, Some((200, Ok(world.first.clone()))));
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn without_another_server_there_is_no_second_question() {
    let mut world = Hedged::new(1, 0.1);
    world.answers.insert("r1".to_owned(), (200, Ok(())));
    let op = Op::read().preference(ReadPreference::ReplicaOnly);
    let answer = world.run(&op, &[0, 50, 200]);
    assert_eq!(answer, Some((200, Ok("r1".to_owned()))));
    assert_eq!(world.asked(), ["r1"]);
}

#[test]
fn what_may_not_be_done_twice_is_asked_once() {
    for op in [Op::read().once(), Op::write(), Op::write().idempotent()] {
        let mut world = Hedged::new(2, 0.1);
        let all = ["p", "r1", "r2"].map(|server| (server.to_owned(), (200, Ok(()))));
        world.answers = all.into();
        assert!(world.run(&op, &[0, 50, 100]).is_none());
        assert_eq!(world.asked().len(), 1, "{op:?}");
    }
}

#[test]
fn who_stops_waiting_leaves_nothing_behind() {
    let world = Hedged::pair((1000, Ok(())), (1000, Ok(())));
    assert_eq!(world.run(&Op::read(), &[0, 50, 60]), None);
    assert_eq!(world.asked().len(), 2);
    for server in ["r1", "r2"] {
        assert_eq!(world.stats(server).lent, 0);
    }
}
