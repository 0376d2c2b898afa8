use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A server of a cluster: its name, where it is, and what is known of it beforehand. What it *does*,
/// primary or replica, is not said but observed.
///
/// Cheap to clone.
///
/// ```
/// use tenfold::replica::Endpoint;
///
/// let server = Endpoint::new("db-1", "10.0.0.1:5432")?.tag("zone", "a").weight(2.0)?;
/// assert_eq!(server.name(), "db-1");
/// assert!(server.has_tag("zone", "a"));
/// assert!(Endpoint::new("", "10.0.0.1:5432").is_err());
/// # Ok::<(), tenfold::replica::EndpointError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Endpoint(Arc<Inner>);

#[derive(Debug, Clone, PartialEq)]
struct Inner {
    name: Box<str>,
    address: Box<str>,
    tags: BTreeMap<Box<str>, Box<str>>,
    weight: f64,
}

impl Endpoint {
    /// A server with a name, unique in its cluster, and an address that the connector understands.
    ///
    /// # Errors
    /// [`EndpointError`] if either is empty.
    pub fn new(name: &str, address: &str) -> Result<Self, EndpointError> {
        if name.is_empty() {
            return Err(EndpointError::NoName);
        }
        if address.is_empty() {
            return Err(EndpointError::NoAddress(name.into()));
        }
        Ok(Self(Arc::new(Inner {
            name: name.into(),
            address: address.into(),
            tags: BTreeMap::new(),
            weight: 1.0,
        })))
    }

    /// Adds a tag, which reads may ask for.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        Arc::make_mut(&mut self.0)
            .tags
            .insert(key.into(), value.into());
        self
    }

    /// How much of the reads it gets, beside 1 of the others.
    ///
    /// # Errors
    /// [`EndpointError::Weight`] unless it is a finite number above zero.
    pub fn weight(mut self, weight: f64) -> Result<Self, EndpointError> {
        if !(weight.is_finite() && weight > 0.0) {
            return Err(EndpointError::Weight {
                name: self.0.name.clone(),
                found: weight,
            });
        }
        Arc::make_mut(&mut self.0).weight = weight;
        Ok(self)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its address, as it was given.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Whether it has this tag with this value.
    pub fn has_tag(&self, key: &str, value: &str) -> bool {
        self.0.tags.get(key).is_some_and(|found| **found == *value)
    }

    /// Its share of the reads, beside 1 of the others.
    pub fn share(&self) -> f64 {
        self.0.weight
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.name, self.0.address)
    }
}

/// A server that cannot be described like this.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It has no name.
    #[error("an endpoint needs a name, found an empty one")]
    NoName,
    /// It has no address.
    #[error("endpoint {0:?} needs an address, found an empty one")]
    NoAddress(Box<str>),
    /// It has a weight that makes no sense.
    #[error("endpoint {name:?} needs a finite weight above zero, found {found}")]
    Weight {
        /// Which.
        name: Box<str>,
        /// What it was.
        found: f64,
    },
}
