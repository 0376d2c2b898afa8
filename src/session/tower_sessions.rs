//! Our store under [tower-sessions](https://docs.rs/tower-sessions): change the line that makes the store.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{Error, Result};
use tower_sessions_core::{ExpiredDeletion, SessionStore};

use super::frame::Frame;
use super::id::SessionToken;
use super::shard::Entry;
use super::store::MemoryStore;
use super::transfer::Outcome;

/// A [`MemoryStore`] for whoever uses tower-sessions: what is deleted stays deleted, whatever is saved
/// late; expired sessions are freed; ids are hashed; and there are limits.
///
/// A session ends when tower-sessions says, or at the store's own deadlines, whichever comes first:
/// give the store an [`idle`](super::MemoryStoreBuilder::idle) and an
/// [`absolute`](super::MemoryStoreBuilder::absolute) that are at least as long.
///
/// tower-sessions saves whole sessions, and does not say which version it had loaded: of two
/// who change one at the same time the later wins, as in its own stores. [`web`](super::web) (feature `tower`) has no
/// such limit.
///
/// ```
/// use std::sync::Arc;
/// use tenfold::session::{MemoryStore, TowerSessions};
///
/// let store = Arc::new(MemoryStore::builder().build()?);
/// // Instead of `tower_sessions::MemoryStore::default()`:
/// let for_the_layer = TowerSessions::new(Arc::clone(&store));
/// # let _ = for_the_layer;
/// # Ok::<(), tenfold::session::BuildError>(())
/// ```
#[derive(Clone)]
pub struct TowerSessions(Arc<MemoryStore>);

impl TowerSessions {
    /// On this store.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self(store)
    }

    fn encode(&self, record: &Record) -> Result<Vec<u8>> {
        let mut bytes = record.expiry_date.unix_timestamp().to_le_bytes().to_vec();
        let error = |error: serde_json::Error| Error::Encode(error.to_string());
        serde_json::to_writer(&mut bytes, &record.data).map_err(error)?;
        let (len, max) = (bytes.len(), self.0.settings.max_data);
        if len > max {
            let message = format!("a session may have {max} bytes of data, found {len}");
            return Err(Error::Backend(message));
        }
        Ok(bytes)
    }

    fn is_live(&self, data: &[u8]) -> bool {
        let now = i64::try_from(self.0.settings.wall.now()).unwrap_or(i64::MAX);
        split(data).is_some_and(|(expires, _)| now < expires)
    }
}

#[async_trait]
impl SessionStore for TowerSessions {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let data: Arc<[u8]> = self.encode(record)?.into();
        let now = self.0.now();
        for _ in 0..ATTEMPTS {
            let entry = Entry {
                key: token(&record.id).key().0,
                data: Arc::clone(&data),
                user: None,
                version: self.0.first_version,
                stamp: 0,
                created: now,
                seen: now,
            };
            match self.0.import_one(Frame { entry, user: None }) {
                Outcome::Taken => return Ok(()),
                // Another session has the id.
                Outcome::Older => record.id = Id::default(),
                Outcome::NoRoom => break,
            }
        }
        Err(Error::Backend("the store is full".to_owned()))
    }

    /// Saves a session that is there. One that is not is not begun by that.
    async fn save(&self, record: &Record) -> Result<()> {
        let data = self.encode(record)?;
        let saved = self.0.modify(&token(&record.id), |before| {
            let is_live = self.is_live(before);
            (is_live.then(|| data.clone()), is_live)
        });
        match saved {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Backend("the session is gone".to_owned())),
            Err(error) => Err(Error::Backend(error.to_string())),
        }
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let loaded = self.0.load(&token(id));
        let Some(loaded) = loaded.filter(|loaded| self.is_live(loaded)) else {
            return Ok(None);
        };
        let malformed = || Error::Decode("not a session of tower-sessions".to_owned());
        let (expires, json) = split(&loaded).ok_or_else(malformed)?;
        let expires = OffsetDateTime::from_unix_timestamp(expires);
        let data: HashMap<String, Value> =
            serde_json::from_slice(json).map_err(|error| Error::Decode(error.to_string()))?;
        Ok(Some(Record {
            id: *id,
            data,
            expiry_date: expires.map_err(|error| Error::Decode(error.to_string()))?,
        }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let revoked = self.0.revoke(&token(id));
        revoked.map_err(|error| Error::Backend(error.to_string()))?;
        Ok(())
    }
}

#[async_trait]
impl ExpiredDeletion for TowerSessions {
    /// Frees what is over by the store's deadlines; new sessions do that too, bit by bit.
    async fn delete_expired(&self) -> Result<()> {
        self.0.sweep(usize::MAX);
        Ok(())
    }
}

impl fmt::Debug for TowerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TowerSessions").field(&self.0).finish()
    }
}

/// Their ids are 128 random bits. Hashed with a word of ours, so that no id is a token of the
/// store.
fn token(id: &Id) -> SessionToken {
    let mut hash = Sha256::new_with_prefix(PURPOSE);
    hash.update(id.0.to_le_bytes());
    SessionToken::of(hash.finalize().into())
}

/// When the session ends, in seconds since 1970, and its data.
fn split(data: &[u8]) -> Option<(i64, &[u8])> {
    let (expires, json) = data.split_first_chunk::<8>()?;
    Some((i64::from_le_bytes(*expires), json))
}

const PURPOSE: &[u8] = b"tenfold tower-sessions id\0";
/// How often another id is tried.
const ATTEMPTS: usize = 8;
