//! Refresh tokens: what users of rotation complained of, and what a thief would try.

use std::collections::HashSet;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use tenfold::session::WallClock;
use tenfold::session::token::{
    Deadline, KeyRing, LogInError, RefreshError, Refreshed, Scope, TokenError, TokenIssuer,
    TokenIssuerBuilder, TokenPair, TokenVerifier,
};
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const NOW: u64 = 1_700_000_000;

struct World {
    clock: ManualClock,
    issuer: TokenIssuer,
    verifier: TokenVerifier,
}

fn ring() -> KeyRing {
    let ring = KeyRing::builder().hs256("a", &[7; 32]).active("a");
    ring.build().unwrap()
}

impl World {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(settings: impl FnOnce(TokenIssuerBuilder) -> TokenIssuerBuilder) -> Self {
        let clock = ManualClock::new();
        let wall = WallClock::manual(&clock, NOW);
        let issuer = TokenIssuer::builder(ring()).issuer("me").audience("api");
        let issuer = issuer.idle(1000 * SECOND).absolute(3000 * SECOND);
        let issuer = settings(issuer.clock(wall.clone())).build().unwrap();
        let verifier = TokenVerifier::builder(ring()).issuer("me").audience("api");
        // No allowance: what is refused is refused for the reason meant.
        let verifier = verifier.leeway(Duration::ZERO).denylist(issuer.denylist());
        Self {
            clock,
            verifier: verifier.clock(wall).build().unwrap(),
            issuer,
        }
    }

    fn pass(&self, seconds: u32) {
        self.clock.advance(seconds * SECOND);
    }

    fn log_in(&self, user: &str) -> TokenPair {
        self.issuer.log_in(user, "").unwrap()
    }

    fn rotate(&self, pair: &TokenPair) -> TokenPair {
        match self.issuer.refresh(pair.refresh()) {
            Ok(Refreshed::Rotated(pair)) => pair,
            other => panic!("{other:?}"),
        }
    }

    fn access(&self, pair: &TokenPair) -> Result<(), TokenError> {
        self.verifier.verify(pair.access(), |_| ())
    }
}

#[test]
fn an_access_token_says_whose_it_is_and_of_which_log_in() {
    let world = World::new();
    let pair = world
        .issuer
        .log_in("a\"da", r#""scope":"r\u0065ad","n":1"#)
        .unwrap();
    let check = |pair: &TokenPair| {
        world.verifier.verify(pair.access(), |claims| {
            assert_eq!(claims.subject().as_deref(), Some("a\"da"));
            assert_eq!(claims.text("scope").as_deref(), Some("read"));
            assert_eq!(claims.family().as_deref(), Some(pair.family()));
            assert_eq!(claims.expires(), pair.expires());
            claims.id().unwrap().into_owned()
        })
    };
    let first = check(&pair).unwrap();
    let second = check(&world.rotate(&pair)).unwrap();
    assert_ne!(first, second);
    let printed = format!("{pair:?} {:?}", world.issuer);
    assert!(!printed.contains(pair.refresh()) && !printed.contains(pair.access()));
}

/// Two tabs, a lost answer, sixty-four requests: one rotates, nobody is logged out.
#[test]
fn concurrent_refreshes_log_nobody_out() {
    let world = World::new();
    for _ in 0..5 {
        let pair = world.log_in("ada");
        let barrier = Barrier::new(64);
        let all: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        world.issuer.refresh(pair.refresh()).unwrap()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let rotated = all
            .iter()
            .filter(|one| matches!(one, Refreshed::Rotated(_)));
        assert_eq!(rotated.count(), 1);
        let pairs: Vec<_> = all.into_iter().map(Refreshed::into_pair).collect();
        assert!(pairs.iter().all(|other| *other == pairs[0]));
        assert_eq!(world.access(&pairs[0]), Ok(()));
        world.rotate(&pairs[0]);
    }
}

/// The grace was hit by a request that then never got the new cookie: half a minute later it
/// was logged out. It gets the current pair, whatever rotated meanwhile.
#[test]
fn within_the_grace_every_token_of_it_leads_to_the_current_pair() {
    let world = World::new();
    let first = world.log_in("ada");
    let second = world.rotate(&first);
    world.pass(4);
    let third = world.rotate(&second);
    world.pass(5);
    for late in [&first, &second] {
        let replayed = world.issuer.refresh(late.refresh());
        assert_eq!(replayed, Ok(Refreshed::Replayed(third.clone())));
    }
    // The first one's grace is over, the second one's is not.
    world.pass(1);
    let replayed = world.issuer.refresh(second.refresh());
    assert_eq!(replayed, Ok(Refreshed::Replayed(third.clone())));
    let reused = world.issuer.refresh(first.refresh());
    assert!(matches!(reused, Err(RefreshError::Reused { .. })));
}

/// A token that was used long ago, not just the last one, ends the log-in: its thief's branch
/// and its owner's.
#[test]
fn any_token_that_is_used_again_after_the_grace_ends_the_log_in() {
    for age in 1..5 {
        let world = World::new();
        let other = world.log_in("ada");
        let mut pairs = vec![world.log_in("ada")];
        for _ in 0..age {
            world.pass(10);
            pairs.push(world.rotate(&pairs[pairs.len() - 1]));
        }
        world.pass(10);
        let last = pairs.last().unwrap();
        assert_eq!(world.access(last), Ok(()));
        let reused = world.issuer.refresh(pairs[0].refresh());
        let (user, family) = ("ada".into(), last.family().to_owned());
        assert_eq!(reused, Err(RefreshError::Reused { user, family }));
        for pair in &pairs {
            assert_eq!(
                world.issuer.refresh(pair.refresh()),
                Err(RefreshError::Revoked)
            );
            assert_eq!(world.access(pair), Err(TokenError::Revoked(Scope::Family)));
        }
        assert_eq!(world.access(&other), Ok(()));
        world.rotate(&other);
    }
}

/// A forged token must not end anybody's log-in.
#[test]
fn a_guess_ends_nothing() {
    let world = World::new();
    let first = world.log_in("ada");
    let second = world.rotate(&first);
    world.pass(20);
    let token = first.refresh();
    for at in 0..token.len() {
        let other = if token[at..].starts_with('A') {
            "B"
        } else {
            "A"
        };
        let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        assert_eq!(
            world.issuer.refresh(&forged),
            Err(RefreshError::Malformed),
            "{at}"
        );
        assert_eq!(world.issuer.log_out(&forged), Err(RefreshError::Malformed));
    }
    for wrong in ["", "x", second.access(), &token[1..], &format!("{token}A")] {
        assert_eq!(world.issuer.refresh(wrong), Err(RefreshError::Malformed));
    }
    // Another issuer's are as good as forged.
    let stranger = World::new().log_in("ada");
    assert_eq!(
        world.issuer.refresh(stranger.refresh()),
        Err(RefreshError::Malformed)
    );
    world.rotate(&second);
}

#[test]
fn a_log_in_ends_when_it_is_idle_and_when_it_is_old() {
    let world = World::new();
    let idle = world.log_in("ada");
    world.pass(999);
    let mut pair = world.rotate(&idle);
    world.pass(1000);
    let expired = |deadline| Err(RefreshError::Expired(deadline));
    assert_eq!(
        world.issuer.refresh(pair.refresh()),
        expired(Deadline::Idle)
    );
    pair = world.log_in("ada");
    for _ in 0..4 {
        world.pass(700);
        pair = world.rotate(&pair);
    }
    world.pass(199);
    pair = world.rotate(&pair);
    world.pass(1);
    assert_eq!(
        world.issuer.refresh(pair.refresh()),
        expired(Deadline::Absolute)
    );
    assert_eq!(world.issuer.sweep(usize::from(u16::MAX)), 2);
    assert_eq!(
        world.issuer.refresh(pair.refresh()),
        Err(RefreshError::Unknown)
    );
    assert!(world.issuer.is_empty());
}

#[test]
fn who_logs_out_is_out_with_access_tokens_and_all() {
    let world = World::new();
    let (out, stays) = (world.log_in("ada"), world.log_in("ada"));
    let newer = world.rotate(&out);
    // By an older token of the log-in as well.
    assert_eq!(world.issuer.log_out(out.refresh()), Ok(true));
    assert_eq!(world.issuer.log_out(newer.refresh()), Ok(false));
    assert_eq!(
        world.issuer.refresh(newer.refresh()),
        Err(RefreshError::Revoked)
    );
    for pair in [&out, &newer] {
        assert_eq!(world.access(pair), Err(TokenError::Revoked(Scope::Family)));
    }
    assert_eq!(world.access(&stays), Ok(()));
    world.rotate(&stays);
}

/// Dates of tokens are whole seconds: a log-in in the second of a log-out everywhere was
/// caught by it, or a token from before it was not.
#[test]
fn after_a_log_out_everywhere_who_logs_in_is_in() {
    let world = World::new();
    let (one, two, other) = (
        world.log_in("ada"),
        world.log_in("ada"),
        world.log_in("bob"),
    );
    assert_eq!(world.issuer.log_out_everywhere("ada"), 2);
    let again = world.log_in("ada");
    for pair in [&one, &two] {
        assert_eq!(world.access(pair), Err(TokenError::Revoked(Scope::User)));
        assert_eq!(
            world.issuer.refresh(pair.refresh()),
            Err(RefreshError::Revoked)
        );
    }
    assert_eq!(
        (world.access(&again), world.access(&other)),
        (Ok(()), Ok(()))
    );
    let newer = world.rotate(&again);
    assert_eq!(world.access(&newer), Ok(()));
    // Twice in a second.
    assert_eq!(world.issuer.log_out_everywhere("ada"), 1);
    assert_eq!(
        world.issuer.refresh(newer.refresh()),
        Err(RefreshError::Revoked)
    );
    for pair in [&again, &newer] {
        assert_eq!(world.access(pair), Err(TokenError::Revoked(Scope::User)));
    }
    world.pass(1);
    let again = world.log_in("ada");
    assert_eq!(world.access(&again), Ok(()));
}

/// The same for everybody at once; and who revokes again and again what nobody was given since does not run ahead
/// of the clock.
#[test]
fn who_is_let_in_between_two_revocations_of_all_is_out_after_the_second() {
    let world = World::new();
    let list = world.issuer.denylist();
    for _ in 0..100 {
        list.deny_all();
    }
    let one = world.log_in("ada");
    assert_eq!(world.access(&one), Ok(()));
    list.deny_all();
    let two = world.log_in("ada");
    assert_eq!(world.access(&one), Err(TokenError::Revoked(Scope::All)));
    world.pass(1);
    assert_eq!(world.access(&two), Ok(()));
    // Nor does who revokes a user's again and again, beyond what verifiers allow by default.
    for _ in 0..100 {
        list.deny_user("ada");
    }
    let three = world.log_in("ada");
    assert_eq!(world.access(&three), Err(TokenError::IssuedInFuture));
    world.pass(29);
    assert_eq!(world.access(&three), Ok(()));
}

/// What is refreshed on other threads while its user is logged out everywhere is out too.
#[test]
fn no_refresh_escapes_a_log_out_everywhere() {
    let world = World::new();
    for _ in 0..200 {
        let pair = world.log_in("ada");
        let (refreshed, _) = thread::scope(|scope| {
            let refresh = scope.spawn(|| world.issuer.refresh(pair.refresh()));
            let out = scope.spawn(|| world.issuer.log_out_everywhere("ada"));
            (refresh.join().unwrap(), out.join().unwrap())
        });
        if let Ok(refreshed) = refreshed {
            let pair = refreshed.into_pair();
            assert_eq!(world.access(&pair), Err(TokenError::Revoked(Scope::User)));
            assert_eq!(
                world.issuer.refresh(pair.refresh()),
                Err(RefreshError::Revoked)
            );
        }
        world.pass(2);
    }
}

/// Somebody rotates in a loop: the list of what was used a moment ago does not grow, and they
/// are not logged out by that.
#[test]
fn who_rotates_too_fast_is_answered_with_what_they_have() {
    let world = World::new();
    let mut pair = world.log_in("ada");
    let mut last = None;
    for _ in 0..100 {
        let next = world.issuer.refresh(pair.refresh()).unwrap();
        last = Some(matches!(next, Refreshed::Replayed(_)));
        pair = next.into_pair();
    }
    assert_eq!(last, Some(true));
    world.pass(10);
    world.rotate(&pair);
}

#[test]
fn extra_claims_cannot_replace_the_issuers() {
    let world = World::new();
    for wrong in [
        "\"sub\":\"root\"",
        "\"exp\":9",
        "\"a\":1,\"a\":2",
        "\"a\":1}",
        "a",
        "\"a\":1,",
        "\"s\\u0075b\":\"root\"",
        "}, {",
        "\"x\":1}{\"sub\":2",
    ] {
        let refused = world.issuer.log_in("ada", wrong);
        assert!(matches!(refused, Err(LogInError::Extra { .. })), "{wrong}");
    }
    assert!(world.issuer.is_empty());
}

#[test]
fn there_are_no_more_log_ins_than_may_be() {
    let world = World::with(|builder| builder.max_log_ins(10));
    for user in 0..10 {
        world.log_in(&user.to_string());
    }
    let full = world.issuer.log_in("one too many", "");
    assert_eq!(full, Err(LogInError::Full { max: 10 }));
    world.pass(1000);
    // Each attempt looks at a few shards for what is over.
    let attempts = (0..64)
        .filter(|_| world.issuer.log_in("late", "").is_ok())
        .count();
    assert!((1..=10).contains(&attempts));
    assert!(world.issuer.len() <= 10);
}

/// A service has no log-in to end: its tokens are revoked one by one, or with its name.
#[test]
fn a_token_without_a_log_in_is_revoked_alone_or_with_its_subject() {
    let world = World::new();
    let issue = || {
        world
            .issuer
            .issue("basket", "\"scope\":\"reserve\"")
            .unwrap()
    };
    let verify = |token: &str| {
        world.verifier.verify(token, |claims| {
            assert_eq!(claims.family(), None);
            assert_eq!(claims.expires() - claims.issued().unwrap(), 900);
            (
                claims.id().unwrap().into_owned(),
                claims.subject().unwrap().into_owned(),
            )
        })
    };
    let tokens: Vec<_> = (0..1000).map(|_| issue()).collect();
    let ids: HashSet<_> = tokens
        .iter()
        .map(|token| verify(token).unwrap().0)
        .collect();
    assert_eq!(ids.len(), tokens.len(), "each has a name of its own");
    assert_eq!(verify(&tokens[0]).unwrap().1, "basket");
    let list = world.issuer.denylist();
    world
        .verifier
        .verify(&tokens[0], |claims| list.deny(claims))
        .unwrap();
    assert_eq!(verify(&tokens[0]), Err(TokenError::Revoked(Scope::Token)));
    assert!(verify(&tokens[1]).is_ok());
    list.deny_user("basket");
    assert_eq!(verify(&tokens[1]), Err(TokenError::Revoked(Scope::User)));
    // One that is issued afterwards is dated after it.
    world.pass(1);
    assert!(verify(&issue()).is_ok());
    assert!(world.issuer.issue("basket", "\"sub\":\"ada\"").is_err());
    assert!(world.issuer.is_empty());
}

/// A connection that lives longer than its token asks whether its log-in does.
#[test]
fn a_connection_hears_of_the_end_of_its_log_in() {
    let world = World::new();
    let (pair, other) = (world.log_in("ada"), world.log_in("ada"));
    let list = world.issuer.denylist();
    assert!(!list.has_family(pair.family()));
    world.issuer.log_out(pair.refresh()).unwrap();
    assert!(list.has_family(pair.family()) && !list.has_family(other.family()));
    assert!(!list.has_family("") && !list.has_family("another name"));
}
