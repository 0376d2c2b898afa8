//! A load balancer for whatever you send requests with: it learns who is slow, who
//! fails, and who is new, and it never takes a lock to pick.
//!
//! # The bad day
//!
//! Ten servers, and one has lost its database: it answers every request in a fifth of a
//! millisecond, with an error. Least-request sees a server that never has anything to do, a
//! latency-aware balancer sees the quickest of all, and both send it more and more.
//!
//! ```
//! use std::time::Duration;
//! use tenfold::balance::{Balancer, Policy};
//! use tenfold::time::ManualClock;
//!
//! /// How many of 2000 requests fail if the first of ten servers fails at once, and the others
//! /// take 10 ms each, with four requests under way at any time.
//! fn failed(policy: Policy, ejects: bool) -> Result<usize, Box<dyn std::error::Error>> {
//!     let clock = ManualClock::new();
//!     let builder = Balancer::builder().policy(policy).clock(clock.clock()).seed(1);
//!     let balancer = if ejects { builder.build()? } else { builder.no_ejection().build()? };
//!     for server in 0..10 {
//!         balancer.add(server)?;
//!     }
//!     let (mut failed, mut under_way) = (0, std::collections::VecDeque::new());
//!     for _ in 0..2000 {
//!         clock.advance(Duration::from_micros(2500));
//!         let server = balancer.pick()?;
//!         if *server == 0 {
//!             failed += 1;
//!             clock.advance(Duration::from_micros(200));
//!             server.fail();
//!             continue;
//!         }
//!         under_way.push_back(server);
//!         if under_way.len() == 4 {
//!             under_way.pop_front().into_iter().for_each(|server| server.succeed());
//!         }
//!     }
//!     Ok(failed)
//! }
//!
//! assert!(failed(Policy::PeakEwma, false)? > 300); // more than its tenth of them
//! assert!(failed(Policy::Adaptive, true)? < 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `cargo run --release --features balance --example balance` prints thirteen such days: slow
//! servers, slow spells, black holes, one client or fifty.
//!
//! # The idea
//!
//! [`Balancer::pick`] lends a member and counts it as busy; the [`Pick`] says how it went
//! ([`succeed`](Pick::succeed), [`fail`](Pick::fail), or dropped: given up), and with that how long
//! it took. [`Policy::Adaptive`] looks at three members, chosen at random, and takes the one with the least
//!
//! ```text
//! latency × (requests in flight + 1) / weight
//! ```
//!
//! * The latency is a moving average that takes a spike by half, and goes back to what the pool takes,
//!   with a time constant of 3 s, while there is no news. What one client has in flight says little where fifty
//!   others send as well; how long it took says what all of them do.
//! * A failure counts as fifty times what the pool takes, however quick it was.
//! * Five failures in a row, or most of the last 32, and the member is [ejected](Ejection): for a second,
//!   then two, then four, on probation between.
//! * Three choices, not all: many clients that all knew the best one would all go there.
//!
//! A member's count of uses is also what keeps it alive. So picks need no snapshot and no reference
//! count: they read a table that is written over in place, and one addition on the member's own word says whether it
//! is still there. [`Balancer::drain`] closes that word, and whoever leaves last hands the member over:
//!
//! ```
//! use tenfold::balance::{Balancer, Member};
//!
//! let balancer = Balancer::new();
//! let old = balancer.add(String::from("10.0.0.1"))?;
//! balancer.add_member(Member::new(String::from("10.0.0.2")).weight(2.0))?;
//! balancer.add_member(Member::new(String::from("in another town")).priority(1))?;
//!
//! let request = balancer.pick()?;
//! let drain = balancer.drain(old)?; // not picked again
//! request.succeed();
//! assert_eq!(drain.wait(), "10.0.0.1"); // or `.await`
//! println!("{}", balancer.stats()); // adaptive: 2 of 2 members healthy, 0 draining; 1 picks, …
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which policy
//!
//! | | Knows | Use it when |
//! |---|---|---|
//! | [`Adaptive`](Policy::Adaptive) | latency, failures, requests in flight | in doubt |
//! | [`LeastRequest`](Policy::LeastRequest) | requests in flight | this process sends most of what members get |
//! | [`RoundRobin`](Policy::RoundRobin) | weights | all members and all requests are alike, and the shares must be exact |
//! | [`Random`](Policy::Random) | weights | the same, and many clients start at once |
//! | [`PeakEwma`](Policy::PeakEwma) | latency, requests in flight | you compare |
//! | [`pick_sticky`](Balancer::pick_sticky) | the key | a member has something of the key: a session, a cache |
//!
//! With all of them weights, slow starts, ejections, levels, the panic threshold and drains work alike.
//!
//! Where you have reasons of your own, [`pick_among`](Balancer::pick_among) and [`pick_where`](Balancer::pick_where) let the
//! policy choose among those that are left. A pick borrows the balancer; an [`OwnedPick`] does not, and goes where a spawned task
//! goes. If members tell how busy they are, [`report_load`](Balancer::report_load) hands it on.
//!
//! # What you can rely on
//!
//! * **A removed member is not picked**: not after [`remove`](Balancer::remove) or [`drain`](Balancer::drain)
//!   has returned. Uses that began before go on, and its last user drops it, or hands it to who drains.
//! * **Ejections never take the last member**, nor more than half ([`Ejection::max_share`]), and where less than
//!   half are healthy, health is ignored ([`panic_threshold`](BalancerBuilder::panic_threshold)): the few would
//!   only break under the load of all.
//! * **Levels** ([`Member::priority`]): another data centre gets what this one is not healthy enough for.
//! * **New members start slowly**, at a tenth of their weight, growing for 10 s; those that come back too.
//! * **Sticky keys move only if they must**, and no member has more than 1.25 times its share of them in flight.
//! * **Active probes** are a [`Prober`]: when to ask whom, and what the answers mean. It sends nothing itself.
//!   An [`Autoscaler`] says how many members there should be, and does nothing about it.
//! * **No user code runs under a lock.** Members' drops and wakers may call back, and may panic.
//! * **Time and chance are yours**: with a [`ManualClock`](crate::time::ManualClock) and a
//!   [`seed`](BalancerBuilder::seed) every choice can be foretold.
//!
//! # What it costs
//!
//! A pick and its end take two locked instructions on a line of the member that was chosen, whatever the number
//! of members, and no allocation; with a policy that goes by the time, two readings of the clock
//! ([`Clock::processor`](crate::time::Clock::processor) by default), or of every eighth pick if members have
//! a thousand requests a second. Random numbers and turns come from counters that each
//! thread shares with few others. The one lock is taken to add, remove and eject, by one pick in 100 ms that looks at all
//! members, and by the first sticky pick of a part of the hashes after members changed. A pick among some takes a time proportional to
//! them; an owned one two more locked instructions, on a line that all share.
//!
//! A balancer has 13 bytes for each of [`max_members`](BalancerBuilder::max_members); for each member, in blocks of 16, a
//! slot of 56 bytes and the member, rounded up to 64, and about 120 bytes behind the lock; with sticky picks 128 kB more.
//!
//! # What it is not
//!
//! Not a proxy, not a client, not service discovery: it does not connect to anything. Not a retry policy: it has
//! [`pick_other`](Balancer::pick_other) for yours. Each process learns for itself.
//!
//! # References
//!
//! Mitzenmacher: *The power of two choices in randomized load balancing*, 1996. Finagle's and
//! [tower's](https://docs.rs/tower/latest/tower/load/index.html) peak-EWMA.
//! [Envoy](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancing) on
//! outlier detection, panic thresholds, priorities and slow start. Wydrowski et al.: *Load is not what you should balance*
//! (Prequal), NSDI 2024. Mirrokni, Thorup, Zadimoghaddam: *Consistent hashing with bounded loads*, 2018. Van
//! Ravenstein: *The three gap theorem*, 1988, for why weighted turns by multiples of the golden ratio are spread evenly.

mod among;
mod autoscaler;
mod balancer;
mod builder;
mod chance;
mod core;
mod drain;
mod error;
mod estimate;
mod likely;
mod member;
mod owned;
mod parked;
mod pick;
mod policy;
mod prober;
mod roster;
mod settings;
mod slot;
mod stats;
mod sticky;
mod table;

pub use autoscaler::{Autoscaler, AutoscalerError};
pub use balancer::Balancer;
pub use builder::BalancerBuilder;
pub use drain::Drain;
pub use error::{BuildError, MemberError, PickError, UnknownMember};
pub use member::{Health, Member, MemberId, MemberStatus};
pub use owned::OwnedPick;
#[allow(unused_imports, reason = "for blocks that lend what they have picked")]
pub(crate) use parked::ParkedPick;
pub use pick::Pick;
pub use policy::Policy;
pub use prober::{Prober, ProberError, Probing};
pub use settings::Ejection;
pub use stats::BalancerStats;

#[cfg(all(test, tenfold_shuttle))]
mod models;
