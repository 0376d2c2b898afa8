use std::fmt;

use redis::{IntoConnectionInfo, Value};

use super::builder::{RedisStoreBuilder, Settings};
use super::error::{CheckError, RedisBuildError};
use super::functions::{Function, Functions};
use super::keys::{Keys, Tag, hash_of, session_of};
use super::link::{Link, Way};
use super::record::{Record, whose};
use super::reply::{self, Reply};
use crate::cache::tier::BreakerState;
use crate::session::{
    AsyncSessionStore, CreateError, CycleError, Loaded, Made, PerUser, RevokeError, SaveError,
    SessionData, SessionInfo, SessionKey, SessionToken, Unavailable, UserId, Version,
};

/// Sessions in a Redis server, shared by all processes that use the same server and prefix.
///
/// All calls go over one connection, which is made with the first and made again when it is lost. See the
/// [module](super) for what the store promises, and what the server can undo.
///
/// ```no_run
/// # async fn shown() -> Result<(), Box<dyn std::error::Error>> {
/// use tenfold::redis::RedisStore;
/// use tenfold::session::{AsyncSessionStore, SaveError};
///
/// let store = RedisStore::builder("redis://127.0.0.1/")?.build()?;
/// store.check().await?;
/// let (token, version) = store.create(Some("ada".into()), b"1 lamp".as_slice()).await?;
/// let loaded = store.load(&token).await?.ok_or("gone")?;
/// assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
///
/// // What is revoked does not come back.
/// store.revoke(&token).await?;
/// let late = store.save(&token, version, b"2 lamps".as_slice()).await;
/// assert_eq!(late, Err(SaveError::Gone));
/// # Ok(()) }
/// ```
pub struct RedisStore {
    settings: Settings,
    keys: Keys,
    functions: Functions,
    link: Link,
}

impl RedisStore {
    /// Begins to describe a store in this server: an address as `redis://127.0.0.1:6379/0`, or what else the crate
    /// `redis` takes for one. With `?protocol=resp3` a connection that the server closes is noticed at once, and
    /// not by the next call.
    ///
    /// # Errors
    /// [`RedisBuildError::Address`].
    pub fn builder(server: impl IntoConnectionInfo) -> Result<RedisStoreBuilder, RedisBuildError> {
        RedisStoreBuilder::new(server)
    }

    pub(super) fn new(settings: Settings, keys: Keys, functions: Functions, link: Link) -> Self {
        Self {
            settings,
            keys,
            functions,
            link,
        }
    }

    /// Asks the server whether sessions are safe on it: worth doing when a process starts.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn check(&self) -> Result<(), CheckError> {
        let mut info = redis::pipe();
        info.cmd("INFO").arg("memory");
        let (info,): (String,) = self.link.read(&info).await.map_err(Unavailable::from)?;
        let find = |name: &str| {
            let mut lines = info.lines();
            let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.ok_or(Unavailable::Malformed {
                expected: "`maxmemory` and `maxmemory_policy` in INFO",
            })
        };
        let policy = find("maxmemory_policy")?;
        if find("maxmemory")? != "0" && policy != "noeviction" {
            let policy = policy.to_owned();
            return Err(CheckError::Evicts { policy });
        }
        Ok(())
    }

    /// Whether calls go through, or the server is left alone because it failed.
    pub fn breaker(&self) -> BreakerState {
        self.link.state()
    }

    async fn call(
        &self,
        way: &Way,
        function: Function,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Value, Unavailable> {
        let Self {
            functions, link, ..
        } = self;
        functions.call(link, way, function, keys, args).await
    }

    async fn look_up(
        &self,
        token: &SessionToken,
        touches: bool,
    ) -> Result<Option<Loaded>, Unavailable> {
        let Settings {
            idle, touch_every, ..
        } = self.settings;
        let key = self.keys.session(token.key());
        let mut calls = redis::pipe();
        calls.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
        let (value, left): (Value, Value) = self.link.read(&calls).await?;
        let (Some(value), left) = (reply::value(value)?, reply::number(&left)?) else {
            return Ok(None);
        };
        let mut record = Record::parse(&value)?;
        if touches && record.is_due(idle, touch_every, left) {
            let idle = idle.to_string();
            let args = [idle.as_bytes()];
            match self
                .call(&Way::Shared, Function::Touch, &[&key], &args)
                .await
            {
                Ok(Value::Int(seen)) => record.touched(seen),
                Ok(answer) => match Reply::parse(answer)? {
                    // It has ended just now.
                    Reply::Gone => return Ok(None),
                    _ => return Err(reply::unexpected()),
                },
                // It was there. If its deadline cannot be moved now, the next load tries again.
                Err(_) => {}
            }
        }
        Ok(Some(record.loaded(idle)))
    }

    /// Puts a session under a token drawn for it, in place of another in the same slot, if given.
    async fn place(
        &self,
        way: &Way,
        user: Option<&UserId>,
        data: &[u8],
        old: Option<&str>,
    ) -> Result<Placed, CreateError> {
        let Settings {
            idle,
            absolute,
            max_per_user,
            per_user,
            ..
        } = self.settings;
        let hash = user.map(hash_of);
        let whose = match (user, &hash) {
            (Some(user), Some(hash)) => whose(user, hash),
            _ => Vec::new(),
        };
        let index = hash.map(|hash| self.keys.index(&hash));
        let (idle, absolute) = (idle.to_string(), absolute.to_string());
        let max = max_per_user.to_string();
        let refuse: &[u8] = if per_user == PerUser::Refuse {
            b"1"
        } else {
            b"0"
        };
        let args = [
            idle.as_bytes(),
            absolute.as_bytes(),
            &whose,
            data,
            max.as_bytes(),
            refuse,
        ];
        loop {
            let token = match hash {
                Some(hash) => Tag::of_user(&hash).draw(),
                None => SessionToken::draw(),
            };
            let token = token.map_err(CreateError::Entropy)?;
            let key = self.keys.session(token.key());
            let keys: Vec<&str> = [Some(&*key), index.as_deref(), old]
                .into_iter()
                .flatten()
                .collect();
            let reply = self.call(way, Function::Create, &keys, &args).await?;
            match Reply::parse(reply)? {
                Reply::Ok(version) => return Ok(Placed::There(token, version)),
                Reply::Gone => return Ok(Placed::Gone),
                Reply::Full => return Err(CreateError::UserFull { max: max_per_user }),
                // Somebody has drawn the same.
                Reply::Occupied => {}
                Reply::Taken(..) | Reply::Conflict(_) => return Err(reply::unexpected().into()),
            }
        }
    }

    /// Moves a session to the slot of its new user. A copy is made there, under a token that nobody
    /// knows yet, before it is taken away here: if that fails, it stays. What was saved in
    /// between is saved there too, where nobody else is.
    async fn move_to(
        &self,
        way: &Way,
        token: &SessionToken,
        user: &UserId,
    ) -> Result<SessionToken, CycleError> {
        let Some(copied) = self.look_up(token, false).await? else {
            return Err(CycleError::Gone);
        };
        let placed = self.place(way, Some(user), &copied, None).await;
        let (fresh, begun) = placed.map_err(cycle_error)?.there()?;
        let old = self.keys.session(token.key());
        let reply = self.call(way, Function::Take, &[&old], &[]).await?;
        match Reply::parse(reply)? {
            Reply::Taken(version, data) => {
                if version != copied.version() {
                    let saved = self.write(way, &fresh, begun, &data).await;
                    saved.map_err(|error| match error {
                        SaveError::Unavailable(unavailable) => unavailable.into(),
                        _ => CycleError::Gone,
                    })?;
                }
                Ok(fresh)
            }
            Reply::Gone => {
                self.end(way, fresh.key()).await?;
                Err(CycleError::Gone)
            }
            _ => Err(reply::unexpected().into()),
        }
    }

    async fn write(
        &self,
        way: &Way,
        token: &SessionToken,
        expected: Version,
        data: &[u8],
    ) -> Result<Version, SaveError> {
        let key = self.keys.session(token.key());
        let idle = self.settings.idle.to_string();
        let expected = expected.to_u64().to_le_bytes();
        let args = [idle.as_bytes(), &expected, data];
        let reply = self.call(way, Function::Save, &[&key], &args).await?;
        match Reply::parse(reply)? {
            Reply::Ok(version) => Ok(version),
            Reply::Gone => Err(SaveError::Gone),
            Reply::Conflict(current) => Err(SaveError::Conflict { current }),
            _ => Err(reply::unexpected().into()),
        }
    }

    async fn end(&self, way: &Way, key: SessionKey) -> Result<bool, Unavailable> {
        let key = self.keys.session(key);
        let ended = self.call(way, Function::Revoke, &[&key], &[]).await?;
        Ok(reply::number(&ended)? > 0)
    }

    fn fits(&self, data: &[u8]) -> Result<(), (usize, usize)> {
        let (len, max) = (data.len(), self.settings.max_data);
        if len > max { Err((len, max)) } else { Ok(()) }
    }
}

impl AsyncSessionStore for RedisStore {
    async fn create(
        &self,
        user: Option<UserId>,
        data: impl Into<SessionData> + Send,
    ) -> Result<(SessionToken, Version), CreateError> {
        let data = data.into();
        self.fits(&data)
            .map_err(|(len, max)| CreateError::TooLarge { len, max })?;
        let way = self.link.way().await?;
        match self.place(&way, user.as_ref(), &data, None).await? {
            Placed::There(token, version) => {
                let made = Made::Begun {
                    token: token.clone(),
                    version,
                };
                self.link.settle(&way, made).await?;
                Ok((token, version))
            }
            Placed::Gone => Err(reply::unexpected().into()),
        }
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        self.look_up(token, true).await
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        self.look_up(token, false).await
    }

    async fn save(
        &self,
        token: &SessionToken,
        expected: Version,
        data: impl Into<SessionData> + Send,
    ) -> Result<Version, SaveError> {
        let data = data.into();
        self.fits(&data)
            .map_err(|(len, max)| SaveError::TooLarge { len, max })?;
        let way = self.link.way().await?;
        let version = self.write(&way, token, expected, &data).await?;
        self.link.settle(&way, Made::Saved(version)).await?;
        Ok(version)
    }

    async fn cycle(&self, token: &SessionToken) -> Result<SessionToken, CycleError> {
        let (old, idle) = (token.key(), self.settings.idle.to_string());
        let way = self.link.way().await?;
        loop {
            let fresh = Tag::of(old).draw().map_err(CycleError::Entropy)?;
            let keys = [old, fresh.key()].map(|key| self.keys.session(key));
            let keys = keys.each_ref().map(String::as_str);
            let reply = self
                .call(&way, Function::Cycle, &keys, &[idle.as_bytes()])
                .await?;
            match Reply::parse(reply)? {
                Reply::Ok(_) => {
                    let made = Made::Renewed(fresh.clone());
                    self.link.settle(&way, made).await?;
                    return Ok(fresh);
                }
                Reply::Gone => return Err(CycleError::Gone),
                Reply::Occupied => {}
                _ => return Err(reply::unexpected().into()),
            }
        }
    }

    async fn log_in(
        &self,
        token: &SessionToken,
        user: impl Into<UserId> + Send,
    ) -> Result<SessionToken, CycleError> {
        let user = user.into();
        let way = self.link.way().await?;
        let fresh = if Tag::of(token.key()) == Tag::of_user(&hash_of(&user)) {
            let old = self.keys.session(token.key());
            let placed = self.place(&way, Some(&user), b"", Some(&old)).await;
            placed.map_err(cycle_error)?.there()?.0
        } else {
            self.move_to(&way, token, &user).await?
        };
        let made = Made::Renewed(fresh.clone());
        self.link.settle(&way, made).await?;
        Ok(fresh)
    }

    async fn revoke_key(&self, key: SessionKey) -> Result<bool, RevokeError> {
        let way = self.link.way().await?;
        let is_ended = self.end(&way, key).await?;
        // Also if there was none: who asks again wants to know that replicas have it.
        let made = Made::Ended(is_ended.into());
        self.link.settle(&way, made).await?;
        Ok(is_ended)
    }

    async fn revoke_user(
        &self,
        user: impl Into<UserId> + Send,
        except: Option<&SessionToken>,
    ) -> Result<usize, RevokeError> {
        let hash = hash_of(&user.into());
        let sessions = self.keys.sessions(Tag::of_user(&hash));
        let except = except.map_or_else(String::new, |token| token.key().to_string());
        let args = [sessions.as_bytes(), except.as_bytes()];
        let way = self.link.way().await?;
        let index = self.keys.index(&hash);
        let ended = self
            .call(&way, Function::RevokeUser, &[&index], &args)
            .await?;
        let ended = reply::number(&ended)?;
        let ended = usize::try_from(ended).map_err(|_| reply::unexpected())?;
        self.link.settle(&way, Made::Ended(ended)).await?;
        Ok(ended)
    }

    async fn sessions_of(
        &self,
        user: impl Into<UserId> + Send,
    ) -> Result<Vec<SessionInfo>, Unavailable> {
        let hash = hash_of(&user.into());
        let sessions = self.keys.sessions(Tag::of_user(&hash));
        let found = self
            .call(
                &Way::Shared,
                Function::List,
                &[&self.keys.index(&hash)],
                &[sessions.as_bytes()],
            )
            .await?;
        let mut all = Vec::new();
        for (member, value) in reply::pairs(found)? {
            let key = session_of(&member).ok_or_else(reply::unexpected)?;
            all.push(Record::parse(&value)?.info(key, self.settings.idle));
        }
        all.sort_by_key(|info| (info.created, info.key));
        Ok(all)
    }
}

impl fmt::Debug for RedisStore {
    /// Tells nothing of the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("settings", &self.settings)
            .field("keys", &self.keys)
            .field("breaker", &self.breaker())
            .finish_non_exhaustive()
    }
}

/// What became of a session that was to be put somewhere.
enum Placed {
    There(SessionToken, Version),
    /// That in whose place it was to come was gone.
    Gone,
}

impl Placed {
    fn there(self) -> Result<(SessionToken, Version), CycleError> {
        match self {
            Self::There(token, version) => Ok((token, version)),
            Self::Gone => Err(CycleError::Gone),
        }
    }
}

fn cycle_error(error: CreateError) -> CycleError {
    match error {
        CreateError::Entropy(error) => CycleError::Entropy(error),
        CreateError::UserFull { max } => CycleError::UserFull { max },
        CreateError::Unavailable(unavailable) => CycleError::Unavailable(unavailable),
        // A store elsewhere does not count all sessions, and this data was there already.
        CreateError::TooLarge { .. } | CreateError::Full { .. } => reply::unexpected().into(),
    }
}
