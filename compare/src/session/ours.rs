//! Ours: with a user for each session, and so with the index by which they can be logged out everywhere.

use tenfold::session::{Loaded, MemoryStore, OnFull, SaveError, SessionData, SessionToken};

use super::subject::{Fields, Store};

pub(super) struct Session {
    loaded: Loaded,
    data: Option<SessionData>,
}

impl Store for MemoryStore {
    const NAME: &'static str = "tenfold";
    type Token = SessionToken;
    type Session = Session;

    fn new(sessions: usize) -> Self {
        let store = Self::builder().max_sessions(2 * sessions, OnFull::Refuse);
        store.build().expect("these settings make sense")
    }

    fn write(token: &SessionToken) -> String {
        token.reveal()
    }

    fn read(cookie: &str) -> Option<SessionToken> {
        SessionToken::parse(cookie)
    }

    async fn begin(&self, user: u64) -> SessionToken {
        let data = Fields::new(user).write();
        let begun = self.create(Some(user.to_string().into()), data);
        begun.expect("there is room").0
    }

    async fn load(&self, token: &SessionToken) -> Option<Session> {
        let loaded = self.load(token)?;
        Some(Session { loaded, data: None })
    }

    fn user(session: &Session) -> u64 {
        Fields::read(&session.loaded).user
    }

    fn change(session: &mut Session, lamps: u64) {
        let changed = Fields::read(&session.loaded).with(lamps).write();
        session.data = Some(changed.into());
    }

    async fn save(&self, token: &SessionToken, session: Session) {
        let Some(data) = session.data else { return };
        match self.save(token, session.loaded.version(), data) {
            Ok(_) | Err(SaveError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn end(&self, token: &SessionToken) -> bool {
        self.revoke(token).expect("there is no log")
    }
}
