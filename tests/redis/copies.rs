//! A `ServeStale` before a real server: what is served when that is dead, and afterwards.

use std::time::Duration;

use tenfold::cache::tier::BreakerState;
use tenfold::redis::RedisStore;
use tenfold::session::serve_stale::ServeStale;
use tenfold::session::{AsyncSessionStore, RevokeError, SaveError, SessionToken, Unavailable};
use tenfold::time::ManualClock;

use crate::patient;
use crate::server::Server;
use crate::session_store::{begin, run};

#[test]
fn loads_are_served_while_the_server_is_dead_and_fresh_when_it_is_back() {
    run(async {
        let clock = ManualClock::new();
        let mut server = Server::start_durable();
        let below = patient(&server.url()).clock(clock.clock()).build().unwrap();
        let other = patient(&server.url()).build().unwrap();
        let store = ServeStale::builder(below).clock(clock.clock());
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
        let saved = store.save(&token, version, b"2".as_slice()).await;
        assert!(matches!(
            saved,
            Err(SaveError::Unavailable(Unavailable::Suspended { .. }))
        ));
        let ended = store.revoke(&revoked).await;
        assert!(matches!(ended, Err(RevokeError::Unavailable(_))));
        assert!(store.revoke_user("eve", None).await.is_err());
        for token in [&revoked, &at_home] {
            assert!(store.load(token).await.is_err());
        }

        server.resume();
        clock.advance(Duration::from_secs(1));
        assert!(!is_stale(&store, &token).await.unwrap());
        store.save(&token, version, b"2".as_slice()).await.unwrap();
        assert_eq!(store.breaker(), BreakerState::Closed);
        assert!(store.revoke(&revoked).await.unwrap());
        assert_eq!(store.revoke_user("eve", None).await.unwrap(), 1);
        assert!(store.load(&revoked).await.unwrap().is_none());

        // And no longer than it may be.
        server.kill();
        clock.advance(Duration::from_secs(29));
        assert!(is_stale(&store, &token).await.unwrap());
        clock.advance(Duration::from_secs(1));
        assert!(store.load(&token).await.is_err());
    });
}

async fn is_stale(
    store: &ServeStale<RedisStore>,
    token: &SessionToken,
) -> Result<bool, Unavailable> {
    let loaded = store.load(token).await?;
    Ok(loaded.expect("nobody has ended it").stale().is_some())
}
