//! Messages that do not arrive, are damaged, or come late.

use tenfold::session::sticky::{Message, Receipt, Replication, StickyError};
use tenfold::session::{FrameError, MemoryStore};

use crate::sticky_world::Cluster;

#[test]
fn an_unconfirmed_change_is_an_error_and_is_copied_later() {
    let mut cluster = Cluster::of(3, Replication::Acknowledged);
    let mut browser = cluster.begin(b"1 lamp");
    let home = cluster.at(browser.node);
    let held = home.load(&browser.token).unwrap();
    let change = home
        .save(&browser.token, held.version(), b"2 lamps")
        .unwrap();
    let failed = change.confirm_by(home, |_| None);
    let missing = matches!(
        failed,
        Err(StickyError::Unconfirmed {
            missing: 1,
            expected: 1
        })
    );
    assert!(missing, "{failed:?}");
    assert_eq!(home.unprotected(), 1);
    assert!(cluster.maintain());
    assert_eq!(cluster.at(browser.node).unprotected(), 0);
    cluster.kill(browser.node);
    assert_eq!(&cluster.find(&mut browser).unwrap()[..], b"2 lamps");
}

#[test]
fn damaged_messages_are_refused() {
    let cluster = Cluster::of(2, Replication::Acknowledged);
    let route = cluster.router.route(None).unwrap();
    let home = cluster.at(route.node);
    let change = home
        .create(route.routing, Some("ada".into()), b"cart")
        .unwrap();
    let bytes = change.orders()[0].message().to_bytes();
    assert!(Message::from_bytes(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(Message::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    assert!(Message::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    let last = bytes.len() - 1;
    let mut wrong = bytes;
    wrong[last] ^= 1;
    let error = Message::from_bytes(&wrong).unwrap_err();
    assert_eq!(error, FrameError::Checksum.into());
    for wrong in [&[][..], &[2, 0, 0, 0, 0], &[0, 0, 0, 0], &[0; 6]] {
        assert!(Receipt::from_bytes(wrong).is_err());
    }
}

#[test]
fn only_a_newer_version_wins() {
    let settings = MemoryStore::builder;
    let (one, two) = (settings().build().unwrap(), settings().build().unwrap());
    let (token, first) = one.create(Some("ada".into()), b"1".as_slice()).unwrap();
    let old: Vec<_> = one.export(|_| true).collect();
    one.save(&token, first, b"2".as_slice()).unwrap();
    let new: Vec<_> = one.export(|_| true).collect();
    let import = |frames: &Vec<_>| two.import(frames.clone(), None);
    assert_eq!((import(&new).taken, two.len()), (1, 1));
    assert_eq!((import(&old).older, import(&new).older), (1, 1));
    assert_eq!(&two.load(&token).unwrap()[..], b"2");
    two.revoke(&token).unwrap();
    assert_eq!(
        (import(&old).taken, import(&new).taken),
        (1, 1),
        "newer wins"
    );
    assert_eq!((&two.load(&token).unwrap()[..], two.len()), (&b"2"[..], 1));
    assert_eq!(two.sessions_of("ada").len(), 1);
    // What came from elsewhere ends with the rest.
    assert_eq!(two.revoke_user("ada", None).unwrap(), 1);
    assert!(two.load(&token).is_none() && two.is_empty());
}
