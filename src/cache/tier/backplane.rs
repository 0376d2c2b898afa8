use std::error::Error;
use std::fmt;
use std::sync::Weak;

use super::l2::Answer;

/// Carries news of changes between nodes, without values: who hears of a change
/// drops what it holds.
///
/// It may lose, repeat, delay and reorder messages: they are numbered, and a node
/// that misses one checks what it holds against the L2. On Redis: `PUBLISH` and
/// `SUBSCRIBE`; who publishes may hear itself.
pub trait Backplane: Send + Sync + 'static {
    /// Why a message could not be sent.
    type Error: Error + Send + Sync + 'static;

    /// Sends a message of a few dozen bytes and a key to all nodes.
    fn publish(&self, message: &[u8]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Hands over who wants to hear; called once, as the tier is built.
    fn subscribe(&self, listener: Listener);
}

/// Where a [`Backplane`] delivers what it hears.
#[derive(Clone)]
pub struct Listener {
    pub(super) ear: Weak<dyn Ear>,
}

impl Listener {
    /// Delivers a message. Returns whether the tier is still there: if not, the
    /// backplane may forget this listener.
    pub fn heard(&self, message: &[u8]) -> bool {
        match self.ear.upgrade() {
            Some(ear) => {
                ear.heard(message);
                true
            }
            None => false,
        }
    }

    /// Says that messages may have been missed, as after a lost connection: the
    /// tier checks what it holds before it believes it again.
    pub fn reconnected(&self) -> bool {
        match self.ear.upgrade() {
            Some(ear) => {
                ear.missed();
                true
            }
            None => false,
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener(..)")
    }
}

/// Who hears messages.
pub(super) trait Ear: Send + Sync {
    fn heard(&self, message: &[u8]);

    fn missed(&self);
}

/// A [`Backplane`] whose type is forgotten.
pub(super) trait AnyBackplane: Send + Sync {
    fn publish<'a>(&'a self, message: &'a [u8]) -> Answer<'a, ()>;

    fn subscribe(&self, listener: Listener);
}

impl<B: Backplane> AnyBackplane for B {
    fn publish<'a>(&'a self, message: &'a [u8]) -> Answer<'a, ()> {
        Box::pin(async move { Backplane::publish(self, message).await.map_err(Into::into) })
    }

    fn subscribe(&self, listener: Listener) {
        Backplane::subscribe(self, listener);
    }
}
