//! What a stranger says to a server with sticky sessions, and what another server does. Any text as a cookie, and as what a right
//! cookie becomes with some bytes changed: nothing that was not signed is followed. Any bytes as a question of another server, its
//! checksums put right, and as an answer: read without a panic, and as it was written; and the server that heard it goes on.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tenfold::session::sticky::untrusted::{answers, question};
use tenfold::session::sticky::{
    Message, NodeNumber, Peers, Receipt, Replication, Route, RoutingId, StickyKeys, StickyNode,
    StickyRouter, StickyStore, Why,
};
use tenfold::session::{
    AsyncSessionStore, HostCookie, MemoryStore, OnFull, SameSite, SessionToken, WallClock,
};
use tenfold::task::block_on;
use tenfold::time::ManualClock;

static WORLD: LazyLock<(Arc<StickyRouter>, Route)> = LazyLock::new(|| {
    let keys = StickyKeys::new(&[7; 32]).unwrap();
    let keys = keys.and_previous(&[8; 32]).unwrap();
    let cookie = HostCookie::new("node", SameSite::Lax).unwrap();
    let router = StickyRouter::new(keys, cookie);
    (0..5).for_each(|node| router.join(NodeNumber::new(node), 1, 1).unwrap());
    let route = router.route(None).unwrap();
    (Arc::new(router), route)
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
    let mended = with_checksums(input);
    for bytes in [input, &mended] {
        read_as_written(bytes);
    }
    heard(router, right.routing, &mended);
});

fn refused(router: &StickyRouter, text: &str, right: &str) {
    let route = router.route(Some(text)).expect("nodes are up");
    assert_eq!(route.why == Why::Pinned, text == right);
    assert!(text == right || route.why == Why::New && route.set_cookie.is_some());
    let again = router.route(Some(&route.value)).expect("nodes are up");
    assert_eq!((again.node, again.why), (route.node, Why::Pinned));
}

fn read_as_written(bytes: &[u8]) {
    if let Some(again) = question(bytes) {
        assert_eq!(again, bytes);
    }
    if let Ok(message) = Message::from_bytes(bytes) {
        assert_eq!(message.to_bytes(), bytes);
    }
    if let Ok(receipt) = Receipt::from_bytes(bytes) {
        assert_eq!(receipt.to_bytes(), bytes);
    }
    answers(bytes).for_each(|again| assert_eq!(again, bytes));
}

/// What a node makes of a question, and of the same bytes as the answer to each of its own. It has room for a few sessions, and the
/// seeds are about one of which a browser has the token.
fn heard(router: &Arc<StickyRouter>, routing: RoutingId, bytes: &[u8]) {
    let wall = WallClock::manual(&ManualClock::new(), 1000);
    let settings = MemoryStore::builder().clock(wall);
    let settings = settings.max_sessions(ROOM, OnFull::Refuse);
    let replication = Replication::Acknowledged;
    let node = NodeNumber::new(0);
    let store = StickyStore::new(node, 1, Arc::clone(router), replication, settings).unwrap();
    let node = Arc::new(StickyNode::new(store, Echo(bytes.to_vec())));
    let token = SessionToken::parse(&"A".repeat(43)).expect("it has the shape of one");
    block_on(async {
        let answer = node.answer(bytes).await;
        assert!(question(bytes).is_some() || answer.is_err());
        let seat = node.seat(routing);
        if let Ok(Some(loaded)) = seat.load(&token).await {
            let _ = seat.save(&token, loaded.version(), *b"2 lamps").await;
            let _ = seat.log_in(&token, "ada").await;
        }
        let _ = node.maintain(2).await;
        let _ = seat.sessions_of("ada").await;
        let _ = seat.revoke_user("ada", None).await;
        // Whatever the others say, those that are here are over.
        if node.store().revoke_user(&"ada".into(), None, 0).is_ok() {
            assert!(node.store().sessions().sessions_of("ada").is_empty());
        }
        let _ = seat.revoke(&token).await;
    });
    assert!(node.store().sessions().len() <= ROOM && node.store().copies() <= ROOM);
}

/// Every other node: it takes what it is told, and says the same to whatever it is asked.
struct Echo(Vec<u8>);

impl Peers for Echo {
    async fn ask(&self, _: NodeNumber, asked: Vec<u8>) -> Option<Vec<u8>> {
        read_as_written(&asked);
        let is_told = asked.first() == Some(&0);
        Some(if is_told {
            Receipt::default().to_bytes()
        } else {
            self.0.clone()
        })
    }
}

/// A question that is a message, with the checksums that its sessions should have: behind these lies most of what reads it.
fn with_checksums(question: &[u8]) -> Vec<u8> {
    let mut bytes = question.to_vec();
    let (Some(&0), Some(head)) = (question.first(), question.get(7..27)) else {
        return bytes;
    };
    let (counts, _) = head.as_chunks::<4>();
    let counts: Vec<usize> = counts
        .iter()
        .map(|&c| u32::from_le_bytes(c) as usize)
        .collect();
    let mut at = 27 + 16 * (counts[0] + counts[1]) + 20 * counts[2];
    while let Some((len, _)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk::<4>) {
        let (len, end) = (*len, at + 8 + u32::from_le_bytes(*len) as usize);
        let Some(content) = bytes.get(at + 8..end) else {
            break;
        };
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&len), content);
        bytes[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
        at = end;
    }
    bytes
}

const ROOM: usize = 3;
