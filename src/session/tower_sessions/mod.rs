//! Our store under [tower-sessions](https://docs.rs/tower-sessions): change the line that makes the store.

mod conflicts;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{Error, Result};
use tower_sessions_core::{ExpiredDeletion, SessionStore};

pub use conflicts::Conflicts;
use conflicts::{Data, Decision, Note};

use crate::session::entry::Entry;
use crate::session::frame::Frame;
use crate::session::id::SessionToken;
use crate::session::store::{ATTEMPTS as SAVES, MemoryStore};
use crate::session::transfer::Outcome;
use crate::session::{Loaded, SaveError};

/// A [`MemoryStore`] for whoever uses tower-sessions: what is deleted stays deleted, whatever is saved
/// late; expired sessions are freed; ids are hashed; and there are limits.
///
/// A session ends when tower-sessions says, or at the store's own deadlines, whichever comes first:
/// give the store an [`idle`](super::MemoryStoreBuilder::idle) and an
/// [`absolute`](super::MemoryStoreBuilder::absolute) that are at least as long.
///
/// tower-sessions saves whole sessions, and does not say which version it had loaded: of two
/// who change one at the same time the later wins, as in its own stores. [`on_conflict`](Self::on_conflict) has the later
/// refused, or both kept; [`web`](super::web) (feature `tower`) does that without being asked to.
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
pub struct TowerSessions {
    store: Arc<MemoryStore>,
    conflicts: Conflicts,
}

impl TowerSessions {
    /// On this store.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self {
            store,
            conflicts: Conflicts::default(),
        }
    }

    /// What becomes of a save when somebody else has saved since the session was loaded;
    /// [`Conflicts::LastWriterWins`] by default.
    #[must_use]
    pub fn on_conflict(mut self, conflicts: Conflicts) -> Self {
        self.conflicts = conflicts;
        self
    }

    /// When the session ends, who saves it, and its data, without a note.
    fn encode(&self, expires: OffsetDateTime, holder: u64, data: &Data) -> Result<Vec<u8>> {
        let mut bytes = expires.unix_timestamp().to_le_bytes().to_vec();
        bytes.extend_from_slice(&holder.to_le_bytes());
        let error = |error: serde_json::Error| Error::Encode(error.to_string());
        serde_json::to_writer(&mut bytes, data).map_err(error)?;
        let (len, max) = (bytes.len(), self.store.settings.max_data);
        if len > max {
            let message = format!("a session may have {max} bytes of data, found {len}");
            return Err(Error::Backend(message));
        }
        Ok(bytes)
    }

    /// A session that is neither over by our deadlines nor by theirs.
    fn live(&self, id: &Id) -> Option<Loaded> {
        let loaded = self.store.load(&token(id))?;
        let now = i64::try_from(self.store.settings.wall.now()).unwrap_or(i64::MAX);
        let is_live = Stored::of(&loaded).is_some_and(|stored| now < stored.expires);
        is_live.then_some(loaded)
    }

    /// A number for whoever is about to have a session; 0 if nobody asks for it later.
    fn draw_holder(&self) -> Result<u64> {
        if !self.conflicts.are_noticed() {
            return Ok(0);
        }
        getrandom::u64().map_err(|error| Error::Backend(error.to_string()))
    }
}

#[async_trait]
impl SessionStore for TowerSessions {
    async fn create(&self, record: &mut Record) -> Result<()> {
        Note::take(&mut record.data);
        let holder = self.draw_holder()?;
        let data: Arc<[u8]> = self
            .encode(record.expiry_date, holder, &record.data)?
            .into();
        let now = self.store.now();
        for _ in 0..ATTEMPTS {
            let key = token(&record.id).key().0;
            let entry = Entry::new(key, Arc::clone(&data), self.store.first_version, now);
            match self.store.import_one(Frame { entry, user: None }) {
                Outcome::Taken => {
                    if self.conflicts.are_noticed() {
                        let version = self.store.first_version;
                        self.conflicts.note(&mut record.data, holder, version);
                    }
                    return Ok(());
                }
                // Another session has the id.
                Outcome::Older => record.id = Id::default(),
                Outcome::NoRoom => break,
            }
        }
        Err(Error::Backend("the store is full".to_owned()))
    }

    /// Saves a session that is there. One that is not is not begun by that.
    async fn save(&self, record: &Record) -> Result<()> {
        let mut data = record.data.clone();
        let note = Note::take(&mut data);
        let holder = note.as_ref().map_or(0, |note| note.holder);
        let whole = self.encode(record.expiry_date, holder, &data)?;
        for _ in 0..SAVES {
            let there = self.live(&record.id);
            let there = there.ok_or_else(|| refused(&SaveError::Gone))?;
            let stored = Stored::of(&there).ok_or_else(malformed)?;
            let read = || serde_json::from_slice(stored.json).ok();
            let decision = self
                .conflicts
                .decide(&data, note.as_ref(), &there, stored.holder, read);
            let bytes = match decision {
                Decision::Replace => whole.clone(),
                // Of nobody: whoever saves it again does not have all of it.
                Decision::Merge(merged) => self.encode(record.expiry_date, 0, &merged)?,
                Decision::Refuse => {
                    let current = there.version();
                    return Err(refused(&SaveError::Conflict { current }));
                }
            };
            match self.store.save(&token(&record.id), there.version(), bytes) {
                Ok(_) => return Ok(()),
                // Somebody was faster: look again.
                Err(SaveError::Conflict { .. }) => {}
                Err(error) => return Err(refused(&error)),
            }
        }
        Err(Error::Backend("too many others save at once".to_owned()))
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let Some(loaded) = self.live(id) else {
            return Ok(None);
        };
        let stored = Stored::of(&loaded).ok_or_else(malformed)?;
        let decode = |error: &dyn fmt::Display| Error::Decode(error.to_string());
        let expires = OffsetDateTime::from_unix_timestamp(stored.expires);
        let mut data: Data = serde_json::from_slice(stored.json).map_err(|error| decode(&error))?;
        if self.conflicts.are_noticed() {
            let version = loaded.version().to_u64();
            self.conflicts.note(&mut data, self.draw_holder()?, version);
        }
        Ok(Some(Record {
            id: *id,
            data,
            expiry_date: expires.map_err(|error| decode(&error))?,
        }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let revoked = self.store.revoke(&token(id));
        revoked.map_err(|error| Error::Backend(error.to_string()))?;
        Ok(())
    }
}

#[async_trait]
impl ExpiredDeletion for TowerSessions {
    /// Frees what is over by the store's deadlines; new sessions do that too, bit by bit.
    async fn delete_expired(&self) -> Result<()> {
        self.store.sweep(usize::MAX);
        Ok(())
    }
}

impl fmt::Debug for TowerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessions")
            .field("store", &self.store)
            .field("conflicts", &self.conflicts)
            .finish()
    }
}

/// Their ids are 128 random bits. Hashed with a word of ours, so that no id is a token of the
/// store.
fn token(id: &Id) -> SessionToken {
    let mut hash = Sha256::new_with_prefix(PURPOSE);
    hash.update(id.0.to_le_bytes());
    SessionToken::of(hash.finalize().into())
}

/// A session as it lies in the store.
struct Stored<'a> {
    /// In seconds since 1970.
    expires: i64,
    /// Who has saved it, of those whose saves are compared.
    holder: u64,
    json: &'a [u8],
}

impl<'a> Stored<'a> {
    fn of(data: &'a [u8]) -> Option<Self> {
        let (expires, rest) = data.split_first_chunk::<8>()?;
        let (holder, json) = rest.split_first_chunk::<8>()?;
        Some(Self {
            expires: i64::from_le_bytes(*expires),
            holder: u64::from_le_bytes(*holder),
            json,
        })
    }
}

fn refused(error: &SaveError) -> Error {
    Error::Backend(error.to_string())
}

fn malformed() -> Error {
    Error::Decode("not a session of tower-sessions".to_owned())
}

const PURPOSE: &[u8] = b"tenfold tower-sessions id\0";
/// How often another id is tried.
const ATTEMPTS: usize = 8;
