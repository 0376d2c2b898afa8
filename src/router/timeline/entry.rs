/// Where a post stands among all others: by its time, and of one time by its id.
///
/// ```
/// use tenfold::router::timeline::Stamp;
///
/// let first = Stamp { time: 1000, post: 7_u64 };
/// assert!(first < Stamp { time: 1000, post: 8 });
/// assert!(first < Stamp { time: 1001, post: 1 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp<P> {
    /// When it was posted, in whatever unit all posts have in common. It need not grow from one
    /// post to the next.
    pub time: u64,
    /// The post's id, its own.
    pub post: P,
}

/// A post, as timelines hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry<U, P> {
    /// Where it stands.
    pub stamp: Stamp<P>,
    /// Who posted it.
    pub author: U,
}

/// How an author's posts reach those who follow.
///
/// ```
/// use tenfold::router::timeline::Reach;
///
/// assert_eq!(Reach::default(), Reach::Pushed);
/// // Whoever is being settled is still looked up, for inboxes may lack something.
/// assert!(Reach::Settling.is_pulled() && !Reach::Pushed.is_pulled());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// They lie in every follower's inbox.
    #[default]
    Pushed,
    /// Some do not: who follows looks into the author's outbox.
    Pulled,
    /// As `Pulled`, while the inboxes are being filled with what they lack.
    Settling,
}

impl Reach {
    /// Whether those who follow have to look into the outbox.
    pub fn is_pulled(self) -> bool {
        self != Self::Pushed
    }
}

/// An author whom somebody follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed<U> {
    /// Who.
    pub author: U,
    /// How the author's posts are to be found.
    pub reach: Reach,
}
