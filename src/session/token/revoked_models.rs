//! What is revoked while others ask, revoke and sweep, under every interleaving that shuttle's scheduler tries: the
//! denylist, the sieve in front of it, and the memory of verified tokens.

use std::sync::Arc;
use std::time::Duration;

use shuttle::thread;

use super::claims::ClaimsRef;
use super::verified::VerifiedCache;
use super::{Denylist, KeyRing, Scope, TokenError, TokenIssuer, TokenVerifier};
use crate::session::WallClock;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::explore;
use crate::time::ManualClock;

const NOW: u64 = 1_700_000_000;
const LIFE: Duration = Duration::from_secs(100);
/// How far ahead tokens may be dated.
const AHEAD: Duration = Duration::from_secs(30);

fn list(max: usize) -> (ManualClock, Arc<Denylist>) {
    let clock = ManualClock::new();
    let wall = WallClock::manual(&clock, NOW);
    (clock, Arc::new(Denylist::new(max, LIFE, wall)))
}

fn scope(list: &Denylist, family: usize, issued: u64) -> Option<Scope> {
    let claims =
        format!(r#"{{"sub":"user {family}","sid":"f{family}","iat":{issued},"exp":{NOW}}}"#);
    list.scope(&ClaimsRef::read(claims.as_bytes()).unwrap())
}

fn deny(list: &Denylist, family: usize) {
    list.deny_family(&format!("f{family}"), &format!("user {family}"));
}

fn join<const N: usize>(threads: [thread::JoinHandle<()>; N]) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// So many that the sieve grows meanwhile, twice.
#[test]
fn who_was_denied_is_never_let_through() {
    explore(ROUNDS, || {
        let (_, list) = list(100);
        let returned = Arc::new(AtomicU64::new(0));
        let denying = [0, 1].map(|half| {
            let (list, returned) = (Arc::clone(&list), Arc::clone(&returned));
            thread::spawn(move || {
                for family in (half..FAMILIES).step_by(2) {
                    deny(&list, family);
                    returned.fetch_or(1 << family, Ordering::SeqCst);
                }
            })
        });
        for _ in 0..3 {
            let returned = returned.load(Ordering::SeqCst);
            for family in (0..FAMILIES).filter(|family| returned >> family & 1 == 1) {
                assert_eq!(scope(&list, family, NOW), Some(Scope::Family));
            }
        }
        join(denying);
        for family in 0..FAMILIES {
            assert!(list.has_family(&format!("f{family}")));
        }
        assert_eq!((list.len(), scope(&list, FAMILIES, NOW)), (FAMILIES, None));
    });
}

/// The words of the sieve are written anew while somebody reads them.
#[test]
fn a_sweep_hides_nobody_for_a_moment() {
    explore(ROUNDS, || {
        let (clock, list) = list(100);
        (0..3).for_each(|family| deny(&list, family));
        clock.advance(LIFE / 2);
        deny(&list, 3);
        clock.advance(LIFE / 2 + AHEAD);
        let other = Arc::clone(&list);
        // Finds three that are over.
        let other = thread::spawn(move || deny(&other, 4));
        for _ in 0..3 {
            assert_eq!(scope(&list, 3, NOW), Some(Scope::Family));
        }
        other.join().unwrap();
        assert_eq!(list.len(), 2);
    });
}

/// What there is no room for is revoked with its user, and users with everybody; the count stays within its bound, sweeps
/// or not.
#[test]
fn a_full_list_revokes_all_it_is_told_and_counts_right() {
    explore(ROUNDS, || {
        let (clock, list) = list(2);
        deny(&list, 7);
        clock.advance(LIFE + AHEAD);
        let now = NOW + 130;
        let denying = [0, 1, 2].map(|family| {
            let list = Arc::clone(&list);
            thread::spawn(move || {
                deny(&list, family);
                assert!(scope(&list, family, now).is_some());
                assert!(list.len() <= 2);
            })
        });
        assert!(list.len() <= 2);
        join(denying);
        assert!(list.len() <= 2);
        assert!((0..3).all(|family| scope(&list, family, now).is_some()));
        clock.advance(LIFE + Duration::from_secs(100));
        deny(&list, 8);
        assert_eq!(list.len(), 1);
    });
}

/// Twice within one second: tokens of between are caught by the second, those of after by neither.
#[test]
fn whoever_was_let_in_between_is_out_after_the_second_log_out() {
    explore(ROUNDS, || {
        let (_, list) = list(100);
        list.deny_user("ada");
        let between = list.first_date("ada", NOW);
        let other = Arc::clone(&list);
        let other = thread::spawn(move || other.first_date("ada", NOW));
        list.deny_user("ada");
        let after = list.first_date("ada", NOW);
        let revoked = |issued: u64| {
            let claims = format!(r#"{{"sub":"ada","iat":{issued},"exp":{NOW}}}"#);
            list.scope(&ClaimsRef::read(claims.as_bytes()).unwrap())
        };
        assert_eq!(
            (revoked(between), revoked(after)),
            (Some(Scope::User), None)
        );
        let meanwhile = other.join().unwrap();
        assert!(meanwhile == between || meanwhile == after);
    });
}

/// One thread verifies, and so remembers, what the other revokes.
#[test]
fn a_token_is_not_let_in_from_memory_once_it_is_revoked() {
    for everywhere in [false, true] {
        explore(ROUNDS, move || {
            let ring = || KeyRing::builder().hs256("a", &[7; 32]).active("a").build();
            let wall = WallClock::manual(&ManualClock::new(), NOW);
            let issuer = TokenIssuer::builder(ring().unwrap()).issuer("me");
            let issuer = issuer.audience("api").clock(wall.clone()).build().unwrap();
            let verifier = TokenVerifier::builder(ring().unwrap()).issuer("me");
            let verifier = verifier.audience("api").denylist(issuer.denylist());
            let verifier = Arc::new(verifier.clock(wall).cache(1).build().unwrap());
            let pair = issuer.log_in("ada", "").unwrap();
            let (other, token) = (Arc::clone(&verifier), pair.access().to_owned());
            let other =
                thread::spawn(move || [(); 2].map(|()| other.verify(&token, |_| ()).is_ok()));
            if everywhere {
                issuer.log_out_everywhere("ada");
            } else {
                issuer.log_out(pair.refresh()).unwrap();
            }
            let revoked = |scope| Err(TokenError::Revoked(scope));
            let scope = if everywhere {
                Scope::User
            } else {
                Scope::Family
            };
            assert_eq!(verifier.verify(pair.access(), |_| ()), revoked(scope));
            let [first, second] = other.join().unwrap();
            assert!(first || !second);
            assert_eq!(verifier.verify(pair.access(), |_| ()), revoked(scope));
        });
    }
}

/// All in one set, which has places for eight.
#[test]
fn memory_gives_a_token_its_own_claims_or_none() {
    explore(ROUNDS, || {
        let cache = Arc::new(VerifiedCache::new(1));
        let put = |cache: &VerifiedCache, number: usize| {
            let claims = format!(r#"{{"sub":"{number}","exp":5}}"#);
            let claims = ClaimsRef::read(claims.as_bytes()).unwrap();
            cache.insert(&format!("token {number}"), &claims);
        };
        let is_right = |cache: &VerifiedCache, number: usize| {
            let found = cache.get(&format!("token {number}"));
            let subject = number.to_string();
            found.is_none_or(|found| found.get().subject().as_deref() == Some(&subject))
        };
        let threads = [0, 5].map(|from| {
            let cache = Arc::clone(&cache);
            thread::spawn(move || {
                for number in from..from + 5 {
                    put(&cache, number);
                    assert!((0..10).all(|number| is_right(&cache, number)));
                }
            })
        });
        join(threads);
        let kept = (0..10).filter(|number| cache.get(&format!("token {number}")).is_some());
        assert_eq!(kept.count(), 8);
    });
}

const FAMILIES: usize = 10;
const ROUNDS: usize = 200;
