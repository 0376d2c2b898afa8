//! Refreshes against each other and against log-outs, under every interleaving that
//! shuttle's scheduler tries.

use std::sync::Arc;

use shuttle::thread;

use super::{KeyRing, RefreshError, Refreshed, TokenIssuer, TokenPair, TokenVerifier};
use crate::session::WallClock;
use crate::sync::explore;
use crate::time::ManualClock;

struct World {
    issuer: TokenIssuer,
    verifier: TokenVerifier,
    pair: TokenPair,
}

fn world() -> Arc<World> {
    let ring = || KeyRing::builder().hs256("a", &[7; 32]).active("a").build();
    let wall = WallClock::manual(&ManualClock::new(), 1_700_000_000);
    let issuer = TokenIssuer::builder(ring().unwrap()).issuer("me");
    let issuer = issuer.audience("api").clock(wall.clone()).build().unwrap();
    let verifier = TokenVerifier::builder(ring().unwrap()).issuer("me");
    let verifier = verifier.audience("api").denylist(issuer.denylist());
    Arc::new(World {
        verifier: verifier.clock(wall).build().unwrap(),
        pair: issuer.log_in("ada", "").unwrap(),
        issuer,
    })
}

impl World {
    fn refresh(&self) -> Result<Refreshed, RefreshError> {
        self.issuer.refresh(self.pair.refresh())
    }

    fn is_good(&self, pair: &TokenPair) -> bool {
        self.verifier.verify(pair.access(), |_| ()).is_ok()
    }
}

#[test]
fn of_two_refreshes_one_rotates_and_both_get_the_same() {
    explore(ROUNDS, || {
        let world = world();
        let other = Arc::clone(&world);
        let other = thread::spawn(move || other.refresh().unwrap());
        let one = world.refresh().unwrap();
        let two = other.join().unwrap();
        let rotated = |refreshed: &Refreshed| matches!(refreshed, Refreshed::Rotated(_));
        assert!(rotated(&one) != rotated(&two));
        assert_eq!(one.into_pair(), two.into_pair());
    });
}

#[test]
fn no_refresh_and_no_access_token_outlives_a_log_out() {
    for everywhere in [false, true] {
        explore(ROUNDS, move || {
            let world = world();
            let other = Arc::clone(&world);
            let other = thread::spawn(move || other.refresh());
            if everywhere {
                assert_eq!(world.issuer.log_out_everywhere("ada"), 1);
            } else {
                assert_eq!(world.issuer.log_out(world.pair.refresh()), Ok(true));
            }
            let refreshed = other.join().unwrap();
            assert!(!world.is_good(&world.pair));
            assert_eq!(world.refresh(), Err(RefreshError::Revoked));
            if let Ok(refreshed) = refreshed {
                let pair = refreshed.into_pair();
                assert!(!world.is_good(&pair));
                let again = world.issuer.refresh(pair.refresh());
                assert_eq!(again, Err(RefreshError::Revoked));
            }
        });
    }
}

/// A log-in meanwhile is ended whole or goes on; one of after it goes on.
#[test]
fn a_log_in_during_a_log_out_everywhere_is_counted_or_lives() {
    explore(ROUNDS, || {
        let world = world();
        let other = Arc::clone(&world);
        let other = thread::spawn(move || other.issuer.log_in("ada", "").unwrap());
        let ended = world.issuer.log_out_everywhere("ada");
        let pair = other.join().unwrap();
        let lives = world.issuer.refresh(pair.refresh()).is_ok();
        assert_eq!(ended, if lives { 1 } else { 2 });
        assert_eq!(world.is_good(&pair), lives);
        assert!(world.is_good(&world.issuer.log_in("ada", "").unwrap()));
    });
}

const ROUNDS: usize = 300;
