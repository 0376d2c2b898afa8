//! The promises of a store of sessions, kept by sticky memory through the trait that all stores have; and what
//! becomes of them when other nodes do not answer.

mod session_store;

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use session_store::{Bed, Knobs, every_promise};
use tenfold::session::sticky::{
    NodeNumber, NodeState, Peers, Replication, Seat, StickyKeys, StickyNode, StickyRouter,
    StickyStore, Why,
};
use tenfold::session::{
    AsyncSessionStore, HostCookie, MemoryStore, MemoryStoreBuilder, RevokeError, SameSite,
    SaveError, Unavailable, WallClock,
};
use tenfold::time::ManualClock;

/// Nodes that hear each other through a wire, which can be cut.
#[derive(Clone, Default)]
struct Wire {
    nodes: Arc<Mutex<BTreeMap<NodeNumber, Arc<dyn Answers>>>>,
    is_cut: Arc<AtomicBool>,
    /// Whether questions are on their way for ever.
    is_slow: Arc<AtomicBool>,
}

trait Answers: Send + Sync {
    fn answer(&self, question: Vec<u8>) -> Answer<'_>;
}

type Answer<'a> = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send + 'a>>;

impl Answers for StickyNode<Wire> {
    fn answer(&self, question: Vec<u8>) -> Answer<'_> {
        Box::pin(async move { Self::answer(self, &question).await.ok() })
    }
}

impl Peers for Wire {
    async fn ask(&self, node: NodeNumber, question: Vec<u8>) -> Option<Vec<u8>> {
        if self.is_slow.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.is_cut.load(Ordering::SeqCst) {
            return None;
        }
        let node = self.nodes.lock().unwrap().get(&node).cloned()?;
        node.answer(question).await
    }
}

struct Fleet {
    wire: Wire,
    router: Arc<StickyRouter>,
    nodes: Vec<Arc<StickyNode<Wire>>>,
}

impl Fleet {
    fn of(nodes: u16, wall: &WallClock, settings: impl Fn() -> MemoryStoreBuilder) -> Self {
        let keys = StickyKeys::new(&[7; 32]).unwrap();
        let cookie = HostCookie::new("node", SameSite::Lax).unwrap();
        let router = StickyRouter::new(keys, cookie).with_clock(wall.clone());
        let router = Arc::new(router.with_seed(1));
        let wire = Wire::default();
        let nodes = (0..nodes).map(|number| {
            let number = NodeNumber::new(number);
            router.join(number, 1, 1).unwrap();
            let settings = settings().clock(wall.clone());
            let acknowledged = Replication::Acknowledged;
            let store = StickyStore::new(number, 1, router.clone(), acknowledged, settings);
            let node = Arc::new(StickyNode::new(store.unwrap(), wire.clone()));
            wire.nodes.lock().unwrap().insert(number, node.clone());
            node
        });
        Self {
            nodes: nodes.collect(),
            wire,
            router,
        }
    }

    fn plain(nodes: u16) -> Self {
        let wall = WallClock::manual(&ManualClock::new(), START);
        Self::of(nodes, &wall, MemoryStore::builder)
    }

    /// A new browser's place.
    fn seat(&self) -> Seat<Wire> {
        let route = self.router.route(None).unwrap();
        assert_eq!(route.why, Why::New);
        self.nodes[usize::from(route.node.get())].seat(route.routing)
    }

    fn kill(&self, node: NodeNumber) {
        self.wire.nodes.lock().unwrap().remove(&node);
        self.router.set_state(node, NodeState::Down).unwrap();
    }
}

const START: u64 = 1_700_000_000;

#[derive(Default)]
struct Sticky {
    clock: ManualClock,
}

impl Bed for Sticky {
    type Store = Seat<Wire>;

    async fn store(&self, knobs: Knobs) -> Self::Store {
        let wall = WallClock::manual(&self.clock, START);
        let settings = || {
            MemoryStore::builder()
                .idle(knobs.idle)
                .absolute(knobs.absolute)
                .touch_every(knobs.touch_every)
                .max_per_user(knobs.max_per_user, knobs.per_user)
                .max_data(knobs.max_data)
        };
        Fleet::of(3, &wall, settings).seat()
    }

    async fn pass(&self, _: &Self::Store, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

every_promise!(Sticky::default());

/// The result of what waits for nothing.
fn done<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits for something"),
    }
}

/// Another node that has what this one had.
fn heir(fleet: &Fleet, seat: &Seat<Wire>) -> Seat<Wire> {
    let node = seat.node().store().node();
    let replicas = fleet.router.replicas(seat.routing());
    assert_eq!(replicas[0], Some(node));
    fleet.kill(node);
    let heir = replicas[1].unwrap();
    fleet.nodes[usize::from(heir.get())].seat(seat.routing())
}

#[test]
fn what_was_answered_is_there_after_the_death_of_its_node() {
    let fleet = Fleet::plain(3);
    let seat = fleet.seat();
    let (token, version) = done(seat.create(None, *b"1 lamp")).unwrap();
    let version = done(seat.save(&token, version, *b"2 lamps")).unwrap();
    let token = done(seat.log_in(&token, "ada")).unwrap();
    let heir = heir(&fleet, &seat);
    let loaded = done(heir.load(&token)).unwrap().unwrap();
    assert_eq!(
        (&loaded[..], loaded.user()),
        (&b"2 lamps"[..], Some(&"ada".into()))
    );
    assert!(loaded.version() > version);
    // Who was taken for dead says neither that there is a session nor that there is none.
    let fenced = done(seat.load(&token));
    assert!(matches!(fenced, Err(Unavailable::Refused(_))), "{fenced:?}");
}

#[test]
fn a_change_that_the_other_copy_does_not_hear_of_is_an_error() {
    let fleet = Fleet::plain(3);
    let seat = fleet.seat();
    let (token, version) = done(seat.create(None, *b"1 lamp")).unwrap();
    fleet.wire.is_cut.store(true, Ordering::SeqCst);
    let saved = done(seat.save(&token, version, *b"2 lamps"));
    let Err(SaveError::Unavailable(error)) = saved else {
        panic!("{saved:?}");
    };
    assert!(error.may_have_happened());
    // A load asks nobody.
    assert!(done(seat.load(&token)).unwrap().is_some());
    fleet.wire.is_cut.store(false, Ordering::SeqCst);
    assert!(done(seat.node().maintain(usize::MAX)));
    let heir = heir(&fleet, &seat);
    assert_eq!(&done(heir.load(&token)).unwrap().unwrap()[..], b"2 lamps");
}

/// Whoever loads it sees the change, so it must have a copy as any other.
#[test]
fn a_change_that_is_given_up_has_a_copy_in_the_end() {
    let fleet = Fleet::plain(3);
    let seat = fleet.seat();
    let (token, version) = done(seat.create(None, *b"1 lamp")).unwrap();
    fleet.wire.is_slow.store(true, Ordering::SeqCst);
    {
        let mut save = pin!(seat.save(&token, version, *b"2 lamps"));
        let mut context = Context::from_waker(Waker::noop());
        assert!(save.as_mut().poll(&mut context).is_pending());
    }
    fleet.wire.is_slow.store(false, Ordering::SeqCst);
    assert_eq!(&done(seat.load(&token)).unwrap().unwrap()[..], b"2 lamps");
    assert_eq!(seat.node().store().unprotected(), 1);
    assert!(done(seat.node().maintain(usize::MAX)));
    let heir = heir(&fleet, &seat);
    assert_eq!(&done(heir.load(&token)).unwrap().unwrap()[..], b"2 lamps");
}

#[test]
fn a_user_is_logged_out_on_all_nodes_or_told_that_it_failed() {
    let fleet = Fleet::plain(3);
    let seats: Vec<_> = (0..20).map(|_| fleet.seat()).collect();
    let begin = |seat: &Seat<Wire>| done(seat.create(Some("ada".into()), *b"")).unwrap().0;
    let tokens: Vec<_> = seats.iter().map(begin).collect();
    assert_eq!(done(seats[0].sessions_of("ada")).unwrap().len(), 20);

    fleet.wire.is_cut.store(true, Ordering::SeqCst);
    let failed = done(seats[0].revoke_user("ada", None));
    assert!(
        matches!(failed, Err(RevokeError::Unavailable(_))),
        "{failed:?}"
    );
    // Who is told so can try again: their own session is not over.
    assert!(done(seats[0].load(&tokens[0])).unwrap().is_some());
    let failed = done(seats[0].sessions_of("ada"));
    assert!(
        matches!(failed, Err(Unavailable::Unreachable(_))),
        "{failed:?}"
    );

    fleet.wire.is_cut.store(false, Ordering::SeqCst);
    assert_eq!(
        done(seats[0].revoke_user("ada", Some(&tokens[0]))).unwrap(),
        19
    );
    assert!(done(seats[0].load(&tokens[0])).unwrap().is_some());
    for (seat, token) in seats.iter().zip(&tokens).skip(1) {
        assert!(done(seat.load(token)).unwrap().is_none());
    }
    assert_eq!(done(seats[5].sessions_of("ada")).unwrap().len(), 1);
    let mut all = seats.iter().zip(&tokens);
    let (other, token) = all
        .find(|(seat, _)| seat.node().store().node() != seats[0].node().store().node())
        .unwrap();
    assert!(!done(other.revoke(token)).unwrap(), "it is over");
    assert!(done(other.revoke(&tokens[0])).unwrap(), "wherever it is");
    assert!(done(seats[0].load(&tokens[0])).unwrap().is_none());
    // Neither comes back with the death of where they were.
    fleet.kill(NodeNumber::new(2));
    for node in &fleet.nodes[..2] {
        done(node.maintain(usize::MAX));
        assert!(node.store().sessions().is_empty());
    }
}

/// The other copy does not hear of the end; the log-out is an error, and is tried again.
#[test]
fn a_log_out_that_failed_can_be_made_again() {
    let fleet = Fleet::plain(3);
    let seat = fleet.seat();
    let (token, _) = done(seat.create(Some("ada".into()), *b"")).unwrap();
    fleet.wire.is_cut.store(true, Ordering::SeqCst);
    assert!(done(seat.revoke(&token)).is_err());
    assert!(done(seat.revoke(&token)).is_err(), "nobody knows still");
    fleet.wire.is_cut.store(false, Ordering::SeqCst);
    assert!(done(seat.revoke(&token)).is_ok());
    let heir = heir(&fleet, &seat);
    assert!(done(heir.load(&token)).unwrap().is_none());
}
