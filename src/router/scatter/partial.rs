/// How much of a read must be answered for it to count as one.
///
/// Whichever it is, a read ends as soon as every shard has answered or failed, and at its
/// deadline; and it ends early, as an error, once too much has failed for the share to
/// be reached.
///
/// ```
/// use tenfold::router::scatter::Partial;
/// use tenfold::router::{Router, Topology};
/// use tenfold::task::block_on;
///
/// let router = Router::new(Topology::builder().nodes(["a", "b", "c"]).build()?);
/// let two_of_three = |policy| {
///     let read = router.scatter_all().policy(policy);
///     block_on(read.run(|node| async move { if node.index() == 2 { Err("down") } else { Ok(()) } }))
/// };
/// assert!(two_of_three(Partial::All).is_err());
/// assert!(two_of_three(Partial::AtLeast(0.6)).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Partial {
    /// Everything: one shard that fails fails the read, at once.
    #[default]
    All,
    /// At least this share of the keys, from 0 to 1, and as many as there are by the
    /// deadline: the read goes on when the share is reached.
    AtLeast(f64),
    /// At least this share of the keys, and no more is waited for: the read ends once
    /// it is reached, and what still runs is cancelled. Quick, but the slowest shard is
    /// never heard.
    Enough(f64),
    /// Whatever there is by the deadline, if it is nothing.
    Best,
}

impl Partial {
    /// The share that must be answered.
    pub fn share(self) -> f64 {
        match self {
            Self::All => 1.0,
            Self::AtLeast(share) | Self::Enough(share) => share,
            Self::Best => 0.0,
        }
    }

    /// Whether so many of so many will do. Divided, not multiplied: 7 of 100 are the
    /// share that is written 0.07, and 0.07 times 100 is more than 7.
    pub(super) fn is_met(self, answered: usize, total: usize) -> bool {
        coverage(answered, total) >= self.share()
    }

    /// Whether to wait for more than must be.
    pub(super) fn waits_on(self) -> bool {
        !matches!(self, Self::Enough(_))
    }
}

/// The share of keys that were answered; of no keys, all.
pub(super) fn coverage(answered: usize, total: usize) -> f64 {
    if total == 0 {
        return 1.0;
    }
    answered as f64 / total as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_met_exactly() {
        for total in 1..=200 {
            for percent in 0..=100_usize {
                let policy = Partial::AtLeast(percent as f64 / 100.0);
                for answered in 0..=total {
                    let met = answered * 100 >= percent * total;
                    assert_eq!(policy.is_met(answered, total), met, "{answered}/{total}");
                }
            }
        }
    }
}
