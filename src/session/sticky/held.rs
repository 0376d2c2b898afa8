use std::ops::Deref;

use super::book;
use super::cookie::RoutingId;
use crate::session::{Loaded, UserId, Version};

/// A session of a [`StickyStore`](super::StickyStore) as it was when it was loaded; derefs to its data.
#[derive(Debug, Clone)]
pub struct Held(pub(super) Loaded);

impl Held {
    /// Which version it is, for [`StickyStore::save`](super::StickyStore::save).
    pub fn version(&self) -> Version {
        self.0.version()
    }

    /// Whose session it is, if they have logged in.
    pub fn user(&self) -> Option<&UserId> {
        self.0.user()
    }

    /// What its browser is placed by.
    pub fn routing(&self) -> RoutingId {
        book::split(&self.0).0
    }

    /// The same, with a copy of the data.
    pub(super) fn into_loaded(self) -> Loaded {
        let data = (*self).into();
        Loaded { data, ..self.0 }
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        book::split(&self.0).1
    }
}
