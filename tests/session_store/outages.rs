//! The bad days of a store's server, as tests that any can be put to: an [`Outages`] says how the server dies, hangs and comes back, and
//! [`every_outage!`] makes a test of each function here. Nothing is known then, and that is said: it is never "no session".

#![allow(
    unreachable_pub,
    reason = "a module of each program that has a server to end"
)]

use std::time::{Duration, Instant};

use tenfold::cache::tier::BreakerState;
use tenfold::session::serve_stale::ServeStale;
use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, RevokeError, SaveError, SessionToken, Unavailable,
    Version,
};
use tenfold::time::{Clock, ManualClock};

use crate::session_store::{Bed, Knobs, begin, is_there};
use crate::tell;

/// A server of one's own, with what a store needs on it.
pub trait Outages {
    type Store: AsyncSessionStore + 'static;

    /// One that runs, and keeps what it has acknowledged.
    fn start() -> Self;

    /// `kill -9`.
    fn kill(&mut self);

    /// Starts it again, with what it kept.
    fn resume(&mut self);

    /// Stops it where it is until what this answers is dropped: the connections of the store of this name stay, and nothing answers.
    fn freeze(&self, name: &str) -> impl Sized;

    /// A store on it, which need not run.
    fn store(&self, name: &str, patience: Patience) -> Self::Store;

    /// What stands before the store's calls.
    fn breaker(store: &Self::Store) -> BreakerState;
}

/// When a store gives up.
pub struct Patience {
    pub limit: Duration,
    pub failures: u32,
    /// For a second, by this clock.
    pub clock: Clock,
}

impl Patience {
    /// A busy machine is not taken for a dead server.
    pub fn long(clock: &ManualClock) -> Self {
        Self {
            limit: SECOND * 30,
            failures: 5,
            clock: clock.clock(),
        }
    }

    pub fn failures(self, failures: u32) -> Self {
        Self { failures, ..self }
    }

    fn short(clock: &ManualClock) -> Self {
        let limit = Duration::from_millis(300);
        Self {
            limit,
            ..Self::long(clock).failures(3)
        }
    }
}

/// `every_outage!(Server)` makes a test of each outage.
macro_rules! every_outage {
    ($server:ty) => {
        $crate::outages::every_outage!($server;
            while_the_server_is_dead_nothing_is_known_and_then_all_is_there_again
            a_server_that_comes_back_at_once_fails_no_load
            a_server_that_hangs_is_given_up_in_time_and_taken_up_again
            a_server_that_is_not_there_at_first_is_found_later
            copies_are_served_while_the_server_is_dead_and_what_is_fresh_when_it_is_back
            copies_are_served_while_the_server_hangs_and_what_is_fresh_when_it_goes_on
        );
    };
    ($server:ty; $($name:ident)+) => {$(
        #[test]
        fn $name() {
            $crate::session_store::run($crate::outages::$name::<$server>());
        }
    )+};
}
pub(crate) use every_outage;

pub async fn while_the_server_is_dead_nothing_is_known_and_then_all_is_there_again<S: Outages>() {
    let (clock, mut server) = (ManualClock::new(), S::start());
    let store = server.store("sessions", Patience::long(&clock).failures(20));
    let (token, version) = begin(&store, Some("ada"), b"1 lamp").await;

    server.kill();
    let begun = Instant::now();
    assert_every_call_fails(&store, &token, version, |why| {
        matches!(why, Unavailable::Unreachable(_))
    })
    .await;
    tell(format_args!(
        "dead: all calls failed in {:?}",
        begun.elapsed()
    ));
    while S::breaker(&store) == BreakerState::Closed {
        assert!(store.load(&token).await.is_err());
    }
    // Nobody waits for it any more.
    let begun = Instant::now();
    assert_every_call_fails(&store, &token, version, |why| {
        matches!(why, Unavailable::Suspended { .. }) && !why.may_have_happened()
    })
    .await;
    tell(format_args!(
        "left alone: all calls failed in {:?}",
        begun.elapsed()
    ));

    server.resume();
    clock.advance(SECOND);
    let begun = Instant::now();
    let loaded = store.load(&token).await.unwrap().unwrap();
    tell(format_args!("back: loaded after {:?}", begun.elapsed()));
    assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
    assert_eq!(S::breaker(&store), BreakerState::Closed);
    store.save(&token, version, b"2".as_slice()).await.unwrap();
    assert_eq!(store.revoke_user("ada", None).await.unwrap(), 1);
}

pub async fn a_server_that_comes_back_at_once_fails_no_load<S: Outages>() {
    let mut server = S::start();
    let store = server.store("sessions", Patience::long(&ManualClock::new()));
    let (token, _) = begin(&store, Some("ada"), b"").await;
    for _ in 0..3 {
        server.kill();
        server.resume();
        let begun = Instant::now();
        assert!(store.load(&token).await.unwrap().is_some());
        tell(format_args!(
            "restarted: loaded after {:?}",
            begun.elapsed()
        ));
    }
    // What it kept includes whose session it is.
    assert_eq!(store.revoke_user("ada", None).await.unwrap(), 1);
}

pub async fn a_server_that_hangs_is_given_up_in_time_and_taken_up_again<S: Outages>() {
    let (clock, server) = (ManualClock::new(), S::start());
    let (store, token) = hasty(&server, &clock).await;
    let frozen = server.freeze(HASTY);
    while S::breaker(&store) == BreakerState::Closed {
        let begun = Instant::now();
        let why = store.load(&token).await.unwrap_err();
        assert!(matches!(why, Unavailable::TimedOut { .. }), "{why:?}");
        tell(format_args!("hangs: given up after {:?}", begun.elapsed()));
    }
    let why = store.load(&token).await.unwrap_err();
    assert!(matches!(why, Unavailable::Suspended { .. }), "{why:?}");

    drop(frozen);
    until_loaded(&store, &token, &clock).await;
}

pub async fn a_server_that_is_not_there_at_first_is_found_later<S: Outages>() {
    let (clock, mut server) = (ManualClock::new(), S::start());
    server.kill();
    let store = server.store("sessions", Patience::long(&clock).failures(2));
    for _ in 0..2 {
        let created = store.create(None, b"".as_slice()).await;
        assert!(
            matches!(
                created,
                Err(CreateError::Unavailable(Unavailable::Unreachable(_)))
            ),
            "{created:?}"
        );
    }
    assert_eq!(S::breaker(&store), BreakerState::Open);
    server.resume();
    clock.advance(SECOND);
    begin(&store, None, b"").await;
}

pub async fn copies_are_served_while_the_server_is_dead_and_what_is_fresh_when_it_is_back<
    S: Outages,
>() {
    let (clock, mut server) = (ManualClock::new(), S::start());
    let other = server.store("other", Patience::long(&clock));
    let store = server.store("sessions", Patience::long(&clock));
    let store = ServeStale::builder(store).clock(clock.clock());
    let store = store.build().unwrap();
    let (token, version) = begin(&store, Some("ada"), b"1 lamp").await;
    let (revoked, _) = begin(&store, Some("bob"), b"").await;
    let (at_home, _) = begin(&store, Some("eve"), b"").await;
    let (heard, _) = begin(&store, Some("eve"), b"").await;
    for token in [&token, &revoked, &at_home, &heard] {
        assert!(!is_stale(&store, token).await.unwrap());
    }
    // On another server, of which this one hears by asking, or not.
    other.revoke(&heard).await.unwrap();
    assert!(store.load(&heard).await.unwrap().is_none());

    server.kill();
    for _ in 0..20 {
        assert!(is_stale(&store, &token).await.unwrap());
    }
    assert_eq!(store.breaker(), BreakerState::Open);
    assert!(store.load(&heard).await.is_err());
    assert_save_is_refused(&store, &token, version).await;
    let ended = store.revoke(&revoked).await;
    assert!(matches!(ended, Err(RevokeError::Unavailable(_))));
    assert!(store.revoke_user("eve", None).await.is_err());
    for token in [&revoked, &at_home] {
        assert!(store.load(token).await.is_err());
    }

    server.resume();
    clock.advance(SECOND);
    assert!(!is_stale(&store, &token).await.unwrap());
    store.save(&token, version, b"2".as_slice()).await.unwrap();
    assert_eq!(store.breaker(), BreakerState::Closed);
    assert!(store.revoke(&revoked).await.unwrap());
    assert_eq!(store.revoke_user("eve", None).await.unwrap(), 1);
    assert!(store.load(&revoked).await.unwrap().is_none());

    // And no longer than it may be.
    server.kill();
    clock.advance(SECOND * 29);
    assert!(is_stale(&store, &token).await.unwrap());
    clock.advance(SECOND);
    assert!(store.load(&token).await.is_err());
}

pub async fn copies_are_served_while_the_server_hangs_and_what_is_fresh_when_it_goes_on<
    S: Outages,
>() {
    let (clock, server) = (ManualClock::new(), S::start());
    let (store, token) = hasty(&server, &clock).await;
    let store = ServeStale::builder(store).clock(clock.clock());
    let store = store.build().unwrap();
    let version = until_loaded(&store, &token, &clock).await;

    let frozen = server.freeze(HASTY);
    for _ in 0..20 {
        assert!(is_stale(&store, &token).await.unwrap());
    }
    assert_save_is_refused(&store, &token, version).await;
    assert!(is_stale(&store, &token).await.unwrap());

    drop(frozen);
    assert_eq!(until_loaded(&store, &token, &clock).await, version);
}

/// A store that soon gives up, and has loaded a session.
async fn hasty<S: Outages>(server: &S, clock: &ManualClock) -> (S::Store, SessionToken) {
    let patient = server.store("patient", Patience::long(clock));
    let (token, _) = begin(&patient, Some("ada"), b"1 lamp").await;
    let store = server.store(HASTY, Patience::short(clock));
    until_loaded(&store, &token, clock).await;
    (store, token)
}

/// Loads until the server answers, however long a slow machine takes.
async fn until_loaded(
    store: &impl AsyncSessionStore,
    token: &SessionToken,
    clock: &ManualClock,
) -> Version {
    loop {
        match store.load(token).await {
            Ok(Some(loaded)) if loaded.stale().is_none() => return loaded.version(),
            Ok(None) => panic!("nobody has ended it"),
            Ok(Some(_)) | Err(_) => clock.advance(SECOND),
        }
    }
}

async fn is_stale(
    store: &impl AsyncSessionStore,
    token: &SessionToken,
) -> Result<bool, Unavailable> {
    let loaded = store.load(token).await?;
    Ok(loaded.expect("nobody has ended it").stale().is_some())
}

async fn assert_save_is_refused(
    store: &impl AsyncSessionStore,
    token: &SessionToken,
    version: Version,
) {
    let saved = store.save(token, version, b"2".as_slice()).await;
    assert!(
        matches!(
            saved,
            Err(SaveError::Unavailable(Unavailable::Suspended { .. }))
        ),
        "{saved:?}"
    );
}

/// What a store finds that none has written.
pub trait Damages: Bed {
    /// Each by a name.
    const DAMAGES: &[&str];
    /// Whether changes read what they change, and say so too.
    const CHANGES_READ: bool;

    /// Does it to the only session there is. Says whether its user's list still has it.
    fn damage(&self, how: &str) -> bool;
}

pub async fn what_no_store_has_written_is_an_error_and_can_be_revoked<B: Damages>(
    bed: impl Fn() -> B,
) {
    let is_malformed = |why: &Unavailable| matches!(why, Unavailable::Malformed { .. });
    for how in B::DAMAGES {
        let bed = bed();
        let store = bed.store(Knobs::default()).await;
        let (token, version) = begin(&store, Some("ada"), b"data").await;
        let is_listed = bed.damage(how);
        let why = store.load(&token).await.unwrap_err();
        assert!(is_malformed(&why), "{how}: {why:?}");
        if is_listed {
            let why = store.sessions_of("ada").await.unwrap_err();
            assert!(is_malformed(&why), "{how}: {why:?}");
        }
        if B::CHANGES_READ {
            let saved = store.save(&token, version, b"".as_slice()).await;
            assert!(
                matches!(&saved, Err(SaveError::Unavailable(why)) if is_malformed(why)),
                "{how}: {saved:?}"
            );
            for cycled in [store.cycle(&token).await, store.log_in(&token, "ada").await] {
                assert!(
                    matches!(&cycled, Err(CycleError::Unavailable(why)) if is_malformed(why)),
                    "{how}: {cycled:?}"
                );
            }
        }
        // Others go on as before, and it can be got rid of.
        let (bob, _) = begin(&store, Some("bob"), b"").await;
        assert!(is_there(&store, &bob).await);
        assert!(store.revoke(&token).await.unwrap(), "{how}");
        assert!(!is_there(&store, &token).await);
        assert!(store.revoke(&bob).await.unwrap());
        store.revoke_user("ada", None).await.unwrap();
        assert!(store.sessions_of("ada").await.unwrap().is_empty());
    }
}

/// None of them says "there is no session".
pub async fn assert_every_call_fails(
    store: &impl AsyncSessionStore,
    token: &SessionToken,
    version: Version,
    is_right: impl Fn(&Unavailable) -> bool,
) {
    let check = |call: &str, why: Option<Unavailable>| {
        assert!(why.as_ref().is_some_and(&is_right), "{call}: {why:?}");
    };
    for user in [None, Some("ada".into())] {
        let created = store.create(user, b"".as_slice()).await;
        let Err(CreateError::Unavailable(why)) = created else {
            panic!("create: {created:?}")
        };
        check("create", Some(why));
    }
    check("load", store.load(token).await.err());
    check("peek", store.peek(token).await.err());
    let saves = [
        store.save(token, version, b"".as_slice()).await.map(drop),
        store.modify(token, |_| (Some(Vec::new()), ())).await,
    ];
    for saved in saves {
        let Err(SaveError::Unavailable(why)) = saved else {
            panic!("save: {saved:?}")
        };
        check("save", Some(why));
    }
    let cycles = [
        store.cycle(token).await,
        store.log_in(token, "ada").await,
        // What belongs to users may lie apart: one of the two goes the way between.
        store.log_in(token, "bob").await,
    ];
    for cycled in cycles {
        let Err(CycleError::Unavailable(why)) = cycled else {
            panic!("cycle: {cycled:?}")
        };
        check("cycle", Some(why));
    }
    let revokes = [
        store.revoke(token).await.map(drop),
        store.revoke_user("ada", None).await.map(drop),
    ];
    for revoked in revokes {
        let Err(RevokeError::Unavailable(why)) = revoked else {
            panic!("revoke: {revoked:?}")
        };
        check("revoke", Some(why));
    }
    check("sessions_of", store.sessions_of("ada").await.err());
}

const SECOND: Duration = Duration::from_secs(1);
const HASTY: &str = "hasty";
