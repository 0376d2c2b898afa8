//! Any text as a sticky cookie, as what a right cookie becomes with some bytes changed, and any bytes as a
//! message between nodes: read without a panic, and nothing that was not signed is followed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tenfold::session::sticky::{
    Message, NodeNumber, Receipt, Route, StickyKeys, StickyRouter, Why,
};
use tenfold::session::{HostCookie, SameSite};

static WORLD: LazyLock<(StickyRouter, Route)> = LazyLock::new(|| {
    let keys = StickyKeys::new(&[7; 32]).unwrap();
    let keys = keys.and_previous(&[8; 32]).unwrap();
    let cookie = HostCookie::new("node", SameSite::Lax).unwrap();
    let router = StickyRouter::new(keys, cookie);
    (0..5).for_each(|node| router.join(NodeNumber::new(node), 1, 1).unwrap());
    let route = router.route(None).unwrap();
    (router, route)
});

fuzz_target!(|input: &[u8]| {
    let (router, right) = &*WORLD;
    if let Ok(text) = std::str::from_utf8(input) {
        refused(router, text, &right.value);
        // In a header, among others.
        if let Some(value) = router.cookie().find(text) {
            refused(router, value, &right.value);
        }
    }
    // Pairs of a place and what is changed there.
    let mut changed = right.value.clone().into_bytes();
    for pair in input.chunks_exact(2) {
        let place = usize::from(pair[0]) % changed.len();
        changed[place] ^= pair[1];
    }
    if let Ok(text) = std::str::from_utf8(&changed) {
        refused(router, text, &right.value);
    }
    if let Ok(message) = Message::from_bytes(input) {
        assert_eq!(message.to_bytes(), input);
    }
    if let Ok(receipt) = Receipt::from_bytes(input) {
        assert_eq!(receipt.to_bytes(), input);
    }
});

fn refused(router: &StickyRouter, text: &str, right: &str) {
    let route = router.route(Some(text)).expect("nodes are up");
    assert_eq!(route.why == Why::Pinned, text == right);
    assert!(text == right || route.why == Why::New && route.set_cookie.is_some());
    let again = router.route(Some(&route.value)).expect("nodes are up");
    assert_eq!((again.node, again.why), (route.node, Why::Pinned));
}
