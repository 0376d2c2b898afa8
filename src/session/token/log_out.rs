//! The end of log-ins, before their time.

use super::error::RefreshError;
use super::issuer::TokenIssuer;
use super::refresh::name;
use crate::session::UserId;

impl TokenIssuer {
    /// Ends the log-in of a refresh token, whichever of its tokens that is; its access tokens
    /// too. Says whether it had not ended before.
    ///
    /// # Errors
    /// [`RefreshError::Malformed`]: that is no token of this issuer's.
    pub fn log_out(&self, token: &str) -> Result<bool, RefreshError> {
        let presented = self.secrets.read(token).ok_or(RefreshError::Malformed)?;
        let id = presented.family;
        let user = {
            let mut families = self.shard(id).lock();
            let Some(family) = families.get_mut(&id) else {
                return Ok(false);
            };
            if !self.secrets.is_of(&presented, &family.salt) {
                return Err(RefreshError::Malformed);
            }
            if std::mem::replace(&mut family.is_dead, true) {
                return Ok(false);
            }
            family.user.clone()
        };
        self.denylist.deny_family(&name(id), user.as_str());
        Ok(true)
    }

    /// Ends all log-ins of a user and all their access tokens, those that are being refreshed
    /// too. Who logs in afterwards is not caught by it. Says how many log-ins it were.
    pub fn log_out_everywhere(&self, user: impl Into<UserId>) -> usize {
        let user = user.into();
        let mut ended = 0;
        let mut locked = self.users.lock(&user);
        if let Some(row) = locked.row() {
            for id in &row.keys {
                let mut families = self.shard(*id).lock();
                if let Some(family) = families.get_mut(id)
                    && !std::mem::replace(&mut family.is_dead, true)
                {
                    ended += 1;
                }
            }
        }
        // After the families: a refresh that is dated after this finds its family dead. Before the lock is given back: a
        // log-in that is not ended is dated after this.
        self.denylist.deny_user(user.as_str());
        drop(locked);
        ended
    }
}
