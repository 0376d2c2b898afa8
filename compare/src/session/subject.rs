//! One face for every store.

use std::future::Future;

use serde_json::{Value, json};

/// A store as the requests of a service use it.
pub(super) trait Store: Send + Sync + Sized + 'static {
    const NAME: &'static str;
    /// What the browser holds, read from its cookie.
    type Token: Send + Sync;
    /// What a request has loaded.
    type Session: Send;

    /// One for so many sessions.
    fn new(sessions: usize) -> Self;

    /// The value of the cookie.
    fn write(token: &Self::Token) -> String;

    /// Reads the value of a cookie, as a request does first of all.
    fn read(cookie: &str) -> Option<Self::Token>;

    /// Begins a session with these fields.
    fn begin(&self, user: u64) -> impl Future<Output = Self::Token> + Send;

    fn load(&self, token: &Self::Token) -> impl Future<Output = Option<Self::Session>> + Send;

    /// Reads a field: whose it is.
    fn user(session: &Self::Session) -> u64;

    /// Changes another: how many lamps there are in the basket.
    fn change(session: &mut Self::Session, lamps: u64);

    /// Saves what was loaded and changed. Somebody else may have saved meanwhile.
    fn save(&self, token: &Self::Token, session: Self::Session) -> impl Future<Output = ()> + Send;

    /// Ends a session; whether there was one, where the store knows.
    fn end(&self, token: &Self::Token) -> impl Future<Output = bool> + Send;
}

/// The fields of every session, about a hundred bytes as JSON.
pub(super) fn fields(user: u64, lamps: u64) -> [(&'static str, Value); 4] {
    [
        ("user", json!(user)),
        ("csrf", json!("c3VjaC1hLXRva2VuLWl0LWlz")),
        ("roles", json!(["reader", "writer"])),
        ("basket", json!({"lamps": lamps})),
    ]
}

/// The same for stores of bytes.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Fields<'a> {
    pub(super) user: u64,
    csrf: &'a str,
    #[serde(borrow)]
    roles: [&'a str; 2],
    basket: Basket,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Basket {
    lamps: u64,
}

impl<'a> Fields<'a> {
    pub(super) fn new(user: u64) -> Self {
        Self {
            user,
            csrf: "c3VjaC1hLXRva2VuLWl0LWlz",
            roles: ["reader", "writer"],
            basket: Basket { lamps: 0 },
        }
    }

    pub(super) fn read(bytes: &'a [u8]) -> Self {
        serde_json::from_slice(bytes).expect("it was written as JSON")
    }

    pub(super) fn with(mut self, lamps: u64) -> Self {
        self.basket.lamps = lamps;
        self
    }

    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("these fields are JSON")
    }
}
