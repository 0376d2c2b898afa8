use std::fmt;

use super::Endpoint;

/// Tags that a server must have, all of them.
///
/// A [`ReadPreference::Tagged`](super::ReadPreference::Tagged) is a row of sets: the servers of the first that anybody matches. An
/// [empty](Self::anybody) one at its end matches everybody, so that a read is served where no server has what would be
/// better.
///
/// ```
/// use tenfold::replica::{Endpoint, ReadPreference, TagSet};
///
/// // In this zone if that can be, or else in this city, or else wherever.
/// let near = [
///     TagSet::new([("city", "seoul"), ("zone", "2")]),
///     TagSet::new([("city", "seoul")]),
///     TagSet::anybody(),
/// ];
/// let server = Endpoint::new("db-1", "10.0.0.1:5432")?.tag("city", "seoul").tag("zone", "1");
/// assert_eq!(near.each_ref().map(|set| set.matches(&server)), [false, true, true]);
/// let preference = ReadPreference::Tagged(near.into());
/// # Ok::<(), tenfold::replica::EndpointError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TagSet(Box<[(Box<str>, Box<str>)]>);

impl TagSet {
    /// These tags, each with its value.
    pub fn new<K: Into<Box<str>>, V: Into<Box<str>>>(
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let tags = tags.into_iter();
        Self(
            tags.map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    /// No tags, which every server has.
    pub fn anybody() -> Self {
        Self::default()
    }

    /// Whether this server has all of them.
    pub fn matches(&self, endpoint: &Endpoint) -> bool {
        let mut tags = self.0.iter();
        tags.all(|(key, value)| endpoint.has_tag(key, value))
    }
}

impl fmt::Display for TagSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}
