//! What every store of sessions promises, as tests that any can be put to: a [`Bed`] says how one is made and how
//! its time passes, and [`every_promise!`] makes a test of each function here.

#![allow(
    unreachable_pub,
    reason = "a module of each program that has a store to test"
)]

mod races;

use std::time::Duration;

pub use races::{
    a_save_never_undoes_a_revocation, a_user_never_has_more_sessions_than_they_may,
    no_change_is_lost, no_session_escapes_a_concurrent_revoke_user, of_two_cycles_one_wins,
    of_two_log_ins_one_wins,
};
use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, PerUser, SaveError, SessionMap, SessionToken,
    UserId, Version,
};

/// Where stores of one kind are made.
pub trait Bed: Sync {
    type Store: AsyncSessionStore + 'static;

    /// An empty store.
    fn store(&self, knobs: Knobs) -> impl Future<Output = Self::Store>;

    /// Lets so many seconds pass for the sessions of the store.
    fn pass(&self, store: &Self::Store, seconds: u64) -> impl Future<Output = ()>;
}

/// What a store of the tests is set to.
#[derive(Debug, Clone, Copy)]
pub struct Knobs {
    pub idle: Duration,
    pub absolute: Duration,
    pub touch_every: Duration,
    pub max_per_user: usize,
    pub per_user: PerUser,
    pub max_data: usize,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(600),
            absolute: Duration::from_secs(1500),
            touch_every: Duration::from_secs(20),
            max_per_user: 100,
            per_user: PerUser::EvictOldest,
            max_data: 10_000,
        }
    }
}

/// `every_promise!(bed)` makes a test of each promise, on a bed that the expression makes anew.
macro_rules! every_promise {
    ($bed:expr) => {
        $crate::session_store::every_promise!($bed;
            a_session_is_begun_loaded_saved_and_ended
            a_token_that_the_store_did_not_draw_is_none
            a_save_replaces_only_the_version_it_names
            data_is_any_bytes_up_to_the_limit
            what_is_gone_stays_gone
            a_cycled_session_has_one_token
            a_log_in_changes_user_and_token
            a_log_in_takes_a_session_over_from_another_user
            a_user_is_logged_out_everywhere_but_here
            the_oldest_session_of_a_user_makes_room
            a_user_who_has_all_sessions_gets_no_more
            the_list_of_devices_tells_what_lives
            a_session_of_the_list_is_ended_by_its_key
            an_idle_session_ends_unless_it_is_used
            no_use_moves_the_absolute_deadline
            a_log_in_moves_the_absolute_deadline
            changes_are_made_to_what_is_there_now
            no_change_is_lost
            a_save_never_undoes_a_revocation
            of_two_cycles_one_wins
            of_two_log_ins_one_wins
            no_session_escapes_a_concurrent_revoke_user
            a_user_never_has_more_sessions_than_they_may
        );
    };
    ($bed:expr; $($name:ident)+) => {$(
        #[test]
        fn $name() {
            $crate::session_store::run(async { $crate::session_store::$name(&$bed).await });
        }
    )+};
}
pub(crate) use every_promise;

/// Runs a test on threads of its own.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

pub async fn a_session_is_begun_loaded_saved_and_ended(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let (token, version) = begin(&store, Some("ada"), b"1 lamp").await;
    for loaded in [store.load(&token).await, store.peek(&token).await] {
        let loaded = loaded.unwrap().unwrap();
        assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
        assert_eq!(loaded.user().unwrap().as_str(), "ada");
        assert_eq!(loaded.ends() - loaded.created(), 600);
    }
    let saved = store.save(&token, version, b"2 lamps".as_slice()).await;
    let loaded = store.load(&token).await.unwrap().unwrap();
    assert_eq!(
        (&loaded[..], loaded.version()),
        (&b"2 lamps"[..], saved.unwrap())
    );
    assert_eq!(loaded.user().unwrap().as_str(), "ada");

    assert!(store.revoke(&token).await.unwrap());
    assert!(!store.revoke(&token).await.unwrap());
    assert!(!is_there(&store, &token).await);

    let (nobody, _) = begin(&store, None, b"").await;
    let loaded = store.load(&nobody).await.unwrap().unwrap();
    assert!(loaded.is_empty() && loaded.user().is_none());
    // A user without a name is one all the same.
    let (nameless, _) = begin(&store, Some(""), b"").await;
    let loaded = store.load(&nameless).await.unwrap().unwrap();
    assert_eq!(loaded.user().unwrap().as_str(), "");
}

pub async fn a_token_that_the_store_did_not_draw_is_none(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let (_, version) = begin(&store, Some("ada"), b"").await;
    let foreign = SessionToken::draw().unwrap();
    assert!(!is_there(&store, &foreign).await);
    let saved = store.save(&foreign, version, b"mine".as_slice()).await;
    assert_eq!(saved, Err(SaveError::Gone));
    assert!(matches!(store.cycle(&foreign).await, Err(CycleError::Gone)));
    let log_in = store.log_in(&foreign, "ada").await;
    assert!(matches!(log_in, Err(CycleError::Gone)));
    assert!(!store.revoke(&foreign).await.unwrap());
    assert!(!is_there(&store, &foreign).await);
    assert_eq!(count(&store, "ada").await, 1);
}

pub async fn a_save_replaces_only_the_version_it_names(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let (token, first) = begin(&store, None, b"").await;
    let second = store.save(&token, first, b"two".as_slice()).await.unwrap();
    assert!(second > first);
    let newer = Version::from_u64(second.to_u64() + 1);
    for wrong in [
        first,
        newer,
        Version::from_u64(0),
        Version::from_u64(u64::MAX),
    ] {
        let saved = store.save(&token, wrong, b"three".as_slice()).await;
        assert_eq!(saved, Err(SaveError::Conflict { current: second }));
    }
    let loaded = store.peek(&token).await.unwrap().unwrap();
    assert_eq!((&loaded[..], loaded.version()), (&b"two"[..], second));
}

pub async fn data_is_any_bytes_up_to_the_limit(bed: &impl Bed) {
    let max = 300;
    let knobs = Knobs {
        max_data: max,
        ..Knobs::default()
    };
    let store = bed.store(knobs).await;
    let most: Vec<u8> = (0..max).map(|at| at as u8).collect();
    let more = [&most[..], b"!"].concat();
    let len = more.len();

    let refused = store.create(None, more.clone()).await;
    assert!(matches!(
        refused,
        Err(CreateError::TooLarge { len: 301, max: 300 })
    ));
    for user in [None, Some("ada\0\r\n*3\u{e9}")] {
        let (token, version) = begin(&store, user, &most).await;
        let saved = store.save(&token, version, more.clone()).await;
        assert_eq!(saved, Err(SaveError::TooLarge { len, max }));
        let loaded = store.load(&token).await.unwrap().unwrap();
        assert_eq!(&loaded[..], &most[..]);
        assert_eq!(loaded.user().map(UserId::as_str), user);
    }
}

pub async fn what_is_gone_stays_gone(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let (revoked, version) = begin(&store, Some("ada"), b"").await;
    store.revoke(&revoked).await.unwrap();
    assert_gone(&store, &revoked, version).await;

    let (cycled, version) = begin(&store, Some("ada"), b"").await;
    store.cycle(&cycled).await.unwrap();
    assert_gone(&store, &cycled, version).await;

    let (logged_out, version) = begin(&store, Some("ada"), b"").await;
    store.revoke_user("ada", None).await.unwrap();
    assert_gone(&store, &logged_out, version).await;

    let (idle, version) = begin(&store, Some("ada"), b"").await;
    bed.pass(&store, 600).await;
    assert_gone(&store, &idle, version).await;
}

pub async fn a_cycled_session_has_one_token(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    for user in [None, Some("ada")] {
        let (old, version) = begin(&store, user, b"data").await;
        bed.pass(&store, 5).await;
        let before = store.peek(&old).await.unwrap().unwrap();
        let new = store.cycle(&old).await.unwrap();
        assert!(!is_there(&store, &old).await);
        let after = store.load(&new).await.unwrap().unwrap();
        assert_eq!(&after[..], b"data");
        assert_eq!(after.user(), before.user());
        assert_eq!(after.created(), before.created());
        assert!(after.version() > version);
        // What was loaded before is not saved by a guess either.
        let late = store.save(&new, version, b"late".as_slice()).await;
        assert!(matches!(late, Err(SaveError::Conflict { .. })));
        if user.is_some() {
            let keys: Vec<_> = keys(&store, "ada").await;
            assert_eq!(keys, [new.key()]);
        }
    }
}

pub async fn a_log_in_changes_user_and_token(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    // Many, so that stores which lay sessions out by user go every way there is.
    for number in 0..20 {
        let ada = format!("ada {number}");
        let (planted, version) = begin(&store, None, b"cart").await;
        let token = store.log_in(&planted, ada.as_str()).await.unwrap();
        assert_gone(&store, &planted, version).await;
        let loaded = store.load(&token).await.unwrap().unwrap();
        assert_eq!(&loaded[..], b"cart");
        assert_eq!(loaded.user().unwrap().as_str(), ada);
        assert_eq!(keys(&store, &ada).await, [token.key()]);

        // Once more, for what needs a password again.
        let again = store.log_in(&token, ada.as_str()).await.unwrap();
        assert_gone(&store, &token, loaded.version()).await;
        assert_eq!(keys(&store, &ada).await, [again.key()]);
    }
}

pub async fn a_log_in_takes_a_session_over_from_another_user(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let (token, version) = begin(&store, Some("ada"), b"cart").await;
    let bobs = store.log_in(&token, "bob").await.unwrap();
    assert_gone(&store, &token, version).await;
    assert_eq!(count(&store, "ada").await, 0);
    assert_eq!(keys(&store, "bob").await, [bobs.key()]);
    assert_eq!(store.revoke_user("ada", None).await.unwrap(), 0);
    assert!(is_there(&store, &bobs).await);
    assert_eq!(store.revoke_user("bob", None).await.unwrap(), 1);
    assert!(!is_there(&store, &bobs).await);
}

pub async fn a_user_is_logged_out_everywhere_but_here(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let mut tokens = Vec::new();
    for _ in 0..5 {
        tokens.push(begin(&store, Some("ada"), b"").await.0);
    }
    let (other, _) = begin(&store, Some("bob"), b"").await;
    store.revoke(&tokens[4]).await.unwrap();

    let ended = store.revoke_user("ada", Some(&tokens[2])).await.unwrap();
    assert_eq!(ended, 3);
    for (at, token) in tokens.iter().enumerate() {
        assert_eq!(is_there(&store, token).await, at == 2, "{at}");
    }
    assert!(is_there(&store, &other).await);
    assert_eq!(keys(&store, "ada").await, [tokens[2].key()]);
    // Somebody else's session is not spared by being named, nor harmed.
    assert_eq!(store.revoke_user("ada", Some(&other)).await.unwrap(), 1);
    assert!(is_there(&store, &other).await && !is_there(&store, &tokens[2]).await);
    assert_eq!(store.revoke_user("ada", None).await.unwrap(), 0);
    // Who logs in afterwards is in.
    let (fresh, _) = begin(&store, Some("ada"), b"").await;
    assert!(is_there(&store, &fresh).await);
}

pub async fn the_oldest_session_of_a_user_makes_room(bed: &impl Bed) {
    let knobs = Knobs {
        max_per_user: 2,
        ..Knobs::default()
    };
    let store = bed.store(knobs).await;
    let (first, _) = begin(&store, Some("ada"), b"").await;
    bed.pass(&store, 1).await;
    let (second, _) = begin(&store, Some("ada"), b"").await;
    bed.pass(&store, 1).await;
    // One's own session does not make room for itself by ending another.
    let second = store.log_in(&second, "ada").await.unwrap();
    assert!(is_there(&store, &first).await);
    let (third, _) = begin(&store, Some("ada"), b"").await;
    assert!(!is_there(&store, &first).await);
    bed.pass(&store, 1).await;
    let (guest, _) = begin(&store, None, b"").await;
    let fourth = store.log_in(&guest, "ada").await.unwrap();
    assert_eq!(count(&store, "ada").await, 2);
    assert!(is_there(&store, &fourth).await);
    let left = [&second, &third];
    let mut there = 0;
    for token in left {
        there += usize::from(is_there(&store, token).await);
    }
    assert_eq!(there, 1);
}

pub async fn a_user_who_has_all_sessions_gets_no_more(bed: &impl Bed) {
    let knobs = Knobs {
        max_per_user: 2,
        per_user: PerUser::Refuse,
        ..Knobs::default()
    };
    let store = bed.store(knobs).await;
    let (first, _) = begin(&store, Some("ada"), b"").await;
    bed.pass(&store, 100).await;
    let (second, _) = begin(&store, Some("ada"), b"").await;
    let third = store.create(Some("ada".into()), b"".as_slice()).await;
    assert!(matches!(third, Err(CreateError::UserFull { max: 2 })));
    let (guest, _) = begin(&store, None, b"").await;
    let third = store.log_in(&guest, "ada").await;
    assert!(matches!(third, Err(CycleError::UserFull { max: 2 })));
    assert!(is_there(&store, &guest).await);
    // Their own session they may log in again in.
    let second = store.log_in(&second, "ada").await.unwrap();
    // What has expired takes no room, and other users have their own.
    begin(&store, Some("bob"), b"").await;
    bed.pass(&store, 500).await;
    assert!(!is_there(&store, &first).await && is_there(&store, &second).await);
    store.log_in(&guest, "ada").await.unwrap();
    assert_eq!(count(&store, "ada").await, 2);
}

pub async fn the_list_of_devices_tells_what_lives(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    assert_eq!(count(&store, "ada").await, 0);
    let (phone, _) = begin(&store, Some("ada"), b"phone").await;
    bed.pass(&store, 100).await;
    let (laptop, _) = begin(&store, Some("ada"), b"laptop").await;
    begin(&store, Some("adam"), b"").await;
    bed.pass(&store, 100).await;
    let loaded = store.load(&laptop).await.unwrap().unwrap();

    let list = store.sessions_of("ada").await.unwrap();
    let [first, second] = &list[..] else {
        panic!("{list:?}")
    };
    assert_eq!((first.key, &first.data[..]), (phone.key(), &b"phone"[..]));
    assert_eq!(
        (second.key, &second.data[..]),
        (laptop.key(), &b"laptop"[..])
    );
    // A clock that is not turned by hand may go on by a little.
    let about = |found: u64, right: u64| (right..right + 30).contains(&found);
    assert!(about(second.created, first.created + 100));
    assert_eq!(
        (first.seen, first.ends),
        (first.created, first.created + 600)
    );
    assert!(about(second.seen, second.created + 100));
    assert_eq!(second.ends, loaded.ends());

    bed.pass(&store, 400).await;
    assert_eq!(keys(&store, "ada").await, [laptop.key()]);
}

pub async fn a_session_of_the_list_is_ended_by_its_key(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let (phone, _) = begin(&store, Some("ada"), b"lost phone").await;
    let (here, _) = begin(&store, Some("ada"), b"here").await;
    let list = store.sessions_of("ada").await.unwrap();
    let found = list.iter().find(|info| &info.data[..] == b"lost phone");
    assert!(store.revoke_key(found.unwrap().key).await.unwrap());
    assert!(!is_there(&store, &phone).await && is_there(&store, &here).await);
    assert!(!store.revoke_key(phone.key()).await.unwrap());
    assert_eq!(keys(&store, "ada").await, [here.key()]);
}

pub async fn an_idle_session_ends_unless_it_is_used(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let (loaded, _) = begin(&store, Some("ada"), b"").await;
    let (mut cycled, _) = begin(&store, None, b"").await;
    let (saved, mut version) = begin(&store, None, b"").await;
    let (peeked, _) = begin(&store, None, b"").await;
    for _ in 0..3 {
        bed.pass(&store, 250).await;
        assert!(store.load(&loaded).await.unwrap().is_some());
        cycled = store.cycle(&cycled).await.unwrap();
        version = store.save(&saved, version, b"".as_slice()).await.unwrap();
        store.peek(&peeked).await.unwrap();
    }
    assert!(!is_there(&store, &peeked).await);
    for used in [&loaded, &cycled, &saved] {
        assert!(is_there(&store, used).await);
    }
    bed.pass(&store, 600).await;
    for used in [&loaded, &cycled, &saved] {
        assert!(!is_there(&store, used).await);
    }
}

pub async fn no_use_moves_the_absolute_deadline(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let (mut token, _) = begin(&store, Some("ada"), b"").await;
    for _ in 0..3 {
        bed.pass(&store, 400).await;
        let loaded = store.load(&token).await.unwrap().unwrap();
        let saved = store.save(&token, loaded.version(), b"x".as_slice()).await;
        saved.unwrap();
        token = store.cycle(&token).await.unwrap();
        let loaded = store.load(&token).await.unwrap().unwrap();
        assert!(loaded.ends() <= loaded.created() + 1500);
    }
    let loaded = store.load(&token).await.unwrap().unwrap();
    assert_eq!(loaded.ends(), loaded.created() + 1500);
    bed.pass(&store, 300).await;
    assert!(!is_there(&store, &token).await);
}

pub async fn a_log_in_moves_the_absolute_deadline(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let (guest, _) = begin(&store, None, b"").await;
    bed.pass(&store, 500).await;
    let token = store.log_in(&guest, "ada").await.unwrap();
    for _ in 0..2 {
        bed.pass(&store, 550).await;
        assert!(store.load(&token).await.unwrap().is_some());
    }
    assert!(is_there(&store, &token).await);
}

pub async fn changes_are_made_to_what_is_there_now(bed: &impl Bed) {
    let store = bed.store(Knobs::default()).await;
    let empty = SessionMap::new().to_bytes();
    let (token, version) = begin(&store, None, &empty).await;
    let mut one = SessionMap::new();
    one.insert("cart", "lamp");
    let mut two = SessionMap::new();
    two.insert("language", "de");
    store.merge(&token, &one).await.unwrap();
    store.merge(&token, &two).await.unwrap();
    let loaded = store.load(&token).await.unwrap().unwrap();
    let both = SessionMap::from_bytes(&loaded).unwrap();
    assert_eq!(both.get("cart"), Some(&b"lamp"[..]));
    assert_eq!(both.get("language"), Some(&b"de"[..]));
    assert!(loaded.version() > version);

    let asked = store.modify(&token, |data| (None, data.len())).await;
    assert_eq!(asked, Ok(loaded.len()));
    let after = store.peek(&token).await.unwrap().unwrap();
    assert_eq!(after.version(), loaded.version());
    let set = store
        .modify(&token, |_| (Some(b"no map".to_vec()), ()))
        .await;
    assert_eq!(set, Ok(()));
    let merged = store.merge(&token, &one).await;
    assert_eq!(merged, Err(SaveError::NotAMap));
    store.revoke(&token).await.unwrap();
    let merged = store.merge(&token, &one).await;
    assert_eq!(merged, Err(SaveError::Gone));
}

/// Begins a session that nothing is in the way of.
pub async fn begin(
    store: &impl AsyncSessionStore,
    user: Option<&str>,
    data: &[u8],
) -> (SessionToken, Version) {
    let user = user.map(Into::into);
    store.create(user, data).await.unwrap()
}

pub async fn is_there(store: &impl AsyncSessionStore, token: &SessionToken) -> bool {
    store.peek(token).await.unwrap().is_some()
}

async fn count(store: &impl AsyncSessionStore, user: &str) -> usize {
    store.sessions_of(user).await.unwrap().len()
}

async fn keys(store: &impl AsyncSessionStore, user: &str) -> Vec<tenfold::session::SessionKey> {
    let list = store.sessions_of(user).await.unwrap();
    list.into_iter().map(|info| info.key).collect()
}

async fn assert_gone(store: &impl AsyncSessionStore, token: &SessionToken, version: Version) {
    assert!(store.load(token).await.unwrap().is_none());
    let saved = store.save(token, version, b"late".as_slice()).await;
    assert_eq!(saved, Err(SaveError::Gone));
    assert!(matches!(store.cycle(token).await, Err(CycleError::Gone)));
    let log_in = store.log_in(token, "ada").await;
    assert!(matches!(log_in, Err(CycleError::Gone)));
    assert!(!store.revoke(token).await.unwrap());
    assert!(!is_there(store, token).await);
}
