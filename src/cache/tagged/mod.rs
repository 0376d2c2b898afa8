//! Tags and namespaces: many entries invalidated by one call, in constant time.
//!
//! # The bad day
//!
//! A user changes her name. It stands on her page, on the pages of her friends,
//! in search results and in yesterday's list of the most active users, all of
//! them cached under keys of their own. Somebody has to know them all:
//!
//! ```
//! use tenfold::cache::Cache;
//! use tenfold::cache::tagged::Tagged;
//!
//! // Without tags: two keys were remembered, the third was not.
//! let pages = Cache::new(1000);
//! for page in ["/user/1", "/user/2/friends", "/search?q=a"] {
//!     pages.insert(page, "Ada");
//! }
//! pages.invalidate("/user/1");
//! pages.invalidate("/user/2/friends");
//! assert_eq!(pages.get("/search?q=a"), Some("Ada")); // for as long as it lives
//!
//! // With tags: every page says whom it shows.
//! let pages = Tagged::new(1000);
//! for page in ["/user/1", "/user/2/friends", "/search?q=a"] {
//!     pages.insert_tagged(page, "Ada", ["user:1"]);
//! }
//! pages.insert_tagged("/user/3", "Carl", ["user:3"]);
//! pages.invalidate_tag("user:1");
//! assert_eq!(pages.get("/search?q=a"), None);
//! assert_eq!(pages.get("/user/3"), Some("Carl"));
//! ```
//!
//! The worse day is the same change while a page is being rendered: the loader
//! has read the old name, the tag is invalidated, and then the page is stored.
//! Here it is too old as it is stored, and nobody who comes later gets it:
//!
//! ```
//! use tenfold::cache::tagged::Tagged;
//!
//! let pages = Tagged::new(1000);
//! let page = pages.get_with("/user/1", || {
//!     let page = "Ada";             // is read
//!     pages.invalidate_tag("user:1"); // and changed meanwhile, by somebody else
//!     (page, ["user:1"])
//! })?;
//! assert_eq!(page, "Ada"); // who asked before the change may see what was before
//! assert_eq!(pages.get("/user/1"), None);
//! # Ok::<(), tenfold::cache::LoadError<std::convert::Infallible>>(())
//! ```
//!
//! # The idea
//!
//! Nobody keeps lists of the entries of a tag. The registry ([`Tags`]) counts
//! generations, and notes for a tag in which one it was last invalidated. An
//! entry keeps the hashes of its tags and the generation in which its load
//! *began*; a look-up finds out whether a tag was invalidated since. If nothing
//! at all was, that is one comparison.
//!
//! ```text
//! load             born = generation; run the loader; store (value, born, tags)
//! invalidate(tag)  generation += 1; invalidated[tag] = generation
//! get              valid if no tag of the entry has invalidated[tag] > born
//! ```
//!
//! The registry is a fixed number of cache lines, each for the tags that hash
//! there: seven records and a floor. A record that has to give way raises the
//! floor, below which every tag of the line counts as invalidated. So readers
//! need no lock, memory is bounded, and a registry that is too small costs loads
//! and never gives a stale answer.
//!
//! A [`Namespace`] is a view of the same cache with keys of its own: the name is
//! part of the key, and compared, and every entry carries the namespace as a tag.
//!
//! # What you can rely on
//!
//! * **An invalidation of a tag beats a load under way**: after
//!   [`invalidate_tag`], [`clear`] or [`Namespace::invalidate_all`] has returned,
//!   no value that was stored before, or whose load began before, is given to
//!   a caller who comes later, not even by waiting for that load. The others keep
//!   what [`Cache`](crate::cache::Cache) promises: one load for all who ask.
//! * **Constant time**: an invalidation costs the same with one entry and with a
//!   million.
//! * **Safe where it is not exact**: colliding hashes, forgotten records and a
//!   load that overlaps an invalidation err on the side of loading again.
//! * **Keys of two namespaces never collide.**
//! * Bounds, policy, expiry, jitter, weights and the listener are those of the
//!   cache underneath.
//!
//! # What it costs
//!
//! | | |
//! |---|---|
//! | an untagged entry | 8 bytes and a comparison per look-up; no allocation |
//! | a tagged entry | 8 bytes and an allocation of 40 bytes and 8 per tag, in two parts |
//! | a look-up of it | no lock beyond the shard's; a cache line per tag once anything was invalidated |
//! | a namespaced entry | that of an entry with one tag more; its key is two words larger |
//! | the registry | nothing at first, then 16 bytes per tag of its capacity (1 MiB by default) |
//! | [`invalidate_tag`] | one lock, which look-ups do not take |
//! | [`get_with`], nothing there | a clone of the key beyond what the cache does |
//!
//! After a [`clear`] that expires, each untagged entry stored takes one more
//! lock, to find the mark that untagged entries share from then on.
//!
//! # What it is not
//!
//! It does not find the entries of a tag, count or list them. It knows nothing of
//! other processes: carry their invalidations here yourself. An entry that is no
//! longer valid keeps its memory until it is asked for, evicted or expired.
//!
//! # References
//!
//! 1. `FusionCache` (.NET) invalidates tags passively too, by a timestamp per tag;
//!    here a counter takes its place, which two events never share.
//!
//! [`clear`]: Tagged::clear
//! [`get_with`]: Tagged::get_with
//! [`invalidate_tag`]: Tagged::invalidate_tag

mod bucket;
mod builder;
mod load;
#[cfg(all(test, tenfold_shuttle))]
mod models;
mod namespace;
mod registry;
mod stats;
#[expect(clippy::module_inception, reason = "it holds the type of that name")]
mod tagged;
mod value;

pub use builder::{TaggedBuildError, TaggedBuilder};
pub use namespace::{Namespace, Namespaced};
pub use registry::{Clear, Tags, TagsStats};
pub use stats::TaggedStats;
pub use tagged::Tagged;
pub use value::TaggedValue;
