//! The others, each as its user would use it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_session::SessionStore as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dashmap::{DashMap, Entry};
use serde_json::Value;
use tenfold::session::MemoryStore;
use time::OffsetDateTime;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::SessionStore as _;
use tower_sessions_core_of_moka::session as moka_session;
use tower_sessions_core_of_moka::session_store::SessionStore as _;
use tower_sessions_moka_store::MokaStore;

use super::SESSIONS;
use super::lane::Lane;
use super::subject::{Fields, Store, fields};
use crate::report::Progress;

/// Everybody, full.
///
/// # Errors
///
/// If a runtime cannot be started.
pub(super) fn lanes(progress: &mut Progress) -> Result<Vec<Lane>, String> {
    Ok(vec![
        Lane::full::<MemoryStore>(SESSIONS, progress)?,
        Lane::full::<tower_sessions::MemoryStore>(SESSIONS, progress)?,
        Lane::full::<MokaStore>(SESSIONS, progress)?,
        Lane::full::<async_session::MemoryStore>(SESSIONS, progress)?,
        Lane::full::<Plain>(SESSIONS, progress)?,
        Lane::full::<Listed>(SESSIONS, progress)?,
    ])
}

const HOUR: Duration = Duration::from_secs(3600);

fn record(user: u64) -> Record {
    let data = fields(user, 0);
    Record {
        id: Id::default(),
        data: data.map(|(name, value)| (name.to_owned(), value)).into(),
        expiry_date: OffsetDateTime::now_utc() + HOUR,
    }
}

fn lamps(lamps: u64) -> Value {
    serde_json::json!({ "lamps": lamps })
}

impl Store for tower_sessions::MemoryStore {
    const NAME: &'static str = "tower-sessions MemoryStore";
    type Token = Id;
    type Session = Record;

    fn new(_: usize) -> Self {
        Self::default()
    }

    fn write(token: &Id) -> String {
        token.to_string()
    }

    fn read(cookie: &str) -> Option<Id> {
        cookie.parse().ok()
    }

    async fn begin(&self, user: u64) -> Id {
        let mut record = record(user);
        self.create(&mut record)
            .await
            .expect("memory does not fail");
        record.id
    }

    async fn load(&self, token: &Id) -> Option<Record> {
        let loaded = tower_sessions::SessionStore::load(self, token).await;
        loaded.expect("memory does not fail")
    }

    fn user(session: &Record) -> u64 {
        session.data["user"].as_u64().expect("it is a number")
    }

    fn change(session: &mut Record, number: u64) {
        session.data.insert("basket".to_owned(), lamps(number));
    }

    async fn save(&self, _: &Id, session: Record) {
        let saved = tower_sessions::SessionStore::save(self, &session).await;
        saved.expect("memory does not fail");
    }

    async fn end(&self, token: &Id) -> bool {
        self.delete(token).await.expect("memory does not fail");
        true
    }
}

impl Store for MokaStore {
    const NAME: &'static str = "tower-sessions MokaStore";
    type Token = moka_session::Id;
    type Session = moka_session::Record;

    fn new(sessions: usize) -> Self {
        Self::new(Some(2 * sessions as u64))
    }

    fn write(token: &Self::Token) -> String {
        token.to_string()
    }

    fn read(cookie: &str) -> Option<Self::Token> {
        cookie.parse().ok()
    }

    async fn begin(&self, user: u64) -> Self::Token {
        let Record {
            data, expiry_date, ..
        } = record(user);
        let id = moka_session::Id::default();
        let mut record = moka_session::Record {
            id,
            data,
            expiry_date,
        };
        self.create(&mut record)
            .await
            .expect("memory does not fail");
        record.id
    }

    async fn load(&self, token: &Self::Token) -> Option<Self::Session> {
        let loaded = tower_sessions_core_of_moka::SessionStore::load(self, token).await;
        loaded.expect("memory does not fail")
    }

    fn user(session: &Self::Session) -> u64 {
        session.data["user"].as_u64().expect("it is a number")
    }

    fn change(session: &mut Self::Session, number: u64) {
        session.data.insert("basket".to_owned(), lamps(number));
    }

    async fn save(&self, _: &Self::Token, session: Self::Session) {
        let saved = tower_sessions_core_of_moka::SessionStore::save(self, &session).await;
        saved.expect("memory does not fail");
    }

    async fn end(&self, token: &Self::Token) -> bool {
        self.delete(token).await.expect("memory does not fail");
        true
    }
}

impl Store for async_session::MemoryStore {
    const NAME: &'static str = "async-session MemoryStore";
    type Token = String;
    type Session = async_session::Session;

    fn new(_: usize) -> Self {
        Self::new()
    }

    fn write(token: &String) -> String {
        token.clone()
    }

    /// It hashes the cookie itself, when it loads.
    fn read(cookie: &str) -> Option<String> {
        Some(cookie.to_owned())
    }

    async fn begin(&self, user: u64) -> String {
        let mut session = async_session::Session::new();
        for (name, value) in fields(user, 0) {
            session.insert(name, value).expect("these fields are JSON");
        }
        session.expire_in(HOUR);
        let stored = self.store_session(session).await;
        stored.expect("memory does not fail").expect("it is new")
    }

    async fn load(&self, token: &String) -> Option<Self::Session> {
        let loaded = self.load_session(token.clone()).await;
        loaded.expect("memory does not fail")
    }

    fn user(session: &Self::Session) -> u64 {
        session.get("user").expect("it is a number")
    }

    fn change(session: &mut Self::Session, number: u64) {
        let inserted = session.insert("basket", lamps(number));
        inserted.expect("that is JSON");
    }

    async fn save(&self, _: &String, session: Self::Session) {
        let stored = self.store_session(session).await;
        stored.expect("memory does not fail");
    }

    async fn end(&self, token: &String) -> bool {
        let Some(session) = Store::load(self, token).await else {
            return false;
        };
        self.destroy_session(session)
            .await
            .expect("memory does not fail");
        true
    }
}

/// A map from random numbers to the same record: what people write for themselves. No index of users, no bound, and the
/// numbers lie in it as they are.
pub(super) struct Plain(pub(super) DashMap<u128, Kept>);

pub(super) struct Kept {
    data: Arc<[u8]>,
    user: Arc<str>,
    version: u64,
    created: u64,
    seen: AtomicU64,
}

impl Kept {
    pub(super) fn new(user: u64, seen: u64) -> Self {
        Self {
            data: Fields::new(user).write().into(),
            user: user.to_string().into(),
            version: 1,
            created: seen,
            seen: AtomicU64::new(seen),
        }
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        let idle = self.seen.load(Ordering::Relaxed) + HALF_AN_HOUR;
        now < idle.min(self.created + EIGHT_HOURS)
    }
}

pub(super) const HALF_AN_HOUR: u64 = 1800;
const EIGHT_HOURS: u64 = 8 * 3600;

/// What a request gets of it.
pub(super) struct Taken {
    data: Arc<[u8]>,
    user: Arc<str>,
    version: u64,
}

impl Plain {
    fn insert(&self, kept: Kept) -> u128 {
        let mut token = [0; 16];
        getrandom::fill(&mut token).expect("there is randomness");
        let token = u128::from_le_bytes(token);
        self.0.insert(token, kept);
        token
    }
}

impl Store for Plain {
    const NAME: &'static str = "DashMap";
    type Token = u128;
    type Session = Taken;

    fn new(_: usize) -> Self {
        Self(DashMap::new())
    }

    fn write(token: &u128) -> String {
        URL_SAFE_NO_PAD.encode(token.to_le_bytes())
    }

    fn read(cookie: &str) -> Option<u128> {
        let mut bytes = [0; 16];
        let read = URL_SAFE_NO_PAD.decode_slice_unchecked(cookie, &mut bytes);
        (read == Ok(16)).then(|| u128::from_le_bytes(bytes))
    }

    async fn begin(&self, user: u64) -> u128 {
        self.insert(Kept::new(user, now()))
    }

    async fn load(&self, token: &u128) -> Option<Taken> {
        let (kept, now) = (self.0.get(token)?, now());
        if !kept.is_live(now) {
            return None;
        }
        if now > kept.seen.load(Ordering::Relaxed) + TOUCH_EVERY {
            kept.seen.store(now, Ordering::Relaxed);
        }
        Some(Taken {
            data: Arc::clone(&kept.data),
            user: Arc::clone(&kept.user),
            version: kept.version,
        })
    }

    fn user(session: &Taken) -> u64 {
        let user = Fields::read(&session.data).user;
        assert!(!session.user.is_empty());
        user
    }

    fn change(session: &mut Taken, number: u64) {
        session.data = Fields::read(&session.data).with(number).write().into();
    }

    async fn save(&self, token: &u128, session: Taken) {
        let now = now();
        let Some(mut kept) = self.0.get_mut(token) else {
            return;
        };
        if kept.is_live(now) && kept.version == session.version {
            kept.version += 1;
            kept.data = session.data;
            kept.seen = AtomicU64::new(now);
        }
    }

    async fn end(&self, token: &u128) -> bool {
        self.0.remove(token).is_some()
    }
}

/// The same with a list of each user's sessions, without which nobody is logged out everywhere.
struct Listed {
    sessions: Plain,
    users: DashMap<Arc<str>, Vec<u128>>,
}

impl Store for Listed {
    const NAME: &'static str = "DashMap with users";
    type Token = u128;
    type Session = Taken;

    fn new(sessions: usize) -> Self {
        Self {
            sessions: Plain::new(sessions),
            users: DashMap::new(),
        }
    }

    fn write(token: &u128) -> String {
        Plain::write(token)
    }

    fn read(cookie: &str) -> Option<u128> {
        Plain::read(cookie)
    }

    async fn begin(&self, user: u64) -> u128 {
        let kept = Kept::new(user, now());
        let user = Arc::clone(&kept.user);
        let token = self.sessions.insert(kept);
        self.users.entry(user).or_default().push(token);
        token
    }

    async fn load(&self, token: &u128) -> Option<Taken> {
        Store::load(&self.sessions, token).await
    }

    fn user(session: &Taken) -> u64 {
        Plain::user(session)
    }

    fn change(session: &mut Taken, number: u64) {
        Plain::change(session, number);
    }

    async fn save(&self, token: &u128, session: Taken) {
        Store::save(&self.sessions, token, session).await;
    }

    async fn end(&self, token: &u128) -> bool {
        let Some((_, kept)) = self.sessions.0.remove(token) else {
            return false;
        };
        if let Entry::Occupied(mut list) = self.users.entry(kept.user) {
            list.get_mut().retain(|other| other != token);
            if list.get().is_empty() {
                list.remove();
            }
        }
        true
    }
}

/// Seconds.
const TOUCH_EVERY: u64 = 60;

pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
